package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netduet/netduet/conformance/direct"
	"github.com/netduet/netduet/conformance/player"
)

// server and talk are right: both stacks play them. Each bite below makes one line of
// one of them wrong, and the verdict has to be about that line.
const (
	bitten = `0   socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0  setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0  bind(3, ..., ...) = 0
+0  listen(3, 1) = 0
+0  < [noecn] S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop>
+0  > [noecn] S. 0:0(0) ack 1 win 64240 <mss 1460,nop,nop,sackOK>
+.1 < . 1:1(0) ack 1 win 32792
+0  accept(3, ..., ...) = 4
+0  getsockopt(4, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
+0  getsockopt(4, SOL_TCP, TCP_MAXSEG, [1000], [4]) = 0
+0  fcntl(4, F_GETFL) = 0x2 (flags O_RDWR)
+0  poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}], 1, 0) = 1
+0  write(4, ..., 1000) = 1000
+0  > [noecn] P. 1:1001(1000) ack 1
+0  ioctl(4, SIOCOUTQ, [1000]) = 0
+0  %{ assert tcpi_unacked == 1 and tcpi_snd_mss == 1000, tcpi_unacked }%
+.1 < . 1:1(0) ack 1001 win 32792
+0  < P. 1:11(10) ack 1001 win 32792
+0  > . 1001:1001(0) ack 11
+0  ioctl(4, SIOCINQ, [10]) = 0
+0  < . 1011:2011(1000) ack 1001 win 32792
+0  > . 1001:1001(0) ack 11 <nop,nop,sack 1011:2011>
+0  read(4, ..., 100) = 10
+0  epoll_create1(0) = 5
+0  epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLOUT, fd=4}) = 0
+0  epoll_wait(5, [{events=EPOLLOUT, fd=4}], 4, 0) = 1
+0...0.1 read(4, ..., 100) = 100
+.1 < . 11:1011(1000) ack 1001 win 32792
+0  > . 1001:1001(0) ack 2011
+.1 read(4, ..., 5000) = 1900
+0  shutdown(4, SHUT_WR) = 0
+0  > F. 1001:1001(0) ack 2011
+.1 < F. 2011:2011(0) ack 1002 win 32792
+0  > . 1002:1002(0) ack 2012
+0  read(4, ..., 100) = 0
+0  close(4) = 0
`
	bittenStamps = `0   socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0  fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0  connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0  > S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>
+.1 < S. 0:0(0) ack 1 win 5792 <mss 1012,sackOK,TS val 700 ecr 100,nop,wscale 7>
+0  > . 1:1(0) ack 1 <nop,nop,TS val 200 ecr 700>
+0  send(3, ..., 500, MSG_MORE) = 500
+0  send(3, ..., 500, 0) = 500
+0  > P. 1:1001(1000) ack 1 <nop,nop,TS val 200 ecr 700>
+.3~+.35 > P. 1:1001(1000) ack 1 <nop,nop,TS val 500 ecr 700>
+0  < R. 1:1(0) ack 1001 win 0 <nop,nop,TS val 800 ecr 500>
+0  read(3, ..., 100) = -1 ECONNRESET (Connection reset by peer)
`
	bittenUDP = `0   socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
+0  bind(3, ..., ...) = 0
+0  sendto(3, ..., 100, 0, ..., ...) = 100
+0  > udp (100)
+0  < udp (50)
+0  recvfrom(3, ..., 100, 0, ..., ...) = 50
+0  fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0  recvfrom(3, ..., 100, 0, ..., ...) = -1 EAGAIN (Resource temporarily unavailable)
`
)

// bite is a script with one line that is wrong.
type bite struct {
	script string
	line   int // from 1
	text   string
	kind   player.Kind
	want   string // part of the verdict
	at     int    // the line of the verdict, if it is another one
}

