package tcpsim

import (
	"testing"
	"time"

	"github.com/netduet/netduet/tcp"
)

// TestCompressedACKs has ACKs come many at one instant, as a radio link or a batch of
// received frames makes them, where slow start overflows a buffer. What is answered to
// them leaves at one reading of the clock: retransmissions of low sequence numbers behind
// new data of high ones. When that data is reported, the retransmissions are not late yet,
// and nothing may be sent again that arrived.
func TestCompressedACKs(t *testing.T) {
	for _, cc := range []string{"cubic", "reno", "bbr"} {
		for _, rtt := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
			for _, thin := range []bool{false, true} {
				const rate = 10e6
				l := NewLoop(1)
				buffer := int(4 * rate / 8 * rtt.Seconds())
				data := NewLink(l, LinkConfig{Rate: rate, Buffer: buffer, Delay: rtt / 2})
				acks := NewLink(l, LinkConfig{Delay: rtt / 2, Batch: rtt / 4, Thin: thin})
				end := tcp.Config{MSS: 1460, NoDelay: true, ReceiveBuffer: 4 << 20, SendBuffer: 4 << 20, Controller: tcp.ControllerByName(cc)}
				f := NewFlow(l, data, acks, 0, FlowConfig{Sender: end, Receiver: end})
				l.Until(20 * time.Second)
				f.Stop()
				l.Run(time.Minute, f.Over)
				s := f.Stats()
				if err := f.Check(); err != nil {
					t.Error(cc, rtt, thin, err)
				}
				// A tail loss probe may be for nothing.
				if allowed := uint64(s.Info.TailProbes); s.Spurious > allowed || s.Arrived < 10000 {
					t.Errorf("%s, %v, thinned %v: of %d segments that arrived, %d were sent again for nothing, %d of %d sent; %d probes, %d timeouts",
						cc, rtt, thin, s.Arrived, s.Spurious, s.Again, s.Sent, s.Info.TailProbes, s.Info.Timeouts)
				}
			}
		}
	}
}
