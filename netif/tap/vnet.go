package tap

import (
	"encoding/binary"

	"github.com/netduet/netduet/netif"
)

// The header in front of each frame with IFF_VNET_HDR is struct virtio_net_hdr
// (VIRTIO 1.2, section 5.1.6):
//
//	0       1       2               4               6               8               10
//	+-------+-------+---------------+---------------+---------------+---------------+
//	| flags | type  |    hdr_len    |   gso_size    |  csum_start   |  csum_offset  |
//	+-------+-------+---------------+---------------+---------------+---------------+
//
// A device may be set to a larger header (12 bytes, with a count of buffers that a
// tap does not use); what follows the ten bytes is zero when written and ignored
// when read.
const (
	vnetHdrLen    = 10
	maxVNetHdrLen = 64
)

const (
	vnetNeedsCsum = 1
	vnetDataValid = 2

	vnetGSONone  = 0
	vnetGSOTCP4  = 1
	vnetGSOTCP6  = 4
	vnetGSOUDPL4 = 5
	vnetGSOECN   = 0x80
)

// encodeVNet writes the header for a frame with m into h, which is at least
// vnetHdrLen long.
func encodeVNet(h []byte, order binary.ByteOrder, m *netif.Meta) {
	clear(h)
	if m.Flags&netif.NeedsChecksum != 0 {
		h[0] = vnetNeedsCsum
		order.PutUint16(h[6:], m.ChecksumStart)
		order.PutUint16(h[8:], m.ChecksumOffset)
	}
	switch m.GSO {
	case netif.GSONone:
		return
	case netif.GSOTCP4:
		h[1] = vnetGSOTCP4
	case netif.GSOTCP6:
		h[1] = vnetGSOTCP6
	case netif.GSOUDP:
		h[1] = vnetGSOUDPL4
	}
	if m.ECN {
		h[1] |= vnetGSOECN
	}
	order.PutUint16(h[2:], m.HeaderLen)
	order.PutUint16(h[4:], m.SegmentSize)
}

// decodeVNet reads the header h of a frame of frameLen bytes. It reports false
// when the header points outside the frame or names a segmentation that the
// receiver could not undo; the stack may then rely on the offsets it gets.
func decodeVNet(h []byte, order binary.ByteOrder, frameLen int) (m netif.Meta, ok bool) {
	switch h[1] &^ vnetGSOECN {
	case vnetGSONone:
	case vnetGSOTCP4:
		m.GSO = netif.GSOTCP4
	case vnetGSOTCP6:
		m.GSO = netif.GSOTCP6
	case vnetGSOUDPL4:
		m.GSO = netif.GSOUDP
	default:
		return netif.Meta{}, false
	}
	if m.GSO != netif.GSONone {
		m.ECN = h[1]&vnetGSOECN != 0
		m.HeaderLen = order.Uint16(h[2:])
		m.SegmentSize = order.Uint16(h[4:])
		if m.SegmentSize == 0 || int(m.HeaderLen) > frameLen {
			return netif.Meta{}, false
		}
	}
	if h[0]&vnetNeedsCsum != 0 {
		m.Flags |= netif.NeedsChecksum
		m.ChecksumStart = order.Uint16(h[6:])
		m.ChecksumOffset = order.Uint16(h[8:])
		if int(m.ChecksumStart)+int(m.ChecksumOffset)+2 > frameLen {
			return netif.Meta{}, false
		}
	} else if h[0]&vnetDataValid != 0 {
		m.Flags |= netif.ChecksumValid
	}
	return m, true
}
