package icmp

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/siphash"
	"github.com/netduet/netduet/ipv4"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEcho(t *testing.T) {
	// An echo request whose checksum was computed by hand: 0800 + 1234 + 0001 + 6869 =
	// 829e, complement 7d61.
	packet := unhex(t, "08007d61123400016869")
	m, err := Parse(packet)
	if err != nil {
		t.Fatal(err)
	}
	if m.Type != TypeEcho || m.Code != 0 || m.ID() != 0x1234 || m.Seq() != 1 || string(m.Body) != "hi" {
		t.Fatalf("%+v", m)
	}
	out := make([]byte, 64)
	n := (&Message{Type: TypeEcho, Rest: Echo(0x1234, 1), Body: []byte("hi")}).Encode(out)
	if !bytes.Equal(out[:n], packet) {
		t.Fatalf("encoded %x", out[:n])
	}
	ReplyInPlace(packet)
	r, err := Parse(packet)
	if err != nil || r.Type != TypeEchoReply || r.Rest != m.Rest || string(r.Body) != "hi" {
		t.Fatalf("reply %+v, %v", r, err)
	}
	before := bytes.Clone(packet)
	ReplyInPlace(packet) // a reply isn't answered
	if !bytes.Equal(before, packet) {
		t.Fatal("a reply was changed")
	}
	ReplyInPlace(nil)
}

