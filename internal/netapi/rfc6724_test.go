package netapi

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// TestSortRFC6724 is section 10.2 of the RFC, as far as the rules apply, and the
// rules that it leaves out. Each destination is written with its source; the
// order is the expected one, and is reached from its reverse too.
func TestSortRFC6724(t *testing.T) {
	for _, tt := range []struct {
		name   string
		want   string // "destination<source", best first
		stable bool   // equal: any order stays
	}{
		{"matching scope", "2001:db8:1::1<2001:db8:1::2 198.51.100.121<169.254.13.78", false},
		{"matching scope, IPv4", "198.51.100.121<198.51.100.117 2001:db8:1::1<fe80::1", false},
		{"higher precedence", "2001:db8:1::1<2001:db8:1::2 10.1.2.3<10.1.2.4", false},
		{"smaller scope", "fe80::1<fe80::2 2001:db8:1::1<2001:db8:1::2", false},
		{"longest prefix", "2001:db8:1::1<2001:db8:1::2 2001:db8:3ffe::1<2001:db8:3f44::2", false},
		{"matching label", "2002:c633:6401::1<2002:c633:6401::2 2001:db8:1::1<2002:c633:6401::2", false},
		{"precedence over 6to4", "2001:db8:1::1<2001:db8:1::2 2002:c633:6401::1<2002:c633:6401::2", false},
		{"unusable last", "198.51.100.121<198.51.100.117 2001:db8:1::1<", false},
		{"a unique local address after IPv4", "198.51.100.121<198.51.100.117 fd00::1<fd00::2", false},
		{"loopback first", "::1<::1 2001:db8:1::1<2001:db8:1::2", false},
		{"IPv4 keeps its order", "198.51.100.7<198.51.100.1 203.0.113.7<198.51.100.1", true},
		{"nothing reachable", "198.51.100.7< 2001:db8::1<", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sources := make(map[netip.Addr]netip.Addr)
			var want []netip.Addr
			for f := range strings.FieldsSeq(tt.want) {
				dst, src, _ := strings.Cut(f, "<")
				d := netip.MustParseAddr(dst)
				want = append(want, d)
				if src != "" {
					sources[d] = netip.MustParseAddr(src)
				}
			}
			for _, in := range [][]netip.Addr{{want[0], want[1]}, {want[1], want[0]}} {
				got := append([]netip.Addr(nil), in...)
				SortRFC6724(got, func(d netip.Addr) (netip.Addr, bool) { s, ok := sources[d]; return s, ok })
				expect := want
				if tt.stable {
					expect = in
				}
				if fmt.Sprint(got) != fmt.Sprint(expect) {
					t.Errorf("%v became %v, want %v", in, got, expect)
				}
			}
		})
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"127.0.0.1:80", "[::1%lo]:http", ":-1", "[[::]]:1", "localhost:", "a:b:c", "+:+"} {
		f.Add("tcp", s)
	}
	f.Fuzz(func(t *testing.T, network, address string) {
		families := Families{IPv4: true, IPv6: true}
		list, err := Resolve(t.Context(), network, address, families, nil)
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d addresses and error %v", len(list), err)
		}
		for _, ap := range list {
			if ap.Addr().Is4In6() {
				t.Errorf("a mapped address, %v", ap)
			}
		}
		if b, err := ResolveListen(t.Context(), network, address, families, nil); err == nil && (!b.Addr.IsValid() || b.Families == (Families{})) {
			t.Errorf("bind %+v", b)
		}
	})
}
