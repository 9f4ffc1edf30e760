package tcp

import "github.com/netduet/netduet/clock"

// outputRepeats sends again what recovery has asked for since the last Output.
func (c *Conn) outputRepeats(now clock.Time, b *Batch) {
	if c.repeat == repeatNew {
		// F-RTO, RFC 5682, section 3.1, step 2.b.
		c.repeat = repeatNothing
		c.outputNew(now, b)
		if c.highSeq.Less(c.sndNxt) {
			return
		}
		c.frto = false
		c.repeat = repeatLost
	}
	if c.repeat == repeatLost && c.outputRetransmissions(now, b) {
		c.repeat = repeatNothing
	}
}

// outputRetransmissions sends again what is marked lost, as far as the congestion
// window goes. It reports whether it is done for now: not if the batch is full or the
// pacer holds it up.
func (c *Conn) outputRetransmissions(now clock.Time, b *Batch) bool {
	rate := c.pacingRate()
	for c.lostOut > c.retransOut || c.headTimedOut() {
		if b.full() {
			return false
		}
		room := c.cwnd() - c.inFlight()
		if room <= 0 {
			return true
		}
		i := c.ranges.find(c.retransHint)
		for i < c.ranges.count && c.ranges.at(i).flags&(rangeLost|rangeRetrans|rangeSacked) != rangeLost {
			i++
		}
		if i == c.ranges.count {
			c.retransHint = c.sndNxt
			return true
		}
		r := c.ranges.at(i)
		c.retransHint = r.seq
		size := c.segmentSize()
		avail := c.sndUna.Add(c.sndWnd).Sub(r.seq)
		if avail <= 0 {
			// The peer has taken its window back. What everything waits for goes all the
			// same, to learn of it.
			if r.seq != c.sndUna {
				return true
			}
			avail = size
		}
		most := size
		if c.maxGSO > size {
			most = min(min(room, c.burst(size))*size, c.maxGSO/size*size)
		}
		if most > avail {
			most = avail
			if most > size {
				most -= most % size
			}
		}
		if i > 0 {
			if paced := c.pace.quota(now, rate, c.sndMSS); paced < min(c.dataLen(r), size) {
				c.pace.hold(now)
				return false
			} else if most > paced {
				most = max(paced/size*size, size)
			}
		}
		if c.dataLen(r) > most {
			c.resize(r, size)
			c.cut(i, r.seq.Add(most))
			r = c.ranges.at(i)
		} else if r.segs == 1 && c.dataLen(r) < size {
			c.collapse(i, min(size, c.sndUna.Add(c.sndWnd).Sub(r.seq)))
			r = c.ranges.at(i)
		}
		c.resize(r, size)
		c.pace.sent(r.len(), rate)
		c.transmitAgain(now, b, r)
		r = c.ranges.at(i)
		r.flags |= rangeRetrans
		c.retransOut += int(r.segs)
		c.prrSent(int(r.segs))
		c.undoSent(now, int(r.segs))
		if i == 0 && c.rackAt == clock.Never && (c.partials < renoPatience || c.rtxAt == clock.Never) {
			c.setTimer(timerRetransmit, c.retransmitAt(now))
		}
	}
	return true
}

// headTimedOut reports whether the first segment waits to be sent again after a timeout.
// That has to happen, however much else is believed to be in flight: of what was sent
// again in an episode that was taken back, and reported since, nobody knows whether the
// original was reported or the repetition.
func (c *Conn) headTimedOut() bool {
	return c.recovery == recoveryLoss && c.ranges.count > 0 &&
		c.ranges.at(0).flags&(rangeLost|rangeRetrans|rangeSacked) == rangeLost
}

// resize counts r in segments of another size, in which it is to leave.
func (c *Conn) resize(r *sentRange, size int) {
	if int(r.size) == size && r.segs > 1 {
		return
	}
	before := int(r.segs)
	r.size = uint16(min(size, 65535))
	r.segs = c.pieces(c.dataLen(r), r)
	c.drop(r, before-int(r.segs))
}

// collapse lets the records behind i that are lost, too, go along with it as far as
// they fit into one segment: many small ones are repaired by a few (RFC 9293, section
// 3.8.6.2.1, speaks of repacketization).
func (c *Conn) collapse(i, space int) {
	for i+1 < c.ranges.count {
		r, next := c.ranges.at(i), c.ranges.at(i+1)
		if next.segs > 1 || next.flags&(rangeSacked|rangeRetrans) != 0 || c.noCollapse ||
			c.dataLen(r)+c.dataLen(next) > space || c.sndBuf.endsRecord(r.end) {
			return
		}
		c.drop(next, 1)
		r.end = next.end
		r.flags |= next.flags & (rangePush | rangeEver)
		c.ranges.remove(i + 1)
	}
}

// transmitAgain sends r once more. The records keep their places.
func (c *Conn) transmitAgain(now clock.Time, b *Batch, r *sentRange) {
	c.mtu.size = 0 // of a probe under way nothing can be told any more
	c.tellRestart(now)
	c.snapshot(now, r)
	r.flags |= rangeEver
	r.tries += b2u(r.tries < 255)
	r.inFlight = uint32((c.inFlight() + int(r.segs)) * c.payloadMSS())
	c.stats.retransmits += uint32(r.segs)
	if !c.finSent || r.end != c.sndNxt || r.len() > 1 { // a FIN alone is no byte
		c.stats.bytesRetrans += uint64(c.dataLen(r))
	}
	c.lastSent = now
	c.repeatedVain = c.repeatedVain || c.sndUna.Add(c.sndWnd).LessEq(r.seq)
	c.rackRepeated(now, r)
	c.emitRange(now, b, r)
}
