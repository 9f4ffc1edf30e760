package direct

import (
	"sync/atomic"
	"time"

	"github.com/netduet/netduet/clock"
)

// origin is the instant at which every clock begins: not zero, which means "unset".
const origin = clock.Time(time.Second)

// virtualClock is time that stands still until it is set. Its timers never ring:
// whoever moves the clock polls the stack, which then looks at all of them.
type virtualClock struct{ now atomic.Int64 }

func newVirtualClock() *virtualClock {
	c := new(virtualClock)
	c.now.Store(int64(origin))
	return c
}

func (c *virtualClock) Now() clock.Time { return clock.Time(c.now.Load()) }

// set moves the clock forward to t; it never moves back.
func (c *virtualClock) set(t clock.Time) {
	if t > c.Now() {
		c.now.Store(int64(t))
	}
}

func (c *virtualClock) NewTimer(func()) clock.Timer { return silentTimer{} }

type silentTimer struct{}

func (silentTimer) Reset(clock.Time) {}
func (silentTimer) Stop()            {}
