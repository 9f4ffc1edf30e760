package direct

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/tcp"
)

// TCPConn is a TCP connection. It has the methods of *net.TCPConn except
// SyscallConn, File and MultipathTCP, with the same defaults and errors, and is
// safe for concurrent use: reads are served one after the other, and so are writes,
// each whole.
type TCPConn struct {
	entry
	st *Stack

	mu     sync.Mutex
	tc     *tcp.Conn  // nil while the connection rests; see lock
	rest   tcp.Rest   // what there is of it then
	latest clock.Time // what tc was last told; see at
	timer  timer

	// The transmitter. Whoever finds sending set leaves its work to the one who set
	// it, and sets again. The fields behind sending belong to the transmitter, lock or
	// not.
	sending, again bool
	way            way
	hop            hopCache
	progress       bool  // the peer has acknowledged something since hop was looked up
	queue          int32 // transmit hint: the queue that the peer's segments arrive on

	over     tcp.Events // EventClosed or EventTimeWait has come
	touched  bool       // in a receiver's list
	held     holding    // a receiver sees to the ACKs that are owed
	parked   bool       // a Read waits for frames of the queue that it leads
	left     bool       // no longer in the table
	released bool       // buffers and accounting are given back
	dialed   bool       // holds a port among the dialled ones

	// The application.
	closed      bool // Close was called
	stackClosed bool // the stack was closed
	readShut    bool // CloseRead was called
	errTaken    bool // the reason of the end was reported once
	ownOptions  bool // opt is not shared with others
	changed     bool // notify is to be called
	shutWrite   bool // CloseWrite was called
	network     networkName
	opt         *tcpOptions // see options
	notify      func()      // see Socket.Notify
	into        []byte      // what is left of the buffer that a Read waits with
	leads       *queue      // may be polled by a Read; see lead
	readTurn    turn
	writeTurn   turn
	readable    waiter
	writable    waiter
	delivered   waiter // Close with a linger time
	drain       *drain // Stack.Close

	readDeadline, writeDeadline *netapi.Deadline                // nil: never set
	ep                          atomic.Pointer[netapi.Endpoint] // see endpoint

	prev, next *TCPConn // guarded by connList
}

// errClosed is what operations on closed connections and stacks fail with.
var errClosed = net.ErrClosed

func defaultKeepAlive() tcp.KeepAlive {
	// The defaults of package net, whatever the system's.
	return tcp.KeepAlive{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 9}
}

// tcpConfig returns what a connection along p is made with.
func (s *Stack) tcpConfig(p *path, f *flow, o *tcpOptions) tcp.Config {
	cfg := *s.tcp.Load()
	cfg.LocalPort, cfg.RemotePort = f.localPort, f.remotePort
	cfg.MSS = s.mtu(p) - ipTCPHeaders
	cfg.MaxGSO, cfg.Memory = 0, s.mem
	if p.ifc.tso() {
		cfg.MaxGSO = 65535 - ipTCPHeaders - (tcp.MaxHeaderLen - tcp.HeaderLen)
	}
	o.config(&cfg)
	return cfg
}

// ipTCPHeaders is the length of the IP and TCP headers without options.
const ipTCPHeaders = 40

// at returns the time to tell the state machine when the caller's clock said now:
// the receiver reads the clock once per round, so that a writer may have told a
// later time meanwhile, and time must not step back. c.mu is held.
func (c *TCPConn) at(now clock.Time) clock.Time {
	c.latest = max(c.latest, now)
	return c.latest
}

// input implements tcpEndpoint.
func (c *TCPConn) input(rx *receiver, seg *tcp.Segment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return false
	}
	c.awake()
	c.queue = int32(rx.q.index)
	if c.touched && c.tc.OutputFirst(seg) {
		c.drive(rx.now, tcp.OutputAll)
		if c.left {
			return false
		}
		c.awake()
	}
	before := c.tc.UnackedBytes()
	if now := c.at(rx.now); len(c.into) == 0 {
		c.tc.Input(now, seg)
	} else {
		n := c.tc.InputInto(now, seg, c.into)
		c.into = c.into[n:]
	}
	if c.tc.UnackedBytes() < before {
		c.progress = true
	}
	rx.touch(c)
	return true
}

