package tcp

import "math"

// What an application that waits for much needs (SO_RCVLOWAT): a buffer that can hold so
// much, a peer that is told at once to go on, and to be woken when no more can come.

// SetReceiveLowat says from how many bytes on the application reads; below 2 there is no
// such mark. A buffer whose size the application has not chosen grows with it, as in
// Linux; the mark is at most half of the buffer, or it would never be reached.
func (c *Conn) SetReceiveLowat(n int) {
	w := &c.rw
	most := w.space / 2
	if !w.fixed {
		most = max(w.maxSpace/2, most)
	}
	n = max(min(n, most, math.MaxInt32), 0)
	if n < 2 {
		n = 0
	}
	c.receiveLowat = int32(n)
	c.events |= EventReadable
	if space := w.spaceFor(n); !w.fixed && space > w.space {
		w.space = space
		w.note()
		w.clamp = max(w.clamp, min(n, 65535<<c.rcvScale))
	}
}

// ReadReady reports whether there is enough to be read: as much as SetReceiveLowat says,
// or all that can come, because the window is as good as closed or the buffer nearly full.
func (c *Conn) ReadReady() bool {
	n := c.ReadableBytes()
	if u := &c.urgent; n > 0 && u.state != urgentNone && c.rcvBuf.base.Less(u.at) {
		n = c.rcvBuf.buffered() // a read ends at the mark, but what lies behind it has come
	}
	if lowat := int(c.receiveLowat); n == 0 || n >= lowat {
		return n > 0
	}
	w := &c.rw
	return c.openWindow() <= c.rcvMSS || w.charged > w.space-w.space>>3 || c.rcvBuf.mem.Pressure()
}

// waitsForMore reports whether the application waits for more than has arrived.
func (c *Conn) waitsForMore() bool { return c.rcvBuf.buffered() < int(c.receiveLowat) }

// Peeked follows a look at what can be read, which may be all that the application does for
// a while: what its reading would tell the peer leaves, but of room it made none.
func (c *Conn) Peeked() {
	if !c.state.synchronized() || c.state == StateTimeWait || c.finTaken {
		return
	}
	c.tellReader()
}
