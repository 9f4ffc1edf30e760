package siphash

import (
	"bytes"
	"testing"
)

// The vectors are those of the reference implementation: key 00 01 … 0f, input
// the first n bytes of 00 01 02 ….
func TestReferenceVectors(t *testing.T) {
	var seed [16]byte
	for i := range seed {
		seed[i] = byte(i)
	}
	k, err := NewKey(bytes.NewReader(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	in := make([]byte, 15)
	for i := range in {
		in[i] = byte(i)
	}
	for _, v := range []struct {
		n    int
		want uint64
	}{{0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd}, {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5}} {
		if got := k.Sum64(in[:v.n]); got != v.want {
			t.Errorf("Sum64 of %d bytes: %#x, want %#x", v.n, got, v.want)
		}
	}
	if _, err := NewKey(bytes.NewReader(nil)); err == nil {
		t.Error("NewKey without randomness: no error")
	}
}

func BenchmarkSum64(b *testing.B) {
	in := make([]byte, 12)
	k := Key{1, 2}
	for b.Loop() {
		k.Sum64(in)
	}
}
