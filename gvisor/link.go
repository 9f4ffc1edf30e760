package gvisor

import (
	"net"
	"net/netip"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/ifaddr"
	"github.com/netduet/netduet/netif"
)

// link is one interface: a link endpoint of gVisor's. Those of one device differ in
// their VLAN.
type link struct {
	port  *port
	id    tcpip.NICID
	name  string
	mtu   int
	vlan  uint16
	mac   ethernet.Addr
	addrs []netip.Prefix
	head  int // length of the link header
	gso   stack.SupportedGSO

	// What arrives goes to these, past gVisor's NIC: that would set the trust in
	// checksums for all frames alike.
	ip4, arp stack.NetworkEndpoint

	attached atomic.Bool
}

var (
	_ stack.LinkEndpoint      = (*link)(nil)
	_ stack.GSOEndpoint       = (*link)(nil)
	_ stack.NetworkDispatcher = (*link)(nil)
)

func newLink(p *port, id tcpip.NICID, ic *Interface) *link {
	l := &link{
		port: p, id: id, name: ic.Name, mtu: ic.MTU, vlan: ic.VLAN,
		addrs: append([]netip.Prefix(nil), ic.Addrs...),
		gso:   stack.GVisorGSOSupported,
	}
	if p.info.Link == netif.LinkEthernet {
		l.mac, l.head = p.info.MAC, ethernet.HeaderLen
		if l.vlan != 0 {
			l.head += ethernet.TagLen
		}
	}
	if p.info.Offloads.Has(netif.TxTSO4 | netif.TxChecksum) {
		l.gso = stack.HostGSOSupported
	}
	p.links = append(p.links, l)
	for _, q := range p.queues {
		q.addLink(l)
	}
	return l
}

// resolve finds the network endpoints that gVisor made for the interface.
func (l *link) resolve(s *stack.Stack) tcpip.Error {
	var err tcpip.Error
	if l.ip4, err = s.GetNetworkEndpoint(l.id, ipv4.ProtocolNumber); err != nil {
		return err
	}
	l.arp, err = s.GetNetworkEndpoint(l.id, arp.ProtocolNumber)
	return err
}

// describe returns the public description.
func (l *link) describe() ifaddr.Interface {
	d := ifaddr.Interface{
		Index: int(l.id), Name: l.name, MTU: l.mtu,
		Flags: net.FlagUp | net.FlagRunning,
		Addrs: append([]netip.Prefix(nil), l.addrs...),
	}
	if l.head > 0 {
		d.HardwareAddr = append(net.HardwareAddr(nil), l.mac[:]...)
		d.Flags |= net.FlagBroadcast | net.FlagMulticast
	} else {
		d.Flags |= net.FlagPointToPoint
	}
	return d
}

// DeliverNetworkPacket implements stack.NetworkDispatcher: a received packet, whole
// or coalesced, with RXChecksumValidated as it is known of this packet.
func (l *link) DeliverNetworkPacket(protocol tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	switch {
	case !l.attached.Load():
	case protocol == ipv4.ProtocolNumber:
		l.ip4.HandlePacket(pkt)
	case protocol == arp.ProtocolNumber && l.head > 0:
		l.arp.HandlePacket(pkt)
	}
}

// DeliverLinkPacket implements stack.NetworkDispatcher. There are no packet sockets.
func (l *link) DeliverLinkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}

// MTU implements stack.LinkEndpoint.
func (l *link) MTU() uint32 { return uint32(l.mtu) }

// SetMTU implements stack.LinkEndpoint: an interface's MTU does not change.
func (l *link) SetMTU(uint32) {}

// MaxHeaderLength implements stack.LinkEndpoint.
func (l *link) MaxHeaderLength() uint16 { return uint16(l.head) }

// LinkAddress implements stack.LinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress {
	if l.head == 0 {
		return ""
	}
	return tcpip.LinkAddress(l.mac[:])
}

// SetLinkAddress implements stack.LinkEndpoint: a device's address does not change.
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.LinkEndpoint. No checksum capability is among them:
// those would hold for all frames, and leave the checksums of SYN and FIN empty.
// Data segments get theirs through GSO, and received packets say for themselves
// whether they are good.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	if l.head == 0 {
		return stack.CapabilityNone
	}
	return stack.CapabilityResolutionRequired
}

// GSOMaxSize implements stack.GSOEndpoint.
func (l *link) GSOMaxSize() uint32 { return stack.GVisorGSOMaxSize }

// SupportedGSO implements stack.GSOEndpoint.
func (l *link) SupportedGSO() stack.SupportedGSO { return l.gso }

// ARPHardwareType implements stack.LinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType {
	if l.head == 0 {
		return header.ARPHardwareNone
	}
	return header.ARPHardwareEther
}

// Attach implements stack.LinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) { l.attached.Store(d != nil) }

// IsAttached implements stack.LinkEndpoint.
func (l *link) IsAttached() bool { return l.attached.Load() }

// Wait implements stack.LinkEndpoint: the goroutines are the port's, and end before.
func (l *link) Wait() {}

// Close implements stack.LinkEndpoint: the device is closed by the Stack.
func (l *link) Close() {}

// SetOnCloseAction implements stack.LinkEndpoint.
func (l *link) SetOnCloseAction(func()) {}

// AddHeader implements stack.LinkEndpoint.
func (l *link) AddHeader(pkt *stack.PacketBuffer) {
	if l.head == 0 {
		return
	}
	b := pkt.LinkHeader().Push(l.head)
	h := ethernet.Header{Src: l.mac, Type: ethernet.Type(pkt.NetworkProtocolNumber)}
	copy(h.Dst[:], pkt.EgressRoute.RemoteLinkAddress)
	if l.vlan == 0 {
		h.Encode(b)
		return
	}
	t := ethernet.Tag{ID: l.vlan, Type: h.Type}
	h.Type = ethernet.TypeVLAN
	t.Encode(b[h.Encode(b):])
}

// ParseHeader implements stack.LinkEndpoint. It would serve packet sockets, which
// there are none of.
func (l *link) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(l.head)
	return ok
}

// WritePackets implements stack.LinkEndpoint. It never fails: like a wire, it loses
// what finds no room, and counts it.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	list := pkts.AsSlice()
	queues := l.port.queues
	for i := 0; i < len(list); {
		q := list[i].Hash % uint32(len(queues))
		j := i + 1
		for j < len(list) && list[j].Hash%uint32(len(queues)) == q {
			j++
		}
		queues[q].transmit(l, list[i:j])
		i = j
	}
	return len(list), nil
}
