package ipv4

import (
	"net/netip"

	"github.com/netduet/netduet/internal/siphash"
)

// IDs gives identification values that an observer can't predict and that don't
// repeat soon for datagrams between the same hosts, so that fragments of different
// datagrams are not put together (RFC 6864, section 4.2) nor forged into them, and
// so that the values don't tell how much is sent to others (RFC 7739, section 5.3,
// the hash-based algorithm).
//
// A datagram that is atomic (DF set, not a fragment) needs no value at all: 0 does
// (RFC 6864, section 4.1).
//
// It is not safe for concurrent use.
type IDs struct {
	key      siphash.Key
	counters [1 << idBits]uint16
}

const idBits = 11

// NewIDs returns a generator; key is drawn at random once.
func NewIDs(key siphash.Key) *IDs { return &IDs{key: key} }

// Next returns the value for the next datagram of the given protocol from src to
// dst.
func (g *IDs) Next(src, dst netip.Addr, protocol uint8) uint16 {
	var b [33]byte
	s, d := src.As16(), dst.As16()
	copy(b[:16], s[:])
	copy(b[16:32], d[:])
	b[32] = protocol
	// One part of the hash is where the sequence of this pair starts, another which
	// counter it shares with few others.
	h := g.key.Sum64(b[:])
	c := &g.counters[h>>16&(1<<idBits-1)]
	*c++
	return uint16(h) + *c
}
