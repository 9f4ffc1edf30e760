package netapi

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
)

// LookupFunc finds the addresses of host, a name that is not an IP literal, in
// the order in which they should be tried. Network is ip, ip4 or ip6. It has the
// shape of net.Resolver.LookupNetIP. A *net.DNSError is reported as it is; any
// other error is put into one.
type LookupFunc func(ctx context.Context, network, host string) ([]netip.Addr, error)

// Resolve turns the address of a dial, "host:port", into the addresses to try,
// at least one if err is nil. The host is an IP literal, with a zone or not, or
// a name for lookup, which may be nil if the stack resolves none; an empty host
// becomes an invalid Addr, which means the stack itself. The port is a number or
// a service name. Addresses come from lookup only as far as families has them; a
// literal is returned even if the stack cannot reach it, so that the dial fails
// and not its preparation. Errors are what net puts beneath a *net.OpError.
func Resolve(ctx context.Context, network, address string, families Families, lookup LookupFunc) ([]netip.AddrPort, error) {
	n, err := ParseNetwork(network)
	if err != nil {
		return nil, err
	}
	if address == "" {
		return nil, ErrMissingAddress
	}
	return resolve(ctx, n, address, families, lookup)
}

// resolve is what dialing and listening have in common.
func resolve(ctx context.Context, n Network, address string, families Families, lookup LookupFunc) ([]netip.AddrPort, error) {
	if address == "" {
		return []netip.AddrPort{{}}, nil
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := LookupPort(n.Name, service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return []netip.AddrPort{netip.AddrPortFrom(netip.Addr{}, port)}, nil
	}
	ips, err := lookupHost(ctx, n, host, families, lookup)
	if err != nil {
		return nil, err
	}
	if len(ips) == 1 && ips[0] == netip.IPv6Unspecified() {
		// Package net lets "::" stand for both versions.
		ips = append(ips, netip.IPv4Unspecified())
	}
	var list []netip.AddrPort
	for _, ip := range ips {
		if n.admits(ip) {
			list = append(list, netip.AddrPortFrom(ip, port))
		}
	}
	if len(list) == 0 {
		return nil, &net.AddrError{Err: "no suitable address found", Addr: host}
	}
	return list, nil
}

func lookupHost(ctx context.Context, n Network, host string, families Families, lookup LookupFunc) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	if err := ctx.Err(); err != nil {
		// Whoever gives up no longer hears what could be said without asking anybody.
		return nil, DNSError(err, host, "")
	}
	if IsLocalhost(host) {
		return families.Localhost(), nil
	}
	if lookup == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	found, err := lookup(ctx, n.LookupNetwork(), host)
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			return nil, dns
		}
		return nil, DNSError(err, host, "")
	}
	ips := make([]netip.Addr, 0, len(found))
	for _, ip := range found {
		if families.Has(ip) {
			ips = append(ips, ip.Unmap())
		}
	}
	return ips, nil
}

// IsLocalhost reports whether host is "localhost" or a name under it. Such names
// are the stack's own loopback addresses and are never asked from a server:
// RFC 6761, section 6.3.
func IsLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Localhost returns the loopback addresses that the stack speaks, IPv4 first.
func (f Families) Localhost() []netip.Addr {
	var ips []netip.Addr
	if f.IPv4 {
		ips = append(ips, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	if f.IPv6 {
		ips = append(ips, netip.IPv6Loopback())
	}
	return ips
}

// DNSError returns the *net.DNSError that net makes of a failure to look name up
// at server: the errors of a context are mapped and can be unwrapped again, and
// timeouts and temporary errors keep saying so.
func DNSError(err error, name, server string) *net.DNSError {
	err = MapContext(err)
	d := &net.DNSError{Err: err.Error(), Name: name, Server: server}
	var ne net.Error
	if errors.As(err, &ne) {
		d.IsTimeout = ne.Timeout()
		//lint:ignore SA1019 package net fills its field from it, too
		d.IsTemporary = ne.Temporary()
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		d.UnwrapErr = err
	}
	return d
}