func bites() []bite {
	const (
		packet = player.Mismatch
		timing = player.Timing
		call   = player.Call
		python = player.Assertion
		bad    = player.BadScript
	)
	return []bite{
		// Packets.
		{bitten, 6, "+0 > [noecn] S. 0:0(0) ack 2 <mss 1460,nop,nop,sackOK>", packet, "the acknowledgment number is 1 instead of 2", 0},
		{bitten, 6, "+0 > S 0:0(0) <mss 1460,nop,nop,sackOK>", packet, "the flags are S. instead of S", 0},
		{bitten, 6, "+0 > [ect0] S. 0:0(0) ack 1 <mss 1460,nop,nop,sackOK>", packet, "the ECN field differs", 0},
		{bitten, 6, "+0 > S. 0:0(0) ack 1 win 64241 <mss 1460,nop,nop,sackOK>", packet, "the window is 64240 instead of 64241", 0},
		{bitten, 6, "+0 > S. 0:0(0) ack 1 <mss 1461,nop,nop,sackOK>", packet, "the option mss 1460 is there instead of mss 1461", 0},
		{bitten, 6, "+0 > S. 0:0(0) ack 1 <mss 1460,sackOK>", packet, "the option nop is there instead of sackOK", 0},
		{bitten, 6, "+0 > S. 0:0(0) ack 1 <mss 1460>", packet, "the option nop is not expected", 0},
		{bitten, 6, "+0 > S. 0:0(0) ack 1", packet, "the option mss 1460 is not expected", 0},
		{bitten, 6, "+0 > S. 0:0(0) ack 1 <mss 1460,nop,nop,sackOK,nop,wscale 7>", packet, "the option nop is missing", 0},
		{bitten, 6, "+0 > udp (5)", packet, "another protocol", 0},
		{bitten, 6, "+0 > icmp unreachable port_unreachable", packet, "another protocol", 0},
		{bitten, 6, "+.05 > S. 0:0(0) ack 1 <...>", timing, "instead of 50ms", 0},
		{bitten, 6, "+.05~+.06 > S. 0:0(0) ack 1 <...>", timing, "instead of 50ms to 60ms", 0},
		{bitten, 6, "* > . 1:1(0) ack 1", packet, "the flags are S. instead of .", 0},
		{bitten, 14, "+0 > . 1:1001(1000) ack 1", packet, "the flags are P. instead of .", 0},
		{bitten, 14, "+0 > P. 2:1002(1000) ack 1", packet, "the sequence number is 1 instead of 2", 0},
		{bitten, 14, "+0 > P. 1:1002(1001) ack 1", packet, "the payload has 1000 bytes instead of 1001", 0},
		{bitten, 14, "+0 > P. 1:501(500) ack 1", packet, "501:1001", 19},
		{bitten, 14, "+0 > FP. 1:1001(1000) ack 1", packet, "the flags are P. instead of FP.", 0},
		{bitten, 14, "+0 > P. 1:1001(1000) ack 1 urg 5", packet, "the urgent pointer is 0 instead of 5", 0},
		{bitten, 14, "+0 > (ttl 63) P. 1:1001(1000) ack 1", packet, "the TTL is 64 instead of 63", 0},
		{bitten, 14, "+0 > [tos 0x10] P. 1:1001(1000) ack 1", packet, "the TOS is 0x00 instead of 0x10", 0},
		{bitten, 19, "+0 > . 1001:1001(0) ack 10", packet, "the acknowledgment number is 11 instead of 10", 0},
		{bitten, 19, "+0 ioctl(4, SIOCINQ, [10]) = 0", packet, "the option", 22},
		{bitten, 22, "+0 > . 1001:1001(0) ack 11 <nop,nop,sack 1011:2012>", packet, "the option sack 1011:2011 is there instead of sack 1011:2012", 0},
		{bitten, 22, "+0 > . 1001:1001(0) ack 11", packet, "the option nop is not expected", 0},
		{bitten, 34, "+0 > . 1002:1002(0) ack 2011", packet, "the acknowledgment number is 2012 instead of 2011", 0},
		{bitten, 34, "+0 read(4, ..., 100) = 0", packet, "a packet is left over", 36},
		{bittenStamps, 6, "+0 > . 1:1(0) ack 1 <nop,nop,TS val 200 ecr 701>", packet, "the option TS val", 0},
		{bittenStamps, 4, "+0 > S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 1,nop,wscale 7>", packet, "the option TS val", 0},
		{bittenStamps, 10, "+.1~+.15 > P. 1:1001(1000) ack 1 <nop,nop,TS val 500 ecr 700>", packet, "no packet was sent", 0},
		{bittenStamps, 10, "+.2~+.27 > P. 1:1001(1000) ack 1 <nop,nop,TS val 500 ecr 700>", timing, "instead of 300ms to 370ms", 0},
		{bittenUDP, 4, "+0 > udp (101)", packet, "the payload has 100 bytes instead of 101", 0},
		{bittenUDP, 4, "+0 > P. 1:101(100) ack 1", packet, "another protocol", 0},
		// System calls.
		{bitten, 1, "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = -1 EACCES (Permission denied)", call, "the call returned", 0},
		{bitten, 3, "+0 bind(3, ..., ...) = -1 EADDRINUSE (Address already in use)", call, "the call returned 0", 0},
		{bitten, 4, "+0 listen(9, 1) = 0", call, "-1 EBADF", 0},
		{bitten, 8, "+0 accept(3, ..., ...) = -1 EAGAIN (Resource temporarily unavailable)", call, "the call returned", 0},
		{bitten, 7, "+.1 %{ pass }%", call, "the call blocks", 8},
		{bitten, 9, "+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [ECONNRESET], [4]) = 0", call, "the option is 0", 0},
		{bitten, 10, "+0 getsockopt(4, SOL_TCP, TCP_MAXSEG, [999], [4]) = 0", call, "the option is 1000", 0},
		{bitten, 11, "+0 fcntl(4, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)", call, "the call returned 2", 0},
		{bitten, 12, "+0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN|POLLOUT}], 1, 0) = 1", call, "revents of entry 0 is 4", 0},
		{bitten, 12, "+0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}], 1, 0) = 0", call, "the call returned 1", 0},
		{bitten, 13, "+0 write(4, ..., 1000) = 999", call, "the call returned 1000", 0},
		{bitten, 15, "+0 ioctl(4, SIOCOUTQ, [999]) = 0", call, "the value is 1000", 0},
		{bitten, 20, "+0 ioctl(4, SIOCINQ, [11]) = 0", call, "the value is 10", 0},
		{bitten, 23, `+0 read(4, "0123456789", 100) = 10`, call, "other bytes were read", 0},
		{bitten, 23, "+0 read(4, ..., 100) = 11", call, "the call returned 10", 0},
		{bitten, 26, "+0 epoll_wait(5, [{events=EPOLLIN, fd=4}], 4, 0) = 1", call, "event 0 differs", 0},
		{bitten, 26, "+0 epoll_wait(5, [{events=EPOLLOUT, fd=5}], 4, 0) = 1", call, "event 0 differs", 0},
		{bitten, 27, "+0...0.1 read(4, ..., 100) = 101", call, "the call returned 100", 0},
		{bitten, 27, "+0...0.05 read(4, ..., 100) = 100", timing, "instead of 250ms", 0},
		{bitten, 27, "+0...0.2 read(4, ..., 100) = 100", timing, "the call returned at", 0},
		{bitten, 27, "+0 read(4, ..., 100) = 100", call, "the call blocks", 0},
		{bitten, 31, "+0 shutdown(4, SHUT_RD) = -1 ENOTCONN (Transport endpoint is not connected)", call, "the call returned 0", 0},
		{bitten, 35, "+0 read(4, ..., 100) = -1 ECONNRESET (Connection reset by peer)", call, "the call returned 0", 0},
		{bittenStamps, 3, "+0 connect(3, ..., ...) = -1 EISCONN (Transport endpoint is already connected)", call, "-1 EINPROGRESS", 0},
		{bittenStamps, 12, "+0 read(3, ..., 100) = 0", call, "-1 ECONNRESET", 0},
		{bittenUDP, 6, "+0 recvfrom(3, ..., 100, 0, ..., ...) = 100", call, "the call returned 50", 0},
		{bittenUDP, 8, "+0 recvfrom(3, ..., 100, 0, ..., ...) = 50", call, "-1 EAGAIN", 0},
		// Assertions.
		{bitten, 16, "+0 %{ assert tcpi_unacked == 2, 'unacked' }%", python, "unacked (tcpi_unacked = 1)", 0},
		{bitten, 16, "+0 %{\nassert tcpi_unacked == 1\nassert (tcpi_options & TCPI_OPT_TIMESTAMPS) != 0, tcpi_options\n}%", python, "does not hold", 18},
		{bitten, 16, "+0 %{ mss = tcpi_snd_mss\nassert mss == 1000 if tcpi_unacked else mss == 1 }%\n+0 %{ assert mss == 999, mss }%", python, "mss = 1000", 18},
		{bitten, 16, "+0 %{ assert tcpi_ca_state == TCP_CA_Loss or not tcpi_unacked }%", python, "does not hold", 0},
		{bitten, 16, "+0 %{ assert tcpi_frobs == 1 }%", bad, "tcpi_frobs is not defined", 0},
	}
}

