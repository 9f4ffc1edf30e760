package ipv4

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/netduet/netduet/internal/checksum"
)

func ip(s string) netip.Addr    { return netip.MustParseAddr(s) }
func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// packet returns a packet with header h, whose TotalLen is set.
func packet(h Header, payload []byte) []byte {
	if !h.Src.IsValid() {
		h.Src, h.Dst = ip("192.0.2.1"), ip("198.51.100.2")
	}
	h.TotalLen = h.Len() + len(payload)
	b := make([]byte, h.TotalLen)
	copy(b[h.Encode(b):], payload)
	return b
}

// fix sets the header checksum of a packet that a test has changed.
func fix(b []byte) []byte {
	n := int(b[0]&15) * 4
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], checksum.Sum(b[:n], 0).Checksum())
	return b
}

func TestKnownHeader(t *testing.T) {
	// The header of a well-known worked example of the header checksum.
	b, _ := hex.DecodeString("45000073000040004011b861c0a80001c0a800c7")
	frame := append(append(b, make([]byte, 0x73-20)...), 1, 2, 3, 4) // with padding
	var h Header
	payload, err := h.Parse(frame)
	if err != nil || len(payload) != 0x73-20 || cap(payload) < len(payload) {
		t.Fatalf("%d bytes, %v", len(payload), err)
	}
	if h.Src != ip("192.168.0.1") || h.Dst != ip("192.168.0.199") || h.TTL != 64 || h.Protocol != ProtocolUDP ||
		!h.DontFragment || h.MoreFragments || h.FragmentOffset != 0 || h.ID != 0 || h.TotalLen != 0x73 || h.Len() != 20 || h.IsFragment() {
		t.Fatalf("%+v", h)
	}
	out := make([]byte, 20)
	if n := h.Encode(out); n != 20 || !bytes.Equal(out, b) {
		t.Fatalf("% x", out)
	}
}

func TestAllFields(t *testing.T) {
	h := Header{
		Src: ip("10.1.2.3"), Dst: ip("10.4.5.6"), Options: []byte{7, 7, 4, 0, 0, 0, 0, 0},
		ID: 0xbeef, TOS: 0xb9, TTL: 3, Protocol: 6, MoreFragments: true, FragmentOffset: 65528 - 24,
	}
	b := packet(h, make([]byte, 16))
	var got Header
	if _, err := got.Parse(b); err != ErrFragmentEnd {
		t.Fatalf("beyond the end: %v", err)
	}
	h.FragmentOffset = 8008
	b = packet(h, make([]byte, 16))
	payload, err := got.Parse(b)
	if err != nil || len(payload) != 16 {
		t.Fatal(err)
	}
	h.TotalLen = 44
	if !bytes.Equal(got.Options, h.Options) {
		t.Fatalf("options % x", got.Options)
	}
	got.Options, h.Options = nil, nil
	if got.Src != h.Src || got.Dst != h.Dst || got.ID != h.ID || got.TOS != h.TOS || got.TTL != h.TTL || got.Protocol != h.Protocol ||
		got.MoreFragments != h.MoreFragments || got.DontFragment || got.FragmentOffset != h.FragmentOffset || got.TotalLen != h.TotalLen {
		t.Fatalf("%+v, want %+v", got, h)
	}
	// A header without options in the same variable leaves none behind.
	got.Options = []byte{1}
	if _, err := got.Parse(packet(Header{}, nil)); err != nil || got.Options != nil {
		t.Fatalf("%v, %v", err, got.Options)
	}
}

