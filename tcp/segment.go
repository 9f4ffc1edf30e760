package tcp

import (
	"encoding/binary"
	"errors"
)

// HeaderLen is the length of a TCP header without options; MaxHeaderLen with the
// most options (RFC 9293, section 3.1).
const (
	HeaderLen    = 20
	MaxHeaderLen = 60
)

// Flags are the control bits, as they stand in the header.
type Flags uint8

const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Has reports whether any of want is set.
func (f Flags) Has(want Flags) bool { return f&want != 0 }

// String returns the flags as packet scripts write them: "S.", "F.", "P.".
func (f Flags) String() string {
	const letters = "FSRP.UEW"
	var b []byte
	for i := 0; i < 8; i++ {
		if i != 4 && f&(1<<i) != 0 {
			b = append(b, letters[i])
		}
	}
	if f&ACK != 0 {
		b = append(b, '.')
	}
	return string(b)
}

// SACKBlock is a range of sequence numbers [Left, Right) that arrived out of order
// (RFC 2018).
type SACKBlock struct{ Left, Right Seq }

// Options are the options of a segment that the stack understands.
type Options struct {
	// MSS is the sender's maximum segment size; 0 if the option is absent. SYN only.
	MSS uint16
	// WScale is the shift count, capped at 14 (RFC 7323, section 2.3). SYN only.
	WScale    uint8
	HasWScale bool
	// SACKPermitted: SYN only.
	SACKPermitted bool
	// Signed: there is a signature by MD5 or another algorithm (RFC 2385, RFC 5925), which
	// this package can't check. Received only.
	Signed bool
	// HasTS says that TSVal and TSEcr are present.
	HasTS bool
	// FastOpen says in which form there is a Fast Open option (RFC 7413, section 4.1.1),
	// whose cookie Cookie returns. SYN only.
	FastOpen     FastOption
	TSVal, TSEcr uint32
	// SACK[:NSACK] are the blocks, as sent and unverified.
	NSACK     uint8
	cookieLen uint8
	SACK      [4]SACKBlock // on a SYN, which has none, the cookie
}

// Segment is a parsed segment that arrived. Its Payload is a view.
type Segment struct {
	SrcPort, DstPort uint16
	Seq, Ack         Seq
	Flags            Flags
	Window           uint16
	Urgent           uint16 // the urgent pointer; means something with URG
	Options          Options
	Payload          []byte
	// ECN is the codepoint of the IP header (RFC 3168, section 5); Parse leaves it
	// alone.
	ECN uint8
}

// Len returns the length in sequence space: payload, SYN and FIN.
func (s *Segment) Len() int {
	n := len(s.Payload)
	if s.Flags.Has(SYN) {
		n++
	}
	if s.Flags.Has(FIN) {
		n++
	}
	return n
}

// End returns the sequence number behind the segment.
func (s *Segment) End() Seq { return s.Seq.Add(s.Len()) }

// Errors of Parse.
var (
	ErrTruncated  = errors.New("tcp: segment shorter than its header")
	ErrDataOffset = errors.New("tcp: data offset below 5")
)

// option kinds (IANA, TCP Option Kind Numbers).
const (
	optEnd       = 0
	optNOP       = 1
	optMSS       = 2
	optWScale    = 3
	optSACKPerm  = 4
	optSACK      = 5
	optTimestamp = 8
	optMD5       = 19
	optAO        = 29
	optFastOpen  = 34
	optExp       = 254 // shared by experiments, which are told apart by two bytes (RFC 6994)

	magicFastOpen = 0xf989
)

// Parse reads the segment in b, header and payload, into seg, which then points
// into b. The checksum is the caller's to verify. Options of unknown kind are
// skipped; behind a malformed option the rest is ignored, as RFC 9293, section
// 3.2, allows and Linux does. Nothing is allocated.
func Parse(b []byte, seg *Segment) error {
	if len(b) < HeaderLen {
		return ErrTruncated
	}
	n := int(b[12]>>4) * 4
	if n < HeaderLen {
		return ErrDataOffset
	}
	if n > len(b) {
		return ErrTruncated
	}
	seg.SrcPort = binary.BigEndian.Uint16(b[0:])
	seg.DstPort = binary.BigEndian.Uint16(b[2:])
	seg.Seq = Seq(binary.BigEndian.Uint32(b[4:]))
	seg.Ack = Seq(binary.BigEndian.Uint32(b[8:]))
	seg.Flags = Flags(b[13])
	seg.Window = binary.BigEndian.Uint16(b[14:])
	seg.Urgent = binary.BigEndian.Uint16(b[18:])
	seg.Payload = b[n:]
	seg.Options = Options{}
	// The layout that nearly every segment has: NOP NOP TS.
	if n == HeaderLen+12 && binary.BigEndian.Uint32(b[HeaderLen:]) == optNOP<<24|optNOP<<16|optTimestamp<<8|10 {
		seg.Options.HasTS = true
		seg.Options.TSVal = binary.BigEndian.Uint32(b[HeaderLen+4:])
		seg.Options.TSEcr = binary.BigEndian.Uint32(b[HeaderLen+8:])
	} else if n > HeaderLen {
		seg.Options.parse(b[HeaderLen:n], seg.Flags.Has(SYN))
	}
	return nil
}

