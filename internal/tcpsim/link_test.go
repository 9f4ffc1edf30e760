package tcpsim

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/tcp"
)

// runFlows runs n flows over a pair of links for a while, ends them, and checks what must
// hold for every run.
func runFlows(t *testing.T, seed uint64, n int, data, acks LinkConfig, d time.Duration, change func(l *Loop, k *Link)) ([]FlowStats, *Link, *Link) {
	t.Helper()
	l := NewLoop(seed)
	down, up := NewLink(l, data), NewLink(l, acks)
	var flows []*Flow
	for i := range n {
		cfg := tcp.Config{MSS: 1460, NoDelay: true, SendBuffer: 1 << 20, ReceiveBuffer: 2 << 20}
		flows = append(flows, NewFlow(l, down, up, i, FlowConfig{Sender: cfg, Receiver: cfg, Reply: i%2 == 1}))
	}
	if change != nil {
		change(l, down)
	}
	for at := time.Duration(0); at < d; at += d / 10 {
		l.Until(at)
		for _, k := range []*Link{down, up} {
			if err := k.Check(); err != nil {
				t.Fatalf("seed %d, %v: %v", seed, at, err)
			}
		}
	}
	var stats []FlowStats
	for _, f := range flows {
		stats = append(stats, f.Stats())
		f.Stop()
	}
	l.Run(time.Hour, func() bool {
		for _, f := range flows {
			if !f.Over() {
				return false
			}
		}
		return true
	})
	l.Until(l.Elapsed() + time.Minute)
	for i, f := range flows {
		if err := f.Check(); err != nil {
			t.Errorf("seed %d, flow %d: %v", seed, i, err)
		}
	}
	for _, k := range []*Link{down, up} {
		if err := k.Check(); err != nil || k.OnTheWay() != 0 {
			t.Errorf("seed %d: %v, %d on the way at the end", seed, err, k.OnTheWay())
		}
	}
	return stats, down, up
}

const ms = time.Millisecond

// Whatever the links do, every segment is accounted for, the bytes are intact, the
// connections end and give their memory back.
func TestLinks(t *testing.T) {
	base := LinkConfig{Rate: 20_000_000, Buffer: 60_000, Delay: 10 * ms}
	back := LinkConfig{Delay: 10 * ms}
	for name, c := range map[string]struct {
		edit   func(data, acks *LinkConfig)
		change func(l *Loop, k *Link)
		saw    func(data, acks LinkStats) bool
	}{
		"clean":     {saw: func(d, a LinkStats) bool { return d.Lost == 0 && a.Lost == 0 && d.Delivered > 1000 }},
		"loss":      {edit: func(d, a *LinkConfig) { d.Loss, a.Loss = 0.03, 0.1 }, saw: func(d, a LinkStats) bool { return d.Lost > 0 && a.Lost > 0 }},
		"burst":     {edit: func(d, a *LinkConfig) { d.Loss, d.Burst = 0.02, 8 }, saw: func(d, a LinkStats) bool { return d.Lost > 0 }},
		"reorder":   {edit: func(d, a *LinkConfig) { d.Reorder, d.ReorderBy = 0.1, 5*ms }, saw: func(d, a LinkStats) bool { return d.Reordered > 0 }},
		"duplicate": {edit: func(d, a *LinkConfig) { d.Duplicate, a.Duplicate = 0.1, 0.1 }, saw: func(d, a LinkStats) bool { return d.Duplicated > 0 && a.Duplicated > 0 }},
		"jitter":    {edit: func(d, a *LinkConfig) { d.Jitter, a.Jitter = 5*ms, 5*ms }, saw: func(d, a LinkStats) bool { return d.Delivered > 1000 }},
		"compressed": {edit: func(d, a *LinkConfig) { a.Batch = 7 * ms },
			saw: func(d, a LinkStats) bool { return d.Delivered > 1000 && a.Thinned == 0 }},
		"stretched": {edit: func(d, a *LinkConfig) { a.Batch, a.Thin = 7*ms, true },
			saw: func(d, a LinkStats) bool { return a.Thinned > a.Delivered/2 }},
		"MTU": {change: func(l *Loop, k *Link) {
			l.After(500*ms, func() { c := k.Config(); c.MTU = 1280; k.Change(c) })
		}, saw: func(d, a LinkStats) bool { return d.TooBig > 0 && d.Delivered > 1000 }},
		"path": {change: func(l *Loop, k *Link) {
			l.After(500*ms, func() { c := k.Config(); c.Delay = 2 * ms; k.Change(c) })
			l.After(900*ms, func() { c := k.Config(); c.Delay, c.Rate = 40*ms, 5_000_000; k.Change(c) })
		}, saw: func(d, a LinkStats) bool { return d.Delivered > 1000 }},
	} {
		t.Run(name, func(t *testing.T) {
			data, acks := base, back
			if c.edit != nil {
				c.edit(&data, &acks)
			}
			for seed := range uint64(3) {
				_, down, up := runFlows(t, seed, 1+int(seed)*2, data, acks, 2*time.Second, c.change)
				if d, a := down.Stats(), up.Stats(); !c.saw(d, a) {
					t.Errorf("seed %d: %+v\n%+v", seed, d, a)
				}
			}
		})
	}
}

