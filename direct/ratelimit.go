package direct

import (
	"sync"
	"time"

	"github.com/netduet/netduet/clock"
)

// rateLimit is a token bucket: a token comes each interval, at most burst are
// kept. Safe for concurrent use.
type rateLimit struct {
	interval time.Duration // between two tokens
	burst    int64

	mu    sync.Mutex
	spent clock.Time // the instant at which the bucket is full again
}

// allow takes a token if there is one.
func (r *rateLimit) allow(now clock.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	spent := max(r.spent, now) + clock.Time(r.interval)
	if spent.Sub(now) > time.Duration(r.burst)*r.interval {
		return false
	}
	r.spent = spent
	return true
}
