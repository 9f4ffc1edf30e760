package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// fdNetwork is gVisor's netstack the way programs use it: its fdbased link on a
// plain tap, and gonet's connections. The settings are those of package gvisor.
type fdNetwork struct {
	s *stack.Stack
}

const fdNIC = 1

func openFDBased(setup *serverSetup) (network, error) {
	fd, err := openPlainTap(setup.Device)
	if err != nil {
		return nil, err
	}
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
	link, err := fdbased.New(&fdbased.Options{
		FDs:                []int{fd},
		MTU:                1500,
		EthernetHeader:     true,
		Address:            tcpip.LinkAddress("\x02\x67\x76\x00\x00\x02"),
		PacketDispatchMode: fdbased.Readv, // the others are for packet sockets
		GSOMaxSize:         65535,
		GVisorGSOEnabled:   true,
		GRO:                true,
		IsPacketSocket:     []bool{false},
	})
	if err != nil {
		return nil, fmt.Errorf("gVisor's link: %w", err)
	}
	if err := s.CreateNIC(fdNIC, link); err != nil {
		return nil, fmt.Errorf("gVisor's interface: %s", err)
	}
	address := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(setup.Addr.Addr().As4()), PrefixLen: setup.Addr.Bits()}
	if err := s.AddProtocolAddress(fdNIC, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address}, stack.AddressProperties{}); err != nil {
		return nil, fmt.Errorf("gVisor's address: %s", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: address.Subnet(), NIC: fdNIC}})
	return &fdNetwork{s: s}, nil
}

// openPlainTap opens a tap without the virtio header.
func openPlainTap(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("joining the tap %s: %w", name, err)
	}
	return fd, nil
}

func (n *fdNetwork) address(a string) (tcpip.FullAddress, error) {
	ap, err := netip.ParseAddrPort(a)
	if err != nil {
		return tcpip.FullAddress{}, err
	}
	return tcpip.FullAddress{NIC: fdNIC, Addr: tcpip.AddrFrom4(ap.Addr().As4()), Port: ap.Port()}, nil
}

func (n *fdNetwork) Listen(_ context.Context, _, address string) (net.Listener, error) {
	a, err := n.address(address)
	if err != nil {
		return nil, err
	}
	return gonet.ListenTCP(n.s, a, ipv4.ProtocolNumber)
}

func (n *fdNetwork) ListenPacket(_ context.Context, _, address string) (net.PacketConn, error) {
	a, err := n.address(address)
	if err != nil {
		return nil, err
	}
	return gonet.DialUDP(n.s, &a, nil, ipv4.ProtocolNumber)
}

func (n *fdNetwork) retransmits() int64 { return int64(n.s.Stats().TCP.Retransmits.Value()) }

func (n *fdNetwork) Close() error { n.s.Destroy(); return nil }
