package ipv4

import (
	"encoding/binary"
	"net/netip"

	"github.com/netduet/netduet/internal/checksum"
)

const (
	// HeaderLen is the number of bytes of a header without options.
	HeaderLen = 20
	// MaxHeaderLen is that of one with the most options that fit.
	MaxHeaderLen = 60
	// MaxOptionsLen is the room for options.
	MaxOptionsLen = MaxHeaderLen - HeaderLen
	// MaxLen is the largest datagram, header included.
	MaxLen = 65535
	// MinMTU is the smallest link that carries IPv4 (RFC 791, section 3.2).
	MinMTU = 68
	// MinReassembly is the largest datagram that every host can take (RFC 791,
	// section 3.1).
	MinReassembly = 576
	// DefaultTTL is the recommended time to live (RFC 1700, "IP TIME TO LIVE").
	DefaultTTL = 64
)

// Protocol numbers (IANA), as in Header.Protocol.
const (
	ProtocolICMP uint8 = 1
	ProtocolIGMP uint8 = 2
	ProtocolTCP  uint8 = 6
	ProtocolUDP  uint8 = 17
)

// Error is the reason why a packet was refused. It is small and dense, so that it
// can index an array of counters.
type Error uint8

const (
	ErrShort              Error      = iota + 1 // the packet ends within the header
	ErrVersion                                  // not version 4
	ErrHeaderLen                                // IHL below 5, or beyond the packet
	ErrTotalLen                                 // total length below the header's, or beyond the frame
	ErrChecksum                                 // header checksum wrong
	ErrOptions                                  // malformed options
	ErrSourceRoute                              // LSRR or SSRR option
	ErrFragmentLen                              // fragment of no bytes, or not the last and no multiple of 8
	ErrFragmentEnd                              // fragment beyond 65,535 bytes: the ping of death
	ErrMartianSource                            // a source that can't be one
	ErrMartianDestination                       // a destination that can't be one
	NumErrors             = iota + 1            // the size of an array indexed by Error
)

// Error returns the reason in words.
func (e Error) Error() string {
	switch e {
	case ErrShort:
		return "ipv4: truncated header"
	case ErrVersion:
		return "ipv4: version is not 4"
	case ErrHeaderLen:
		return "ipv4: bad header length"
	case ErrTotalLen:
		return "ipv4: bad total length"
	case ErrChecksum:
		return "ipv4: bad header checksum"
	case ErrOptions:
		return "ipv4: malformed options"
	case ErrSourceRoute:
		return "ipv4: source-routed"
	case ErrFragmentLen:
		return "ipv4: bad fragment length"
	case ErrFragmentEnd:
		return "ipv4: fragment beyond the largest datagram"
	case ErrMartianSource:
		return "ipv4: martian source"
	case ErrMartianDestination:
		return "ipv4: martian destination"
	}
	return "ipv4: unknown error"
}

// Header is a decoded IPv4 header (RFC 791, section 3.1).
type Header struct {
	// Src and Dst are IPv4 addresses, never IPv4-mapped ones.
	Src, Dst netip.Addr
	// Options are the bytes between the fixed header and the payload: a multiple of
	// 4, at most MaxOptionsLen. They alias the packet.
	Options []byte
	// TotalLen is the length of the datagram or fragment, header included.
	TotalLen int
	// FragmentOffset is where the payload belongs in the datagram, in bytes, a
	// multiple of 8.
	FragmentOffset int
	ID             uint16
	// TOS is the type of service: DSCP and ECN (RFC 2474, RFC 3168).
	TOS      uint8
	TTL      uint8
	Protocol uint8
	// DontFragment and MoreFragments are the flags DF and MF.
	DontFragment, MoreFragments bool
}

const (
	flagDF     = 0x4000
	flagMF     = 0x2000
	offsetMask = 0x1fff
)

// Len returns the length of the header: HeaderLen plus the options.
func (h *Header) Len() int { return HeaderLen + len(h.Options) }

// IsFragment reports whether the packet is a part of a datagram only.
func (h *Header) IsFragment() bool { return h.MoreFragments || h.FragmentOffset != 0 }