func TestReplyInPlaceEveryChecksum(t *testing.T) {
	b := make([]byte, 10)
	for v := range 1 << 16 {
		(&Message{Type: TypeEcho, Code: uint8(v), Rest: uint32(v), Body: []byte{byte(v >> 8), byte(v)}}).Encode(b)
		ReplyInPlace(b)
		if m, err := Parse(b); err != nil || m.Type != TypeEchoReply {
			t.Fatalf("%d: %v", v, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	packet := unhex(t, "08007d61123400016869")
	for n := range HeaderLen {
		if _, err := Parse(packet[:n]); err != ErrShort {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for i := range packet {
		bad := bytes.Clone(packet)
		bad[i] ^= 0x10
		if _, err := Parse(bad); err != ErrChecksum {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

// datagram returns an IP packet.
func datagram(t testing.TB, h ipv4.Header, payload []byte) []byte {
	t.Helper()
	if !h.Src.IsValid() {
		h.Src = netip.MustParseAddr("192.0.2.1")
	}
	if !h.Dst.IsValid() {
		h.Dst = netip.MustParseAddr("198.51.100.2")
	}
	h.TotalLen = h.Len() + len(payload)
	b := make([]byte, h.TotalLen)
	copy(b[h.Encode(b):], payload)
	return b
}

func TestQuote(t *testing.T) {
	transport := unhex(t, "c0010050deadbeef0000000050000000")
	whole := datagram(t, ipv4.Header{Protocol: ipv4.ProtocolTCP, TTL: 3, Options: []byte{1, 1, 1, 0}}, append(transport, make([]byte, 1400)...))
	body := QuoteOf(whole)
	if want := 576 - 20 - 8; len(body) != want {
		t.Fatalf("quote of %d bytes, want %d", len(body), want)
	}
	body[8] = 1 // a router on the way counted the TTL down and left the checksum
	for _, n := range []int{len(body), 24 + 8} {
		q, err := ParseQuote(body[:n])
		if err != nil {
			t.Fatal(err)
		}
		if q.Src().String() != "192.0.2.1:49153" || q.Dst().String() != "198.51.100.2:80" || q.TCPSeq() != 0xdeadbeef {
			t.Fatalf("%v %v %#x", q.Src(), q.Dst(), q.TCPSeq())
		}
		if _, _, ok := q.Echo(); ok {
			t.Fatal("TCP taken for an echo")
		}
	}
	for n := range 24 + 8 {
		if _, err := ParseQuote(body[:n]); err != ErrQuote {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	frag := datagram(t, ipv4.Header{Protocol: ipv4.ProtocolUDP, FragmentOffset: 8}, transport)
	if _, err := ParseQuote(frag); err != ErrFragment {
		t.Errorf("later fragment: %v", err)
	}
	echo := datagram(t, ipv4.Header{Protocol: Protocol}, unhex(t, "08007d61123400016869"))
	q, err := ParseQuote(echo)
	if id, seq, ok := q.Echo(); err != nil || !ok || id != 0x1234 || seq != 1 {
		t.Errorf("echo: %v %v %v %v", id, seq, ok, err)
	}
	m := Message{Type: TypeUnreachable, Code: CodeFragmentationNeeded, Rest: 1400}
	if m.MTU() != 1400 {
		t.Errorf("MTU %d", m.MTU())
	}
	m = Message{Type: TypeParameterProblem, Rest: 20 << 24}
	if m.Pointer() != 20 {
		t.Errorf("pointer %d", m.Pointer())
	}
}

func TestMayReport(t *testing.T) {
	type c struct {
		name    string
		h       ipv4.Header
		payload []byte
		dst     ipv4.Destination
		link    bool
		want    bool
	}
	udp := ipv4.Header{Protocol: ipv4.ProtocolUDP, Src: netip.MustParseAddr("192.0.2.1")}
	with := func(f func(*ipv4.Header)) ipv4.Header { h := udp; f(&h); return h }
	src := func(s string) ipv4.Header {
		return with(func(h *ipv4.Header) { h.Src = netip.MustParseAddr(s) })
	}
	icmp := with(func(h *ipv4.Header) { h.Protocol = Protocol })
	local := ipv4.DestinationLocal
	for _, c := range []c{
		{"udp", udp, nil, local, false, true},
		{"first fragment", with(func(h *ipv4.Header) { h.MoreFragments = true }), nil, local, false, true},
		{"later fragment", with(func(h *ipv4.Header) { h.FragmentOffset = 8 }), nil, local, false, false},
		{"link broadcast", udp, nil, local, true, false},
		{"broadcast", udp, nil, ipv4.DestinationBroadcast, false, false},
		{"multicast", udp, nil, ipv4.DestinationMulticast, false, false},
		{"martian", udp, nil, ipv4.DestinationMartian, false, false},
		{"echo", icmp, []byte{8}, local, false, true},
		{"icmp error", icmp, []byte{3}, local, false, false},
		{"icmp redirect", icmp, []byte{5}, local, false, false},
		{"icmp unknown", icmp, []byte{200}, local, false, false},
		{"icmp empty", icmp, nil, local, false, false},
		{"source 0.0.0.0", src("0.0.0.0"), nil, local, false, false},
		{"source loopback", src("127.0.0.1"), nil, local, false, false},
		{"source multicast", src("224.0.0.1"), nil, local, false, false},
		{"source broadcast", src("255.255.255.255"), nil, local, false, false},
		{"source class E", src("240.0.0.1"), nil, local, false, false},
	} {
		if got := MayReport(&c.h, c.payload, c.dst, c.link); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestLimiter(t *testing.T) {
	l := NewLimiter(LimitConfig{Interval: 10 * time.Millisecond, Burst: 10, DestInterval: time.Second, DestBurst: 3, Key: siphash.Key{K0: 1, K1: 2}})
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	now := clock.Time(time.Hour)
	count := func(dst netip.Addr, tries int) (n int) {
		for range tries {
			if l.Allow(now, dst) {
				n++
			}
		}
		return n
	}
	if n := count(a, 100); n != 3 {
		t.Errorf("burst to one: %d, want 3", n)
	}
	if n := count(b, 100); n != 3 {
		t.Errorf("another destination: %d, want 3", n)
	}
	now = now.Add(999 * time.Millisecond)
	if n := count(a, 100); n != 0 {
		t.Errorf("after 0.999 s: %d, want 0", n)
	}
	now = now.Add(time.Millisecond)
	if n := count(a, 100); n != 1 {
		t.Errorf("after 1 s: %d, want 1", n)
	}
	now = now.Add(time.Hour)
	n := 0
	for i := range 100 {
		n += count(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1)
	}
	if n != 10 {
		t.Errorf("burst to all: %d, want 10", n)
	}
	now = now.Add(25 * time.Millisecond)
	n = 0
	for i := range 100 {
		n += count(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 1)
	}
	if n != 2 {
		t.Errorf("after 25 ms: %d, want 2", n)
	}
	// Random costs: never more than the burst, and at least a third of it.
	l = NewLimiter(LimitConfig{Burst: 30, Rand: func() uint64 { return 2 }})
	n = 0
	for i := range 100 {
		n += count(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 1)
	}
	if n != 10 {
		t.Errorf("with the highest costs: %d, want 10", n)
	}
}

func TestNoAllocation(t *testing.T) {
	body := make([]byte, 56)
	b := make([]byte, 64)
	l := NewLimiter(LimitConfig{})
	dst := netip.MustParseAddr("192.0.2.1")
	whole := datagram(t, ipv4.Header{Protocol: ipv4.ProtocolUDP}, body)
	if n := testing.AllocsPerRun(100, func() {
		m := Message{Type: TypeEcho, Rest: Echo(1, 2), Body: body}
		m.Encode(b)
		if _, err := Parse(b); err != nil {
			t.Fatal(err)
		}
		ReplyInPlace(b)
		if _, err := ParseQuote(whole); err != nil {
			t.Fatal(err)
		}
		_, _ = Parse(b[:3])
		l.Allow(1, dst)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, "08007d61123400016869"))
	whole := datagram(f, ipv4.Header{Protocol: ipv4.ProtocolTCP}, make([]byte, 20))
	b := make([]byte, 100)
	n := (&Message{Type: TypeUnreachable, Code: CodePortUnreachable, Body: whole}).Encode(b)
	f.Add(b[:n])
	f.Fuzz(func(t *testing.T, b []byte) {
		// The quote is tried in any case, or the checksum would hide it from the fuzzer.
		if len(b) > HeaderLen {
			if q, err := ParseQuote(b[HeaderLen:]); err == nil {
				q.Src()
				q.Dst()
				q.TCPSeq()
				q.Echo()
			}
		}
		m, err := Parse(b)
		if err != nil {
			return
		}
		out := make([]byte, len(b))
		if n := m.Encode(out); n != len(b) {
			t.Fatalf("%d bytes became %d", len(b), n)
		}
		// The checksum has two zeros, so 0 and ffff stand for each other.
		copy(out[2:4], b[2:4])
		if !bytes.Equal(out, b) {
			t.Fatalf("%x became %x", b, out)
		}
		ReplyInPlace(out)
		if r, err := Parse(out); err != nil || m.Type == TypeEcho && r.Type != TypeEchoReply {
			t.Fatalf("reply to %x: %x, %v", b, out, err)
		}
	})
}

func BenchmarkEcho(b *testing.B) {
	p := make([]byte, 64)
	(&Message{Type: TypeEcho, Body: make([]byte, 56)}).Encode(p)
	for b.Loop() {
		if _, err := Parse(p); err != nil {
			b.Fatal(err)
		}
		ReplyInPlace(p)
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := NewLimiter(LimitConfig{})
	dst := netip.MustParseAddr("192.0.2.1")
	for i := 0; b.Loop(); i++ {
		l.Allow(clock.Time(i), dst)
	}
}
