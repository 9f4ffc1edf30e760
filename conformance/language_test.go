package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/netduet/netduet/conformance/direct"
	"github.com/netduet/netduet/conformance/player"
)

// established opens a connection passively, without options, as descriptor 4.
const established = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32792 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+0 < . 1:1(0) ack 1 win 32792
+0 accept(3, ..., ...) = 4
`

// phrases are scripts that both players play to their end: each is about a form of the
// language, and not about the stack.
func phrases() []struct{ name, src string } {
	return []struct{ name, src string }{
		{"times", established + `0.1 write(4, ..., 100) = 100
0.1 > P. 1:101(100) ack 1
+.05 < . 1:1(0) ack 101 win 32792
0.2~0.3 %{ pass }%
+0 write(4, ..., 100) = 100
+0~+.05 > P. 101:201(100) ack 1
+.010 < . 1:1(0) ack 201 win 32792
+0.000001 write(4, ..., 100) = 100
* > P. 201:301(100) ack 1
+0...0.1 read(4, ..., 10) = 10
+.1 < P. 1:11(10) ack 301 win 32792
* > . 301:301(0) ack 11
`},
		{"absolute block", established + `0.1...0.2 read(4, ..., 10) = 10
0.2 < P. 1:11(10) ack 1 win 32792
0.2 > . 1:1(0) ack 11
`},
		{"comments", `// a line
# another
/* one
   of several */
--tolerance_usecs=5000 // with a comment behind
--mtu=1400
` + strings.Replace(established, "mss 1460", "mss 1360", 1) + `/* between */ +0 /* and within */ write(4, /* a call */ ..., 100) = 100 // behind
+0 > /* a packet */ P. 1:101(100) ack 1 # and here
`},
		{"options in a comment", `// --tolerance_usecs=100000
// --mtu=1400
` + strings.Replace(established, "mss 1460", "mss 1360", 1)},
		{"options of the tool", `--non_fatal=syscall --verbose --dry_run=0 --speed=1000 --send_omit_free --tcp_ts_ecr_scaled
--wire_client_dev=eth0 --wire_protocol=udp
--bind_port=7777
--connect_port=8888
--netmask_ip=255.255.0.0
--gateway_ip=192.168.0.9
--local_ip=192.168.7.7
--remote_ip=198.51.100.9
` + established},
		{"not fatal", "--non_fatal=syscall,packet\n" + established + `+0 write(4, ..., 100) = 99
+0 > P. 1:101(100) ack 2
`},
		{"definitions", `-D SIZE=100 --define=FLAGS=POLLIN|POLLOUT
