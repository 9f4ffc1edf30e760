package netapi

import (
	"net"
	"net/netip"
	"syscall"
)

// UDPEngine is what an engine supplies for a UDP socket. The errors are bare causes.
type UDPEngine interface {
	// Receive waits for a datagram and copies as much of it as fits to p; the rest is
	// lost, as with recvfrom. whole is its length, and call is what errors name.
	Receive(call string, p []byte) (n, whole int, from netip.AddrPort, err error)
	// Transmit sends a datagram to dst, or to the peer if dst is not valid.
	Transmit(call string, p []byte, dst netip.AddrPort) error
	// Gone returns net.ErrClosed after Close, and nil before.
	Gone() error
	// Name names the socket in errors. Its addresses are *net.UDPAddr; Remote is nil
	// unless the socket is connected.
	Name() *Endpoint
	// Datagram says where it may write to.
	Datagram() Datagram
}

// UDP has the methods of *net.UDPConn that read, write and name addresses, over an
// engine's socket, which embeds it: it has no exported fields and no other methods, so
// that the socket's users see nothing else. It is as safe for concurrent use as the
// engine.
type UDP struct{ engine UDPEngine }

// NewUDP returns the methods over e.
func NewUDP(e UDPEngine) UDP { return UDP{e} }

// Read implements net.Conn.
func (c *UDP) Read(p []byte) (int, error) {
	n, _, _, err := c.engine.Receive(CallRead, p)
	return n, c.engine.Name().Read(err)
}

// ReadFrom implements net.PacketConn; the address is a *net.UDPAddr.
func (c *UDP) ReadFrom(p []byte) (int, net.Addr, error) {
	n, addr, err := c.ReadFromUDP(p)
	if err != nil {
		return n, nil, err
	}
	return n, addr, nil
}

// ReadFromUDP is ReadFrom with the address's own type.
func (c *UDP) ReadFromUDP(p []byte) (int, *net.UDPAddr, error) {
	n, _, from, err := c.engine.Receive(CallRecvfrom, p)
	if err != nil {
		return 0, nil, c.engine.Name().Read(err)
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom without an allocation for the address.
func (c *UDP) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	n, _, from, err := c.engine.Receive(CallRecvfrom, p)
	return n, from, c.engine.Name().Read(err)
}

// ReadMsgUDP is ReadFrom with flags, which say whether the datagram was cut; there
// is no out-of-band data.
func (c *UDP) ReadMsgUDP(p, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, oobn, flags, from, err := c.ReadMsgUDPAddrPort(p, oob)
	if err == nil {
		addr = net.UDPAddrFromAddrPort(from)
	}
	return n, oobn, flags, addr, err
}

// msgTrunc is MSG_TRUNC of Linux, whatever the platform.
const msgTrunc = 0x20

// ReadMsgUDPAddrPort is ReadMsgUDP without an allocation for the address.
func (c *UDP) ReadMsgUDPAddrPort(p, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	n, whole, addr, err := c.engine.Receive(CallRecvmsg, p)
	if whole > n {
		flags = msgTrunc
	}
	return n, 0, flags, addr, c.engine.Name().Read(err)
}

// Write implements net.Conn. The socket must be connected.
func (c *UDP) Write(p []byte) (int, error) {
	err := c.engine.Gone()
	if err == nil && !c.engine.Datagram().Connected {
		err = Syscall(CallWrite, syscall.EDESTADDRREQ)
	}
	if err == nil {
		err = c.engine.Transmit(CallWrite, p, netip.AddrPort{})
	}
	if err != nil {
		return 0, c.engine.Name().Write(err)
	}
	return len(p), nil
}

// WriteTo implements net.PacketConn; addr must be a *net.UDPAddr.
func (c *UDP) WriteTo(p []byte, addr net.Addr) (int, error) {
	dst, err := c.engine.Datagram().To(addr)
	return c.writeTo(CallSendto, p, dst, addr, err)
}

// WriteToUDP is WriteTo for an address of its own type.
func (c *UDP) WriteToUDP(p []byte, addr *net.UDPAddr) (int, error) {
	dst, err := c.engine.Datagram().To(addr)
	return c.writeTo(CallSendto, p, dst, addr, err)
}

// WriteToUDPAddrPort is WriteTo without an allocation for the address.
func (c *UDP) WriteToUDPAddrPort(p []byte, addr netip.AddrPort) (int, error) {
	dst, err := c.engine.Datagram().ToAddrPort(addr)
	if closed := c.engine.Gone(); closed != nil {
		err = closed
	} else if err == nil {
		err = c.engine.Transmit(CallSendto, p, dst)
	}
	if err != nil {
		return 0, c.engine.Name().WriteTo(UDPAddrPort{AddrPort: addr}, err)
	}
	return len(p), nil
}

// writeTo sends to dst unless err; addr is the destination as the caller gave it.
func (c *UDP) writeTo(call string, p []byte, dst netip.AddrPort, addr net.Addr, err error) (int, error) {
	if closed := c.engine.Gone(); closed != nil {
		err = closed
	} else if err == nil {
		err = c.engine.Transmit(call, p, dst)
	}
	if err != nil {
		return 0, c.engine.Name().WriteTo(addr, err)
	}
	return len(p), nil
}

// WriteMsgUDP writes to addr, or to the peer if addr is nil and the socket is
// connected. Out-of-band data is refused.
func (c *UDP) WriteMsgUDP(p, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if addr == nil {
		n, err = c.writePeer(p, oob, nil)
		return n, 0, err
	}
	dst, err := c.engine.Datagram().To(addr)
	if len(oob) > 0 {
		err = Syscall(CallSendmsg, syscall.EINVAL)
	}
	n, err = c.writeTo(CallSendmsg, p, dst, addr, err)
	return n, 0, err
}

// WriteMsgUDPAddrPort is WriteMsgUDP for a netip address; the zero one is the peer.
func (c *UDP) WriteMsgUDPAddrPort(p, oob []byte, addr netip.AddrPort) (n, oobn int, err error) {
	to := UDPAddrPort{AddrPort: addr}
	if !addr.IsValid() {
		n, err = c.writePeer(p, oob, to)
		return n, 0, err
	}
	dst, err := c.engine.Datagram().ToAddrPort(addr)
	if len(oob) > 0 {
		err = Syscall(CallSendmsg, syscall.EINVAL)
	}
	n, err = c.writeTo(CallSendmsg, p, dst, to, err)
	return n, 0, err
}

// writePeer is WriteMsgUDP without an address.
func (c *UDP) writePeer(p, oob []byte, addr net.Addr) (int, error) {
	err := c.engine.Gone()
	switch {
	case err != nil:
	case !c.engine.Datagram().Connected:
		err = ErrMissingAddress
	case len(oob) > 0:
		err = Syscall(CallSendmsg, syscall.EINVAL)
	default:
		err = c.engine.Transmit(CallSendmsg, p, netip.AddrPort{})
	}
	if err != nil {
		return 0, c.engine.Name().WriteTo(addr, err)
	}
	return len(p), nil
}

// LocalAddr implements net.Conn and net.PacketConn.
func (c *UDP) LocalAddr() net.Addr { return c.engine.Name().Local }

// RemoteAddr implements net.Conn; it is nil unless the socket is connected.
func (c *UDP) RemoteAddr() net.Addr { return c.engine.Name().Remote }
