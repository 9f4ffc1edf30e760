package tcpsim

import (
	"testing"
	"time"

	"github.com/netduet/netduet/tcp"
)

// bounded is a controller whose window and rate the test sets.
type bounded struct {
	tcp.Controller
	window int
	rate   int64
}

func (b *bounded) Window() int       { return b.window }
func (b *bounded) PacingRate() int64 { return b.rate }
func (b *bounded) OwnRecovery() bool { return true }

// TestPacerBehindWindow cuts the window while the pacer holds segments back. From then on
// the window is in the way and not the pacer, whose schedule that does not let run up a
// debt: when ACKs come together, what they let go leaves at the pacer's rate.
func TestPacerBehindWindow(t *testing.T) {
	const segment, rtt = 1448, 20 * time.Millisecond
	for phase := range 8 {
		l := NewLoop(1)
		data := NewLink(l, LinkConfig{Rate: 1e9, Delay: rtt / 2})
		acks := NewLink(l, LinkConfig{Delay: rtt / 2, Batch: rtt})
		b := &bounded{Controller: tcp.NewReno(), window: 40 * segment, rate: int64(40 * segment / rtt.Seconds())}
		end := tcp.Config{MSS: 1460, NoDelay: true, ReceiveBuffer: 1 << 20, SendBuffer: 1 << 20}
		sender := end
		sender.Controller = func() tcp.Controller { return b }
		f := NewFlow(l, data, acks, 0, FlowConfig{Sender: sender, Receiver: end})
		l.Until(time.Second + time.Duration(phase)*rtt/8)
		b.window /= 2
		l.Until(2 * time.Second)
		s := data.Stats()
		// A millisecond's worth may leave at once, or two segments; each takes 12 µs to send.
		if most := 3 * 13 * time.Microsecond; s.WaitedMost > most || s.Sent < 500 {
			t.Errorf("phase %d: of %d segments one waited %v for others, %v at most is the pacer's quantum", phase, s.Sent, s.WaitedMost, most)
		}
		f.Stop()
		l.Run(time.Minute, f.Over)
		if err := f.Check(); err != nil {
			t.Error(err)
		}
	}
}
