package direct

import (
	"net/netip"
	"testing"

	"github.com/netduet/netduet/tcp"
)

// A SYN that comes again while a timer repeats the answer to the first: what both use is
// the race detector's to judge.
func TestSynWhileItsAnswerIsRepeated(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, func(cfg *Config) { cfg.Manual = true })
		defer s.Close()
		if _, err := s.ListenTCP("tcp", netip.MustParseAddrPort("0.0.0.0:7")); err != nil {
			t.Fatal(err)
		}
		syn := func() {
			p.tcp(9, 7, tcp.Reply{Seq: 1000, Flags: tcp.SYN, Window: 65535}, nil)
			pollDry(s)
		}
		syn()
		all := s.table.all()
		h, ok := all[0].kind.(*halfOpen)
		if len(all) != 1 || !ok {
			t.Fatalf("%d records, the first a %T", len(all), all[0].kind)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 100 {
				h.synAck(s.clk.Now(), fastVerdict{})
			}
		}()
		for range 100 {
			syn()
		}
		<-done
	})
}
