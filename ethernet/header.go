// Package ethernet reads and writes Ethernet II headers, 802.1Q tags and hardware
// addresses.
//
// It is not a driver and keeps no state. The frame check sequence belongs to the
// hardware and never appears here. 802.3 frames (a length where the EtherType
// stands, LLC behind it) are recognised and refused: no protocol of this module
// uses them.
//
// Parse functions never panic, whatever the bytes. Encode methods write into the
// caller's slice, return the number of bytes written, and panic when it is shorter
// than that: it is the caller's own slice, so a short one is a bug.
package ethernet

import (
	"encoding/binary"
	"fmt"
)

const (
	// HeaderLen is the number of bytes of a header, without a tag.
	HeaderLen = 14
	// TagLen is the number of bytes that an 802.1Q tag adds.
	TagLen = 4
	// MinFrameLen is the shortest frame on a real wire, without the frame check
	// sequence: hardware pads to it (IEEE 802.3, 3.2.7), so that what follows the
	// header may be longer than the packet in it.
	MinFrameLen = 60
)

// Type is an EtherType (IEEE 802 numbers): the protocol of what follows.
type Type uint16

const (
	TypeIPv4 Type = 0x0800
	TypeARP  Type = 0x0806
	TypeVLAN Type = 0x8100 // 802.1Q tag
	TypeIPv6 Type = 0x86dd
	TypeQinQ Type = 0x88a8 // 802.1ad outer tag

	// minType is the first value that is an EtherType and no 802.3 length (IEEE
	// 802.3, 3.2.6).
	minType Type = 0x0600
)

// String returns a short name, or the number in hexadecimal.
func (t Type) String() string {
	switch t {
	case TypeIPv4:
		return "IPv4"
	case TypeARP:
		return "ARP"
	case TypeVLAN:
		return "802.1Q"
	case TypeIPv6:
		return "IPv6"
	case TypeQinQ:
		return "802.1ad"
	}
	return fmt.Sprintf("0x%04x", uint16(t))
}

// Error is the reason why a frame was refused. It is small and dense, so that it
// can index an array of counters.
type Error uint8

const (
	ErrShort  Error      = iota + 1 // the frame ends within the header or the tag
	ErrSource                       // the source is a group address or zero
	ErrLength                       // an 802.3 length instead of an EtherType
	NumErrors = iota + 1            // the size of an array indexed by Error
)

// Error returns the reason in words.
func (e Error) Error() string {
	switch e {
	case ErrShort:
		return "ethernet: truncated header"
	case ErrSource:
		return "ethernet: source is not a unicast address"
	case ErrLength:
		return "ethernet: 802.3 length, not an EtherType"
	}
	return "ethernet: unknown error"
}

// Header is an Ethernet II header.
type Header struct {
	Dst, Src Addr
	Type     Type
}

// Parse reads the header at the start of frame and returns what follows it, which
// aliases frame and may end in padding. err is an [Error].
func Parse(frame []byte) (h Header, payload []byte, err error) {
	if len(frame) < HeaderLen {
		return Header{}, nil, ErrShort
	}
	h.Dst = Addr(frame[0:6])
	h.Src = Addr(frame[6:12])
	h.Type = Type(binary.BigEndian.Uint16(frame[12:14]))
	if !h.Src.IsUnicast() {
		return Header{}, nil, ErrSource
	}
	if h.Type < minType {
		return Header{}, nil, ErrLength
	}
	return h, frame[HeaderLen:], nil
}

// Encode writes the header to b and returns HeaderLen.
func (h *Header) Encode(b []byte) int {
	p := (*[HeaderLen]byte)(b)
	copy(p[0:6], h.Dst[:])
	copy(p[6:12], h.Src[:])
	binary.BigEndian.PutUint16(p[12:14], uint16(h.Type))
	return HeaderLen
}

// Tag is an 802.1Q tag: what stands behind a header whose type is TypeVLAN or
// TypeQinQ.
type Tag struct {
	// ID is the VLAN, 12 bits; 0 means none (the tag carries a priority only), and
	// 4095 is reserved.
	ID uint16
	// Priority is the PCP, 3 bits.
	Priority uint8
	// DropEligible is the DEI.
	DropEligible bool
	// Type is the protocol behind the tag.
	Type Type
}

// ParseTag reads the tag at the start of b and returns what follows it. err is an
// [Error].
func ParseTag(b []byte) (t Tag, payload []byte, err error) {
	if len(b) < TagLen {
		return Tag{}, nil, ErrShort
	}
	tci := binary.BigEndian.Uint16(b)
	t = Tag{
		ID:           tci & 0xfff,
		Priority:     uint8(tci >> 13),
		DropEligible: tci&0x1000 != 0,
		Type:         Type(binary.BigEndian.Uint16(b[2:])),
	}
	if t.Type < minType {
		return Tag{}, nil, ErrLength
	}
	return t, b[TagLen:], nil
}

// Encode writes the tag to b and returns TagLen; bits of ID and Priority beyond
// their fields are cut off. The header in front of it needs the type TypeVLAN (or
// TypeQinQ).
func (t *Tag) Encode(b []byte) int {
	p := (*[TagLen]byte)(b)
	tci := t.ID&0xfff | uint16(t.Priority&7)<<13
	if t.DropEligible {
		tci |= 0x1000
	}
	binary.BigEndian.PutUint16(p[0:2], tci)
	binary.BigEndian.PutUint16(p[2:4], uint16(t.Type))
	return TagLen
}
