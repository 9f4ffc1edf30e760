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
	socket
	connected bool
	families  netapi.Families

	// Of the side whose turn it is.
	in  datagramWriter
	out bytes.Reader
	to  tcpip.FullAddress
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

// Read implements net.Conn.
func (c *UDPConn) Read(p []byte) (int, error) {
	n, _, _, err := c.receive(netapi.CallRead, p)
	return n, c.name.Read(err)
}

// ReadFrom implements net.PacketConn; the address is a *net.UDPAddr.
func (c *UDPConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, addr, err := c.ReadFromUDP(p)
	if err != nil {
		return n, nil, err
	}
	return n, addr, nil
}

// ReadFromUDP is ReadFrom with the address's own type.
func (c *UDPConn) ReadFromUDP(p []byte) (int, *net.UDPAddr, error) {
	n, _, from, err := c.receive(netapi.CallRecvfrom, p)
	if err != nil {
		return 0, nil, c.name.Read(err)
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom without an allocation for the address.
func (c *UDPConn) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	n, _, from, err := c.receive(netapi.CallRecvfrom, p)
	return n, from, c.name.Read(err)
}

// ReadMsgUDP is ReadFrom with flags, which say whether the datagram was cut; there
// is no out-of-band data.
func (c *UDPConn) ReadMsgUDP(p, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, oobn, flags, from, err := c.ReadMsgUDPAddrPort(p, oob)
	if err == nil {
		addr = net.UDPAddrFromAddrPort(from)
	}
	return n, oobn, flags, addr, err
}

// msgTrunc is MSG_TRUNC of Linux, whatever the platform.
const msgTrunc = 0x20

// ReadMsgUDPAddrPort is ReadMsgUDP without an allocation for the address.
func (c *UDPConn) ReadMsgUDPAddrPort(p, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	n, whole, addr, err := c.receive(netapi.CallRecvmsg, p)
	if whole > n {
		flags = msgTrunc
	}
	return n, 0, flags, addr, c.name.Read(err)
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

// Write implements net.Conn. The socket must be connected.
func (c *UDPConn) Write(p []byte) (int, error) {
	err := c.gone()
	if err == nil && !c.connected {
		err = netapi.Syscall(netapi.CallWrite, syscall.EDESTADDRREQ)
	}
	if err == nil {
		err = c.transmit(netapi.CallWrite, p, netip.AddrPort{})
	}
	if err != nil {
		return 0, c.name.Write(err)
	}
	return len(p), nil
}

func (c *UDPConn) datagram() netapi.Datagram {
	return netapi.Datagram{Connected: c.connected, Families: c.families}
}

// WriteTo implements net.PacketConn; addr must be a *net.UDPAddr.
func (c *UDPConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	dst, err := c.datagram().To(addr)
	return c.writeTo(netapi.CallSendto, p, dst, addr, err)
}

// WriteToUDP is WriteTo for an address of its own type.
func (c *UDPConn) WriteToUDP(p []byte, addr *net.UDPAddr) (int, error) {
	dst, err := c.datagram().To(addr)
	return c.writeTo(netapi.CallSendto, p, dst, addr, err)
}

// WriteToUDPAddrPort is WriteTo without an allocation for the address.
func (c *UDPConn) WriteToUDPAddrPort(p []byte, addr netip.AddrPort) (int, error) {
	dst, err := c.datagram().ToAddrPort(addr)
	if err == nil {
		err = c.transmit(netapi.CallSendto, p, dst)
	} else if closed := c.gone(); closed != nil {
		err = closed
	}
	if err != nil {
		return 0, c.name.WriteTo(netapi.UDPAddrPort{AddrPort: addr}, err)
	}
	return len(p), nil
}

// writeTo sends to dst unless err; addr is the destination as the caller gave it.
func (c *UDPConn) writeTo(call string, p []byte, dst netip.AddrPort, addr net.Addr, err error) (int, error) {
	if closed := c.gone(); closed != nil {
		err = closed
	} else if err == nil {
		err = c.transmit(call, p, dst)
	}
	if err != nil {
		return 0, c.name.WriteTo(addr, err)
	}
	return len(p), nil
}

// WriteMsgUDP writes to addr, or to the peer if addr is nil and the socket is
// connected. Out-of-band data is refused.
func (c *UDPConn) WriteMsgUDP(p, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if addr == nil {
		n, err = c.writePeer(p, oob, nil)
		return n, 0, err
	}
	dst, err := c.datagram().To(addr)
	if len(oob) > 0 {
		err = netapi.Syscall(netapi.CallSendmsg, syscall.EINVAL)
	}
	n, err = c.writeTo(netapi.CallSendmsg, p, dst, addr, err)
	return n, 0, err
}

// WriteMsgUDPAddrPort is WriteMsgUDP for a netip address; the zero one is the peer.
func (c *UDPConn) WriteMsgUDPAddrPort(p, oob []byte, addr netip.AddrPort) (n, oobn int, err error) {
	to := netapi.UDPAddrPort{AddrPort: addr}
	if !addr.IsValid() {
		n, err = c.writePeer(p, oob, to)
		return n, 0, err
	}
	dst, err := c.datagram().ToAddrPort(addr)
	if len(oob) > 0 {
		err = netapi.Syscall(netapi.CallSendmsg, syscall.EINVAL)
	}
	n, err = c.writeTo(netapi.CallSendmsg, p, dst, to, err)
	return n, 0, err
}

// writePeer is WriteMsgUDP without an address.
func (c *UDPConn) writePeer(p, oob []byte, addr net.Addr) (int, error) {
	err := c.gone()
	switch {
	case err != nil:
	case !c.connected:
		err = netapi.ErrMissingAddress
	case len(oob) > 0:
		err = netapi.Syscall(netapi.CallSendmsg, syscall.EINVAL)
	default:
		err = c.transmit(netapi.CallSendmsg, p, netip.AddrPort{})
	}
	if err != nil {
		return 0, c.name.WriteTo(addr, err)
	}
	return len(p), nil
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

// LocalAddr implements net.Conn; the result is a *net.UDPAddr.
func (c *UDPConn) LocalAddr() net.Addr { return c.name.Local }

// RemoteAddr implements net.Conn; it is nil unless the socket is connected.
func (c *UDPConn) RemoteAddr() net.Addr { return c.name.Remote }
