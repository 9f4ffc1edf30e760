package direct

import (
	"io"
	"net/netip"
	"syscall"

	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/tcp"
)

// Read reads what has arrived: some of the stream, or a datagram.
func (k *Socket) Read(p []byte) (int, error) {
	c, u, err := k.parts()
	switch {
	case err != nil:
		return 0, err
	case u != nil:
		n, _, _, err := u.tryReceive(p, true)
		return n, err
	case c == nil && k.stream:
		return 0, syscall.ENOTCONN
	case c == nil:
		return 0, syscall.EAGAIN
	}
	return c.tryRead(p, true)
}

// Peek is Read that leaves the data where it is.
func (k *Socket) Peek(p []byte) (int, error) {
	c, u, err := k.parts()
	switch {
	case err != nil:
		return 0, err
	case u != nil:
		n, _, _, err := u.tryReceive(p, false)
		return n, err
	case c == nil && k.stream:
		return 0, syscall.ENOTCONN
	case c == nil:
		return 0, syscall.EAGAIN
	}
	return c.tryRead(p, false)
}

// ReadFrom reads a datagram; whole is its length, of which p may hold less.
func (k *Socket) ReadFrom(p []byte) (n, whole int, from netip.AddrPort, err error) {
	c, u, err := k.parts()
	switch {
	case err != nil:
		return 0, 0, from, err
	case u != nil:
		return u.tryReceive(p, true)
	case k.stream && c != nil:
		n, err = c.tryRead(p, true)
		return n, n, from, err
	case k.stream:
		return 0, 0, from, syscall.ENOTCONN
	}
	return 0, 0, from, syscall.EAGAIN
}

// Write writes as much as there is room for, or a datagram to the peer.
func (k *Socket) Write(p []byte) (int, error) { return k.write(p, writeMode{}) }

// WriteMore is Write with MSG_MORE: a segment that is not full waits for more.
func (k *Socket) WriteMore(p []byte) (int, error) { return k.write(p, writeMode{more: true}) }

// WriteRecord is Write with MSG_EOR: if all of p is taken, no segment holds its last byte
// and what is written behind it.
func (k *Socket) WriteRecord(p []byte) (int, error) { return k.write(p, writeMode{record: true}) }

// WriteUrgent is Write with MSG_OOB: the last byte that is taken is urgent. New
// protocols should not use it (RFC 6093, section 5).
func (k *Socket) WriteUrgent(p []byte) (int, error) { return k.write(p, writeMode{urgent: true}) }

// ReadUrgent returns the urgent byte, as recv with MSG_OOB does, and leaves it there
// if peek is set: EINVAL if there is none, or if it is in line (SO_OOBINLINE), EAGAIN
// if it was announced and has not arrived, io.EOF if it will not.
func (k *Socket) ReadUrgent(peek bool) (byte, error) {
	c, _, err := k.parts()
	switch {
	case err != nil:
		return 0, err
	case c == nil && k.stream:
		return 0, syscall.EINVAL
	case c == nil:
		return 0, syscall.EOPNOTSUPP
	}
	c.lock()
	defer c.unlock()
	if err := c.gone(); err != nil {
		return 0, err
	}
	b, ok, waiting := c.tc.ReadUrgent(peek)
	switch {
	case ok:
		return b, nil
	case waiting && c.tc.ReadErr() != nil:
		return 0, io.EOF // it will not come any more
	case waiting:
		return 0, syscall.EAGAIN
	}
	return 0, syscall.EINVAL
}

// writeMode is the flags of send(2) that a stream heeds.
type writeMode struct{ more, urgent, record bool }

func (k *Socket) write(p []byte, mode writeMode) (int, error) {
	c, u, err := k.parts()
	switch {
	case err != nil:
		return 0, err
	case u != nil && u.connected:
		if err := u.transmit(netapi.CallSendto, p, u.remote); err != nil {
			return 0, errnoIn(err)
		}
		return len(p), nil
	case !k.stream:
		return 0, syscall.EDESTADDRREQ
	case c == nil:
		return 0, syscall.EPIPE
	}
	return c.tryWrite(p, mode)
}

