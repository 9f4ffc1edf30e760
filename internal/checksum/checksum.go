// Package checksum computes the Internet checksum (RFC 1071): the ones'
// complement sum of 16-bit big-endian words that IPv4, ICMP, UDP and TCP carry.
//
// It knows no header: callers say which bytes to sum. A [Partial] is a sum under
// way. It remembers whether it has taken an odd number of bytes, so that the
// fragments of a packet can be summed one after the other whatever their lengths.
//
// A packet's checksum field is computed by summing the packet with the field set
// to zero (and the pseudo-header, for transports) and storing [Partial.Checksum].
// A packet is intact when the sum of all its bytes, field included, is [Valid].
package checksum

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Partial is a ones' complement sum under way, over the bytes seen so far. The
// zero value has seen none.
//
// The low 16 bits are the folded sum. Bit 16 tells that the number of bytes seen is
// odd, so that the next byte is the low half of a word.
type Partial uint32

const odd Partial = 1 << 16

// Valid is what Fold returns for a packet whose checksum is right: all ones.
const Valid = 0xffff

// Fold returns the sum as 16 bits, not complemented: what a device that finishes
// the checksum itself expects in the field when p is the pseudo-header's sum.
func (p Partial) Fold() uint16 { return uint16(p) }

// Checksum returns the complement of the sum: what goes into a checksum field.
func (p Partial) Checksum() uint16 { return ^uint16(p) }

// Add returns the sum over the bytes of p followed by those of q.
func (p Partial) Add(q Partial) Partial {
	s := uint16(q)
	if p&odd != 0 {
		s = bits.ReverseBytes16(s)
	}
	return Partial(fold32(uint32(uint16(p))+uint32(s))) | (p^q)&odd
}

// Add16 returns the sum over the bytes of p followed by the big-endian v. p must
// have seen an even number of bytes; it is for header fields.
func (p Partial) Add16(v uint16) Partial {
	return Partial(fold32(uint32(uint16(p))+uint32(v))) | p&odd
}

// Sum returns the sum over the bytes of initial followed by b.
func Sum(b []byte, initial Partial) Partial {
	s := bits.ReverseBytes16(sumLE(b))
	if initial&odd != 0 {
		s = bits.ReverseBytes16(s)
	}
	p := Partial(fold32(uint32(uint16(initial)) + uint32(s)))
	return p | (initial^Partial(len(b)&1)<<16)&odd
}

// Sum20 is Sum over 20 bytes, the usual IPv4 header, which is short enough for the
// general way to cost more than the sum.
func Sum20(b *[20]byte) Partial {
	le := binary.LittleEndian
	s := uint64(le.Uint32(b[0:])) + uint64(le.Uint32(b[4:])) + uint64(le.Uint32(b[8:])) +
		uint64(le.Uint32(b[12:])) + uint64(le.Uint32(b[16:]))
	return Partial(bits.ReverseBytes16(fold64(s)))
}

// Fold returns p.Fold().
func Fold(p Partial) uint16 { return p.Fold() }

// PseudoHeader returns the sum over the pseudo-header of a transport segment of
// length bytes: RFC 9293, section 3.1 for IPv4, RFC 8200, section 8.1 for IPv6. It
// is the IPv4 one when both addresses are IPv4 ones (not IPv4-mapped). Zones don't
// count.
func PseudoHeader(src, dst netip.Addr, proto uint8, length int) Partial {
	var sum uint64
	if src.Is4() && dst.Is4() {
		s, d := src.As4(), dst.As4()
		sum = uint64(binary.BigEndian.Uint32(s[:])) + uint64(binary.BigEndian.Uint32(d[:]))
	} else {
		s, d := src.As16(), dst.As16()
		for i := 0; i < 16; i += 4 {
			sum += uint64(binary.BigEndian.Uint32(s[i:])) + uint64(binary.BigEndian.Uint32(d[i:]))
		}
	}
	// A length beyond 16 bits (a jumbogram, or a large frame that a device will
	// segment) is a 32-bit field in IPv6; in IPv4 its high half is zero on the wire.
	sum += uint64(proto) + uint64(uint32(length))
	return Partial(fold64(sum))
}

// Update returns the checksum field of a packet in which a 16-bit word changed
// from before to after (RFC 1624, section 3, equation 3). The word must lie at an
// even offset of what is summed.
//
// Zero and 0xffff stand for the same sum, and the update can't tell which a full
// computation would give. Either verifies, unless all that is summed is zero: an
// IP header or a pseudo-header never is, an ICMP message may be.
func Update(check, before, after uint16) uint16 {
	return ^fold32(uint32(^check) + uint32(^before) + uint32(after))
}

// Update32 is Update for two adjacent words: an IPv4 address, a sequence number.
func Update32(check uint16, before, after uint32) uint16 {
	return ^fold64(uint64(^check) + uint64(^before) + uint64(after))
}

// sumLE returns the folded sum of b's little-endian words; the last byte of an odd
// number is padded with a zero. The ones' complement sum doesn't depend on the byte
// order but for a final swap (RFC 1071, section 2 (B)), and nearly all machines are
// little-endian. Words of 64 bits are as good as words of 16, for 2^64-1 is a
// multiple of 2^16-1.
func sumLE(b []byte) uint16 {
	var sum, c uint64
	le := binary.LittleEndian
	for len(b) >= 128 {
		p := (*[128]byte)(b)
		sum, c = bits.Add64(sum, le.Uint64(p[0:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[8:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[16:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[24:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[32:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[40:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[48:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[56:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[64:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[72:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[80:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[88:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[96:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[104:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[112:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[120:]), c)
		b = b[128:]
	}
	if len(b) >= 64 {
		p := (*[64]byte)(b)
		sum, c = bits.Add64(sum, le.Uint64(p[0:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[8:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[16:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[24:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[32:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[40:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[48:]), c)
		sum, c = bits.Add64(sum, le.Uint64(p[56:]), c)
		b = b[64:]
	}
	for len(b) >= 8 {
		sum, c = bits.Add64(sum, le.Uint64(b), c)
		b = b[8:]
	}
	// At most seven bytes are left: one word, assembled in place.
	var last uint64
	shift := uint(0)
	if len(b) >= 4 {
		last = uint64(le.Uint32(b))
		b, shift = b[4:], 32
	}
	if len(b) >= 2 {
		last |= uint64(le.Uint16(b)) << shift
		b, shift = b[2:], shift+16
	}
	if len(b) == 1 {
		last |= uint64(b[0]) << shift
	}
	sum, c = bits.Add64(sum, last, c)
	// Adding the carry can't wrap: last is below 2^56, so that a sum that has just
	// overflowed is small.
	return fold64(sum + c)
}

// fold64 folds the carries of a sum of words back into 16 bits.
func fold64(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	return fold32(uint32(s))
}

func fold32(s uint32) uint16 {
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}
