package direct

import "sync"

// turn lets one caller at a time into an operation that may block, in the order of
// their coming, as package net's file descriptors do for reads and for writes. It
// is guarded by the lock that acquire is given, and costs nothing while nobody
// waits. Waiting is on a channel, so that it counts as blocked in a synctest
// bubble.
type turn struct {
	busy bool
	last *turnWaiter // whose next is the first
}

// turnWaiter is one who waits for the turn, in a ring.
type turnWaiter struct {
	ch   chan struct{}
	next *turnWaiter
}

// acquire returns with the turn taken; mu is held, and released while waiting.
func (t *turn) acquire(mu *sync.Mutex) {
	if !t.busy {
		t.busy = true
		return
	}
	w := &turnWaiter{ch: make(chan struct{})}
	if t.last == nil {
		w.next = w
	} else {
		w.next, t.last.next = t.last.next, w
	}
	t.last = w
	mu.Unlock()
	<-w.ch
	mu.Lock()
}

// release hands the turn to the next; the lock is held.
func (t *turn) release() {
	if t.last == nil {
		t.busy = false
		return
	}
	w := t.last.next
	if w == t.last {
		t.last = nil
	} else {
		t.last.next = w.next
	}
	close(w.ch)
}

// waiter is where the one holder of a turn waits for an event. It is guarded by the
// lock of what it belongs to, and has a channel, one of the stack's, only while
// somebody waits on it. Who looks for the event otherwise, as a Read that polls the
// device, has wake note it.
type waiter struct{ ch chan struct{} }

// prepare returns the channel that the next wake sends to. The lock is held.
func (w *waiter) prepare(s *Stack) chan struct{} {
	ch, ok := s.waiters.Get().(chan struct{})
	if !ok {
		ch = make(chan struct{}, 1)
	}
	w.ch = ch
	return ch
}

// look has waiting report whether the next wake has come. The lock is held.
func (w *waiter) look(s *Stack) { w.ch = s.looking }

// waiting reports whether somebody waits who was not woken yet. The lock is held.
func (w *waiter) waiting() bool { return w.ch != nil }

// done follows every prepare, when the waiting is over for whatever reason. The lock
// is held.
func (w *waiter) done(s *Stack, ch chan struct{}) {
	if w.ch == ch {
		w.ch = nil // nobody woke us
	} else {
		select {
		case <-ch: // a wake that came too late to be waited for
		default:
		}
	}
	s.waiters.Put(ch)
}

// wake wakes who waits, if somebody does. The lock is held.
func (w *waiter) wake() {
	if cap(w.ch) > 0 { // somebody waits, and does not only look
		w.ch <- struct{}{} // there is room: a channel gets one for each prepare
	}
	w.ch = nil
}

// gate counts who is inside and can be shut: nobody enters from then on, and
// whoever shuts it waits for the last to leave. It replaces a sync.WaitGroup, which
// must not be added to while somebody waits.
type gate struct {
	mu   sync.Mutex
	n    int
	shut bool
	idle chan struct{} // made by close, closed when n is 0
}

// enter reports false when the gate is shut.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.n++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// close shuts the gate and returns when nobody is inside.
func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	if g.n == 0 {
		g.mu.Unlock()
		return
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	<-idle
}
