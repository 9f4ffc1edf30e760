package fdqueue

import (
	"context"
	"os"
	"sync"
	"time"
)

// canceler makes a context's end wake the Wait under way, and no later one.
//
// It stays registered from one Wait to the next while the context is the same, so
// the loop of a receiver registers once and not per wake-up.
type canceler struct {
	mu       sync.Mutex
	armed    uint64          // counts registrations; an old one that fires late does nothing
	done     <-chan struct{} // of the context registered, nil with none
	stop     func() bool
	deadline bool // the file's deadline may be set
	awake    bool // the deadline stays
	over     bool
}

// arm registers ctx, whose end moves file's read deadline into the past. It
// reports false when the queue was closed.
func (c *canceler) arm(ctx context.Context, file *os.File) bool {
	done := ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	if done == c.done {
		return true
	}
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
	c.armed++
	if c.deadline && !c.awake {
		file.SetReadDeadline(time.Time{})
		c.deadline = false
	}
	if c.done = done; done == nil {
		return true
	}
	mine := c.armed
	c.stop = context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.armed == mine && !c.over {
			c.deadline = true
			file.SetReadDeadline(time.Unix(1, 0))
		}
	})
	return true
}

// wake ends every wait from now on.
func (c *canceler) wake(file *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.awake = true
		file.SetReadDeadline(time.Unix(1, 0))
	}
}

// disarm ends it for good.
func (c *canceler) disarm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.stop != nil {
		c.stop()
	}
}
