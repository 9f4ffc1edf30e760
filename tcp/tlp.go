package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

const (
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

// armTLP starts the probe timer in place of the retransmission timer, if there is to
// be a probe: when what is in flight is acknowledged no more, it makes the peer tell
// what is missing, before the timeout collapses the window (RFC 8985, section 7.2).
// rto is when that timeout would be.
func (c *Conn) armTLP(now, rto clock.Time) bool {
	if c.noTLP || !c.useSACK || c.packetsOut == 0 || !c.state.synchronized() ||
		c.recovery != recoveryOpen && c.recovery != recoveryCWR {
		return false
	}
	pto := tlpNoSRTT
	if c.rtt.srtt > 0 {
		pto = 2*c.rtt.srtt + tlpSlack
		if c.packetsOut == 1 {
			// The ACK may be delayed (RFC 8985, section 7.2, WCDelAckT).
			pto = 2*c.rtt.srtt + c.rtt.least()
		}
	}
	if !rto.After(now) {
		rto = c.retransmitAt(now)
	}
	at := min(now.Add(pto), rto)
	c.setTimer(timerProbe, at)
	return true
}

// tlpTimeout is RFC 8985, section 7.3. The retransmission timer begins anew, so
// that the probe has its time.
func (c *Conn) tlpTimeout(now clock.Time) {
	if c.sndBuf.pinned {
		c.setTimer(timerProbe, now.Add(tlpSlack)) // the device has not even taken what we would repeat
		return
	}
	if c.tlp.active || c.ranges.count == 0 {
		c.rearmTimeout(now)
		return
	}
	c.tlpOwed = true
	c.setTimer(timerRetransmit, c.retransmitAt(now))
}

// outputTLP sends the probe: something new if there is something and the peer's
// window takes it, or else the last segment again.
func (c *Conn) outputTLP(now clock.Time, b *Batch) {
	if !c.tlpOwed {
		return
	}
	c.tlpOwed = false
	if b.full() || c.ranges.count == 0 {
		return
	}
	next := c.sndNxt
	if n := min(c.unsent(), c.segmentSize()); n > 0 || c.finQueued && !c.finSent {
		if n <= c.sndUna.Add(c.sndWnd).Sub(next) {
			c.tlpNew = true
			c.outputNew(now, b)
			c.tlpNew = false
			if c.sndNxt == next {
				c.noProbe(now)
				return
			}
			c.tlp.retrans = false
			c.probeSent(now)
			return
		}
	}
	i := c.ranges.count - 1
	r := c.ranges.at(i)
	if data, size := c.dataLen(r), c.segmentSize(); data > size {
		c.resize(r, size)
		c.cut(i, r.seq.Add((data-1)/size*size))
		i++
		r = c.ranges.at(i)
	}
	avail := c.sndUna.Add(c.sndWnd).Sub(r.seq)
	if avail <= 0 && r.seq != c.sndUna {
		c.noProbe(now) // the peer has taken its window back
		return
	}
	if avail > 0 && c.dataLen(r) > avail {
		c.cut(i, r.seq.Add(avail))
		r = c.ranges.at(i)
	}
	c.transmitAgain(now, b, r)
	c.tlp.retrans = true
	c.probeSent(now)
}

// noProbe leaves it to the retransmission timer, as if there had been no other.
func (c *Conn) noProbe(now clock.Time) {
	c.setTimer(timerRetransmit, max(min(c.retransmitAt(now), c.headTimeout()), now.Add(time.Millisecond)))
}

func (c *Conn) probeSent(now clock.Time) {
	c.stats.tailProbes++
	c.tlp.active, c.tlp.end = true, c.sndNxt
	c.setTimer(timerRetransmit, c.retransmitAt(now))
}

// tlpAcked decides whether a loss hid behind the probe: then the probe has
// repaired it, and the window has to be reduced all the same (RFC 8985, section
// 7.4).
func (c *Conn) tlpAcked(now clock.Time, ack Seq) {
	n := &c.news
	if !c.tlp.active || ack.Less(c.tlp.end) {
		return
	}
	switch {
	case !c.tlp.retrans, n.dsackTLP:
		c.tlp.active = false // new data, or both copies arrived
	case c.tlp.end.Less(ack):
		c.beginReduction(now)
		c.recovery = recoveryCWR
		c.endReduction(now)
		c.keepOpen()
		c.stats.probeLosses++
	case !n.advanced && !n.dataAcked && !n.data && !n.update && !n.sacked:
		c.tlp.active = false // a duplicate ACK: the probe arrived beside the original
	}
}
