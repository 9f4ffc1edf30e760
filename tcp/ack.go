package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// inputACK is the processing of SEG.ACK in synchronised states (RFC 9293, section
// 3.10.7.4, fifth). It reports whether the segment's text may be looked at.
func (c *Conn) inputACK(now clock.Time, seg *Segment) bool {
	if c.sndNxt.Less(seg.Ack) || seg.Ack.Less(c.sndUna.Add(-c.maxWnd)) {
		// Never sent, or too old to be true (RFC 5961, section 5.2).
		c.challengeACK(now)
		return false
	}
	flight := c.inFlight()
	una, window := c.sndUna, c.sndWnd
	wasFast := c.recovery == recoveryFast
	c.news = ackNews{}
	c.rack.repeated = false
	delivered, held := c.delivered, c.sackedOut+c.renoSacked
	lost := c.stats.lost
	c.probes = 0
	if !seg.Ack.Less(c.sndUna) {
		c.updateWindow(seg)
	}
	rtt := c.ackRanges(now, seg)
	sacked := c.useSACK && seg.Options.NSACK > 0 && c.applySACK(now, seg)
	acked := c.sndUna.Sub(una)
	acknowledged := acked
	if acked > 0 {
		c.backoff, c.tries, c.stalledSince = 0, 0, 0
		c.dupAcks = 0
		c.events |= EventWritable
	}
	// RFC 5681, section 2: what counts as a duplicate.
	// With SACK, RFC 6675, section 2, asks for nothing but news.
	dup := acked == 0 && seg.Ack == c.sndUna && c.outstanding() > 0 &&
		(sacked || !c.useSACK && seg.Len() == 0 && int(seg.Window)<<c.sndScale == window)
	if c.useSACK && seg.Options.NSACK > 0 {
		c.inputDSACK(seg)
	}
	c.tlpAcked(now, seg, acked, sacked)
	c.news.delivered = max(acked+c.sackedOut+c.renoSacked-held, 0)
	c.tryUndo(now, seg, acked)
	c.recover(now, acked, dup)
	if c.recovery == recoveryFast {
		if !c.useSACK {
			c.news.delivered = max(acked+c.renoSacked+c.sackedOut-held, 0)
		}
		c.prrUpdate(c.news.delivered, acked > 0 && c.stats.lost == lost)
	}
	if wasFast {
		// What SACK had told before is no progress of this acknowledgement.
		acknowledged = min(acked, c.news.delivered)
	}
	if n := int(c.delivered - delivered); n > 0 || acked > 0 {
		c.cc.OnAck(AckInfo{
			Now: now, Acked: acknowledged, Delivered: n, RTT: rtt, InFlight: flight,
			Limited:    c.usage.limits(c),
			Recovering: c.recovery == recoveryFast, InFlightAfter: c.inFlight(),
			TotalDelivered: c.delivered, Lost: int(c.rate.lost - c.rate.lostTold), Sample: c.rateSample(),
		})
		c.rate.lostTold = c.rate.lost
	}
	if c.sndWnd > 0 && window == 0 && c.recovery == recoveryLoss && c.ranges.count > 0 {
		// What was repeated into the closed window was dropped there, and the timer may
		// be minutes away by now.
		for i := range c.ranges.count {
			if r := c.ranges.at(i); r.flags&rangeRetrans != 0 {
				c.markLost(r)
			}
		}
		c.rtxAt = now.Add(c.rtt.timeout(0))
	}
	if c.limited && c.limitedEnd.LessEq(c.sndUna) {
		c.limited = false
	}
	if acked > 0 {
		c.rtxAt = clock.Never
		if c.ranges.count > 0 {
			c.rtxAt = now.Add(c.rtt.timeout(0)) // RFC 6298, rule 5.3
		}
	}
	if c.sndWnd > 0 && window == 0 || acked > 0 {
		// Whatever trouble there was is over; the next begins its own count.
		c.probeAt, c.probesSince = clock.Never, 0
		c.backoff, c.stalledSince = 0, 0
	} else if c.probeAt != clock.Never {
		c.probeAt = c.probeAfter(now) // counted from the answer, as in Linux
	}
	if acked > 0 || c.recovery != recoveryOpen || c.sackedOut > 0 {
		c.armTLP(now)
	}
	return c.finAcked(now)
}

// setWindow takes the peer's window without looking at its age.
func (c *Conn) setWindow(seg *Segment) {
	c.sndWnd = int(seg.Window)
	if !seg.Flags.Has(SYN) { // RFC 7323, section 2.2
		c.sndWnd <<= c.sndScale
	}
	c.maxWnd = max(c.maxWnd, c.sndWnd)
	c.sndWl1, c.sndWl2 = seg.Seq, seg.Ack
}

