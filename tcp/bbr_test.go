package tcp

import (
	"math"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// bbrDriver feeds a controller with what an ideal path of rate bytes per second would
// acknowledge: every round trip delivers what was in flight.
type bbrDriver struct {
	*bbr
	t         *testing.T
	at        clock.Time
	rtt       time.Duration
	rate      float64
	delivered uint64
	round     uint64 // what was delivered a round trip ago
	inFlight  int
}

func newBBRDriver(t *testing.T, rate float64) *bbrDriver {
	d := &bbrDriver{bbr: new(bbr), t: t, at: clock.Time(time.Hour), rtt: 100 * time.Millisecond, rate: rate}
	d.Init(d.at, 1000, d.rtt)
	return d
}

// ack is one acknowledgement a round trip later, with what change makes of it.
func (d *bbrDriver) ack(change func(a *AckInfo)) {
	n := int(d.rate * d.rtt.Seconds())
	d.at = d.at.Add(d.rtt)
	d.delivered += uint64(n)
	a := AckInfo{
		Now: d.at, Acked: n, Delivered: n, RTT: d.rtt, InFlight: n, InFlightAfter: d.inFlight, TotalDelivered: d.delivered,
		Sample: RateSample{Delivered: n, Interval: d.rtt, PriorDelivered: d.round, TxInFlight: n},
	}
	d.round = d.delivered
	if change != nil {
		change(&a)
	}
	d.OnAck(a)
}

// until acknowledges until the controller is in a state.
func (d *bbrDriver) until(state bbrState) {
	d.t.Helper()
	for range 200 {
		if d.state == state {
			return
		}
		d.ack(nil)
	}
	d.t.Fatalf("state %d, not %d, after 200 rounds", d.state, state)
}

// lose tells of so many segments lost, of which the last finds as many lost since it was
// sent.
func (d *bbrDriver) lose(segs, txInFlight int, adjoins bool) {
	for i := range segs {
		d.OnLost(LossInfo{
			Now: d.at, Bytes: 1000, Adjoins: adjoins && i > 0, PriorDelivered: d.round, TxInFlight: txInFlight,
			Lost: 1000 * (i + 1), TotalDelivered: d.delivered,
		})
	}
}

// Three rounds without a quarter more end Startup (section 5.3.1.2), and samples that
// the application limited do not count.
func TestBBRStartupPlateau(t *testing.T) {
	d := newBBRDriver(t, 1e6)
	for range 20 {
		d.ack(func(a *AckInfo) { a.Sample.AppLimited = true })
	}
	if d.state != bbrStartup {
		t.Fatalf("state %d after rounds limited by the application", d.state)
	}
	rounds := 0
	for d.inFlight = math.MaxInt; d.state == bbrStartup; rounds++ {
		d.ack(nil)
	}
	if rounds != 4 { // the first is the baseline
		t.Errorf("Startup lasted %d rounds, want 4", rounds)
	}
	if d.pacingGain != 0.5 || d.pacingRate > 0.5e6 {
		t.Errorf("in Drain: gain %v, rate %v", d.pacingGain, d.pacingRate)
	}
	// Drain ends although nothing drains (section 5.3.2).
	for rounds = 0; d.state == bbrDrain; rounds++ {
		d.ack(nil)
	}
	if rounds != 4 {
		t.Errorf("Drain lasted %d rounds, want 4", rounds)
	}
	if d.state != bbrDown {
		t.Errorf("state %d after Drain", d.state)
	}
}

// Startup ends by loss after a whole round of recovery that lost more than 2 % in six
// places (section 5.3.1.3), and comes back when the losses were none (section 5.5.11.2).
func TestBBRStartupLoss(t *testing.T) {
	for _, c := range []struct {
		name    string
		segs    int
		adjoins bool
		noSACK  bool
		ends    bool
	}{
		{"many", 6, false, false, true},
		{"few", 5, false, false, false},
		{"one hole", 20, true, false, false},
		{"without SACK", 1, false, true, true},
	} {
		d := newBBRDriver(t, 1e5)
		for range 4 {
			d.rate *= 2
			d.ack(nil)
		}
		recovering := func(a *AckInfo) {
			a.Recovering, a.NoSACK, a.InFlightAfter, a.RTT = true, c.noSACK, 1<<30, 2*d.rtt
			a.Sample.Lost, a.Sample.TxInFlight = 1000*c.segs, 200_000
		}
		d.ack(recovering)
		d.lose(c.segs, 200_000, c.adjoins)
		d.OnLoss(d.at, 200_000)
		window := d.Window()
		if !c.noSACK {
			d.ack(func(a *AckInfo) { recovering(a); a.Sample.PriorDelivered-- })
			if d.state != bbrStartup {
				t.Fatalf("%s: left Startup before a round was over", c.name)
			}
		}
		d.rate *= 2
		d.ack(recovering)
		if ended := d.state != bbrStartup; ended != c.ends {
			t.Errorf("%s: ended %v, want %v", c.name, ended, c.ends)
			continue
		}
		if c.ends && (d.inflightLong < int(0.99*d.maxBw*d.rtt.Seconds()) || d.inflightLong == math.MaxInt) {
			t.Errorf("%s: bound %d", c.name, d.inflightLong)
		}
		d.OnUndo(d.at)
		if d.state != bbrStartup || d.fullBwReached || d.inflightLong != math.MaxInt || d.Window() < window {
			t.Errorf("%s: undone: state %d, full %v, bound %d, window %d", c.name, d.state, d.fullBwReached, d.inflightLong, d.Window())
		}
	}
}

// A probe that loses more than 2 % sets the bound and ends; the next one stops at the
// bound, and, since that was safe, is followed by another at once (section 5.3.3.6).
func TestBBRPrecautionaryProbe(t *testing.T) {
	d := newBBRDriver(t, 1e6) // 100 segments in flight
	d.until(bbrUp)
	d.queue()
	d.lose(2, 100_000, false)
	if d.state != bbrUp {
		t.Fatal("2 % ended the probe")
	}
	d.lose(3, 100_000, false)
	if d.state != bbrDown || !d.prevTooHigh {
		t.Fatalf("state %d after 3 %%", d.state)
	}
	// 97 segments were in flight before the third, 2 were lost: by (0.02·99 − 2)/0.98 the
	// threshold was crossed with the third's beginning.
	if d.inflightLong != 99_000 {
		t.Errorf("bound %d, want 99000", d.inflightLong)
	}
	d.OnLoss(d.at, 90_000)
	undo := *d.bbr // the copy is taken in the episode
	d.OnRecovered(d.at)
	d.until(bbrCruise)
	if w := d.Window(); w > 85*1000 {
		t.Errorf("cruises with a window of %d, above 0.85 of the bound", w)
	}
	d.until(bbrUp)
	d.ack(nil) // in flight is what the bound is
	if d.state != bbrDown || !d.prevPrecautionary || d.prevTooHigh {
		t.Fatalf("state %d, precautionary %v: the risky level was kept", d.state, d.prevPrecautionary)
	}
	d.ack(nil)
	if d.state != bbrRefill {
		t.Fatalf("state %d, want another probe at once", d.state)
	}
	d.until(bbrUp)
	d.ack(nil)
	if d.state != bbrUp {
		t.Errorf("state %d: this one is to persist", d.state)
	}
	// Had the loss been none, the probe would have begun anew.
	*d.bbr = undo
	d.OnUndo(d.at)
	if d.state != bbrRefill || d.inflightLong != math.MaxInt {
		t.Errorf("undone: state %d, bound %d", d.state, d.inflightLong)
	}
}

// queue lets the last round trip show one.
func (d *bbrDriver) queue() { d.lastRTT = 2 * d.minRTT }

// Without a queue a probe ends by losses, and a round between probes is answered, only if
// chance would hardly have made so many of 2 %: of 400 segments 13, of 9 two.
func TestBBRLossChance(t *testing.T) {
	for _, c := range []struct {
		segs, of int
		queued   bool
		much     bool
	}{
		{8, 400, true, false},
		{9, 400, true, true},
		{13, 400, false, false},
		{14, 400, false, true},
		{1, 9, true, true},
		{1, 9, false, false},
		{2, 9, false, true},
	} {
		d := newBBRDriver(t, 1e6)
		d.until(bbrUp)
		if c.queued {
			d.queue()
		}
		d.lose(c.segs, c.of*1000, false)
		if much := d.state != bbrUp; much != c.much {
			t.Errorf("%+v: the probe ended: %v", c, much)
		}
		d = newBBRDriver(t, 1e6)
		d.until(bbrCruise)
		if c.queued {
			d.queue()
		}
		d.lose(c.segs, c.of*1000, false)
		d.lossRoundFrom = d.delivered - uint64(c.of-c.segs)*1000
		if much := !d.tolerable(); much != c.much {
			t.Errorf("%+v: the round is answered: %v", c, much)
		}
	}
}

// A probe that has raised its bound by a quarter ends if there is a queue, and goes on if
// there is none.
func TestBBRProbeEndsInQueue(t *testing.T) {
	for _, queued := range []bool{false, true} {
		d := newBBRDriver(t, 1e6)
		d.inflightLong = 100_000
		d.until(bbrUp)
		from := d.inflightLong
		rounds := 0
		for ; d.state == bbrUp && d.inflightLong < 2*from && rounds < 50; rounds++ {
			d.rate = float64(d.Window()) / d.rtt.Seconds()
			d.resetFullBw() // with one acknowledgement a round, growth looks like a plateau
			d.ack(func(a *AckInfo) {
				a.WindowLimited = true
				if queued {
					a.RTT = d.rtt * 2
				}
			})
		}
		if left := d.state != bbrUp; left != queued || queued && d.inflightLong < from*5/4 {
			t.Errorf("queue %v: after %d rounds in state %d with a bound of %d, which was %d", queued, rounds, d.state, d.inflightLong, from)
		}
	}
}

// Between probes, a round that lost more than 2 % is answered with what it delivered,
// by 30 % at most, and one that lost less is not.
func TestBBRShortTerm(t *testing.T) {
	for _, c := range []struct {
		segs int
		rate float64 // delivered, of 1e6
		want float64
	}{{2, 0.98, 1e6}, {5, 0.95, 0.95e6}, {60, 0.4, 0.7e6}} {
		d := newBBRDriver(t, 1e6)
		d.until(bbrCruise)
		d.ack(nil)
		d.rate = c.rate * 1e6
		d.ack(nil)
		d.lose(c.segs, 100_000, false)
		d.OnLoss(d.at, 90_000)
		d.endLossRoundAt()
		d.ack(nil)
		if d.state != bbrCruise || math.Abs(d.bw-c.want) > 0.001e6 {
			t.Errorf("%d lost: state %d, rate %v, want %v", c.segs, d.state, d.bw, c.want)
		}
		d.until(bbrRefill)
		d.ack(nil)
		if d.bw != 1e6 {
			t.Errorf("%d lost: refills at %v", c.segs, d.bw)
		}
	}
}

// endLossRoundAt makes the round under way the one of the losses told just now: with one
// acknowledgement a round, the maximum of the rate would reach back over the last one.
func (d *bbrDriver) endLossRoundAt() {
	d.bwLatest, d.inflightLatest = 0, 0
	d.lossRoundFrom = d.delivered
}

// Congestion marks end Startup and bind a probe (section 3.7).
func TestBBRMarks(t *testing.T) {
	mark := func(d *bbrDriver) {
		d.OnLost(LossInfo{Now: d.at, Marked: true, TxInFlight: 100_000, TotalDelivered: d.delivered})
		d.OnLoss(d.at, 100_000)
	}
	d := newBBRDriver(t, 1e6)
	d.ack(nil)
	mark(d)
	d.inFlight = 1 << 30
	d.ack(nil)
	if d.state != bbrDrain || d.inflightLong == math.MaxInt {
		t.Errorf("state %d, bound %d", d.state, d.inflightLong)
	}
	d = newBBRDriver(t, 1e6)
	d.until(bbrUp)
	mark(d)
	if d.state != bbrDown || d.inflightLong != 85_000 {
		t.Errorf("state %d, bound %d", d.state, d.inflightLong)
	}
	// While the probe's queue is drained its marks are not answered again; between probes,
	// and when the queue stays, they are.
	for _, c := range []struct {
		state  bbrState
		rounds int
		want   bool
	}{{bbrDown, 2, false}, {bbrDown, 8, true}, {bbrCruise, 2, true}} {
		d = newBBRDriver(t, 1e6)
		d.until(bbrUp)
		mark(d)
		d.inFlight = 1 << 20
		if c.state == bbrCruise {
			d.inFlight = 0
		}
		for range c.rounds {
			d.ack(nil)
		}
		if d.state != c.state {
			t.Fatalf("state %d, want %d", d.state, c.state)
		}
		mark(d)
		for range 2 {
			d.ack(nil)
		}
		if answered := d.bw < 1e6; answered != c.want {
			t.Errorf("%+v: answered %v, at rate %v", c, answered, d.bw)
		}
	}
}

// A timeout leaves one segment beside what is in flight, and its end brings the window
// back (section 5.6.4.4).
func TestBBRTimeout(t *testing.T) {
	d := newBBRDriver(t, 1e6)
	d.until(bbrCruise)
	d.ack(nil)
	window := d.Window()
	d.lose(1, 50_000, false)
	d.OnTimeout(d.at, 7000, true)
	if w := d.Window(); w != 8000 {
		t.Errorf("window %d after a timeout with 7000 in flight", w)
	}
	d.OnTimeout(d.at, 0, false)
	d.OnRecovered(d.at)
	if w := d.Window(); w != window {
		t.Errorf("window %d, was %d", w, window)
	}
}

// Five seconds without a sample as good as the least round trip make a probe of it: half of
// the product for 200 ms and a round, samples that count as limited, and everything back
// afterwards.
func TestBBRProbeRTT(t *testing.T) {
	d := newBBRDriver(t, 1e6)
	d.until(bbrCruise)
	for range 300 {
		// The queue is empty, but for our own bursts; now and then one overtakes another.
		d.ack(func(a *AckInfo) { a.RTT = d.rtt + time.Millisecond })
		if d.ack(nil); d.state == bbrProbeRTT {
			t.Fatal("ProbeRTT although the queue was empty")
		}
	}
	d.until(bbrCruise)
	d.ack(nil)
	window := d.Window()
	d.inFlight = 60_000
	since := d.at
	for d.state != bbrProbeRTT && d.at.Sub(since) < time.Minute {
		d.ack(func(a *AckInfo) { a.RTT = d.rtt + d.rtt/10 })
	}
	if took := d.at.Sub(since); took <= 4900*time.Millisecond || took > 5200*time.Millisecond || d.minRTT != d.rtt {
		t.Errorf("ProbeRTT after %v, with %v for %v", took, d.minRTT, d.rtt)
	}
	if w := d.Window(); w != 50_000 {
		t.Errorf("window %d, want half of 100000", w)
	}
	for range 5 {
		d.ack(nil) // too much is in flight: it has not begun
	}
	if d.state != bbrProbeRTT || d.probeRTTDone != 0 {
		t.Fatal("the time counts from when half was in flight")
	}
	d.inFlight, d.rate = 50_000, 0.5e6
	begin := d.at.Add(d.rtt)
	for d.state == bbrProbeRTT {
		d.ack(nil)
	}
	if took := d.at.Sub(begin); took <= 200*time.Millisecond || took > 300*time.Millisecond {
		t.Errorf("held for %v", took)
	}
	if d.state != bbrCruise || d.Window() < window-1000 || d.maxBw != 1e6 {
		t.Errorf("afterwards: state %d, window %d of %d, rate %v", d.state, d.Window(), window, d.maxBw)
	}
	// Idle time is as good (section 5.3.4.2).
	d.rate = 1e6
	d.at = d.at.Add(time.Minute)
	d.OnRestart(d.at, d.at.Add(-time.Minute))
	d.ack(nil)
	if d.state == bbrProbeRTT {
		t.Error("ProbeRTT after idle time")
	}
}

// The excess of bursts of acknowledgements is remembered for ten rounds, and one in
// Startup (section 5.5.9).
func TestBBRAggregation(t *testing.T) {
	for _, full := range []bool{false, true} {
		b := bbr{bw: 1e6, cwnd: 1 << 20, fullBwReached: full}
		at := clock.Time(time.Hour)
		b.aggregation.since = at
		ack := func(n int) {
			at = at.Add(10 * time.Millisecond)
			b.rounds++
			b.updateAggregation(&AckInfo{Now: at, Delivered: n})
		}
		for range 20 {
			ack(10_000)
		}
		if b.aggregation.most > 10_000 {
			t.Fatalf("%d in a steady stream", b.aggregation.most)
		}
		ack(110_000)
		rounds := 0
		for b.aggregation.most >= 105_000 && rounds < 100 {
			ack(0)
			rounds++
		}
		if want := map[bool]int{false: 2, true: 11}[full]; rounds != want {
			t.Errorf("full %v: remembered for %d rounds, want %d", full, rounds, want)
		}
	}
}
