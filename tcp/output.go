package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// OutputMode says what an Output may send.
type OutputMode uint8

const (
	// OutputAll sends everything that is due.
	OutputAll OutputMode = iota
	// OutputHoldAcks leaves ACKs that carry nothing else for a later OutputAll, so
	// that a reply which the application is about to write can carry them.
	OutputHoldAcks
	// OutputHoldBulk leaves ACKs that are owed for nothing but data in order, as long
	// as they cover less than bulkAck and less than half of the window. It is for a
	// driver that has more frames at hand, or looks for them, and comes back with
	// OutputAll when there are none: the segments of one burst then share an ACK, as
	// if they had come merged into one. RFC 5681, section 4.2, would have an ACK for
	// every second full segment, so that the sender's clock keeps ticking; frames that
	// wait in our own queue have left the network already. Where a gap follows, the ACK
	// of what came before it leaves by itself, in front of the gap's: see ackApart.
	OutputHoldBulk
)

// bulkAck is how many bytes a held back ACK covers at most: a few frames of the
// largest size, so that the burst which it sets free stays short.
const bulkAck = 256 << 10

// Output fills b.Segments with what is to be sent now, at most BatchSegments; no
// segments mean that there is nothing, or nothing that may be sent yet. If there
// are any, Sent must follow before the next Output, and until then the segments'
// payload belongs to the device.
func (c *Conn) Output(now clock.Time, b *Batch, mode OutputMode) {
	b.reset()
	if c.sndBuf.pinned {
		return // the driver's mistake; two batches must not share a pin
	}
	c.outputReplies(now, b)
	switch c.state {
	case 0, StateClosed:
	case StateSynSent, StateSynReceived:
		if c.synOwed {
			c.outputSYN(now, b)
		}
		if c.fastPassive() && (!c.finQueued || c.orphan) {
			// RFC 7413, section 4.2.2: data need not wait for the handshake. The FIN of an
			// application that still reads does, as in Linux.
			c.outputNew(now, b)
		}
		if c.ackNow && c.state == StateSynReceived {
			c.emit(now, b, c.sndNxt, 0, 0)
		}
	default:
		if c.repeat != repeatNothing {
			c.outputRepeats(now, b)
		}
		c.outputNew(now, b)
		if !b.full() {
			c.pace.unheld()
		}
		c.outputTLP(now, b)
		c.outputProbe(now, b)
		c.outputACK(now, b, mode)
		c.armIdleTimers(now)
	}
	c.sndBuf.pinned = len(b.Segments) > 0
	c.account(now, b)
}

// Sent tells that the device is done with the segments of the last Output.
func (c *Conn) Sent(now clock.Time) { c.sndBuf.unpin() }

// outputReplies sends what belongs to no state: the reset that ends a connection,
// and resets for segments of somebody else's.
func (c *Conn) outputReplies(now clock.Time, b *Batch) {
	if c.rstOwed {
		c.rstOwed = false
		h := header{
			srcPort: c.localPort, dstPort: c.remotePort,
			seq: c.rstSeq, ack: c.rcvNxt, flags: RST | ACK, window: c.advertise(),
		}
		if c.useTS { // RFC 7323, section 3.2
			h.options.HasTS, h.options.TSVal, h.options.TSEcr = true, c.tsNow(now), c.tsRecent
		}
		b.add(&h)
		c.stats.resetsOut++
	}
	if c.replyOwed {
		c.replyOwed = false
		b.add(&header{
			srcPort: c.localPort, dstPort: c.remotePort,
			seq: c.reply.Seq, ack: c.reply.Ack, flags: c.reply.Flags,
		})
		c.stats.resetsOut++
		c.stats.segsOut-- // it is nobody's: account counts it in vain
	}
}

func (c *Conn) outputSYN(now clock.Time, b *Batch) {
	if c.fast != nil && (c.fast.passive || c.ranges.count == 0) {
		c.outputFast(now, b)
		return
	}
	c.synOwed = false
	h := c.synHeader(now)
	if c.state == StateSynReceived {
		c.ackSent()
	}
	b.add(&h)
	if c.ranges.count == 0 {
		c.sndNxt = c.iss.Add(1)
		c.ranges.push(sentRange{seq: c.iss, end: c.sndNxt, sentAt: now, segs: 1, size: 1})
		c.packetsOut = 1
		c.stalledSince = now // R2 and the user timeout count the handshake as a whole
	} else {
		r := c.ranges.at(0)
		r.sentAt, r.flags = now, r.flags|rangeEver
		if c.state == StateSynReceived && c.rtxAt != clock.Never && now.Before(c.rtxAt) && c.rtxAt != c.retransmitAt(now) {
			return // the answer to a SYN that crossed ours, whose timer goes on
		}
		c.stats.retransmits++
	}
	c.rtxAt = c.retransmitAt(now)
}

