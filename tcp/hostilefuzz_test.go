package tcp

import (
	"math/rand/v2"
	"testing"
)

func runHostile(t *testing.T, ops []byte) {
	m := newHostile(t, ops)
	if m.byte() < 240 { // mostly there is something in flight
		m.write(20000)
	}
	for len(m.ops) > 0 && m.c.State() != StateClosed && m.c.State() != StateTimeWait {
		m.attack()
	}
	m.ops = nil
	m.finish()
	m.c.Release()
	if len(m.mem.out) != 0 {
		t.Fatalf("%d chunks are not given back", len(m.mem.out))
	}
}

// hostileSeeds is a case for each attack, and some for many at once.
func hostileSeeds() [][]byte {
	var list [][]byte
	r := rand.New(rand.NewPCG(1, 7))
	for kind := range byte(attacks) {
		for _, options := range []byte{0x30, 0x31, 0xb8, 0x42} {
			b := []byte{options, kind ^ options<<1&64, 0}
			for range 12 {
				b = append(b, kind)
				for range 6 {
					b = append(b, byte(r.Uint32()))
				}
			}
			list = append(list, b)
		}
	}
	return list
}

// FuzzHostile: see hostile.
func FuzzHostile(f *testing.F) {
	for _, b := range hostileSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 3000 {
			return
		}
		runHostile(t, b)
	})
}

// TestHostile is FuzzHostile with seeds, for those who only run the tests.
func TestHostile(t *testing.T) {
	for i, b := range hostileSeeds() {
		if !t.Run("", func(t *testing.T) { runHostile(t, b) }) {
			t.Fatalf("case %d: %q", i, b)
		}
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 11))
		b := make([]byte, 50+r.IntN(800))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if !t.Run("", func(t *testing.T) { runHostile(t, b) }) {
			t.Fatalf("seed %d", seed)
		}
	}
}
