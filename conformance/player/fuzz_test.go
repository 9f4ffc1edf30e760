package player

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/conformance/script"
)

// yes is a backend on which every call succeeds, with results taken from nowhere.
type yes struct{ fake }

func (y *yes) Accept(int, int) (int, netip.AddrPort, error) { return 200, netip.AddrPort{}, nil }
func (y *yes) Connect(int, netip.AddrPort) error            { return nil }
func (y *yes) Send(_ int, p [][]byte, _ netip.AddrPort, _ []Control, _ int) (int, error) {
	return len(p), nil
}
func (y *yes) Recv(_ int, p [][]byte, n, _ int) (Received, error) {
	r := Received{N: 1000}
	if n > 0 {
		r.Control = []Control{{Level: 6, Type: 36, Data: []byte{1}}}
	}
	return r, nil
}
func (y *yes) Shutdown(int, int) error                       { return nil }
func (y *yes) CloseFD(int) error                             { return nil }
func (y *yes) Setsockopt(int, int, int, []byte) error        { return nil }
func (y *yes) Getsockopt(_, _, _, n int) ([]byte, error)     { return nil, nil }
func (y *yes) Fcntl(int, int, int) (int, error)              { return 0, nil }
func (y *yes) Ioctl(int, int) (int, error)                   { return 0, nil }
func (y *yes) Poll(f []PollFD, _ int) (int, error)           { return len(f), nil }
func (y *yes) EpollCreate(int) (int, error)                  { return 5, nil }
func (y *yes) EpollCtl(int, int, int, EpollEvent) error      { return nil }
func (y *yes) EpollWait(int, int, int) ([]EpollEvent, error) { return []EpollEvent{{Events: 1}}, nil }
func (y *yes) TCPInfo(int) (map[string]int64, error)         { return map[string]int64{"tcpi_state": 1}, nil }

// FuzzRun plays whatever parses: a verdict or a failure, never a panic.
func FuzzRun(f *testing.F) {
	for _, src := range []string{
		server + "+0 < S 5:5(0) win 1 <mss 1,TS val 1 ecr any,sack 1:2>\n+0 accept(3, ..., ...) = 4\n+0 < icmp unreachable frag_needed mtu 5 [1:2(1)]\n",
		"0 socket(..., SOCK_DGRAM, 0) = 3\n+0 sendto(3, ..., 9, 0, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr(\"1.2.3.4\")}, ...) = 1\n+0 > udp (9)\n",
		"0 recvmsg(3, {msg_name(...)=..., msg_iov(1)=[{..., 9}], msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data={ee_errno=1}}], msg_flags=0}, 0) = 1000\n",
		"0 sendmsg(3, {msg_iov(1)=[{\"a\", 9}], msg_control=[{cmsg_level=1, cmsg_type=2, cmsg_data=3}]}, 0) = 1\n0 writev(3, [{..., 1}], 1) = 1\n",
		"0 epoll_create(1) = 4\n0 epoll_ctl(4, EPOLL_CTL_ADD, 3, {events=EPOLLIN, data={fd=3}}) = 0\n0 epoll_wait(4, [{events=EPOLLIN, fd=0}], 4, 0) = 1\n",
		"0 poll([{fd=4, events=POLLIN, revents=0}], 1, 0) = 1\n0 getsockopt(3, 6, TCP_INFO, {tcpi_state=1}, ...) = 0\n0 getsockopt(3, 1, 13, {onoff=1, linger=1}, [8]) = 0\n",
		"--define=X=[Y]\n0 setsockopt(3, 1, 20, {tv_sec=1, tv_usec=2}, 16) = 0\n0 setsockopt(3, 6, 13, \"reno\", 5) = 0\n0...1 read(3, ..., 5) = 5\n+0 %{ assert tcpi_state == 1 }%\n`x`",
	} {
		f.Add([]byte(src))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := script.Parse("fuzz.pkt", src)
		if err != nil || len(src) > 4096 || strings.Contains(string(src), "/") { // no files
			return
		}
		if strings.Contains(string(src), "000000") { // large buffers only cost time
			return
		}
		p, err := Prepare(s)
		if err != nil {
			return
		}
		y := &yes{}
		y.sends = []Sent{send(t, passive, 0, "S. 0:0(0) ack 1 win 1"), send(t, active, time.Second, "P. 1:9(8) ack 1 win 1 <TS val 1 ecr 1,nop,nop>")}
		_, err = Run(p, y, Config{StrictEnd: true})
		var fail *Failure
		if err != nil && !errors.As(err, &fail) {
			t.Fatalf("%T %v", err, err)
		}
	})
}
