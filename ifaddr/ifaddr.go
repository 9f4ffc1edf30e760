// Package ifaddr describes a network interface of a stack, whichever backend
// plays it. It is a leaf so that backends can share the type without importing
// each other; it holds data and no behaviour.
package ifaddr

import (
	"net"
	"net/netip"
)

// Interface is a snapshot of one interface.
type Interface struct {
	// Index is positive and unique within the stack.
	Index int
	// Name is unique within the stack, and is the zone of link-local addresses.
	Name string
	// MTU is the largest IP packet in bytes that the link carries.
	MTU int
	// HardwareAddr is nil on links without one.
	HardwareAddr net.HardwareAddr
	// Flags has net.FlagUp and its kin.
	Flags net.Flags
	// Addrs holds each address with the length of its on-link prefix; the address
	// is the interface's own and is not masked. A prefix cannot carry a zone, so
	// the zone of a link-local address is Name.
	Addrs []netip.Prefix
}
