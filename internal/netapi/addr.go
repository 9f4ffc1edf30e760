package netapi

import (
	"net"
	"net/netip"
)

// Network is a network name taken apart.
type Network struct {
	Name string // as given, for errors: "tcp4"
	TCP  bool   // otherwise UDP
	Want byte   // '4' or '6' if the name asks for one version of IP, otherwise 0
}

// ParseNetwork reads a network name: tcp, tcp4, tcp6, udp, udp4 or udp6. The
// error for any other, ip and unix included, is net.UnknownNetworkError.
func ParseNetwork(name string) (Network, error) {
	n := Network{Name: name}
	switch name {
	case "tcp", "tcp4", "tcp6":
		n.TCP = true
	case "udp", "udp4", "udp6":
	default:
		return Network{}, net.UnknownNetworkError(name)
	}
	if len(name) == 4 {
		n.Want = name[3]
	}
	return n, nil
}

// Transport returns "tcp" or "udp".
func (n Network) Transport() string {
	if n.TCP {
		return "tcp"
	}
	return "udp"
}

// LookupNetwork returns the name that net.Resolver.LookupNetIP has for the
// versions of IP that n admits: "ip", "ip4" or "ip6".
func (n Network) LookupNetwork() string {
	switch n.Want {
	case '4':
		return "ip4"
	case '6':
		return "ip6"
	}
	return "ip"
}

// admits reports whether ip is of a version that n asks for.
func (n Network) admits(ip netip.Addr) bool {
	switch n.Want {
	case '4':
		return ip.Is4()
	case '6':
		return ip.Is6()
	}
	return true
}

// Addr returns ap as the type that package net has for network: *net.TCPAddr
// for names that begin with "tcp", otherwise *net.UDPAddr. An invalid address
// stays a nil IP, which prints as ":80".
func Addr(network string, ap netip.AddrPort) net.Addr {
	if len(network) >= 3 && network[:3] == "tcp" {
		return net.TCPAddrFromAddrPort(ap)
	}
	return net.UDPAddrFromAddrPort(ap)
}

// optAddr is Addr where the zero AddrPort means that there is none.
func optAddr(network string, ap netip.AddrPort) net.Addr {
	if ap == (netip.AddrPort{}) {
		return nil
	}
	return Addr(network, ap)
}

// AddrPort returns what a *net.TCPAddr or *net.UDPAddr holds, unmapped, and
// whether a is one of the two and not nil. A nil IP becomes an invalid Addr.
func AddrPort(a net.Addr) (netip.AddrPort, bool) {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		if a == nil {
			return ap, false
		}
		ap = a.AddrPort()
	case *net.UDPAddr:
		if a == nil {
			return ap, false
		}
		ap = a.AddrPort()
	default:
		return ap, false
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true
}

// Families says which versions of IP a stack speaks.
type Families struct {
	IPv4, IPv6 bool
}

// Has reports whether the stack speaks the version of ip.
func (f Families) Has(ip netip.Addr) bool {
	if ip.Is4() || ip.Is4In6() {
		return f.IPv4
	}
	return f.IPv6
}

// Loopback returns the loopback address of the stack: 127.0.0.1 if it speaks
// IPv4, otherwise ::1.
func (f Families) Loopback() netip.Addr {
	if f.IPv4 || !f.IPv6 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}
