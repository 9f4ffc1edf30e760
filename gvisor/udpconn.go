package gvisor

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/netduet/netduet/internal/netapi"
)

// MaxDatagram is the largest payload of a UDP datagram over IPv4.
const MaxDatagram = 65535 - 20 - 8

// UDPConn is a UDP socket, connected or not. It is a net.Conn and a net.PacketConn
// and has the methods of *net.UDPConn except SyscallConn and File, with the same
// errors, and is safe for concurrent use. Addresses that it returns are
// *net.UDPAddr.
type UDPConn struct {
	netMethods
	socket
	connected bool
	families  netapi.Families

	// Of the side whose turn it is.
	in  datagramWriter
	out bytes.Reader
	to  tcpip.FullAddress
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
	return (*UDPConn)(e).transmit(call, p, dst)
}

// Gone implements netapi.UDPEngine.
func (e *udpEngine) Gone() error { return e.gone() }

// Name implements netapi.UDPEngine.
func (e *udpEngine) Name() *netapi.Endpoint { return &e.name }

// Datagram implements netapi.UDPEngine.
func (e *udpEngine) Datagram() netapi.Datagram {
	return netapi.Datagram{Connected: e.connected, Families: e.families}
}

// datagramWriter takes as much of a datagram as there is room for, and lets the
// rest go, as recvfrom does.
type datagramWriter struct {
	p []byte
	n int
}

func (w *datagramWriter) Write(b []byte) (int, error) {
	w.n += copy(w.p[w.n:], b)
	return len(b), nil
}

func (s *Stack) listenUDP(network string, b netapi.Bind) (*UDPConn, error) {
	if !s.enter() {
		return nil, net.ErrClosed
	}
	defer s.leave()
	ep, wq, err := s.newEndpoint(udp.ProtocolNumber, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	if terr := ep.Bind(fullAddress(b.Addr)); terr != nil {
		ep.Close()
		return nil, failed(netapi.CallBind, terr)
	}
	at, terr := ep.GetLocalAddress()
	if terr != nil {
		ep.Close()
		return nil, failed(netapi.CallBind, terr)
	}
	c := &UDPConn{socket: socket{st: s, ep: ep, wq: wq}, families: b.Families}
	local := netip.AddrPortFrom(b.Addr.Addr(), at.Port)
	c.name = netapi.Endpoint{Network: network, Local: netapi.Addr("udp", local)}
	s.addUDP(c)
	return c, nil
}

func (s *Stack) dialUDP(network string, laddr, raddr netip.AddrPort) (*UDPConn, error) {
	ep, wq, err := s.newEndpoint(udp.ProtocolNumber, laddr)
	if err != nil {
		return nil, err
	}
	if terr := ep.Connect(fullAddress(raddr)); terr != nil {
		ep.Close()
		return nil, failed(netapi.CallConnect, terr)
	}
	at, terr := ep.GetLocalAddress()
	if terr != nil {
		ep.Close()
		return nil, failed(netapi.CallConnect, terr)
	}
	c := &UDPConn{socket: socket{st: s, ep: ep, wq: wq}, families: s.families(), connected: true}
	c.name = netapi.Endpoint{Network: network, Local: netapi.Addr("udp", addrPort(at)), Remote: netapi.Addr("udp", raddr)}
	s.addUDP(c)
	return c, nil
}

func (s *Stack) addUDP(c *UDPConn) {
	c.netMethods = netapi.NewUDP((*udpEngine)(c))
	s.mu.Lock()
	s.udp[c] = struct{}{}
	s.mu.Unlock()
}

// receive waits for a datagram and copies as much of it as fits to p; the rest is
// lost, as with recvfrom. whole is its length.
func (c *UDPConn) receive(call string, p []byte) (n, whole int, from netip.AddrPort, err error) {
	c.read.turn.Lock()
	defer c.read.turn.Unlock()
	for {
		if err := c.gone(); err != nil {
			return 0, 0, from, err
		}
		if c.read.deadline.Expired() {
			return 0, 0, from, os.ErrDeadlineExceeded
		}
		c.in = datagramWriter{p: p}
		res, terr := c.ep.Read(&c.in, tcpip.ReadOptions{NeedRemoteAddr: true})
		n, c.in = c.in.n, datagramWriter{}
		switch {
		case terr == nil:
			return n, res.Total, addrPort(res.RemoteAddr), nil
		case again(terr):
			c.wait(&c.read, readable)
			continue
		}
		if err := c.gone(); err != nil {
			return 0, 0, from, err
		}
		return 0, 0, from, failed(call, terr)
	}
}

// transmit sends a datagram to dst, or to the peer if dst is invalid.
func (c *UDPConn) transmit(call string, p []byte, dst netip.AddrPort) error {
	c.write.turn.Lock()
	defer c.write.turn.Unlock()
	for {
		if err := c.gone(); err != nil {
			return err
		}
		if c.write.deadline.Expired() {
			return os.ErrDeadlineExceeded
		}
		if len(p) > MaxDatagram {
			return netapi.Syscall(call, syscall.EMSGSIZE)
		}
		var opts tcpip.WriteOptions
		if dst.IsValid() {
			if dst.Port() == 0 {
				return netapi.Syscall(call, syscall.EINVAL)
			}
			c.to = fullAddress(dst)
			opts.To = &c.to
		}
		c.out.Reset(p)
		_, terr := c.ep.Write(&c.out, opts)
		c.out.Reset(nil)
		switch {
		case terr == nil:
			return nil
		case again(terr):
			c.wait(&c.write, writable)
			continue
		}
		if err := c.gone(); err != nil {
			return err
		}
		return failed(call, terr)
	}
}

// Close implements net.Conn and net.PacketConn. What was not read is lost.
func (c *UDPConn) Close() error {
	if !c.end(false) {
		return c.name.Close(net.ErrClosed)
	}
	c.ep.Close()
	c.st.mu.Lock()
	delete(c.st.udp, c)
	c.st.mu.Unlock()
	return nil
}
