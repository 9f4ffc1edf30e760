package direct

import (
	"sync"
	"time"

	"github.com/netduet/netduet/clock"
)

// systemClock is package time's monotonic clock. Its origin lies a second before
// its creation, so that no instant is zero, which means "unset".
type systemClock struct{ origin time.Time }

func newSystemClock() clock.Clock { return systemClock{time.Now().Add(-time.Second)} }

func (c systemClock) Now() clock.Time { return clock.Time(time.Since(c.origin)) }

func (c systemClock) NewTimer(f func()) clock.Timer { return &systemTimer{clock: c, f: f} }

// systemTimer makes its time.Timer on the first Reset: a stack has more timers
// than it ever arms.
type systemTimer struct {
	clock systemClock
	f     func()

	mu sync.Mutex
	t  *time.Timer
}

func (t *systemTimer) Reset(at clock.Time) {
	d := at.Sub(t.clock.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.t == nil {
		t.t = time.AfterFunc(d, t.f)
		return
	}
	t.t.Reset(d)
}

func (t *systemTimer) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.t != nil {
		t.t.Stop()
	}
}
