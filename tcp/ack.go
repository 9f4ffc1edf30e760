package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// ackNews is what one acknowledgement told.
type ackNews struct {
	una       Seq    // SND.UNA before it
	fack      Seq    // highest that was known to have arrived before it
	inFlight  int    // segments in flight before it
	delivered uint64 // segments delivered before it
	lost      uint64 // segments taken for lost before it

	advanced  bool // SND.UNA moved
	dataAcked bool // whole segments were acknowledged
	repeated  bool // some of them had been sent again
	older     bool // and the timestamp echoed is older than that
	sacked    bool // SACK told of something new
	data      bool // the segment carries data
	update    bool // it brought a window
	original  bool // something arrived that was sent only once, before recovery began
	reneged   bool // the next segment expected was reported once
	dsack     bool // the peer got something twice that we sent twice
	dsackTLP  bool // and it was the tail loss probe
	ece       bool // it echoes congestion experienced (RFC 3168)
	lostAgain bool // a retransmission was found to be lost
	setTimer  bool // the retransmission timer begins anew
	dup       bool // a duplicate ACK (RFC 5681, section 2)

	// When the first and the last of what newly arrived and was sent only once were
	// sent: cumulatively acknowledged, and by SACK. 0: nothing.
	firstAcked, lastAcked, firstSacked, lastSacked clock.Time
	// reord is the lowest of it that was overtaken, if reordered.
	reord     Seq
	reordered bool
}

func (n *ackNews) overtaken(seq Seq) {
	if !n.reordered || seq.Less(n.reord) {
		n.reord, n.reordered = seq, true
	}
}

// inputACK is the processing of SEG.ACK in synchronised states (RFC 9293, section
// 3.10.7.4, fifth). It reports whether the segment's text may be looked at. Its order
// is Linux's, as it shows in what is sent: the window, SACK, what is acknowledged,
// D-SACK, the tail loss probe, loss recovery, the timer, the congestion window.
func (c *Conn) inputACK(now clock.Time, seg *Segment) bool {
	oldest := c.sndUna.Add(-int(min(uint64(c.maxWnd), c.stats.bytesAcked)))
	if c.sndNxt.Less(seg.Ack) || seg.Ack.Less(oldest) {
		// Never sent, or too old to be true (RFC 5961, section 5.2).
		c.challengeACK(now)
		return false
	}
	window, outstanding, delivered := c.sndWnd, c.packetsOut, c.delivered
	c.news = ackNews{
		una: c.sndUna, fack: c.fack(), inFlight: c.inFlight(), delivered: c.stats.deliveredSegs, lost: c.lostSegs,
		advanced: c.sndUna.Less(seg.Ack), data: seg.Len() > 0, ece: c.ecn.on && seg.Flags.Has(ECE),
	}
	n := &c.news
	c.deferred = false
	if seg.Ack.Less(c.sndUna) { // an old one, that may still tell something by SACK
		if c.useSACK && seg.Options.NSACK > 0 && c.packetsOut > 0 {
			c.applySACK(now, seg)
			c.recover(now, seg)
		}
		return true
	}
	c.probes, c.soft = 0, nil // the peer is there
	n.update = c.updateWindow(seg)
	acked := seg.Ack.Sub(c.sndUna)
	if n.advanced {
		c.tries, c.stalledSince = 0, 0
		c.events |= EventWritable
		c.advanceUna(now, seg.Ack)
		c.probeAcked()
	}
	if c.useSACK && seg.Options.NSACK > 0 {
		c.applySACK(now, seg)
	}
	if outstanding == 0 {
		if n.dsack {
			c.recover(now, seg)
		}
		c.tlpAcked(now, seg.Ack)
	} else {
		rtt := c.ackRanges(now, seg)
		c.rackDSACK()
		c.tlpAcked(now, seg.Ack)
		if c.dubious() {
			n.dup = !n.advanced && !n.data && !n.update && !n.dataAcked && !n.dsack
			if n.dup {
				c.stats.dupAcksIn++
			}
			c.recover(now, seg)
		}
		if n.setTimer {
			c.armRetransmission(now)
		}
		c.congestion(now, acked, int(c.delivered-delivered), rtt)
	}
	c.windowReopened(now, window)
	return c.finAcked(now)
}

// dubious reports whether an acknowledgement is more than progress.
func (c *Conn) dubious() bool {
	n := &c.news
	return !n.data && !n.update && !n.dataAcked || n.sacked || n.dsack || n.ece || c.recovery != recoveryOpen
}

