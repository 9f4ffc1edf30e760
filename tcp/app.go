package tcp

import (
	"io"
	"time"

	"github.com/netduet/netduet/clock"
)

// Read copies received bytes to p. It returns 0, nil when there are none yet,
// io.EOF after the peer's FIN, and after a reset first what had arrived, then the
// reason.
func (c *Conn) Read(now clock.Time, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		most := c.beforeMark(len(p)-n, n > 0)
		src := c.rcvBuf.peek()
		if len(src) == 0 || most == 0 {
			break
		}
		m := copy(p[n:n+most], src)
		c.rcvBuf.discard(m)
		n += m
	}
	if n > 0 {
		c.read(n)
		return n, nil
	}
	if c.rcvBuf.buffered() > 0 {
		return 0, nil // p is empty, or only the urgent octet is there
	}
	return 0, c.readEnd()
}

// readEnd tells why there is nothing more to read; nil if there may be later.
func (c *Conn) readEnd() error {
	switch {
	case c.finTaken:
		return io.EOF
	case c.state == StateClosed && c.err != nil:
		return c.err
	case c.readShut || c.state == StateClosed || c.state == 0:
		return io.EOF
	}
	return nil
}

// Peek returns readable bytes that lie together, without copying; they are valid
// until the next call. Discard gives the first n of them up.
func (c *Conn) Peek() []byte {
	src := c.rcvBuf.peek()
	return src[:min(len(src), c.beforeMark(len(src), false))]
}

// Discard drops the first n bytes that Peek showed.
func (c *Conn) Discard(now clock.Time, n int) {
	if n = min(n, c.rcvBuf.buffered()); n > 0 {
		c.rcvBuf.discard(n)
		c.read(n)
	}
}

// ReadErr returns what Read would return if nothing were left to read: nil while
// more may come.
func (c *Conn) ReadErr() error { return c.readEnd() }

// read follows the reading of n bytes. The peer is told of what it may not know when
// that is worth an ACK, by Linux's rules: more than a segment was not acknowledged; the
// reader has taken all that a peer had pushed, which may be waiting for it; or the
// window has at least doubled.
func (c *Conn) read(n int) {
	c.rw.refund(n, c.rcvBuf.held())
	if !c.state.synchronized() || c.state == StateTimeWait {
		return
	}
	c.tuneReceive()
	if c.finTaken {
		return
	}
	c.tellReader()
}

// tellReader has an ACK leave that the reader has made worth while.
func (c *Conn) tellReader() {
	if c.ackRead() {
		c.ackSoon = true
		return
	}
	if open := c.openWindow(); 2*open <= c.rw.clamp {
		if w := c.selectWindow(); w > 0 && w >= 2*open {
			c.ackNow = true
		}
	}
}

// Write takes as much of p as there is room for. It returns 0, nil when there is
// none; ErrWriteClosed after CloseWrite; the reason when the connection is dead.
func (c *Conn) Write(now clock.Time, p []byte) (int, error) {
	if c.orphan || c.finQueued && c.err == nil {
		return 0, ErrWriteClosed
	}
	if c.finQueued || !c.state.canSend() {
		if c.err != nil {
			return 0, c.err
		}
		return 0, ErrWriteClosed
	}
	c.deferred = false
	c.wave++
	n := c.sndBuf.append(p[:min(len(p), c.writeRoom())])
	c.tuning.noSpace = n < len(p)
	c.unpushed = c.tuning.more && n == len(p)
	return n, nil
}

// CloseWrite sends FIN after what was written (RFC 9293, section 3.10.4).
func (c *Conn) CloseWrite(now clock.Time) {
	if c.finQueued {
		return
	}
	switch c.state {
	case StateEstablished:
		c.state = StateFinWait1
	case StateCloseWait:
		c.state = StateLastAck
	case StateSynSent, StateSynReceived: // the state follows with the handshake
	default:
		return
	}
	c.finQueued = true
	c.events |= EventWritable
}

// CloseRead makes Read return io.EOF once what has arrived was read. The peer is
// not told.
func (c *Conn) CloseRead(now clock.Time) {
	c.readShut = true
	c.events |= EventReadable
}

