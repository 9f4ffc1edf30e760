package ipv4

import (
	"encoding/binary"
	"net/netip"
)

// Broadcast returns the limited broadcast address 255.255.255.255.
func Broadcast() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// Destination is what an address is to the interface that a packet arrived on.
type Destination uint8

const (
	// DestinationOther: somebody else's address.
	DestinationOther Destination = iota
	// DestinationLocal: an address of the interface.
	DestinationLocal
	// DestinationBroadcast: the limited broadcast address, or the directed broadcast
	// or network address of one of the interface's prefixes.
	DestinationBroadcast
	// DestinationMulticast: a group; whether the interface joined it is not known
	// here.
	DestinationMulticast
	// DestinationMartian: nothing that may appear as a destination on a link.
	DestinationMartian
)

// Classify says what dst is to an interface whose addresses, with their on-link
// prefixes, are ours.
//
// Loopback addresses are martians here (RFC 1122, section 3.2.1.3 (g)): traffic to
// oneself doesn't come from a link. So is 0.0.0.0/8 (section 3.2.1.3 (a), (b)), and
// 240/4 but for the limited broadcast address, unless the interface has the address.
func Classify(dst netip.Addr, ours []netip.Prefix) Destination {
	if !dst.Is4() {
		return DestinationMartian
	}
	for _, p := range ours {
		if p.Addr() == dst {
			return DestinationLocal
		}
	}
	b := dst.As4()
	switch {
	case b == [4]byte{255, 255, 255, 255}:
		return DestinationBroadcast
	case b[0]>>4 == 14:
		return DestinationMulticast
	case b[0] == 0, b[0] == 127, b[0]>>4 == 15:
		return DestinationMartian
	}
	if IsDirectedBroadcast(dst, ours) {
		return DestinationBroadcast
	}
	return DestinationOther
}

// IsDirectedBroadcast reports whether a is the last or the first address of one of
// the prefixes: all ones in the host part, or all zeros, the form from before
// standardisation (RFC 1122, section 3.3.6). Prefixes of 31 and 32 bits have
// neither (RFC 3021).
func IsDirectedBroadcast(a netip.Addr, prefixes []netip.Prefix) bool {
	if !a.Is4() {
		return false
	}
	b := a.As4()
	v := binary.BigEndian.Uint32(b[:])
	for _, p := range prefixes {
		if !p.Addr().Is4() || p.Bits() > 30 || p.Bits() < 0 {
			continue
		}
		host := ^uint32(0) >> p.Bits()
		if (v&host == 0 || v&host == host) && p.Contains(a) {
			return true
		}
	}
	return false
}

// CheckSource returns ErrMartianSource when src can't be the source of a packet
// that arrived on an interface whose addresses are ours: 0.0.0.0/8, loopback,
// multicast, 240/4, a broadcast address, or one of our own (RFC 1122, section
// 3.2.1.3; RFC 1812, section 5.3.7).
//
// 0.0.0.0 itself is refused too; the exception that DHCP servers need
// (RFC 1122, section 3.2.1.3 (a)) is theirs to make.
func CheckSource(src netip.Addr, ours []netip.Prefix) error {
	if !src.Is4() {
		return ErrMartianSource
	}
	b := src.As4()
	if b[0] == 0 || b[0] == 127 || b[0] >= 224 {
		return ErrMartianSource
	}
	for _, p := range ours {
		if p.Addr() == src {
			return ErrMartianSource
		}
	}
	if IsDirectedBroadcast(src, ours) {
		return ErrMartianSource
	}
	return nil
}
