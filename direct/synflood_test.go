//go:build !race

// The race detector of Go 1.26 crashes in its own runtime (SIGSEGV, or its CHECK of
// slot_locked) when a bubble's timers are re-armed at the rate of this test.

package direct

import (
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/tcp"
)

// TestSynFlood fills a listener with half-open connections. What comes then is answered by
// cookies; without them it is dropped, until the oldest are old enough to give way.
func TestSynFlood(t *testing.T) {
	bubble(t, "cookies", func(t *testing.T) { testSynFlood(t, tcp.SynCookiesWhenFull) })
	bubble(t, "none", func(t *testing.T) { testSynFlood(t, tcp.SynCookiesNever) })
}

func testSynFlood(t *testing.T, mode tcp.SynCookies) {
	s, p := newRaw(t, nil, func(cfg *Config) { cfg.TCP.SynCookies = mode })
	defer s.Close()
	l, err := s.ListenTCP("tcp", netip.MustParseAddrPort("0.0.0.0:7"))
	if err != nil {
		t.Fatal(err)
	}
	const extra = 500
	p.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: p.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
	for i := range listenBacklog + extra {
		p.tcp(uint16(1000+i), 7, tcp.Reply{Seq: 1, Flags: tcp.SYN, Window: 1000}, nil)
		if i%100 == 0 {
			p.drain()
		}
	}
	p.drain()
	st := s.Stats().TCP
	want := [3]uint64{listenBacklog, extra, 0}
	if mode == tcp.SynCookiesNever {
		want[1], want[2] = 0, extra
	}
	if got := [3]uint64{st.HalfOpen, st.SynCookiesSent, st.SynOverflow}; got != want || st.SynEvicted != 0 {
		t.Errorf("half-open, cookies, dropped: %v, want %v; %d gave way", got, want, st.SynEvicted)
	}
	if mode == tcp.SynCookiesNever {
		time.Sleep(staleHalfOpen + time.Millisecond)
		p.drain()
	}
	// The newest gets in.
	p.tcp(60000, 7, tcp.Reply{Seq: 1, Flags: tcp.SYN, Window: 1000}, nil)
	segs := p.drain()
	if len(segs) != 1 || segs[0].Flags != tcp.SYN|tcp.ACK {
		t.Fatalf("%+v", segs)
	}
	p.tcp(60000, 7, tcp.Reply{Seq: 2, Ack: segs[0].Seq.Add(1), Flags: tcp.ACK, Window: 1000}, nil)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := s.Stats().TCP.SynEvicted; (n != 0) != (mode == tcp.SynCookiesNever) {
		t.Errorf("%d gave way", n)
	}
	// Without an answer all of them are forgotten.
	time.Sleep(2 * time.Minute)
	p.drain()
	if n := s.Stats().TCP.HalfOpen; n != 0 {
		t.Errorf("%d are still half-open", n)
	}
}
