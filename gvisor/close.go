package gvisor

import (
	"net"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// closeGrace is how long Close waits, when everything is delivered, for peers that
// are about to close as well: nobody would acknowledge their FIN once we are gone.
const closeGrace = 200 * time.Millisecond

// Close ends the stack. Listeners stop, and connections that nobody accepted are
// reset, as are those that the application has not closed. Those that it has get
// up to Config.CloseTimeout to deliver what was written, and the FIN behind it; the
// rest are reset. Then the devices are closed. When Close returns, nothing of the
// stack runs any more. A second Close waits for the first and returns net.ErrClosed.
func (s *Stack) Close() error {
	s.mu.Lock()
	if s.ending {
		s.mu.Unlock()
		<-s.closed
		return net.ErrClosed
	}
	s.ending = true
	s.mu.Unlock()
	close(s.closing)
	s.calls.Wait() // nothing is made any more

	s.endSockets()
	s.drain()
	// What is left delivered nothing within its time. Where only the peer's end is
	// missing, a reset could make it lose what it has not read yet.
	for _, ep := range s.endpoints() {
		if !delivered(ep) {
			ep.Abort()
		}
	}
	s.cancel()
	close(s.silent)
	for _, p := range s.ports {
		for _, q := range p.queues {
			q.close()
		}
	}
	s.background.Wait()
	s.net.Destroy()
	var first error
	for _, p := range s.ports {
		if err := p.dev.Close(); err != nil && first == nil {
			first = err
		}
	}
	close(s.closed)
	return first
}

// endSockets closes listeners and UDP sockets, and resets the connections that the
// application holds.
func (s *Stack) endSockets() {
	s.mu.Lock()
	var ends []func()
	for l := range s.listeners {
		ends = append(ends, func() { l.Close() })
	}
	for c := range s.udp {
		ends = append(ends, func() {
			if c.end(true) {
				c.ep.Close()
			}
		})
	}
	for c := range s.conns {
		ends = append(ends, c.abort)
	}
	s.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

// forget takes a connection out of those that the application holds.
func (s *Stack) forget(c *TCPConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// endpoints returns the TCP endpoints that gVisor still knows.
func (s *Stack) endpoints() []*tcp.Endpoint {
	var list []*tcp.Endpoint
	for _, e := range s.net.RegisteredEndpoints() {
		if t, ok := e.(*tcp.Endpoint); ok {
			list = append(list, t)
		}
	}
	return list
}

// drain waits until what was written before the application closed is delivered,
// then briefly for the peers' ends.
func (s *Stack) drain() {
	if s.cfg.CloseTimeout <= 0 {
		return
	}
	none := func(busy func(*tcp.Endpoint) bool) func() bool {
		return func() bool {
			for _, ep := range s.endpoints() {
				if busy(ep) {
					return false
				}
			}
			return true
		}
	}
	if !await(s.cfg.CloseTimeout, none(func(ep *tcp.Endpoint) bool { return !delivered(ep) })) {
		s.log.Warn("closing: some connections could not deliver what was written", "timeout", s.cfg.CloseTimeout)
	}
	await(min(closeGrace, s.cfg.CloseTimeout), none(func(ep *tcp.Endpoint) bool {
		return stateOf(ep) == tcp.StateFinWait2
	}))
}

// close makes the queue drop what it is asked to send.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}
