package netapi

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
)

// SortRFC6724 orders dsts in place, best first, by the rules for destinations of
// RFC 6724, section 6, as package net does before it dials. source returns the
// address that the stack would send from, and false if it has no way to dst.
// Equal destinations keep their order. Rules 3, 4 and 7 (deprecated and home
// addresses, tunnels) do not apply: a stack that has them chooses its source
// accordingly.
func SortRFC6724(dsts []netip.Addr, source func(dst netip.Addr) (src netip.Addr, ok bool)) {
	if len(dsts) < 2 {
		return
	}
	candidates := make([]candidate, len(dsts))
	for i, dst := range dsts {
		c := candidate{addr: dst, dst: policyOf(dst), dstScope: scopeOf(dst)}
		if src, ok := source(dst); ok && src.IsValid() {
			c.usable = true
			c.src, c.srcScope = policyOf(src), scopeOf(src)
			if dst.Is6() && src.Is6() {
				c.common = commonPrefix(dst, src)
			}
		}
		candidates[i] = c
	}
	slices.SortStableFunc(candidates, compareCandidates)
	for i, c := range candidates {
		dsts[i] = c.addr
	}
}

// candidate is a destination with the source that belongs to it.
type candidate struct {
	addr               netip.Addr
	usable             bool
	dst, src           policy
	dstScope, srcScope uint8
	common             int // bits of prefix that the two share, IPv6 only
}

// compareCandidates returns a negative number if a is to be tried before b.
func compareCandidates(a, b candidate) int {
	// Rule 1: avoid unusable destinations.
	if c := prefer(a.usable, b.usable); c != 0 || !a.usable {
		return c
	}
	// Rule 2: prefer matching scope.
	if c := prefer(a.dstScope == a.srcScope, b.dstScope == b.srcScope); c != 0 {
		return c
	}
	// Rule 5: prefer matching label.
	if c := prefer(a.dst.label == a.src.label, b.dst.label == b.src.label); c != 0 {
		return c
	}
	// Rule 6: prefer higher precedence.
	if c := cmp.Compare(b.dst.precedence, a.dst.precedence); c != 0 {
		return c
	}
	// Rule 8: prefer smaller scope.
	if c := cmp.Compare(a.dstScope, b.dstScope); c != 0 {
		return c
	}
	// Rule 9: use longest matching prefix. Not for IPv4, where it would undo the
	// order in which servers spread load; package net leaves it out as well.
	if a.addr.Is6() && b.addr.Is6() {
		return cmp.Compare(b.common, a.common)
	}
	// Rule 10: otherwise leave the order unchanged.
	return 0
}

func prefer(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// policy is a line of the default policy table: RFC 6724, section 2.1.
type policy struct {
	precedence, label uint8
}

func policyOf(ip netip.Addr) policy {
	b := ip.As16()
	zeros := func(n int) bool {
		for _, x := range b[:n] {
			if x != 0 {
				return false
			}
		}
		return true
	}
	switch {
	case zeros(15) && b[15] == 1: // ::1/128
		return policy{50, 0}
	case ip.Is4() || ip.Is4In6(): // ::ffff:0:0/96
		return policy{35, 4}
	case zeros(12): // ::/96
		return policy{1, 3}
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0: // 2001::/32, Teredo
		return policy{5, 5}
	case b[0] == 0x20 && b[1] == 0x02: // 2002::/16, 6to4
		return policy{30, 2}
	case b[0] == 0x3f && b[1] == 0xfe: // 3ffe::/16
		return policy{1, 12}
	case b[0] == 0xfe && b[1]&0xc0 == 0xc0: // fec0::/10
		return policy{1, 11}
	case b[0]&0xfe == 0xfc: // fc00::/7
		return policy{3, 13}
	}
	return policy{40, 1} // ::/0
}

// Scopes, numbered as in multicast addresses: RFC 6724, section 3.1.
const (
	scopeLink   = 0x2
	scopeSite   = 0x5
	scopeGlobal = 0xe
)

func scopeOf(ip netip.Addr) uint8 {
	b := ip.As16()
	switch {
	case ip.IsLoopback(), ip.IsLinkLocalUnicast():
		return scopeLink
	case ip.Is6() && !ip.Is4In6() && ip.IsMulticast():
		return b[1] & 0x0f
	case ip.Is6() && b[0] == 0xfe && b[1]&0xc0 == 0xc0:
		return scopeSite
	}
	// Private IPv4 addresses are global: RFC 6724, section 3.2.
	return scopeGlobal
}

// commonPrefix counts the leading bits that a and b share within the 64 bits
// that are network: RFC 6724, section 2.2, with the prefix length that nearly
// every IPv6 link has.
func commonPrefix(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	n := 0
	for i := range 8 {
		if d := x[i] ^ y[i]; d != 0 {
			return n + bits.LeadingZeros8(d)
		}
		n += 8
	}
	return n
}
