package defrag

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

const t0 = clock.Time(time.Hour)

func key(src byte, id uint32) Key {
	return Key{Src: netip.AddrFrom4([4]byte{10, 0, 0, src}), Dst: netip.AddrFrom4([4]byte{10, 1, 0, 1}), ID: id, Protocol: 17}
}

// frag returns bytes [from, to) of a datagram of total bytes whose byte i is i*7+i>>8.
func frag(from, to, total int) Fragment {
	f := Fragment{Offset: from, More: to != total}
	for i := from; i < to; i++ {
		f.Payload = append(f.Payload, content(i))
	}
	if from == 0 {
		f.Head = []byte("head")
	}
	return f
}

func content(i int) byte { return byte(i*7 + i>>8) }

type budget struct{ used, limit, max int }

func (b *budget) Reserve(n int) bool {
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	b.max = max(b.max, b.used)
	return true
}

func (b *budget) Release(n int) { b.used -= n }

func TestEveryOrder(t *testing.T) {
	cuts := []int{0, 8, 24, 32, 39}
	order := []int{0, 1, 2, 3}
	var permute func(k int)
	permute = func(k int) {
		if k < len(order) {
			for i := k; i < len(order); i++ {
				order[k], order[i] = order[i], order[k]
				permute(k + 1)
				order[k], order[i] = order[i], order[k]
			}
			return
		}
		mem := &budget{limit: 1 << 20}
		r := New(Config{Memory: mem})
		for n, i := range order {
			d, v := r.Add(t0, key(1, 1), frag(cuts[i], cuts[i+1], 39))
			if n < 3 {
				if v != Pending {
					t.Fatalf("order %v, fragment %d: %v", order, n, v)
				}
				if _, v := r.Add(t0, key(1, 1), frag(cuts[i], cuts[i+1], 39)); v != Duplicate {
					t.Fatalf("order %v, copy of %d: %v", order, n, v)
				}
				continue
			}
			if v != Complete || !bytes.Equal(d.Payload, frag(0, 39, 39).Payload) || string(d.Head) != "head" {
				t.Fatalf("order %v: %v %q", order, v, d.Payload)
			}
		}
		if mem.used != 0 || mem.max == 0 || r.Len() != 0 || r.Bytes() != 0 || r.Deadline() != clock.Never {
			t.Fatalf("left over: %d bytes, %d datagrams", mem.used, r.Len())
		}
	}
	permute(0)
}

func TestOverlaps(t *testing.T) {
	changed := frag(8, 16, 40)
	changed.Payload[3]++
	for _, c := range []struct {
		name  string
		first []Fragment
		f     Fragment
		want  Verdict
	}{
		{"copy with other bytes", []Fragment{frag(8, 16, 40)}, changed, Overlap},
		{"inside", []Fragment{frag(0, 24, 40)}, frag(8, 16, 40), Overlap},
		{"around", []Fragment{frag(8, 16, 40)}, frag(0, 24, 40), Overlap},
		{"across the start", []Fragment{frag(8, 24, 40)}, frag(0, 16, 40), Overlap},
		{"across the end", []Fragment{frag(8, 24, 40)}, frag(16, 32, 40), Overlap},
		{"same start", []Fragment{frag(8, 24, 40)}, frag(8, 16, 40), Overlap},
		{"same end", []Fragment{frag(8, 24, 40)}, frag(16, 24, 40), Overlap},
		{"teardrop", []Fragment{frag(0, 24, 40)}, frag(8, 16, 16), Inconsistent},
		{"behind the end", []Fragment{frag(24, 32, 32)}, frag(32, 40, 48), Inconsistent},
		{"a second end", []Fragment{frag(24, 32, 32)}, frag(32, 40, 40), Inconsistent},
		{"an earlier end", []Fragment{frag(24, 32, 32)}, frag(0, 8, 8), Inconsistent},
		{"the end before what is there", []Fragment{frag(24, 32, 64)}, frag(8, 16, 16), Inconsistent},
		{"the last copied as not the last", []Fragment{frag(24, 32, 32)}, frag(24, 32, 64), Overlap},
		{"one copied as the last", []Fragment{frag(24, 32, 64)}, frag(24, 32, 32), Overlap},
	} {
		mem := &budget{limit: 1 << 20}
		r := New(Config{Memory: mem})
		for _, f := range c.first {
			if _, v := r.Add(t0, key(1, 1), f); v != Pending {
				t.Fatalf("%s: %v", c.name, v)
			}
		}
		if _, v := r.Add(t0, key(1, 1), c.f); v != c.want {
			t.Errorf("%s: %v, want %v", c.name, v, c.want)
			continue
		}
		// The rest is refused, another datagram isn't.
		if _, v := r.Add(t0, key(1, 1), frag(0, 8, 40)); v != GivenUp {
			t.Errorf("%s: then %v", c.name, v)
		}
		if _, v := r.Add(t0, key(1, 2), frag(0, 8, 40)); v != Pending {
			t.Errorf("%s: another: %v", c.name, v)
		}
		out := r.Advance(r.Deadline(), nil)
		if len(out) != 2 || out[0].Head != nil || out[1].Head == nil || mem.used != 0 {
			t.Errorf("%s: expired %v, %d bytes left", c.name, out, mem.used)
		}
		if _, v := r.Add(t0.Add(time.Minute), key(1, 1), frag(0, 40, 40)); v != Complete {
			t.Errorf("%s: later %v", c.name, v)
		}
	}
}

