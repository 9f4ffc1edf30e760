package icmp

import (
	"net/netip"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/siphash"
)

// LimitConfig says how often messages may be sent (RFC 1812, section 4.3.2.8). The
// zero value has the defaults of Linux.
type LimitConfig struct {
	// Interval is the time between messages to all in the long run, and Burst how
	// many may go at once; 0 means 1 ms and 50.
	Interval time.Duration
	Burst    int
	// DestInterval and DestBurst are the same for each destination; 0 means 1 s and 6.
	DestInterval time.Duration
	DestBurst    int
	// Buckets is how many destinations are told apart, rounded up to a power of two;
	// 0 means 1024. Destinations that share a bucket share its allowance: what is
	// kept doesn't grow.
	Buckets int
	// Key, drawn at random, keeps others from finding destinations that share one.
	Key siphash.Key
	// Rand returns uniform random bits. With it, a message takes up to three times
	// its share of the common allowance, at random: otherwise an observer who can
	// count what is left of it learns which of our ports answer to others (RFC 5927
	// doesn't know that attack; it is CVE-2020-25705).
	Rand func() uint64
}

// bucket is a token bucket in the form of the time at which it will be full again
// (the generic cell rate algorithm, ITU-T I.371, annex A): as precise, and one word.
type bucket clock.Time

// full returns when the bucket is full, given that it isn't later than it says.
func (b bucket) full(now clock.Time) clock.Time { return max(clock.Time(b), now) }

// has reports whether a message may go at now.
func (b bucket) has(now clock.Time, interval time.Duration, burst int) bool {
	return b.full(now).Sub(now) <= interval*time.Duration(burst-1)
}

// take takes n messages' share.
func (b *bucket) take(now clock.Time, interval time.Duration, n int) {
	*b = bucket(b.full(now).Add(interval * time.Duration(n)))
}

// Limiter decides whether a message may be sent, for each destination and for all.
// Its memory is fixed. It is not safe for concurrent use.
type Limiter struct {
	cfg  LimitConfig
	all  bucket
	dest []bucket
}

// NewLimiter returns a limiter with full allowances.
func NewLimiter(cfg LimitConfig) *Limiter {
	if cfg.Interval <= 0 {
		cfg.Interval = time.Millisecond
	}
	if cfg.Burst <= 0 {
		cfg.Burst = 50
	}
	if cfg.DestInterval <= 0 {
		cfg.DestInterval = time.Second
	}
	if cfg.DestBurst <= 0 {
		cfg.DestBurst = 6
	}
	if cfg.Buckets <= 0 {
		cfg.Buckets = 1024
	}
	n := 1
	for n < cfg.Buckets {
		n *= 2
	}
	return &Limiter{cfg: cfg, dest: make([]bucket, n)}
}

// Allow reports whether a message may be sent to dst now, and counts it if so. A
// message that is refused takes nothing from anybody's allowance.
func (l *Limiter) Allow(now clock.Time, dst netip.Addr) bool {
	b := dst.As16()
	d := &l.dest[l.cfg.Key.Sum64(b[:])&uint64(len(l.dest)-1)]
	if !d.has(now, l.cfg.DestInterval, l.cfg.DestBurst) || !l.all.has(now, l.cfg.Interval, l.cfg.Burst) {
		return false
	}
	d.take(now, l.cfg.DestInterval, 1)
	n := 1
	if l.cfg.Rand != nil {
		n += int(l.cfg.Rand() % 3)
	}
	l.all.take(now, l.cfg.Interval, n)
	return true
}