// synHeader is that of the SYN, or of the SYN-ACK of a simultaneous open.
func (c *Conn) synHeader(now clock.Time) header {
	h := header{
		srcPort: c.localPort, dstPort: c.remotePort,
		seq: c.iss, flags: SYN,
		options: c.offered,
	}
	w := min(c.rw.ssthresh, 65535)
	h.window = uint16(w)
	if h.options.HasTS {
		h.options.TSVal, h.options.TSEcr = c.tsNow(now), c.tsRecent
	}
	if c.ecn.ask && c.ranges.count == 0 {
		h.flags |= ECE | CWR // not in a repetition: the request may be what was dropped (RFC 3168, section 6.1.1.1)
	}
	if c.state == StateSynReceived {
		h.flags &^= CWR | ECE
		h.flags |= ACK
		h.ack = c.rcvNxt
	}
	return h
}

// outputNew sends what was never sent.
func (c *Conn) outputNew(now clock.Time, b *Batch) {
	c.widen(now)
	probe := c.forced && c.probes > 0
	waiting := c.unsent() > 0
	sent, limited := c.sendNew(now, b)
	limited = limited || waiting && c.inFlight() >= c.cwnd() // also if the peer's window is in the way
	if sent == 0 && !limited {
		return
	}
	if probe && sent > 0 {
		// Part of a segment, which probes the peer's window: it tells nothing of how much is
		// used of ours, and what follows is not the tail of anything.
		c.probes, c.probesSince = 0, 0
		c.prrSent(sent)
		return
	}
	c.usage.sent(now, c, limited || c.inFlight() >= c.cwnd())
	if sent > 0 {
		c.prrSent(sent)
		if !c.tlpNew {
			c.armTLP(now, c.retransmitAfter(now))
		}
	}
}

// retransmitAfter is when the retransmission timer would expire that is counted from
// the first segment outstanding.
func (c *Conn) retransmitAfter(now clock.Time) clock.Time {
	if c.ranges.count == 0 {
		return c.retransmitAt(now)
	}
	return c.headTimeout()
}

// sendNew is outputNew; it returns how many segments left, and whether the
// congestion window is in the way of more.
func (c *Conn) sendNew(now clock.Time, b *Batch) (sent int, limited bool) {
	rate := c.pacingRate()
	rest := 0 // segments that go along with one that has CWR
	if c.mtu.on && c.unsent() > 0 && c.ranges.count < maxRanges {
		var wait bool
		if sent, wait = c.probeMTU(now, b); wait {
			return sent, true
		}
	}
	for !b.full() && !c.finSent && c.ranges.count < maxRanges && (!c.deferred || c.tlpNew) {
		waiting := c.unsent()
		if waiting < c.payloadMSS() {
			c.noteAppLimited()
		}
		left := c.sndBuf.withinRecord(c.sndNxt, waiting)
		last := left == waiting // and not a record with another one behind it
		if left == 0 && !c.finQueued {
			return sent, false
		}
		c.idleRestart(now)
		full := c.segmentSize()
		window := c.sndUna.Add(c.sndWnd).Sub(c.sndNxt)
		n := min(left, full)
		if n > window || n == 0 && window == 0 { // a FIN is inside the window, too
			// RFC 9293, section 3.8.6.2.1: part of a segment waits, unless the probe timer
			// found that the window stays small.
			if !c.forced || window <= 0 {
				return sent, false
			}
			n = window
		}
		cwnd := c.cwnd()
		quota := min(cwnd-c.inFlight(), max(cwnd/2, 1))
		if c.tlpNew {
			quota = 1 // a probe is not bound by the congestion window
		}
		if quota <= 0 {
			return sent, true
		}
		if n < full && n == left && last && !c.finQueued && !c.forced && !c.tlpNew && c.nagle() {
			return sent, false
		}
		if left > full && rest == 0 && c.defers(now, left, full, window, cwnd) {
			c.deferred = true
			return sent, cwnd-c.inFlight() <= window/full
		}
		paced := c.pace.quota(now, rate, c.sndMSS)
		if paced < n {
			c.pace.hold(now)
			return sent, false
		}
		push := c.forced && c.probes > 0
		c.forced = false
		if n == full && c.maxGSO > full && left > full && !c.hasDSACK() { // a D-SACK is to leave once
			// As many whole segments as every limit allows; the odd rest goes along when
			// it would have to go anyway.
			burst := min(quota, c.burst(full))
			if rest > 0 {
				burst, rest = min(burst, rest), 0
			}
			size := min(left, c.maxGSO, burst*full, paced, len(b.parts[0])*ChunkSize-ChunkSize)
			// What is left of the window behind whole segments is filled, too, as Linux does
			// where the algorithm of Nagle allows it, and windows are no smaller than four
			// segments: it queues single ones else.
			fill := window < size && c.halfWindow() >= 2*full
			size = min(size, window)
			if size < left && !fill || (last || fill) && c.nagle() {
				size -= size % full
			}
			n = max(size, full)
			if c.ecn.reduced && c.ecn.on {
				// CWR is to leave once, too: the rest of the burst follows, without being asked again
				// whether it had better wait.
				rest, n = n/full-1, full
			}
		} else {
			rest = 0
		}
		seq, end := c.sndNxt, c.sndNxt.Add(n)
		segs := max((n+full-1)/full, 1)
		if c.finQueued && last && n == left && n < window {
			end = end.Add(1)
			c.finSent = true
		}
		if n%full != 0 && !push {
			c.sndSml = end // what the probe timer sends holds nothing up, as in Linux
		}
		c.tellRestart(now)
		c.pace.sent(n, rate)
		r := sentRange{
			seq: seq, end: end, inFlight: uint32((c.inFlight() + segs) * c.payloadMSS()),
			segs: uint16(segs), size: uint16(min(max(full, 1), 65535)),
		}
		c.snapshot(now, &r)
		c.sndNxt = end
		if n > 0 && (n == left && !c.unpushed || push) {
			r.flags |= rangePush // the end of what the application had to say
		}
		first := c.packetsOut == 0
		c.ranges.push(r)
		c.packetsOut += segs
		sent += segs
		c.emitRange(now, b, &r)
		c.stats.bytesOut += uint64(n)
		c.lastSent = now
		if n > 0 && c.lastData != 0 && int64(now.Sub(c.lastData)) < c.ato {
			c.pingPong = true // data answers data: later ACKs can ride along
		}
		if first {
			c.setTimer(timerRetransmit, c.retransmitAt(now)) // RFC 6298, rule 5.1
		} else if c.tlpAt != clock.Never {
			c.rearmTimeout(now)
		}
		c.probeAt, c.probeBackoff = clock.Never, 0
		if c.tlpNew {
			return sent, false
		}
	}
	return sent, false
}

