package stacktest_test

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/stack/stacktest"
)

// blackhole returns a listener whose queue is full: Linux drops further SYNs, as
// if nobody were there.
func blackhole() func(t testing.TB, p *stacktest.Pair) netip.AddrPort {
	return func(t testing.TB, p *stacktest.Pair) netip.AddrPort {
		t.Helper()
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		l, err := lc.Listen(context.Background(), "tcp", netip.AddrPortFrom(p.B.Addr, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if cerr := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }); cerr != nil || err != nil {
			t.Fatal(cerr, err)
		}
		// Whether the queue is full is the kernel's to say: that a dial takes long may be
		// due to the machine.
		full := func() (full bool) {
			cerr := raw.Control(func(fd uintptr) {
				var info *unix.TCPInfo
				if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
					full = info.Unacked > info.Sacked // for a listener, the queue's length and limit
				}
			})
			if cerr != nil || err != nil {
				t.Fatal(cerr, err)
			}
			return full
		}
		c, err := net.DialTimeout("tcp", l.Addr().String(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		for end := time.Now().Add(time.Minute); time.Now().Before(end); runtime.Gosched() {
			if full() {
				return l.Addr().(*net.TCPAddr).AddrPort()
			}
		}
		t.Fatal("one connection does not fill a queue without places")
		return netip.AddrPort{}
	}
}
