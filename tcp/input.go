package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// Input processes a segment that arrived (RFC 9293, section 3.10.7).
func (c *Conn) Input(now clock.Time, seg *Segment) {
	c.stats.segsIn++
	c.wave++
	if len(seg.Payload) > 0 {
		c.stats.dataSegsIn++
	}
	switch c.state {
	case StateSynSent:
		c.inputSynSent(now, seg)
		return
	case 0, StateClosed, StateTimeWait:
		return
	case StateSynReceived:
		if c.fastPassive() && c.inputSYNAgain(now, seg) {
			return
		}
	}
	if seg.Flags&(ACK|RST|SYN) == 0 || !c.acceptable(now, seg) {
		return // without a flag that all segments have, it is nobody's that speaks TCP
	}
	c.lastRecv = now
	c.kaProbes = 0
	if seg.Flags.Has(RST) {
		c.inputRST(now, seg)
		return
	}
	if seg.Flags.Has(SYN) {
		if c.state == StateSynReceived && seg.Seq == c.irs {
			// The peer's SYN again: our answer was lost (simultaneous open).
			c.synOwed = !seg.Flags.Has(ACK)
			if !seg.Flags.Has(ACK) {
				return
			}
			c.ackNow = true // it is a repetition all the same
		} else if c.orphan && c.state == StateFinWait2 && !seg.Seq.Less(c.rcvNxt) {
			// Nobody holds on to the connection, and the peer begins another: as Linux, the
			// way is cleared for its next SYN.
			c.refuseData(seg)
			return
		} else {
			c.challengeACK(now) // RFC 5961, section 4.2
			return
		}
	}
	// It has an ACK: the fifth check of RFC 9293, section 3.10.7.4, was the first here.
	if c.state == StateSynReceived {
		if !c.iss.Less(seg.Ack) || c.sndNxt.Less(seg.Ack) {
			c.reply, c.replyOwed = Reply{Seq: seg.Ack, Flags: RST}, true
			return
		}
		c.setWindow(seg)
		state := StateEstablished
		if c.finQueued {
			state = StateFinWait1
		}
		if c.fastPassive() {
			c.completeFast(now, seg, state)
		} else {
			c.establish(now, state)
		}
	}
	window, stale := c.sndWnd, seg.Ack.Less(c.sndUna)
	if stale && c.plain(seg) {
		c.updateTSRecent(now, seg)
	}
	if !c.inputACK(now, seg) {
		return
	}
	if !stale {
		c.updateTSRecent(now, seg)
	}
	if seg.Flags.Has(URG) || c.urgent.state == urgentComing {
		c.inputURG(seg)
	}
	if len(seg.Payload) > 0 || seg.Flags.Has(FIN) {
		c.inputData(now, seg)
	} else if c.ack.owed && (c.state != StateEstablished || seg.Seq != c.rcvNxt || c.sndWnd != window) {
		c.decideACK(now) // as Linux, which looks at what is owed unless the segment is plain
	}
}

// InputInto is Input for an application that waits in Read with the buffer p: data
// that is next in order is copied there, and not to the receive buffer first, while
// none is waiting to be read. It returns how many bytes were, which then count as
// read.
func (c *Conn) InputInto(now clock.Time, seg *Segment, p []byte) int {
	if c.urgent.state != urgentNone || seg.Flags.Has(URG) {
		p = nil // a read stops at the mark
	}
	c.rcvBuf.into = p
	c.Input(now, seg)
	n := len(p) - len(c.rcvBuf.into)
	c.rcvBuf.into = nil
	if n > 0 {
		c.read(n)
	}
	return n
}

// inputSynSent is RFC 9293, section 3.10.7.3.
func (c *Conn) inputSynSent(now clock.Time, seg *Segment) {
	if seg.Flags.Has(ACK) && (!c.iss.Less(seg.Ack) || c.sndNxt.Less(seg.Ack)) {
		c.reply, c.replyOwed = ResetFor(seg)
		if c.tries == 0 && c.rtxAt != clock.Never {
			// An old connection of the peer's is in the way. Once our reset has removed
			// it, there is no need to wait for the timer: as Linux has it.
			c.rtxAt = min(c.rtxAt, now.Add(staleRetry))
		}
		return
	}
	if seg.Flags.Has(RST) {
		if seg.Flags.Has(ACK) {
			c.die(ErrRefused)
		}
		return
	}
	if !seg.Flags.Has(SYN) {
		return
	}
	c.initReceive(now, seg.Seq, &seg.Options)
	c.setWindow(seg)
	if !seg.Flags.Has(ACK) { // simultaneous open
		c.state = StateSynReceived
		c.synOwed = true
		c.fast = nil // nobody has answered it
		return
	}
	state := StateEstablished
	if c.finQueued {
		state = StateFinWait1
	}
	lost := c.tries > 0
	c.ecn.on = c.ecn.ask && seg.Flags&(ECE|CWR) == ECE
	c.news = ackNews{una: c.sndUna, fack: c.sndUna}
	c.advanceUna(now, seg.Ack)
	c.ackRanges(now, seg)
	if c.rtt.srtt == 0 && lost {
		c.rtt.rto = synLossRTO
	}
	c.establish(now, state)
	if c.pingPong || c.tuning.dataFollows {
		// Data is about to follow, and can carry the ACK.
		c.ackAt = now.Add(delAckMax)
		c.ack.owed = true
		c.enterQuick()
	} else {
		c.ackNow = true
	}
	c.tuning.dataFollows = false
	// Data on a SYN-ACK is legal and rare; the peer repeats what is not
	// acknowledged, so it is left alone. A FIN on it likewise.
	if c.fast != nil {
		c.answeredFast(now, seg)
	}
}