// nagle reports whether a segment that is not full has to wait because another
// such one is unacknowledged (RFC 9293, section 3.7.4; Minshall's variant, which
// lets one small segment follow full ones), or because more is announced.
func (c *Conn) nagle() bool {
	if c.tuning.cork || c.tuning.more {
		return true
	}
	return !c.noDelay && !c.urgent.sending && c.sndUna.Less(c.sndSml) && c.sndSml.LessEq(c.sndNxt)
}

// outputProbe sends the probe of a closed window or of a silent peer: an empty
// segment with a number that was acknowledged already, which forces an answer.
func (c *Conn) outputProbe(now clock.Time, b *Batch) {
	if c.probeOwed && !b.full() {
		c.probeOwed = false
		c.stats.probesOut++
		owed := c.AckOwed()
		c.emit(now, b, c.sndUna.Add(-1), 0, 0)
		// The peer does not take its acknowledgement: a probe of the peer's own, to which
		// this would be the answer, needs one.
		c.ackNow = owed
	}
}

func (c *Conn) outputACK(now clock.Time, b *Batch, mode OutputMode) {
	if mode == OutputHoldAcks {
		return
	}
	if c.ackSoon && (mode == OutputAll || c.bulkAckDue()) {
		c.ackNow = true
	}
	if c.ackNow && c.dupOwed == 0 {
		c.dupOwed = 1
	}
	if c.ack.apart && c.dupOwed > 0 && len(c.rcvBuf.runs) > 0 && !b.full() {
		c.ackApart(now, b)
	}
	for ; c.dupOwed > 0 && !b.full(); c.dupOwed-- {
		c.stats.pureAcksOut++
		c.emit(now, b, c.bareSeq(), 0, 0)
		c.ackNow = false
	}
}

// bulkAckDue reports whether an ACK for data in order may wait no longer.
func (c *Conn) bulkAckDue() bool {
	n := c.rcvNxt.Sub(c.rcvWup)
	return n >= bulkAck || n >= c.rcvAdv.Sub(c.rcvNxt)
}

// AckOwed reports whether an OutputAll would send an ACK.
func (c *Conn) AckOwed() bool { return c.ackNow || c.ackSoon || c.dupOwed > 0 }

