package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// ackPending says why an acknowledgement is owed that may still wait (RFC 9293,
// section 3.8.6.3; the rules are Linux's, whose rhythm peers are used to).
type ackPending struct {
	owed   bool // something has arrived since the last one
	pushed uint8
	// lastSize is the size of the last segment that was not full: two alike in a row
	// are what the peer's segments are.
	lastSize uint16
	opened   bool // and the window has opened further than was announced
	// apart: an ACK of data in order was due when the first segment behind a gap came.
	apart bool
	runs  uint8 // how often another run behind a gap than before has changed since the last ACK
}

// quickly has the next segments acknowledged at once: as many as fill half of the
// window, within a limit.
func (c *Conn) quickly(most int) {
	n := c.announced() / (2 * max(c.rcvMSS, 1))
	if n <= 0 {
		n = 2
	}
	c.quickAcks = max(c.quickAcks, uint8(min(n, most)))
}

// enterQuick has the next segments acknowledged at once although the connection is a
// conversation: the peer misses something.
func (c *Conn) enterQuick() {
	c.quickly(maxQuickAcks)
	c.pingPong = false
	c.ato = int64(delAckMin)
}

// noteSize learns the size of the peer's segments, of which every second is
// acknowledged (RFC 5681, section 4.2), from one of n bytes in order. A segment that
// is smaller ends what the peer had to say: the ACK can leave when the application
// has read it.
func (c *Conn) noteSize(n int, flags Flags) {
	last := int(c.ack.lastSize)
	c.ack.lastSize = 0
	options := c.peerHeader() - 20 - HeaderLen
	switch {
	case n >= c.rcvMSS:
		c.rcvMSS = min(n, c.receiveMSS())
		return
	case n+options >= DefaultMSS, n+options >= minRcvMSS && flags&(PSH|FIN|URG|SYN) == 0:
		c.ack.lastSize = uint16(min(n, 65535))
		if n == last {
			c.rcvMSS = n
			return
		}
	}
	c.ack.pushed = min(c.ack.pushed+1, 2)
}

// minRcvMSS is the least that noteSize takes for a peer's segment size.
const minRcvMSS = 88

// dataArrived notes that a segment has come in order, and adapts to the rhythm in which
// they come.
func (c *Conn) dataArrived(now clock.Time) {
	c.ack.owed = true
	if c.ato == 0 { // the first
		c.quickly(maxQuickAcks)
		c.ato = int64(delAckMin)
	} else {
		gap, rto := int64(now.Sub(c.lastData)), int64(c.rtt.timeout(c.backoff))
		switch {
		case gap <= int64(delAckMin)/2:
			c.ato = c.ato/2 + int64(delAckMin)/2
		case gap < c.ato:
			c.ato = min(c.ato/2+gap, rto)
		case gap > rto:
			// The sender may be restarting after a pause and waits for ACKs to clock it.
			c.quickly(maxQuickAcks)
		}
	}
	c.lastData = now
}

// decideACK has the ACK that is owed leave at once, for every second full segment, or
// wait (RFC 5681, section 4.2).
func (c *Conn) decideACK(now clock.Time) {
	if c.ackNow || c.gapHeld > 0 || !c.ack.owed {
		return
	}
	switch {
	case c.quickAcks > 0 && !c.pingPong:
		// A window that opens is worth an ACK, but one for a burst will do.
		c.ackNow, c.ackSoon = !c.ack.opened, c.ack.opened
	case c.rcvNxt.Sub(c.rcvWup) > c.rcvMSS && (c.waitsForMore() || c.selectWindow() >= c.announced()):
		// Otherwise the reader is behind, and will open the window with an ACK of its own.
		c.ackSoon = true
	default:
		c.delayACK(now)
	}
}

// delayACK starts the timer of an ACK that waits, or makes it shorter. One that is
// about to expire anyway is not waited for.
func (c *Conn) delayACK(now clock.Time) {
	d := c.delAck()
	if c.ackAt != clock.Never {
		if !now.Add(d / 4).Before(c.ackAt) {
			c.ackNow = true
			return
		}
	}
	c.ackAt = min(c.ackAt, now.Add(d))
}

// delAck is how long the next ACK may wait.
func (c *Conn) delAck() time.Duration {
	ato := time.Duration(c.ato)
	if ato > delAckMin {
		limit := delAckSlow
		if c.pingPong || c.ack.pushed > 0 {
			limit = delAckMax
		}
		if c.rtt.srtt > 0 {
			limit = min(limit, max(c.rtt.srtt, delAckMin))
		}
		ato = min(ato, limit)
	}
	return min(ato, c.delAckMost())
}

// ackRead reports whether an ACK that waits leaves now that the application has read.
func (c *Conn) ackRead() bool {
	if !c.ack.owed {
		return false
	}
	return c.rcvNxt.Sub(c.rcvWup) > c.rcvMSS ||
		c.rcvBuf.buffered() == 0 && (c.ack.pushed > 1 || c.ack.pushed > 0 && !c.pingPong)
}

// ackSent notes that a segment with the current acknowledgement leaves.
func (c *Conn) ackSent() {
	c.ackNow, c.ackSoon = false, false
	c.ackAt = clock.Never
	c.rcvWup = c.rcvNxt
	if c.ack.owed && c.quickAcks > 0 {
		if c.quickAcks--; c.quickAcks == 0 {
			c.ato = int64(delAckMin)
		}
	}
	c.ack = ackPending{lastSize: c.ack.lastSize}
	c.gapHeld = 0
}

// delayedACK is the timer of an ACK that has waited.
func (c *Conn) delayedACK(now clock.Time) {
	c.ackAt = clock.Never
	if c.gapHeld > 0 {
		c.ackNow = true
		return
	}
	if c.pingPong { // the answer did not come in time
		c.pingPong = false
		c.ato = int64(delAckMin)
	} else {
		c.ato = min(2*c.ato, int64(c.rtt.timeout(c.backoff)))
	}
	c.stats.delayedAcks++
	c.ackNow = true
}
