//go:build !race

package direct

import (
	"net/netip"
	"runtime/debug"
	"testing"

	"github.com/netduet/netduet/netif"
)

// The race detector makes pools forget what they hold, at random.

// allocations is testing.AllocsPerRun without garbage collections, which would empty
// the pools in between.
func allocations(runs int, f func()) float64 {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	return testing.AllocsPerRun(runs, f)
}

// TestNoAllocation holds the steady state to no allocation for each segment and
// each exchange.
func TestNoAllocation(t *testing.T) {
	t.Run("udp", func(t *testing.T) {
		p := newPair(t, netif.WireConfig{})
		defer p.close(t)
		u, err := p.b.ListenUDP("udp", netip.MustParseAddrPort("0.0.0.0:7"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.a.ListenUDP("udp", netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		buf, to := make([]byte, 1000), netip.AddrPortFrom(addrB, 7)
		if n := allocations(2000, func() {
			c.WriteToUDPAddrPort(buf, to)
			n, from, _ := u.ReadFromUDPAddrPort(buf)
			u.WriteToUDPAddrPort(buf[:n], from)
			c.ReadFromUDPAddrPort(buf)
		}); n > 0.1 {
			t.Errorf("%v allocations an exchange", n)
		}
	})
	for name, wire := range benchWires() {
		t.Run("ping-pong "+name, func(t *testing.T) {
			p, c, s := benchPair(t, wire)
			defer p.close(t)
			one := make([]byte, 1)
			if n := allocations(2000, func() {
				c.Write(one)
				s.Read(one)
				s.Write(one)
				c.Read(one)
			}); n > 0.1 {
				t.Errorf("%v allocations an exchange", n)
			}
			c.Close()
			s.Close()
		})
		t.Run("bulk "+name, func(t *testing.T) {
			p, c, s := benchPair(t, wire)
			defer p.close(t)
			const size = 1 << 20
			go func() {
				buf := make([]byte, size)
				for {
					if _, err := s.Read(buf); err != nil {
						return
					}
				}
			}()
			buf := make([]byte, size)
			for range 64 { // the pools and the window grow to their size
				c.Write(buf)
			}
			// A reader that is held up lets more memory be used than ever before: the best
			// of some counts. What allocates for each segment does so in all of them.
			best := 1.0
			for tries := 0; tries < 20 && best > 0.02; tries++ {
				segments, runs := p.b.Stats().TCP.Received, 0
				n := allocations(50, func() { runs++; c.Write(buf) })
				best = min(best, n*float64(runs)/float64(p.b.Stats().TCP.Received-segments))
			}
			if best > 0.02 {
				t.Errorf("%v allocations for each segment", best)
			}
			c.Close()
			s.Close()
		})
	}
}