func TestRefused(t *testing.T) {
	edit := func(f func(b []byte)) []byte {
		b := packet(Header{TTL: 64, Protocol: 17}, []byte("payload!"))
		f(b)
		return fix(b)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"whole", edit(func(b []byte) {}), nil},
		{"empty", nil, ErrShort},
		{"19 bytes", packet(Header{}, nil)[:19], ErrShort},
		{"version 6", edit(func(b []byte) { b[0] = 0x65 }), ErrVersion},
		{"version 0", edit(func(b []byte) { b[0] = 0x05 }), ErrVersion},
		{"IHL 4", edit(func(b []byte) { b[0] = 0x44 }), ErrHeaderLen},
		{"IHL 0", edit(func(b []byte) { b[0] = 0x40 }), ErrHeaderLen},
		{"IHL beyond the packet", packet(Header{Options: make([]byte, 8)}, nil)[:27], ErrHeaderLen},
		{"total length 19", edit(func(b []byte) { b[3] = 19 }), ErrTotalLen},
		{"total length 0", edit(func(b []byte) { b[3] = 0 }), ErrTotalLen},
		{"truncated", edit(func(b []byte) { b[3]++ }), ErrTotalLen},
		{"bad checksum", func() []byte { b := edit(func(b []byte) {}); b[8]--; return b }(), ErrChecksum},
		{"fragment without bytes", packet(Header{FragmentOffset: 8}, nil), ErrFragmentLen},
		{"fragment of 7 bytes", packet(Header{MoreFragments: true}, make([]byte, 7)), ErrFragmentLen},
		{"last fragment of 7 bytes", packet(Header{FragmentOffset: 8}, make([]byte, 7)), nil},
		{"ping of death", packet(Header{FragmentOffset: 65528}, make([]byte, 8)), ErrFragmentEnd},
		{"largest datagram", packet(Header{FragmentOffset: 65504}, make([]byte, 11)), nil},
		{"one byte more", packet(Header{FragmentOffset: 65504}, make([]byte, 12)), ErrFragmentEnd},
	} {
		var h Header
		if _, err := h.Parse(c.b); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	good := edit(func(b []byte) {})
	for i := range 20 * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		var h Header
		if _, err := h.Parse(bad); err == nil {
			t.Errorf("bit %d flipped and taken", i)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		opts string
		want error
	}{
		{"none", "", nil},
		{"end", "00000000", nil},
		{"nops", "01010100", nil},
		{"nops to the end", "01010101", nil},
		{"garbage behind the end", "00830304", nil},
		{"record route", "0707040000000000", nil},
		{"record route, full", "070f100a0000010a0000020a00000300", nil},
		{"record route, pointer 3", "0707030000000000", ErrOptions},
		{"record route, half an address", "070604000000", ErrOptions},
		{"timestamp", "440c0500000000000000000000000000", nil},
		{"timestamp, pointer 4", "440c040000000000000000000000", ErrOptions},
		{"timestamp, no flags", "44030500", ErrOptions},
		{"router alert", "94040000", nil},
		{"router alert, long", "9405000000000000", ErrOptions},
		{"unknown", "5e06010203040000", nil},
		{"security", "820b0000000000000000000000", nil},
		{"LSRR", "830704c000020100", ErrSourceRoute},
		{"SSRR", "0189070401020304", ErrSourceRoute},
		{"length 0", "07000000", ErrOptions},
		{"length 1", "07010000", ErrOptions},
		{"length beyond", "07080400", ErrOptions},
		{"type at the very end", "01010107", ErrOptions},
	} {
		opts, err := hex.DecodeString(c.opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckOptions(opts); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if len(opts)%4 == 0 {
			var h Header
			if _, err := h.Parse(packet(Header{Options: opts}, nil)); err != c.want {
				t.Errorf("%s in a packet: %v, want %v", c.name, err, c.want)
			}
		}
	}
}

func TestClassify(t *testing.T) {
	ours := []netip.Prefix{pfx("192.0.2.5/24"), pfx("10.0.0.1/31"), pfx("198.51.100.7/32"), pfx("2001:db8::1/64"), pfx("172.16.9.1/30")}
	for _, c := range []struct {
		a    string
		want Destination
	}{
		{"192.0.2.5", DestinationLocal},
		{"198.51.100.7", DestinationLocal},
		{"192.0.2.6", DestinationOther},
		{"192.0.2.255", DestinationBroadcast},
		{"192.0.2.0", DestinationBroadcast},
		{"172.16.9.3", DestinationBroadcast},
		{"172.16.9.2", DestinationOther},
		{"10.0.0.0", DestinationOther}, // a neighbour on a /31
		{"10.0.0.1", DestinationLocal},
		{"8.8.8.8", DestinationOther},
		{"255.255.255.255", DestinationBroadcast},
		{"224.0.0.1", DestinationMulticast},
		{"239.255.255.255", DestinationMulticast},
		{"240.0.0.1", DestinationMartian},
		{"0.0.0.0", DestinationMartian},
		{"0.1.2.3", DestinationMartian},
		{"127.0.0.1", DestinationMartian},
		{"2001:db8::1", DestinationMartian},
		{"::ffff:192.0.2.5", DestinationMartian},
	} {
		if got := Classify(ip(c.a), ours); got != c.want {
			t.Errorf("%s: %v, want %v", c.a, got, c.want)
		}
	}
	for _, c := range []struct {
		a  string
		ok bool
	}{
		{"192.0.2.6", true}, {"8.8.8.8", true}, {"10.0.0.0", true}, {"172.16.9.2", true}, {"223.255.255.255", true},
		{"192.0.2.5", false}, {"198.51.100.7", false}, {"192.0.2.255", false}, {"192.0.2.0", false},
		{"0.0.0.0", false}, {"0.9.9.9", false}, {"127.9.9.9", false}, {"224.0.0.1", false}, {"240.0.0.1", false},
		{"255.255.255.255", false}, {"::1", false}, {"::ffff:8.8.8.8", false},
	} {
		if err := CheckSource(ip(c.a), ours); (err == nil) != c.ok {
			t.Errorf("source %s: %v", c.a, err)
		}
	}
	if CheckSource(netip.Addr{}, nil) == nil || Classify(netip.Addr{}, nil) != DestinationMartian {
		t.Error("the zero address is taken")
	}
}

func TestEncodePanics(t *testing.T) {
	good := Header{Src: ip("10.0.0.1"), Dst: ip("10.0.0.2"), TotalLen: 20}
	for name, f := range map[string]func(h *Header, b *[]byte){
		"short slice":   func(h *Header, b *[]byte) { *b = make([]byte, 19) },
		"options":       func(h *Header, b *[]byte) { h.Options = make([]byte, 3) },
		"many options":  func(h *Header, b *[]byte) { h.Options = make([]byte, 44) },
		"total length":  func(h *Header, b *[]byte) { h.TotalLen = 19 },
		"total length ": func(h *Header, b *[]byte) { h.TotalLen = 65536 },
		"offset":        func(h *Header, b *[]byte) { h.FragmentOffset = 4 },
		"offset ":       func(h *Header, b *[]byte) { h.FragmentOffset = 65536 },
		"offset  ":      func(h *Header, b *[]byte) { h.FragmentOffset = -8 },
		"IPv6":          func(h *Header, b *[]byte) { h.Src = ip("::1") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			h, b := good, make([]byte, 64)
			f(&h, &b)
			h.Encode(b)
		}()
	}
}

func TestNoAllocation(t *testing.T) {
	b := packet(Header{TTL: 64, Protocol: 6, Options: []byte{1, 1, 1, 0}}, make([]byte, 100))
	ours := []netip.Prefix{pfx("192.0.2.5/24")}
	out := make([]byte, MaxHeaderLen)
	ids := NewIDs(testKey)
	if n := testing.AllocsPerRun(100, func() {
		var h Header
		if _, err := h.Parse(b); err != nil {
			t.Fatal(err)
		}
		_ = Classify(h.Dst, ours)
		_ = CheckSource(h.Src, ours)
		_, _ = h.Parse(b[:9])
		h.ID = ids.Next(h.Src, h.Dst, h.Protocol)
		h.Options = nil
		h.TotalLen = 20
		h.Encode(out)
		f, err := NewFragmenter(&h, 4000, 1500)
		if err != nil {
			t.Fatal(err)
		}
		for ok := true; ok; {
			_, _, _, ok = f.Next(out)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(packet(Header{TTL: 64, Protocol: 17}, []byte("payload!")))
	f.Add(packet(Header{Options: []byte{7, 7, 4, 0, 0, 0, 0, 0}, MoreFragments: true}, make([]byte, 8)))
	f.Add(packet(Header{Options: []byte{131, 7, 4, 0, 0, 0, 0, 0}}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h Header
		if p, err := h.ParseQuoted(b); err == nil && len(p) > h.TotalLen-h.Len() {
			t.Fatalf("quoted payload of %d bytes, total length %d", len(p), h.TotalLen)
		}
		// As it is, and with the right checksum, which the fuzzer wouldn't find.
		for range 2 {
			payload, err := h.Parse(b)
			if err == nil {
				if h.Len()+len(payload) != h.TotalLen || h.FragmentOffset+len(payload) > MaxLen {
					t.Fatalf("%+v, payload of %d bytes", h, len(payload))
				}
				out := make([]byte, h.Len())
				h.Encode(out)
				reserved := b[6] & 0x80
				out[6] |= reserved
				if reserved == 0 && !bytes.Equal(out[:10], b[:10]) || !bytes.Equal(out[12:], b[12:h.Len()]) {
					t.Fatalf("% x became % x", b[:h.Len()], out)
				}
				if CheckOptions(h.Options) != nil {
					t.Fatal("options taken and refused")
				}
			}
			if len(b) < 20 || int(b[0]&15)*4 > len(b) || b[0]&15 < 5 {
				return
			}
			b = fix(bytes.Clone(b))
		}
	})
}

func FuzzOptions(f *testing.F) {
	f.Add([]byte{7, 7, 4, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, opts []byte) {
		opts = opts[:min(len(opts), MaxOptionsLen)]
		seen, rest := 0, opts
		for {
			opt, r, err := NextOption(rest)
			if err != nil || len(opt) == 0 {
				break
			}
			seen += len(opt)
			if seen+len(r) != len(opts) {
				t.Fatal("bytes were lost")
			}
			rest = r
		}
		copied := appendCopied(nil, opts)
		if len(copied)%4 != 0 || len(copied) > MaxOptionsLen {
			t.Fatalf("%d bytes of copied options from %d", len(copied), len(opts))
		}
		if CheckOptions(opts) == nil && CheckOptions(copied) != nil {
			t.Fatalf("% x became % x", opts, copied)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p := packet(Header{TTL: 64, Protocol: 6}, make([]byte, 1460))
	var h Header
	for b.Loop() {
		if _, err := h.Parse(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	h := Header{Src: ip("10.0.0.1"), Dst: ip("10.0.0.2"), TotalLen: 1500, TTL: 64, Protocol: 6, DontFragment: true}
	p := make([]byte, 20)
	for b.Loop() {
		h.Encode(p)
	}
}