// acceptable is the first step for synchronised states: PAWS and the check of the
// sequence number. The answer to an unacceptable segment is made here.
func (c *Conn) acceptable(now clock.Time, seg *Segment) bool {
	if c.useTS && seg.Options.HasTS && !seg.Flags.Has(RST) &&
		int32(seg.Options.TSVal-c.tsRecent) < -pawsWindow && now.Sub(c.tsAge) < pawsIdle &&
		!c.harmlessOldACK(seg) && !c.onlyLate(seg) {
		c.stats.pawsDrops++ // RFC 7323, section 5.3, R1
		c.answerUnacceptable(now, seg)
		return false
	}
	// RFC 9293, section 3.4, table 6, written as an overlap of [SEG.SEQ, end) with
	// [RCV.NXT, right edge]. The left edge is where the last ACK was sent from, as a
	// peer that has not seen more is right to send from there.
	end, edge := seg.End(), c.windowEdge()
	if !end.Less(c.rcvWup) && seg.Seq.LessEq(edge) {
		// A segment whose data ends behind the window is taken only if nothing else waits
		// to be read: its sender breaks the rules, and shall not fill the memory (as
		// Linux). A FIN takes no room.
		if c.rcvBuf.buffered() == 0 || seg.Seq.Add(len(seg.Payload)).LessEq(edge) {
			return true
		}
	}
	if seg.Flags.Has(RST) && c.resetsBeforeFIN(seg) {
		return true
	}
	c.stats.outOfWindow++
	if !seg.Flags.Has(RST) {
		c.answerUnacceptable(now, seg)
	}
	return false
}

// answerUnacceptable owes the ACK of RFC 9293, section 3.10.7.4, first. Data that is
// repeated shows that our ACK was lost, and is answered every time, or the peer
// never learns; answering a pure ACK could start a loop and is limited, as is the
// answer to a SYN (RFC 5961, section 4.2).
func (c *Conn) answerUnacceptable(now clock.Time, seg *Segment) {
	if seg.Len() == 0 || seg.Flags.Has(SYN) {
		c.challengeACK(now)
		return
	}
	c.stats.duplicates++
	if seg.Seq.Less(c.rcvNxt) {
		c.noteDuplicate(seg.Seq, minSeq(seg.End(), c.rcvNxt))
	}
	if seg.Seq.Less(c.rcvNxt) {
		c.enterQuick()
	}
	c.ackNow = true
}

// harmlessOldACK excepts from PAWS a pure ACK that was overtaken and would do
// nothing, so that it is not answered (as Linux does).
func (c *Conn) harmlessOldACK(seg *Segment) bool {
	return seg.Len() == 0 && seg.Flags&(SYN|FIN|RST|ACK) == ACK && seg.Seq == c.rcvNxt &&
		seg.Ack == c.sndUna && int(seg.Window)<<c.sndScale == c.sndWnd &&
		int32(c.tsRecent-seg.Options.TSVal) <= int32(c.rtt.timeout(0)/time.Millisecond)
}

// windowEdge is the first sequence number behind the receive window.
func (c *Conn) windowEdge() Seq { return maxSeq(c.rcvAdv, c.rcvNxt) }

// resetsBeforeFIN reports whether a reset has the number of the peer's FIN, which some
// stacks send that do not count it (as Linux has it).
func (c *Conn) resetsBeforeFIN(seg *Segment) bool {
	return c.finTaken && seg.Seq == c.rcvNxt.Add(-1)
}

