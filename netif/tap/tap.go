// Package tap drives a tap: an Ethernet interface of the kernel's whose other end
// is a file. What the kernel sends out of the interface is read here, and what is
// written here the kernel receives.
//
// There are two drivers, and the choice is made in open_*.go, nowhere else:
//
//   - "native" on Linux speaks to /dev/net/tun itself: an own or an inherited
//     descriptor, one or several queues, persistent or not, with or without the
//     virtio header that carries netif.Meta. It waits through the runtime's poller,
//     reads frames with readv(2) until the queue is dry and sends each with one
//     writev(2); it has no goroutine while it can send, and allocates nothing per
//     frame. With the header, frames with unfinished checksums and of up to 64 KiB
//     pass in both directions, unless Config.Offload is off.
//   - "water" uses github.com/songgao/water, whose Read and Write block: on macOS
//     (with a tap kernel extension), on Windows (with OpenVPN's tap driver), and on
//     Linux when asked for. Two goroutines and two bounded rings stand between.
//
// It does not configure the kernel's end: addresses, routes and "up" are those of
// whoever owns the interface (`ip`, or `netduet run`).
//
// Invariants: a frame is sent whole or not at all; one that the kernel refuses, or
// that comes while the link is down, is dropped and counted and never ends the
// device; nothing is trusted about an inherited descriptor that was not asked of
// the kernel.
//
// The header and the offloads belong to the interface and not to the descriptor:
// Open sets the offloads either way, and who opens a queue of a tap that another
// process uses should do it with the same Config.Offload.
//
// With several queues the kernel hands the frames of a flow to the queue on which
// its frames were last written (a table of 1,024 flows, by a hash that is the same
// in both directions); flows that it does not know go by that hash.
package tap

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/netduet/netduet/netif"
)

// Drivers, as Config.Driver names them.
const (
	DriverNative = "native"
	DriverWater  = "water"
)

// minMTU is the smallest MTU an IPv4 link may have (RFC 791, section 3.2); maxMTU
// is what the kernel lets a tap have: 65535 less the Ethernet header.
const (
	minMTU = 68
	maxMTU = 65535 - etherLen
)

const (
	etherLen = 14
	vlanLen  = 4 // an 802.1Q tag may stand between header and packet
)

// Offload chooses who completes checksums and cuts large segments.
type Offload uint8

const (
	// OffloadAuto leaves both to whoever does it cheapest, as far as the kernel and
	// the driver can: frames of up to 64 KiB go both ways, most checksums are never
	// computed. It is some ten times faster in bulk.
	OffloadAuto Offload = iota
	// OffloadOff has only complete frames within the MTU, in both directions.
	OffloadOff
	// OffloadOn is OffloadAuto, but the tap does not open without.
	OffloadOn
)

// Config says which tap to open and how. The zero value opens a new tap that the
// kernel names and removes on Close.
type Config struct {
	// Name is the interface's name. Empty, or with "%d" in it, lets the kernel choose
	// the next free one; Info tells which. An existing tap of that name is joined,
	// else one is made, which needs CAP_NET_ADMIN.
	Name string
	// MAC is our address; it must not be the kernel's end's. Zero derives one from
	// the machine's identity and the interface's name: locally administered, and the
	// same after a restart.
	MAC netif.MAC
	// MTU is the largest IP packet in bytes, from 68 to 65521; 0 takes the
	// interface's. One larger than the interface's is set there as well, which needs
	// CAP_NET_ADMIN.
	MTU int
	// Persistent keeps the interface after Close. A tap that is persistent already
	// stays so either way.
	Persistent bool
	// Offload says whether the kernel may leave checksums and segmentation to us, and
	// we to it; the zero value uses what there is.
	Offload Offload
	// VNetHdr has the virtio header (IFF_VNET_HDR) in front of frames even with
	// Offload off, for queues shared with programs that expect it.
	VNetHdr bool
	// Queues is the number of queues, 0 meaning 1. More than one needs a tap made
	// with multi_queue, or a new one.
	Queues int
	// FDs are open descriptors of a tap, one a queue, inherited or received from who
	// could open it. Name, Persistent, VNetHdr and Queues must then be zero: the
	// kernel is asked. They belong to the device once Open succeeded, and are the
	// caller's when it failed.
	FDs []int
	// Driver chooses the driver; empty means the platform's own.
	Driver string
}

