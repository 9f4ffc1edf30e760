package tcp

import (
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

const (
	// pacingQuantum is the time whose worth of bytes leaves at once: timers of
	// a general-purpose runtime keep no finer rhythm.
	pacingQuantum = time.Millisecond
	// pacingLateness bounds what a timer that fired late makes up for.
	pacingLateness = 10 * time.Millisecond
)

// pacer spreads what is sent over time, by a schedule that bytes are charged to.
// Up to a quantum may leave ahead of the schedule; when that is used up, Output
// stops, and the timer runs until the schedule has caught up. Acknowledgements
// that arrive in between let out what has become due.
type pacer struct {
	next    clock.Time // when all that was sent is paid for
	at      clock.Time // timer
	waiting bool       // Output was held back, and is behind the schedule
}

// quota returns how many bytes may leave now at so many bytes per second.
func (p *pacer) quota(now clock.Time, rate int64, mss int) int {
	if rate <= 0 {
		return math.MaxInt
	}
	if !p.next.Before(now) {
		p.waiting = false // the timer's lateness is made up for
	} else if !p.waiting {
		p.next = now
	}
	p.next = max(p.next, now.Add(-pacingLateness))
	// In floating point, as rate times nanoseconds overflows at a few Gbyte/s.
	quantum := max(float64(rate)*pacingQuantum.Seconds(), float64(2*mss))
	due := quantum - float64(rate)*p.next.Sub(now).Seconds()
	if due < float64(mss) {
		return 0
	}
	return int(due)
}

// sent charges n bytes.
func (p *pacer) sent(n int, rate int64) {
	if rate > 0 {
		p.next = p.next.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	}
}

// hold starts the timer, as something waits.
func (p *pacer) hold(now clock.Time) {
	p.waiting = true
	p.at = max(p.next, now.Add(time.Microsecond))
}

// unheld is called when everything left that may: unless the timer runs, it is not the
// pacer that is in the way. Time that passes until the window opens is no lateness to be
// made up for, or what ACKs that come together let go would leave together, too.
func (p *pacer) unheld() {
	if p.at == clock.Never {
		p.waiting = false
	}
}
