package direct

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netduet/netduet/clock"
)

const (
	// pathMTUs bounds the destinations whose path is known to be narrow.
	pathMTUs = 1024
	// pathMTUAge is when a larger packet is tried again (RFC 1191, section 6.3).
	pathMTUAge = 10 * time.Minute
	// minPathMTU is the least that a message can make us believe, as in Linux
	// (min_pmtu): a forged one must not make every packet tiny.
	minPathMTU = 552
)

// pathMTUCache remembers how much the paths to some destinations carry. Its lock
// is a leaf.
type pathMTUCache struct {
	n  atomic.Int32 // entries: mostly none, and then nobody takes the lock
	mu sync.Mutex
	m  map[netip.Addr]pathMTU
	// order is the destinations by age, oldest at next.
	order [pathMTUs]netip.Addr
	next  int
}

type pathMTU struct {
	mtu     int
	expires clock.Time
}

// get returns the MTU of the path to dst, or the largest there is.
func (c *pathMTUCache) get(dst netip.Addr, clk clock.Clock) int {
	if c.n.Load() == 0 {
		return 65535
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.m[dst]
	if !ok || clk.Now() >= e.expires {
		return 65535
	}
	return e.mtu
}

// set notes that the path to dst carries mtu bytes only.
func (c *pathMTUCache) set(now clock.Time, dst netip.Addr, mtu int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[netip.Addr]pathMTU)
	}
	if _, ok := c.m[dst]; !ok {
		delete(c.m, c.order[c.next])
		c.order[c.next] = dst
		c.next = (c.next + 1) % pathMTUs
	}
	c.m[dst] = pathMTU{max(mtu, minPathMTU), now.Add(pathMTUAge)}
	c.n.Store(int32(len(c.m)))
}