func (o *Options) parse(b []byte, syn bool) {
	for len(b) > 0 {
		switch b[0] {
		case optEnd:
			return
		case optNOP:
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return
		}
		v := b[2:b[1]]
		switch kind := b[0]; {
		case kind == optMSS && len(v) == 2 && syn:
			o.MSS = binary.BigEndian.Uint16(v)
		case kind == optWScale && len(v) == 1 && syn:
			o.WScale, o.HasWScale = min(v[0], 14), true
		case kind == optSACKPerm && len(v) == 0 && syn:
			o.SACKPermitted = true
		case kind == optTimestamp && len(v) == 8:
			o.HasTS = true
			o.TSVal = binary.BigEndian.Uint32(v)
			o.TSEcr = binary.BigEndian.Uint32(v[4:])
		case kind == optMD5 || kind == optAO:
			o.Signed = true
		case kind == optFastOpen && syn:
			o.parseCookie(FastOpenStandard, v)
		case kind == optExp && syn && len(v) >= 2 && binary.BigEndian.Uint16(v) == magicFastOpen:
			o.parseCookie(FastOpenExperimental, v[2:])
		case kind == optSACK && len(v)%8 == 0 && len(v) <= 32 && !syn:
			o.NSACK = uint8(len(v) / 8)
			for i := range int(o.NSACK) {
				o.SACK[i] = SACKBlock{
					Seq(binary.BigEndian.Uint32(v[8*i:])),
					Seq(binary.BigEndian.Uint32(v[8*i+4:])),
				}
			}
		}
		b = b[b[1]:]
	}
}

// size returns the number of bytes that append writes: a multiple of 4.
func (o *Options) size() int {
	n := 0
	if o.MSS != 0 {
		n += 4
	}
	if o.HasTS {
		n += 12 // on a SYN, SACK-permitted takes the place of the two NOPs
	} else if o.SACKPermitted {
		n += 4
	}
	if o.HasWScale {
		n += 4
	}
	if o.NSACK > 0 {
		n += 4 + 8*int(o.NSACK)
	}
	switch o.FastOpen {
	case FastOpenStandard:
		n += (2 + int(o.cookieLen) + 3) &^ 3
	case FastOpenExperimental:
		n += (4 + int(o.cookieLen) + 3) &^ 3
	}
	return n
}

// append writes the options in the order that Linux uses: MSS, SACK-permitted,
// timestamps, window scale, SACK, Fast Open.
func (o *Options) append(b []byte) []byte {
	if o.MSS != 0 {
		b = append(b, optMSS, 4, byte(o.MSS>>8), byte(o.MSS))
	}
	if o.SACKPermitted && o.HasTS {
		b = append(b, optSACKPerm, 2)
	} else if o.SACKPermitted {
		b = append(b, optNOP, optNOP, optSACKPerm, 2)
	} else if o.HasTS {
		b = append(b, optNOP, optNOP)
	}
	if o.HasTS {
		b = append(b, optTimestamp, 10)
		b = binary.BigEndian.AppendUint32(b, o.TSVal)
		b = binary.BigEndian.AppendUint32(b, o.TSEcr)
	}
	if o.HasWScale {
		b = append(b, optNOP, optWScale, 3, o.WScale)
	}
	if o.NSACK > 0 {
		b = append(b, optNOP, optNOP, optSACK, 2+8*o.NSACK)
		for _, s := range o.SACK[:o.NSACK] {
			b = binary.BigEndian.AppendUint32(b, uint32(s.Left))
			b = binary.BigEndian.AppendUint32(b, uint32(s.Right))
		}
	}
	if o.FastOpen != FastOpenNone {
		b = o.appendCookie(b)
	}
	return b
}

// header is what an outgoing header is made from.
type header struct {
	srcPort, dstPort uint16
	seq, ack         Seq
	flags            Flags
	window, urgent   uint16
	options          Options
}

// append writes the header with a checksum of zero.
func (h *header) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, h.srcPort)
	b = binary.BigEndian.AppendUint16(b, h.dstPort)
	b = binary.BigEndian.AppendUint32(b, uint32(h.seq))
	b = binary.BigEndian.AppendUint32(b, uint32(h.ack))
	b = append(b, byte((HeaderLen+h.options.size())/4)<<4, byte(h.flags))
	b = binary.BigEndian.AppendUint16(b, h.window)
	b = append(b, 0, 0, byte(h.urgent>>8), byte(h.urgent)) // checksum, urgent pointer
	return h.options.append(b)
}
