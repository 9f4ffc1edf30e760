// Package netif is the border between the stack and what carries its frames: a
// Device with one or more Queues, through which whole frames pass in batches.
//
// It is not a driver (those are netif/tap, netif/packet, netif/xen, …, which
// import nothing of this module but netif and what stands below it) and knows no
// protocol above the link, except for what segmentation and checksum offloads
// make a device know. Beside the interfaces it holds what needs no operating
// system: the in-memory wire, the impairment layer and the capture wrapper.
//
// # Rules
//
//   - Receiving transfers ownership. A [Buf] has one owner and no reference count;
//     its owner calls Release exactly once, from any goroutine, also after the
//     device was closed. The device supplies the buffers.
//   - Sending borrows. What a [Frame] points at must stay unchanged until Write
//     has returned, and is the caller's again from then on.
//   - A device takes a frame whole or not at all. A short Write is no loss: the
//     frames not taken are still the caller's.
//   - [Meta] travels with each frame and is trusted per frame, never per device.
//   - Nothing blocks but Wait.
package netif

import (
	"context"

	"github.com/netduet/netduet/ethernet"
)

// MAC is an Ethernet hardware address.
type MAC = ethernet.Addr

// Link is the kind of frame that a device carries.
type Link uint8

const (
	// LinkEthernet frames begin with a 14-byte Ethernet header.
	LinkEthernet Link = iota
	// LinkIP frames begin with the IP header (tun, WireGuard).
	LinkIP
)

// Info describes a device. It does not change during the device's life.
type Info struct {
	// Name identifies the device for people: "tap0".
	Name string
	// Link is the kind of frame carried.
	Link Link
	// MAC is our own address on the link, not that of the far end. It is zero on
	// LinkIP.
	MAC MAC
	// MTU is the largest IP packet in bytes, link header not counted. A frame with
	// a GSO type may be larger; its segments may not.
	MTU int
	// Headroom is how many bytes in front of the first fragment the device would
	// like to use (a ring's descriptor, a virtio header); those bytes of the slice's
	// array may be overwritten during Write when MetaHeadroom is set in the frame's
	// Meta. Zero means none.
	Headroom int
	// MaxFragments is the largest number of fragments of one Frame; at least 1.
	// Drivers that must copy anyway take any number: zero means no limit.
	MaxFragments int
	// Offloads says what the device does for frames that we send, and what we must
	// expect of frames received.
	Offloads Offloads
	// QueueLen is how many frames wait to be read from one queue at most: what is sent
	// to it beyond that is lost. Zero means that it is not known, or that what finds no
	// room waits at its sender.
	QueueLen int
}

// Offloads is a set of abilities of a device.
type Offloads uint16

const (
	// TxChecksum: frames with NeedsChecksum may be written.
	TxChecksum Offloads = 1 << iota
	// TxTSO4, TxTSO6, TxUSO: frames of up to 64 KiB with that GSO type may be written.
	TxTSO4
	TxTSO6
	TxUSO
	// RxChecksum: frames may arrive with ChecksumValid or NeedsChecksum set.
	RxChecksum
	// RxGSO: frames larger than the MTU may arrive, with a GSO type.
	RxGSO
)

// Has reports whether all of want are in o.
func (o Offloads) Has(want Offloads) bool { return o&want == want }

// MetaFlags is the set of facts about one frame's checksum.
type MetaFlags uint8

const (
	// NeedsChecksum: the transport checksum field holds the (folded, not
	// complemented) sum of the pseudo-header only; the rest, from ChecksumStart to
	// the end, is still to be summed into the field at ChecksumStart+ChecksumOffset.
	// A received frame that has it came from a peer on the same machine and is as
	// good as verified.
	NeedsChecksum MetaFlags = 1 << iota
	// ChecksumValid: the device verified the transport checksum.
	ChecksumValid
	// MetaHeadroom: the sender left Info.Headroom bytes in front of the first
	// fragment for the device's use.
	MetaHeadroom
)

// GSO is the kind of segmentation that a frame larger than the MTU needs.
type GSO uint8

const (
	GSONone GSO = iota
	GSOTCP4
	GSOTCP6
	GSOUDP // each segment becomes a datagram of its own (UDP_SEGMENT)
)

// Meta is what a device knows about a frame beside its bytes, in both
// directions; it is modelled on virtio_net_hdr (VIRTIO 1.2, 5.1.6). Offsets count
// bytes from the first byte of the frame. The zero value says nothing.
type Meta struct {
	Flags MetaFlags
	GSO   GSO
	// ECN: the TCP segment carries CWR, which only the first segment may keep.
	ECN bool
	// ChecksumStart and ChecksumOffset have a meaning with NeedsChecksum only.
	ChecksumStart, ChecksumOffset uint16
	// HeaderLen is the number of bytes of all headers, repeated in each segment;
	// SegmentSize is the payload of each segment but the last. Both have a meaning
	// with a GSO type only.
	HeaderLen, SegmentSize uint16
}

// Frame is a frame to send: its bytes in order, headers first, in one or more
// fragments that may lie in a connection's send buffer. The first fragment holds
// all headers.
type Frame struct {
	Fragments [][]byte
	Meta      Meta
}

// Len returns the number of bytes of the frame.
func (f *Frame) Len() int {
	n := 0
	for _, p := range f.Fragments {
		n += len(p)
	}
	return n
}

// Device is a network interface card, or what stands for one. Its methods are
// safe for concurrent use.
type Device interface {
	// Info returns the device's description, always the same.
	Info() Info
	// Queues returns the queues, always the same and at least one.
	Queues() []Queue
	// Close ends the device: every Wait and Write, under way or later, returns
	// net.ErrClosed (or n frames taken before), and so does Read once what had
	// arrived was read. A second Close returns net.ErrClosed and does nothing.
	Close() error
}

// Queue is one pair of receive and transmit rings.
//
// Read and Wait belong to one goroutine at a time. Write and Writable may be
// called from any number of goroutines at once; a Write's frames may be
// interleaved with those of another at frame boundaries only.
type Queue interface {
	// Read takes frames that have arrived and never blocks: bufs[:n] become the
	// caller's. n is 0 when the queue is dry. An error comes without frames; it is
	// net.ErrClosed after Close, and any other error means the device is gone for
	// good. A bad frame is not an error.
	Read(bufs []*Buf) (n int, err error)
	// Wait blocks until Read may have something, the context is done (its error is
	// returned) or the device is closed. It may return early for no reason.
	Wait(ctx context.Context) error
	// Write offers frames to the device and never blocks. n is how many were taken,
	// each whole; frames[n:] were not, and err is nil when that is for want of room.
	// A frame that the device can never send (too large, too many fragments, the
	// link is down) is taken and dropped, as a wire would.
	Write(frames []Frame) (n int, err error)
	// Writable returns a channel that is closed when a Write that was short is worth
	// repeating, or the device was closed. Get it after the short Write: room that
	// came free in between has then closed it already.
	Writable() <-chan struct{}
}
