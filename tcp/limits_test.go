package tcp

import (
	"testing"
	"time"
)

// The bounds of timers, as they are set and out of range.
func TestTimerLimits(t *testing.T) {
	for _, test := range []struct {
		cfg      Config
		min, max time.Duration
		delay    time.Duration
	}{
		{Config{}, 200 * time.Millisecond, 2 * time.Minute, 199 * time.Millisecond},
		{Config{MinRTO: 20 * time.Millisecond}, 20 * time.Millisecond, 2 * time.Minute, 19 * time.Millisecond},
		{Config{MinRTO: time.Nanosecond, MaxRTO: time.Nanosecond}, leastMinRTO, leastMaxRTO, leastMinRTO - time.Millisecond},
		{Config{MinRTO: time.Hour, MaxRTO: time.Hour, MaxDelayedACK: time.Hour}, 200 * time.Millisecond, 2 * time.Minute, 199 * time.Millisecond},
		{Config{MinRTO: -1, MaxRTO: -1, MaxDelayedACK: -1}, 200 * time.Millisecond, 2 * time.Minute, 199 * time.Millisecond},
		{Config{MaxDelayedACK: 11500 * time.Microsecond, MaxRTO: 1500 * time.Millisecond}, 200 * time.Millisecond, 1500 * time.Millisecond, 12 * time.Millisecond},
		{Config{MaxDelayedACK: time.Nanosecond}, 200 * time.Millisecond, 2 * time.Minute, leastDelayACK},
	} {
		var c Conn
		c.limit(&test.cfg)
		if c.MinRTO() != test.min || c.MaxRTO() != test.max || c.delAckMost() != test.delay {
			t.Errorf("%v, %v and %v are %v, %v and %v; want %v, %v and %v", test.cfg.MinRTO, test.cfg.MaxRTO, test.cfg.MaxDelayedACK,
				c.MinRTO(), c.MaxRTO(), c.delAckMost(), test.min, test.max, test.delay)
		}
	}
}

// The least timeout is what a timeout exceeds the round trip by; the largest bounds its
// backoff, and how long a connection is given.
func TestRTOBounds(t *testing.T) {
	e := rttEstimator{floor: minRTOSetting(10 * time.Millisecond), ceiling: maxRTOSetting(2 * time.Second)}
	for i := range 200 {
		e.sample(3*time.Millisecond, 3*time.Millisecond, Seq(i), Seq(i))
	}
	if got := e.timeout(0); got != 13*time.Millisecond {
		t.Errorf("the timeout is %v", got)
	}
	if got := e.timeout(10); got != 2*time.Second {
		t.Errorf("after ten doublings it is %v", got)
	}
	if got, want := giveUpAfter(10, minRTOVar, e.longest()), 20*(200+400+800+1600)/20*time.Millisecond+7*2*time.Second; got != want {
		t.Errorf("given up after %v, want %v", got, want)
	}
}