// bitten scripts are played from a directory of their own.
func (b *bite) write(t *testing.T, i int) (file string, line int) {
	t.Helper()
	lines := strings.Split(b.script, "\n")
	lines[b.line-1] = b.text
	file = filepath.Join(t.TempDir(), fmt.Sprintf("bite%d.pkt", i))
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	if b.at != 0 {
		return file, b.at
	}
	return file, b.line
}

// found reports whether the verdict is about what is wrong.
func (b *bite) found(err error, line int) bool {
	var f *player.Failure
	return errors.As(err, &f) && f.Kind == b.kind && f.Pos.Line == line && strings.Contains(f.Error(), b.want)
}

// judge compares the verdict with what is wrong.
func (b *bite) judge(t *testing.T, err error, line int) {
	t.Helper()
	if !b.found(err, line) {
		t.Errorf("line %d, %s:\n%v\nwant %v at line %d: %s", b.line, b.text, err, b.kind, line, b.want)
	}
}

// TestBites holds that a script fails when one of its lines is wrong, and names the
// line, what differs and how.
func TestBites(t *testing.T) {
	dir := t.TempDir()
	o := Options{Player: player.Config{StrictEnd: true}}
	for i, s := range []string{bitten, bittenStamps, bittenUDP} {
		file := filepath.Join(dir, fmt.Sprintf("%d.pkt", i))
		if err := os.WriteFile(file, []byte(s), 0o666); err != nil {
			t.Fatal(err)
		}
		if out := Run(file, direct.Play, o); out.Err != nil {
			t.Fatalf("before any change: %v", out.Err)
		}
	}
	list := bites()
	if len(list) < 40 {
		t.Errorf("only %d bites", len(list))
	}
	for i := range list {
		file, line := list[i].write(t, i)
		list[i].judge(t, Run(file, direct.Play, o).Err, line)
	}
}
