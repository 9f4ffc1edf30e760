package direct

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/netif"
)

// TestSocketLimits: options that bound something do so.
func TestSocketLimits(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := newPair(t, netif.WireConfig{})
		defer p.close(t)
		l := mustSocket(t, p.b, "tcp")
		setInt(t, l, linuxopt.SOL_SOCKET, linuxopt.SO_RCVBUF, 8000, nil)
		setInt(t, l, linuxopt.IPPROTO_TCP, linuxopt.TCP_WINDOW_CLAMP, 4000, nil)
		want(t, "bind", l.Bind(netip.AddrPortFrom(addrB, 80)), nil)
		want(t, "listen", l.Listen(1), nil)
		k := mustSocket(t, p.a, "tcp")
		want(t, "connect", k.Connect(netip.AddrPortFrom(addrB, 80)), syscall.EINPROGRESS)
		synctest.Wait()
		c, err := l.Accept()
		want(t, "accept", err, nil)
		defer c.Close()

		b := make([]byte, 248)
		if n, err := k.GetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_INFO, b); n != len(b) || err != nil {
			t.Errorf("TCP_INFO: %d bytes, %v", n, err)
		}
		if w := binary.LittleEndian.Uint32(b[228:]); w < 1000 || w > 4096 {
			t.Errorf("a window of %d bytes although clamped to 4000", w)
		}
		setInt(t, k, linuxopt.IPPROTO_TCP, linuxopt.TCP_NOTSENT_LOWAT, 1000, nil)
		n := 0
		for range 100 { // as much as there is room for on either side
			m, err := k.Write(make([]byte, 50000-n))
			if n += m; err == syscall.EAGAIN {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
			} else {
				want(t, "write", err, nil)
			}
		}
		if n < 5000 || n > 15000 { // the window, and more than the bound behind it
			t.Errorf("wrote %d", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		in, _, _ := c.Pending()
		if in < 4000 || in > 11000 { // 16000 with the cost of segments: Linux's reckoning
			t.Errorf("%d bytes came into a buffer of 8000", in)
		}
		if k.Ready()&ReadyOut != 0 {
			t.Error("writable above the bound of unsent bytes")
		}
		_, err = k.Write([]byte("x"))
		want(t, "write above the bound", err, syscall.EAGAIN)
		k.GetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_INFO, b)
		busy, window := binary.LittleEndian.Uint64(b[168:]), binary.LittleEndian.Uint64(b[176:])
		if window < 900000 || busy < window {
			t.Errorf("busy for %d µs, %d of them limited by the window", busy, window)
		}
		for total := 0; total < n; {
			m, err := c.Read(make([]byte, 65536))
			if total += m; err == syscall.EAGAIN {
				time.Sleep(100 * time.Millisecond)
			} else {
				want(t, "read", err, nil)
			}
		}
		synctest.Wait()
		if k.Ready()&ReadyOut == 0 {
			t.Error("not writable with nothing unsent")
		}

		// No FIN-WAIT-2 at all.
		setInt(t, k, linuxopt.IPPROTO_TCP, linuxopt.TCP_LINGER2, -1, nil)
		want(t, "close", k.Close(), nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if r := c.Ready(); r&(ReadyErr|ReadyHup) == 0 {
			t.Errorf("no reset: ready %05b", r)
		}
	})
}