// icmpError implements tcpEndpoint.
func (c *TCPConn) icmpError(now clock.Time, seq tcp.Seq, e icmpError) {
	c.lock()
	defer c.unlock()
	if c.left {
		return
	}
	now = c.at(now)
	if e.mtu > 0 {
		if !c.options().ip.adapts() {
			return
		}
		if e.mtu >= c.way.ifc.mtu {
			return // it never was in our way
		}
		if c.tc.PacketTooBig(now, seq, max(e.mtu, minPathMTU)-ipTCPHeaders) {
			// The sequence number was one of ours: the message is believed for other
			// connections, too (RFC 5927, section 7).
			c.st.notePathMTU(now, c.remote, e.mtu)
		}
	} else {
		if c.tc.ICMPError(now, seq, e.errno) && c.told() {
			c.changed = c.notify != nil
		}
	}
	c.drive(now, tcp.OutputAll)
}

// expired implements expirer.
func (c *TCPConn) expired(now clock.Time) {
	c.mu.Lock()
	defer c.unlock()
	c.timer.armed = 0
	now = c.at(now)
	if c.deadline() <= now {
		if q := c.leads; q != nil && q.lead.reclaim(q) {
			// What it waits for may lie in the queue that nobody polled: look first, or a
			// probe is sent for nothing.
			c.timer.want(now.Add(leadTick))
			return
		}
		c.awake()
		c.tc.Timeout(now)
		c.drive(now, tcp.OutputAll)
		return
	}
	if !c.left {
		c.settleDown(now)
	}
}

// conclude does what the end of a connection asks for, and tells those who wait for
// it. c.mu is held.
func (c *TCPConn) conclude(now clock.Time) {
	if !c.left {
		switch {
		case c.over&tcp.EventClosed != 0:
			c.leave(nil)
		case c.over&tcp.EventTimeWait != 0:
			c.leave(c.st.newTimeWait(c, now))
		}
	}
	if c.closed && c.isDelivered() {
		c.delivered.wake()
	}
	if c.drain != nil && c.drain.over(c) {
		c.drain.done()
		c.drain = nil
	}
	if c.left {
		c.timer.stop()
		if (c.closed || c.stackClosed) && !c.released {
			c.released = true
			c.tc.Release()
			c.st.forgetConn(c)
			stopDeadline(c.readDeadline)
			stopDeadline(c.writeDeadline)
		}
	}
}

// isDelivered reports whether the peer has acknowledged all that the application
// wrote and the FIN behind it, or never will.
func (c *TCPConn) isDelivered() bool {
	if c.left {
		return true
	}
	switch c.tc.State() {
	case tcp.StateFinWait2, tcp.StateTimeWait, tcp.StateClosed:
		return true
	}
	return false
}

// leave takes the connection out of the table, for tw if that is not nil. c.mu is
// held.
func (c *TCPConn) leave(tw *timeWait) {
	c.left = true
	if tw != nil {
		c.st.table.swap(&c.entry, &tw.entry)
		tw.start()
	} else {
		c.st.table.remove(&c.entry)
		c.st.listeners.vacate(&c.flow)
	}
	if c.dialed {
		c.dialed = false
		c.st.listeners.releaseDialed(c.localAddr())
	}
}

// errnoOf returns what the application sees of the reason why a connection ended.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno
	case err == tcp.ErrRefused:
		return syscall.ECONNREFUSED
	case err == tcp.ErrTimeout:
		return syscall.ETIMEDOUT
	case err == tcp.ErrAborted:
		return syscall.ECONNABORTED
	case err == tcp.ErrWriteClosed, err == tcp.ErrBroken:
		return syscall.EPIPE
	}
	return syscall.ECONNRESET
}

// gone returns net.ErrClosed after Close. c.mu is held.
func (c *TCPConn) gone() error {
	if c.closed || c.stackClosed {
		return errClosed
	}
	return nil
}

// LocalAddr implements net.Conn; the result is a *net.TCPAddr.
func (c *TCPConn) LocalAddr() net.Addr { return netapi.Addr("tcp", c.localAddr()) }

// RemoteAddr implements net.Conn; the result is a *net.TCPAddr.
func (c *TCPConn) RemoteAddr() net.Addr { return netapi.Addr("tcp", c.remoteAddr()) }

// abort resets the connection because the stack ends or because nobody will accept
// it. No lock is held.
func (c *TCPConn) abort() {
	c.lock()
	defer c.unlock()
	now := c.at(c.st.clk.Now())
	c.stackClosed = true
	c.wakeReader()
	c.writable.wake()
	c.tc.Abort(now)
	c.drive(now, tcp.OutputAll)
}

// Info returns the connection's figures, those of Linux's TCP_INFO and more.
func (c *TCPConn) Info() tcp.Info {
	c.lock()
	defer c.unlock()
	return c.tc.Info()
}
