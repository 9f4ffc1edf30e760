package xen

import (
	"context"
	"net"
	"sync"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen/transport"
)

// sharedRing is what a half asks of its ring, whichever end's that is.
type sharedRing interface {
	// Push shows the far end what was put, and reports whether it wants an event.
	Push() (notify bool)
	// Arm asks for an event when n slots have come, and reports whether they are there.
	Arm(n int) (ready bool, err error)
}

// rxHalf is what the receiving halves of both ends have in common: how they wait, how a
// connection ends, and what came before it did.
type rxHalf struct {
	core  *core
	kick  func() // has the control goroutine look at us
	bell  bell
	ready func() bool // what Wait asks; kept, since making it anew would allocate

	mu     sync.Mutex
	live   bool
	broken bool // the far end broke the protocol: nothing is read until it is told to go
	common sharedRing
	ch     transport.Channel
	small  spare
	large  spare
	left   []*netif.Buf // received before the connection ended
}

func (r *rxHalf) init(c *core, kick func()) {
	r.core, r.kick = c, kick
	r.bell = newBell()
	r.ready = r.look
}

// open makes the half usable; the lock is held.
func (r *rxHalf) open(rg sharedRing, ch transport.Channel) {
	r.common, r.ch = rg, ch
	r.live, r.broken = true, false
}

// shut makes it unusable, but for what is left; the lock is held.
func (r *rxHalf) shut() {
	r.live = false
	r.small.release()
	r.large.release()
	r.common, r.ch = nil, nil
	r.bell.ring()
}

// read returns what is left, or what take gets from the ring; take has the lock.
func (r *rxHalf) read(bufs []*netif.Buf, take func([]*netif.Buf) int) (n int, err error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	closed := r.core.closed.Load()
	gone := r.core.goneErr()
	r.mu.Lock()
	if len(r.left) > 0 {
		n = copy(bufs, r.left)
		clear(r.left[:n])
		if r.left = r.left[n:]; len(r.left) == 0 {
			r.left = nil
		}
		r.mu.Unlock()
		return n, nil
	}
	if !r.live {
		r.mu.Unlock()
		if closed {
			return 0, net.ErrClosed
		}
		return 0, gone
	}
	n = take(bufs)
	notify := r.common.Push()
	ch := r.ch
	r.mu.Unlock()
	if notify {
		ch.Notify()
	}
	return n, nil
}

func (r *rxHalf) wait(ctx context.Context) error { return r.bell.wait(ctx, r.core, r.ready) }

// look reports whether there is something to read, and asks for an event if not.
func (r *rxHalf) look() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.left) > 0 {
		return true
	}
	if !r.live || r.broken {
		return false
	}
	ready, err := r.common.Arm(1)
	if err != nil {
		r.fail()
	}
	return ready
}

// fail gives the connection up; the control goroutine does the rest.
func (r *rxHalf) fail() {
	if !r.broken {
		r.broken = true
		r.kick()
	}
}

// misbehaved reports whether the connection was given up and is still there.
func (r *rxHalf) misbehaved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken && r.live
}

// txHalf is what the transmitting halves of both ends have in common: how a connection
// ends, and the gate at which short writers wait.
type txHalf struct {
	core *core
	kick func()
	// enough reports whether there is room for what was refused, and asks for an event if
	// there is not; the lock is held.
	enough func() bool

	mu     sync.Mutex
	live   bool
	broken bool
	common sharedRing
	ch     transport.Channel
	plan   planner
	gate   gate
}

func (t *txHalf) init(c *core, kick func(), enough func() bool) {
	t.core, t.kick, t.enough = c, kick, enough
	t.plan.mtu = c.info.MTU
}

// open makes the half usable; the lock is held.
func (t *txHalf) open(rg sharedRing, ch transport.Channel, c caps, most int) {
	t.common, t.ch = rg, ch
	t.plan.caps, t.plan.most = c, most
	t.live, t.broken = true, false
}

// shut makes it unusable: what is written is dropped from now on. The lock is held.
func (t *txHalf) shut() {
	t.live = false
	t.common, t.ch = nil, nil
	t.gate.openLocked()
}

// write puts the frames into the ring; put has the lock, says how many it took, and
// refuses at the gate what it has no room for.
func (t *txHalf) write(frames []netif.Frame, put func([]netif.Frame) int) (n int) {
	t.mu.Lock()
	if !t.live {
		t.mu.Unlock()
		t.core.count.txDown.Add(uint64(len(frames)))
		return len(frames)
	}
	n = put(frames)
	notify := t.common.Push()
	ch := t.ch
	t.mu.Unlock()
	if notify {
		ch.Notify()
	}
	return n
}

// over reports whether nobody needs to wait, as nothing will be sent.
func (t *txHalf) over() bool {
	return !t.live || t.core.closed.Load() || t.core.gone.Load() != nil
}

// fail gives the connection up; the control goroutine does the rest.
func (t *txHalf) fail() {
	if !t.broken {
		t.broken = true
		t.kick()
	}
}

// misbehaved reports whether the connection was given up and is still there.
func (t *txHalf) misbehaved() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.broken && t.live
}

// wake lets those in who wait for room.
func (t *txHalf) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gate.openLocked()
}

func (t *txHalf) writable() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gate.enter(t.core, t.enough, t.event)
}

// event is called for an event, and by the recovery timer.
func (t *txHalf) event(recovering bool) {
	if !t.gate.waiting.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gate.blocked == nil {
		return
	}
	if t.enough() {
		if recovering {
			t.core.count.recovered.Add(1)
		}
		t.gate.openLocked()
	} else if recovering {
		t.gate.timer.Reset(t.core.recovery)
	}
}
