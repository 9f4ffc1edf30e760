package netapi

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// Bind is a local address to listen at.
type Bind struct {
	// Asked is the address as the program gave it, for errors: its Addr is invalid
	// if no host was given.
	Asked netip.AddrPort
	// Addr is the address to bind. A wildcard is 0.0.0.0 if Families holds IPv4
	// alone, otherwise "::", which is also what Listener.Addr should show: net
	// reports "[::]:80" for a socket that takes both versions.
	Addr netip.AddrPort
	// Families are the versions of IP that the socket receives: one, or both for a
	// wildcard on a stack that has both and a network that does not choose.
	Families Families
}

// ResolveListen turns the address of Listen into what to bind, for a stack that
// speaks families. It accepts what net.ListenConfig does: an empty address or
// host and unspecified addresses are wildcards, the port may be a service name
// or 0, and of several addresses that a name has the first IPv4 one is taken. On
// a network that chooses a version the wildcard holds that version alone;
// otherwise every wildcard means all versions, 0.0.0.0 and "::" alike.
//
// The error is a *net.OpError for "listen", ready to be returned. A UDP network
// is refused as net refuses it: "unexpected address type".
func ResolveListen(ctx context.Context, network, address string, families Families, lookup LookupFunc) (Bind, error) {
	return resolveBind(ctx, network, address, true, families, lookup)
}

// ResolveListenPacket is ResolveListen for ListenPacket, which takes the UDP
// networks.
func ResolveListenPacket(ctx context.Context, network, address string, families Families, lookup LookupFunc) (Bind, error) {
	return resolveBind(ctx, network, address, false, families, lookup)
}

func resolveBind(ctx context.Context, network, address string, tcp bool, families Families, lookup LookupFunc) (Bind, error) {
	n, err := ParseNetwork(network)
	if err != nil {
		return Bind{}, OpError(OpListen, network, nil, nil, err)
	}
	list, err := resolve(ctx, n, address, families, lookup)
	if err != nil {
		return Bind{}, OpError(OpListen, network, nil, nil, err)
	}
	asked := list[0]
	for _, ap := range list {
		if ap.Addr().Is4() {
			asked = ap
			break
		}
	}
	if n.TCP != tcp {
		return Bind{}, ListenError(network, asked, &net.AddrError{Err: "unexpected address type", Addr: address})
	}
	b, err := bind(n, asked, families)
	if err != nil {
		return Bind{}, ListenError(network, asked, err)
	}
	return b, nil
}

// BindAddrPort is ResolveListen for an address that needs no parsing, as
// net.ListenTCP and net.ListenUDP take it. The error is a *net.OpError.
func BindAddrPort(network string, asked netip.AddrPort, families Families) (Bind, error) {
	n, err := ParseNetwork(network)
	if err == nil {
		var b Bind
		asked = netip.AddrPortFrom(asked.Addr().Unmap(), asked.Port())
		if b, err = bind(n, asked, families); err == nil {
			return b, nil
		}
	}
	return Bind{}, ListenError(network, asked, err)
}

func bind(n Network, asked netip.AddrPort, families Families) (Bind, error) {
	b := Bind{Asked: asked}
	ip := asked.Addr()
	if ip.IsValid() && !ip.IsUnspecified() {
		if !n.admits(ip) {
			return b, &net.AddrError{Err: "non-" + n.version() + " address", Addr: ip.String()}
		}
		if !families.Has(ip) {
			return b, Syscall(CallSocket, syscall.EAFNOSUPPORT)
		}
		b.Addr = asked
		b.Families = Families{IPv4: ip.Is4(), IPv6: !ip.Is4()}
		return b, nil
	}
	b.Families = families
	switch n.Want {
	case '4':
		b.Families.IPv6 = false
	case '6':
		b.Families.IPv4 = false
	}
	switch {
	case b.Families.IPv6:
		b.Addr = netip.AddrPortFrom(netip.IPv6Unspecified(), asked.Port())
	case b.Families.IPv4:
		b.Addr = netip.AddrPortFrom(netip.IPv4Unspecified(), asked.Port())
	default:
		return b, Syscall(CallSocket, syscall.EAFNOSUPPORT)
	}
	return b, nil
}

// version names the version of IP that n asks for, as net's errors do.
func (n Network) version() string {
	if n.Want == '6' {
		return "IPv6"
	}
	return "IPv4"
}
