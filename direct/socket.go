package direct

import (
	"errors"
	"net/netip"
	"sync"
	"syscall"

	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/tcp"
)

// Socket is the socket beneath a net.Conn: made by Socket, bound, given options,
// connected or listened with, one step at a time and never waiting. It is for
// programs with an event loop of their own, and for options that have to be there
// before a SYN leaves; everybody else wants Dial and Listen.
//
// What would wait fails with EAGAIN, Connect with EINPROGRESS; Ready tells when it
// is worth another try, and Notify that something has changed. Errors are bare
// syscall.Errno values, which are the same on every operating system as far as that
// has them, and net.ErrClosed after Close; the end of a stream is io.EOF.
//
// TCP has a state per socket as in Linux: fresh, bound, listening, connecting or
// connected, closed. Conn and Listener hand the same thing over to the blocking
// types; both may be used at once. A Socket is safe for concurrent use.
type Socket struct {
	st     *Stack
	stream bool

	// mu comes before the locks of what the socket is made of.
	mu     sync.Mutex
	opt    tcpOptions // until there is a connection or listener
	uopt   udpOptions // until there is a UDPConn
	addr   netip.AddrPort
	notify func()
	closed bool
	conn   *TCPConn
	ln     *TCPListener
	udp    *UDPConn
	// connected says that Connect has reported success, failed that it has reported the
	// failure.
	connected, failed bool
}

// Socket makes a socket for network, tcp, tcp4, udp or udp4. Its options are those
// of a fresh Linux socket, not package net's: Nagle's algorithm is on, keep-alive
// and broadcasts are off.
func (s *Stack) Socket(network string) (*Socket, error) {
	n, err := netapi.ParseNetwork(network)
	switch {
	case err != nil:
		return nil, err
	case n.Want == '6':
		return nil, syscall.EAFNOSUPPORT
	case s.ending.Load():
		return nil, errClosed
	}
	return &Socket{st: s, stream: n.TCP, opt: s.defaultOptions()}, nil
}

// enter locks the socket; its result fails after Close.
func (k *Socket) enter() error {
	k.mu.Lock()
	if k.closed || k.st.ending.Load() {
		k.mu.Unlock()
		return errClosed
	}
	return nil
}

// errnoIn returns the errno beneath err as an error of its own, or err.
func errnoIn(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	if errors.Is(err, errClosed) {
		return errClosed
	}
	return err
}

// Bind gives the socket its address; the zero address means all, port 0 a free one.
func (k *Socket) Bind(a netip.AddrPort) error {
	if err := k.enter(); err != nil {
		return err
	}
	defer k.mu.Unlock()
	if k.addr.IsValid() || k.conn != nil || k.ln != nil || k.udp != nil {
		return syscall.EINVAL
	}
	ip := a.Addr().Unmap()
	if !ip.IsValid() {
		ip = netip.IPv4Unspecified()
	}
	switch {
	case !ip.Is4():
		return syscall.EAFNOSUPPORT
	case !ip.IsUnspecified() && !k.st.isLocal(ip) && (k.stream || !k.st.isBroadcast(ip)):
		return syscall.EADDRNOTAVAIL
	}
	a = netip.AddrPortFrom(ip, a.Port())
	if !k.stream {
		return k.openUDP(a)
	}
	a, errno := k.st.listeners.bind(k, a, uint32(k.st.random()))
	if errno != 0 {
		return errno
	}
	k.addr = a
	return nil
}

// openUDP makes the unconnected UDP socket. k.mu is held.
func (k *Socket) openUDP(a netip.AddrPort) error {
	c, err := k.st.listenUDP("udp", netapi.Bind{Addr: a, Asked: a, Families: k.st.families()})
	if err != nil {
		return errnoIn(err)
	}
	k.adoptUDP(c)
	return nil
}

// adoptUDP makes c the socket's. k.mu is held.
func (k *Socket) adoptUDP(c *UDPConn) {
	c.mu.Lock()
	c.opt, c.notify = k.uopt, k.notify
	c.mu.Unlock()
	k.udp, k.addr = c, c.local
}

