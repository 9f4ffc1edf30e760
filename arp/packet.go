// Package arp is the Address Resolution Protocol for IPv4 over Ethernet (RFC 826)
// and the parts of IPv4 address conflict detection (RFC 5227) that a host needs,
// without I/O.
//
// It is not a cache: package neigh holds what is known of neighbours, and
// [Handler] feeds it. [Claim] probes for and announces an address of our own.
//
// [Parse] never panics, whatever the bytes. Encode writes into the caller's slice,
// returns the number of bytes written, and panics when it is shorter than that,
// which is a bug of the caller's.
package arp

import (
	"encoding/binary"
	"net/netip"

	"github.com/netduet/netduet/ethernet"
)

// PacketLen is the number of bytes of a packet.
const PacketLen = 28

// Op is an operation (RFC 826, "Packet format").
type Op uint16

const (
	OpRequest Op = 1
	OpReply   Op = 2
)

// Hardware and protocol of the only kind of packet there is here: Ethernet with
// 6-byte addresses, IPv4 with 4-byte ones.
const (
	hardwareEthernet = 1
	hardwareLen      = 6
	protocolLen      = 4
)

// Error is the reason why a packet was refused or ignored. It is small and dense,
// so that it can index an array of counters.
type Error uint8

const (
	ErrShort    Error      = iota + 1 // the packet is truncated
	ErrHardware                       // not Ethernet with 6-byte addresses
	ErrProtocol                       // not IPv4 with 4-byte addresses
	ErrOp                             // neither request nor reply
	ErrSender                         // the sender's addresses can't be those of a neighbour
	ErrOffLink                        // the sender is not on this link
	ErrConflict                       // another station uses one of our addresses
	ErrNotForUs                       // about addresses that are nothing to us
	NumErrors   = iota + 1            // the size of an array indexed by Error
)

// Error returns the reason in words.
func (e Error) Error() string {
	switch e {
	case ErrShort:
		return "arp: truncated packet"
	case ErrHardware:
		return "arp: not Ethernet"
	case ErrProtocol:
		return "arp: not IPv4"
	case ErrOp:
		return "arp: neither request nor reply"
	case ErrSender:
		return "arp: impossible sender"
	case ErrOffLink:
		return "arp: sender is not on this link"
	case ErrConflict:
		return "arp: another station uses our address"
	case ErrNotForUs:
		return "arp: not for us"
	}
	return "arp: unknown error"
}

// Packet is a decoded packet. The addresses of IP are IPv4 ones.
type Packet struct {
	Op       Op
	SenderHW ethernet.Addr
	SenderIP netip.Addr
	TargetHW ethernet.Addr
	TargetIP netip.Addr
}

// Parse decodes the packet at the start of b; what follows it is padding. Its
// addresses are not judged. err is an [Error].
func Parse(b []byte) (p Packet, err error) {
	if len(b) < PacketLen {
		return Packet{}, ErrShort
	}
	w := (*[PacketLen]byte)(b)
	if binary.BigEndian.Uint16(w[0:2]) != hardwareEthernet || w[4] != hardwareLen {
		return Packet{}, ErrHardware
	}
	if ethernet.Type(binary.BigEndian.Uint16(w[2:4])) != ethernet.TypeIPv4 || w[5] != protocolLen {
		return Packet{}, ErrProtocol
	}
	p.Op = Op(binary.BigEndian.Uint16(w[6:8]))
	if p.Op != OpRequest && p.Op != OpReply {
		return Packet{}, ErrOp
	}
	p.SenderHW = ethernet.Addr(w[8:14])
	p.SenderIP = netip.AddrFrom4([4]byte(w[14:18]))
	p.TargetHW = ethernet.Addr(w[18:24])
	p.TargetIP = netip.AddrFrom4([4]byte(w[24:28]))
	return p, nil
}

// Encode writes the packet to b and returns PacketLen. It panics when an address
// is not an IPv4 one.
func (p *Packet) Encode(b []byte) int {
	w := (*[PacketLen]byte)(b)
	binary.BigEndian.PutUint16(w[0:2], hardwareEthernet)
	binary.BigEndian.PutUint16(w[2:4], uint16(ethernet.TypeIPv4))
	w[4], w[5] = hardwareLen, protocolLen
	binary.BigEndian.PutUint16(w[6:8], uint16(p.Op))
	sender, target := p.SenderIP.As4(), p.TargetIP.As4()
	copy(w[8:14], p.SenderHW[:])
	copy(w[14:18], sender[:])
	copy(w[18:24], p.TargetHW[:])
	copy(w[24:28], target[:])
	return PacketLen
}

// IsProbe reports whether the packet asks whether an address is in use, without
// claiming it: a request with sender 0.0.0.0 (RFC 5227, section 1.1).
func (p *Packet) IsProbe() bool {
	return p.Op == OpRequest && p.SenderIP == netip.IPv4Unspecified()
}

// IsAnnouncement reports whether the packet claims an address unasked: sender and
// target are the same (RFC 5227, section 1.1; the "gratuitous ARP" of RFC 5944,
// section 4.6, may also be a reply).
func (p *Packet) IsAnnouncement() bool { return p.SenderIP == p.TargetIP }

// Request returns the packet by which the station hw with the address ip asks for
// the hardware address of target. It is sent to the broadcast address, or to a
// neighbour's for a check that it is still there.
func Request(hw ethernet.Addr, ip, target netip.Addr) Packet {
	return Packet{Op: OpRequest, SenderHW: hw, SenderIP: ip, TargetIP: target}
}

// Probe returns the packet by which the station hw asks whether target is in use,
// before it takes that address (RFC 5227, section 2.1.1). It is broadcast.
func Probe(hw ethernet.Addr, target netip.Addr) Packet {
	return Packet{Op: OpRequest, SenderHW: hw, SenderIP: netip.IPv4Unspecified(), TargetIP: target}
}

// Announcement returns the packet by which the station hw claims ip (RFC 5227,
// section 2.3). It is broadcast.
func Announcement(hw ethernet.Addr, ip netip.Addr) Packet {
	return Packet{Op: OpRequest, SenderHW: hw, SenderIP: ip, TargetIP: ip}
}

// Reply returns the answer to request p from the station hw, which has the address
// asked for. It is sent to p.SenderHW.
func (p *Packet) Reply(hw ethernet.Addr) Packet {
	return Packet{Op: OpReply, SenderHW: hw, SenderIP: p.TargetIP, TargetHW: p.SenderHW, TargetIP: p.SenderIP}
}
