package udp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/netduet/netduet/internal/checksum"
)

var (
	src4 = netip.MustParseAddr("192.0.2.1")
	dst4 = netip.MustParseAddr("198.51.100.2")
	src6 = netip.MustParseAddr("2001:db8::1")
	dst6 = netip.MustParseAddr("2001:db8::2")
)

func encode(src, dst netip.Addr, h Header, data []byte) []byte {
	b := make([]byte, HeaderLen+len(data))
	n := h.Encode(b, src, dst, data)
	copy(b[n:], data)
	return b
}

func TestRoundTrip(t *testing.T) {
	for _, v := range [][2]netip.Addr{{src4, dst4}, {src6, dst6}} {
		for _, data := range [][]byte{nil, []byte("x"), []byte("hello"), bytes.Repeat([]byte{0xff}, 1473)} {
			b := encode(v[0], v[1], Header{Src: 53, Dst: 4000}, data)
			// Trailing bytes are not data.
			h, got, err := Parse(append(b, 9, 9, 9), v[0], v[1], true)
			if err != nil || h != (Header{53, 4000, HeaderLen + len(data)}) || !bytes.Equal(got, data) {
				t.Fatalf("%v: %+v, %q, %v", v, h, got, err)
			}
			// A pseudo-header with another address: the checksum covers it.
			if _, _, err := Parse(b, v[0].Next(), v[1], true); err != ErrChecksum {
				t.Errorf("other source: %v", err)
			}
			if _, _, err := Parse(b, v[0].Next(), v[1], false); err != nil {
				t.Errorf("not to be verified: %v", err)
			}
		}
	}
}

func TestKnownChecksum(t *testing.T) {
	// The words of the pseudo-header, the header and the data, written down from RFC
	// 768 and summed without the code under test.
	b := encode(src4, dst4, Header{Src: 53, Dst: 4000}, []byte("hi"))
	words := []uint32{0xc000, 0x0201, 0xc633, 0x6402, 0x0011, 0x000a, 0x0035, 0x0fa0, 0x000a, 0x6869}
	var sum uint32
	for _, w := range words {
		sum += w
	}
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	if got, want := binary.BigEndian.Uint16(b[6:]), ^uint16(sum); got != want {
		t.Fatalf("checksum %#04x, want %#04x", got, want)
	}
}

func TestZeroChecksumIsSentAsOnes(t *testing.T) {
	// Find data whose checksum would be zero.
	b := encode(src4, dst4, Header{Src: 1, Dst: 2}, []byte{0, 0})
	data := bytes.Clone(b[6:8]) // what the sum lacks to be all ones
	b = encode(src4, dst4, Header{Src: 1, Dst: 2}, data)
	if b[6] != 0xff || b[7] != 0xff {
		t.Fatalf("checksum %x, want ffff", b[6:8])
	}
	if _, _, err := Parse(b, src4, dst4, true); err != nil {
		t.Fatal(err)
	}
}

func TestRefused(t *testing.T) {
	good := encode(src4, dst4, Header{Src: 1, Dst: 2}, []byte("data"))
	edit := func(f func(b []byte)) []byte { b := bytes.Clone(good); f(b); return b }
	for _, c := range []struct {
		name     string
		b        []byte
		src, dst netip.Addr
		want     error
	}{
		{"empty", nil, src4, dst4, ErrShort},
		{"short", good[:7], src4, dst4, ErrShort},
		{"length 7", edit(func(b []byte) { b[5] = 7 }), src4, dst4, ErrLength},
		{"length 0", edit(func(b []byte) { b[5] = 0 }), src4, dst4, ErrLength},
		{"truncated", good[:11], src4, dst4, ErrLength},
		{"data changed", edit(func(b []byte) { b[9] ^= 1 }), src4, dst4, ErrChecksum},
		{"no checksum, v6", edit(func(b []byte) { b[6], b[7] = 0, 0 }), src6, dst6, ErrNoChecksum},
		{"no checksum, v4", edit(func(b []byte) { b[6], b[7], b[9] = 0, 0, 77 }), src4, dst4, nil},
		{"port 0", edit(func(b []byte) { b[3] = 0 }), src4, dst4, ErrDestination},
	} {
		if _, _, err := Parse(c.b, c.src, c.dst, true); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestEncodePartial(t *testing.T) {
	data := []byte("odd data!")
	for _, v := range [][2]netip.Addr{{src4, dst4}, {src6, dst6}} {
		b := make([]byte, HeaderLen, HeaderLen+len(data))
		h := Header{Src: 7, Dst: 9}
		b = append(b[:h.EncodePartial(b, v[0], v[1], len(data))], data...)
		// What a device does: sum from the header on, into the field.
		binary.BigEndian.PutUint16(b[ChecksumOffset:], checksum.Sum(b, 0).Checksum())
		if _, _, err := Parse(b, v[0], v[1], true); err != nil {
			t.Error(err)
		}
	}
}

func TestTooLargePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	h := Header{Dst: 1}
	h.EncodePartial(make([]byte, 8), src4, dst4, MaxLen)
}

func TestNoAllocation(t *testing.T) {
	b := make([]byte, 100)
	data := make([]byte, 92)
	if n := testing.AllocsPerRun(100, func() {
		h := Header{Src: 1, Dst: 2}
		copy(b[h.Encode(b, src4, dst4, data):], data)
		if _, _, err := Parse(b, src4, dst4, true); err != nil {
			t.Fatal(err)
		}
		_, _, _ = Parse(b[:3], src4, dst4, true)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(encode(src4, dst4, Header{Src: 1, Dst: 2}, []byte("data")), false)
	f.Add(encode(src6, dst6, Header{Src: 1, Dst: 2}, []byte("data")), true)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		src, dst := src4, dst4
		if v6 {
			src, dst = src6, dst6
		}
		h, data, err := Parse(b, src, dst, false)
		if err != nil {
			return
		}
		if len(data) != h.Len-HeaderLen {
			t.Fatalf("length %d, data %d", h.Len, len(data))
		}
		out := encode(src, dst, h, data)
		if !bytes.Equal(out[:6], b[:6]) {
			t.Fatalf("% x became % x", b[:8], out[:8])
		}
		if _, _, err := Parse(out, src, dst, true); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p := encode(src4, dst4, Header{Src: 1, Dst: 2}, make([]byte, 64))
	for b.Loop() {
		if _, _, err := Parse(p, src4, dst4, true); err != nil {
			b.Fatal(err)
		}
	}
}
