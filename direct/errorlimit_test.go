package direct

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/udp"
)

// TestErrorLimitIsUnpredictable holds that what is left of the allowance for ICMP errors
// tells nobody how many probes met closed ports: whoever knows that bursts are always
// equally long can spoof probes and count what remains for himself, and so finds the port
// that a DNS query left from (CVE-2020-25705).
func TestErrorLimitIsUnpredictable(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		p.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: p.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
		p.drain()
		const rounds = 20
		seen := make(map[uint64]int)
		for range rounds {
			time.Sleep(time.Second) // the allowance is full again
			before := s.Stats().ICMP
			for i := range 2 * errorBurst {
				b := make([]byte, udp.HeaderLen) // no checksum
				binary.BigEndian.PutUint16(b, 53)
				binary.BigEndian.PutUint16(b[2:], uint16(20000+i))
				binary.BigEndian.PutUint16(b[4:], udp.HeaderLen)
				p.ip(ipv4.Header{Protocol: udp.Protocol}, b)
				if i%25 == 24 {
					p.drain()
				}
			}
			p.drain()
			st := s.Stats().ICMP
			n := st.ErrorsOut - before.ErrorsOut
			if limited := st.ErrLimited - before.ErrLimited; n+limited != 2*errorBurst {
				t.Fatalf("%d errors and %d limited, of %d", n, limited, 2*errorBurst)
			}
			// Each takes one to three shares.
			if n < errorBurst/3 || n > errorBurst {
				t.Errorf("%d errors at once, of a burst of %d", n, errorBurst)
			}
			seen[n]++
		}
		if len(seen) < 3 {
			t.Errorf("bursts of %d rounds, by length: %v", rounds, seen)
		}
	})
}
