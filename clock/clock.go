// Package clock holds the time that the protocol packages are driven by: an
// 8-byte monotonic instant, and the interface through which an engine gets it.
//
// It is not a wall clock and knows no calendar. A protocol state machine never
// asks what time it is: every input carries a Time, so that a simulation replays
// exactly and a batch of frames costs one reading of the clock.
package clock

import (
	"math"
	"time"
)

// Time is a monotonic instant in nanoseconds since an origin that the clock
// chose. Zero means "unset" by convention; a clock starts well above it. Times of
// different clocks can't be compared.
type Time int64

// Never is later than every instant a clock returns: the deadline of a timer that
// is not running.
const Never Time = math.MaxInt64

// Add returns t+d; Never stays Never.
func (t Time) Add(d time.Duration) Time {
	if t == Never {
		return Never
	}
	return t + Time(d)
}

// Sub returns the duration t−u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Before reports whether t is earlier than u.
func (t Time) Before(u Time) bool { return t < u }

// After reports whether t is later than u.
func (t Time) After(u Time) bool { return t > u }

// Clock is what an engine needs of time. Implementations are safe for concurrent
// use.
type Clock interface {
	// Now returns the current instant; it never decreases and is never zero.
	Now() Time
	// NewTimer returns a stopped timer that calls f in a goroutine of its own each
	// time it expires.
	NewTimer(f func()) Timer
}

// Timer is a single re-armable timer.
type Timer interface {
	// Reset arms the timer for the instant at, replacing an earlier one; an instant
	// that has passed expires at once.
	Reset(at Time)
	// Stop disarms the timer. f may already be running.
	Stop()
}