// congestion tells the controller what the acknowledgement brought.
func (c *Conn) congestion(now clock.Time, acked, delivered int, rtt time.Duration) {
	n := &c.news
	segs := int(c.stats.deliveredSegs - n.delivered)
	lost := int(c.lostSegs - n.lost)
	reducing := c.reducing()
	if reducing && !c.cc.OwnRecovery() {
		c.prrUpdate(segs, n.advanced && lost == 0)
	}
	grow := n.dataAcked || c.reordering > c.initialReordering && n.sacked
	info := AckInfo{
		Now: now, Acked: acked, Delivered: delivered, RTT: rtt, InFlight: n.inFlight * c.payloadMSS(),
		Limited: c.usage.limits(c), Recovering: reducing, InFlightAfter: c.inFlight() * c.payloadMSS(),
		TotalDelivered: c.delivered, WindowLimited: c.usage.limited, NoSACK: !c.useSACK, Sample: c.rateSample(),
	}
	if grow && !reducing {
		info.Segments = segs
		c.usage.stamp = now
	}
	if acked > 0 || delivered > 0 {
		c.cc.OnAck(info)
		c.expandSend(&info.Sample)
	}
	c.updateBurst()
}

// windowReopened follows an acknowledgement that came when the peer's window was
// what it was before.
func (c *Conn) windowReopened(now clock.Time, before int) {
	opened := c.sndWnd > 0 && before == 0
	if c.news.advanced {
		c.repeatedVain = false
	}
	if opened && c.recovery == recoveryLoss && c.ranges.count > 0 && c.repeatedVain {
		// What was repeated into the closed window was dropped there, and the timer may
		// be minutes away by now.
		for i := range c.ranges.count {
			if r := c.ranges.at(i); r.flags&rangeRetrans != 0 {
				c.takeForLost(r)
			}
		}
		c.repeat, c.repeatedVain = repeatLost, false
		c.setTimer(timerRetransmit, now.Add(c.rtt.timeout(0)))
	}
	if c.ranges.count == 0 && opened {
		// As long as the window takes no segment, the probes go on as they were.
		waiting := min(c.unsent(), c.segmentSize()) + int(b2u(c.finQueued && !c.finSent))
		opened = waiting <= c.sndWnd
	}
	if opened || c.news.advanced {
		// Probing is over; the next time begins its own count. The timeout stays backed off until
		// there is a sample (RFC 6298, section 5.7), and the user timeout goes on for what is in
		// flight (RFC 5482, section 3): only an acknowledgement ends it.
		c.probeAt, c.probesSince, c.probeBackoff = clock.Never, 0, 0
	} else if c.probeAt != clock.Never {
		c.probeAt = c.probeAfter(now) // counted from the answer, as in Linux
	}
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

// updateWindow takes the peer's window unless a newer segment has told it, and
// reports whether it did.
func (c *Conn) updateWindow(seg *Segment) bool {
	// Of two segments with the same numbers the one with the smaller window is the
	// older, as a window does not shrink: overtaken, it must not narrow the window
	// again (as Linux has it, where RFC 9293 takes either). A closed one is believed.
	if c.sndWl1.Less(seg.Seq) || c.sndUna.Less(seg.Ack) ||
		c.sndWl1 == seg.Seq && (c.sndWl2.Less(seg.Ack) || seg.Window == 0 || int(seg.Window)<<c.sndScale > c.sndWnd) {
		c.setWindow(seg)
		return true
	}
	return false
}

// advanceUna moves SND.UNA; the records follow in ackRanges.
func (c *Conn) advanceUna(now clock.Time, ack Seq) {
	c.stats.bytesAcked += uint64(ack.Sub(c.sndUna))
	c.sndUna = ack
	if c.urgent.sending && c.urgent.up.LessEq(ack) {
		c.urgent.sending = false
	}
	c.sndBuf.advance(ack)
	if c.retransHint.Less(ack) {
		c.retransHint = ack
	}
	if c.sndSml.Less(ack) {
		c.sndSml = ack
	}
}

// ackRanges takes what SND.UNA covers off the record, samples the round-trip time
// and returns what the congestion controller shall know of it, or 0.
func (c *Conn) ackRanges(now clock.Time, seg *Segment) time.Duration {
	n := &c.news
	segs := 0
	held := c.sackedOut
	whole := true
	for c.ranges.count > 0 {
		r := c.ranges.at(0)
		end := r.end
		left := r.segs
		if c.sndUna.Less(end) { // only a part of it
			if c.sndUna.LessEq(r.seq) {
				break
			}
			whole = false
			if r.segs == 1 { // not a whole segment: nothing is delivered by that
				r.seq = c.sndUna
				break
			}
			end = c.sndUna
			rest := r.end.Sub(end)
			if c.finSent && r.end == c.sndNxt && rest > 1 {
				rest-- // the FIN goes along
			}
			if left -= min(c.pieces(rest, r), left); left == 0 {
				r.seq = end // of whole segments, nothing either
				break
			}
		}
		switch {
		case r.flags&rangeEver != 0:
			n.repeated = true
			n.older = n.older || c.echoedBefore(seg, r)
		case r.flags&rangeSacked == 0:
			n.lastAcked = r.sentAt
			if n.firstAcked == 0 {
				n.firstAcked = r.sentAt
			}
			if r.seq.Less(n.fack) {
				n.overtaken(r.seq)
			}
			if end.LessEq(c.highSeq) {
				n.original = true
			}
		}
		if r.flags&rangeSacked == 0 {
			c.rateDelivered(now, r)
			c.delivered += uint64(end.Sub(r.seq))
			c.deliveredAt = now
			if c.useSACK {
				c.stats.deliveredSegs += uint64(left)
				c.noteCE(int(left))
				if !c.echoedBefore(seg, r) {
					c.rackAdvance(now, r, end)
				}
			}
		}
		c.drop(r, int(left))
		segs += int(left)
		if end != r.end {
			r.seq, r.segs = end, r.segs-left
			break
		}
		c.ranges.popFront()
	}
	c.ranges.trim()
	n.dataAcked = segs > 0
	if c.ranges.count > 0 && c.ranges.at(0).flags&rangeSacked != 0 {
		n.reneged = true
	}
	rtt := c.sampleRTT(now, seg, segs, whole && held == 0)
	if segs > 0 {
		n.setTimer = true
		if !c.useSACK {
			c.removeDupAcks(segs)
			if n.repeated {
				n.original = false // the ACK may be of either copy
			}
		} else if n.reordered && n.reord.Less(n.fack) {
			c.noteReordering(n.reord)
		}
	} else if c.ranges.count > 0 && rtt > 0 && n.firstSacked != 0 && n.firstSacked.Before(c.ranges.at(0).sentAt) {
		// Nothing sent after the segment that everything waits for has arrived: that one is
		// not late yet.
		n.setTimer = true
	}
	return rtt
}

// drop takes segs segments of r out of the counts.
func (c *Conn) drop(r *sentRange, segs int) {
	c.packetsOut -= segs
	if r.flags&rangeSacked != 0 {
		c.sackedOut -= segs
	}
	if r.flags&rangeLost != 0 {
		c.lostOut -= segs
	}
	if r.flags&rangeRetrans != 0 {
		c.retransOut -= segs
	}
}

// sampleRTT feeds the estimator with what the acknowledgement in hand measured (RFC
// 6298, section 3, and 7323, section 4): the time of what was sent only once, or
// else the timestamp's. Without either, a backoff of the timer remains (Karn's
// algorithm, RFC 6298, section 5.7). It returns what the controller shall know: the
// time of the newest segment, which a delayed ACK did not lengthen.
func (c *Conn) sampleRTT(now clock.Time, seg *Segment, segs int, whole bool) time.Duration {
	n := &c.news
	var rtt, cc time.Duration
	if n.firstAcked != 0 && !n.repeated {
		rtt, cc = max(now.Sub(n.firstAcked), 1), max(now.Sub(n.lastAcked), 1)
	}
	if n.firstSacked != 0 {
		if rtt == 0 {
			rtt = max(now.Sub(n.firstSacked), 1)
		}
		cc = max(now.Sub(n.lastSacked), 1)
	}
	if rtt == 0 && segs > 0 && (!n.dsack || n.repeated && !n.older) && (c.useSACK || !c.echoesFirst(seg)) {
		// What arrived twice is often not acknowledged with the timestamp of the second copy,
		// but with one that may be as old as all the timeouts since the first. Without SACK
		// that is not told; Karn's algorithm then remains.
		rtt = c.timestampRTT(now, seg)
		cc = rtt
	}
	if rtt == 0 {
		return 0
	}
	c.rtt.sample(rtt, cc, c.sndUna, c.sndNxt)
	c.backoff = 0
	return cc
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

// echoedBefore reports whether the timestamp of an acknowledgement of r, which was
// sent again, is older than that: then it is of the original (RFC 3522).
func (c *Conn) echoedBefore(seg *Segment, r *sentRange) bool {
	return r.flags&rangeEver != 0 && c.echoes(seg) && int32(seg.Options.TSEcr-c.tsNow(r.sentAt)) < 0
}

// echoes reports whether the segment echoes a timestamp of ours.
func (c *Conn) echoes(seg *Segment) bool {
	return c.useTS && seg.Options.HasTS && seg.Options.TSEcr != 0
}

// echoesFirst reports whether the timestamp echoed is older than the first
// retransmission.
func (c *Conn) echoesFirst(seg *Segment) bool {
	return c.undo.stamped && int32(seg.Options.TSEcr-c.undo.stamp) < 0
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
