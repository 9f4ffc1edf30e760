package gvisor

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/netduet/netduet/ifconf"
	"github.com/netduet/netduet/internal/netapi"
	ourip "github.com/netduet/netduet/ipv4"
)

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
	if !s.enter() {
		return nil, netapi.ClosedError(netapi.OpDial, network)
	}
	defer s.leave()
	if network[:3] == "udp" {
		c, err := s.dialUDP(network, laddr, raddr)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	c, err := s.dialTCP(ctx, network, laddr, raddr)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// newEndpoint makes an endpoint, bound to local if that says anything. The error is
// a bare cause.
func (s *Stack) newEndpoint(transport tcpip.TransportProtocolNumber, local netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error) {
	wq := new(waiter.Queue)
	ep, terr := s.net.NewEndpoint(transport, ipv4.ProtocolNumber, wq)
	if terr != nil {
		return nil, nil, failed(netapi.CallSocket, terr)
	}
	if transport == udp.ProtocolNumber {
		ep.SocketOptions().SetBroadcast(true) // as package net
	}
	if at := fullAddress(local); at != (tcpip.FullAddress{}) {
		if terr := ep.Bind(at); terr != nil {
			ep.Close()
			return nil, nil, failed(netapi.CallBind, terr)
		}
	}
	return ep, wq, nil
}

func (s *Stack) dialTCP(ctx context.Context, network string, laddr, raddr netip.AddrPort) (*TCPConn, error) {
	if raddr.Addr().IsMulticast() || s.isBroadcast(raddr.Addr()) {
		return nil, netapi.Syscall(netapi.CallConnect, syscall.ENETUNREACH) // as Linux
	}
	ep, wq, err := s.newEndpoint(tcp.ProtocolNumber, laddr)
	if err != nil {
		return nil, err
	}
	entry, ready := waiter.NewChannelEntry(writable)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	terr := ep.Connect(fullAddress(raddr))
	for {
		if _, started := terr.(*tcpip.ErrConnectStarted); terr != nil && !started {
			ep.Close()
			return nil, failed(netapi.CallConnect, terr)
		}
		switch stateOf(ep) {
		case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		case tcp.StateError, tcp.StateClose:
			if terr = ep.LastError(); terr == nil {
				terr = &tcpip.ErrConnectionAborted{}
			}
			continue
		default:
			return s.newConn(ep, wq, network), nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			ep.Close()
			return nil, ctx.Err()
		case <-s.closing:
			ep.Close()
			return nil, netapi.ClosedError(netapi.OpDial, network)
		}
	}
}

// stateOf returns the state of a TCP endpoint.
func stateOf(ep tcpip.Endpoint) tcp.EndpointState { return tcp.EndpointState(ep.State()) }

// isBroadcast reports whether a is a broadcast address of one of our links.
func (s *Stack) isBroadcast(a netip.Addr) bool {
	if a == ourip.Broadcast() {
		return true
	}
	for _, l := range s.ifaces {
		for _, p := range l.addrs {
			if p.Bits() < 31 && a == ifconf.DirectedBroadcast(p) {
				return true
			}
		}
	}
	return false
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
