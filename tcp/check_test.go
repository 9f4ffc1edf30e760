package tcp

import (
	"fmt"

	"github.com/netduet/netduet/clock"
)

// minPayload is the least that a segment can hold beside its options.
const minPayload = minMSS - 40

// Check tests the invariants of a connection; drained says that Output has just
// given its last segment, and nothing may be owed any more.
func (c *Conn) Check(drained bool) error {
	if err := c.checkSending(); err != nil {
		return fmt.Errorf("%v: %w", c.State(), err)
	}
	if err := c.checkReceiving(); err != nil {
		return fmt.Errorf("%v: %w", c.State(), err)
	}
	if drained {
		if err := c.checkDrained(); err != nil {
			return fmt.Errorf("%v: %w", c.State(), err)
		}
	}
	return nil
}

func (c *Conn) checkSending() error {
	if c.sndNxt.Less(c.sndUna) {
		return fmt.Errorf("SND.UNA %d behind SND.NXT %d", c.sndUna, c.sndNxt)
	}
	var packets, sacked, lost, retrans int
	next := c.sndUna
	for i := range c.ranges.count {
		r := c.ranges.at(i)
		if r.seq != next {
			return fmt.Errorf("range %d begins at %d, not %d", i, r.seq, next)
		}
		if r.len() <= 0 || r.segs == 0 || r.size == 0 {
			return fmt.Errorf("range %d is empty: [%d, %d), %d segments of %d", i, r.seq, r.end, r.segs, r.size)
		}
		if c.dataLen(r) > int(r.segs)*int(r.size) {
			return fmt.Errorf("range %d: %d bytes are more than %d segments of %d", i, r.len(), r.segs, r.size)
		}
		next = r.end
		segs := int(r.segs)
		packets += segs
		if r.flags&rangeSacked != 0 {
			sacked += segs
			if r.flags&rangeLost != 0 {
				return fmt.Errorf("range %d is sacked and %b", i, r.flags)
			}
		}
		if r.flags&rangeLost != 0 {
			lost += segs
			if r.flags&rangeRetrans == 0 && r.seq.Less(c.retransHint) {
				return fmt.Errorf("range %d [%d, %d) waits for retransmission before the hint %d", i, r.seq, r.end, c.retransHint)
			}
		}
		if r.flags&rangeRetrans != 0 {
			retrans += segs
		}
		if !c.useSACK && r.flags&rangeSacked != 0 {
			return fmt.Errorf("range %d is sacked without SACK", i)
		}
	}
	if next != c.sndNxt {
		return fmt.Errorf("ranges end at %d, SND.NXT is %d", next, c.sndNxt)
	}
	if !c.useSACK && sacked == 0 && c.sackedOut >= 0 && c.sackedOut <= c.packetsOut {
		sacked = c.sackedOut // duplicate ACKs
	}
	if packets != c.packetsOut || sacked != c.sackedOut || lost != c.lostOut || retrans != c.retransOut {
		return fmt.Errorf("counted %d, %d sacked, %d lost, %d retransmitted; the ranges say %d, %d, %d, %d",
			c.packetsOut, c.sackedOut, c.lostOut, c.retransOut, packets, sacked, lost, retrans)
	}
	if limit := maxRanges + 2*c.outstanding()/minPayload + 65; c.ranges.count > limit {
		return fmt.Errorf("%d ranges", c.ranges.count)
	}
	timers := 0
	for _, at := range []clock.Time{c.rtxAt, c.tlpAt, c.rackAt} {
		if at != clock.Never {
			timers++
		}
	}
	if timers > 1 {
		return fmt.Errorf("%d timers run for what is in flight", timers)
	}
	if len(c.rack.again)-c.rack.first > 2*maxRanges+c.ranges.count+128 {
		return fmt.Errorf("%d repetitions on record", len(c.rack.again))
	}
	b := &c.sndBuf
	if b.off < 0 || b.off >= ChunkSize || b.len < 0 {
		return fmt.Errorf("send buffer: offset %d, length %d", b.off, b.len)
	}
	if want := (b.off + b.len + ChunkSize - 1) / ChunkSize; b.chunks.count != want {
		return fmt.Errorf("send buffer: %d chunks for offset %d and length %d", b.chunks.count, b.off, b.len)
	}
	for i := range b.chunks.count {
		if b.chunks.at(i) == nil {
			return fmt.Errorf("send buffer: chunk %d is missing", i)
		}
	}
	if !b.pinned && len(b.limbo) > 0 {
		return fmt.Errorf("%d chunks in limbo and no batch under way", len(b.limbo))
	}
	switch c.state {
	case 0, StateClosed:
		if d := c.Deadline(); d != clock.Never {
			return fmt.Errorf("a timer runs: %d", d)
		}
		return nil
	case StateTimeWait:
		return nil
	case StateSynSent, StateSynReceived:
		if b.base != c.iss.Add(1) {
			return fmt.Errorf("send buffer begins at %d, ISS is %d", b.base, c.iss)
		}
	default:
		if c.sndUna != b.base && !(c.finSent && c.sndUna == b.base.Add(1) && b.len == 0) {
			return fmt.Errorf("send buffer begins at %d, SND.UNA is %d", b.base, c.sndUna)
		}
		end := b.end()
		if c.finSent {
			if c.sndNxt != end.Add(1) && !(b.len == 0 && c.sndNxt == end) && c.sndUna != c.sndNxt {
				return fmt.Errorf("SND.NXT is %d after FIN at %d", c.sndNxt, end)
			}
		} else if end.Less(c.sndNxt) {
			return fmt.Errorf("SND.NXT %d behind the last byte %d", c.sndNxt, end)
		}
	}
	if c.ranges.count > 0 && min(c.rtxAt, c.tlpAt, c.rackAt) == clock.Never {
		return fmt.Errorf("%d bytes outstanding and no retransmission timer", c.outstanding())
	}
	return nil
}