func TestTimeout(t *testing.T) {
	r := New(Config{})
	r.Add(t0, key(1, 1), frag(0, 8, 40))
	r.Add(t0.Add(time.Second), key(1, 2), frag(8, 16, 40))
	r.Add(t0.Add(29*time.Second), key(1, 1), frag(8, 16, 40)) // doesn't prolong it
	if d := r.Deadline(); d != t0.Add(30*time.Second) {
		t.Fatalf("deadline %v", d.Sub(t0))
	}
	if out := r.Advance(t0.Add(30*time.Second-1), nil); len(out) != 0 {
		t.Fatalf("too early: %v", out)
	}
	out := r.Advance(t0.Add(30*time.Second), nil)
	if len(out) != 1 || out[0].Key != key(1, 1) || string(out[0].Head) != "head" {
		t.Fatalf("%v", out)
	}
	// Without its first fragment nobody is told.
	out = r.Advance(t0.Add(31*time.Second), nil)
	if len(out) != 1 || out[0].Head != nil || r.Bytes() != 0 {
		t.Fatalf("%v, %d bytes", out, r.Bytes())
	}
	// A fragment that comes after the deadline, with nobody calling Advance, begins a
	// datagram anew.
	r.Add(t0, key(1, 3), frag(0, 8, 16))
	if _, v := r.Add(t0.Add(time.Minute), key(1, 3), frag(8, 16, 16)); v != Pending {
		t.Errorf("joined to an expired one: %v", v)
	}
}

func TestBounds(t *testing.T) {
	mem := &budget{limit: 1 << 30}
	r := New(Config{MaxDatagrams: 10, MaxPerSource: 4, MaxFragments: 5, Memory: mem})
	for i := range 100 {
		r.Add(t0, key(1, uint32(i)), frag(0, 8, 40))
	}
	if r.Len() != 4 {
		t.Errorf("%d of one source, want 4", r.Len())
	}
	for src := range 100 {
		r.Add(t0, key(byte(src), 0), frag(0, 8, 40))
	}
	if r.Len() != 10 || r.Evicted() != 190 {
		t.Errorf("%d in all, want 10 (evicted %d)", r.Len(), r.Evicted())
	}
	var v Verdict
	for i := range 6 {
		_, v = r.Add(t0, key(200, 0), frag(16*i, 16*i+8, 1000))
	}
	if v != TooMany {
		t.Errorf("sixth fragment: %v", v)
	}
	r.Close()
	if mem.used != 0 || r.Len() != 0 || len(r.bySource) != 0 {
		t.Errorf("after Close: %d bytes, %d datagrams", mem.used, r.Len())
	}
}