// Parse decodes and validates the header at the start of packet and returns its
// payload, without the padding that a link may have added. err is an [Error]; h's
// fields have no meaning then.
//
// Options are walked: malformed ones and source routes are refused (RFC 7126,
// sections 4.3 and 4.4), the others are the caller's to ignore. Addresses are not
// judged, see [CheckSource] and [Classify].
func (h *Header) Parse(packet []byte) (payload []byte, err error) {
	n, err := h.parseFixed(packet)
	if err != nil {
		return nil, err
	}
	if h.TotalLen < n || h.TotalLen > len(packet) {
		return nil, ErrTotalLen
	}
	sum := checksum.Sum20((*[HeaderLen]byte)(packet))
	if n > HeaderLen {
		sum = checksum.Sum(h.Options, sum)
	}
	if sum.Fold() != checksum.Valid {
		return nil, ErrChecksum
	}
	if n > HeaderLen {
		if err := CheckOptions(h.Options); err != nil {
			return nil, err
		}
	}
	payload = packet[n:h.TotalLen]
	if h.IsFragment() {
		if len(payload) == 0 || h.MoreFragments && len(payload)%8 != 0 {
			return nil, ErrFragmentLen
		}
		if HeaderLen+h.FragmentOffset+len(payload) > MaxLen {
			return nil, ErrFragmentEnd
		}
	}
	return payload, nil
}

// ParseQuoted decodes the header of a packet that an ICMP error quotes: only its
// beginning is there, and routers on the way have changed it, so that neither the
// total length is held against the bytes present nor the checksum verified.
// The payload is what is present of it. err is an [Error].
func (h *Header) ParseQuoted(packet []byte) (payload []byte, err error) {
	n, err := h.parseFixed(packet)
	if err != nil {
		return nil, err
	}
	if h.TotalLen < n {
		return nil, ErrTotalLen
	}
	return packet[n:min(len(packet), h.TotalLen)], nil
}

// parseFixed decodes all fields and returns the header's length, which lies within
// packet.
func (h *Header) parseFixed(packet []byte) (n int, err error) {
	if len(packet) < HeaderLen {
		return 0, ErrShort
	}
	p := (*[HeaderLen]byte)(packet)
	if p[0]>>4 != 4 {
		return 0, ErrVersion
	}
	n = int(p[0]&15) * 4
	if n < HeaderLen || n > len(packet) {
		return 0, ErrHeaderLen
	}
	h.TOS = p[1]
	h.TotalLen = int(binary.BigEndian.Uint16(p[2:4]))
	h.ID = binary.BigEndian.Uint16(p[4:6])
	f := binary.BigEndian.Uint16(p[6:8])
	h.DontFragment = f&flagDF != 0
	h.MoreFragments = f&flagMF != 0
	h.FragmentOffset = int(f&offsetMask) * 8
	h.TTL = p[8]
	h.Protocol = p[9]
	h.Src = netip.AddrFrom4([4]byte(p[12:16]))
	h.Dst = netip.AddrFrom4([4]byte(p[16:20]))
	h.Options = nil
	if n > HeaderLen {
		h.Options = packet[HeaderLen:n:n]
	}
	return n, nil
}

// Encode writes the header with its options and checksum to b and returns Len(). It
// panics when Src or Dst is not an IPv4 address, when the options are no multiple
// of 4 bytes or too long, or when TotalLen or FragmentOffset don't fit their
// fields: all of them are the caller's own.
func (h *Header) Encode(b []byte) int {
	n := h.Len()
	if len(h.Options)%4 != 0 || n > MaxHeaderLen {
		panic("ipv4: options are no multiple of 4 bytes or too long")
	}
	if h.TotalLen < n || h.TotalLen > MaxLen {
		panic("ipv4: total length out of range")
	}
	if h.FragmentOffset%8 != 0 || uint(h.FragmentOffset) > offsetMask*8 {
		panic("ipv4: bad fragment offset")
	}
	b = b[:n]
	p := (*[HeaderLen]byte)(b)
	p[0] = 4<<4 | byte(n/4)
	p[1] = h.TOS
	binary.BigEndian.PutUint16(p[2:4], uint16(h.TotalLen))
	binary.BigEndian.PutUint16(p[4:6], h.ID)
	f := uint16(h.FragmentOffset / 8)
	if h.DontFragment {
		f |= flagDF
	}
	if h.MoreFragments {
		f |= flagMF
	}
	binary.BigEndian.PutUint16(p[6:8], f)
	p[8] = h.TTL
	p[9] = h.Protocol
	p[10], p[11] = 0, 0
	src, dst := h.Src.As4(), h.Dst.As4()
	copy(p[12:16], src[:])
	copy(p[16:20], dst[:])
	copy(b[HeaderLen:], h.Options)
	sum := checksum.Sum20(p)
	if n > HeaderLen {
		sum = checksum.Sum(b[HeaderLen:], sum)
	}
	binary.BigEndian.PutUint16(p[10:12], sum.Checksum())
	return n
}
