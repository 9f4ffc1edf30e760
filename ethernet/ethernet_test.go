package ethernet

import (
	"bytes"
	"net/netip"
	"testing"
)

func TestAddr(t *testing.T) {
	a := Addr{0x02, 0x00, 0x5e, 0x10, 0x00, 0xff}
	if got := a.String(); got != "02:00:5e:10:00:ff" {
		t.Errorf("String = %q", got)
	}
	for _, s := range []string{"02:00:5e:10:00:ff", "02-00-5E-10-00-FF"} {
		if got, err := ParseAddr(s); err != nil || got != a {
			t.Errorf("ParseAddr(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "02:00:5e:10:00", "02:00:5e:10:00:ff:", "02:00-5e:10:00:ff", "02:00:5e:10:00:fg", "0200.5e10.00ff", "02 00 5e 10 00 ff"} {
		if got, err := ParseAddr(s); err == nil {
			t.Errorf("ParseAddr(%q) = %v, want an error", s, got)
		}
	}
	var u Addr
	if err := u.UnmarshalText([]byte("02:00:5e:10:00:ff")); err != nil || u != a {
		t.Errorf("UnmarshalText: %v, %v", u, err)
	}
	type kind struct{ zero, broadcast, multicast, unicast, local bool }
	for _, c := range []struct {
		a    Addr
		want kind
	}{
		{Addr{}, kind{zero: true}},
		{Broadcast(), kind{broadcast: true, multicast: true, local: true}},
		{Addr{1, 0, 0x5e}, kind{multicast: true}},
		{a, kind{unicast: true, local: true}},
		{Addr{0, 0x16, 0x3e, 1, 2, 3}, kind{unicast: true}},
	} {
		got := kind{c.a.IsZero(), c.a.IsBroadcast(), c.a.IsMulticast(), c.a.IsUnicast(), c.a.IsLocal()}
		if got != c.want {
			t.Errorf("%v: %+v, want %+v", c.a, got, c.want)
		}
	}
}

func TestMulticast(t *testing.T) {
	for _, c := range []struct{ ip, want string }{
		{"224.0.0.1", "01:00:5e:00:00:01"},
		{"239.255.255.250", "01:00:5e:7f:ff:fa"}, // the 24th bit is cut off
		{"ff02::1:ff28:9c5a", "33:33:ff:28:9c:5a"},
	} {
		if got, ok := Multicast(netip.MustParseAddr(c.ip)); !ok || got.String() != c.want {
			t.Errorf("%s: %v, %v, want %s", c.ip, got, ok, c.want)
		}
	}
	for _, ip := range []netip.Addr{{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:224.0.0.1")} {
		if got, ok := Multicast(ip); ok {
			t.Errorf("%s: %v", ip, got)
		}
	}
}

func TestHeader(t *testing.T) {
	frame := []byte{
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 1, 0x81, 0x00,
		0xb0, 0x2a, 0x08, 0x06, 1, 2, 3,
	}
	h, rest, err := Parse(frame)
	if want := (Header{Broadcast(), Addr{2, 0, 0, 0, 0, 1}, TypeVLAN}); err != nil || h != want {
		t.Fatalf("%+v, %v", h, err)
	}
	tag, rest, err := ParseTag(rest)
	if want := (Tag{ID: 42, Priority: 5, DropEligible: true, Type: TypeARP}); err != nil || tag != want {
		t.Fatalf("%+v, %v", tag, err)
	}
	if !bytes.Equal(rest, []byte{1, 2, 3}) {
		t.Fatalf("rest %v", rest)
	}
	out := make([]byte, HeaderLen+TagLen)
	n := h.Encode(out)
	n += tag.Encode(out[n:])
	if n != len(out) || !bytes.Equal(out, frame[:n]) {
		t.Fatalf("encoded % x", out[:n])
	}
	for n := range 18 {
		_, rest, err := Parse(frame[:n])
		if err == nil {
			_, _, err = ParseTag(rest)
		}
		if err != ErrShort {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	bad := bytes.Clone(frame)
	bad[6] = 3
	if _, _, err := Parse(bad); err != ErrSource {
		t.Errorf("multicast source: %v", err)
	}
	bad = bytes.Clone(frame)
	bad[12], bad[13] = 0, 46
	if _, _, err := Parse(bad); err != ErrLength {
		t.Errorf("802.3 length: %v", err)
	}
}

func TestNoAllocation(t *testing.T) {
	frame := make([]byte, 64)
	h := Header{Broadcast(), Addr{2}, TypeIPv4}
	var err error
	if n := testing.AllocsPerRun(100, func() {
		h.Encode(frame)
		if h, _, err = Parse(frame); err != nil {
			t.Fatal(err)
		}
		_, _, err = Parse(frame[:3])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x81, 0, 0xb0, 0x2a, 8, 6, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, rest, err := Parse(b)
		if err != nil {
			return
		}
		out := make([]byte, HeaderLen+TagLen)
		n := h.Encode(out)
		if h.Type == TypeVLAN {
			tag, r, err := ParseTag(rest)
			if err != nil {
				return
			}
			n += tag.Encode(out[n:])
			rest = r
		}
		if !bytes.Equal(out[:n], b[:n]) || len(rest) != len(b)-n {
			t.Fatalf("% x became % x", b[:n], out[:n])
		}
	})
}
