package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

const (
	// tlpDelAck is the delay of an ACK that a probe has to reckon with when one segment
	// is in flight (RFC 8985, section 7.2, WCDelAckT).
	tlpDelAck = 200 * time.Millisecond
	// tlpSlack is added otherwise, as Linux does, for the peer's and our own timers.
	tlpSlack = 2 * time.Millisecond
	// tlpNoSRTT is the timeout before the first sample (RFC 8985, section 7.2).
	tlpNoSRTT = time.Second
)

// tlpState is the tail loss probe under way (RFC 8985, section 7.1).
type tlpState struct {
	end     Seq // SND.NXT when the probe left
	active  bool
	retrans bool // the probe was a retransmission
}

// armTLP starts the probe timer: when what is in flight is acknowledged no more, a
// probe makes the peer tell what is missing, before the timeout collapses the
// window (RFC 8985, section 7.2).
func (c *Conn) armTLP(now clock.Time) {
	c.tlpAt = clock.Never
	if c.noTLP || !c.useSACK || c.tlp.active || c.ranges.count == 0 || c.sackedOut > 0 ||
		c.recovery != recoveryOpen || !c.state.synchronized() {
		return
	}
	pto := tlpNoSRTT
	if c.rtt.srtt > 0 {
		pto = 2*c.rtt.srtt + tlpSlack
		if c.outstanding() <= c.payloadMSS() {
			pto = 2*c.rtt.srtt + tlpDelAck
		}
	}
	c.tlpAt = min(now.Add(pto), c.rtxAt)
}

// tlpTimeout is RFC 8985, section 7.3. The retransmission timer begins anew, so
// that the probe has its time.
func (c *Conn) tlpTimeout(now clock.Time) {
	c.tlpAt = clock.Never
	if c.sndBuf.pinned || c.tlp.active || c.ranges.count == 0 || c.recovery != recoveryOpen {
		return
	}
	if c.userTimeout > 0 && c.stalledSince != 0 {
		return // the timeout itself is near
	}
	c.tlpOwed = true
	c.rtxAt = c.retransmitAt(now)
}

// outputTLP sends the probe: something new if there is something and the peer's
// window takes it, or else the last segment again.
func (c *Conn) outputTLP(now clock.Time, b *Batch) {
	if !c.tlpOwed {
		return
	}
	c.tlpOwed = false
	if b.full() || c.ranges.count == 0 || c.recovery != recoveryOpen {
		return
	}
	c.stats.tailProbes++
	next := c.sndNxt
	c.tlpNew = true
	c.outputNew(now, b)
	c.tlpNew = false
	if c.sndNxt == next {
		i := c.ranges.count - 1
		size := c.segmentSize()
		r := c.ranges.at(i)
		data := r.len()
		if c.finSent {
			data--
		}
		if data > size {
			c.ranges.split(i, r.seq.Add((data-1)/size*size))
			r = c.ranges.at(i + 1)
		}
		if c.finSent && r.len() == 1 && c.ranges.count > 1 {
			// A FIN alone could not be reported by SACK: it goes along with data.
			last := c.ranges.count - 1
			p := c.ranges.at(last - 1)
			if p.flags&rangeSacked == 0 && p.len() > size {
				c.ranges.split(last-1, p.seq.Add((p.len()-1)/size*size))
				last++
				p = c.ranges.at(last - 1)
			}
			if p.flags&rangeSacked == 0 {
				p.end = c.sndNxt
				c.ranges.count--
			}
			r = c.ranges.at(c.ranges.count - 1)
		}
		c.snapshot(now, r)
		r.inFlight = uint32(c.inFlight())
		r.flags |= rangeEver
		r.tries += b2u(r.tries < 255)
		c.stats.retransmits++
		c.stats.bytesRetrans += uint64(r.len())
		c.tlp.retrans = true
		c.emitRange(now, b, r)
	} else {
		c.tlp.retrans = false
	}
	c.tlp.active, c.tlp.end = true, c.sndNxt
	c.tlpAt = clock.Never
}

// tlpAcked decides whether a loss hid behind the probe: then the probe has
// repaired it, and the window has to be reduced all the same (RFC 8985, section
// 7.4).
func (c *Conn) tlpAcked(now clock.Time, seg *Segment, acked int, sacked bool) {
	if !c.tlp.active || seg.Ack.Less(c.tlp.end) {
		return
	}
	switch {
	case !c.tlp.retrans, c.news.dsackTLP:
		// New data, or both copies arrived.
	case c.tlp.end.Less(seg.Ack):
		if c.recovery == recoveryOpen {
			c.cc.OnLoss(now, c.outstanding()+acked)
			c.cc.OnRecovered(now)
			c.undo.armed = false
			c.stats.probeLosses++
		}
	case acked == 0 && !sacked && seg.Len() == 0:
		// A duplicate ACK: the probe arrived beside the original.
	default:
		return
	}
	c.tlp.active = false
}