// validate checks what needs no kernel.
func (c *Config) validate() error {
	if c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU) {
		return fmt.Errorf("tap: an MTU of %d is outside %d to %d", c.MTU, minMTU, maxMTU)
	}
	if c.MAC[0]&1 != 0 {
		return fmt.Errorf("tap: %v is a multicast address: a device's own has an even first byte", net.HardwareAddr(c.MAC[:]))
	}
	if c.Queues < 0 || c.Queues > maxQueues || len(c.FDs) > maxQueues {
		return fmt.Errorf("tap: a tap has 1 to %d queues", maxQueues)
	}
	if len(c.FDs) > 0 && (c.Name != "" || c.Persistent || c.VNetHdr || c.Queues > 1) {
		return fmt.Errorf("tap: an inherited descriptor is what it is: leave name, persistence, header and queues out")
	}
	if c.Offload > OffloadOn {
		return fmt.Errorf("tap: unknown Offload %d", c.Offload)
	}
	switch c.Driver {
	case "", DriverNative, DriverWater:
		return nil
	}
	return fmt.Errorf("tap: unknown driver %q: it is %q or %q", c.Driver, DriverNative, DriverWater)
}

// maxQueues is the kernel's MAX_TAP_QUEUES.
const maxQueues = 256

// Device is an open tap.
type Device struct {
	info   netif.Info
	queues []netif.Queue
	count  counters

	free     chan struct{} // closed: what Writable returns while there is room
	closed   atomic.Bool
	shutdown func() // ends the driver; called once
}

func newDevice(info netif.Info) *Device {
	d := &Device{info: info, free: make(chan struct{})}
	close(d.free)
	return d
}

// Open opens the tap that cfg describes. The context bounds the opening only.
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

// Close implements netif.Device. When it has returned, the descriptors are closed
// and no goroutine of the device is left. A tap that is not persistent and that
// nobody else holds is removed by the kernel.
func (d *Device) Close() error {
	if d.closed.Swap(true) {
		return net.ErrClosed
	}
	d.shutdown()
	return nil
}

// Stats counts the frames that came to nothing in the driver.
type Stats struct {
	// RxTruncated frames were larger than the MTU the device was opened with, without
	// being several segments.
	RxTruncated uint64
	// RxMalformed frames were shorter than their headers, or had a virtio header that
	// contradicts the frame.
	RxMalformed uint64
	// TxDown frames were sent while the kernel's end was down.
	TxDown uint64
	// TxUnsendable frames were too short or too long for the link, had too many
	// fragments, or needed an offload that Info does not announce.
	TxUnsendable uint64
	// TxRefused frames were refused by the kernel.
	TxRefused uint64
}

type counters struct {
	rxTruncated, rxMalformed, txDown, txUnsendable, txRefused atomic.Uint64
}

// Stats returns the counters.
func (d *Device) Stats() Stats {
	return Stats{
		RxTruncated:  d.count.rxTruncated.Load(),
		RxMalformed:  d.count.rxMalformed.Load(),
		TxDown:       d.count.txDown.Load(),
		TxUnsendable: d.count.txUnsendable.Load(),
		TxRefused:    d.count.txRefused.Load(),
	}
}

// sendable reports whether the device could ever send the frame.
func (d *Device) sendable(f *netif.Frame, length int) bool {
	if length < etherLen {
		return false
	}
	if f.Meta.Flags&netif.NeedsChecksum != 0 && !d.info.Offloads.Has(netif.TxChecksum) {
		return false
	}
	switch f.Meta.GSO {
	case netif.GSONone:
		return length <= etherLen+d.info.MTU || tagged(f) && length <= etherLen+vlanLen+d.info.MTU
	case netif.GSOTCP4:
		return d.info.Offloads.Has(netif.TxTSO4) && length <= maxGSOFrame
	case netif.GSOTCP6:
		return d.info.Offloads.Has(netif.TxTSO6) && length <= maxGSOFrame
	case netif.GSOUDP:
		return d.info.Offloads.Has(netif.TxUSO) && length <= maxGSOFrame
	}
	return false
}

// tagged reports whether the frame has an 802.1Q or 802.1ad tag, which makes it
// four bytes longer than the MTU says.
func tagged(f *netif.Frame) bool {
	h := f.Fragments[0]
	return len(h) >= etherLen && (h[12] == 0x81 && h[13] == 0x00 || h[12] == 0x88 && h[13] == 0xa8)
}

// maxGSOFrame is an IP packet of the largest size with its link header.
const maxGSOFrame = 65535 + etherLen + vlanLen