// inputRST is RFC 5961, section 3.2: only the exact number resets. Linux takes the
// FIN's own number as well, and the right edge of what SACK blocks have reported.
func (c *Conn) inputRST(now clock.Time, seg *Segment) {
	runs := c.rcvBuf.runs
	edge := c.useSACK && len(runs) > 0 && seg.Seq == runs[len(runs)-1].right
	if seg.Seq != c.rcvNxt && !edge && !c.resetsBeforeFIN(seg) {
		c.challengeACK(now)
		return
	}
	if c.state == StateCloseWait {
		c.die(ErrBroken)
		return
	}
	c.die(ErrReset)
}

// challengeACK owes an ACK to a segment that is not acceptable, within a limit
// (RFC 5961, section 7).
func (c *Conn) challengeACK(now clock.Time) {
	if now.Before(c.challenge) {
		return
	}
	c.challenge = now.Add(c.invalidEvery)
	c.stats.challenges++
	c.ackNow = true
}

// plain reports whether a segment is what is expected in every respect but perhaps its
// acknowledgement (Linux's header prediction).
func (c *Conn) plain(seg *Segment) bool {
	return c.state == StateEstablished && seg.Flags&^PSH == ACK && seg.Seq == c.rcvNxt &&
		int(seg.Window)<<c.sndScale == c.sndWnd && len(c.rcvBuf.runs) == 0 && !c.finKnown
}

// updateTSRecent is RFC 7323, section 4.3, rule 2.
func (c *Conn) updateTSRecent(now clock.Time, seg *Segment) {
	if !c.useTS || !seg.Options.HasTS {
		return
	}
	c.stamps.move(c.tsRecent, c.rcvNxt)
	if seg.Seq.LessEq(c.rcvWup) && (int32(seg.Options.TSVal-c.tsRecent) >= 0 || now.Sub(c.tsAge) >= pawsIdle) {
		c.tsRecent, c.tsAge = seg.Options.TSVal, now
	}
}

// inputData takes payload and FIN (RFC 9293, section 3.10.7.4, seventh and eighth).
func (c *Conn) inputData(now clock.Time, seg *Segment) {
	switch c.state {
	case StateEstablished, StateFinWait1, StateFinWait2:
	default:
		// The peer has sent its FIN. Data behind that is not the protocol's, and a segment
		// that spans it shows that the peer is confused (as Linux has it). A repetition of
		// what was before it needs an answer.
		if seg.Seq.Less(c.rcvNxt) {
			if len(seg.Payload) > 0 && c.rcvNxt.Less(seg.Seq.Add(len(seg.Payload))) {
				c.refuseData(seg)
				return
			}
			c.noteDuplicate(seg.Seq, minSeq(seg.End(), c.rcvNxt))
			c.enterQuick()
			c.ack.owed, c.ackNow = true, true
		}
		c.decideACK(now)
		return
	}
	seq, p := seg.Seq, seg.Payload
	if len(p) > 0 {
		c.ecnInput(seg)
	}
	if seg.Flags.Has(SYN) {
		seq = seq.Add(1)
	}
	if n := c.rcvNxt.Sub(seq); n > 0 { // old bytes in front
		c.stats.duplicates++
		if seg.End().LessEq(c.rcvNxt) {
			c.enterQuick()
			c.ack.owed, c.ackNow = true, true
		}
		c.noteDuplicate(seq, minSeq(seg.End(), c.rcvNxt))
		seq, p = seq.Add(min(n, len(p))), p[min(n, len(p)):]
	}
	if len(p) > 0 && (c.orphan || c.readShut && c.state != StateEstablished) {
		// Nobody will read it: the peer must learn that it is lost (RFC 1122, section
		// 4.2.2.13; RFC 2525, section 2.17).
		c.refuseData(seg)
		return
	}
	fin := seg.Flags.Has(FIN)
	if c.finKnown { // nothing lies behind a FIN
		if n := seq.Add(len(p)).Sub(c.finSeq); n > 0 {
			p = p[:max(len(p)-n, 0)]
		}
		fin = fin && seg.End() == c.finSeq.Add(1)
	}
	if seq == c.rcvNxt && c.openWindow() > 0 {
		// What is next is taken whole while the window is open: acceptable has seen that
		// nothing else is there.
	} else if n := seq.Add(len(p)).Sub(c.windowEdge()); n > 0 { // bytes behind the window
		p, fin = p[:max(len(p)-n, 0)], false
		c.ackNow = true
	}
	if fin && !c.finKnown && c.finPlausible(seq.Add(len(p))) {
		c.finKnown, c.finSeq = true, seq.Add(len(p))
		if len(p) == 0 && seq != c.rcvNxt {
			c.rcvBuf.remember(run{seq, seq.Add(1)})
		}
	}
	before := c.rcvNxt
	if len(p) > 0 {
		c.measureStamp(now, seg)
		c.storeData(now, seg, seq, p)
	}
	if c.finKnown && c.rcvNxt == c.finSeq && !c.finTaken {
		if !fin { // it was there already, and the gap before it is filled
			c.ackNow = true
		}
		c.takeFIN(now)
	}
	if c.rcvNxt != before {
		c.events |= EventReadable
	} else if fin {
		c.ackNow = true
		if len(p) == 0 {
			c.stats.outOfOrder++
		}
	}
	c.decideACK(now)
}

