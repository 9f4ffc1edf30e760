package direct

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/tcp"
)

const protocolTCP = ipv4.ProtocolTCP

// families are the versions of IP that the stack speaks.
func (s *Stack) families() netapi.Families { return netapi.Families{IPv4: true} }

// endpoint names a connection in errors.
func endpoint(transport, network string, f flow) netapi.Endpoint {
	return netapi.Endpoint{
		Network: network,
		Local:   netapi.Addr(transport, f.localAddr()),
		Remote:  netapi.Addr(transport, f.remoteAddr()),
	}
}

// DialContext connects to address on network (tcp, tcp4, udp, udp4; the IPv6 ones
// fail for want of IPv6), as net.Dialer.DialContext does. The connection is a
// *TCPConn or a *UDPConn.
func (s *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return s.dialer().DialContext(ctx, network, address)
}

// Dial is the native form of DialContext: it connects to raddr, without resolving
// anything. The zero laddr, or an unspecified address or port 0 in it, leaves the
// choice to the stack.
func (s *Stack) Dial(ctx context.Context, network string, laddr, raddr netip.AddrPort) (net.Conn, error) {
	return s.dialer().DialAddrPort(ctx, network, laddr, raddr)
}

func (s *Stack) dialer() *netapi.Dialer {
	return &netapi.Dialer{DialOne: s.dialOne, Lookup: s.dns.LookupNetIP, Families: s.families()}
}

