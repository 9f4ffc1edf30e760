// Package icmp is ICMP for IPv4 (RFC 792) without I/O: messages, the packet that an
// error quotes, the rules for when an error may be sent (RFC 1122, section 3.2.2),
// and a limit on how often.
//
// It is not an engine: who is told about an error, and what an echo costs, is
// decided above. ICMPv6 has other numbers and rules and a package of its own.
//
// Parse functions never panic, whatever the bytes. Encode methods write into the
// caller's slice, return the number of bytes written, and panic when it is shorter
// than that, which is a bug of the caller's.
package icmp

import (
	"encoding/binary"
	"fmt"

	"github.com/netduet/netduet/internal/checksum"
)

// HeaderLen is the number of bytes of the fixed part of every message.
const HeaderLen = 8

// Protocol is the number of ICMP in an IPv4 header.
const Protocol uint8 = 1

// Type is the type of a message (RFC 792, IANA).
type Type uint8

const (
	TypeEchoReply        Type = 0
	TypeUnreachable      Type = 3
	TypeSourceQuench     Type = 4 // obsolete, ignored (RFC 6633)
	TypeRedirect         Type = 5
	TypeEcho             Type = 8
	TypeRouterAdvert     Type = 9
	TypeRouterSolicit    Type = 10
	TypeTimeExceeded     Type = 11
	TypeParameterProblem Type = 12
	TypeTimestamp        Type = 13
	TypeTimestampReply   Type = 14
	TypeInfoRequest      Type = 15
	TypeInfoReply        Type = 16
)

// IsError reports whether messages of the type report an error, and so quote a
// packet. Types that are not known are taken for errors where an answer is at
// stake, see [MayReport].
func (t Type) IsError() bool {
	switch t {
	case TypeUnreachable, TypeSourceQuench, TypeRedirect, TypeTimeExceeded, TypeParameterProblem:
		return true
	}
	return false
}

