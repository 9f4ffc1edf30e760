package direct

import (
	"net/netip"
	"syscall"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/neigh"
	"github.com/netduet/netduet/netif"
)

// hopCache is the hardware address of a connection's next hop, so that not every
// batch asks the neighbour cache. The connection's transmitter owns it.
type hopCache struct {
	hw    ethernet.Addr
	gen   uint32
	until clock.Time // valid before; 0: empty
}

// hopCacheTime bounds how long a remembered address is used without telling the
// neighbour cache, which must see the use to keep the entry (RFC 4861, section
// 7.3.3) and is that late at most.
const hopCacheTime = time.Second

// resolve returns the hardware address of hop. ok is false when it is not known
// yet: the packet goes to hold. progress says that the upper layer knows packets
// to arrive there (RFC 4861, section 7.3.1). cache may be nil.
func (ifc *iface) resolve(now clock.Time, hop netip.Addr, progress bool, cache *hopCache) (hw ethernet.Addr, ok bool) {
	if !ifc.link.ethernet {
		return ethernet.Addr{}, true
	}
	n := &ifc.neighbors
	if cache != nil && now < cache.until && cache.gen == n.gen.Load() {
		return cache.hw, true
	}
	if hop == broadcastAddr || ifc.isDirectedBroadcast(hop) {
		return ethernet.Broadcast(), true
	}
	if hw, ok := ethernet.Multicast(hop); ok {
		return hw, true
	}
	gen := n.gen.Load()
	n.mu.Lock()
	if progress {
		n.table.Confirm(now, hop)
	}
	hw, ok = n.table.Lookup(now, hop)
	n.timer.want(n.table.Deadline())
	n.mu.Unlock()
	if ok && cache != nil {
		*cache = hopCache{hw, gen, now.Add(hopCacheTime)}
	}
	return hw, ok
}

// hold takes a packet whose next hop is not resolved; it owns h from here on. No
// lock is held.
func (ifc *iface) hold(now clock.Time, hop netip.Addr, h *held) {
	if !ifc.st.mem.charge(len(h.mem.b), false) {
		ifc.st.count.arp.heldDropped.Add(1)
		ifc.st.mem.putSlab(h.mem)
		return
	}
	ifc.st.count.arp.held.Add(1)
	var store [4]neigh.Action[*held]
	n := &ifc.neighbors
	n.mu.Lock()
	acts := n.table.Enqueue(now, hop, h, store[:0])
	ifc.deliver(acts)
	n.timer.want(n.table.Deadline())
	n.mu.Unlock()
	ifc.perform(now, acts)
}

// arpInput takes an ARP packet.
func (ifc *iface) arpInput(rx *receiver, b []byte) {
	st := ifc.st
	n := &ifc.neighbors
	p, err := arp.Parse(b)
	if err != nil {
		count[arp.Error](st.count.arp.invalid[:], err)
		return
	}
	if p.Op == arp.OpRequest {
		st.count.arp.requestsIn.Add(1)
	} else {
		st.count.arp.repliesIn.Add(1)
	}
	var store [20]neigh.Action[*held]
	var defend arp.Packet
	var conflict, defending bool
	n.mu.Lock()
	out, acts := n.handler.Input(rx.now, &p, store[:0])
	ifc.deliver(acts)
	for _, c := range n.claims {
		if d, send, clash := c.Input(rx.now, &p); clash {
			conflict, defending, defend = true, send, d
		}
	}
	n.timer.want(n.table.Deadline())
	n.gen.Add(1)
	n.mu.Unlock()
	if out.Err != nil {
		count[arp.Error](st.count.arp.invalid[:], out.Err)
	}
	if conflict && defending {
		// At most once in 10 s for each address: the claim sees to that.
		st.log.Warn("another station uses our address", "interface", ifc.name, "address", p.SenderIP, "station", p.SenderHW)
		ifc.sendARP(&defend, ethernet.Broadcast())
	}
	if out.HasReply {
		st.count.arp.repliesOut.Add(1)
		ifc.sendARP(&out.Reply, out.Reply.TargetHW)
	}
	ifc.perform(rx.now, acts)
}