// Listen makes the socket listen; backlog bounds the connections that wait for
// Accept. On a listening socket it changes the bound.
func (k *Socket) Listen(backlog int) error {
	if err := k.enter(); err != nil {
		return err
	}
	defer k.mu.Unlock()
	// As Linux counts: the queue is full when it holds more than the backlog.
	backlog = min(max(backlog, 0), listenBacklog-1) + 1
	switch {
	case !k.stream:
		return syscall.EOPNOTSUPP
	case k.conn != nil:
		return syscall.EINVAL
	case k.ln != nil:
		k.ln.mu.Lock()
		k.ln.backlog = backlog
		k.ln.mu.Unlock()
		return nil
	}
	a := k.addr
	if !a.IsValid() {
		a = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	if !k.st.background.enter() {
		return errClosed
	}
	defer k.st.background.leave()
	l := k.st.newListener("tcp", a, backlog, k.opt)
	l.notify = k.notify
	if errno := k.st.listeners.add(l, uint32(k.st.random()), k); errno != 0 {
		return errno
	}
	k.ln, k.addr = l, l.addr
	return nil
}

// Connect begins to connect to raddr. On a stream socket it returns EINPROGRESS;
// once the socket is ready for writing another Connect, or SO_ERROR, tells the
// outcome. Meanwhile it is EALREADY, afterwards EISCONN.
//
// With TCP_FASTOPEN_CONNECT and a cookie of the server's it returns nil at once, and the
// SYN leaves with the data of the first Write (RFC 7413).
func (k *Socket) Connect(raddr netip.AddrPort) error {
	return k.connect(raddr, nil)
}

// WriteFastOpen is Connect and Write in one, as sendto(2) with MSG_FASTOPEN: the SYN
// carries as much of p as fits, if a cookie of the server's is there, and otherwise asks
// for one (RFC 7413). It returns how much of p was taken, or EINPROGRESS if nothing was:
// the rest is to be written once the socket is ready. The data may reach the server's
// application more than once (section 2.1).
func (k *Socket) WriteFastOpen(p []byte, raddr netip.AddrPort) (int, error) {
	if err := k.enter(); err != nil {
		return 0, err
	}
	c := k.conn
	k.mu.Unlock()
	if !k.stream || k.st.tcp.Load().FastOpen.NoClient {
		return 0, syscall.EOPNOTSUPP
	}
	if c != nil && c.deferred() {
		return c.tryWrite(p, writeMode{})
	}
	fast := fastDial{data: p}
	err := k.connect(raddr, &fast)
	if err == syscall.EINPROGRESS && fast.taken > 0 {
		return fast.taken, nil
	}
	if err == nil {
		// The connection is there, and nobody had asked for it yet.
		return k.Write(p)
	}
	return 0, err
}

// deferred reports whether the SYN waits for data.
func (c *TCPConn) deferred() bool {
	c.lock()
	defer c.unlock()
	return c.tc.FastDeferred()
}

func (k *Socket) connect(raddr netip.AddrPort, fast *fastDial) error {
	if err := k.enter(); err != nil {
		return err
	}
	var missed func()
	defer func() {
		k.mu.Unlock()
		if missed != nil {
			missed()
		}
	}()
	raddr = netip.AddrPortFrom(raddr.Addr().Unmap(), raddr.Port())
	if !raddr.Addr().Is4() {
		return syscall.EAFNOSUPPORT
	}
	if raddr.Addr().IsUnspecified() {
		raddr = netip.AddrPortFrom(k.st.families().Loopback(), raddr.Port())
	}
	if !k.st.background.enter() {
		return errClosed
	}
	defer k.st.background.leave()
	switch {
	case !k.stream:
		return k.connectUDP(raddr)
	case k.ln != nil:
		return syscall.EISCONN
	case k.conn != nil:
		if err := k.connecting(); err != errEnded {
			return err
		}
		// As in Linux a socket whose connection has ended connects again.
		k.conn.setNotify(nil)
		k.conn.closeNow()
		k.conn, k.connected, k.failed, k.addr = nil, false, false, netip.AddrPort{}
	}
	local := k.addr
	if local.IsValid() && local.Addr().IsUnspecified() {
		local = netip.AddrPortFrom(netip.Addr{}, local.Port())
	}
	if fast == nil && k.opt.fastConnect && !k.st.tcp.Load().FastOpen.NoClient {
		fast = &fastDial{later: true}
	}
	c, _, errno := k.st.openTCP("tcp", local, raddr, k, fast)
	if errno != 0 {
		if errno == syscall.EADDRINUSE {
			errno = syscall.EADDRNOTAVAIL // the address was ours, and the connection exists
		}
		return errno
	}
	if c.setNotify(k.notify) {
		missed = k.notify // the peer was quicker
	}
	k.conn, k.addr = c, c.localAddr()
	if fast != nil && fast.later && c.deferred() {
		return nil
	}
	return syscall.EINPROGRESS
}

// errEnded is connecting's answer when the connection is a former one.
var errEnded = errors.New("direct: the connection has ended")

// connecting is what another Connect says. k.mu is held.
func (k *Socket) connecting() error {
	c := k.conn
	c.lock()
	defer c.unlock()
	switch c.tc.State() {
	case tcp.StateSynSent, tcp.StateSynReceived:
		return syscall.EALREADY
	case tcp.StateClosed:
		switch {
		case k.connected:
			return syscall.EISCONN // as Linux, whose socket stays with the connection that it had
		case k.failed:
			return errEnded
		}
		k.failed = true // and from now on it may try again
		if errno := c.takeError(); errno != 0 {
			return errno
		}
		return syscall.ECONNABORTED // the reason was told already
	}
	if !k.connected {
		k.connected = true
		return nil
	}
	return syscall.EISCONN
}

func (k *Socket) connectUDP(raddr netip.AddrPort) error {
	var local netip.AddrPort
	if k.udp != nil {
		local = k.udp.local
		k.udp.mu.Lock()
		k.uopt = k.udp.opt
		k.udp.mu.Unlock()
		k.udp.shut()
	}
	c, err := k.st.dialUDP("udp", local, raddr)
	if err != nil {
		if k.udp != nil {
			k.udp = nil
			if k.openUDP(local) != nil {
				k.closed = true
			}
		}
		return errnoIn(err)
	}
	k.adoptUDP(c)
	return nil
}

// Accept returns a connection that waits, as a connected Socket.
func (k *Socket) Accept() (*Socket, error) {
	if err := k.enter(); err != nil {
		return nil, err
	}
	l := k.ln
	k.mu.Unlock()
	if l == nil {
		if !k.stream {
			return nil, syscall.EOPNOTSUPP
		}
		return nil, syscall.EINVAL
	}
	l.mu.Lock()
	if len(l.queue) == 0 {
		l.mu.Unlock()
		return nil, syscall.EAGAIN
	}
	c := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.mu.Unlock()
	return &Socket{st: k.st, stream: true, conn: c, addr: c.localAddr(), connected: true}, nil
}

// parts returns what the socket is made of at present.
func (k *Socket) parts() (c *TCPConn, u *UDPConn, err error) {
	if err := k.enter(); err != nil {
		return nil, nil, err
	}
	defer k.mu.Unlock()
	return k.conn, k.udp, nil
}

// CloseWrite and CloseRead shut a direction down, as shutdown(2) does.
func (k *Socket) CloseWrite() error { return k.shutdown((*TCPConn).CloseWrite, false) }

// CloseRead ends reading; the peer is not told. A socket that listens does so no more.
func (k *Socket) CloseRead() error { return k.shutdown((*TCPConn).CloseRead, true) }

func (k *Socket) shutdown(f func(*TCPConn) error, read bool) error {
	if err := k.enter(); err != nil {
		return err
	}
	c, l := k.conn, k.ln
	if l != nil && read {
		// As Linux: what listened is a fresh socket again, which keeps its address.
		l.setNotify(nil)
		l.Close()
		k.ln = nil
		if _, errno := k.st.listeners.bind(k, l.addr, 0); errno != 0 {
			k.addr = netip.AddrPort{} // somebody was faster
		}
	}
	k.mu.Unlock()
	switch {
	case l != nil:
		return nil
	case c == nil:
		return syscall.ENOTCONN
	}
	c.lock()
	connecting := c.tc.State() == tcp.StateSynSent
	if connecting { // as Linux: either direction ends the attempt
		now := c.at(c.st.clk.Now())
		c.tc.Disconnect(now)
		c.drive(now, tcp.OutputAll)
	}
	c.unlock()
	if connecting {
		return nil
	}
	return errnoIn(f(c))
}

// ExpectWrite tells a socket that is connecting that a write waits for the connection:
// the handshake's last ACK rides on its data, as in Linux with a blocking write.
func (k *Socket) ExpectWrite() {
	if c, _, err := k.parts(); err == nil && c != nil {
		c.lock()
		c.tc.SetDataFollows(true)
		c.unlock()
	}
}

// Close gives the socket up; see TCPConn.Close. It does not wait, whatever SO_LINGER
// says.
func (k *Socket) Close() error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return errClosed
	}
	k.closed = true
	c, l, u, a := k.conn, k.ln, k.udp, k.addr
	k.mu.Unlock()
	switch {
	case c != nil:
		c.setNotify(nil)
		c.closeNow()
	case l != nil:
		l.setNotify(nil)
		l.Close()
	case u != nil:
		u.setNotify(nil)
		u.Close()
	case a.IsValid():
		k.st.listeners.mu.Lock()
		k.st.listeners.unbind(k, a.Port())
		k.st.listeners.mu.Unlock()
	}
	return nil
}
