package tcp

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/siphash"
)

// Secret makes the numbers that an attacker off the path must not guess. It is
// drawn once per stack; its methods are safe for concurrent use.
type Secret struct{ iss, ts, cookies siphash.Key }

// NewSecret draws a secret from rand.
func NewSecret(rand io.Reader) (Secret, error) {
	var s Secret
	var err error
	if s.iss, err = siphash.NewKey(rand); err == nil {
		s.ts, err = siphash.NewKey(rand)
	}
	if err == nil {
		s.cookies, err = siphash.NewKey(rand)
	}
	if err != nil {
		return Secret{}, fmt.Errorf("tcp: drawing the secret of the sequence numbers: %w", err)
	}
	return s, nil
}

// ISS returns the initial send sequence number of a connection: a clock of 4 µs
// plus a keyed hash of both ends (RFC 6528, section 3), so that numbers of one
// pair rise and those of different pairs say nothing about each other.
func (s *Secret) ISS(now clock.Time, local, remote netip.AddrPort) Seq {
	return Seq(uint32(hashPair(s.iss, local, remote))) + Seq(uint32(uint64(now)>>12))
}

// TSOffset returns what is added to the timestamp clock for a pair of ends, so
// that timestamps don't tell the uptime, and still rise from one connection to the
// next (RFC 7323, section 5.4; RFC 6191 needs the latter). Ports are left out, as
// a later connection of the same hosts uses others.
func (s *Secret) TSOffset(local, remote netip.AddrPort) uint32 {
	return uint32(hashPair(s.ts, netip.AddrPortFrom(local.Addr(), 0), netip.AddrPortFrom(remote.Addr(), 0)))
}

func hashPair(k siphash.Key, local, remote netip.AddrPort) uint64 {
	var b [36]byte
	l, r := local.Addr().As16(), remote.Addr().As16()
	copy(b[0:], l[:])
	copy(b[16:], r[:])
	binary.BigEndian.PutUint16(b[32:], local.Port())
	binary.BigEndian.PutUint16(b[34:], remote.Port())
	return k.Sum64(b[:])
}
