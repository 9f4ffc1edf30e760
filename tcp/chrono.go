package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// What a sender with something to deliver waits for.
const (
	chronoIdle   = iota // nothing: all is acknowledged
	chronoBusy          // the network
	chronoWindow        // the peer's window
	chronoBuffer        // a send buffer too small for the path
	chronoKinds
)

// chrono is how long a sender has waited for what (Linux's TCP_CHRONO).
type chrono struct {
	kind  uint8
	since clock.Time
	total [chronoKinds]time.Duration
}

func (t *chrono) become(now clock.Time, kind uint8) {
	if kind != t.kind {
		t.total[t.kind] += now.Sub(t.since)
		t.kind, t.since = kind, now
	}
}

// at returns the totals including the present.
func (t *chrono) at(now clock.Time) [chronoKinds]time.Duration {
	sum := t.total
	sum[t.kind] += max(now.Sub(t.since), 0)
	return sum
}

// account follows every Output: it counts the segments, and notes what the sender
// waits for from now on.
func (c *Conn) account(now clock.Time, b *Batch) {
	for i := range b.Segments {
		s := &b.Segments[i]
		n := uint64(1)
		if s.SegmentSize > 0 {
			n = uint64((s.PayloadLen + s.SegmentSize - 1) / s.SegmentSize)
		}
		c.stats.segsOut += n
		if s.PayloadLen > 0 {
			c.stats.dataSegsOut += n
		}
	}
	if !b.full() {
		c.tuning.more = false // it was for the Output behind its Write
	}
	if len(b.Segments) > 0 && c.tuning.notSentLowat > 0 {
		c.events |= EventWritable
	}
	c.chrono.become(now, c.waitsFor())
}

func (c *Conn) waitsFor() uint8 {
	if !c.state.synchronized() || c.state == StateTimeWait {
		return chronoIdle
	}
	left := c.unsent()
	switch {
	case left == 0 && c.ranges.count == 0:
		return chronoIdle
	case left > 0:
		n := min(left, c.segmentSize())
		if n > c.sndUna.Add(c.sndWnd).Sub(c.sndNxt) && c.inFlight() < c.cwnd() {
			return chronoWindow
		}
	case c.tuning.noSpace && !c.usage.limited:
		return chronoBuffer
	}
	return chronoBusy
}