// updateWindow takes the peer's window unless a newer segment has told it.
func (c *Conn) updateWindow(seg *Segment) {
	// Of two segments with the same numbers the one with the smaller window is the
	// older, as a window does not shrink: overtaken, it must not narrow the window
	// again (as Linux has it, where RFC 9293 takes either). A closed one is believed.
	if c.sndWl1.Less(seg.Seq) || c.sndUna.Less(seg.Ack) ||
		c.sndWl1 == seg.Seq && (c.sndWl2.Less(seg.Ack) || seg.Window == 0 || int(seg.Window)<<c.sndScale > c.sndWnd) {
		c.setWindow(seg)
	}
}

// ackRanges takes what SEG.ACK covers off the record, and returns the sample of
// the round-trip time that it gives, or 0.
func (c *Conn) ackRanges(now clock.Time, seg *Segment) time.Duration {
	ack := seg.Ack
	if ack.LessEq(c.sndUna) {
		return 0
	}
	var first clock.Time // oldest transmission covered that was sent only once (Karn)
	ambiguous := false
	for c.ranges.count > 0 {
		r := c.ranges.at(0)
		if ack.LessEq(r.seq) {
			break
		}
		if r.flags&rangeSacked == 0 {
			c.delivers(now, seg, r, minSeq(ack, r.end))
		}
		c.forget(r, minSeq(ack, r.end).Sub(r.seq))
		switch {
		case r.flags&rangeEver != 0:
			ambiguous = true
		case r.flags&rangeSacked == 0 && first == 0:
			first = r.sentAt
		}
		if ack.Less(r.end) {
			r.seq = ack
			break
		}
		c.ranges.popFront()
	}
	c.ranges.trim()
	c.stats.bytesAcked += uint64(ack.Sub(c.sndUna))
	c.sndUna = ack
	if c.urgent.sending && c.urgent.up.LessEq(ack) {
		c.urgent.sending = false
	}
	c.deliveredAt = now
	c.sndBuf.advance(ack)
	if c.retransHint.Less(ack) {
		c.retransHint = ack
	}
	if c.sndSml.Less(ack) {
		c.sndSml = ack
	}
	var rtt time.Duration
	switch {
	case first != 0 && !ambiguous:
		rtt = max(now.Sub(first), 1)
	default:
		rtt = c.timestampRTT(now, seg)
	}
	if rtt > 0 {
		c.rtt.sample(rtt)
	}
	return rtt
}

// timestampRTT is the round-trip time that the echoed timestamp tells, or 0 (RFC
// 7323, section 4). It holds for retransmissions too, but its clock is coarse.
func (c *Conn) timestampRTT(now clock.Time, seg *Segment) time.Duration {
	if !c.useTS || !seg.Options.HasTS || seg.Options.TSEcr == 0 {
		return 0
	}
	ms := int32(c.tsNow(now) - seg.Options.TSEcr)
	if ms < 0 || ms >= 1<<20 {
		return 0
	}
	return max(time.Duration(ms)*time.Millisecond, time.Millisecond)
}

// ackNews is what one acknowledgement told, for loss recovery.
type ackNews struct {
	original bool // something arrived that was sent only once, before recovery began
	dsack    bool // the peer got something twice that we sent twice
	dsackTLP bool // and it was the tail loss probe
	// delivered is how many bytes it newly has, duplicate ACKs standing for segments
	// where there is no SACK.
	delivered int
}

// delivers takes notice of a range that was not known to have arrived until now.
func (c *Conn) delivers(now clock.Time, seg *Segment, r *sentRange, end Seq) {
	if r.flags&rangeEver == 0 && end.LessEq(c.highSeq) {
		c.news.original = true
	}
	if c.useSACK {
		c.rackDelivered(now, seg, r, end)
	}
}

// forget takes the first n bytes of r out of the counts, as delivered.
func (c *Conn) forget(r *sentRange, n int) {
	if r.flags&rangeSacked != 0 {
		c.sackedOut -= n
	} else {
		c.rateDelivered(r)
		c.delivered += uint64(n)
		c.stats.deliveredSegs += uint64(c.segments(n))
	}
	if r.flags&rangeLost != 0 {
		c.lostOut -= n
	}
	if r.flags&rangeRetrans != 0 {
		c.retransOut -= n
	}
}

// applySACK marks what the blocks report (RFC 2018, section 5). A block that lies
// is ignored: only what was sent and is outstanding can be marked. It reports
// whether anything was news.
func (c *Conn) applySACK(now clock.Time, seg *Segment) bool {
	before := c.sackedOut
	// What we sent consists of segments, and blocks of honest peers end where those do;
	// a few of them may have been cut otherwise on the way.
	limit := 2*c.outstanding()/c.payloadMSS() + 64
	for _, block := range seg.Options.SACK[:seg.Options.NSACK] {
		if !block.Left.Less(block.Right) || block.Left.Less(c.sndUna) || c.sndNxt.Less(block.Right) ||
			block.Left.LessEq(seg.Ack) {
			continue
		}
		i := c.ranges.find(block.Left)
		for i < c.ranges.count {
			r := c.ranges.at(i)
			if block.Right.LessEq(r.seq) {
				break
			}
			if r.flags&rangeSacked != 0 {
				i++
				continue
			}
			left, right := r.seq.Less(block.Left), block.Right.Less(r.end)
			if (left || right) && c.ranges.count >= limit {
				i++
				continue
			}
			if left {
				c.ranges.split(i, block.Left)
				i++
			}
			if right {
				c.ranges.split(i, block.Right)
			}
			c.delivers(now, seg, c.ranges.at(i), c.ranges.at(i).end)
			c.markSacked(c.ranges.at(i))
			i++
		}
	}
	if c.sackedOut == before {
		return false
	}
	c.deliveredAt = now
	return true
}

