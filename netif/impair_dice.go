package netif

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// dice decides what happens to frames. Each frame has a generator of its own, from
// the seed and the frame's number, so that a draw more or less for one frame changes
// nothing for the others; only the state of the loss chain is carried over.
type dice struct {
	seed  uint64
	frame uint64
	bad   bool // the Gilbert–Elliott chain is in its bad state
	pcg   rand.PCG
}

// fate is what was decided for a frame.
type fate struct {
	mark                                         bool
	lost, burstLost, corrupt, duplicate, reorder bool
	jitter                                       time.Duration
}

// throw decides the next frame's fate. It always draws the same number of values.
func (d *dice) throw(c *Impairment) fate {
	d.pcg.Seed(mix(d.seed), mix(d.seed^mix(d.frame)))
	d.frame++
	r := d.rand()
	leave := c.Burst.ToBad
	if d.bad {
		leave = c.Burst.ToGood
	}
	if r.Float64() < leave {
		d.bad = !d.bad
	}
	loss := c.Burst.LossGood
	if d.bad {
		loss = c.Burst.LossBad
	}
	var f fate
	f.burstLost = r.Float64() < loss
	f.lost = r.Float64() < c.Loss
	f.corrupt = r.Float64() < c.Corrupt
	f.duplicate = r.Float64() < c.Duplicate
	f.reorder = r.Float64() < c.Reorder
	f.jitter = time.Duration(r.Float64() * float64(c.Jitter))
	if c.Mark > 0 { // only then, so that other decisions of a seed stay what they are
		f.mark = r.Float64() < c.Mark
	}
	return f
}

// rand continues the generator of the frame thrown for last.
func (d *dice) rand() *rand.Rand { return rand.New(&d.pcg) }

// mix spreads a counter over 64 bits: neighbouring numbers make unrelated seeds.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const (
	maxBurst     = 15 // bits; the Internet checksum detects each such burst
	maxExtension = 64 // bytes that CorruptAny appends
)

// corrupt damages the frame in b and reports whether it could.
func corrupt(b *Buf, link Link, mode CorruptMode, r *rand.Rand) bool {
	if mode == CorruptAny {
		corruptAny(b, r)
		return true
	}
	spans, n := covered(link, b.Data)
	total := 0
	for _, s := range spans[:n] {
		total += len(s)
	}
	if total == 0 {
		return false
	}
	at := r.IntN(total)
	for _, s := range spans[:n] {
		if at < len(s) {
			flipBurst(s, at, r)
			return true
		}
		at -= len(s)
	}
	return false
}

// flipBurst flips one bit of byte at, or a burst of up to maxBurst bits that begins
// there and does not leave span.
func flipBurst(span []byte, at int, r *rand.Rand) {
	first := at*8 + r.IntN(8)
	n := 1
	if r.IntN(2) == 1 {
		n = min(2+r.IntN(maxBurst-1), len(span)*8-first)
	}
	for i := range n {
		// A burst is as long as said only if its ends are flipped.
		if i == 0 || i == n-1 || r.IntN(2) == 1 {
			bit := first + i
			span[bit/8] ^= 0x80 >> (bit % 8)
		}
	}
}

// corruptAny does anything to a frame.
func corruptAny(b *Buf, r *rand.Rand) {
	switch d := b.Data; r.IntN(4) {
	case 0:
		for range 1 + r.IntN(8) {
			d[r.IntN(len(d))] ^= 1 << r.IntN(8)
		}
	case 1:
		from := r.IntN(len(d))
		for i := range d[from : from+1+r.IntN(len(d)-from)] {
			d[from+i] = byte(r.Uint32())
		}
	case 2:
		b.Data = d[:r.IntN(len(d))]
		if len(b.Data) == 0 {
			b.Data = d[:1]
		}
	default:
		for range 1 + r.IntN(maxExtension) {
			if len(b.Data) == len(b.Store()) {
				break
			}
			b.Data = append(b.Data, byte(r.Uint32()))
		}
	}
}

// covered returns the parts of a frame in which a burst of at most 15 bits is
// detected for certain: by the IPv4 header checksum, or by the transport checksum
// of a packet that is not fragmented. Left out are bytes that say how much or
// whether a checksum covers: the version and header length of IPv4, the length and
// checksum of UDP. The parts lie apart, so that a burst stays under one checksum.
func covered(link Link, f []byte) (spans [3][]byte, n int) {
	p, version := network(link, f)
	var proto byte
	switch version {
	case 4:
		header, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
		if header < ipv4HeaderLen || total < header || total > len(p) {
			return spans, 0
		}
		spans[0], n = p[1:header], 1
		if binary.BigEndian.Uint16(p[6:])&fragmentBits != 0 {
			return spans, n
		}
		proto, p = p[9], p[header:total]
	case 6:
		total := ipv6HeaderLen + int(binary.BigEndian.Uint16(p[4:]))
		if total > len(p) {
			return spans, 0
		}
		proto, p = p[6], p[ipv6HeaderLen:total]
	default:
		return spans, 0
	}
	const protoICMP, protoICMPv6 = 1, 58
	switch {
	case proto == protoTCP && len(p) >= 20,
		proto == protoICMP && version == 4 && len(p) >= 4,
		proto == protoICMPv6 && version == 6 && len(p) >= 4:
		spans[n] = p
		n++
	case proto == protoUDP && len(p) >= 8:
		length := int(binary.BigEndian.Uint16(p[4:]))
		if length < 8 || length > len(p) || p[6] == 0 && p[7] == 0 {
			break
		}
		spans[n], spans[n+1] = p[:4], p[8:length]
		n += 2
	}
	return spans, n
}

// markCongestion sets the congestion experienced codepoint of an IP packet whose
// sender is ECN-capable (RFC 3168, section 5), and reports whether it did.
func markCongestion(p []byte) bool {
	if len(p) < 20 {
		return false
	}
	switch p[0] >> 4 {
	case 4:
		ecn := p[1] & 3
		if ecn == 0 || ecn == 3 {
			return false
		}
		p[1] |= 3
		// RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
		sum := uint32(^(uint16(p[10])<<8 | uint16(p[11]))) + uint32(3-ecn)
		sum = sum&0xffff + sum>>16
		p[10], p[11] = byte(^sum>>8), byte(^sum)
		return true
	case 6:
		ecn := p[1] >> 4 & 3
		if ecn == 0 || ecn == 3 {
			return false
		}
		p[1] |= 0x30
		return true
	}
	return false
}
