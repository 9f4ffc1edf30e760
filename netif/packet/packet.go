// Package packet drives an existing Ethernet interface of a Linux machine through
// packet sockets (AF_PACKET, packet(7)): our frames go out of eth0 and what comes
// in for us is read, beside the kernel's own traffic on it.
//
// It is not a bridge: the kernel keeps its address and its connections, and what
// the machine itself sends out of the interface does not reach us, nor our frames
// the machine. To talk to the machine, use a tap.
//
// # What arrives
//
// The kernel copies to us what a filter lets through (classic BPF, in filter.go):
// frames to our address and to groups, and with Config.Addrs, of unicast IP packets
// only those to these. Not our own frames, whichever queue sent them.
//
// Without Config.MAC we share the interface's address. That works on any network,
// also where only known addresses may speak (wireless, clouds); but the kernel sees
// our packets as well. It ignores them, since their addresses are none of its own,
// as long as it does not forward. With an address of our own the interface is told
// to listen to it as well; switches and hypervisors may have to be, too.
//
// # Offloads
//
// Frames of up to 64 KiB with unfinished checksums go both ways (PACKET_VNET_HDR):
// what the interface cannot segment itself the kernel does, and what it has merged
// (GRO) arrives merged. A tag that the kernel has taken out of a frame is put back.
//
// # Queues
//
// Several queues are several sockets of one fanout group. The kernel spreads flows
// over them by a hash of addresses and ports that is the same in both directions and
// for all queues' life; fragments go by the addresses alone, and what is not IP to
// one of them. It makes no difference which queue sends.
//
// Invariants: as those of package tap: a frame is sent whole or not at all; an
// interface that is down loses frames and nothing else; one that is removed ends
// the device.
package packet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/netduet/netduet/netif"
)

// minMTU is the smallest MTU an IPv4 link may have (RFC 791, section 3.2); maxMTU
// the largest IP packet.
const (
	minMTU = 68
	maxMTU = 65535
)

const (
	etherLen = 14
	vlanLen  = 4
)

const (
	maxQueues = 256 // the kernel's PACKET_FANOUT_MAX before Linux 5.14
	maxAddrs  = 128 // what surely fits a filter
)

// Config says which interface to use and how.
type Config struct {
	// Name is the interface's. It must be Ethernet, and need not be up.
	Name string
	// MAC is our address. Zero shares the interface's.
	MAC netif.MAC
	// MTU is the largest IP packet in bytes, from 68 to the interface's MTU, which is
	// also what 0 means.
	MTU int
	// Addrs, unless empty, are our IP addresses: unicast packets to others are not
	// read. Sharing the interface's MAC without them, we get the machine's traffic,
	// too. At most 128.
	Addrs []netip.Addr
	// Promiscuous has the interface take all frames of its link, as long as the
	// device is open: for hardware that has no room for one more address, and for
	// groups that nobody on this machine is in.
	Promiscuous bool
	// Queues is the number of queues, 0 meaning 1.
	Queues int
}

// validate checks what needs no kernel.
func (c *Config) validate() error {
	switch {
	case c.Name == "":
		return errors.New("packet: no interface: name one of this machine, such as eth0")
	case len(c.Name) > 15:
		return fmt.Errorf("packet: the interface name %q is longer than 15 bytes", c.Name)
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU):
		return fmt.Errorf("packet: an MTU of %d is outside %d to %d", c.MTU, minMTU, maxMTU)
	case c.MAC[0]&1 != 0:
		return fmt.Errorf("packet: %v is a multicast address: a device's own has an even first byte", net.HardwareAddr(c.MAC[:]))
	case c.Queues < 0 || c.Queues > maxQueues:
		return fmt.Errorf("packet: a device has 1 to %d queues", maxQueues)
	case len(c.Addrs) > maxAddrs:
		return fmt.Errorf("packet: %d addresses are more than the %d that a filter holds: leave them out", len(c.Addrs), maxAddrs)
	}
	for _, a := range c.Addrs {
		if !a.IsValid() || a.Is4In6() || a.IsUnspecified() {
			return fmt.Errorf("packet: %v is not an address of ours to filter by", a)
		}
	}
	return nil
}

// Device is an interface opened for our frames.
type Device struct {
	info     netif.Info
	index    int
	queues   []netif.Queue
	count    counters
	closed   atomic.Bool
	lost     atomic.Bool // a sender found the interface gone
	wake     func()      // ends every Wait
	drops    func()
	shutdown func() // ends the driver; called once
}

// Open opens the interface that cfg describes. The context bounds the opening only.
// Errors say in one line what to do about them.
func Open(ctx context.Context, cfg Config) (*Device, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return open(&cfg)
}

// Info implements netif.Device.
func (d *Device) Info() netif.Info { return d.info }

// Queues implements netif.Device.
func (d *Device) Queues() []netif.Queue { return d.queues }

// Close implements netif.Device. When it has returned, the sockets are closed and no
// goroutine of the device is left.
func (d *Device) Close() error {
	if d.closed.Swap(true) {
		return net.ErrClosed
	}
	d.drops()
	d.shutdown()
	return nil
}

// Stats counts the frames that came to nothing in the driver.
type Stats struct {
	// RxDropped frames found the sockets' buffers full.
	RxDropped uint64
	// RxTruncated frames were larger than the MTU the device was opened with, without
	// being several segments.
	RxTruncated uint64
	// RxMalformed frames had offloads that cannot be expressed, or contradict the
	// frame.
	RxMalformed uint64
	// TxDown frames were sent while the interface was down.
	TxDown uint64
	// TxDropped frames found the interface's queue full.
	TxDropped uint64
	// TxUnsendable frames were too short or too long for the link, had too many
	// fragments, or a GSO type that Info does not announce.
	TxUnsendable uint64
	// TxRefused frames were refused by the kernel.
	TxRefused uint64
}

type counters struct {
	rxDropped, rxTruncated, rxMalformed, txDown, txDropped, txUnsendable, txRefused atomic.Uint64
}

// Stats returns the counters.
func (d *Device) Stats() Stats {
	if !d.closed.Load() {
		d.drops()
	}
	return Stats{
		RxDropped:    d.count.rxDropped.Load(),
		RxTruncated:  d.count.rxTruncated.Load(),
		RxMalformed:  d.count.rxMalformed.Load(),
		TxDown:       d.count.txDown.Load(),
		TxDropped:    d.count.txDropped.Load(),
		TxUnsendable: d.count.txUnsendable.Load(),
		TxRefused:    d.count.txRefused.Load(),
	}
}