func TestMemoryBounds(t *testing.T) {
	r := New(Config{MaxBytes: 1 << 20, MaxBytesPerSource: 200 << 10, MaxPerSource: 1000, MaxDatagrams: 1 << 20})
	for i := range 300 {
		r.Add(t0, key(1, uint32(i)), frag(0, 8192, 65000))
		if r.Bytes() > 200<<10 {
			t.Fatalf("%d bytes of one source", r.Bytes())
		}
	}
	for src := range 100 {
		for i := range 20 {
			r.Add(t0, key(byte(src), uint32(i)), frag(0, 8192, 65000))
			if r.Bytes() > 1<<20 {
				t.Fatalf("%d bytes in all", r.Bytes())
			}
		}
	}
	// A datagram still gets through.
	for i := range 7 {
		_, v := r.Add(t0, key(250, 9), frag(i*8192, (i+1)*8192, 7*8192))
		if i < 6 && v != Pending || i == 6 && v != Complete {
			t.Fatalf("fragment %d: %v", i, v)
		}
	}
	// When the memory belongs to others, the fragment is refused and nothing leaks.
	mem := &budget{limit: 1000}
	r = New(Config{Memory: mem})
	if _, v := r.Add(t0, key(1, 1), frag(0, 8192, 65000)); v != NoMemory {
		t.Errorf("%v", v)
	}
	if mem.used != 0 || r.Len() != 0 {
		t.Errorf("%d bytes, %d datagrams left", mem.used, r.Len())
	}
	if _, v := r.Add(t0, key(1, 1), frag(0, 64, 65000)); v != Pending {
		t.Errorf("%v", v)
	}
	if _, v := r.Add(t0, key(2, 1), frag(0, 304, 65000)); v != Pending || r.Len() != 1 {
		t.Errorf("the oldest didn't make room: %v, %d", v, r.Len())
	}
	mem.limit = 0
	if _, v := r.Add(t0, key(3, 1), frag(0, 8, 65000)); v != NoMemory || r.Len() != 0 || mem.used != 0 {
		t.Errorf("%v, %d datagrams, %d bytes", v, r.Len(), mem.used)
	}
}

func TestECN(t *testing.T) {
	for _, c := range []struct {
		a, b uint8
		want Verdict
		ecn  uint8
	}{{0, 0, Complete, 0}, {2, 2, Complete, 2}, {1, 1, Complete, 1}, {2, 3, Complete, 3}, {3, 1, Complete, 3}, {3, 3, Complete, 3}, {0, 3, Congested, 0}, {3, 0, Congested, 0}, {0, 2, Complete, 0}} {
		r := New(Config{})
		a, b := frag(0, 8, 16), frag(8, 16, 16)
		a.ECN, b.ECN = c.a, c.b
		r.Add(t0, key(1, 1), a)
		if d, v := r.Add(t0, key(1, 1), b); v != c.want || d.ECN != c.ecn {
			t.Errorf("%d and %d: %v, %d", c.a, c.b, v, d.ECN)
		}
	}
}

// model is the naive reassembly of one datagram: a byte and a flag for each place.
type model struct {
	frags   []Fragment
	end     int
	givenUp bool
}

// add returns the verdict and the datagram, from all fragments so far.
func (m *model) add(f Fragment) (Verdict, []byte) {
	if m.givenUp {
		return GivenUp, nil
	}
	end := f.Offset + len(f.Payload)
	for _, g := range m.frags {
		gEnd := g.Offset + len(g.Payload)
		if !g.More && (end > gEnd || !f.More && end != gEnd) || !f.More && gEnd > end {
			m.givenUp = true
			return Inconsistent, nil
		}
	}
	for _, g := range m.frags {
		if g.Offset == f.Offset && g.More == f.More && bytes.Equal(g.Payload, f.Payload) {
			return Duplicate, nil
		}
	}
	for _, g := range m.frags {
		if f.Offset < g.Offset+len(g.Payload) && g.Offset < end {
			m.givenUp = true
			return Overlap, nil
		}
	}
	m.frags = append(m.frags, f)
	if !f.More {
		m.end = end
	}
	if m.end == 0 {
		return Pending, nil
	}
	whole, seen := make([]byte, m.end), make([]bool, m.end)
	for _, g := range m.frags {
		copy(whole[g.Offset:], g.Payload)
		for i := range g.Payload {
			seen[g.Offset+i] = true
		}
	}
	for _, s := range seen {
		if !s {
			return Pending, nil
		}
	}
	*m = model{}
	return Complete, whole
}