// A bottleneck lets through what its rate says and no more, and its queue is never
// longer than the buffer.
func TestBottleneck(t *testing.T) {
	for _, rate := range []int64{1_000_000, 12_345_678, 100_000_000} {
		bdp := max(int(rate/8/50), 40*1514)
		data := LinkConfig{Rate: rate, Buffer: bdp, Delay: 10 * ms}
		l := NewLoop(1)
		down, up := NewLink(l, data), NewLink(l, LinkConfig{Delay: 10 * ms})
		cfg := tcp.Config{MSS: 1460, SendBuffer: tcp.MaxBuffer, ReceiveBuffer: tcp.MaxBuffer}
		f := NewFlow(l, down, up, 0, FlowConfig{Sender: cfg, Receiver: cfg})
		l.Until(9 * time.Second)
		before := f.Stats().Read
		l.Until(10 * time.Second)
		got, most := f.Stats().Read-before, float64(rate)/8*1448/1514
		if share := float64(got) / most; share < 0.9 || share > 1+3000/most {
			t.Errorf("%d bit/s: %.4f of the payload rate", rate, share)
		}
		if s, longest := down.Stats(), serial(int64(bdp), rate); s.WaitedMost > longest {
			t.Errorf("%d bit/s: a segment waited %v behind a buffer of %v", rate, s.WaitedMost, longest)
		}
	}
}

// The medium loses as often as it should, in bursts as long as they should be.
func TestLoses(t *testing.T) {
	for _, c := range []LinkConfig{{Loss: 0.001}, {Loss: 0.1}, {Loss: 0.01, Burst: 10}, {Loss: 0.1, Burst: 4}} {
		k := NewLink(NewLoop(5), c)
		lost, bursts, before := 0, 0, false
		const n = 2_000_000
		for range n {
			now := k.loses()
			if now {
				lost++
				if !before {
					bursts++
				}
			}
			before = now
		}
		if share := float64(lost) / n; math.Abs(share/c.Loss-1) > 0.1 {
			t.Errorf("%+v: %.4f lost", c, share)
		}
		want := c.Burst
		if want < 1 {
			want = 1 / (1 - c.Loss)
		}
		if mean := float64(lost) / float64(bursts); math.Abs(mean/want-1) > 0.1 {
			t.Errorf("%+v: bursts of %.2f", c, mean)
		}
	}
}

func TestSerial(t *testing.T) {
	for _, c := range []struct {
		size, rate int64
		want       time.Duration
	}{
		{1500, 1_000_000_000, 12 * time.Microsecond},
		{125, 1_000_000, ms},
		{1_500_000_000, 10_000_000_000, 1200 * ms},
		{1, 8_000_000_000, 1},
	} {
		if got := serial(c.size, c.rate); got != c.want {
			t.Errorf("%d bytes at %d bit/s: %v, want %v", c.size, c.rate, got, c.want)
		}
	}
}

func TestJain(t *testing.T) {
	for _, c := range []struct {
		shares []float64
		want   float64
	}{
		{nil, 0}, {[]float64{0, 0}, 0}, {[]float64{3}, 1}, {[]float64{2, 2, 2, 2}, 1},
		{[]float64{1, 0, 0, 0}, 0.25}, {[]float64{1, 3}, 0.8},
	} {
		if got := Jain(c.shares); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("Jain(%v) = %v, want %v", c.shares, got, c.want)
		}
	}
}

// The oracle of arrivals agrees with a set of bytes.
func TestArrivals(t *testing.T) {
	l := NewLoop(9)
	for range 200 {
		iss := tcp.Seq(l.rng.Uint32())
		a := Arrivals{begun: true, next: iss}
		have := make(map[int]bool)
		for range 200 {
			from := l.rng.IntN(500)
			to := from + 1 + l.rng.IntN(30)
			fresh := false
			for i := from; i < to; i++ {
				fresh = fresh || !have[i]
				have[i] = true
			}
			if got := a.add(iss.Add(from), iss.Add(to)); got != fresh {
				t.Fatalf("[%d, %d): %v, want %v; %+v", from, to, got, fresh, a)
			}
		}
	}
}

