package direct

import (
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/udp"
)

const (
	// udpReadBuffer bounds what a socket queues, overhead included: Linux's
	// rmem_default.
	udpReadBuffer = 212992
	// udpMinReadBuffer is Linux's SOCK_MIN_RCVBUF.
	udpMinReadBuffer = 2304
	// MaxDatagram is the largest payload of a UDP datagram over IPv4.
	MaxDatagram = ipv4.MaxLen - ipv4.HeaderLen - udp.HeaderLen
)

// UDPConn is a UDP socket, connected or not. It is a net.Conn and a net.PacketConn
// and has the methods of *net.UDPConn except SyscallConn and File, with the same
// errors, and is safe for concurrent use. Addresses that it returns are
// *net.UDPAddr.
type UDPConn struct {
	netMethods
	st        *Stack
	ep        netapi.Endpoint
	local     netip.AddrPort // its address may be unspecified
	remote    netip.AddrPort
	connected bool
	families  netapi.Families
	path      path         // to remote
	queueHint atomic.Int32 // the queue that datagrams arrive on

	readDeadline, writeDeadline netapi.Deadline

	mu       sync.Mutex
	closed   bool
	pending  syscall.Errno // what ICMP reported; the next operation returns it, once
	queue    []datagram    // a ring
	head, n  int
	bytes    int // charged for the queue
	limit    int
	turn     turn
	readable waiter
	opt      udpOptions
	notify   func() // see Socket.Notify
	changed  bool   // notify is to be called
}

// netMethods are those of *net.UDPConn, over udpEngine.
type netMethods = netapi.UDP

// udpEngine is the part of a UDPConn that netMethods stands on.
type udpEngine UDPConn

// Receive implements netapi.UDPEngine.
func (e *udpEngine) Receive(call string, p []byte) (n, whole int, from netip.AddrPort, err error) {
	return (*UDPConn)(e).receive(call, p)
}

// Transmit implements netapi.UDPEngine.
func (e *udpEngine) Transmit(call string, p []byte, dst netip.AddrPort) error {
	if !dst.IsValid() {
		dst = e.remote
	}
	return (*UDPConn)(e).transmit(call, p, dst)
}

// Gone implements netapi.UDPEngine.
func (e *udpEngine) Gone() error { return (*UDPConn)(e).check() }

// Name implements netapi.UDPEngine.
func (e *udpEngine) Name() *netapi.Endpoint { return &e.ep }

// Datagram implements netapi.UDPEngine.
func (e *udpEngine) Datagram() netapi.Datagram {
	return netapi.Datagram{Connected: e.connected, Families: e.families}
}

// datagram is one that waits to be read.
type datagram struct {
	from netip.AddrPort
	mem  *slab
	n    int
}

func (s *Stack) newUDP(network string, local netip.AddrPort) (*UDPConn, error) {
	if !s.mem.charge(socketCharge, false) {
		return nil, netapi.Syscall(netapi.CallSocket, syscall.ENOBUFS)
	}
	s.count.udp.sockets.Add(1)
	c := &UDPConn{st: s, local: local, limit: udpReadBuffer, families: s.families(), opt: udpOptions{broadcast: true}}
	c.netMethods = netapi.NewUDP((*udpEngine)(c))
	return c, nil
}

// uncount undoes newUDP.
func (s *Stack) uncountUDP() {
	s.mem.credit(socketCharge)
	s.count.udp.sockets.Add(-1)
}

func (s *Stack) listenUDP(network string, b netapi.Bind) (*UDPConn, error) {
	if !s.background.enter() {
		return nil, errClosed
	}
	defer s.background.leave()
	if a := b.Addr.Addr(); !a.IsUnspecified() && !s.isLocal(a) && !s.isBroadcast(a) {
		return nil, netapi.Syscall(netapi.CallBind, syscall.EADDRNOTAVAIL)
	}
	c, err := s.newUDP(network, b.Addr)
	if err != nil {
		return nil, err
	}
	c.families = b.Families
	if errno := s.udpSockets.add(c, uint32(s.random())); errno != 0 {
		s.uncountUDP()
		return nil, netapi.Syscall(netapi.CallBind, errno)
	}
	c.ep = netapi.Endpoint{Network: network, Local: netapi.Addr("udp", c.local)}
	return c, nil
}

