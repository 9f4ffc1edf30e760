package arp

import (
	"net/netip"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/neigh"
)

// Local is what a handler has to know of its interface.
type Local interface {
	// Owns reports whether ip is an address of the interface.
	Owns(ip netip.Addr) bool
	// OnLink reports whether ip can be a neighbour's: it lies in an on-link prefix
	// of the interface and is not its broadcast address.
	OnLink(ip netip.Addr) bool
}

// Handler turns the ARP packets of one interface into answers, and into evidence
// for its neighbour cache. It has no state of its own; it is as safe for concurrent
// use as the table.
type Handler[P any] struct {
	// HW is the interface's hardware address.
	HW    ethernet.Addr
	Local Local
	Neigh *neigh.Table[P]
}

// Outcome is what came of a packet.
type Outcome struct {
	// Reply is to be sent to Reply.TargetHW, when HasReply is set.
	Reply    Packet
	HasReply bool
	// Err says why the packet was refused or is nothing to us; it is an [Error] or
	// nil. ErrConflict is worth telling somebody.
	Err error
}

// Input takes in a packet. What the cache wants done about it is appended to acts.
//
// The sender's claim is evidence of the weakest kind unless the packet is directed
// at us: package neigh documents what that can change. A sender that can't be a
// neighbour, because its addresses are impossible, off-link or ours, changes
// nothing and gets no answer.
func (h *Handler[P]) Input(now clock.Time, p *Packet, acts []neigh.Action[P]) (Outcome, []neigh.Action[P]) {
	if !p.SenderHW.IsUnicast() || p.SenderHW == h.HW {
		return Outcome{Err: ErrSender}, acts
	}
	forUs := h.Local.Owns(p.TargetIP)
	if p.IsProbe() {
		// The address is in use, by us. The prober has no address to be learnt (RFC
		// 5227, section 2.1.1).
		if forUs {
			return Outcome{Reply: p.Reply(h.HW), HasReply: true}, acts
		}
		return Outcome{Err: ErrNotForUs}, acts
	}
	if ipv4.CheckSource(p.SenderIP, nil) != nil {
		return Outcome{Err: ErrSender}, acts
	}
	if h.Local.Owns(p.SenderIP) {
		return Outcome{Err: ErrConflict}, acts
	}
	if !h.Local.OnLink(p.SenderIP) {
		return Outcome{Err: ErrOffLink}, acts
	}
	var out Outcome
	var ev neigh.Evidence
	switch {
	case p.Op == OpRequest && forUs:
		ev = neigh.Question
		out.Reply, out.HasReply = p.Reply(h.HW), true
	case p.Op == OpReply && forUs && p.TargetHW == h.HW:
		ev = neigh.Answer
	case !p.IsAnnouncement():
		out.Err = ErrNotForUs
	}
	return out, h.Neigh.Learn(now, p.SenderIP, p.SenderHW, ev, acts)
}
