package gvisor

import (
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/netduet/netduet/clock"
)

// engineClock gives gVisor the time of Config.Clock.
type engineClock struct {
	clk    clock.Clock
	origin clock.Time
	wall   time.Time // at origin
}

func newEngineClock(clk clock.Clock) *engineClock {
	return &engineClock{clk: clk, origin: clk.Now(), wall: time.Now()}
}

// Now implements tcpip.Clock. gVisor stamps received packets with it and decides
// nothing by it.
func (c *engineClock) Now() time.Time { return c.wall.Add(c.clk.Now().Sub(c.origin)) }

// NowMonotonic implements tcpip.Clock.
func (c *engineClock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(time.Duration(c.clk.Now()))
}

// AfterFunc implements tcpip.Clock.
func (c *engineClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &engineTimer{clk: c.clk, f: f}
	t.mu.Lock() // expired may be called before timer is set
	t.timer = c.clk.NewTimer(t.expired)
	t.mu.Unlock()
	t.Reset(d)
	return t
}

// engineTimer adds to a clock.Timer what gVisor wants to know: whether Stop was in
// time.
type engineTimer struct {
	clk clock.Clock
	f   func()

	mu    sync.Mutex
	timer clock.Timer
	at    clock.Time
	armed bool
}

// expired is called by the clock; an expiry that Stop or Reset has overtaken is
// none.
func (t *engineTimer) expired() {
	t.mu.Lock()
	due := t.armed && !t.clk.Now().Before(t.at)
	if due {
		t.armed = false
	}
	t.mu.Unlock()
	if due {
		t.f()
	}
}

// Stop implements tcpip.Timer.
func (t *engineTimer) Stop() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.armed
	t.armed = false
	t.timer.Stop()
	return was
}

// Reset implements tcpip.Timer.
func (t *engineTimer) Reset(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.armed = true
	t.at = t.clk.Now().Add(max(d, 0))
	t.timer.Reset(t.at)
}