func (s *Stack) dialUDP(network string, laddr, raddr netip.AddrPort) (*UDPConn, error) {
	p, errno := s.pathTo(laddr.Addr(), raddr.Addr())
	if errno != 0 {
		return nil, pathErr(errno)
	}
	c, err := s.newUDP(network, netip.AddrPortFrom(p.src, laddr.Port()))
	if err != nil {
		return nil, err
	}
	c.connected, c.remote, c.path = true, raddr, p
	if errno := s.udpSockets.add(c, uint32(s.random())); errno != 0 {
		s.uncountUDP()
		return nil, netapi.Syscall(netapi.CallBind, errno)
	}
	c.ep = netapi.Endpoint{Network: network, Local: netapi.Addr("udp", c.local), Remote: netapi.Addr("udp", raddr)}
	return c, nil
}

// isBroadcast reports whether a is a broadcast address of one of our links.
func (s *Stack) isBroadcast(a netip.Addr) bool {
	if a == broadcastAddr {
		return true
	}
	for _, ifc := range s.ifaces {
		if ifc.isDirectedBroadcast(a) {
			return true
		}
	}
	return false
}

// deliver queues a copy of a datagram that arrived.
func (c *UDPConn) deliver(from netip.AddrPort, data []byte) {
	st := c.st
	c.mu.Lock()
	defer c.unlock()
	if c.closed {
		st.count.udp.noPort.Add(1)
		return
	}
	if c.bytes >= c.limit {
		st.count.udp.queueFull.Add(1)
		return
	}
	m := st.mem.slab(len(data))
	cost := len(m.b) + datagramCharge
	if !st.mem.charge(cost, false) {
		st.count.udp.noMemory.Add(1)
		st.mem.putSlab(m)
		return
	}
	c.bytes += cost
	if c.n == len(c.queue) {
		grown := make([]datagram, max(4, 2*c.n))
		for i := range c.n {
			grown[i] = c.queue[(c.head+i)%len(c.queue)]
		}
		c.queue, c.head = grown, 0
	}
	c.queue[(c.head+c.n)%len(c.queue)] = datagram{from, m, copy(m.b, data)}
	c.n++
	st.count.udp.delivered.Add(1)
	c.readable.wake()
	c.changed = true
}

// fail makes the next operation fail.
func (c *UDPConn) fail(errno syscall.Errno) {
	c.mu.Lock()
	c.pending = errno
	c.readable.wake()
	c.changed = true
	c.unlock()
}

// takePending returns what ICMP reported and forgets it. c.mu is held.
func (c *UDPConn) takePending() syscall.Errno {
	errno := c.pending
	c.pending = 0
	return errno
}

// receive waits for a datagram and copies as much of it as fits to p; the rest is
// lost, as with recvfrom. whole is its length.
func (c *UDPConn) receive(call string, p []byte) (n, whole int, from netip.AddrPort, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, 0, from, errClosed
	}
	c.turn.acquire(&c.mu)
	defer c.turn.release()
	for {
		if c.closed {
			return 0, 0, from, errClosed
		}
		if c.readDeadline.Expired() {
			return 0, 0, from, os.ErrDeadlineExceeded
		}
		if errno := c.takePending(); errno != 0 {
			return 0, 0, from, netapi.Syscall(call, errno)
		}
		if c.n > 0 {
			d := c.pop()
			n, whole, from = copy(p, d.mem.b[:d.n]), d.n, d.from
			c.st.mem.putSlab(d.mem)
			return n, whole, from, nil
		}
		ch := c.readable.prepare(c.st)
		c.mu.Unlock()
		select {
		case <-ch:
		case <-c.readDeadline.Wait():
		}
		c.mu.Lock()
		c.readable.done(c.st, ch)
	}
}

// pop takes the oldest datagram out of the queue. c.mu is held.
func (c *UDPConn) pop() datagram {
	d := c.queue[c.head]
	c.queue[c.head] = datagram{}
	c.head = (c.head + 1) % len(c.queue)
	c.n--
	cost := len(d.mem.b) + datagramCharge
	c.bytes -= cost
	c.st.mem.credit(cost)
	return d
}

