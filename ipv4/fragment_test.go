package ipv4

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/siphash"
)

var testKey = siphash.Key{K0: 0x0706050403020100, K1: 0x0f0e0d0c0b0a0908}

const t0 = clock.Time(time.Hour)

// fragments cuts a datagram into packets, as a sender does.
func fragments(t testing.TB, h Header, payload []byte, mtu int) [][]byte {
	t.Helper()
	f, err := NewFragmenter(&h, len(payload), mtu)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for {
		b := make([]byte, MaxHeaderLen)
		n, from, to, ok := f.Next(b)
		if !ok {
			return out
		}
		out = append(out, append(b[:n], payload[from:to]...))
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*5 + i>>8)
	}
	return b
}

var base = Header{Src: ip("192.0.2.1"), Dst: ip("198.51.100.2"), TTL: 64, Protocol: ProtocolUDP, ID: 77, TOS: 2}

func TestFragmentAndReassemble(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 0))
		h := base
		if rng.IntN(2) == 0 {
			// Record route stays in the first fragment; router alert is copied.
			h.Options = []byte{7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0}
		}
		payload := pattern(1 + rng.IntN(5000))
		mtu := MinMTU + rng.IntN(1500)
		packets := fragments(t, h, payload, mtu)
		for i, p := range packets {
			if len(p) > mtu {
				t.Fatalf("seed %d: packet of %d bytes, MTU %d", seed, len(p), mtu)
			}
			var g Header
			if _, err := g.Parse(p); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if len(h.Options) > 0 && i > 0 && !bytes.Equal(g.Options, []byte{0x94, 4, 0, 0}) {
				t.Fatalf("seed %d: options % x", seed, g.Options)
			}
		}
		if len(packets) == 1 {
			continue
		}
		rng.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
		r := NewReassembler(ReassemblyConfig{})
		for i, p := range packets {
			var g Header
			part, _ := g.Parse(p)
			if !g.IsFragment() {
				t.Fatalf("seed %d: not a fragment", seed)
			}
			whole, v := r.Add(t0, &g, p, part)
			if i < len(packets)-1 {
				if v != FragmentPending || whole != nil {
					t.Fatalf("seed %d: %v", seed, v)
				}
				continue
			}
			if v != FragmentComplete || !bytes.Equal(whole, payload) {
				t.Fatalf("seed %d: %v, %d bytes, want %d", seed, v, len(whole), len(payload))
			}
			if g.IsFragment() || g.TotalLen != h.Len()+len(payload) || !bytes.Equal(g.Options, h.Options) || g.ID != 77 || g.TOS != 2 || g.TTL != 64 {
				t.Fatalf("seed %d: %+v", seed, g)
			}
		}
		if r.Len() != 0 || r.Bytes() != 0 {
			t.Fatalf("seed %d: %d left", seed, r.Len())
		}
	}
}

