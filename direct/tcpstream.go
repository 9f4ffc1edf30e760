package direct

import (
	"io"
	"os"
	"syscall"
	"time"

	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/tcp"
)

// Read implements net.Conn. After a reset by the peer it returns what had arrived,
// then the reason once, then io.EOF, as Linux does.
func (c *TCPConn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if err != nil && err != io.EOF {
		err = c.failed(netapi.OpRead, err)
	}
	return n, err
}

// A goroutine blocked here stands on the smallest stack that the runtime has, 2 KiB,
// unless it has needed more before: what is called while nothing has arrived must not
// have large frames.
func (c *TCPConn) read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.unlock()
	if err := c.gone(); err != nil {
		return 0, err
	}
	c.readTurn.acquire(&c.mu)
	defer c.readTurn.release()
	for {
		if err := c.gone(); err != nil {
			return 0, err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if expired(c.readDeadline) {
			return 0, os.ErrDeadlineExceeded
		}
		if c.tc == nil && c.rest.Silent() {
			if n := c.await(p); n > 0 {
				return n, nil
			}
			continue
		}
		c.awake()
		if c.tc.ReadableBytes() > 0 { // the time matters to nothing else
			c.at(c.st.clk.Now())
		}
		n, err := c.tc.Read(c.latest, p)
		if n > 0 {
			c.drained()
			return n, nil
		}
		if err == io.EOF {
			return 0, io.EOF
		}
		if err != nil {
			return 0, c.readError(err)
		}
		if n := c.await(p); n > 0 {
			return n, nil
		}
	}
}

// await waits for something to read, and returns what has gone straight to p. c.mu
// is held, and released meanwhile.
func (c *TCPConn) await(p []byte) int {
	c.into = p
	c.waitOrLead()
	n := len(p) - len(c.into)
	c.into = nil
	if n > 0 {
		c.awake()
		if n < len(p) && !c.tc.AtMark() { // more may have come before the goroutine ran
			m, _ := c.tc.Read(c.latest, p[n:])
			n += m
		}
		c.drained()
	}
	return n
}

// drained sends the window update that reading may have made due. What else is owed
// is left to the receiver while that holds ACKs back. c.mu is held.
func (c *TCPConn) drained() {
	switch {
	case !c.tc.AckOwed():
		c.arm(c.latest) // it may be time for a rest from now on
	case c.held == heldNow:
		// The receiver looks at it at the end of its round. What the application answers
		// until then carries the ACK.
	case c.held == heldOn:
		c.drive(c.latest, tcp.OutputHoldBulk)
	default:
		c.drive(c.latest, tcp.OutputAll)
	}
}

// readError is what Read returns of the reason err why there is no more. c.mu is
// held.
func (c *TCPConn) readError(err error) error {
	if c.errTaken {
		return io.EOF
	}
	c.errTaken = true
	return netapi.Syscall(netapi.CallRead, errnoOf(err))
}

// wait waits for w or the deadline. c.mu is held, and released meanwhile. Setting a
// deadline wakes whoever waits, so that without one there is nothing but w to wait
// for.
func (c *TCPConn) wait(w *waiter, d *netapi.Deadline) {
	ch := w.prepare(c.st)
	c.st.recall()
	c.unlock()
	if d == nil || d.None() {
		<-ch
	} else {
		select {
		case <-ch:
		case <-d.Wait():
		}
	}
	c.mu.Lock()
	w.done(c.st, ch)
}

// Write implements net.Conn. It returns once everything is in the send buffer.
func (c *TCPConn) Write(p []byte) (int, error) {
	n, err := c.write(p)
	if err != nil {
		err = c.failed(netapi.OpWrite, err)
	}
	return n, err
}

func (c *TCPConn) write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.unlock()
	if err := c.gone(); err != nil {
		return 0, err
	}
	c.writeTurn.acquire(&c.mu)
	defer c.writeTurn.release()
	total := 0
	for {
		if err := c.gone(); err != nil {
			return total, err
		}
		if expired(c.writeDeadline) {
			return total, os.ErrDeadlineExceeded
		}
		c.awake()
		now := c.at(c.st.clk.Now())
		fast := c.tc.FastDeferred()
		if fast {
			total += c.tc.FastWrite(now, p[total:])
		}
		n, err := c.tc.Write(now, p[total:])
		if err != nil {
			return total, c.writeError(err)
		}
		total += n
		if n > 0 || fast {
			c.drive(now, tcp.OutputAll)
		}
		if total == len(p) {
			return total, nil
		}
		if n == 0 {
			c.wait(&c.writable, c.writeDeadline)
		}
	}
}

// writeError is what Write returns of the reason err why nothing is taken. c.mu is
// held.
func (c *TCPConn) writeError(err error) error {
	// A reset that follows the peer's FIN says that nobody reads there any more.
	ended := err == tcp.ErrReset && !c.readShut && c.tc.ReadErr() == io.EOF
	if err == tcp.ErrWriteClosed || c.errTaken || ended {
		return netapi.Syscall(netapi.CallWrite, syscall.EPIPE)
	}
	c.errTaken = true
	return netapi.Syscall(netapi.CallWrite, errnoOf(err))
}

// Close implements net.Conn. What was written is delivered in the background, as
// far as SetLinger does not say otherwise; bytes that were not read reset the
// connection.
func (c *TCPConn) Close() error {
	c.lock()
	defer c.unlock()
	if c.closed {
		return c.endpoint().Close(errClosed)
	}
	c.closed = true
	c.st.recall()
	c.wakeReader()
	c.writable.wake()
	now := c.at(c.st.clk.Now())
	linger := c.options().linger
	if linger == 0 {
		c.tc.Abort(now)
	} else {
		c.tc.Close(now)
	}
	c.drive(now, tcp.OutputAll)
	if linger > 0 && !c.isDelivered() {
		c.lingering(time.Duration(linger) * time.Second)
	}
	return nil
}

// lingering waits until everything is delivered, for at most d. c.mu is held, and
// released meanwhile.
func (c *TCPConn) lingering(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for !c.isDelivered() {
		ch := c.delivered.prepare(c.st)
		c.st.recall()
		c.unlock()
		late := false
		select {
		case <-ch:
		case <-t.C:
			late = true
		}
		c.lock()
		c.delivered.done(c.st, ch)
		if late {
			return
		}
	}
}

// CloseWrite sends FIN after what was written; reading goes on.
func (c *TCPConn) CloseWrite() error {
	c.lock()
	defer c.unlock()
	if err := c.shutdownErr(); err != nil {
		return c.endpoint().Close(err)
	}
	now := c.at(c.st.clk.Now())
	c.shutWrite = true
	c.tc.CloseWrite(now)
	c.drive(now, tcp.OutputAll)
	return nil
}

// CloseRead makes Read return io.EOF; the peer is not told.
func (c *TCPConn) CloseRead() error {
	c.lock()
	defer c.unlock()
	if err := c.shutdownErr(); err != nil {
		return c.endpoint().Close(err)
	}
	now := c.at(c.st.clk.Now())
	c.readShut = true
	c.tc.CloseRead(now)
	c.drive(now, tcp.OutputAll)
	return nil
}

// shutdownErr is why shutdown(2) would fail. c.mu is held.
func (c *TCPConn) shutdownErr() error {
	if err := c.gone(); err != nil {
		return err
	}
	switch c.tc.State() {
	case tcp.StateClosed, tcp.StateTimeWait: // as Linux, whose socket has no connection any more
		return netapi.Syscall(netapi.CallShutdown, syscall.ENOTCONN)
	}
	return nil
}
