package tcp

import (
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

// tuning is what the application may set beyond the defaults, in the meaning that
// Linux's socket options of the same names have.
type tuning struct {
	noDSACK      bool // see Config.NoDSACK
	cork, more   bool
	dataFollows  bool   // the ACK of the SYN-ACK waits for data
	noSpace      bool   // the last Write found the send buffer full
	ackDelay     uint8  // see SetMaxDelayedACK
	sackDelay    uint16 // see sackDelaySetting
	finWait      int32  // milliseconds in FIN-WAIT-2 without a reader; 0: finWait2Limit, negative: none
	notSentLowat int32  // unsent bytes from which on Write takes nothing; 0: no bound
	maxPace      int64  // see SetMaxPacingRate
}

// SetCork holds segments that are not full back until cork is taken off, for 200 ms
// or a retransmission timeout when nothing is in flight, or until SetNoDelay
// (TCP_CORK).
func (c *Conn) SetCork(on bool) { c.tuning.cork = on }

// SetMore says that more is about to be written behind what is in the buffer: like
// cork, until the next acknowledgement or timeout (MSG_MORE). It is to be set before
// each Write.
func (c *Conn) SetMore(on bool) { c.tuning.more = on }

// SetDataFollows says that data will follow the handshake: the ACK of the SYN-ACK waits
// for it, 200 ms at most. Linux does so when a write waits, or with TCP_DEFER_ACCEPT. It
// means something in SYN-SENT only.
func (c *Conn) SetDataFollows(on bool) { c.tuning.dataFollows = on && c.state == StateSynSent }

// push lets what cork holds back pass, once.
func (c *Conn) push() {
	if c.tuning.cork && c.state.synchronized() && c.unsent() > 0 {
		c.forced = true
	}
}

// SetSynRetries sets how often a SYN is repeated (TCP_SYNCNT); Config.SynLinear
// repetitions come on top.
func (c *Conn) SetSynRetries(n int) {
	if n > 0 {
		c.synRetries = uint8(min(n, 255))
	}
}

// SetFinWait sets how long FIN-WAIT-2 may last once the application has closed the
// connection (TCP_LINGER2), to a millisecond: 0 means 60 s; negative resets the connection
// at once.
func (c *Conn) SetFinWait(d time.Duration) {
	c.tuning.finWait = int32(max(min(d.Milliseconds(), math.MaxInt32), -1))
}

// armFinWait bounds FIN-WAIT-2 when nobody can read any more.
func (c *Conn) armFinWait(now clock.Time) {
	switch d := c.tuning.finWait; {
	case d < 0:
		c.reset(nil)
	case d == 0:
		c.finAt = now.Add(finWait2Limit)
	default:
		c.finAt = now.Add(time.Duration(d) * time.Millisecond)
	}
}

// SetNotSentLowat has Write take nothing while n bytes or more were never sent; 0
// removes the bound (TCP_NOTSENT_LOWAT).
func (c *Conn) SetNotSentLowat(n int) {
	c.tuning.notSentLowat = int32(max(min(n, math.MaxInt32), 0))
	c.events |= EventWritable
}

// writeQuantum is what is added at once to a send buffer that has a bound of unsent
// bytes: as many whole segments as Linux's largest buffer holds, and not more than half
// of the peer's window.
func (c *Conn) writeQuantum() int {
	full := max(c.segmentSize(), 1)
	n := 64 << 10
	if half := c.maxWnd / 2; half > DefaultMSS/2 {
		n = min(n, half)
	}
	return max(n/full, 1) * full
}

// writeRoom returns how many bytes Write takes now.
func (c *Conn) writeRoom() int {
	if len(c.sndBuf.records) >= maxRecords {
		return 0
	}
	room := c.sndBuf.room()
	if lowat := int(c.tuning.notSentLowat); lowat > 0 {
		unsent := c.unsent()
		if unsent >= lowat {
			return 0
		}
		q := c.writeQuantum()
		room = min(room, (lowat-unsent+q-1)/q*q)
	}
	return room
}

// SetQuickAck switches delayed acknowledgements that wait for an answer of the
// application's off, and sends one that is waiting; or on. Like Linux's
// TCP_QUICKACK it is no lasting setting: the connection goes on adapting. It reports
// whether one was waiting.
func (c *Conn) SetQuickAck(now clock.Time, on bool) (waited bool) {
	c.pingPong = !on
	if on && c.ack.owed && c.ackAt != clock.Never {
		c.ack.pushed = max(c.ack.pushed, 1)
		waited = true
		c.ackNow = c.ackRead()
	}
	return waited
}

// QuickAck reports whether acknowledgements do not wait for an answer.
func (c *Conn) QuickAck() bool { return !c.pingPong }

// MaxSegment returns how much data a full segment carries.
func (c *Conn) MaxSegment() int { return min(c.payloadMSS(), max(c.halfWindow(), 1)) }

// SetController replaces the congestion controller. In a connection under way the
// new one goes on from the old one's window.
func (c *Conn) SetController(now clock.Time, cc Controller) {
	if c.state.synchronized() {
		cc.Init(now, c.payloadMSS(), c.rtt.min)
		cc.TakeOver(c.cc.Window(), c.cc.Threshold())
	}
	c.cc = cc
}

// SetDeferAccept makes the record wait for data behind the handshake's ACK, over n
// timeouts at most (TCP_DEFER_ACCEPT, which counts them from seconds).
func (p *Passive) SetDeferAccept(n int) { p.deferred = uint8(min(max(n, 0), 255)) }

// defers reports whether the ACK seg is to be treated as if it had not come yet.
func (p *Passive) defers(seg *Segment) bool {
	if p.tries < p.deferred && seg.Len() == 0 {
		p.acked = true
		return true
	}
	return false
}

// quiet reports whether the SYN-ACK need not leave again although the timer has
// expired: the peer has it, and only the last one makes it answer.
func (p *Passive) quiet() bool { return p.acked && p.tries < p.deferred }

// Buffers returns the limits of the buffers in bytes, in the measure of Config.
func (c *Conn) Buffers() (send, receive int) { return c.sndBuf.limit, c.rw.space / 2 }

// Unwritable reports whether a writer should wait: for a third of the send buffer to
// be free, and for fewer than half the unsent bytes that SetNotSentLowat says, as Linux
// has it: a Write takes something before that.
func (c *Conn) Unwritable() bool {
	if c.finQueued || c.orphan || !c.state.canSend() {
		return false // writing fails at once
	}
	lowat := int(c.tuning.notSentLowat)
	return c.sndBuf.room() < c.sndBuf.len/2 || lowat > 0 && 2*c.unsent() >= lowat
}

// PeekInto copies readable bytes to p and leaves them where they are.
func (c *Conn) PeekInto(p []byte) int {
	n := 0
	b := &c.rcvBuf
	for left, at := min(len(p), c.beforeMark(b.buffered(), false)), b.off; n < left; {
		m := copy(p[n:left], b.chunks.at(at / ChunkSize).Data[at%ChunkSize:])
		n += m
		at += m
	}
	return n
}