func TestFragmenterLimits(t *testing.T) {
	h := base
	if got := fragments(t, h, pattern(1480), 1500); len(got) != 1 {
		t.Errorf("a packet that fits became %d", len(got))
	}
	if got := fragments(t, h, pattern(1481), 1500); len(got) != 2 || len(got[0]) != 1500 || len(got[1]) != 21 {
		t.Errorf("%d packets", len(got))
	}
	if got := fragments(t, h, nil, 1500); len(got) != 1 {
		t.Errorf("an empty datagram became %d packets", len(got))
	}
	if got := fragments(t, h, pattern(65515), 68); len(got) != 1365 {
		t.Errorf("%d packets", len(got))
	}
	for _, c := range []struct {
		n, mtu int
		df     bool
		want   error
	}{{65516, 1500, false, ErrTooLong}, {10, 67, false, ErrMTU}, {10, 0, false, ErrMTU}, {1481, 1500, true, ErrDontFragment}, {1480, 1500, true, nil}} {
		h.DontFragment = c.df
		if _, err := NewFragmenter(&h, c.n, c.mtu); err != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
	// A fragment that is cut again keeps its place (RFC 791, section 3.2).
	h = base
	h.FragmentOffset, h.MoreFragments = 800, true
	for i, p := range fragments(t, h, pattern(160), 100) {
		var g Header
		if _, err := g.Parse(p); err != nil || g.FragmentOffset != 800+80*i || !g.MoreFragments {
			t.Errorf("%d: %+v, %v", i, g, err)
		}
	}
}

// add parses a packet and adds it.
func add(t *testing.T, r *Reassembler, now clock.Time, p []byte) Verdict {
	t.Helper()
	var h Header
	payload, err := h.Parse(p)
	if err != nil {
		t.Fatal(err)
	}
	_, v := r.Add(now, &h, p, payload)
	return v
}

func TestTimeExceededQuote(t *testing.T) {
	r := NewReassembler(ReassemblyConfig{})
	packets := fragments(t, base, pattern(3000), 1500)
	add(t, r, t0, packets[0])
	other := base
	other.ID++
	add(t, r, t0, fragments(t, other, pattern(3000), 1500)[1])
	var got []Expired
	r.Expire(r.Deadline(), func(e Expired) { got = append(got, e) })
	if r.Deadline() != clock.Never || len(got) != 2 {
		t.Fatalf("%d expired", len(got))
	}
	if !bytes.Equal(got[0].Quote, packets[0][:28]) {
		t.Errorf("quote % x", got[0].Quote)
	}
	if got[1].Quote != nil {
		t.Error("an error about a datagram whose first fragment didn't arrive")
	}
	add(t, r, t0, packets[0])
	r.Close()
	if r.Len() != 0 || r.Bytes() != 0 {
		t.Error("Close left something")
	}
}

func TestTinyFragments(t *testing.T) {
	tcp := base
	tcp.Protocol = ProtocolTCP
	tcp.MoreFragments = true
	r := NewReassembler(ReassemblyConfig{})
	if v := add(t, r, t0, packet(tcp, pattern(8))); v != FragmentTiny {
		t.Errorf("8 bytes of TCP: %v", v)
	}
	tcp.FragmentOffset = 16
	if v := add(t, r, t0, packet(tcp, pattern(8))); v != FragmentGivenUp {
		t.Errorf("the rest: %v", v)
	}
	tcp.ID++
	tcp.FragmentOffset = 8
	if v := add(t, r, t0, packet(tcp, pattern(8))); v != FragmentTiny {
		t.Errorf("TCP at offset 8: %v", v)
	}
	tcp.ID++
	tcp.FragmentOffset = 0
	if v := add(t, r, t0, packet(tcp, pattern(16))); v != FragmentPending {
		t.Errorf("16 bytes of TCP: %v", v)
	}
	udp := base
	udp.MoreFragments = true
	if v := add(t, r, t0, packet(udp, pattern(8))); v != FragmentPending {
		t.Errorf("8 bytes of UDP: %v", v)
	}
}

func TestReassembledTooLong(t *testing.T) {
	// Without options the datagram would be 65,535 bytes; with them it is more.
	h := base
	h.Options = []byte{1, 1, 1, 0}
	r := NewReassembler(ReassemblyConfig{})
	v := FragmentPending
	for off := 0; off < 65515 && v == FragmentPending; off += 1480 {
		n := min(1480, 65515-off)
		h.FragmentOffset, h.MoreFragments = off, off+n < 65515
		v = add(t, r, t0, packet(h, pattern(n)))
	}
	if v != FragmentInconsistent {
		t.Errorf("%v", v)
	}
}

func TestCongestionMarkSurvives(t *testing.T) {
	packets := fragments(t, base, pattern(2000), 1500)
	packets[1][1] |= 3 // a router marked the second fragment
	fix(packets[1])
	r := NewReassembler(ReassemblyConfig{})
	add(t, r, t0, packets[0])
	var h Header
	payload, _ := h.Parse(packets[1])
	if _, v := r.Add(t0, &h, packets[1], payload); v != FragmentComplete || h.TOS != 3 {
		t.Errorf("%v, TOS %d", v, h.TOS)
	}
}

func TestIDs(t *testing.T) {
	a, b := NewIDs(testKey), NewIDs(siphash.Key{K0: 1})
	src, dst := ip("192.0.2.1"), ip("198.51.100.2")
	seen := make(map[uint16]bool)
	for range 1 << 16 {
		seen[a.Next(src, dst, 17)] = true
	}
	if len(seen) != 1<<16 {
		t.Errorf("%d of 65536 values before the first repeats", len(seen))
	}
	// Other keys, destinations and protocols have sequences of their own.
	x := a.Next(src, dst, 17)
	same := 0
	for _, y := range []uint16{b.Next(src, dst, 17), a.Next(src, dst, 6), a.Next(src, dst.Next(), 17), a.Next(src.Next(), dst, 17)} {
		if d := y - x; d < 16 || d > 0xfff0 {
			same++
		}
	}
	if same > 1 {
		t.Errorf("%d of 4 sequences are near the first", same)
	}
	// Sending to others doesn't show in what one destination sees, but for the few
	// that share a counter.
	x = a.Next(src, dst, 17)
	for i := range 200 {
		a.Next(src, ip("203.0.113.0").Next(), uint8(i))
	}
	if d := a.Next(src, dst, 17) - x; d > 4 {
		t.Errorf("the value moved by %d", d)
	}
}

// FuzzReassembly feeds packets made of arbitrary bytes: what comes out must be what
// the fragments that went in say, byte for byte.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte{0, 4, 1, 4, 2, 4, 0x83, 2})
	f.Fuzz(func(t *testing.T, steps []byte) {
		r := NewReassembler(ReassemblyConfig{MaxDatagrams: 4, MaxFragments: 16})
		var sent [2][512]byte // the last byte sent for each place
		for len(steps) >= 2 {
			s, n := steps[0], 1+int(steps[1]&7)
			steps = steps[2:]
			h := base
			h.ID = uint16(s >> 5 & 1)
			h.FragmentOffset = int(s&31) * 8
			h.MoreFragments = s&0x80 == 0
			payload := make([]byte, n*8)
			for i := range payload {
				payload[i] = byte(h.FragmentOffset + i + int(h.ID))
				sent[h.ID][h.FragmentOffset+i] = payload[i]
			}
			if !h.IsFragment() {
				continue
			}
			p := packet(h, payload)
			var g Header
			part, err := g.Parse(p)
			if err != nil {
				t.Fatal(err)
			}
			whole, v := r.Add(t0, &g, p, part)
			if (v == FragmentComplete) != (whole != nil) {
				t.Fatalf("%v with %d bytes", v, len(whole))
			}
			if whole != nil && (g.IsFragment() || g.TotalLen != 20+len(whole) || !bytes.Equal(whole, sent[h.ID][:len(whole)])) {
				t.Fatalf("%+v, % x", g, whole)
			}
		}
		r.Expire(t0.Add(time.Minute), func(Expired) {})
		if r.Bytes() != 0 {
			t.Fatalf("%d bytes left", r.Bytes())
		}
	})
}

func BenchmarkIDs(b *testing.B) {
	g := NewIDs(testKey)
	src, dst := ip("192.0.2.1"), ip("198.51.100.2")
	for b.Loop() {
		g.Next(src, dst, 17)
	}
}