// bareSeq is the number of a segment that has neither data nor a place behind it: the next
// to be sent, unless the peer has taken the window back so far that it would not look at
// what the segment says (RFC 9293, section 3.10.7.4, first check). Less than a unit of
// scaled windows may be rounding.
func (c *Conn) bareSeq() Seq {
	edge := c.sndUna.Add(c.sndWnd)
	if over := c.sndNxt.Sub(edge); over <= 0 || c.useScale && over < 1<<c.rcvScale {
		return c.sndNxt
	}
	return edge
}

// emitRange sends the part of the stream that r is about, whose end may count the
// FIN.
func (c *Conn) emitRange(now clock.Time, b *Batch, r *sentRange) {
	flags, n := Flags(0), r.len()
	if c.finSent && r.end.Sub(c.sndBuf.end()) == 1 {
		flags = FIN
		n--
	}
	if n > 0 && (r.flags&rangePush != 0 || r.segs > 1) {
		// The device cuts a large segment up, whose receiver need not wait for more to
		// merge with it, as Linux has it.
		flags |= PSH
	}
	c.emitSegment(now, b, r.seq, n, flags, n > 0 && r.flags&rangeEver == 0)
}

// segmentSize is how much data a full segment carries now: what the segment size
// leaves beside the options, and at most half of the largest window the peer has
// ever had, or a window smaller than two segments would have us wait for its
// receiver's delayed ACK, or for a window that never comes (RFC 9293, section
// 3.8.6.2.1, condition 3, in Linux's form).
func (c *Conn) segmentSize() int {
	options := c.optionLen()
	return min(c.sndMSS-options, max(c.halfWindow(), minMSS-options))
}

// halfWindow is half of the largest window the peer has ever had, or all of it if that
// is tiny.
func (c *Conn) halfWindow() int {
	switch {
	case c.maxWnd > DefaultMSS:
		return c.maxWnd / 2
	case c.maxWnd > 0:
		return c.maxWnd
	}
	return c.sndMSS // nothing is known yet
}

// optionLen is how many bytes of options a data segment carries now.
func (c *Conn) optionLen() int {
	n := 0
	if c.useTS {
		n = 12
	}
	if blocks := c.sackBlocks(); c.useSACK && blocks > 0 {
		n += 4 + 8*blocks
	}
	return n
}

// maxSACK is how many SACK blocks fit beside the other options (RFC 2018, section
// 3).
func (c *Conn) maxSACK() int {
	if c.useTS {
		return 3
	}
	return 4
}

// emit encodes a segment without news.
func (c *Conn) emit(now clock.Time, b *Batch, seq Seq, n int, flags Flags) {
	c.emitSegment(now, b, seq, n, flags, false)
}

// emitSegment encodes a segment with n bytes of data from seq on; fresh if they leave
// for the first time. Everything but the flags is the connection's present state, for a
// retransmission too.
func (c *Conn) emitSegment(now clock.Time, b *Batch, seq Seq, n int, flags Flags, fresh bool) {
	h := c.plainHeader(now, seq, flags|ACK)
	if p, ok := c.urgentPointer(seq); ok {
		h.flags, h.urgent = h.flags|URG, p
	}
	size := c.segmentSize()
	if c.useSACK {
		c.fillSACK(&h.options)
	}
	codepoint := c.ecnOutput(&h, fresh)
	s := b.add(&h)
	s.ECN = codepoint
	if n > 0 {
		s.Payload = c.sndBuf.appendViews(s.Payload, seq, n)
		s.PayloadLen = n
		if n > size && (c.mtu.size == 0 || seq != c.mtu.start || flags.Has(FIN)) {
			s.SegmentSize = size
		}
	}
	c.ackSent()
}

// plainHeader is a header with what every segment of the connection tells.
func (c *Conn) plainHeader(now clock.Time, seq Seq, flags Flags) header {
	h := header{
		srcPort: c.localPort, dstPort: c.remotePort,
		seq: seq, ack: c.rcvNxt, flags: flags, window: c.advertise(),
	}
	if c.useTS {
		h.options.HasTS, h.options.TSVal, h.options.TSEcr = true, c.tsNow(now), c.tsRecent
	}
	return h
}

// tsNow is the timestamp clock: milliseconds plus an offset of the connection's
// (RFC 7323, sections 5.4 and 7.1).
func (c *Conn) tsNow(now clock.Time) uint32 {
	return uint32(int64(now)/int64(time.Millisecond)) + c.tsOffset
}

// armIdleTimers starts the probe timer when data waits, nothing is in flight, and
// so no acknowledgement will come to start it moving (RFC 9293, section 3.8.6.1).
func (c *Conn) armIdleTimers(now clock.Time) {
	if c.ranges.count == 0 && (c.unsent() > 0 || c.finQueued && !c.finSent) && c.probeAt == clock.Never {
		c.probeAt = now.Add(c.probeInterval())
	}
}

func b2u(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
