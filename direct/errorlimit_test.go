package direct

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/udp"
)

// TestErrorLimit: who probes closed ports gets a few errors at once and then one a second,
// and takes from nobody else what is his.
func TestErrorLimit(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		p.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: p.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
		p.drain()
		probe := func(n int) (sent uint64) {
			before := s.Stats().ICMP
			for i := range n {
				b := make([]byte, udp.HeaderLen) // no checksum
				binary.BigEndian.PutUint16(b, 53)
				binary.BigEndian.PutUint16(b[2:], uint16(20000+i))
				binary.BigEndian.PutUint16(b[4:], udp.HeaderLen)
				p.ip(ipv4.Header{Protocol: udp.Protocol}, b)
			}
			p.drain()
			st := s.Stats().ICMP
			sent = st.ErrorsOut - before.ErrorsOut
			if limited := st.ErrLimited - before.ErrLimited; sent+limited != uint64(n) {
				t.Errorf("%d errors and %d limited, of %d", sent, limited, n)
			}
			return sent
		}
		if n := probe(20); n != 6 {
			t.Errorf("%d errors at once", n)
		}
		if !s.errors.allow(s.clk.Now(), netip.MustParseAddr("192.0.2.7")) {
			t.Error("another gets none")
		}
		time.Sleep(time.Second)
		if n := probe(20); n != 1 {
			t.Errorf("%d errors a second later", n)
		}
	})
}

// TestErrorLimitIsUnpredictable holds that what is left of the allowance for ICMP errors
// tells nobody how many probes met closed ports: whoever knows that bursts are always
// equally long can spoof probes and count what remains for himself, and so finds the port
// that a DNS query left from (CVE-2020-25705).
func TestErrorLimitIsUnpredictable(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, _ := newRaw(t, nil, nil)
		defer s.Close()
		const rounds, burst = 20, 50
		seen := make(map[int]int)
		for range rounds {
			time.Sleep(10 * time.Second) // all allowances are full again
			n := 0
			for i := range 2 * burst {
				if s.errors.allow(s.clk.Now(), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})) {
					n++
				}
			}
			if n < burst/3 || n > burst { // each takes one to three shares
				t.Errorf("%d errors at once, of a burst of %d", n, burst)
			}
			seen[n]++
		}
		if len(seen) < 3 {
			t.Errorf("bursts of %d rounds, by length: %v", rounds, seen)
		}
	})
}
