package direct

import (
	"testing"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/tcp"
)

// TestResetLimit floods closed ports: the answers are bounded and the rest counted,
// and after a while there are answers again.
func TestResetLimit(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		p.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: p.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
		p.drain()
		flood := func(n int) (resets int) {
			for i := range n {
				p.tcp(uint16(1000+i), 7, tcp.Reply{Seq: 1, Flags: tcp.SYN, Window: 1000}, nil)
				if i%100 == 99 {
					resets += len(p.drain())
				}
			}
			return resets + len(p.drain())
		}
		if n := flood(3 * resetBurst); n < resetBurst || n > resetBurst+resetBurst/10 {
			t.Errorf("%d resets of a burst of %d", n, resetBurst)
		}
		st := s.Stats().TCP
		if st.ResetsSent+st.ResetsLimited != 3*resetBurst || st.ResetsLimited < resetBurst {
			t.Errorf("%d sent and %d not, of %d", st.ResetsSent, st.ResetsLimited, 3*resetBurst)
		}
		time.Sleep(resetBurst * resetInterval)
		if n := flood(100); n != 100 {
			t.Errorf("%d resets afterwards", n)
		}
	})
}
