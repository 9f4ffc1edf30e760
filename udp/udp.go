// Package udp reads and writes UDP headers (RFC 768), over IPv4 and IPv6 alike:
// the addresses given say which pseudo-header is meant.
//
// It is not a socket layer: it has no ports table and no queues.
//
// [Parse] never panics, whatever the bytes. Encode methods write into the caller's
// slice, return the number of bytes written, and panic when it is shorter than
// that, which is a bug of the caller's.
package udp

import (
	"encoding/binary"
	"net/netip"

	"github.com/netduet/netduet/internal/checksum"
)

const (
	// HeaderLen is the number of bytes of a header.
	HeaderLen = 8
	// MaxLen is the largest datagram, header included.
	MaxLen = 65535
	// Protocol is the number of UDP in an IP header.
	Protocol uint8 = 17
	// ChecksumOffset is where the checksum stands in the header, for devices that
	// fill it in.
	ChecksumOffset = 6
)

// Error is the reason why a datagram was refused. It is small and dense, so that
// it can index an array of counters.
type Error uint8

const (
	ErrShort       Error      = iota + 1 // the packet ends within the header
	ErrLength                            // length field below 8, or beyond the packet
	ErrChecksum                          // checksum wrong
	ErrNoChecksum                        // checksum missing where it is mandatory: IPv6
	ErrDestination                       // destination port 0
	NumErrors      = iota + 1            // the size of an array indexed by Error
)

// Error returns the reason in words.
func (e Error) Error() string {
	switch e {
	case ErrShort:
		return "udp: truncated header"
	case ErrLength:
		return "udp: bad length"
	case ErrChecksum:
		return "udp: bad checksum"
	case ErrNoChecksum:
		return "udp: no checksum over IPv6"
	case ErrDestination:
		return "udp: destination port 0"
	}
	return "udp: unknown error"
}

// Header is a decoded UDP header without its checksum, which Parse verifies and
// Encode computes.
type Header struct {
	// Src may be 0, which means that no answer is expected (RFC 768, "Fields").
	Src, Dst uint16
	// Len is the length of the datagram, header included.
	Len int
}

// Parse decodes and validates the datagram in packet, the payload of an IP packet
// from src to dst, and returns the data. What follows the length that the header
// gives is cut off (RFC 9868 puts options there). err is an [Error].
//
// verify says that the checksum is to be verified: false when the device vouches
// for this very frame. A zero checksum means none over IPv4 (RFC 768) and is
// refused over IPv6 (RFC 8200, section 8.1) in either case.
func Parse(packet []byte, src, dst netip.Addr, verify bool) (h Header, data []byte, err error) {
	if len(packet) < HeaderLen {
		return Header{}, nil, ErrShort
	}
	p := (*[HeaderLen]byte)(packet)
	h.Src = binary.BigEndian.Uint16(p[0:2])
	h.Dst = binary.BigEndian.Uint16(p[2:4])
	h.Len = int(binary.BigEndian.Uint16(p[4:6]))
	if h.Len < HeaderLen || h.Len > len(packet) {
		return Header{}, nil, ErrLength
	}
	if h.Dst == 0 {
		return Header{}, nil, ErrDestination
	}
	if p[6] == 0 && p[7] == 0 {
		if !dst.Is4() {
			return Header{}, nil, ErrNoChecksum
		}
	} else if verify {
		sum := checksum.PseudoHeader(src, dst, Protocol, h.Len)
		if checksum.Sum(packet[:h.Len], sum).Fold() != checksum.Valid {
			return Header{}, nil, ErrChecksum
		}
	}
	return h, packet[HeaderLen:h.Len], nil
}

// Encode writes the header with its checksum over the pseudo-header, itself and
// data, which need not lie behind it, to b and returns HeaderLen. Len is set from
// data. It panics when the datagram would be larger than MaxLen.
func (h *Header) Encode(b []byte, src, dst netip.Addr, data []byte) int {
	p := h.encode(b, len(data))
	sum := checksum.Sum(p[:], checksum.PseudoHeader(src, dst, Protocol, h.Len))
	c := checksum.Sum(data, sum).Checksum()
	if c == 0 {
		// Zero would mean "no checksum"; all ones is the other zero of ones' complement
		// (RFC 768).
		c = 0xffff
	}
	binary.BigEndian.PutUint16(p[ChecksumOffset:], c)
	return HeaderLen
}

// EncodePartial writes the header with the sum of the pseudo-header only in the
// checksum field, not complemented, for a device that finishes it. dataLen is the
// length of the data.
func (h *Header) EncodePartial(b []byte, src, dst netip.Addr, dataLen int) int {
	p := h.encode(b, dataLen)
	binary.BigEndian.PutUint16(p[ChecksumOffset:], checksum.PseudoHeader(src, dst, Protocol, h.Len).Fold())
	return HeaderLen
}

func (h *Header) encode(b []byte, dataLen int) *[HeaderLen]byte {
	h.Len = HeaderLen + dataLen
	if h.Len > MaxLen {
		panic("udp: datagram too large")
	}
	p := (*[HeaderLen]byte)(b)
	binary.BigEndian.PutUint16(p[0:2], h.Src)
	binary.BigEndian.PutUint16(p[2:4], h.Dst)
	binary.BigEndian.PutUint16(p[4:6], uint16(h.Len))
	p[6], p[7] = 0, 0
	return p
}
