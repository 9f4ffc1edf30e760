//go:build !race

// The race detector makes pools forget what they hold, at random.

package direct_test

import (
	"testing"

	"github.com/netduet/netduet/tcp"
)

// TestFloodAllocatesNothing holds what a SYN costs that is answered by a cookie, and what
// an ACK costs that is none's.
func TestFloodAllocatesNothing(t *testing.T) {
	l := newFloodLAN(t, tcp.SynCookiesAlways)
	defer l.close()
	n := 0
	one := func(flags tcp.Flags) func() {
		return func() {
			n++
			l.gate.segment(n, flags)
			l.server.Poll(l.clk.Now())
			l.gate.drain()
		}
	}
	for name, flags := range map[string]tcp.Flags{"SYN": tcp.SYN, "ACK": tcp.ACK} {
		best := 1.0
		for range 3 { // a garbage collection empties the pools
			best = min(best, testing.AllocsPerRun(2000, one(flags)))
		}
		if best > 0.01 {
			t.Errorf("%v allocations for each %s", best, name)
		}
	}
	if st := l.server.Stats().TCP; st.SynCookiesSent < 6000 || st.SynCookiesFailed < 6000 {
		t.Errorf("%d cookies, %d that were none", st.SynCookiesSent, st.SynCookiesFailed)
	}
}