// expired runs the neighbour cache's timers, and announcements.
func (ifc *iface) expired(now clock.Time) {
	n := &ifc.neighbors
	if n.table == nil {
		return
	}
	var store [20]neigh.Action[*held]
	var claims []arp.Packet
	n.mu.Lock()
	n.timer.armed = 0
	acts := n.table.Advance(now, store[:0])
	ifc.deliver(acts)
	next := n.table.Deadline()
	for _, c := range n.claims {
		if p, send := c.Advance(now); send {
			claims = append(claims, p)
		}
		next = min(next, c.Deadline())
	}
	n.timer.want(next)
	n.gen.Add(1)
	n.mu.Unlock()
	for i := range claims {
		ifc.sendARP(&claims[i], ethernet.Broadcast())
	}
	ifc.perform(now, acts)
}

// deliver sends the packets among acts whose neighbour is found. The cache's lock
// is held, so that nobody learns of the address and overtakes them meanwhile.
func (ifc *iface) deliver(acts []neigh.Action[*held]) {
	for i := range acts {
		if acts[i].Op != neigh.Deliver {
			continue
		}
		h := acts[i].Packet
		ifc.link.put(h.mem.b[:headroom], acts[i].HW, ethernet.TypeIPv4)
		frags := [1][]byte{h.mem.b[headroom-ifc.link.header : headroom+h.n]}
		ifc.port.queue(0).sendOne(netif.Frame{Fragments: frags[:], Meta: h.meta})
	}
}

// perform carries out what else the neighbour cache wants done, and gives the
// packets' memory back. No lock is held.
func (ifc *iface) perform(now clock.Time, acts []neigh.Action[*held]) {
	st := ifc.st
	for i := range acts {
		a := &acts[i]
		switch a.Op {
		case neigh.Solicit:
			src, ok := st.sourceFor(ifc, a.IP)
			if !ok {
				continue
			}
			dst := a.HW
			if dst.IsZero() {
				dst = ethernet.Broadcast()
			}
			p := arp.Request(ifc.link.mac, src, a.IP)
			st.count.arp.requestsOut.Add(1)
			ifc.sendARP(&p, dst)
			continue
		case neigh.Deliver: // done
		case neigh.Fail:
			st.count.arp.failed.Add(1)
			st.localError(now, a.Packet.packet(), syscall.EHOSTUNREACH)
		case neigh.Drop:
			st.count.arp.heldDropped.Add(1)
		}
		st.mem.credit(len(a.Packet.mem.b))
		st.mem.putSlab(a.Packet.mem)
	}
}

// forgetNeighbors drops what still waits for a neighbour.
func (ifc *iface) forgetNeighbors() {
	n := &ifc.neighbors
	if n.table == nil {
		return
	}
	n.mu.Lock()
	acts := n.table.Flush(nil)
	n.mu.Unlock()
	ifc.perform(ifc.st.clk.Now(), acts)
}

// sendARP sends p to the station dst.
func (ifc *iface) sendARP(p *arp.Packet, dst ethernet.Addr) {
	var b [headroom + arp.PacketLen]byte
	p.Encode(b[headroom:])
	ifc.link.put(b[:headroom], dst, ethernet.TypeARP)
	frags := [1][]byte{b[headroom-ifc.link.header:]}
	ifc.port.queue(0).sendOne(netif.Frame{Fragments: frags[:]})
}

// Neighbor is an entry of a neighbour cache.
type Neighbor struct {
	Interface string // the interface's name
	neigh.Neighbour
}

// Neighbors returns the neighbour caches' entries as they are now.
func (s *Stack) Neighbors() []Neighbor {
	var list []Neighbor
	now := s.clk.Now()
	for _, ifc := range s.ifaces {
		n := &ifc.neighbors
		if n.table == nil {
			continue
		}
		n.mu.Lock()
		n.table.All(now, func(e neigh.Neighbour) bool {
			list = append(list, Neighbor{ifc.name, e})
			return true
		})
		n.mu.Unlock()
	}
	return list
}
