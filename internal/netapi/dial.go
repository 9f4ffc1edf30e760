package netapi

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// DefaultFallbackDelay is how long the preferred version of IP has before the
// other is tried too: the value of package net. RFC 8305, section 8 recommends
// 250 ms and allows 100 ms to 2 s.
const DefaultFallbackDelay = 300 * time.Millisecond

// Dialer is net.Dialer over an engine's connections. DialOne and Families are
// required; it keeps no state, may be copied, and is safe for concurrent use.
type Dialer struct {
	// DialOne connects to one address, or fails with the bare cause, for example
	// Syscall(CallConnect, syscall.ECONNREFUSED) or ctx.Err(); a *net.OpError is
	// passed on as it is. laddr is Local, unmapped. raddr is neither invalid nor unspecified,
	// and of a version that the stack speaks. When ctx ends, DialOne must return
	// soon and leave nothing behind; ctx no longer matters once it has returned.
	DialOne func(ctx context.Context, network string, laddr, raddr netip.AddrPort) (net.Conn, error)

	// Lookup resolves names; nil resolves none but localhost.
	Lookup LookupFunc

	// Families are the versions of IP that the stack speaks.
	Families Families

	// Local is the local address to dial from, zero for the stack's choice. An
	// unspecified or invalid Addr leaves the address to the stack and may still
	// set the port. Destinations of the other version of IP are passed over.
	Local netip.AddrPort

	// FallbackDelay replaces DefaultFallbackDelay; negative turns the race off, so
	// that addresses are tried one after the other.
	FallbackDelay time.Duration
}

// DialContext connects to address on network as net.Dialer.DialContext does: it
// resolves the name, tries the addresses in their order with a fair share of the
// time that ctx has left for each, and on network "tcp" races the two versions
// of IP: the version of the first address starts, the other follows after
// FallbackDelay or as soon as the first has failed. The first connection wins,
// the losers are cancelled and closed. If all fail, the error is the one of the
// first address. Errors are *net.OpError for "dial".
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	list, err := Resolve(ctx, network, address, d.Families, d.Lookup)
	if err == nil {
		list, err = d.matchLocal(list)
	}
	if err != nil {
		return nil, OpError(OpDial, network, nil, nil, err)
	}
	if network != "tcp" || d.FallbackDelay < 0 {
		return d.dialSerial(ctx, network, list)
	}
	primaries, fallbacks := partition(list)
	if len(fallbacks) == 0 {
		return d.dialSerial(ctx, network, primaries)
	}
	return d.dialRace(ctx, network, primaries, fallbacks)
}

// DialAddrPort connects to raddr, without resolving anything. The zero laddr, or an
// unspecified address or port 0 in it, leaves the choice to the stack; Local is not
// looked at. An unspecified raddr is this host. Errors are *net.OpError for "dial".
func (d *Dialer) DialAddrPort(ctx context.Context, network string, laddr, raddr netip.AddrPort) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		var op *net.OpError
		if errors.As(err, &op) {
			return nil, err
		}
		return nil, DialError(network, laddr, raddr, err)
	}
	n, err := ParseNetwork(network)
	if err != nil {
		return fail(err)
	}
	if !raddr.IsValid() {
		return fail(ErrMissingAddress)
	}
	remote := netip.AddrPortFrom(raddr.Addr().Unmap(), raddr.Port())
	if remote.Addr().IsUnspecified() {
		remote = netip.AddrPortFrom(d.Families.loopbackFor(network), raddr.Port())
	}
	local := netip.AddrPortFrom(laddr.Addr().Unmap(), laddr.Port())
	bound := local.IsValid() && !local.Addr().IsUnspecified()
	if !n.admits(remote.Addr()) || !d.Families.Has(remote.Addr()) || bound && local.Addr().Is4() != remote.Addr().Is4() {
		return fail(Syscall(CallSocket, syscall.EAFNOSUPPORT))
	}
	c, err := d.DialOne(ctx, network, local, remote)
	if err != nil {
		return fail(err)
	}
	return c, nil
}

// matchLocal drops the destinations that Local cannot reach.
func (d *Dialer) matchLocal(list []netip.AddrPort) ([]netip.AddrPort, error) {
	local := d.Local.Addr().Unmap()
	if !local.IsValid() || local.IsUnspecified() {
		return list, nil
	}
	var kept []netip.AddrPort
	for _, ap := range list {
		ip := ap.Addr()
		if !ip.IsValid() || ip.IsUnspecified() || ip.Is4() == local.Is4() {
			kept = append(kept, ap)
		}
	}
	if len(kept) == 0 {
		return nil, &net.AddrError{Err: "no suitable address found", Addr: d.Local.String()}
	}
	return kept, nil
}

