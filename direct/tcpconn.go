package direct

import (
	"errors"
	"io"
	"net"
	"os"
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

// drive follows every call of the state machine: it sends what there is to send,
// passes events on and arms the timer. c.mu is held, and released while the device
// writes.
func (c *TCPConn) drive(now clock.Time, mode tcp.OutputMode) {
	now = c.at(now)
	c.output(now, mode)
	c.settle(now, mode)
}

// output is the transmitter: see the package documentation.
func (c *TCPConn) output(now clock.Time, mode tcp.OutputMode) {
	if c.sending {
		c.again = true
		return
	}
	if c.way.ifc.port.queue(int(c.queue)).crowded(c) {
		c.sending = true
		return
	}
	tb := c.st.getBatch()
	for more := true; more; {
		c.way.ip = c.options().ip
		c.tc.Output(now, tb.segs, mode)
		if len(tb.segs.Segments) == 0 {
			break
		}
		c.sending, c.again = true, false
		progress := c.progress
		c.progress = false
		tb.conn = c
		q := c.way.ifc.port.queue(int(c.queue))
		c.mu.Unlock()
		p := c.path()
		taken := c.st.transmit(tb, &p, now, &c.hop, progress, q)
		c.way.id = p.id
		c.lock()
		if !taken {
			return // tb is the stall's, and resumed goes on
		}
		c.tc.Sent(now)
		c.sending = false
		more = tb.segs.Full() || c.again
		tb.reset(c.st)
		if c.again {
			// What others left may not be held back.
			now, mode = c.at(c.st.clk.Now()), tcp.OutputAll
		}
	}
	c.st.putBatch(tb)
}

// admitted goes on after the connection has waited for its turn. No lock is held.
func (c *TCPConn) admitted() {
	c.lock()
	defer c.unlock()
	c.sending = false
	c.drive(c.st.clk.Now(), tcp.OutputAll)
}

// path is the way of the connection's packets with its ends.
func (c *TCPConn) path() path { return path{way: c.way, src: c.local, dst: c.remote} }

// resumed goes on after the device has taken the rest of tb. No lock is held.
func (c *TCPConn) resumed(tb *txBatch) {
	c.lock()
	defer c.unlock()
	now := c.at(c.st.clk.Now())
	c.tc.Sent(now)
	c.sending = false
	tb.reset(c.st)
	c.st.putBatch(tb)
	c.drive(now, tcp.OutputAll)
}

// settle passes on what happened, and ends the connection if it has ended. The
// latter waits for the last Output: until then the transmitter is at work, or ACKs
// are held back, and whoever does that Output comes here again. c.mu is held.
func (c *TCPConn) settle(now clock.Time, mode tcp.OutputMode) {
	ev := c.tc.Events()
	if ev != 0 {
		c.changed = true
	}
	if ev&(tcp.EventReadable|tcp.EventError|tcp.EventClosed) != 0 {
		c.wakeReader()
	}
	if ev&(tcp.EventWritable|tcp.EventEstablished|tcp.EventError|tcp.EventClosed) != 0 {
		c.writable.wake()
	}
	c.over |= ev & (tcp.EventClosed | tcp.EventTimeWait)
	if !c.sending && (mode == tcp.OutputAll || !c.tc.AckOwed()) {
		c.conclude(now)
	}
	if !c.left {
		c.arm(now)
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
		n, err := c.tc.Write(now, p[total:])
		if err != nil {
			return total, c.writeError(err)
		}
		total += n
		if n > 0 {
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
