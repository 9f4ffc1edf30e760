package direct

import (
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/tcp"
)

// A connection's state machine, which is large, exists only while something happens
// on the connection. After half a second of silence, when nothing is buffered or in
// flight, the connection keeps a tcp.Rest, and the machine serves another one.

// lock locks c.mu and sees to it that there is a c.tc. Who wants neither c.tc nor
// c.rest can lock c.mu itself.
func (c *TCPConn) lock() {
	c.mu.Lock()
	c.awake()
}

// awake ends the connection's rest. c.mu is held.
func (c *TCPConn) awake() {
	if c.tc != nil {
		return
	}
	c.tc = c.st.getCore()
	if !c.released {
		c.st.mem.charge(coreCharge, true)
	}
	c.tc.Wake(&c.rest, c.st.mem)
	c.rest = tcp.Rest{}
	if !c.left {
		// Whoever wakes it may do nothing, as Info does.
		c.timer.want(c.at(c.st.clk.Now()).Add(restAgain))
	}
}

// restAgain is how long after it was woken, or refused to rest, a connection is
// looked at again.
const restAgain = 500 * time.Millisecond

// settleDown has the connection rest if it is time for that, and arms the timer.
// c.mu is held.
func (c *TCPConn) settleDown(now clock.Time) {
	if c.tc != nil && !c.sending && !c.touched && c.held == heldNot && c.over == 0 && c.tc.RestAt() <= now && c.tc.Rest(now, &c.rest) {
		c.st.putCore(c.tc)
		c.tc = nil
		c.st.mem.credit(coreCharge)
	}
	c.arm(now)
}

// arm sets the timer for what comes next: a timer of the state machine's, or its rest.
// c.mu is held.
func (c *TCPConn) arm(now clock.Time) {
	at := c.deadline()
	if c.tc != nil {
		at = min(at, max(c.tc.RestAt(), now.Add(restAgain)))
	}
	c.timer.want(at)
}

// deadline returns when the state machine wants to be told the time.
func (c *TCPConn) deadline() clock.Time {
	if c.tc == nil {
		return c.rest.Deadline()
	}
	return c.tc.Deadline()
}

// retire gives the state machine of a connection back that is over for the
// application and for the network. c.mu is held.
func (c *TCPConn) retire() {
	// It was released, and is accounted for no more.
	if c.tc != nil && !c.sending && !c.touched && c.held == heldNot && c.tc.Rest(c.latest, &c.rest) {
		c.st.putCore(c.tc)
		c.tc = nil
	}
}

// getCore returns a state machine for one connection. It is accounted for, with
// coreCharge, until forgetConn.
func (s *Stack) getCore() *tcp.Conn {
	if c, ok := s.cores.Get().(*tcp.Conn); ok {
		return c
	}
	return new(tcp.Conn)
}

// putCore takes a state machine back, which is as after Reset.
func (s *Stack) putCore(c *tcp.Conn) { s.cores.Put(c) }

// networkName is the name of a network of TCP, in one byte.
type networkName uint8

const (
	networkTCP networkName = iota
	networkTCP4
	networkTCP6
)

func nameNetwork(s string) networkName {
	switch s {
	case "tcp4":
		return networkTCP4
	case "tcp6":
		return networkTCP6
	}
	return networkTCP
}

func (n networkName) String() string { return [...]string{"tcp", "tcp4", "tcp6"}[n] }

// endpoint names the connection in errors. It is made when it is needed first, and
// not inlined, which would have every Read and Write pay for it with a larger stack.
// It is kept, as net/http has a Read fail for each request.
//
//go:noinline
func (c *TCPConn) endpoint() *netapi.Endpoint {
	ep := c.ep.Load()
	if ep == nil {
		e := endpoint("tcp", c.network.String(), c.flow)
		ep = &e
		c.ep.Store(ep)
	}
	return ep
}

// failed wraps the cause of a failed op; it is not inlined either.
//
//go:noinline
func (c *TCPConn) failed(op string, err error) error {
	ep := c.endpoint()
	if op == netapi.OpRead {
		return ep.Read(err)
	}
	return ep.Write(err)
}

// options returns what the application has set. It is not to be changed, as other
// connections may share it. c.mu is held.
func (c *TCPConn) options() *tcpOptions { return c.opt }

// changeOptions returns the options of this connection alone. c.mu is held.
func (c *TCPConn) changeOptions() *tcpOptions {
	if !c.ownOptions {
		own := *c.opt
		c.opt, c.ownOptions = &own, true
	}
	return c.opt
}
