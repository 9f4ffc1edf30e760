package direct

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/netduet/netduet/internal/linuxopt"
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
	return &Socket{st: s, stream: n.TCP, opt: defaultOptions()}, nil
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
func (k *Socket) Connect(raddr netip.AddrPort) error {
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
	c, _, errno := k.st.openTCP("tcp", local, raddr, k)
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
// if it was announced and has not arrived.
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

// Ready returns what can be done now without EAGAIN.
func (k *Socket) Ready() Readiness {
	k.mu.Lock()
	c, l, u, closed := k.conn, k.ln, k.udp, k.closed
	k.mu.Unlock()
	switch {
	case closed:
		return 0
	case c != nil:
		return c.ready()
	case l != nil:
		return l.readiness()
	case u != nil:
		return u.ready()
	case k.stream:
		return ReadyOut | ReadyHup // as Linux has it of a fresh socket
	}
	return ReadyOut
}

// Notify has f called whenever Ready may have changed; nil ends that. f runs on the
// goroutine that made the change, the receiver's for instance, without locks: it
// may use the socket, but must not block. It may come late or for nothing, and
// after Close it comes no more but for a call under way.
func (k *Socket) Notify(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notify = f
	switch {
	case k.conn != nil:
		k.conn.setNotify(f)
	case k.ln != nil:
		k.ln.setNotify(f)
	case k.udp != nil:
		k.udp.setNotify(f)
	}
}

// SetSockopt sets an option; see TCPConn.SetSockopt.
func (k *Socket) SetSockopt(level, name int, value []byte) error {
	if err := k.enter(); err != nil {
		return err
	}
	defer k.mu.Unlock()
	errno := syscall.Errno(0)
	switch {
	case k.conn != nil:
		return errnoIn(k.conn.SetSockopt(level, name, value))
	case k.ln != nil:
		return errnoIn(k.ln.SetSockopt(level, name, value))
	case k.udp != nil:
		return errnoIn(k.udp.SetSockopt(level, name, value))
	case k.stream:
		errno = k.opt.set(level, name, value, tcp.StateClosed)
	default:
		errno = k.uopt.set(level, name, value)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// GetSockopt copies an option's value; see TCPConn.GetSockopt.
func (k *Socket) GetSockopt(level, name int, value []byte) (int, error) {
	if err := k.enter(); err != nil {
		return 0, err
	}
	defer k.mu.Unlock()
	var n int
	var err error
	switch {
	case k.conn != nil:
		n, err = k.conn.GetSockopt(level, name, value)
	case k.ln != nil:
		n, err = k.ln.GetSockopt(level, name, value)
	case k.udp != nil:
		n, err = k.udp.GetSockopt(level, name, value)
	default:
		v, errno := k.fresh(level, name)
		if errno != 0 {
			return 0, errno
		}
		return copy(value, v), nil
	}
	return n, errnoIn(err)
}

// fresh is GetSockopt of a socket that is neither connected nor listens.
func (k *Socket) fresh(level, name int) ([]byte, syscall.Errno) {
	if !k.stream {
		v, errno := k.uopt.get(level, name)
		return linuxopt.Int(v), errno
	}
	if level == linuxopt.IPPROTO_TCP && name == linuxopt.TCP_INFO {
		in := tcp.LinuxInfo{State: uint8(tcp.StateClosed), SndSsthresh: tcp.LinuxInfiniteThreshold, SndCwnd: 10, Reordering: 3}
		return in.Append(nil), 0
	}
	return k.opt.value(level, name, false)
}

// Pending returns how many bytes can be read (SIOCINQ), how many are written and
// not acknowledged (SIOCOUTQ), and how many of them were never sent (SIOCOUTQNSD).
func (k *Socket) Pending() (in, out, unsent int) {
	c, u, err := k.parts()
	switch {
	case err != nil:
	case u != nil:
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.n > 0 {
			in = u.queue[u.head].n
		}
	case c != nil:
		c.lock()
		defer c.unlock()
		in, unsent = c.tc.ReadableBytes(), c.tc.UnsentBytes()
		out = c.tc.UnackedBytes() + unsent
	}
	return in, out, unsent
}

// LocalAddr returns the socket's address; the zero one if it has none yet.
func (k *Socket) LocalAddr() netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.addr
}

// RemoteAddr returns the peer's address, the zero one if there is no peer.
func (k *Socket) RemoteAddr() netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.conn != nil:
		return k.conn.remoteAddr()
	case k.udp != nil && k.udp.connected:
		return k.udp.remote
	}
	return netip.AddrPort{}
}

// Conn returns the connection as a net.Conn, a *TCPConn or *UDPConn, whose calls
// wait; nil if there is none.
func (k *Socket) Conn() net.Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.conn != nil:
		return k.conn
	case k.udp != nil:
		return k.udp
	}
	return nil
}

// Listener returns the listener beneath, nil if the socket does not listen.
func (k *Socket) Listener() *TCPListener {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ln
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
		return c.tc.PeekInto(p), nil
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
	switch c.tc.State() {
	case tcp.StateSynSent, tcp.StateSynReceived:
		return 0, syscall.EAGAIN
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
