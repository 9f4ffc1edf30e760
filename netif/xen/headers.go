package xen

import (
	"encoding/binary"
	"net/netip"

	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/netif"
)

const (
	etherLen  = 14
	vlanLen   = 4
	maxPacket = 65535

	protoTCP = 6
	protoUDP = 17
)

// layout is where the headers of a frame are, as both ends of a ring must find them
// by themselves: the ring says "the checksum is blank", not where it is.
type layout struct {
	tagged    bool // an 802.1Q tag is there; Linux's netback looks behind none
	v6        bool
	proto     byte
	ip        int // offset of the IP header
	transport int // offset of the TCP or UDP header
	field     int // offset of the checksum in it
	payload   int // offset of what follows it
}

// locate finds the headers of a TCP or UDP packet that is not a fragment in h, the
// beginning of a frame.
func locate(h []byte) (l layout, ok bool) {
	if len(h) < etherLen {
		return l, false
	}
	kind, at := binary.BigEndian.Uint16(h[12:]), etherLen
	if kind == 0x8100 || kind == 0x88a8 {
		if len(h) < etherLen+vlanLen {
			return l, false
		}
		kind, at, l.tagged = binary.BigEndian.Uint16(h[16:]), etherLen+vlanLen, true
	}
	l.ip = at
	p := h[at:]
	switch {
	case kind == 0x0800 && len(p) >= 20 && p[0]>>4 == 4:
		n := int(p[0]&15) * 4
		if n < 20 || binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
			return l, false
		}
		l.proto, l.transport = p[9], at+n
	case kind == 0x86dd && len(p) >= 40 && p[0]>>4 == 6:
		l.v6 = true
		var n int
		l.proto, n = p[6], 40
		// Hop-by-hop and destination options (RFC 8200, section 4). Behind a routing
		// header the checksum is over another destination (section 8.1).
		for l.proto == 0 || l.proto == 60 {
			if len(p) < n+8 {
				return l, false
			}
			l.proto, n = p[n], n+8+int(p[n+1])*8
		}
		l.transport = at + n
	default:
		return l, false
	}
	switch {
	case l.proto == protoTCP && len(h) >= l.transport+20:
		n := int(h[l.transport+12]>>4) * 4
		l.field, l.payload = 16, l.transport+n
		return l, n >= 20 && len(h) >= l.payload
	case l.proto == protoUDP && len(h) >= l.transport+8:
		l.field, l.payload = 6, l.transport+8
		return l, true
	}
	return l, false
}

// linkLen returns the length of the link header of a frame that begins with h.
func linkLen(h []byte) int {
	if len(h) >= etherLen && (h[12] == 0x81 && h[13] == 0x00 || h[12] == 0x88 && h[13] == 0xa8) {
		return etherLen + vlanLen
	}
	return etherLen
}

// pseudo returns the sum of the pseudo-header of a frame with that layout, whose
// transport segment has n bytes.
func pseudo(f []byte, l layout, n int) uint16 {
	p := f[l.ip:]
	var src, dst netip.Addr
	if l.v6 {
		src, dst = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
	} else {
		src, dst = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
	}
	return checksum.PseudoHeader(src, dst, l.proto, n).Fold()
}

// segmentLen returns the length of the transport segment as the IP header has it,
// and false if that does not fit the frame.
func segmentLen(f []byte, l layout) (int, bool) {
	p := f[l.ip:]
	n := 0
	if l.v6 {
		n = 40 + int(binary.BigEndian.Uint16(p[4:]))
	} else {
		n = int(binary.BigEndian.Uint16(p[2:]))
	}
	n -= l.transport - l.ip
	return n, n >= l.payload-l.transport && l.transport+n <= len(f)
}

// received describes a frame from a ring in terms of netif.Meta. blank and valid
// are its checksum flags; gso and size its extra information, if any. It is false
// when the two contradict each other.
func received(f []byte, blank, valid bool, gso byte, size uint16) (m netif.Meta, ok bool) {
	l, known := locate(f)
	if gso != 0 {
		n, fits := 0, false
		if known {
			n, fits = segmentLen(f, l)
		}
		switch {
		case !known || !fits || l.proto != protoTCP || size == 0:
			return m, false
		case gso == gsoTCP4 && !l.v6:
			m.GSO = netif.GSOTCP4
		case gso == gsoTCP6 && l.v6:
			m.GSO = netif.GSOTCP6
		default:
			return m, false
		}
		if !blank {
			// A large frame has no checksum that its segments could keep.
			binary.BigEndian.PutUint16(f[l.transport+l.field:], pseudo(f, l, n))
			blank = true
		}
		m.HeaderLen, m.SegmentSize = uint16(l.payload), size
		m.ECN = f[l.transport+13]&0x80 != 0
		if n-(l.payload-l.transport) <= int(size) {
			m.GSO, m.HeaderLen, m.SegmentSize, m.ECN = netif.GSONone, 0, 0, false
		}
	}
	switch {
	case blank && known:
		m.Flags |= netif.NeedsChecksum
		m.ChecksumStart, m.ChecksumOffset = uint16(l.transport), uint16(l.field)
	case blank:
		// Not TCP or UDP: there is no field that could be blank, and whoever reads the
		// frame verifies what there is.
	case valid:
		m.Flags |= netif.ChecksumValid
	}
	return m, true
}
