package direct

import (
	"sync"

	"github.com/netduet/netduet/clock"
)

// timerShards spreads the heaps' locks. A power of two.
const timerShards = 8

// expirer is what a timer belongs to. expired runs without any lock held; it is
// the owner that knows whether it is really due, and that arms the timer again.
type expirer interface{ expired(now clock.Time) }

// timer is one deadline of one owner, a node of its shard's heap. The zero value
// with an owner is stopped.
//
// It is armed lazily: an owner whose deadline moves later leaves the heap alone
// and looks again when the old deadline expires, so that an ACK costs nothing. The
// owner therefore remembers, under its own lock, what it armed (armed).
type timer struct {
	owner expirer
	shard *timerShard
	armed clock.Time // guarded by the owner; 0: stopped

	at    clock.Time // guarded by the shard, as is index
	index int        // 1-based place in the heap; 0: not in it
}

// want makes the timer expire at the instant at or earlier. The owner's lock is
// held.
func (t *timer) want(at clock.Time) {
	if at == clock.Never || (t.armed != 0 && t.armed <= at) {
		return
	}
	t.armed = at
	t.shard.set(t, at)
}

// stop removes the timer from its heap. The owner's lock is held; expired may
// already be on its way.
func (t *timer) stop() {
	if t.armed != 0 {
		t.armed = 0
		t.shard.remove(t)
	}
}

// timerShard is a heap of timers behind one timer of the clock.
type timerShard struct {
	clk clock.Clock

	mu      sync.Mutex
	heap    []*timer
	alarm   clock.Timer
	rings   clock.Time // what alarm is armed for; Never: not armed
	closed  bool
	running int        // goroutines inside run
	idle    *sync.Cond // running became 0
}

// timers is all shards.
type timers struct{ shards [timerShards]timerShard }

func (ts *timers) init(clk clock.Clock) {
	for i := range ts.shards {
		s := &ts.shards[i]
		s.clk, s.rings = clk, clock.Never
		s.idle = sync.NewCond(&s.mu)
		s.alarm = clk.NewTimer(s.fire)
	}
}

// bind readies t for owner, in a shard chosen by hash.
func (ts *timers) bind(t *timer, owner expirer, hash uint64) {
	t.owner, t.shard = owner, &ts.shards[hash%timerShards]
}

// poll runs what is due at now and returns the earliest deadline that is left.
func (ts *timers) poll(now clock.Time) clock.Time {
	next := clock.Never
	for i := range ts.shards {
		next = min(next, ts.shards[i].run(now))
	}
	return next
}

// close stops all timers; it returns when none of their owners is being called.
func (ts *timers) close() {
	for i := range ts.shards {
		s := &ts.shards[i]
		s.mu.Lock()
		s.closed = true
		s.alarm.Stop()
		for _, t := range s.heap {
			t.index = 0
		}
		s.heap = nil
		for s.running > 0 {
			s.idle.Wait()
		}
		s.mu.Unlock()
	}
}

func (s *timerShard) set(t *timer, at clock.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	t.at = at
	if t.index == 0 {
		s.heap = append(s.heap, t)
		t.index = len(s.heap)
	}
	s.up(t.index)
	s.down(t.index)
	s.arm()
}

func (s *timerShard) remove(t *timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.index != 0 {
		s.take(t.index)
	}
	// The alarm is left as it is: an expiry that finds nothing due costs less
	// than re-arming for each connection that ends.
}

// arm makes the alarm ring for the first of the heap. It is only ever moved
// earlier; a late first timer is found when the alarm rings.
func (s *timerShard) arm() {
	if len(s.heap) > 0 && s.heap[0].at < s.rings {
		s.rings = s.heap[0].at
		s.alarm.Reset(s.rings)
	}
}

func (s *timerShard) fire() { s.run(s.clk.Now()) }

// run expires what is due at now and returns the next deadline.
func (s *timerShard) run(now clock.Time) clock.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return clock.Never
	}
	if s.rings <= now {
		s.rings = clock.Never
	}
	s.running++
	for len(s.heap) > 0 && s.heap[0].at <= now && !s.closed {
		t := s.take(1)
		s.mu.Unlock()
		t.owner.expired(now)
		s.mu.Lock()
	}
	s.running--
	if s.running == 0 {
		s.idle.Broadcast()
	}
	if s.closed || len(s.heap) == 0 {
		return clock.Never
	}
	s.arm()
	return s.heap[0].at
}

// take removes and returns the timer at place i of the heap.
func (s *timerShard) take(i int) *timer {
	t := s.heap[i-1]
	last := len(s.heap)
	if i != last {
		s.swap(i, last)
	}
	s.heap[last-1] = nil
	s.heap = s.heap[:last-1]
	t.index = 0
	if i < last {
		s.up(i)
		s.down(i)
	}
	return t
}

func (s *timerShard) swap(i, j int) {
	h := s.heap
	h[i-1], h[j-1] = h[j-1], h[i-1]
	h[i-1].index, h[j-1].index = i, j
}

func (s *timerShard) up(i int) {
	for i > 1 && s.heap[i-1].at < s.heap[i/2-1].at {
		s.swap(i, i/2)
		i /= 2
	}
}

func (s *timerShard) down(i int) {
	for {
		c := 2 * i
		if c > len(s.heap) {
			return
		}
		if c < len(s.heap) && s.heap[c].at < s.heap[c-1].at {
			c++
		}
		if s.heap[i-1].at <= s.heap[c-1].at {
			return
		}
		s.swap(i, c)
		i = c
	}
}
