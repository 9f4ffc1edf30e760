package direct

import "github.com/netduet/netduet/tcp"

// Readiness is what can be done with a socket without waiting, as poll(2) tells it.
type Readiness uint8

const (
	// ReadyIn: there is something to read or accept, or the end is known (POLLIN).
	ReadyIn Readiness = 1 << iota
	// ReadyOut: there is room to write, or writing fails (POLLOUT).
	ReadyOut
	// ReadyErr: an error is pending (POLLERR).
	ReadyErr
	// ReadyHup: both directions have ended (POLLHUP).
	ReadyHup
	// ReadyRdHup: the peer sends no more, or reading was shut down (POLLRDHUP).
	ReadyRdHup
	// ReadyPri: there is urgent data (POLLPRI).
	ReadyPri
)

// unlock releases c.mu, and then tells who asked to be told that something has
// changed.
func (c *TCPConn) unlock() {
	var f func()
	if c.changed && c.notify != nil {
		c.changed, f = false, c.notify
	}
	if c.released {
		c.retire()
	}
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// setNotify has f called from now on; see Socket.Notify. It reports whether something
// has changed before that nobody was told.
func (c *TCPConn) setNotify(f func()) (missed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	missed = c.changed
	c.notify, c.changed = f, false
	return missed
}

// ready returns the connection's readiness.
func (c *TCPConn) ready() (r Readiness) {
	c.lock()
	defer c.unlock()
	state := c.tc.State()
	in := c.readShut || c.tc.ReadErr() != nil
	out := state != tcp.StateEstablished && state != tcp.StateCloseWait &&
		state != tcp.StateSynSent && state != tcp.StateSynReceived || c.shutWrite
	if in {
		r |= ReadyIn | ReadyRdHup
	}
	if state == tcp.StateClosed || in && out {
		r |= ReadyHup
	}
	if !c.tc.Opening() {
		if c.tc.ReadReady() {
			r |= ReadyIn
		}
		if out || !c.tc.Unwritable() {
			r |= ReadyOut
		}
		if c.tc.UrgentPending() {
			r |= ReadyPri
		}
	}
	if c.tc.Err() != nil && !c.errTaken || c.told() {
		r |= ReadyErr
	}
	return r
}

// ready returns the listener's readiness.
func (l *TCPListener) readiness() (r Readiness) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		r |= ReadyIn
	}
	return r
}

// setNotify has f called from now on; see Socket.Notify.
func (l *TCPListener) setNotify(f func()) {
	l.mu.Lock()
	l.notify = f
	l.mu.Unlock()
}

// unlock releases c.mu, and then tells of what has changed.
func (c *UDPConn) unlock() {
	var f func()
	if c.changed {
		c.changed, f = false, c.notify
	}
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

func (c *UDPConn) setNotify(f func()) {
	c.mu.Lock()
	c.notify = f
	c.mu.Unlock()
}

// ready returns the socket's readiness: datagrams always find room.
func (c *UDPConn) ready() Readiness {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := ReadyOut
	if c.n > 0 {
		r |= ReadyIn
	}
	if c.pending != 0 {
		r |= ReadyErr
	}
	return r
}
