package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// receiveTuning sizes the receive buffer for what the application reads in a round
// trip (Linux's dynamic right-sizing): only what is read makes it grow, so that a slow
// reader gets no large window, and whoever reads as fast as data comes is never the
// bottleneck.
type receiveTuning struct {
	rtt     time.Duration // of the data's direction, times 8; 0 before the first sample
	lastEcr uint32        // timestamp that the last sample was taken from
	sampled bool          // lastEcr is set

	roundSeq Seq        // without timestamps: a window ends here …
	roundAt  clock.Time // … that began to arrive then; 0 if none

	seq   Seq        // what was read when the measurement began …
	at    clock.Time // … then
	space int        // most that was read in one round trip
}

// begin starts the measurement with the peer's first flight.
func (t *receiveTuning) begin(c *Conn, space int) {
	t.seq, t.at, t.space = c.rcvBuf.base, c.lastRecv, max(space, 1)
}

// sample takes a round-trip time; whole says that it is the time in which a whole
// window came, and so an upper bound.
func (t *receiveTuning) sample(d time.Duration, whole, unread bool) {
	m := 8 * d
	switch {
	case t.rtt == 0 || m < t.rtt:
		t.rtt = m
	case whole || unread: // it holds the time that the reader or the sender paused
	default:
		t.rtt += d - t.rtt/8
	}
}

// measureRound is the estimate without timestamps: the time from when a window was
// announced until its last byte came.
func (c *Conn) measureRound(now clock.Time) {
	t := &c.drs
	if t.roundAt != 0 {
		if c.rcvNxt.Less(t.roundSeq) {
			return
		}
		t.sample(max(now.Sub(t.roundAt), time.Microsecond), true, false)
	}
	t.roundSeq, t.roundAt = c.rcvNxt.Add(c.announced()), now
}

// measureStamp is the estimate from the timestamp that a full segment echoes.
func (c *Conn) measureStamp(now clock.Time, seg *Segment) {
	t := &c.drs
	if !c.useTS || !seg.Options.HasTS || t.sampled && t.lastEcr == seg.Options.TSEcr {
		return
	}
	t.sampled, t.lastEcr = true, seg.Options.TSEcr
	if seg.Len() < c.rcvMSS {
		return
	}
	if ms := int32(c.tsNow(now) - seg.Options.TSEcr); ms > 0 && ms < 1<<20 {
		d := time.Duration(ms) * time.Millisecond
		if srtt := c.rtt.srtt; ms == 1 && srtt > 0 {
			d = min(d, srtt) // the clock went on meanwhile: that tells nothing of a short path
		}
		t.sample(d, false, c.rcvBuf.buffered() > 0)
	}
}

// tuneReceive is called whenever something was read.
func (c *Conn) tuneReceive() {
	t := &c.drs
	if t.rtt == 0 || c.lastRecv.Sub(t.at) < t.rtt/8 {
		return
	}
	if read := c.rcvBuf.base.Sub(t.seq) - c.rcvBuf.buffered(); read > t.space {
		c.growReceive(read)
	}
	t.seq, t.at = c.rcvBuf.base, c.lastRecv
}

// growReceive sizes the buffer for a peer that delivers read bytes in a round trip. The
// measurement is a round trip old, and a sender in slow start doubles its rate
// meanwhile.
func (c *Conn) growReceive(read int) {
	w, t := &c.rw, &c.drs
	before := t.space
	t.space = read
	if w.fixed || w.noTuning || c.rcvBuf.mem.Pressure() {
		return
	}
	window := 2 * read
	window += 2 * int(int64(window)*int64(read-before)/int64(before))
	if runs := c.rcvBuf.runs; len(runs) > 0 {
		window += runs[len(runs)-1].right.Sub(c.rcvNxt)
	}
	space := w.maxSpace
	if window < w.window(w.maxSpace) {
		space = min(w.spaceFor(window), w.maxSpace)
	}
	if space > w.space {
		w.space = space
		w.note()
		w.clamp = w.window(space)
	}
}