// partition splits list by version of IP; the first address's version leads. An
// invalid Addr, which stands for the stack itself, goes with IPv6, as in net.
func partition(list []netip.AddrPort) (primaries, fallbacks []netip.AddrPort) {
	lead := list[0].Addr().Is4()
	for _, ap := range list {
		if ap.Addr().Is4() == lead {
			primaries = append(primaries, ap)
		} else {
			fallbacks = append(fallbacks, ap)
		}
	}
	return primaries, fallbacks
}

// dialSerial tries the addresses of list in turn.
func (d *Dialer) dialSerial(ctx context.Context, network string, list []netip.AddrPort) (net.Conn, error) {
	var first error // what the first address says is most to the point
	for i, raddr := range list {
		if err := ctx.Err(); err != nil {
			// Package net lets the end of the context hide earlier failures.
			return nil, DialError(network, d.Local, raddr, err)
		}
		c, err := d.dialShare(ctx, network, raddr, len(list)-i)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// minShare is the least time an address gets while there is that much: the value
// of package net, long enough for one retransmitted SYN (RFC 6298, section 2).
const minShare = 2 * time.Second

// dialShare tries one address with its share of the time left for it and the
// others that remain.
func (d *Dialer) dialShare(ctx context.Context, network string, raddr netip.AddrPort, remaining int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && remaining > 1 {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, DialError(network, d.Local, raddr, context.DeadlineExceeded)
		}
		if share := max(left/time.Duration(remaining), minShare); share < left {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, share)
			defer cancel()
		}
	}
	c, err := d.dialAddr(ctx, network, raddr)
	if err == nil {
		return c, nil
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return nil, err
	}
	return nil, DialError(network, d.Local, raddr, err)
}

// dialAddr calls the engine for one address.
func (d *Dialer) dialAddr(ctx context.Context, network string, raddr netip.AddrPort) (net.Conn, error) {
	ip := raddr.Addr()
	switch {
	case !ip.IsValid():
		ip = d.Families.loopbackFor(network)
	case ip == netip.IPv4Unspecified():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case ip == netip.IPv6Unspecified():
		ip = netip.IPv6Loopback()
	}
	if !d.Families.Has(ip) {
		return nil, Syscall(CallSocket, syscall.EAFNOSUPPORT)
	}
	local := netip.AddrPortFrom(d.Local.Addr().Unmap(), d.Local.Port())
	c, err := d.DialOne(ctx, network, local, netip.AddrPortFrom(ip, raddr.Port()))
	if err != nil {
		return nil, err // c may be a nil pointer in an interface
	}
	return c, nil
}

// loopbackFor returns the loopback address that a dial without a host means.
func (f Families) loopbackFor(network string) netip.Addr {
	if n, err := ParseNetwork(network); err == nil && n.Want == '6' {
		return netip.IPv6Loopback()
	}
	return f.Loopback()
}

// dialRace dials primaries, and fallbacks beside them once they are late.
func (d *Dialer) dialRace(ctx context.Context, network string, primaries, fallbacks []netip.AddrPort) (net.Conn, error) {
	// The return cancels whoever still dials.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	returned := make(chan struct{})
	defer close(returned)

	type result struct {
		conn    net.Conn
		err     error
		primary bool
	}
	results := make(chan result) // unbuffered: a result is either taken or closed
	race := func(list []netip.AddrPort, primary bool) {
		c, err := d.dialSerial(ctx, network, list)
		select {
		case results <- result{c, err, primary}:
		case <-returned:
			if c != nil {
				c.Close()
			}
		}
	}
	go race(primaries, true)

	delay := d.FallbackDelay
	if delay == 0 {
		delay = DefaultFallbackDelay
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()

	var primaryErr, fallbackErr error
	started := false
	startFallback := func() {
		if !started {
			started = true
			timer.Stop()
			go race(fallbacks, false)
		}
	}
	for {
		select {
		case <-timer.C:
			startFallback()
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			if r.primary {
				primaryErr = r.err
				startFallback()
			} else {
				fallbackErr = r.err
			}
			if primaryErr != nil && fallbackErr != nil {
				return nil, primaryErr
			}
		}
	}
}
