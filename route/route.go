// Package route answers which way a packet goes: the most specific of a set of
// routes, for IPv4 and IPv6 alike.
//
// It is not a routing protocol, and holds no interfaces: an interface is a number.
// A [Table] is immutable: whoever changes the routes makes a new one and swaps the
// pointer, so that lookups need no lock.
package route

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Route is one way to a set of destinations.
type Route struct {
	// Prefix is the set of destinations; bits beyond its length are ignored. Without
	// bits, it is the default route.
	Prefix netip.Prefix
	// Gateway is the router to send to. The zero Addr means that the destinations
	// are on the link: the next hop is the destination.
	Gateway netip.Addr
	// Source is the address that packets along this route prefer as their source; the
	// zero Addr leaves the choice to the interface.
	Source netip.Addr
	// Interface is the index of the interface, positive.
	Interface int
	// Metric decides between routes to the same prefix: the lowest wins, and among
	// equals the one that was given first.
	Metric int
}

// NextHop returns the neighbour that a packet to dst along r is handed to: the
// gateway, or dst itself.
func (r *Route) NextHop(dst netip.Addr) netip.Addr {
	if r.Gateway.IsValid() {
		return r.Gateway
	}
	return dst
}

// Validate returns an error that says what is wrong with r, or nil.
func (r *Route) Validate() error {
	switch {
	case !r.Prefix.IsValid():
		return errors.New("route: no destination prefix: give one, such as 0.0.0.0/0")
	case r.Interface <= 0:
		return fmt.Errorf("route %v: no interface", r.Prefix)
	case r.Prefix.Addr().Is4In6():
		return fmt.Errorf("route %v: write an IPv4 prefix, not an IPv4-mapped one", r.Prefix)
	case r.Gateway.IsValid() && r.Gateway.Is4() != r.Prefix.Addr().Is4():
		return fmt.Errorf("route %v: the gateway %v is of the other IP version", r.Prefix, r.Gateway)
	case r.Gateway.IsValid() && (r.Gateway.IsUnspecified() || r.Gateway.IsMulticast()):
		return fmt.Errorf("route %v: %v can't be a gateway", r.Prefix, r.Gateway)
	case r.Source.IsValid() && r.Source.Is4() != r.Prefix.Addr().Is4():
		return fmt.Errorf("route %v: the source %v is of the other IP version", r.Prefix, r.Source)
	}
	return nil
}

// Table is an immutable set of routes. The zero value and nil have none. It is safe
// for concurrent use.
type Table struct {
	// routes is in the order of preference: longest prefix first, then lowest metric,
	// then as given.
	routes []Route
	v4     []entry4
	v6     []entry6
	// byLen4 and byLen6 take over when there are too many routes to walk: the
	// lengths in use, longest first, each with its prefixes.
	byLen4, byLen6 []length
}

// entry4 and entry6 are what a walk compares: a match has the bits of addr where
// mask has ones.
type entry4 struct {
	addr, mask uint32
	route      int
}

type entry6 struct {
	hi, lo, maskHi, maskLo uint64
	route                  int
}

type length struct {
	bits  int
	first map[netip.Prefix]int // masked prefix to the first of its routes
}

// walkMax is the number of routes of one version beyond which a map per prefix
// length is faster than a walk.
const walkMax = 32