// Marks take the place of losses for connections that agree on them, and of no others.
func TestMark(t *testing.T) {
	for _, mode := range []tcp.ECNMode{tcp.ECNActive, tcp.ECNPassive} {
		l := NewLoop(3)
		data := LinkConfig{Rate: 20_000_000, Buffer: 50_000, Delay: 10 * ms, Mark: 0.5}
		down, up := NewLink(l, data), NewLink(l, LinkConfig{Delay: 10 * ms})
		cfg := tcp.Config{MSS: 1460, ECN: mode}
		f := NewFlow(l, down, up, 0, FlowConfig{Sender: cfg, Receiver: cfg})
		l.Until(2 * time.Second)
		early := down.Stats() // slow start may overflow the buffer whatever is marked
		l.Until(10 * time.Second)
		before, s := f.Stats(), down.Stats()
		f.Stop()
		l.Run(time.Hour, f.Over)
		if err := errors.Join(f.Check(), down.Check(), up.Check()); err != nil {
			t.Errorf("mode %v: %v", mode, err)
		}
		marked, lost := s.Marked-early.Marked, s.Overflow-early.Overflow
		if active := mode == tcp.ECNActive; (marked > 0) != active || (lost > 0) == active {
			t.Errorf("mode %v: %d marked, %d lost", mode, marked, lost)
		}
		if share := float64(before.Read) * 8 / 10 / 20e6; share < 0.8 {
			t.Errorf("mode %v: %.2f of the link", mode, share)
		}
	}
}

// What is lost at the tail is lost once, and the transfer ends.
func TestLoseTail(t *testing.T) {
	l := NewLoop(1)
	k := LinkConfig{Delay: 20 * ms}
	cfg := tcp.Config{MSS: 1460}
	f := NewFlow(l, NewLink(l, k), NewLink(l, k), 0, FlowConfig{Sender: cfg, Receiver: cfg, Bytes: 100_000, LoseTail: 3, Reply: true})
	l.Run(time.Hour, f.Over)
	if err := f.Check(); err != nil || f.Stats().Again < 3 || len(f.lost) != 3 {
		t.Errorf("%v, %d lost, %+v", err, len(f.lost), f.Stats())
	}
}

// Clocks of one millisecond: nothing fires early, and a transfer is as fast as
// otherwise but for a few of them.
func TestGrain(t *testing.T) {
	run := func(grain time.Duration) time.Duration {
		l := NewLoop(1)
		l.Grain = grain
		k := LinkConfig{Rate: 100_000_000, Buffer: 100_000, Delay: 100 * time.Microsecond, Loss: 0.001}
		cfg := tcp.Config{MSS: 1460}
		f := NewFlow(l, NewLink(l, k), NewLink(l, k), 0, FlowConfig{Sender: cfg, Receiver: cfg, Bytes: 10_000_000})
		l.Run(time.Hour, f.Over)
		if err := f.Check(); err != nil {
			t.Fatal(err)
		}
		return f.Stats().Took
	}
	fine, coarse := run(0), run(ms)
	t.Logf("%v, and %v with a grain of 1 ms", fine, coarse)
	if coarse > 2*fine {
		t.Errorf("%v with a grain of 1 ms, %v without", coarse, fine)
	}
}

// A seed replays bit for bit, with several flows as with one.
func TestFlowsReplay(t *testing.T) {
	trace := func(seed uint64) string {
		data := LinkConfig{Rate: 10_000_000, Buffer: 30_000, Delay: 10 * ms, Jitter: ms, Loss: 0.01, Duplicate: 0.01, Reorder: 0.01, ReorderBy: 5 * ms}
		stats, down, up := runFlows(t, seed, 4, data, LinkConfig{Delay: 10 * ms, Loss: 0.01, Batch: ms, Thin: true}, 3*time.Second, nil)
		var b strings.Builder
		fmt.Fprintf(&b, "%+v %+v", down.Stats(), up.Stats())
		for _, s := range stats {
			fmt.Fprintf(&b, " %+v", s)
		}
		return b.String()
	}
	first := trace(1)
	if trace(1) != first {
		t.Error("two runs of one seed differ")
	}
	if trace(2) == first {
		t.Error("two seeds give one run")
	}
}

// BenchmarkFlow is the cost of a simulated segment with its share of ACKs.
func BenchmarkFlow(b *testing.B) {
	l := NewLoop(1)
	cfg := tcp.Config{MSS: 1460, NoDelay: true, SendBuffer: tcp.MaxBuffer, ReceiveBuffer: tcp.MaxBuffer}
	f := NewFlow(l, NewLink(l, LinkConfig{Rate: 1_000_000_000, Buffer: 1_250_000, Delay: 5 * ms}), NewLink(l, LinkConfig{Delay: 5 * ms}), 0,
		FlowConfig{Sender: cfg, Receiver: cfg})
	l.Until(time.Second)
	b.ReportAllocs()
	for goal := f.cover.Segments; b.Loop(); {
		for goal++; f.cover.Segments < goal; {
			l.Step()
		}
	}
}
