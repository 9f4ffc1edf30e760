package tcp

import (
	"math"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// The pacer keeps its rate with quanta of a millisecond, whether timers fire in
// time or late, and never lets more out at once than it has to.
func TestPacer(t *testing.T) {
	const mss = 1448
	for _, rate := range []int64{20_000, 1_000_000, 125_000_000, 1_250_000_000} {
		for _, late := range []time.Duration{0, 300 * time.Microsecond, 4 * time.Millisecond} {
			p := pacer{at: clock.Never}
			start := clock.Time(time.Hour)
			now, sent, burst, wakes := start, int64(0), 0, 0
			for now.Sub(start) < 2*time.Second {
				n := 0
				for p.quota(now, rate, mss) >= mss {
					p.sent(mss, rate)
					n += mss
				}
				sent, burst, wakes = sent+int64(n), max(burst, n), wakes+1
				p.hold(now)
				if !p.at.After(now) {
					t.Fatalf("rate %d: the timer is not in the future", rate)
				}
				now = p.at.Add(late)
			}
			want := float64(rate) * now.Sub(start).Seconds()
			quantum := float64(max(int(rate/1000), 2*mss)) + float64(rate)*late.Seconds() + mss
			if got := float64(sent); got < 0.98*want-quantum || got > 1.02*want+quantum {
				t.Errorf("rate %d, %v late: sent %.0f of %.0f bytes", rate, late, got, want)
			}
			if float64(burst) > quantum+mss {
				t.Errorf("rate %d, %v late: %d bytes at once, a quantum is %.0f", rate, late, burst, quantum)
			}
			if wakes > 2100 {
				t.Errorf("rate %d: %d wakeups in two seconds", rate, wakes)
			}
		}
	}
	var p pacer
	if p.quota(1, 0, mss) != math.MaxInt {
		t.Error("without a rate there is a limit")
	}
	p.next = clock.Time(time.Hour)
	if q := p.quota(clock.Time(2*time.Hour), 1_000_000, mss); q > 2*mss {
		t.Errorf("%d bytes at once after idleness", q)
	}
}
