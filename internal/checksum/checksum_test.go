package checksum

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// naive is RFC 1071, section 4.1, read literally.
func naive(b []byte) uint16 {
	var s uint64
	for i := 0; i+1 < len(b); i += 2 {
		s += uint64(b[i])<<8 | uint64(b[i+1])
	}
	if len(b)%2 == 1 {
		s += uint64(b[len(b)-1]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func TestRFC1071Example(t *testing.T) {
	// RFC 1071, section 3.
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := Sum(b, 0).Fold(); got != 0xddf2 {
		t.Fatalf("sum = %#04x, want 0xddf2", got)
	}
	if got := Sum(b, 0).Checksum(); got != 0x220d {
		t.Fatalf("checksum = %#04x, want 0x220d", got)
	}
}

func TestEveryLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 600)
	for i := range buf {
		buf[i] = byte(rng.Uint32())
	}
	ones := make([]byte, 600)
	for i := range ones {
		ones[i] = 0xff
	}
	zeros := make([]byte, 600)
	for _, b := range [][]byte{buf, ones, zeros} {
		for n := 0; n <= 530; n++ {
			for off := range 8 {
				p := b[off : off+n]
				if got, want := Sum(p, 0).Fold(), naive(p); got != want {
					t.Fatalf("offset %d length %d: %#04x, want %#04x", off, n, got, want)
				}
			}
		}
	}
}

func TestSum20(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 5000 {
		var b [20]byte
		for j := range b {
			b[j] = byte(rng.Uint32()) | byte(i%3)*0xff
		}
		if got, want := Sum20(&b), Sum(b[:], 0); got != want {
			t.Fatalf("% x: %#04x, want %#04x", b, got, want)
		}
	}
	if got := Sum20(new([20]byte)); got != 0 {
		t.Fatalf("zeros: %#04x", got)
	}
}

func TestChainingOddFragments(t *testing.T) {
	seed := uint64(7)
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		b := make([]byte, rng.IntN(400))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		var chained, added Partial
		for rest := b; len(rest) > 0; {
			n := 1 + rng.IntN(min(len(rest), 37))
			chained = Sum(rest[:n], chained)
			added = added.Add(Sum(rest[:n], 0))
			rest = rest[n:]
		}
		if want := naive(b); chained.Fold() != want || added.Fold() != want {
			t.Fatalf("length %d: chained %#04x, added %#04x, want %#04x", len(b), chained.Fold(), added.Fold(), want)
		}
		if chained&odd != added&odd || (chained&odd != 0) != (len(b)%2 == 1) {
			t.Fatalf("length %d: parity %v, %v", len(b), chained&odd, added&odd)
		}
	}
}

func TestPseudoHeader(t *testing.T) {
	s4, d4 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.255")
	b := append(s4.AsSlice(), d4.AsSlice()...)
	b = append(b, 0, 17)
	b = binary.BigEndian.AppendUint16(b, 1234)
	if got, want := PseudoHeader(s4, d4, 17, 1234).Fold(), naive(b); got != want {
		t.Errorf("v4: %#04x, want %#04x", got, want)
	}
	s6, d6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::ffff:1:2%eth0")
	b = append(s6.AsSlice(), d6.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, 70000)
	b = append(b, 0, 0, 0, 6)
	if got, want := PseudoHeader(s6, d6, 6, 70000).Fold(), naive(b); got != want {
		t.Errorf("v6: %#04x, want %#04x", got, want)
	}
	PseudoHeader(netip.Addr{}, d4, 6, 1) // must not panic
}

func TestUpdateMatchesFullSum(t *testing.T) {
	// RFC 1624, section 4: the case that the equation of RFC 1141 got wrong.
	if got := Update(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("RFC 1624 example: %#04x, want 0", got)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		b := make([]byte, 20)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		b[0] |= 1 // a header is never all zero, where +0 and -0 would differ
		b[10], b[11] = 0, 0
		check := Sum(b, 0).Checksum()
		before := binary.BigEndian.Uint16(b[8:])
		after := uint16(rng.Uint32())
		binary.BigEndian.PutUint16(b[8:], after)
		if got, want := Update(check, before, after), Sum(b, 0).Checksum(); got != want {
			t.Fatalf("Update = %#04x, want %#04x", got, want)
		}
		check = Sum(b, 0).Checksum()
		before32, after32 := binary.BigEndian.Uint32(b[12:]), rng.Uint32()
		binary.BigEndian.PutUint32(b[12:], after32)
		if got, want := Update32(check, before32, after32), Sum(b, 0).Checksum(); got != want {
			t.Fatalf("Update32 = %#04x, want %#04x", got, want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	b := make([]byte, 1460)
	s, d := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var sink uint16
	if n := testing.AllocsPerRun(100, func() {
		sink += Sum(b, PseudoHeader(s, d, 6, len(b))).Checksum()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	_ = sink
}

func FuzzSum(f *testing.F) {
	f.Add([]byte("hello, world"), uint16(3), uint16(4))
	f.Add(make([]byte, 300), uint16(129), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, cut1, cut2 uint16) {
		want := naive(b)
		if got := Sum(b, 0).Fold(); got != want {
			t.Fatalf("Sum = %#04x, want %#04x", got, want)
		}
		i := int(cut1) % (len(b) + 1)
		j := i + int(cut2)%(len(b)-i+1)
		if got := Sum(b[j:], Sum(b[i:j], Sum(b[:i], 0))).Fold(); got != want {
			t.Fatalf("cut at %d and %d: %#04x, want %#04x", i, j, got, want)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{20, 64, 576, 1460, 16 << 10, 64 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(i)
			}
			b.SetBytes(int64(n))
			var s Partial
			for b.Loop() {
				s = Sum(p, s)
			}
		})
	}
}

func BenchmarkPseudoHeader(b *testing.B) {
	s, d := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var p Partial
	for b.Loop() {
		p = p.Add(PseudoHeader(s, d, 6, 1460))
	}
}