// Close gives the connection up for the application: nothing can be read or
// written any more, and what was written is delivered. Bytes that nobody read, or
// that still arrive, reset the connection, so that the peer learns of their loss
// (RFC 1122, section 4.2.2.13; RFC 2525, section 2.17).
func (c *Conn) Close(now clock.Time) {
	if c.orphan {
		return
	}
	unread := c.rcvBuf.buffered() > 0
	c.orphan, c.readShut = true, true
	c.forgetUnread()
	switch c.state {
	case 0, StateClosed, StateTimeWait:
		c.rcvBuf.reset()
		return
	case StateSynSent:
		c.die(nil)
		return
	}
	if unread {
		c.reset(nil)
		return
	}
	c.CloseWrite(now)
	if c.state == StateFinWait2 {
		c.armFinWait(now)
	}
	c.events |= EventReadable | EventWritable
}

// forgetUnread gives up what nobody will read; the window that a reset announces counts
// on it.
func (c *Conn) forgetUnread() {
	if n := c.rcvBuf.buffered(); n > 0 {
		c.rcvBuf.discard(n)
		c.rw.refund(n, c.rcvBuf.held())
	}
}

// Disconnect gives an attempt to connect up, as shutdown(2) does in SYN-SENT; it does
// nothing in other states.
func (c *Conn) Disconnect(now clock.Time) {
	if c.state == StateSynSent {
		c.die(ErrReset)
	}
}

// Abort resets the connection (RFC 9293, section 3.10.5).
func (c *Conn) Abort(now clock.Time) {
	c.orphan, c.readShut = true, true
	c.forgetUnread()
	if c.state == StateTimeWait {
		return
	}
	c.reset(ErrAborted)
	c.rcvBuf.reset()
}

// ICMPError tells that an ICMP message said of the segment with number seq that
// it cannot be delivered, for the reason err. In a connection that is not open yet
// that is the end; later it is remembered as the likely reason of a timeout (RFC
// 5927, section 4.1 and 5.2) until an acknowledgement comes. A message about a number that is not outstanding is
// forged or late, and ignored; the result is false then.
func (c *Conn) ICMPError(now clock.Time, seq Seq, err error) bool {
	if !seq.inRange(c.sndUna, c.sndNxt) {
		return false
	}
	switch c.state {
	case StateSynSent, StateSynReceived:
		if c.fastPassive() { // the application may have it already
			c.soft = err
			return true
		}
		c.die(err)
	case 0, StateClosed, StateTimeWait:
	default:
		c.soft = err
	}
	return true
}

// Soft returns what ICMPError has told of a connection that goes on, and forgets it if
// take is set.
func (c *Conn) Soft(take bool) error {
	err := c.soft
	if take {
		c.soft = nil
	}
	return err
}

// SetNoDelay switches Nagle's algorithm off, or on. Switching it off sends what is
// held back, even by SetCork, once.
func (c *Conn) SetNoDelay(now clock.Time, on bool) {
	c.noDelay = on
	if on {
		c.push()
	}
}

// SetKeepAlive changes the keep-alive probes.
func (c *Conn) SetKeepAlive(now clock.Time, k KeepAlive) {
	c.keepAlive = k.withDefaults()
	c.kaProbes = 0
	c.armKeepAlive(now)
}

// SetUserTimeout bounds how long data may stay unacknowledged; 0 means R2.
func (c *Conn) SetUserTimeout(d time.Duration) { c.userTimeout = int64(max(d, 0)) }

// SetBuffers sets the sizes of the buffers, in bytes as in Config, and ends their
// following what the connection needs; 0 leaves one as it is. What is buffered and what
// was announced stay. As in Linux, a larger receive buffer makes no larger window once
// the connection is open and has measured the peer's segments.
func (c *Conn) SetBuffers(send, receive int) {
	if send > 0 {
		c.sndBuf.limit, c.sndFixed = bufferSize(send, 0), true
		c.events |= EventWritable
	}
	if receive > 0 {
		c.rw.space, c.rw.fixed = 2*bufferSize(receive, 0), true
		c.rw.note()
	}
}
