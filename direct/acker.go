package direct

import (
	"context"
	"sync"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// acker sends the ACKs that a receiver held back, in a goroutine of its own: to a
// program on the same machine, as behind a tap, the write of an ACK runs the other
// stack's sending as well, and the receiver can read the next frames meanwhile. There is
// none where one processor does everything.
type acker struct {
	clk  clock.Clock
	wake chan struct{} // holds one

	mu   sync.Mutex
	list []*TCPConn // their held is heldOn
}

// ackerLeast is from how many connections on the acker is worth being woken.
const ackerLeast = 2

func newAcker(clk clock.Clock) *acker { return &acker{clk: clk, wake: make(chan struct{}, 1)} }

// take leaves the connections to the acker. They stay the caller's slice.
func (a *acker) take(list []*TCPConn) {
	a.mu.Lock()
	a.list = append(a.list, list...)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run sends until ctx ends.
func (a *acker) run(ctx context.Context) {
	var list []*TCPConn
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
		a.mu.Lock()
		list, a.list = a.list, list
		a.mu.Unlock()
		now := a.clk.Now()
		for i, c := range list {
			c.lock()
			c.releaseAck(now)
			c.unlock()
			list[i] = nil
		}
		list = list[:0]
	}
}

// releaseAck sends the ACK that was held back, if it is still owed. c.mu is held.
func (c *TCPConn) releaseAck(now clock.Time) {
	c.held = heldNot
	if c.tc.AckOwed() {
		c.drive(now, tcp.OutputAll)
	}
}
