package netapi

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// Listener is net.ListenConfig over an engine's sockets of one kind, which are T. It
// keeps no state.
type Listener[T any] struct {
	// Packets chooses the UDP networks; otherwise the TCP ones are meant.
	Packets bool
	// Families are the versions of IP that the stack speaks.
	Families Families
	// Lookup resolves names; nil resolves none but localhost.
	Lookup LookupFunc
	// One announces, or fails with the bare cause, for example
	// Syscall(CallBind, syscall.EADDRINUSE), or net.ErrClosed once the stack is closed.
	One func(network string, b Bind) (T, error)
}

// Listen announces on address as net.ListenConfig's Listen and ListenPacket do.
func (l Listener[T]) Listen(ctx context.Context, network, address string) (T, error) {
	resolve := ResolveListen
	if l.Packets {
		resolve = ResolveListenPacket
	}
	b, err := resolve(ctx, network, address, l.Families, l.Lookup)
	if err != nil {
		var none T
		return none, err
	}
	return l.one(network, b)
}

// ListenAddrPort announces on laddr as net.ListenTCP and net.ListenUDP do: it resolves
// nothing, and the zero laddr means any address and port.
func (l Listener[T]) ListenAddrPort(network string, laddr netip.AddrPort) (T, error) {
	var none T
	if n, err := ParseNetwork(network); err == nil && n.TCP == l.Packets {
		return none, ListenError(network, laddr, net.UnknownNetworkError(network))
	}
	b, err := BindAddrPort(network, laddr, l.Families)
	if err != nil {
		return none, err
	}
	return l.one(network, b)
}

func (l Listener[T]) one(network string, b Bind) (T, error) {
	t, err := l.One(network, b)
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, net.ErrClosed):
		err = ClosedError(OpListen, network)
	default:
		err = ListenError(network, b.Asked, err)
	}
	var none T
	return none, err
}

// ClosedError is what a call of a closed stack fails with: it is nobody's address that
// is at fault.
func ClosedError(op, network string) error { return OpError(op, network, nil, nil, net.ErrClosed) }
