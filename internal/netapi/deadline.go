package netapi

import (
	"sync"
	"sync/atomic"
	"time"
)

// Deadline is the read or the write deadline of a connection. The zero value is
// a deadline that is not set; it must not be copied once used.
//
// A blocked operation selects on [Deadline.Wait] beside whatever it waits for;
// an operation that may succeed at once asks [Deadline.Expired] first, because
// package net fails with os.ErrDeadlineExceeded after the deadline even if the
// operation could proceed. Set may be called at any time from any goroutine and
// governs operations that are already blocked.
//
// It costs a channel once, when something first blocks, and a timer only while
// something has blocked under a deadline: the common pattern of moving the
// deadline further before each read neither allocates nor touches the timer.
// It uses package time alone, so under testing/synctest its times are exact.
type Deadline struct {
	// state lets the path that does not block get by without the lock.
	state atomic.Uint32

	mu      sync.Mutex
	when    time.Time     // valid while state is deadlineSet; has a monotonic reading
	expired chan struct{} // nil until something waits; closed at expiry
	timer   *time.Timer   // nil until something waits under a deadline
	armed   time.Time     // when timer fires; zero if it is not running
	stopped bool          // Stop was called: never arm again
}

const (
	deadlineNone uint32 = iota
	deadlineSet
	deadlineExpired
)

// Set moves the deadline to t; the zero time clears it, and a time that has
// passed expires it now, waking what is blocked. Setting it anew revives an
// expired deadline for later operations.
func (d *Deadline) Set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.IsZero() {
		d.revive(deadlineNone)
		return
	}
	now := time.Now()
	left := t.Sub(now)
	if left <= 0 {
		d.expire()
		return
	}
	// Rebased on now, so that a wall-clock step later on does not move it.
	d.when = now.Add(left)
	d.revive(deadlineSet)
	if d.expired != nil {
		d.arm(left)
	}
}

// None reports whether the deadline is not set.
func (d *Deadline) None() bool { return d.state.Load() == deadlineNone }

// Expired reports whether the deadline is set and has passed. It is one atomic
// load when no deadline is set.
func (d *Deadline) Expired() bool {
	switch d.state.Load() {
	case deadlineNone:
		return false
	case deadlineExpired:
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Load() == deadlineSet && time.Until(d.when) <= 0 {
		d.expire()
	}
	return d.state.Load() == deadlineExpired
}

// Wait returns a channel that is closed when the deadline passes, wherever Set
// moves it meanwhile. It belongs to one blocked operation: the next must call
// Wait again, since an expired channel stays closed when the deadline is revived.
func (d *Deadline) Wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.expired == nil {
		d.expired = make(chan struct{})
		if d.state.Load() == deadlineExpired {
			close(d.expired)
		}
	}
	if d.state.Load() == deadlineSet {
		if left := time.Until(d.when); left > 0 {
			d.arm(left)
		} else {
			d.expire()
		}
	}
	return d.expired
}

// Stop releases the timer; the owner calls it when the connection closes, so
// that a far deadline does not hold the connection's memory. What is blocked
// then is woken by the close, no longer by the deadline.
func (d *Deadline) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	d.armed = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}

// revive enters state, which is not expired, with a channel that is open.
func (d *Deadline) revive(state uint32) {
	if d.state.Load() == deadlineExpired {
		d.expired = nil
	}
	d.state.Store(state)
}

func (d *Deadline) expire() {
	if d.state.Load() == deadlineExpired {
		return
	}
	d.state.Store(deadlineExpired)
	if d.expired != nil {
		close(d.expired)
	}
}

// arm makes the timer fire after left at the latest. One that fires too early
// finds the deadline ahead and is armed again, so a deadline that moves away
// costs nothing here.
func (d *Deadline) arm(left time.Duration) {
	if d.stopped || !d.armed.IsZero() && !d.armed.After(d.when) {
		return
	}
	d.armed = d.when
	if d.timer == nil {
		d.timer = time.AfterFunc(left, d.fire)
		return
	}
	d.timer.Reset(left)
}

// fire is the timer's function. It may be late by a Set or a Stop, so it trusts
// nothing but the deadline as it stands now.
func (d *Deadline) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return
	}
	if !d.armed.IsZero() && time.Until(d.armed) > 0 {
		return // an earlier firing, overtaken by Reset: the timer still runs
	}
	d.armed = time.Time{}
	if d.state.Load() != deadlineSet {
		return
	}
	if left := time.Until(d.when); left > 0 {
		d.arm(left)
	} else {
		d.expire()
	}
}