// String returns a short name.
func (t Type) String() string {
	switch t {
	case TypeEchoReply:
		return "echo reply"
	case TypeUnreachable:
		return "destination unreachable"
	case TypeSourceQuench:
		return "source quench"
	case TypeRedirect:
		return "redirect"
	case TypeEcho:
		return "echo"
	case TypeRouterAdvert:
		return "router advertisement"
	case TypeRouterSolicit:
		return "router solicitation"
	case TypeTimeExceeded:
		return "time exceeded"
	case TypeParameterProblem:
		return "parameter problem"
	case TypeTimestamp:
		return "timestamp"
	case TypeTimestampReply:
		return "timestamp reply"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Codes of TypeUnreachable (RFC 792; RFC 1122, section 3.2.2.1; RFC 1812, section
// 5.2.7.1).
const (
	CodeNetUnreachable      uint8 = 0
	CodeHostUnreachable     uint8 = 1
	CodeProtocolUnreachable uint8 = 2
	CodePortUnreachable     uint8 = 3
	CodeFragmentationNeeded uint8 = 4
	CodeSourceRouteFailed   uint8 = 5
	CodeNetUnknown          uint8 = 6
	CodeHostUnknown         uint8 = 7
	CodeSourceIsolated      uint8 = 8
	CodeNetProhibited       uint8 = 9
	CodeHostProhibited      uint8 = 10
	CodeNetTOS              uint8 = 11
	CodeHostTOS             uint8 = 12
	CodeProhibited          uint8 = 13
	CodePrecedenceViolation uint8 = 14
	CodePrecedenceCutoff    uint8 = 15
)

// Codes of TypeTimeExceeded.
const (
	CodeTTLExceeded        uint8 = 0
	CodeReassemblyExceeded uint8 = 1
)

// Codes of TypeParameterProblem.
const (
	CodePointer       uint8 = 0
	CodeMissingOption uint8 = 1
	CodeBadLength     uint8 = 2
)

// Error is the reason why a message was refused. It is small and dense, so that it
// can index an array of counters.
type Error uint8

const (
	ErrShort    Error      = iota + 1 // the message ends within the fixed part
	ErrChecksum                       // checksum wrong
	ErrQuote                          // an error quotes too little, or no IPv4 packet
	ErrFragment                       // an error quotes a later fragment: its ports are unknown
	NumErrors   = iota + 1            // the size of an array indexed by Error
)

// Error returns the reason in words.
func (e Error) Error() string {
	switch e {
	case ErrShort:
		return "icmp: truncated message"
	case ErrChecksum:
		return "icmp: bad checksum"
	case ErrQuote:
		return "icmp: bad quoted packet"
	case ErrFragment:
		return "icmp: quotes a later fragment"
	}
	return "icmp: unknown error"
}

// Message is a decoded message.
type Message struct {
	Type Type
	Code uint8
	// Rest is the second word of the fixed part, whose meaning depends on the type:
	// see ID, Seq, MTU and Pointer.
	Rest uint32
	// Body is what follows the fixed part: the data of an echo, the packet that an
	// error quotes. It aliases the packet.
	Body []byte
}

// ID returns the identifier of an echo message.
func (m *Message) ID() uint16 { return uint16(m.Rest >> 16) }

// Seq returns the sequence number of an echo message.
func (m *Message) Seq() uint16 { return uint16(m.Rest) }

// MTU returns the MTU of the next hop that "fragmentation needed" carries; 0 comes
// from routers older than RFC 1191.
func (m *Message) MTU() int { return int(m.Rest & 0xffff) }

// Pointer returns the offset in the quoted packet that a parameter problem is
// about.
func (m *Message) Pointer() int { return int(m.Rest >> 24) }

// Echo returns the Rest of an echo message.
func Echo(id, seq uint16) uint32 { return uint32(id)<<16 | uint32(seq) }

// Parse decodes the message in packet, the payload of an IPv4 packet, and verifies
// its checksum. Unknown types are no error here. err is an [Error].
func Parse(packet []byte) (m Message, err error) {
	if len(packet) < HeaderLen {
		return Message{}, ErrShort
	}
	if checksum.Sum(packet, 0).Fold() != checksum.Valid {
		return Message{}, ErrChecksum
	}
	return Message{
		Type: Type(packet[0]),
		Code: packet[1],
		Rest: binary.BigEndian.Uint32(packet[4:8]),
		Body: packet[HeaderLen:],
	}, nil
}

// EncodeHeader writes the fixed part to b, with the checksum over it and Body,
// which may lie elsewhere, and returns HeaderLen.
func (m *Message) EncodeHeader(b []byte) int {
	p := (*[HeaderLen]byte)(b)
	p[0], p[1] = byte(m.Type), m.Code
	p[2], p[3] = 0, 0
	binary.BigEndian.PutUint32(p[4:8], m.Rest)
	c := checksum.Sum(m.Body, checksum.Sum(p[:], 0)).Checksum()
	binary.BigEndian.PutUint16(p[2:4], c)
	return HeaderLen
}

// Encode writes the whole message to b, copying Body, and returns its length.
func (m *Message) Encode(b []byte) int {
	b = b[:HeaderLen+len(m.Body)]
	copy(b[HeaderLen:], m.Body) // first: Body may lie in b
	body := m.Body
	m.Body = b[HeaderLen:]
	m.EncodeHeader(b)
	m.Body = body
	return len(b)
}

// ReplyInPlace turns the echo request in packet, which Parse has accepted, into
// its reply: only the type changes (RFC 792, "Echo or Echo Reply Message"), and the
// checksum with it. It does nothing to anything else.
func ReplyInPlace(packet []byte) {
	if len(packet) < HeaderLen || Type(packet[0]) != TypeEcho {
		return
	}
	code := uint16(packet[1])
	check := binary.BigEndian.Uint16(packet[2:4])
	check = checksum.Update(check, uint16(TypeEcho)<<8|code, uint16(TypeEchoReply)<<8|code)
	packet[0] = byte(TypeEchoReply)
	if check == 0 {
		// An update can't tell the two zeros of ones' complement apart. Which one it is
		// matters for a reply that is all zeros, the only case in which they differ.
		packet[2], packet[3] = 0, 0
		check = checksum.Sum(packet, 0).Checksum()
	}
	binary.BigEndian.PutUint16(packet[2:4], check)
}