// dialOne is the netapi.Dialer's DialOne.
func (s *Stack) dialOne(ctx context.Context, network string, laddr, raddr netip.AddrPort) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.background.enter() {
		return nil, netapi.ClosedError(netapi.OpDial, network)
	}
	defer s.background.leave()
	if network[:3] == "udp" {
		c, err := s.dialUDP(network, laddr, raddr)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	c, err := s.dialTCP(ctx, network, laddr, raddr, nil)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// DialFastOpen is Dial and the first Write in one (RFC 7413): if a cookie of the server's is
// there, as much of data as fits is on the SYN, and the answer may come a round trip
// earlier; otherwise the connection brings the cookie for the next one. It returns when
// the connection is open and all of data is in the send buffer. The server's application
// may get data twice (section 2.1): it is for requests of which that does no harm. The
// network is tcp or tcp4.
func (s *Stack) DialFastOpen(ctx context.Context, network string, laddr, raddr netip.AddrPort, data []byte) (net.Conn, error) {
	fast := fastDial{data: data, waits: true}
	d := netapi.Dialer{Families: s.families(), DialOne: func(ctx context.Context, network string, laddr, raddr netip.AddrPort) (net.Conn, error) {
		if !strings.HasPrefix(network, "tcp") {
			return nil, net.UnknownNetworkError(network)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !s.background.enter() {
			return nil, netapi.ClosedError(netapi.OpDial, network)
		}
		defer s.background.leave()
		ask := &fast
		if s.tcp.Load().FastOpen.NoClient {
			ask = nil
		}
		c, err := s.dialTCP(ctx, network, laddr, raddr, ask)
		if err != nil {
			return nil, err
		}
		return c, nil
	}}
	c, err := d.DialAddrPort(ctx, network, laddr, raddr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetWriteDeadline(time.Unix(1, 0)) })
	_, err = c.Write(data[fast.taken:])
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// pathErr is what bind or connect would say of a path that was not found.
func pathErr(errno syscall.Errno) error {
	if errno == syscall.EADDRNOTAVAIL {
		return netapi.Syscall(netapi.CallBind, errno)
	}
	return netapi.Syscall(netapi.CallConnect, errno)
}

// fastDial is what Fast Open has to do with a SYN: it is to carry data if it may, or to
// wait for some, and fast is how much of it is on the way.
type fastDial struct {
	data  []byte
	later bool // the SYN waits for data
	waits bool // a Write follows the handshake, whose ACK can ride along
	taken int
}

// openTCP sends a SYN from laddr, which from holds if that is not nil, to raddr. The
// call is the one whose failure errno is. With fast the SYN is one of Fast Open.
func (s *Stack) openTCP(network string, laddr, raddr netip.AddrPort, from *Socket, fast *fastDial) (c *TCPConn, call string, errno syscall.Errno) {
	p, errno := s.pathTo(laddr.Addr(), raddr.Addr())
	if errno == 0 && p.broadcast() {
		errno = syscall.ENETUNREACH // as Linux
	}
	if errno == syscall.EADDRNOTAVAIL {
		return nil, netapi.CallBind, errno
	} else if errno != 0 {
		return nil, netapi.CallConnect, errno
	}
	c, ok := s.newConn()
	if !ok {
		return nil, netapi.CallSocket, syscall.ENOBUFS
	}
	if from != nil {
		*c.changeOptions() = from.opt
	}
	p.id = uint16(s.random())
	p.ip = c.options().ip
	c.way = p.way
	c.queue = int32(s.random() % 256)
	c.network = nameNetwork(network)
	c.flow = flow{local: p.src, remote: raddr.Addr(), localPort: laddr.Port(), remotePort: raddr.Port()}

	c.lock()
	defer c.unlock()
	if errno := s.dial(c, from); errno != 0 {
		s.forgetConn(c)
		s.putCore(c.tc)
		c.tc = nil
		if errno == syscall.EADDRINUSE {
			return nil, netapi.CallBind, errno
		}
		return nil, netapi.CallConnect, errno
	}
	s.timers.bind(&c.timer, c, c.sum)
	s.count.tcp.activeOpens.Add(1)
	now := s.clk.Now()
	cfg := s.tcpConfig(&p, &c.flow, c.options())
	c.tc.Connect(c.at(now), &cfg, s.secret.ISS(now, c.localAddr(), c.remoteAddr()), s.secret.TSOffset(c.localAddr(), c.remoteAddr()))
	c.options().start(c.tc)
	if fast != nil {
		start := s.fastStart(now, &c.flow, c.options(), fast.later)
		c.tc.FastOpen(&start)
		if !fast.later {
			fast.taken = c.tc.FastWrite(now, fast.data)
			c.tc.SetDataFollows(fast.waits && fast.taken < len(fast.data))
		}
	}
	c.drive(now, tcp.OutputAll)
	return c, "", 0
}

func (s *Stack) dialTCP(ctx context.Context, network string, laddr, raddr netip.AddrPort, fast *fastDial) (*TCPConn, error) {
	c, call, errno := s.openTCP(network, laddr, raddr, nil, fast)
	if errno != 0 {
		return nil, netapi.Syscall(call, errno)
	}
	c.lock()
	for {
		err := c.tc.Err()
		switch {
		case c.stackClosed:
			c.unlock()
			return nil, netapi.ClosedError(netapi.OpDial, network)
		case c.tc.Established():
			// It may have ended since, too: then the first Read or Write tells.
			c.unlock()
			return c, nil
		case c.tc.State() == tcp.StateClosed:
			c.discard()
			c.unlock()
			return nil, netapi.Syscall(netapi.CallConnect, errnoOf(err))
		}
		ch := c.writable.prepare(s)
		s.recall()
		c.unlock()
		canceled, closing := false, false
		select {
		case <-ch:
		case <-ctx.Done():
			canceled = true
		case <-s.closing:
			closing = true
		}
		c.lock()
		c.writable.done(s, ch)
		switch {
		case canceled && !c.tc.Established():
			c.discard()
			c.unlock()
			return nil, ctx.Err()
		case closing:
			c.discard()
			c.unlock()
			return nil, netapi.ClosedError(netapi.OpDial, network)
		}
	}
}

// discard gives up a connection that never came to be. c.mu is held.
func (c *TCPConn) discard() {
	c.closed = true
	now := c.st.clk.Now()
	c.tc.Abort(now)
	c.drive(now, tcp.OutputAll)
}

// Listen announces on a local TCP address, as net.ListenConfig.Listen does. The
// listener is a *TCPListener.
func (s *Stack) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := s.tcpListener().Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ListenTCP is the native form of Listen: it resolves nothing. The zero laddr means
// any address and port.
func (s *Stack) ListenTCP(network string, laddr netip.AddrPort) (*TCPListener, error) {
	return s.tcpListener().ListenAddrPort(network, laddr)
}

func (s *Stack) tcpListener() netapi.Listener[*TCPListener] {
	return netapi.Listener[*TCPListener]{Families: s.families(), Lookup: s.dns.LookupNetIP, One: s.listenTCP}
}

func (s *Stack) listenTCP(network string, b netapi.Bind) (*TCPListener, error) {
	if !s.background.enter() {
		return nil, errClosed
	}
	defer s.background.leave()
	if !b.Addr.Addr().IsUnspecified() && !s.isLocal(b.Addr.Addr()) {
		return nil, netapi.Syscall(netapi.CallBind, syscall.EADDRNOTAVAIL)
	}
	l := s.newListener(network, b.Addr, listenBacklog, s.defaultOptions())
	l.opt.reuseAddr, l.net = true, true
	if errno := s.listeners.add(l, uint32(s.random()), nil); errno != 0 {
		return nil, netapi.Syscall(netapi.CallBind, errno)
	}
	return l, nil
}

func (s *Stack) newListener(network string, addr netip.AddrPort, backlog int, o tcpOptions) *TCPListener {
	return &TCPListener{
		st: s, ep: netapi.Endpoint{Network: network}, addr: addr, backlog: backlog, opt: o,
		done: make(chan struct{}), ready: make(chan struct{}, 1),
	}
}

// ListenPacket announces on a local UDP address, as net.ListenConfig.ListenPacket
// does. The connection is a *UDPConn.
func (s *Stack) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := s.udpListener().Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ListenUDP is the native form of ListenPacket: it resolves nothing.
func (s *Stack) ListenUDP(network string, laddr netip.AddrPort) (*UDPConn, error) {
	return s.udpListener().ListenAddrPort(network, laddr)
}

func (s *Stack) udpListener() netapi.Listener[*UDPConn] {
	return netapi.Listener[*UDPConn]{Packets: true, Families: s.families(), Lookup: s.dns.LookupNetIP, One: s.listenUDP}
}

// Resolver returns a resolver that asks the configured servers through the stack,
// and never the host.
func (s *Stack) Resolver() *net.Resolver { return s.dns.Resolver() }

// ipAddr returns a as package net has it.
func ipAddr(a netip.Addr) net.Addr { return &net.IPAddr{IP: a.AsSlice(), Zone: a.Zone()} }