func (c *Conn) markSacked(r *sentRange) {
	n := r.len()
	c.rateDelivered(r)
	c.delivered += uint64(n)
	c.stats.deliveredSegs += uint64(c.segments(n))
	c.sackedOut += n
	if r.flags&rangeLost != 0 {
		c.lostOut -= n
	}
	if r.flags&rangeRetrans != 0 {
		c.retransOut -= n
	}
	r.flags = r.flags&^(rangeLost|rangeRetrans) | rangeSacked
}

// markLost takes r for lost: it is to be sent again, and counts as out of the
// network.
func (c *Conn) markLost(r *sentRange) {
	n := r.len()
	if r.flags&rangeRetrans != 0 {
		r.flags &^= rangeRetrans
		c.retransOut -= n
	}
	if r.flags&rangeLost == 0 {
		r.flags |= rangeLost
		c.lostOut += n
		c.rate.lost += uint64(n)
		c.stats.lost++
	}
	if r.seq.Less(c.retransHint) {
		c.retransHint = r.seq
	}
}

// recover runs the loss recovery that an acknowledgement may begin, further or
// end: RFC 8985 with SACK, RFC 6582 without.
func (c *Conn) recover(now clock.Time, acked int, dup bool) {
	if dup {
		c.dupAcks++
		c.stats.dupAcksIn++
	}
	if !c.useSACK {
		c.countRenoSACK(acked, dup)
	}
	if c.recovery >= recoveryFast && !c.sndUna.Less(c.highSeq) {
		// Without SACK, duplicates of the last retransmission could begin another
		// recovery; RFC 6582, section 4, leaves it only when more than the recovery
		// point is acknowledged, as long as there is more.
		if c.useSACK || c.highSeq.Less(c.sndUna) || c.outstanding() == 0 || c.recovery == recoveryLoss {
			if c.recovery == recoveryFast {
				c.cc.OnRecovered(now)
			}
			c.rackRecovered()
			c.recovery = recoveryOpen
			c.dupAcks, c.renoSacked = 0, 0
		}
	}
	if c.useSACK {
		c.rackDSACK()
		c.rackDetect(now)
	}
	if c.guarded && c.highSeq.Less(c.sndUna) {
		c.guarded = false
	}
	switch c.recovery {
	case recoveryOpen, recoveryDisorder:
		if !c.useSACK && c.dupAcks >= dupThresh && !c.guarded { // RFC 5681, section 3.2
			c.markHeadLost()
		}
		switch {
		case c.lostOut > 0:
			c.enterFast(now)
		case c.sackedOut+c.renoSacked > 0:
			c.recovery = recoveryDisorder
		default:
			c.recovery = recoveryOpen
		}
	case recoveryFast:
		if !c.useSACK && acked > 0 && c.sndUna.Less(c.highSeq) { // a partial acknowledgement: RFC 6582, section 3.2, step 3
			c.markHeadLost()
		}
	case recoveryLoss:
		// All was marked at the timeout and leaves as the window opens.
	}
}

// countRenoSACK lets duplicate ACKs stand for segments that left the network.
func (c *Conn) countRenoSACK(acked int, dup bool) {
	if acked > 0 && c.renoSacked > 0 {
		// One segment filled the hole; the others are those that were counted.
		c.renoSacked = max(c.renoSacked-max(acked-c.sndMSS, 0), 0)
		if c.recovery < recoveryFast {
			c.renoSacked = 0
		}
	}
	if dup {
		c.renoSacked += c.sndMSS
	}
	c.renoSacked = max(min(c.renoSacked, c.outstanding()-c.lostOut-c.sndMSS), 0)
}

// markHeadLost marks the first segment that is outstanding.
func (c *Conn) markHeadLost() {
	if c.ranges.count == 0 {
		return
	}
	if c.ranges.at(0).len() > c.payloadMSS() {
		c.ranges.split(0, c.ranges.at(0).seq.Add(c.payloadMSS()))
	}
	if r := c.ranges.at(0); r.flags&(rangeLost|rangeSacked) == 0 {
		c.markLost(r)
	}
}

// finAcked moves the state when our FIN is acknowledged.
func (c *Conn) finAcked(now clock.Time) bool {
	if !c.finSent || c.sndUna != c.sndNxt {
		return true
	}
	switch c.state {
	case StateFinWait1:
		c.state = StateFinWait2
		if c.orphan {
			c.armFinWait(now)
			return c.state == StateFinWait2
		}
	case StateClosing:
		c.timeWait(now)
		return false
	case StateLastAck:
		c.die(nil)
		return false
	}
	return true
}
