// Package siphash is SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash of
// short inputs whose results can't be predicted or made to collide without the
// key. Tables indexed by what a peer chose, initial sequence numbers, ephemeral
// ports and packet identifiers rest on it.
//
// It is not for streaming and not a message authentication code for storage.
package siphash

import (
	"encoding/binary"
	"io"
	"math/bits"
)

// Key is the secret; draw it at random.
type Key struct{ K0, K1 uint64 }

// NewKey draws a key from rand.
func NewKey(rand io.Reader) (Key, error) {
	var b [16]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return Key{}, err
	}
	return Key{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])}, nil
}

// Sum64 returns the hash of b.
func (k Key) Sum64(b []byte) uint64 {
	v0, v1 := k.K0^0x736f6d6570736575, k.K1^0x646f72616e646f6d
	v2, v3 := k.K0^0x6c7967656e657261, k.K1^0x7465646279746573
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		m := binary.LittleEndian.Uint64(b)
		v3 ^= m
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
		v0 ^= m
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = round(v0, v1, v2, v3)
	v0, v1, v2, v3 = round(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		v0, v1, v2, v3 = round(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func round(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
