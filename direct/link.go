package direct

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/ifaddr"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/neigh"
	"github.com/netduet/netduet/netif"
)

var broadcastAddr = ipv4.Broadcast()

// port is a device with the interfaces on it.
type port struct {
	st     *Stack
	dev    netif.Device
	info   netif.Info
	queues []*queue
	ifaces []*iface // one for each VLAN
	// loopback: what is written comes back as our own traffic.
	loopback bool
}

// iface is one interface. But for the neighbour cache it is immutable.
type iface struct {
	st    *Stack
	port  *port
	index int
	name  string
	mtu   int
	vlan  uint16
	addrs []netip.Prefix
	// onLink are the destinations outside addrs that are on the link all the same.
	onLink []netip.Prefix
	link   link

	neighbors neighbors
}

// byVLAN returns the port's interface for frames with the given tag, or nil.
func (p *port) byVLAN(id uint16) *iface {
	for _, ifc := range p.ifaces {
		if ifc.vlan == id {
			return ifc
		}
	}
	return nil
}

// queue returns the queue that the flow with the given hint transmits on.
func (p *port) queue(hint int) *queue { return p.queues[uint(hint)%uint(len(p.queues))] }

// Owns and OnLink make an iface an arp.Local.
func (ifc *iface) Owns(ip netip.Addr) bool {
	for _, p := range ifc.addrs {
		if p.Addr() == ip {
			return true
		}
	}
	return false
}

func (ifc *iface) OnLink(ip netip.Addr) bool {
	for _, p := range ifc.addrs {
		if p.Contains(ip) {
			return !ipv4.IsDirectedBroadcast(ip, ifc.addrs)
		}
	}
	for _, p := range ifc.onLink {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

func (ifc *iface) loopback() bool { return ifc.port.loopback }

// describe returns the public description.
func (ifc *iface) describe() ifaddr.Interface {
	d := ifaddr.Interface{
		Index: ifc.index,
		Name:  ifc.name,
		MTU:   ifc.mtu,
		Flags: net.FlagUp | net.FlagRunning,
		Addrs: append([]netip.Prefix(nil), ifc.addrs...),
	}
	switch {
	case ifc.loopback():
		d.Flags |= net.FlagLoopback
	case ifc.link.ethernet:
		d.HardwareAddr = append(net.HardwareAddr(nil), ifc.link.mac[:]...)
		d.Flags |= net.FlagBroadcast | net.FlagMulticast
	default:
		d.Flags |= net.FlagPointToPoint
	}
	return d
}

// link is the link layer of an interface: the header in front of each packet and
// whether neighbours have addresses of their own. On an IP link the header is
// empty and there is nobody to be resolved.
type link struct {
	ethernet bool
	header   int // bytes: 0, 14, or 18 with a VLAN tag
	mac      ethernet.Addr
	vlan     uint16
}

func newLink(info netif.Info, vlan uint16) link {
	if info.Link != netif.LinkEthernet {
		return link{}
	}
	l := link{ethernet: true, header: ethernet.HeaderLen, mac: info.MAC, vlan: vlan}
	if vlan != 0 {
		l.header += ethernet.TagLen
	}
	return l
}

// put writes the header for a packet of kind typ to dst into the last header bytes
// of b.
func (l *link) put(b []byte, dst ethernet.Addr, typ ethernet.Type) {
	if l.header == 0 {
		return
	}
	b = b[len(b)-l.header:]
	h := ethernet.Header{Dst: dst, Src: l.mac, Type: typ}
	if l.vlan == 0 {
		h.Encode(b)
		return
	}
	h.Type = ethernet.TypeVLAN
	n := h.Encode(b)
	t := ethernet.Tag{ID: l.vlan, Type: typ}
	t.Encode(b[n:])
}

// neighbors is the neighbour cache of an Ethernet interface. Its lock is a leaf:
// what the cache wants done is done after it was released.
type neighbors struct {
	mu      sync.Mutex
	table   *neigh.Table[*held]
	handler arp.Handler[*held]
	claims  []*arp.Claim
	timer   timer
	// gen changes whenever an address that a connection remembers may be outdated.
	gen atomic.Uint32
}

// held is an IP packet that waits for its neighbour, behind headroom bytes that
// leave room for the link header. meta is complete.
type held struct {
	mem  *slab
	n    int // length of the packet
	meta netif.Meta
}

func (h *held) packet() []byte { return h.mem.b[headroom : headroom+h.n] }

// How many packets wait for a neighbour, and on an interface: Linux keeps about a
// hundred frames (unres_qlen_bytes), so that a burst which begins a conversation is
// not cut.
const (
	heldPerNeighbor = 128
	heldInAll       = 512
)

func (ifc *iface) initNeighbors(now clock.Time) {
	n := &ifc.neighbors
	st := ifc.st
	st.timers.bind(&n.timer, ifc, uint64(ifc.index))
	if !ifc.link.ethernet {
		return
	}
	n.table = neigh.New[*held](neigh.Config{Rand: st.random, MaxQueue: heldPerNeighbor, MaxQueued: heldInAll})
	n.handler = arp.Handler[*held]{HW: ifc.link.mac, Local: ifc, Neigh: n.table}
	for _, p := range ifc.addrs {
		// The address was configured: it is announced, not probed for (RFC 5227,
		// section 2.3, without 2.1), since the program uses it from the first moment.
		n.claims = append(n.claims, arp.NewClaim(now, ifc.link.mac, p.Addr(), false, st.random))
	}
}

// tso reports whether the device cuts large segments of IPv4 up.
func (ifc *iface) tso() bool { return ifc.port.info.Offloads.Has(netif.TxTSO4 | netif.TxChecksum) }
