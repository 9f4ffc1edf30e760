package tcp_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/netduet/netduet/internal/tcpsim"
	"github.com/netduet/netduet/tcp"
)

// flow is what one transfer without end did between the 20th and the 25th second.
type flow struct {
	share float64       // of the link's payload rate
	queue time.Duration // mean of the smoothed round-trip time above the path's
	info  tcp.Info
}

// measure runs one flow over a link of rate bytes per second with a buffer of one
// bandwidth-delay product, or a few segments at least.
func measure(t *testing.T, cc string, rtt time.Duration, rate int64, loss float64, seed uint64) flow {
	t.Helper()
	bdp := int(float64(rate) * rtt.Seconds())
	end := tcp.Config{
		MSS: 1460, NoDelay: true, SendBuffer: tcp.MaxBuffer, ReceiveBuffer: tcp.MaxBuffer,
		Controller: tcp.ControllerByName(cc),
	}
	cfg := tcpsim.Config{
		Seed: seed, A: end, B: end,
		AtoB: tcpsim.Path{Delay: rtt / 2, Rate: rate, Queue: max(bdp, 10*1514), Loss: loss},
		BtoA: tcpsim.Path{Delay: rtt - rtt/2},
	}
	s := tcpsim.New(cfg)
	tr := s.Transfer(s.A, s.B, int(30*rate))
	never := func() bool { return tr.Err != nil }
	s.Run(20*time.Second, never)
	before := tr.Read
	var f flow
	for range 50 {
		s.Run(100*time.Millisecond, never)
		f.info = s.A.Conn.Info()
		f.queue += (f.info.SRTT - rtt) / 50
	}
	if tr.Err != nil {
		t.Fatal(tr.Err)
	}
	f.share = float64(tr.Read-before) / 5 / (float64(rate) * 1448 / 1514)
	return f
}

// On a clean path with a buffer of one bandwidth-delay product the link is full.
// BBR empties the queue and then the path on purpose, for half a second in five
// where the round trip takes 300 ms.
func TestCongestionCleanPath(t *testing.T) {
	const rate = 2_500_000
	for _, rtt := range []int{1, 10, 50, 100, 300} {
		for cc, least := range map[string]float64{"cubic": 0.95, "bbr": 0.90} {
			t.Run(fmt.Sprintf("%s/%dms", cc, rtt), func(t *testing.T) {
				t.Parallel()
				f := measure(t, cc, time.Duration(rtt)*time.Millisecond, rate, 0, 1)
				t.Logf("%s %3d ms: %5.1f %% of the link, queue %v, %d of %d segments again, %d timeouts", cc, rtt,
					100*f.share, f.queue.Round(100*time.Microsecond), f.info.Retransmits, f.info.SegmentsOut, f.info.Timeouts)
				if f.share < least {
					t.Errorf("%.3f of the link, want %.2f; %+v", f.share, least, f.info)
				}
			})
		}
	}
}

// Random loss of 1 % is no congestion: BBR keeps most of the link, CUBIC cannot. How
// much, chance decides: two losses among the 86 segments that fill this path are more
// than the 2 % at which BBR takes a probe for too much. So the mean of seeds counts.
func TestCongestionRandomLoss(t *testing.T) {
	const rate = 2_500_000
	seeds := few(3)
	share := map[string]float64{}
	for _, cc := range []string{"cubic", "bbr"} {
		for seed := range seeds {
			f := measure(t, cc, 50*time.Millisecond, rate, 0.01, 7+seed)
			share[cc] += f.share / float64(seeds)
			t.Logf("%s, seed %d: %.1f %% of the link, queue %v, %d timeouts", cc, 7+seed, 100*f.share, f.queue.Round(100*time.Microsecond), f.info.Timeouts)
		}
	}
	if share["bbr"] < 0.7 || share["bbr"] < 3*share["cubic"] {
		t.Errorf("%v", share)
	}
}
