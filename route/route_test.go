package route

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr    { return netip.MustParseAddr(s) }

func TestLookup(t *testing.T) {
	table, err := New([]Route{
		{Prefix: pfx("0.0.0.0/0"), Gateway: ip("192.0.2.254"), Interface: 1, Metric: 10},
		{Prefix: pfx("0.0.0.0/0"), Gateway: ip("192.0.2.253"), Interface: 2, Metric: 5},
		{Prefix: pfx("192.0.2.1/24"), Interface: 1, Source: ip("192.0.2.1")}, // not masked
		{Prefix: pfx("10.0.0.0/8"), Gateway: ip("192.0.2.2"), Interface: 1},
		{Prefix: pfx("10.1.0.0/16"), Gateway: ip("192.0.2.3"), Interface: 1},
		{Prefix: pfx("10.1.0.0/16"), Gateway: ip("192.0.2.4"), Interface: 2},
		{Prefix: pfx("10.1.2.3/32"), Gateway: ip("192.0.2.5"), Interface: 1},
		{Prefix: pfx("::/0"), Gateway: ip("fe80::1"), Interface: 3},
		{Prefix: pfx("2001:db8::/32"), Interface: 3},
		{Prefix: pfx("2001:db8:0:1::/64"), Interface: 4},
		{Prefix: pfx("2001:db8::8000:0:0:1/128"), Interface: 5},
		{Prefix: pfx("fe80::/64"), Interface: 3},
		{Prefix: pfx("fe80::/64"), Interface: 4},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dst   string
		iface int // 0: any
		hop   string
		on    int // 0: none
	}{
		{"192.0.2.77", 0, "192.0.2.77", 1},
		{"8.8.8.8", 0, "192.0.2.253", 2}, // lower metric
		{"8.8.8.8", 1, "192.0.2.254", 1},
		{"10.9.9.9", 0, "192.0.2.2", 1},
		{"10.1.9.9", 0, "192.0.2.3", 1}, // the first of equals
		{"10.1.9.9", 2, "192.0.2.4", 2},
		{"10.1.2.3", 0, "192.0.2.5", 1},
		{"10.1.2.3", 2, "192.0.2.4", 2},
		{"8.8.8.8", 9, "", 0},
		{"2001:db8:0:1::9", 0, "2001:db8:0:1::9", 4},
		{"2001:db8:0:2::9", 0, "2001:db8:0:2::9", 3},
		{"2001:db8::8000:0:0:1", 0, "2001:db8::8000:0:0:1", 5},
		{"2001:db9::", 0, "fe80::1", 3},
		{"fe80::5%eth1", 4, "fe80::5%eth1", 4},
		{"::ffff:10.1.2.3", 0, "fe80::1", 3},
	} {
		r, ok := table.LookupOn(ip(c.dst), c.iface)
		if ok != (c.on != 0) {
			t.Errorf("%s on %d: %v, %v", c.dst, c.iface, r, ok)
			continue
		}
		if ok && (r.Interface != c.on || r.NextHop(ip(c.dst)) != ip(c.hop)) {
			t.Errorf("%s on %d: via %v on %d, want %s on %d", c.dst, c.iface, r.NextHop(ip(c.dst)), r.Interface, c.hop, c.on)
		}
	}
	if r, _ := table.Lookup(ip("192.0.2.9")); r.Source != ip("192.0.2.1") || r.Prefix != pfx("192.0.2.0/24") {
		t.Errorf("%+v", r)
	}
	if _, ok := table.Lookup(netip.Addr{}); ok {
		t.Error("a route to nowhere")
	}
	var none *Table
	if _, ok := none.Lookup(ip("10.0.0.1")); ok || none.Routes() != nil {
		t.Error("a nil table has routes")
	}
	if got := table.Routes(); len(got) != 13 || got[0].Prefix.Bits() != 128 {
		t.Errorf("%v", got)
	}
}

func TestInvalid(t *testing.T) {
	for _, r := range []Route{
		{},
		{Prefix: pfx("10.0.0.0/8")},
		{Prefix: pfx("10.0.0.0/8"), Interface: -1},
		{Prefix: pfx("10.0.0.0/8"), Interface: 1, Gateway: ip("fe80::1")},
		{Prefix: pfx("::/0"), Interface: 1, Gateway: ip("10.0.0.1")},
		{Prefix: pfx("10.0.0.0/8"), Interface: 1, Source: ip("fe80::1")},
		{Prefix: pfx("10.0.0.0/8"), Interface: 1, Gateway: ip("0.0.0.0")},
		{Prefix: pfx("10.0.0.0/8"), Interface: 1, Gateway: ip("224.0.0.1")},
		{Prefix: netip.PrefixFrom(ip("::ffff:10.0.0.0"), 104), Interface: 1},
	} {
		if _, err := New([]Route{r}); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
}

// naive is what the documentation of Lookup says, one route after another.
func naive(routes []Route, dst netip.Addr, iface int) int {
	best := -1
	for i, r := range routes {
		if !r.Prefix.Contains(dst.WithZone("")) || iface != 0 && r.Interface != iface {
			continue
		}
		if best < 0 || r.Prefix.Bits() > routes[best].Prefix.Bits() ||
			r.Prefix.Bits() == routes[best].Prefix.Bits() && r.Metric < routes[best].Metric {
			best = i
		}
	}
	return best
}

func TestAgainstNaive(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		addr := func() netip.Addr {
			// Few bits vary, so that prefixes nest and repeat.
			if rng.IntN(2) == 0 {
				return netip.AddrFrom4([4]byte{10, byte(rng.IntN(3)), byte(rng.IntN(3)), byte(rng.IntN(4))})
			}
			return netip.AddrFrom16([16]byte{0x20, 1, 7: byte(rng.IntN(2)), 8: byte(rng.IntN(2) * 128), 15: byte(rng.IntN(4))})
		}
		routes := make([]Route, rng.IntN(120))
		for i := range routes {
			a := addr()
			routes[i] = Route{Prefix: netip.PrefixFrom(a, rng.IntN(a.BitLen()+1)), Interface: 1 + rng.IntN(3), Metric: rng.IntN(3)}
			// A source identifies the route.
			b := a.As16()
			if a.Is4() {
				routes[i].Source = netip.AddrFrom4([4]byte{1, 1, byte(i >> 8), byte(i)})
			} else {
				b[1], b[2] = byte(i>>8), byte(i)
				routes[i].Source = netip.AddrFrom16(b)
			}
		}
		table, err := New(routes)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			dst, iface := addr(), rng.IntN(4)
			want := naive(routes, dst, iface)
			got, ok := table.LookupOn(dst, iface)
			if ok != (want >= 0) || ok && got.Source != routes[want].Source {
				t.Fatalf("seed %d, %d routes: %v on %d: %+v, want %d", seed, len(routes), dst, iface, got, want)
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	small, large := tableOf(3), tableOf(1000)
	dst := ip("10.0.1.1")
	if n := testing.AllocsPerRun(100, func() {
		small.Lookup(dst)
		large.Lookup(dst)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func tableOf(n int) *Table {
	routes := []Route{{Prefix: pfx("0.0.0.0/0"), Gateway: ip("10.0.0.1"), Interface: 1}}
	for i := 1; i < n; i++ {
		routes = append(routes, Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24), Interface: 1})
	}
	t, err := New(routes)
	if err != nil {
		panic(err)
	}
	return t
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{3, 30, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := tableOf(n)
			dst := ip("8.8.8.8")
			for b.Loop() {
				t.Lookup(dst)
			}
		})
	}
}
