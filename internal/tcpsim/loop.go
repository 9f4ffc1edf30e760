package tcpsim

import (
	"math/rand/v2"
	"time"

	"github.com/netduet/netduet/clock"
)

// Loop is what all parts of a run share: the time, the queue of events, and the
// randomness.
type Loop struct {
	Now clock.Time
	// Grain, if not zero, is the resolution of the connections' clocks: they read
	// the time rounded down to it, and their timers fire at its multiples, as a
	// runtime does that wakes once a millisecond. The network is exact.
	Grain time.Duration

	rng  *rand.Rand
	q    []event // a heap
	seq  uint64
	free [][]byte
	// stream is the bytes of all flows, each of which begins at another place.
	stream []byte
}

// event is something to do at a time; those of one time happen in the order in which
// they were queued.
type event struct {
	at  clock.Time
	seq uint64
	do  func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// NewLoop returns a loop whose time is one hour, so that nothing is tested with a
// zero time by accident.
func NewLoop(seed uint64) *Loop {
	return &Loop{Now: clock.Time(time.Hour), rng: rand.New(rand.NewPCG(seed, 0x6e6574647565))}
}

// Elapsed is how long the run has taken.
func (l *Loop) Elapsed() time.Duration { return time.Duration(l.Now) - time.Hour }

// reading is the time that a connection is told.
func (l *Loop) reading() clock.Time {
	if l.Grain > 0 {
		return l.Now - l.Now%clock.Time(l.Grain)
	}
	return l.Now
}

// timer returns when a timer for at fires.
func (l *Loop) timer(at clock.Time) clock.Time {
	if g := clock.Time(l.Grain); g > 0 {
		at = (at + g - 1) / g * g
	}
	return max(at, l.Now)
}

// At schedules do.
func (l *Loop) At(t clock.Time, do func()) {
	l.seq++
	e := event{max(t, l.Now), l.seq, do}
	q := append(l.q, e)
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&q[up]) {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = e
	l.q = q
}

// After schedules do at d from now.
func (l *Loop) After(d time.Duration, do func()) { l.At(l.Now.Add(d), do) }

// Step runs the next event; false if there is none.
func (l *Loop) Step() bool {
	if len(l.q) == 0 {
		return false
	}
	e := l.pop()
	l.Now = e.at
	e.do()
	return true
}

// pop takes the first event of a heap in which each has four below it: with
// thousands of them a binary one is twice as deep.
func (l *Loop) pop() event {
	q := l.q
	first, e := q[0], q[len(q)-1]
	q[len(q)-1] = event{}
	q = q[:len(q)-1]
	l.q = q
	for i := 0; len(q) > 0; {
		least := i
		best := &e
		for down := 4*i + 1; down <= 4*i+4 && down < len(q); down++ {
			if q[down].before(best) {
				least, best = down, &q[down]
			}
		}
		if least == i {
			q[i] = e
			break
		}
		q[i] = *best
		i = least
	}
	return first
}

// Run steps until done, the time limit, or nothing is left; it reports done.
func (l *Loop) Run(limit time.Duration, done func() bool) bool {
	end := l.Now.Add(limit)
	for !done() {
		if len(l.q) == 0 || l.q[0].at.After(end) {
			return done()
		}
		l.Step()
	}
	return true
}

// Until steps through all that happens up to a time since the run began, which it
// then is.
func (l *Loop) Until(elapsed time.Duration) {
	end := clock.Time(time.Hour + elapsed)
	for len(l.q) > 0 && !l.q[0].at.After(end) {
		l.Step()
	}
	l.Now = max(l.Now, end)
}

// frame returns an empty buffer for a segment.
func (l *Loop) frame() []byte {
	if n := len(l.free); n > 0 {
		b := l.free[n-1]
		l.free = l.free[:n-1]
		return b
	}
	return make([]byte, 0, 2048)
}

// recycle takes a buffer of frame back, which nobody may use any more.
func (l *Loop) recycle(b []byte) { l.free = append(l.free, b[:0]) }