--define=WANT=[{fd=4,events=FLAGS,revents=POLLOUT}]
` + established + `+0 write(4, ..., SIZE) = SIZE
+0 > P. 1:101(100) ack 1
+0 poll(WANT, 1, 0) = 1
`},
		{"set-up", "`sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0\necho 0 > /proc/sys/net/ipv4/tcp_window_scaling\nsysctl -q -w net.ipv4.tcp_wmem=\"4096 20000 80000\" > /dev/null 2>&1; true`\n" +
			`0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <mss 1460>
`},
		{"sysctls on the way", `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 ` + "`sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0 net.ipv4.tcp_window_scaling=0`" + `
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <mss 1460>
+0 < R. 0:0(0) ack 1 win 0
+0 close(3) = 0
+0 ` + "`echo 1 > /proc/sys/net/ipv4/tcp_sack`" + `
+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <mss 1460,nop,nop,sackOK>
`},
		{"clean-up", established + "`true`\n"},
		{"any options", `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <...>
+.01 < S. 0:0(0) ack 1 win 5792 <mss 1000,sackOK,TS val 700 ecr any,nop,wscale 7>
+0 > . 1:1(0) ack 1 <nop,nop,TS val any ecr 700>
`},
		{"other options", established + `+0 < P. 1:11(10) ack 1 win 32792 <nop,kind 253 0102,eol>
+0 > . 1:1(0) ack 11
`},
		{"flags", established + `+0 < UP. 1:11(10) ack 1 win 32792 urg 5
+0 > . 1:1(0) ack 11
+0 < EP. 11:21(10) ack 1 win 32792
+0 > . 1:1(0) ack 21
+0 < - 21:31(10) win 32792
+0 < [ect0] P. 21:31(10) ack 1 win 32792
+0 > [noecn] . 1:1(0) ack 31
+0 < (tos 0x10, ttl 9) P. 31:41(10) ack 1 win 32792
+0 > (tos 0, ttl 64) . 1:1(0) ack 41
`},
		{"vectors", established + `+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0
+0 writev(4, [{..., 60}, {"abc", 40}], 2) = 100
+0 > P. 1:101(100) ack 1
+0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 60}, {..., 40}], msg_flags=0}, 0) = 100
+0 > P. 101:201(100) ack 1
+0 < P. 1:101(100) ack 201 win 32792
+0 > . 201:201(0) ack 101
+0 readv(4, [{..., 10}, {..., 20}], 2) = 30
+0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 30}], msg_flags=0}, 0) = 30
+0 recv(4, ..., 10, MSG_PEEK) = 10
+0 recv(4, ..., 20, MSG_DONTWAIT) = 20
+0 recvfrom(4, ..., 100, 0, ..., ...) = 20
+0 recv(4, ..., 100, MSG_DONTWAIT) = -1 EAGAIN (Resource temporarily unavailable)
+0 send(4, ..., 100, 0) = 100
+0 > P. 201:301(100) ack 101
+0 sendto(4, ..., 100, 0, ..., ...) = 100
+0 > P. 301:401(100) ack 101
`},
		{"addresses", `0 socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 3
+0 bind(3, {sa_family = AF_INET, sin_port = htons(5555), sin_addr = inet_addr("192.168.0.1")}, 16) = 0
+0 connect(3, {sa_family=AF_INET, sin_port=htons(6666), sin_addr=inet_addr("192.0.2.1")}, 16) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <...>
+0 < S. 0:0(0) ack 1 win 32792 <mss 1000>
+0 > . 1:1(0) ack 1
`},
		{"mapped addresses", "--ip_version=ipv4-mapped-ipv6\n" + established + `+0 write(4, ..., 100) = 100
+0 > P. 1:101(100) ack 1
`},
		{"descriptors", established + `+0 fcntl(4, F_GETFL) = 0x2 (flags O_RDWR)
+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 fcntl(4, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)
+0 fcntl(4, F_GETFD) = 0
+0 fcntl(4, F_SETFD, FD_CLOEXEC) = 0
+0 fcntl(4, F_GETFD) = FD_CLOEXEC
+0 write(4, ..., 100) = 100
+0 > P. 1:101(100) ack 1
+0 ioctl(4, SIOCOUTQ, [100]) = 0
+0 ioctl(4, SIOCOUTQNSD, [0]) = 0
+0 ioctl(4, SIOCINQ, [0]) = 0
+0 ioctl(4, FIONREAD, [...]) = 0
`},
		{"socket options", established + `+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0
+0 getsockopt(4, IPPROTO_TCP, TCP_NODELAY, [1], [4]) = 0
+0 getsockopt(4, SOL_SOCKET, SO_TYPE, [SOCK_STREAM], [4]) = 0
+0 setsockopt(4, SOL_SOCKET, SO_RCVTIMEO, {tv_sec=0, tv_usec=50000}, 16) = 0
+0...0.05 read(4, ..., 10) = -1 EAGAIN (Resource temporarily unavailable)
+.06 setsockopt(4, SOL_TCP, TCP_CONGESTION, "reno", 5) = 0
+0 getsockopt(4, SOL_TCP, TCP_CONGESTION, "reno", [16]) = 0
+0 setsockopt(4, SOL_IP, IP_TOS, [0x10], 4) = 0
+0 getsockopt(4, SOL_IP, IP_TOS, [0x10], ...) = 0
+0 getsockopt(4, SOL_TCP, TCP_INFO, {tcpi_state=TCP_ESTABLISHED, tcpi_snd_mss=1000}, ...) = 0
+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=3}, 8) = 0
+0 getsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=3}, [8]) = 0
+0 setsockopt(4, SOL_TCP, 9999, [1], 4) = -1 ENOPROTOOPT (Protocol not available)
`},
		{"control messages", established + `+0 setsockopt(4, SOL_TCP, TCP_INQ, [1], 4) = 0
+0 < P. 1:101(100) ack 1 win 32792
+0 > . 1:1(0) ack 101
+0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 30}], msg_flags=0, msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data=70}]}, 0) = 30
`},
		{"epoll", established + `+0 epoll_create(1) = 5
+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, data={fd=4}}) = 0
+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN, fd=4}) = -1 EEXIST (File exists)
+0 epoll_ctl(5, EPOLL_CTL_MOD, 4, {events=EPOLLOUT|EPOLLONESHOT, ptr=77}) = 0
+0 epoll_wait(5, {events=EPOLLOUT, ptr=77}, 1, 0) = 1
+0 epoll_wait(5, ..., 1, 0) = 0
+0 epoll_ctl(5, EPOLL_CTL_DEL, 4, ...) = 0
+0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN, u32=9}) = 0
+0...0.1 epoll_wait(5, [{events=EPOLLIN, u32=9}], 8, -1) = 1
+.1 < P. 1:101(100) ack 1 win 32792
+0 > . 1:1(0) ack 101
+0...0.05 poll([{fd=3, events=POLLIN, revents=0}], 1, 50) = 0
`},
		{"blocks of Python", established + `+0 %{ assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd }%
+0 %{
# a comment
assert (tcpi_options & TCPI_OPT_SACK) == 0
assert (tcpi_options & (TCPI_OPT_TIMESTAMPS | TCPI_OPT_WSCALE)) == 0, \
	'%d %s' % (tcpi_options, "options")
assert (tcpi_state == TCP_ESTABLISHED and
	tcpi_ca_state == TCP_CA_Open), (tcpi_state,
	tcpi_ca_state)
cwnd, mss = tcpi_snd_cwnd, tcpi_snd_mss
bytes = cwnd * mss; half = bytes // 2
half += 1
if half > 5000:
    print("half", half)
elif half == 5000: print('just')
else:
    assert False, 'not half'
want = 10000 if bytes else 0
assert want == bytes, (want, bytes)
assert 1 <= tcpi_snd_mss <= 1000 and not tcpi_unacked
assert tcpi_snd_ssthresh == TCP_INFINITE_SSTHRESH
assert tcpi_snd_cwnd in (9, 10, 11), "in"
assert abs(-5) == 5 and max(1, 2) == 2 and min([3, 4]) == 3 and len("abc") == 3
assert tcpi_rtt < 1e6 and 0x10 == 16 and 7 % 4 == 3 and 2 ** 10 == 1 << 10
}%
+0 write(4, ..., 100) = 100
+0 > P. 1:101(100) ack 1
+0 %{ assert cwnd == tcpi_snd_cwnd
assert tcpi_unacked == 1; assert tcpi_bytes_acked == 0 }%
`},
		{"ICMP", established + `+0 write(4, ..., 1000) = 1000
+0 > P. 1:1001(1000) ack 1
+.01 < icmp unreachable frag_needed mtu 700 [1:1001(1000)]
+0 > . 1:661(660) ack 1
+0 > P. 661:1001(340) ack 1
+0 < icmp unreachable host_unreachable [1:661(660)]
+0 < icmp time_exceeded ttl_exceeded [1:661(660)]
+0 < icmp source_quench [1:661(660)]
`},
		{"UDP", `0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
+0 bind(3, ..., ...) = 0
+0 connect(3, ..., ...) = 0
+0 write(3, ..., 100) = 100
+0 > udp (100)
+0 < udp (200)
+0 recvmsg(3, {msg_name(...)=..., msg_iov(1)=[{..., 100}], msg_flags=MSG_TRUNC}, 0) = 100
+0 < icmp unreachable port_unreachable [udp (100)]
+0 read(3, ..., 100) = -1 ECONNREFUSED (Connection refused)
`},
		{"several connections", `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 10) = 0
+0 < S 0:0(0) win 32792 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+0 < . 1:1(0) ack 1 win 32792
+0 accept(3, ..., ...) = 4
+0 < R 1:1(0)
+0 < S 0:0(0) win 32792 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+0 < . 1:1(0) ack 1 win 32792
+0 accept4(3, ..., ..., SOCK_NONBLOCK) = 5
+0 read(5, ..., 10) = -1 EAGAIN (Resource temporarily unavailable)
+0 read(4, ..., 10) = -1 ECONNRESET (Connection reset by peer)
`},
	}
}

// phraseFiles writes the phrases to a directory.
func phraseFiles(t *testing.T) (files []string) {
	t.Helper()
	dir := t.TempDir()
	for i, p := range phrases() {
		file := filepath.Join(dir, fmt.Sprintf("%02d-%s.pkt", i, strings.ReplaceAll(p.name, " ", "-")))
		if err := os.WriteFile(file, []byte(p.src), 0o666); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// TestLanguage holds that our stack's player plays every form of the language;
// TestKernelLanguage holds it of the kernel's.
func TestLanguage(t *testing.T) {
	o := Options{Workers: runtime.NumCPU(), Player: player.Config{StrictEnd: true}}
	for _, out := range RunAll(phraseFiles(t), direct.Play, o, nil) {
		if out.Err != nil {
			t.Error(out.Err)
		}
	}
}
