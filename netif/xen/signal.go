package xen

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// bell wakes the one reader of a queue.
type bell struct {
	c     chan struct{} // one token
	timer *time.Timer   // of Wait's recovery, made with the first Wait
}

func newBell() bell { return bell{c: make(chan struct{}, 1)} }

func (b *bell) ring() {
	select {
	case b.c <- struct{}{}:
	default:
	}
}

// wait is netif.Queue's Wait: it returns when ready says so. ready asks for an
// event when it does not.
func (b *bell) wait(ctx context.Context, c *core, ready func() bool) error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if ready() {
		return nil
	}
	if err := c.goneErr(); err != nil {
		return err
	}
	var over <-chan time.Time
	if c.recovery > 0 {
		if b.timer == nil {
			b.timer = time.NewTimer(c.recovery)
		} else {
			b.timer.Reset(c.recovery)
		}
		defer b.timer.Stop()
		over = b.timer.C
	}
	for {
		select {
		case <-b.c:
			return nil
		case <-c.ended:
			if c.closed.Load() {
				return net.ErrClosed
			}
			return c.goneErr()
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			if ready() {
				c.count.recovered.Add(1)
				return nil
			}
			b.timer.Reset(c.recovery)
		}
	}
}

// gate is what short writers wait at. The lock of the direction it belongs to guards
// it; waiting alone is looked at without.
type gate struct {
	waiting atomic.Bool
	blocked chan struct{}
	// needSlots and needPages are what the frame takes that was refused last.
	needSlots, needPages int
	timer                *time.Timer
}

// refuse notes what a short Write is waiting for.
func (g *gate) refuse(slots, pages int) {
	g.needSlots, g.needPages = slots, pages
}

// enter returns a channel that is closed when there is room. room looks and, if
// there is none, asks for an event; event is called by the recovery timer. The
// lock is held.
func (g *gate) enter(c *core, room func() bool, event func(recovering bool)) <-chan struct{} {
	if room() {
		return c.open
	}
	if g.blocked == nil {
		g.blocked = make(chan struct{})
		g.waiting.Store(true)
		if c.recovery > 0 {
			if g.timer == nil {
				g.timer = time.AfterFunc(c.recovery, func() { event(true) })
			} else {
				g.timer.Reset(c.recovery)
			}
		}
		// An event may have come between looking and waiting.
		if room() {
			g.openLocked()
			return c.open
		}
	}
	return g.blocked
}

// openLocked lets all in; the lock is held.
func (g *gate) openLocked() {
	if g.blocked != nil {
		close(g.blocked)
		g.blocked = nil
	}
	g.waiting.Store(false)
	if g.timer != nil {
		g.timer.Stop()
	}
}
