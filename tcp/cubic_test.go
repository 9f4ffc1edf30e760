package tcp

import (
	"math"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// feed gives a controller one window's worth of ACKs of two segments each, evenly
// over one round trip, and returns when it ended.
func feed(c Controller, now clock.Time, rtt time.Duration, mss int, delivered *uint64) clock.Time {
	w := c.Window()
	acks := max(w/(2*mss), 1)
	sent := *delivered
	for range acks {
		now = now.Add(rtt / time.Duration(acks))
		*delivered += uint64(2 * mss)
		c.OnAck(AckInfo{
			Now: now, Segments: 2, Acked: 2 * mss, Delivered: 2 * mss, RTT: rtt, InFlight: w, Limited: true,
			TotalDelivered: *delivered, Sample: RateSample{PriorDelivered: sent},
		})
	}
	return now
}

// after is a controller that a loss has brought down from a window of so many segments.
func after(now clock.Time, window int) *cubic {
	c := NewCubic().(*cubic)
	c.Init(now, 1000, 0)
	c.cwnd, c.ssthresh = window, window
	c.OnLoss(now, window*1000)
	c.SetWindow(c.Threshold(), c.Threshold())
	return c
}

// The window follows W_cubic(t) of RFC 9438, section 4.2, on a path so long that
// the Reno-friendly region does not reach.
func TestCubicCurve(t *testing.T) {
	const mss, rtt = 1000, 100 * time.Millisecond
	now := clock.Time(time.Hour)
	c := after(now, 2000)
	if got := c.Window(); got != 1400*mss {
		t.Fatalf("%d after a loss, beta is 0.7", got)
	}
	k := math.Cbrt(600 / cubicC)
	var delivered uint64
	start := clock.Time(0)
	worst := 0.0
	for now.Sub(start) < time.Duration(1.5*k*float64(time.Second)) || start == 0 {
		if start == 0 {
			start = now.Add(rtt / 700) // the epoch begins with the first ACK
		}
		now = feed(c, now, rtt, mss, &delivered)
		d := now.Sub(start).Seconds() - k
		want := cubicC*d*d*d + 2000
		// The window aims at the curve one round trip ahead.
		dn := d + rtt.Seconds()
		next := cubicC*dn*dn*dn + 2000
		got := float64(c.Window()) / mss
		worst = max(worst, math.Abs(got-want)/want)
		if got < want*0.98 || got > next*1.01 {
			t.Fatalf("t = K%+.2f s: window %.1f, the curve has %.1f, and %.1f a round trip later", d, got, want, next)
		}
	}
	t.Logf("K = %.2f s, farthest from the curve %.2f %%", k, 100*worst)
}

// On a short path the window is Reno's estimate: section 4.3.
func TestCubicRenoFriendly(t *testing.T) {
	const mss, rtt = 1000, time.Millisecond
	now := clock.Time(time.Hour)
	c := after(now, 100)
	var delivered uint64
	for i := range 50 {
		now = feed(c, now, rtt, mss, &delivered)
		want := 70 + 8.0/cubicFriendly*float64(i+1)
		if got := float64(c.Window()) / mss; math.Abs(got-want) > 3 {
			t.Fatalf("round %d: window %.1f, W_est is %.1f", i+1, got, want)
		}
	}
}

// Fast convergence (section 4.7), the timeout (4.8) and the way back (4.9).
func TestCubicReductions(t *testing.T) {
	now := clock.Time(time.Hour)
	c := after(now, 100)
	if c.wMax != 100 || c.cwnd != 70 || c.ssthresh != 70 {
		t.Fatalf("%+v", c)
	}
	before := c.cubicEpoch
	c.OnLoss(now, 0)
	c.SetWindow(c.Threshold(), c.Threshold())
	if c.wMax != 59 || c.cwnd != 49 {
		t.Fatalf("%+v", c)
	}
	c.OnUndo(now)
	if c.cubicEpoch != before || c.cwnd != 70 {
		t.Fatalf("undone: %+v, was %+v", c, before)
	}
	c.OnUndo(now) // nothing left to undo
	c.OnTimeout(now, 0, true)
	c.OnTimeout(now, 0, false)
	if c.Window() != 1000 || c.ssthresh != 49 {
		t.Fatalf("%+v", c)
	}
	c.OnUndo(now)
	if c.cwnd != 70 || c.ssthresh != 70 {
		t.Fatalf("%+v", c)
	}
	c.OnTimeout(now, 0, true)
	c.cwnd = c.ssthresh
	c.OnAck(AckInfo{Now: now, Segments: 1, Acked: 1000, Delivered: 1000, Limited: true})
	if c.k != 0 || c.wMax != 0 || c.count > cubicFirst {
		t.Fatalf("after a timeout: %+v", c)
	}
}

// The curve stands still while nothing is sent (section 5.8).
func TestCubicIdle(t *testing.T) {
	now := clock.Time(time.Hour)
	c := after(now, 1000)
	ack := AckInfo{Segments: 1, Acked: 1000, Delivered: 1000, RTT: 100 * time.Millisecond, Limited: true}
	ack.Now = now
	c.OnAck(ack)
	before := c.cwnd
	sent := now
	now = now.Add(100 * time.Second)
	c.OnRestart(now, sent)
	for range 500 {
		ack.Now = now
		c.OnAck(ack)
	}
	if c.cwnd > before+8 {
		t.Errorf("the window jumped from %d to %d after 100 s without use", before, c.cwnd)
	}
}

// HyStart++ (RFC 9406): a round-trip time that rises ends slow start by way of CSS;
// one that rises and falls again does not.
func TestHystart(t *testing.T) {
	const mss = 1000
	run := func(rtt func(round int) time.Duration) (*cubic, int) {
		c := NewCubicHyStartPP().(*cubic)
		now, delivered := clock.Time(time.Hour), uint64(0)
		c.Init(now, mss, 0)
		for round := range 14 {
			now = feed(c, now, rtt(round), mss, &delivered)
			if c.cwnd >= c.ssthresh {
				return c, round
			}
		}
		return c, 14
	}
	if _, n := run(func(int) time.Duration { return 50 * time.Millisecond }); n != 14 {
		t.Errorf("a steady time ended slow start in round %d", n)
	}
	c, n := run(func(r int) time.Duration {
		return 50*time.Millisecond + time.Duration(max(r-4, 0))*10*time.Millisecond
	})
	if n < 9 || n > 11 || !c.hystartPP.css {
		t.Errorf("a rise in round 5 ended slow start in round %d, css %v", n, c.hystartPP.css)
	}
	_, n = run(func(r int) time.Duration {
		if r == 5 {
			return 60 * time.Millisecond
		}
		return 50 * time.Millisecond
	})
	if n != 14 {
		t.Errorf("a rise of one round ended slow start in round %d", n)
	}
}