// refuseData ends the connection because of something that nobody can get, and tells the
// peer.
func (c *Conn) refuseData(seg *Segment) {
	switch {
	case c.orphan:
		c.die(nil)
	case c.state == StateCloseWait:
		c.die(ErrBroken)
	default:
		c.die(ErrReset)
	}
	c.reply, c.replyOwed = ResetFor(seg)
}

// finPlausible reports whether a FIN at seq contradicts nothing that has arrived:
// there may be no data behind it. Believing a false one would leave the connection
// waiting for an end that it has passed.
func (c *Conn) finPlausible(seq Seq) bool {
	runs := c.rcvBuf.runs
	return !seq.Less(c.rcvNxt) && (len(runs) == 0 || runs[len(runs)-1].right.LessEq(seq))
}

// storeData stores payload inside the window and decides about its ACK.
func (c *Conn) storeData(now clock.Time, seg *Segment, seq Seq, p []byte) {
	before, ahead, last := c.rcvNxt, c.rcvBuf.ahead, c.rcvBuf.recent[0]
	hadHoles := len(c.rcvBuf.runs) > 0
	if hadHoles {
		if !c.hasDSACK() { // what is old stays the report
			c.noteDuplicate(c.rcvBuf.overlap(seq, seq.Add(len(p))))
		}
	}
	if !c.rcvBuf.insert(seq, p) {
		c.stats.noMemory++
		c.ackNow = true
		return
	}
	c.rcvNxt = c.rcvBuf.nxt
	c.stats.bytesIn += uint64(c.rcvNxt.Sub(before))
	c.ack.owed = true
	size := len(seg.Payload) // a segment costs what it carries, however much of that is old
	if c.rcvNxt != before || c.rcvBuf.ahead != ahead {
		c.rw.charge(size, c.peerHeader())
	}
	c.measureSegment(size)
	c.noteSize(min(size, c.mss), seg.Flags)
	if c.rcvNxt == before {
		c.ack.apart = c.ack.apart || !hadHoles && c.AckOwed()
		if (!hadHoles || c.rcvBuf.recent[0] != last) && c.ack.runs < 255 {
			c.ack.runs++
		}
		// Out of order: a duplicate ACK (RFC 5681, section 4.2).
		c.stats.outOfOrder++
		c.ackGap(now)
		if c.useSACK && c.rcvBuf.ahead != ahead {
			c.growWindow(size)
			c.growReceive(c.drs.space)
		} else if !c.useSACK && c.dupOwed < 8 { // without SACK an ACK with another window is no duplicate
			c.dupOwed++
		}
		return
	}
	c.measureRound(now)
	c.dataArrived(now)
	if hadHoles && !c.useSACK {
		c.growReceive(c.drs.space) // what could not be done while the hole was there
		c.growWindow(c.rcvNxt.Sub(before))
	} else {
		c.growWindow(size)
	}
	switch {
	case len(c.rcvBuf.runs) > 0:
		c.ackGap(now)
	case hadHoles, c.rcvNxt.Less(seq.Add(len(p))): // the gap is filled, or the rest found no memory
		c.ackNow = true
	}
}

// takeFIN accepts the peer's FIN, which is next in order.
func (c *Conn) takeFIN(now clock.Time) {
	c.finTaken = true
	c.rcvNxt = c.rcvNxt.Add(1)
	c.rcvBuf.forget()
	c.ack.owed = true
	c.events |= EventReadable
	switch c.state {
	case StateEstablished:
		c.state = StateCloseWait
		// The ACK may wait for a FIN or an answer of ours, but not if the peer said
		// nothing else: as Linux has it.
		c.pingPong = true
		if c.ato == 0 {
			c.ackNow, c.pingPong = true, false
			c.ato = int64(delAckMin)
		}
	case StateFinWait1:
		c.state = StateClosing // an ACK of our FIN in this segment has made it FIN-WAIT-2 before
		c.ackNow = true
	case StateFinWait2:
		c.ackNow = true
		c.timeWait(now)
	}
}

// timeWait enters TIME-WAIT (RFC 9293, section 3.6.1).
func (c *Conn) timeWait(now clock.Time) {
	c.state = StateTimeWait
	c.events |= EventTimeWait | EventReadable | EventWritable
	c.sndBuf.reset()
	c.stopSending()
	c.keepAt, c.finAt, c.ackAt = clock.Never, clock.Never, clock.Never
}
