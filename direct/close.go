package direct

import (
	"sync"
	"time"
)

// drain counts the connections that the stack waits for while it is being closed.
type drain struct {
	over func(*TCPConn) bool // whether a connection is no longer waited for; its transmitter rests
	mu   sync.Mutex
	left int
	all  chan struct{} // closed when none is left
}

func (d *drain) add() {
	d.mu.Lock()
	d.left++
	d.mu.Unlock()
}

func (d *drain) done() {
	d.mu.Lock()
	d.left--
	if d.left == 0 {
		close(d.all)
	}
	d.mu.Unlock()
}

// Close ends the stack. Listeners stop, and connections that nobody accepted are
// reset, as are those that the application has not closed. Those that it has get
// up to Config.CloseTimeout to deliver what was written, and the FIN behind it; the
// rest are reset. Then the devices are closed. When Close returns, nothing of the
// stack runs any more. A second Close waits for the first and returns net.ErrClosed.
func (s *Stack) Close() error {
	if s.ending.Swap(true) {
		<-s.closed
		return errClosed
	}
	close(s.closing)
	for _, l := range s.listeners.all() {
		l.Close()
	}
	s.udpSockets.closeAll()
	s.drainConns()
	// What is left delivered nothing within its time.
	for _, c := range s.conns.all() {
		c.abortUndelivered()
	}
	// A reset is left to the connection's transmitter where that is at work, inside the
	// device's Write perhaps: it has to come back before the device is gone.
	s.await(closeGrace, func(c *TCPConn) bool { return !c.sending })
	s.cancel()
	var first error
	for _, p := range s.devices {
		if err := p.dev.Close(); err != nil && first == nil {
			first = err
		}
	}
	s.background.close()
	s.timers.close()
	s.fragments.close()
	for _, ifc := range s.ifaces {
		ifc.forgetNeighbors()
	}
	s.forgetAll()
	close(s.closed)
	return first
}

// closeGrace is how long Close waits, when everything is delivered, for peers that
// are about to close as well: nobody would acknowledge their FIN once we are gone. It is
// also how long a device may take over what it was given before it is closed.
const closeGrace = 200 * time.Millisecond

// drainConns resets the connections that the application holds and waits for the
// others: first until what was written is delivered, then briefly for the peers'
// ends.
func (s *Stack) drainConns() {
	for _, c := range s.conns.all() {
		if !c.isClosed() {
			c.abort()
		}
	}
	if s.cfg.CloseTimeout <= 0 {
		return
	}
	delivered := func(c *TCPConn) bool { return !c.closed || c.isDelivered() }
	if !s.await(s.cfg.CloseTimeout, delivered) {
		s.log.Warn("closing: some connections could not deliver what was written", "timeout", s.cfg.CloseTimeout)
	}
	s.await(min(closeGrace, s.cfg.CloseTimeout), func(c *TCPConn) bool {
		// The reset of an undelivered connection follows anyway.
		return c.left || !c.closed || !c.isDelivered()
	})
}

func (c *TCPConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// await waits until over holds for every connection, for at most d, and reports
// whether it does. over is called with the connection's lock held.
func (s *Stack) await(d time.Duration, over func(*TCPConn) bool) bool {
	w := &drain{left: 1, all: make(chan struct{}), over: over}
	for _, c := range s.conns.all() {
		c.lock()
		if !over(c) {
			w.add()
			c.drain = w
		}
		c.unlock()
	}
	w.done()
	t := time.NewTimer(d)
	defer t.Stop()
	// Without receivers of our own, what the peers say is polled for here.
	var tick <-chan time.Time
	if s.cfg.Manual {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-w.all:
			return true
		case <-tick:
			s.Poll(s.clk.Now())
		case <-t.C:
			return false
		}
	}
}

// abortUndelivered resets the connection unless the peer has acknowledged all that
// the application wrote before it closed: a reset could make the peer lose what it
// has not read yet.
func (c *TCPConn) abortUndelivered() {
	c.lock()
	done := c.closed && c.isDelivered()
	c.unlock()
	if !done {
		c.abort()
	}
}

// forgetAll drops the records that are left. Nobody receives or expires any more.
func (s *Stack) forgetAll() {
	for _, e := range s.table.all() {
		switch r := e.kind.(type) {
		case *timeWait:
			r.mu.Lock()
			r.remove()
			r.mu.Unlock()
		case *halfOpen:
			r.end()
		}
	}
	for _, c := range s.conns.all() {
		c.lock()
		c.stackClosed = true
		if !c.left {
			c.leave(nil)
		}
		c.conclude(s.clk.Now())
		c.unlock()
	}
}