func (c *Conn) checkReceiving() error {
	b := &c.rcvBuf
	nxt := b.nxt
	if c.finTaken {
		nxt = nxt.Add(1)
	}
	if c.rcvNxt != nxt {
		return fmt.Errorf("RCV.NXT is %d, the buffer's is %d, FIN taken %v", c.rcvNxt, b.nxt, c.finTaken)
	}
	if err := b.check(); err != nil {
		return err
	}
	if n := len(b.runs); n > 0 {
		if right := b.runs[n-1].right; c.windowEdge().Less(right) {
			return fmt.Errorf("stored up to %d, the window ends at %d", right, c.windowEdge())
		} else if c.finKnown && c.finSeq.Less(right) {
			return fmt.Errorf("stored up to %d, FIN is at %d", right, c.finSeq)
		}
	}
	if c.finKnown && c.finSeq.Less(b.nxt) {
		return fmt.Errorf("FIN at %d, RCV.NXT %d", c.finSeq, b.nxt)
	}
	if n := b.buffered() + len(b.runs); n > 2*MaxBuffer+192<<10 {
		return fmt.Errorf("%d bytes buffered", n)
	}
	if c.rcvNxt.Less(c.rcvWup) && c.state.synchronized() {
		return fmt.Errorf("acknowledged %d, RCV.NXT is %d", c.rcvWup, c.rcvNxt)
	}
	return nil
}

func (b *recvBuffer) check() error {
	if b.nxt.Less(b.base) || b.off < 0 || b.off >= ChunkSize {
		return fmt.Errorf("receive buffer: base %d, next %d, offset %d", b.base, b.nxt, b.off)
	}
	ahead := 0
	for _, r := range b.runs {
		ahead += r.right.Sub(r.left)
	}
	if n := len(b.runs); n > maxHoles+1 && ahead < (n-1)*worthHole || n > mostHoles {
		return fmt.Errorf("%d runs", n)
	}
	if ahead != b.ahead {
		return fmt.Errorf("%d bytes are out of order, counted %d", ahead, b.ahead)
	}
	have := func(left, right Seq) error {
		for at := b.off + left.Sub(b.base); at < b.off+right.Sub(b.base); at += ChunkSize - at%ChunkSize {
			if i := at / ChunkSize; i >= b.chunks.count || b.chunks.at(i) == nil {
				return fmt.Errorf("receive buffer: [%d, %d) has no memory at chunk %d", left, right, i)
			}
		}
		return nil
	}
	if err := have(b.base, b.nxt); err != nil {
		return err
	}
	last := b.nxt
	for i, r := range b.runs {
		if !last.Less(r.left) || !r.left.Less(r.right) {
			return fmt.Errorf("run %d is [%d, %d) after %d", i, r.left, r.right, last)
		}
		last = r.right
		if err := have(r.left, r.right); err != nil {
			return err
		}
	}
	return nil
}

// checkDrained finds what would stall: something to do, and nothing that would
// make it happen.
func (c *Conn) checkDrained() error {
	if c.sndBuf.pinned {
		return nil
	}
	if c.rstOwed || c.replyOwed || c.synOwed && c.state != StateClosed {
		return fmt.Errorf("reset %v, reply %v, SYN %v still owed", c.rstOwed, c.replyOwed, c.synOwed)
	}
	switch c.state {
	case 0, StateClosed, StateTimeWait, StateSynSent, StateSynReceived:
		return nil
	}
	if c.AckOwed() || c.probeOwed {
		return fmt.Errorf("ACK %v or %v, %d duplicates, probe %v still owed", c.ackNow, c.ackSoon, c.dupOwed, c.probeOwed)
	}
	if c.rcvNxt != c.rcvWup && c.ackAt == clock.Never {
		return fmt.Errorf("%d sequence numbers to acknowledge and no timer", c.rcvNxt.Sub(c.rcvWup))
	}
	if c.ranges.count == 0 && (c.unsent() > 0 || c.finQueued && !c.finSent) && c.probeAt == clock.Never {
		return fmt.Errorf("%d bytes to send, nothing in flight and no timer", c.unsent())
	}
	return nil
}
