package tcp_test

import (
	"testing"
	"time"

	"github.com/netduet/netduet/internal/tcpsim"
	"github.com/netduet/netduet/tcp"
)

// RFC 3168: a router that marks when its queue grows keeps it short, and nothing is
// lost; without ECN the same queue overflows.
func TestECN(t *testing.T) {
	const rate, rtt = 2_500_000, 40 * time.Millisecond
	bdp := int(float64(rate) * rtt.Seconds())
	for _, mode := range []tcp.ECNMode{tcp.ECNActive, tcp.ECNPassive} {
		for _, cc := range []string{"cubic", "reno"} {
			end := tcp.Config{
				MSS: 1460, NoDelay: true, SendBuffer: tcp.MaxBuffer, ReceiveBuffer: tcp.MaxBuffer, ECN: mode,
				Controller: tcp.ControllerByName(cc),
			}
			s := tcpsim.New(tcpsim.Config{
				Seed: 1, A: end, B: end,
				AtoB: tcpsim.Path{Delay: rtt / 2, Rate: rate, Queue: 4 * bdp, MarkAbove: bdp},
				BtoA: tcpsim.Path{Delay: rtt / 2},
			})
			tr := s.Transfer(s.A, s.B, 20*rate)
			s.Run(10*time.Second, func() bool { return tr.Err != nil })
			if tr.Err != nil {
				t.Fatal(tr.Err)
			}
			in, lx := s.A.Conn.Info(), s.A.Conn.LinuxInfo(s.Now)
			share := float64(tr.Read) / 10 / (float64(rate) * 1448 / 1514)
			t.Logf("%s, mode %d: %.1f %% of the link, SRTT %v, %d segments again, %d of %d delivered with ECE",
				cc, mode, 100*share, in.SRTT, in.Retransmits, lx.DeliveredCE, lx.Delivered)
			if share < 0.93 {
				t.Errorf("%s: %.3f of the link", cc, share)
			}
			if on := mode == tcp.ECNActive; on != (lx.DeliveredCE > 0) || on == (in.Retransmits > 0) {
				t.Errorf("%s, mode %d: %d delivered with ECE, %d sent again", cc, mode, lx.DeliveredCE, in.Retransmits)
			}
		}
	}
}

// A peer whose ACKs all say ECE, or whose data all says CE, slows itself down and
// breaks nothing: one reduction a round trip, and a window of at least two segments.
func TestECNCheats(t *testing.T) {
	end := tcp.Config{MSS: 1460, NoDelay: true, ECN: tcp.ECNActive, Controller: tcp.NewReno}
	s := tcpsim.New(tcpsim.Config{
		Seed: 1, A: end, B: end,
		AtoB: tcpsim.Path{Delay: 10 * time.Millisecond, Rate: 1_000_000, MarkAbove: 1},
		BtoA: tcpsim.Path{Delay: 10 * time.Millisecond, Rate: 1_000_000, MarkAbove: 1},
	})
	tr := s.Transfer(s.A, s.B, 1<<20)
	if !s.Run(time.Minute, func() bool { return tr.End != nil || tr.Err != nil }) || tr.Err != nil || tr.Read != 1<<20 {
		t.Fatalf("%d bytes, %v", tr.Read, tr.Err)
	}
	if in := s.A.Conn.Info(); in.Threshold < 2*in.SegmentSize && in.Threshold != 0 || in.Retransmits > 0 {
		t.Errorf("%+v", in)
	}
}
