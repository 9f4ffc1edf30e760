package netapi

import (
	"net"
	"net/netip"
	"syscall"
)

// Datagram is what a datagram socket must know of itself to judge where a write
// may go: whether it has a peer, and which versions of IP it sends.
type Datagram struct {
	Connected bool
	Families  Families // of the socket, as Bind.Families
}

// To returns the destination of WriteTo(_, addr), or the bare cause that net
// reports: net.ErrWriteToConnected, [ErrMissingAddress] for a nil *net.UDPAddr,
// syscall.EINVAL for any other type, sendto's EINVAL for a port that is none,
// *net.AddrError "non-IPv4 address", also for an IP of a length that none has.
func (d Datagram) To(addr net.Addr) (netip.AddrPort, error) {
	udp, ok := addr.(*net.UDPAddr)
	switch {
	case !ok:
		return netip.AddrPort{}, syscall.EINVAL
	case d.Connected:
		return netip.AddrPort{}, net.ErrWriteToConnected
	case udp == nil:
		return netip.AddrPort{}, ErrMissingAddress
	}
	ap, _ := AddrPort(udp)
	if len(udp.IP) != 0 && !ap.Addr().IsValid() {
		// The zero address would mean this host, which nobody wrote.
		family := "non-IPv4 address"
		if d.Families.IPv6 {
			family = "non-IPv6 address"
		}
		return netip.AddrPort{}, &net.AddrError{Err: family, Addr: udp.IP.String()}
	}
	if udp.Port < 0 || udp.Port > 0xffff {
		// Cut to 16 bits, as AddrPort does, it would be somebody else's port.
		if _, err := d.check(ap); err != nil && len(udp.IP) != 0 {
			return netip.AddrPort{}, err // package net looks at the address first
		}
		return netip.AddrPort{}, Syscall(CallSendto, syscall.EINVAL)
	}
	if !ap.Addr().IsValid() {
		// A nil IP is the wildcard of the socket's family: this host.
		return netip.AddrPortFrom(d.Families.Loopback(), ap.Port()), nil
	}
	return d.check(ap)
}

// ToAddrPort is To for WriteToUDPAddrPort.
func (d Datagram) ToAddrPort(ap netip.AddrPort) (netip.AddrPort, error) {
	switch {
	case d.Connected:
		return netip.AddrPort{}, net.ErrWriteToConnected
	case !ap.IsValid():
		return netip.AddrPort{}, ErrMissingAddress
	}
	return d.check(netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
}

func (d Datagram) check(ap netip.AddrPort) (netip.AddrPort, error) {
	ip := ap.Addr()
	if ip.Is6() && !d.Families.IPv6 {
		return netip.AddrPort{}, &net.AddrError{Err: "non-IPv4 address", Addr: ip.String()}
	}
	if ip.Is4() && !d.Families.IPv4 {
		// A socket of IPv6 alone: Linux refuses the mapped address.
		return netip.AddrPort{}, Syscall(CallSendto, syscall.ENETUNREACH)
	}
	if ip.IsUnspecified() {
		// Linux delivers to this host what is sent to the unspecified address.
		ip = Families{IPv4: ip.Is4(), IPv6: ip.Is6()}.Loopback()
	}
	return netip.AddrPortFrom(ip, ap.Port()), nil
}

// UDPAddrPort is the Addr within the *net.OpError of WriteToUDPAddrPort, which
// package net does not turn into a *net.UDPAddr.
type UDPAddrPort struct {
	netip.AddrPort
}

// Network returns "udp".
func (UDPAddrPort) Network() string { return "udp" }