// transmit sends a datagram to dst.
func (c *UDPConn) transmit(call string, p []byte, dst netip.AddrPort) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return errClosed
	}
	if c.writeDeadline.Expired() {
		c.mu.Unlock()
		return os.ErrDeadlineExceeded
	}
	errno := c.takePending()
	o := c.opt
	c.mu.Unlock()
	if errno != 0 {
		return netapi.Syscall(call, errno)
	}
	if len(p) > MaxDatagram {
		return netapi.Syscall(call, syscall.EMSGSIZE)
	}
	st := c.st
	way := c.path
	if !c.connected {
		if dst.Port() == 0 {
			return netapi.Syscall(call, syscall.EINVAL)
		}
		var src netip.Addr
		if a := c.local.Addr(); st.isLocal(a) {
			src = a
		}
		if way, errno = st.pathTo(src, dst.Addr()); errno != 0 {
			return netapi.Syscall(call, errno)
		}
	}
	if !o.broadcast && way.broadcast() && !way.dst.IsMulticast() {
		return netapi.Syscall(call, syscall.EACCES)
	}
	way.ip = o.ip
	now := st.clk.Now()
	out := st.getOutgoing()
	defer st.putOutgoing(out)
	opt := sendOptions{protocol: udp.Protocol, hint: int(c.queueHint.Load())}
	opt.df = o.ip.discover() == linuxopt.PMTUDISC_DO || o.ip.discover() == linuxopt.PMTUDISC_PROBE || o.ip.discover() == linuxopt.PMTUDISC_INTERFACE
	h := udp.Header{Src: c.local.Port(), Dst: dst.Port()}
	if st.wantsPartial(&way, udp.HeaderLen+len(p)) {
		h.EncodePartial(out.transport(udp.HeaderLen), way.src, way.dst, len(p))
		opt.partialAt = udp.ChecksumOffset
	} else {
		h.Encode(out.transport(udp.HeaderLen), way.src, way.dst, p)
	}
	st.count.udp.sent.Add(1)
	if errno := st.send(now, &way, out, udp.HeaderLen, p, &opt); errno != 0 {
		return netapi.Syscall(call, errno)
	}
	return nil
}

// check fails after Close.
func (c *UDPConn) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	return nil
}

// Close implements net.Conn and net.PacketConn. What was not read is lost.
func (c *UDPConn) Close() error {
	if !c.shut() {
		return c.ep.Close(errClosed)
	}
	return nil
}

// shut closes the socket; it reports false if it was closed before.
func (c *UDPConn) shut() bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.closed = true
	c.readable.wake()
	for c.n > 0 {
		c.st.mem.putSlab(c.pop().mem)
	}
	c.queue = nil
	c.mu.Unlock()
	c.st.udpSockets.remove(c)
	c.st.uncountUDP()
	c.readDeadline.Stop()
	c.writeDeadline.Stop()
	return true
}

// SetDeadline implements net.Conn.
func (c *UDPConn) SetDeadline(t time.Time) error {
	if err := c.check(); err != nil {
		return c.ep.SetDeadline(err)
	}
	c.readDeadline.Set(t)
	c.writeDeadline.Set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *UDPConn) SetReadDeadline(t time.Time) error {
	if err := c.check(); err != nil {
		return c.ep.SetDeadline(err)
	}
	c.readDeadline.Set(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *UDPConn) SetWriteDeadline(t time.Time) error {
	if err := c.check(); err != nil {
		return c.ep.SetDeadline(err)
	}
	c.writeDeadline.Set(t)
	return nil
}

// SetReadBuffer bounds what waits to be read; as in Linux, twice the number of bytes
// is granted, since overhead counts.
func (c *UDPConn) SetReadBuffer(bytes int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.ep.SetDeadline(errClosed)
	}
	c.setLimit(max(bytes, 0))
	return nil
}

// SetWriteBuffer changes nothing: datagrams are not queued on their way out.
func (c *UDPConn) SetWriteBuffer(bytes int) error {
	if err := c.check(); err != nil {
		return c.ep.SetDeadline(err)
	}
	return nil
}
