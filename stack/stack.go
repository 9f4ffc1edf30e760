package stack

import (
	"context"
	"net"

	"github.com/netduet/netduet/ifaddr"
)

// Interface describes a network interface of a stack.
type Interface = ifaddr.Interface

// Stack is a network: what package net offers, as methods of a value. Every
// method is safe for concurrent use, and its results, errors included, have the
// shape that package net gives them.
type Stack interface {
	// DialContext connects to address on network, as net.Dialer.DialContext does.
	// Networks: tcp, tcp4, tcp6, udp, udp4, udp6.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// Listen announces on a local TCP address, as net.ListenConfig.Listen does.
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	// ListenPacket announces on a local UDP address, as
	// net.ListenConfig.ListenPacket does.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	// Resolver returns the resolver that DialContext's names go through.
	Resolver() *net.Resolver
	// Interfaces returns the stack's interfaces as they are now.
	Interfaces() ([]Interface, error)
	// Close ends the stack: listeners stop, connections that were closed get up to
	// Config.CloseTimeout to deliver what was written, the others are reset. It
	// returns when nothing of the stack runs any more.
	Close() error
}