// WriteTo sends a datagram to dst. A socket that is not bound gets an address.
func (k *Socket) WriteTo(p []byte, dst netip.AddrPort) (int, error) {
	if k.stream {
		return k.write(p, writeMode{}) // as Linux: the address is ignored
	}
	if err := k.enter(); err != nil {
		return 0, err
	}
	if k.udp == nil {
		if err := k.openUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0)); err != nil {
			k.mu.Unlock()
			return 0, err
		}
	}
	u := k.udp
	k.mu.Unlock()
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	if !dst.Addr().Is4() {
		return 0, syscall.EAFNOSUPPORT
	}
	if u.connected && dst != u.remote {
		return 0, syscall.EISCONN
	}
	if err := u.transmit(netapi.CallSendto, p, dst); err != nil {
		return 0, errnoIn(err)
	}
	return len(p), nil
}

// tryRead is Read without waiting; take removes what was read.
func (c *TCPConn) tryRead(p []byte, take bool) (int, error) {
	c.lock()
	defer c.unlock()
	if err := c.gone(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	now := c.at(c.st.clk.Now())
	if !take && c.tc.ReadableBytes() > 0 {
		n := c.tc.PeekInto(p)
		if c.tc.Peeked(); c.tc.AckOwed() {
			c.drive(now, tcp.OutputAll)
		}
		return n, nil
	}
	n, err := c.tc.Read(now, p)
	switch {
	case n > 0:
		c.drive(now, tcp.OutputAll)
		return n, nil
	case err == nil:
		if c.told() {
			return 0, c.takeError()
		}
		return 0, syscall.EAGAIN
	case err == io.EOF:
		return 0, io.EOF
	}
	if errno := c.takeError(); errno != 0 {
		return 0, errno
	}
	return 0, io.EOF
}

// tryWrite is Write without waiting.
func (c *TCPConn) tryWrite(p []byte, mode writeMode) (int, error) {
	c.lock()
	defer c.unlock()
	if err := c.gone(); err != nil {
		return 0, err
	}
	if c.tc.Opening() {
		return 0, syscall.EAGAIN
	}
	if c.tc.FastDeferred() {
		now := c.at(c.st.clk.Now())
		n := c.tc.FastWrite(now, p)
		c.drive(now, tcp.OutputAll)
		if n == 0 {
			return 0, syscall.EINPROGRESS
		}
		return n, nil
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.told() {
		return 0, c.takeError()
	}
	total := 0
	var err error
	for total < len(p) && err == nil {
		now := c.at(c.st.clk.Now())
		c.tc.SetMore(mode.more)
		var n int
		n, err = c.tc.Write(now, p[total:])
		if n == 0 {
			break
		}
		// What is sent at once may make room for more below a bound of unsent bytes.
		if total += n; mode.urgent && total == len(p) {
			c.tc.MarkUrgent()
		}
		if mode.record && total == len(p) {
			c.tc.EndRecord()
		}
		c.drive(now, tcp.OutputAll)
	}
	switch {
	case total > 0:
		return total, nil
	case err == nil:
		return 0, syscall.EAGAIN
	case err == tcp.ErrWriteClosed:
		return 0, syscall.EPIPE
	}
	// A reset that follows the peer's FIN says that nobody reads there any more.
	broken := err == tcp.ErrReset && !c.readShut && c.tc.ReadErr() == io.EOF
	if errno := c.takeError(); errno != 0 && !broken {
		return 0, errno
	}
	return 0, syscall.EPIPE
}

// closeNow is Close that does not linger.
func (c *TCPConn) closeNow() {
	c.lock()
	if c.options().linger > 0 {
		c.changeOptions().linger = -1
	}
	c.unlock()
	c.Close()
}

// tryReceive is receive without waiting; take removes the datagram.
func (c *UDPConn) tryReceive(p []byte, take bool) (n, whole int, from netip.AddrPort, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, 0, from, errClosed
	}
	if errno := c.takePending(); errno != 0 {
		return 0, 0, from, errno
	}
	if c.n == 0 {
		return 0, 0, from, syscall.EAGAIN
	}
	d := c.queue[c.head]
	n = copy(p, d.mem.b[:d.n])
	if take {
		c.pop()
		c.st.mem.putSlab(d.mem)
	}
	return n, d.n, d.from, nil
}
