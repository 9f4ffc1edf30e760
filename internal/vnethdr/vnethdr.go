// Package vnethdr is the header that Linux puts in front of frames with offloads,
// struct virtio_net_hdr (VIRTIO 1.2, section 5.1.6), and netif.Meta, which says the
// same to a stack: a tap has it with IFF_VNET_HDR, a packet socket with
// PACKET_VNET_HDR.
//
// It opens no device and negotiates nothing.
package vnethdr

import (
	"encoding/binary"

	"github.com/netduet/netduet/netif"
)

// The header:
//
//	0       1       2               4               6               8               10
//	+-------+-------+---------------+---------------+---------------+---------------+
//	| flags | type  |    hdr_len    |   gso_size    |  csum_start   |  csum_offset  |
//	+-------+-------+---------------+---------------+---------------+---------------+
//
// A device may be set to a larger one (12 bytes, with a count of buffers that these
// devices do not use); what follows the ten bytes is zero when written and ignored
// when read.
const (
	Len    = 10
	MaxLen = 64 // the largest that drivers support
)

const (
	needsCsum = 1
	dataValid = 2

	gsoNone  = 0
	gsoTCP4  = 1
	gsoTCP6  = 4
	gsoUDPL4 = 5
	gsoECN   = 0x80
)

// Encode writes the header for a frame with m into h, which is at least
// Len long.
func Encode(h []byte, order binary.ByteOrder, m *netif.Meta) {
	clear(h)
	if m.Flags&netif.NeedsChecksum != 0 {
		h[0] = needsCsum
		order.PutUint16(h[6:], m.ChecksumStart)
		order.PutUint16(h[8:], m.ChecksumOffset)
	}
	switch m.GSO {
	case netif.GSONone:
		return
	case netif.GSOTCP4:
		h[1] = gsoTCP4
	case netif.GSOTCP6:
		h[1] = gsoTCP6
	case netif.GSOUDP:
		h[1] = gsoUDPL4
	}
	if m.ECN {
		h[1] |= gsoECN
	}
	order.PutUint16(h[2:], m.HeaderLen)
	order.PutUint16(h[4:], m.SegmentSize)
}

// Decode reads the header h of a frame of frameLen bytes. It reports false
// when the header points outside the frame or names a segmentation that the
// receiver could not undo; the stack may then rely on the offsets it gets.
func Decode(h []byte, order binary.ByteOrder, frameLen int) (m netif.Meta, ok bool) {
	switch h[1] &^ gsoECN {
	case gsoNone:
	case gsoTCP4:
		m.GSO = netif.GSOTCP4
	case gsoTCP6:
		m.GSO = netif.GSOTCP6
	case gsoUDPL4:
		m.GSO = netif.GSOUDP
	default:
		return netif.Meta{}, false
	}
	if m.GSO != netif.GSONone {
		m.ECN = h[1]&gsoECN != 0
		m.HeaderLen = order.Uint16(h[2:])
		m.SegmentSize = order.Uint16(h[4:])
		if m.SegmentSize == 0 || int(m.HeaderLen) > frameLen {
			return netif.Meta{}, false
		}
	}
	if h[0]&needsCsum != 0 {
		m.Flags |= netif.NeedsChecksum
		m.ChecksumStart = order.Uint16(h[6:])
		m.ChecksumOffset = order.Uint16(h[8:])
		if int(m.ChecksumStart)+int(m.ChecksumOffset)+2 > frameLen {
			return netif.Meta{}, false
		}
	} else if h[0]&dataValid != 0 {
		m.Flags |= netif.ChecksumValid
	}
	return m, true
}
