package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

const (
	// rackPersist is for how many recoveries a reordering window that D-SACKs have
	// widened stays so (RFC 8985, section 6.2, step 4).
	rackPersist = 16
	// rackMaxSteps bounds the widening; beyond it SRTT is the limit anyway.
	rackMaxSteps = 255
	// coarseTick is the least reordering window where round trips are shorter than a
	// tick of the clock: with less, everything of an earlier tick would seem late.
	coarseTick = time.Millisecond
)

// rackState is what RACK remembers (RFC 8985, section 5.3): of all segments known
// to have arrived, the one that was sent last. What was sent before it and not
// reported within the reordering window is lost, be it an original or a
// retransmission.
type rackState struct {
	xmitAt     clock.Time    // when that segment was sent
	endSeq     Seq           // its end, which orders segments sent at the same time
	rtt        time.Duration // from then to the report
	fack       Seq           // highest end that was reported
	mult       uint8         // reordering window in quarters of the least round-trip time
	persist    uint8
	dsackEnd   Seq // until this is acknowledged, no further D-SACK widens the window
	dsackRound bool
	reordering bool // was seen
	coarse     bool // a round trip took no tick of the clock
	repeated   bool // this acknowledgement's latest segment was a retransmission
}

// sentAfter is the order of transmissions (RFC 8985, section 6.2, step 2).
func sentAfter(t1 clock.Time, seq1 Seq, t2 clock.Time, seq2 Seq) bool {
	return t1.After(t2) || t1 == t2 && seq2.Less(seq1)
}

// rackDelivered takes notice of a range that is newly reported up to end (RFC
// 8985, section 6.2, steps 1 to 3).
func (c *Conn) rackDelivered(now clock.Time, seg *Segment, r *sentRange, end Seq) {
	k := &c.rack
	if k.fack.Less(end) {
		k.fack = end
	} else if end.Less(k.fack) && r.flags&rangeEver == 0 {
		if !k.reordering {
			c.stats.reordered++
		}
		k.reordering = true
	}
	rtt := now.Sub(r.sentAt)
	if r.flags&rangeEver != 0 {
		// The report may be of the original: then it says nothing of the retransmission's
		// time. What SACK reports echoes an older timestamp in any case (RFC 7323, section
		// 4.3), and is judged by the time it took alone, as Linux does.
		if end.LessEq(seg.Ack) && c.useTS && seg.Options.HasTS && int32(seg.Options.TSEcr-c.tsNow(r.sentAt)) < 0 {
			return
		}
		if rtt < c.rtt.min {
			return
		}
	} else if rtt == 0 {
		k.coarse = true
	}
	k.rtt = rtt
	if sentAfter(r.sentAt, end, k.xmitAt, k.endSeq) {
		k.xmitAt, k.endSeq = r.sentAt, end
		k.repeated = r.flags&rangeEver != 0
	}
}

// rackWidth is the reordering window (RFC 8985, section 6.2, step 4).
func (c *Conn) rackWidth() time.Duration {
	k := &c.rack
	if !k.reordering && (c.recovery >= recoveryFast || c.sackedSegments(dupThresh) >= dupThresh) {
		return 0
	}
	width := min(time.Duration(max(k.mult, 1))*c.rtt.min/4, c.rtt.srtt)
	if k.coarse {
		width = max(width, coarseTick)
	}
	return width
}

// sackedSegments counts the segments that SACK reported, up to limit.
func (c *Conn) sackedSegments(limit int) int {
	if c.sackedOut == 0 {
		return 0
	}
	n := 0
	for i := c.ranges.count - 1; i >= 0 && n < limit; i-- {
		if r := c.ranges.at(i); r.flags&rangeSacked != 0 {
			n += c.segments(r.len())
		}
	}
	return n
}

// rackDSACK widens the window once a round trip in which something was sent again
// for nothing (RFC 8985, section 6.2, step 4).
func (c *Conn) rackDSACK() {
	k := &c.rack
	if k.dsackRound && !c.sndUna.Less(k.dsackEnd) {
		k.dsackRound = false
	}
	if !c.news.dsack || k.dsackRound {
		return
	}
	k.dsackRound, k.dsackEnd = true, c.sndNxt
	k.mult = uint8(min(int(max(k.mult, 1))+1, rackMaxSteps))
	k.persist = rackPersist
}

// rackRecovered narrows the window again when enough recoveries went without.
func (c *Conn) rackRecovered() {
	k := &c.rack
	if k.persist > 0 {
		k.persist--
	}
	if k.persist == 0 {
		k.mult = 1
	}
}

// rackDetect marks what is lost and sets the timer for what may turn out to be
// (RFC 8985, section 6.2, step 5). The walk is bounded by maxRanges and made only
// when something was sent out of its turn.
func (c *Conn) rackDetect(now clock.Time) {
	k := &c.rack
	c.rackAt = clock.Never
	if c.sackedOut == 0 && !k.repeated && c.recovery < recoveryFast || c.ranges.count == 0 {
		return
	}
	width := c.rackWidth()
	wait := time.Duration(-1)
	for i := range c.ranges.count {
		r := c.ranges.at(i)
		if r.flags&rangeSacked != 0 || r.flags&(rangeLost|rangeRetrans) == rangeLost {
			continue
		}
		if !sentAfter(k.xmitAt, k.endSeq, r.sentAt, r.end) {
			continue
		}
		if left := r.sentAt.Add(k.rtt + width).Sub(now); left > 0 {
			wait = max(wait, left)
		} else {
			c.markLost(r)
		}
	}
	if wait > 0 {
		c.rackAt = now.Add(wait)
	}
}

// rackTimeout is the reordering timer (RFC 8985, section 6.3): late as it may be,
// what it marks is judged by now.
func (c *Conn) rackTimeout(now clock.Time) {
	c.rackAt = clock.Never
	if c.ranges.count == 0 {
		return
	}
	lost := c.lostOut - c.retransOut
	if c.useSACK {
		c.rackDetect(now)
	}
	if c.lostOut-c.retransOut == lost {
		return
	}
	switch {
	case c.recovery < recoveryFast:
		c.news.delivered = 0
		c.enterFast(now)
	case c.recovery == recoveryFast:
		c.prrUpdate(0, false)
	}
	c.rtxAt = c.retransmitAt(now)
}
