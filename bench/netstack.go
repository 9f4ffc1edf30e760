package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// netstack is gVisor's netstack the way programs use it: on a link of its own, with
// gonet's connections. The settings are those of package gvisor.
type netstack struct {
	s *stack.Stack
}

const netstackNIC = 1

// newNetstack returns a stack with one address on link.
func newNetstack(link stack.LinkEndpoint, addr netip.Prefix) (*netstack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC, udp.NewProtocol, icmp.NewProtocol4},
	})
	sack := tcpip.TCPSACKEnabled(true)
	rack := tcpip.TCPRACKLossDetection
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 1 << 20, Max: 6 << 20}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 1 << 20, Max: 4 << 20}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &rack, &moderate, &receive, &send} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return nil, fmt.Errorf("gVisor's TCP: %s", err)
		}
	}
	if err := s.CreateNIC(netstackNIC, link); err != nil {
		return nil, fmt.Errorf("gVisor's interface: %s", err)
	}
	address := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(addr.Addr().As4()), PrefixLen: addr.Bits()}
	if err := s.AddProtocolAddress(netstackNIC, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address}, stack.AddressProperties{}); err != nil {
		return nil, fmt.Errorf("gVisor's address: %s", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: address.Subnet(), NIC: netstackNIC}})
	return &netstack{s: s}, nil
}

func (n *netstack) address(a string) (tcpip.FullAddress, error) {
	ap, err := netip.ParseAddrPort(a)
	if err != nil {
		return tcpip.FullAddress{}, err
	}
	return tcpip.FullAddress{NIC: netstackNIC, Addr: tcpip.AddrFrom4(ap.Addr().As4()), Port: ap.Port()}, nil
}

func (n *netstack) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	a, err := n.address(address)
	if err != nil {
		return nil, err
	}
	return gonet.DialContextTCP(ctx, n.s, a, ipv4.ProtocolNumber)
}

func (n *netstack) Listen(_ context.Context, _, address string) (net.Listener, error) {
	a, err := n.address(address)
	if err != nil {
		return nil, err
	}
	return gonet.ListenTCP(n.s, a, ipv4.ProtocolNumber)
}

func (n *netstack) ListenPacket(_ context.Context, _, address string) (net.PacketConn, error) {
	a, err := n.address(address)
	if err != nil {
		return nil, err
	}
	return gonet.DialUDP(n.s, &a, nil, ipv4.ProtocolNumber)
}

func (n *netstack) retransmits() int64 { return int64(n.s.Stats().TCP.Retransmits.Value()) }

func (n *netstack) Close() error { n.s.Destroy(); return nil }
