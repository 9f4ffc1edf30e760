package stacktest_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

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
		if cerr := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); cerr != nil || err != nil {
			t.Fatal(cerr, err)
		}
		for range 10 {
			c, err := net.DialTimeout("tcp", l.Addr().String(), 50*time.Millisecond)
			if err == nil {
				t.Cleanup(func() { c.Close() })
				continue
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			return l.Addr().(*net.TCPAddr).AddrPort()
		}
		t.Fatal("a listener with an empty queue accepts connections without end")
		return netip.AddrPort{}
	}
}