// New returns the table of routes, which may be in any order and are copied. The
// error says which route is wrong.
func New(routes []Route) (*Table, error) {
	t := &Table{routes: slices.Clone(routes)}
	for i := range t.routes {
		r := &t.routes[i]
		if err := r.Validate(); err != nil {
			return nil, err
		}
		r.Prefix = r.Prefix.Masked()
	}
	slices.SortStableFunc(t.routes, func(a, b Route) int {
		if c := cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()); c != 0 {
			return c
		}
		if c := a.Prefix.Addr().Compare(b.Prefix.Addr()); c != 0 {
			return c
		}
		return cmp.Compare(a.Metric, b.Metric)
	})
	for i := range t.routes {
		p := t.routes[i].Prefix
		if p.Addr().Is4() {
			b := p.Addr().As4()
			t.v4 = append(t.v4, entry4{binary.BigEndian.Uint32(b[:]), ^uint32(0) << (32 - p.Bits()), i})
		} else {
			b := p.Addr().As16()
			hi, lo := mask128(p.Bits())
			t.v6 = append(t.v6, entry6{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), hi, lo, i})
		}
	}
	if len(t.v4) > walkMax {
		t.byLen4 = t.index(true)
	}
	if len(t.v6) > walkMax {
		t.byLen6 = t.index(false)
	}
	return t, nil
}

func mask128(bits int) (hi, lo uint64) {
	if bits <= 64 {
		return ^uint64(0) << (64 - bits), 0
	}
	return ^uint64(0), ^uint64(0) << (128 - bits)
}

func (t *Table) index(v4 bool) []length {
	var ls []length
	for i := range t.routes {
		p := t.routes[i].Prefix
		if p.Addr().Is4() != v4 {
			continue
		}
		if n := len(ls); n == 0 || ls[n-1].bits != p.Bits() {
			ls = append(ls, length{p.Bits(), make(map[netip.Prefix]int)})
		}
		m := ls[len(ls)-1].first
		if _, ok := m[p]; !ok {
			m[p] = i
		}
	}
	return ls
}

// Lookup returns the route to dst: the longest prefix that contains it, then the
// lowest metric, then the one given first. ok is false when there is none. dst's
// zone is ignored; an IPv4-mapped dst is an IPv6 address.
func (t *Table) Lookup(dst netip.Addr) (r Route, ok bool) {
	if i := t.lookup(dst, 0); i >= 0 {
		return t.routes[i], true
	}
	return Route{}, false
}

// LookupOn is Lookup among the routes of one interface: for packets bound to it,
// such as those to a link-local address.
func (t *Table) LookupOn(dst netip.Addr, iface int) (r Route, ok bool) {
	if i := t.lookup(dst, iface); i >= 0 {
		return t.routes[i], true
	}
	return Route{}, false
}

// lookup returns the index of the route, or -1. iface 0 means any.
func (t *Table) lookup(dst netip.Addr, iface int) int {
	if t == nil || !dst.IsValid() {
		return -1
	}
	if dst.Is4() {
		if t.byLen4 != nil {
			return t.lookupIndexed(t.byLen4, dst, iface)
		}
		b := dst.As4()
		v := binary.BigEndian.Uint32(b[:])
		for i := range t.v4 {
			e := &t.v4[i]
			if v&e.mask == e.addr && (iface == 0 || t.routes[e.route].Interface == iface) {
				return e.route
			}
		}
		return -1
	}
	if t.byLen6 != nil {
		return t.lookupIndexed(t.byLen6, dst.WithZone(""), iface)
	}
	b := dst.As16()
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	for i := range t.v6 {
		e := &t.v6[i]
		if hi&e.maskHi == e.hi && lo&e.maskLo == e.lo && (iface == 0 || t.routes[e.route].Interface == iface) {
			return e.route
		}
	}
	return -1
}

func (t *Table) lookupIndexed(ls []length, dst netip.Addr, iface int) int {
	for _, l := range ls {
		p, err := dst.Prefix(l.bits)
		if err != nil {
			return -1
		}
		i, ok := l.first[p]
		if !ok {
			continue
		}
		// The routes of one prefix stand next to each other.
		for ; i < len(t.routes) && t.routes[i].Prefix == p; i++ {
			if iface == 0 || t.routes[i].Interface == iface {
				return i
			}
		}
	}
	return -1
}

// Routes returns a copy of the routes in the order of preference.
func (t *Table) Routes() []Route {
	if t == nil {
		return nil
	}
	return slices.Clone(t.routes)
}