// play feeds fragments described by steps to the reassembler and to the model.
func play(t *testing.T, steps []byte) {
	mem := &budget{limit: 1 << 30}
	r := New(Config{Memory: mem})
	var models [4]model
	for len(steps) >= 4 {
		k := steps[0] & 3
		f := Fragment{
			Offset:  int(steps[1]&15) * 8,
			More:    steps[0]&4 != 0,
			Payload: bytes.Repeat([]byte{steps[3] & 1}, 1+int(steps[2]&31)),
		}
		if f.More {
			f.Payload = bytes.Repeat(f.Payload[:1], max(8, len(f.Payload)&^7))
		}
		steps = steps[4:]
		want, whole := models[k].add(f)
		d, v := r.Add(t0, key(k, 1), f)
		if v != want || !bytes.Equal(d.Payload, whole) {
			t.Fatalf("key %d, offset %d, more %v, %d bytes: %v, want %v", k, f.Offset, f.More, len(f.Payload), v, want)
		}
		if mem.used != r.Bytes() {
			t.Fatalf("%d bytes charged, %d counted", mem.used, r.Bytes())
		}
	}
	r.Advance(t0.Add(time.Minute), nil)
	if mem.used != 0 || r.Len() != 0 || len(r.bySource) != 0 || r.newest != nil {
		t.Fatalf("left over: %d bytes, %d datagrams", mem.used, r.Len())
	}
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 0))
		steps := make([]byte, 400)
		for i := range steps {
			steps[i] = byte(rng.Uint32())
			if i%4 == 0 && rng.IntN(4) > 0 {
				steps[i] |= 4
			}
			if i%4 == 2 && rng.IntN(2) > 0 {
				steps[i] = 7
			}
			if i%4 == 3 {
				steps[i] = 0
			}
		}
		play(t, steps)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzAdd(f *testing.F) {
	f.Add([]byte{4, 0, 7, 0, 0, 1, 7, 0})
	f.Add([]byte{4, 0, 15, 0, 4, 1, 7, 0})
	f.Fuzz(play)
}

// FuzzBounds drives a reassembler with tight bounds.
func FuzzBounds(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, steps []byte) {
		mem := &budget{limit: 6000}
		r := New(Config{MaxDatagrams: 5, MaxPerSource: 3, MaxFragments: 4, Memory: mem})
		now := t0
		for len(steps) >= 4 {
			s := steps[:4]
			steps = steps[4:]
			now = now.Add(time.Duration(s[3]>>4) * time.Second)
			if s[3]&1 != 0 {
				r.Advance(now, nil)
			}
			f := Fragment{Offset: int(s[1]) * 8, More: s[0]&1 != 0, Payload: make([]byte, 1+int(s[2])*8), Head: []byte("head")}
			k := key(s[0]>>1&3, uint32(s[0]>>3&7))
			if s[3]&2 != 0 {
				r.GiveUp(now, k, Tiny)
			} else {
				r.Add(now, k, f)
			}
			if r.Len() > 5 || mem.used != r.Bytes() || mem.used < 0 {
				t.Fatalf("%d datagrams, %d bytes charged, %d counted", r.Len(), mem.used, r.Bytes())
			}
			n := 0
			for d := r.oldest; d != nil; d = d.newer {
				n++
			}
			if n != r.Len() {
				t.Fatalf("%d in order of age, %d by key", n, r.Len())
			}
		}
		r.Close()
		if mem.used != 0 || len(r.bySource) != 0 {
			t.Fatalf("%d bytes left", mem.used)
		}
	})
}

func BenchmarkReassemble(b *testing.B) {
	r := New(Config{})
	a, c := frag(0, 1480, 2000), frag(1480, 2000, 2000)
	b.SetBytes(2000)
	for i := 0; b.Loop(); i++ {
		r.Add(t0, key(1, uint32(i)), a)
		r.Add(t0, key(1, uint32(i)), c)
	}
}
