// Package defrag puts the fragments of IP datagrams together again, for IPv4 and
// IPv6 alike, in bounded memory and whatever the fragments say.
//
// It is not a parser: offsets, flags and addresses come decoded, and lengths
// within what the protocol allows. It has no clock; [Reassembler.Deadline] says when
// [Reassembler.Advance] is to be called. It is not safe for concurrent use.
//
// # Invariants
//
//   - Fragments that overlap are an attack (RFC 5722, section 4; RFC 8900, section
//     3.7): the datagram is given up, and what else comes of it is refused until its
//     time is over. An exact copy of a fragment is tolerated, networks make them
//     (RFC 8200, section 4.5).
//   - The number of datagrams, of fragments of one, and of bytes, is bounded, for each
//     source and in all. Room is made by giving up the oldest, of the same source or
//     of all: fragments that fit together usually come together, so the oldest is the
//     least likely to be completed.
//   - Fragments are copied: no packet is kept. What is kept is charged to
//     Config.Memory as it grows, overhead included.
//   - Nothing depends on the order of a map.
package defrag

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"github.com/netduet/netduet/clock"
)

// Key tells the datagrams of which fragments arrive apart (RFC 791, section 3.2;
// RFC 8200, section 4.5, where Protocol is not a part and stays 0).
type Key struct {
	Src, Dst netip.Addr
	ID       uint32
	Protocol uint8
}

// Memory is where what is kept is charged. Reserve may refuse.
type Memory interface {
	Reserve(n int) bool
	Release(n int)
}

// Config bounds a reassembler. The zero value has useful bounds.
type Config struct {
	// Timeout is how long a datagram may take; 0 means 30 s. (RFC 1122, section
	// 3.3.2, asks for 60 to 120 s, RFC 8200, section 4.5, for 60; Linux takes 30, and
	// no network delays that long any more.)
	Timeout time.Duration
	// MaxBytes bounds what is kept, overhead included; 0 means 4 MiB.
	MaxBytes int
	// MaxBytesPerSource bounds that for each source; 0 means an eighth of MaxBytes.
	// The least is 128 KiB: one datagram must fit.
	MaxBytesPerSource int
	// MaxDatagrams bounds the datagrams under way; 0 means 1024.
	MaxDatagrams int
	// MaxPerSource bounds those of each source; 0 means 64.
	MaxPerSource int
	// MaxFragments bounds the fragments of a datagram; 0 means 256, which is enough
	// for the largest in fragments of 256 bytes.
	MaxFragments int
	// Memory is charged as well when it isn't nil.
	Memory Memory
}

const (
	minPerSource = 128 << 10
	// costDatagram and costFragment stand for the memory beside the bytes.
	costDatagram = 384
	costFragment = 64
)

func (c *Config) setDefaults() {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	set(&c.MaxBytes, 4<<20)
	c.MaxBytes = max(c.MaxBytes, minPerSource)
	set(&c.MaxBytesPerSource, c.MaxBytes/8)
	c.MaxBytesPerSource = min(max(c.MaxBytesPerSource, minPerSource), c.MaxBytes)
	set(&c.MaxDatagrams, 1024)
	set(&c.MaxPerSource, 64)
	set(&c.MaxFragments, 256)
}

// Verdict is what came of a fragment.
type Verdict uint8

const (
	// Pending: kept, more are missing.
	Pending Verdict = iota
	// Complete: that was the last one missing.
	Complete
	// Duplicate: an exact copy of one that was there; ignored.
	Duplicate
	// Overlap: it overlaps another with other bounds or other bytes; the datagram is
	// given up.
	Overlap
	// Inconsistent: it lies beyond the end, or says that the end is elsewhere; the
	// datagram is given up.
	Inconsistent
	// Congested: the fragments' ECN fields contradict each other (RFC 3168, section
	// 5.3); the datagram is given up.
	Congested
	// TooMany: MaxFragments; the datagram is given up.
	TooMany
	// NoMemory: no room even after others were given up; the fragment is refused.
	NoMemory
	// GivenUp: the datagram was given up before.
	GivenUp
	// Tiny: the caller's verdict, by Reassembler.GiveUp.
	Tiny
	// NumVerdicts is the size of an array indexed by Verdict.
	NumVerdicts = iota
)

// String returns a short name.
func (v Verdict) String() string {
	names := [...]string{"pending", "complete", "duplicate", "overlap", "inconsistent", "congested", "too many", "no memory", "given up", "tiny"}
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

// Fragment is a fragment. Its slices are copied.
type Fragment struct {
	// Offset is where Payload belongs; it is never negative.
	Offset int
	// More is false on the last fragment.
	More bool
	// ECN is the two bits of congestion notification.
	ECN uint8
	// Payload isn't empty.
	Payload []byte
	// Head is what to keep of the first fragment's packet: its header, and what an
	// error message quotes. It counts at offset 0 only.
	Head []byte
}

// Datagram is a completed datagram; its slices are the caller's.
type Datagram struct {
	Head    []byte
	ECN     uint8
	Payload []byte
}

// Expired is a datagram whose time was over.
type Expired struct {
	Key Key
	// Head is that of the first fragment. It is nil when that did not arrive or the
	// datagram had been given up: nobody is told then (RFC 792, "Time Exceeded";
	// RFC 1122, section 3.3.2).
	Head []byte
}

type piece struct {
	from, to int
	data     []byte
}

// datagram is one under way, or given up: then it has no pieces.
type datagram struct {
	key      Key
	deadline clock.Time
	pieces   []piece // sorted, disjoint
	have     int     // bytes in pieces
	end      int     // length of the datagram, -1 while unknown
	head     []byte
	ecn      uint8 // bit 1<<v for each ECN value v seen
	givenUp  bool
	cost     int
	src      *source

	// Age order in all, and among those of the source.
	older, newer       *datagram
	srcOlder, srcNewer *datagram
}

type source struct {
	addr           netip.Addr
	oldest, newest *datagram
	n, bytes       int
}

// Reassembler puts datagrams together.
type Reassembler struct {
	cfg            Config
	byKey          map[Key]*datagram
	bySource       map[netip.Addr]*source
	oldest, newest *datagram
	bytes          int
	evicted        uint64
}

// New returns an empty reassembler.
func New(cfg Config) *Reassembler {
	cfg.setDefaults()
	return &Reassembler{cfg: cfg, byKey: make(map[Key]*datagram), bySource: make(map[netip.Addr]*source)}
}

// Len returns the number of datagrams under way or given up, Bytes what they cost,
// and Evicted how many were given up to make room for others so far.
func (r *Reassembler) Len() int { return len(r.byKey) }

// Bytes is described with Len.
func (r *Reassembler) Bytes() int { return r.bytes }

// Evicted is described with Len.
func (r *Reassembler) Evicted() uint64 { return r.evicted }

// Deadline returns when Advance is to be called, or clock.Never. All take equally
// long, so the oldest is the next.
func (r *Reassembler) Deadline() clock.Time {
	if r.oldest == nil {
		return clock.Never
	}
	return r.oldest.deadline
}

// Advance gives up the datagrams whose time is over at now and appends them to out.
func (r *Reassembler) Advance(now clock.Time, out []Expired) []Expired {
	for r.oldest != nil && !r.oldest.deadline.After(now) {
		d := r.oldest
		out = append(out, Expired{d.key, d.head})
		r.remove(d)
	}
	return out
}

// Close forgets everything.
func (r *Reassembler) Close() {
	for r.oldest != nil {
		r.remove(r.oldest)
	}
}

// Add takes in a fragment. d has a meaning with Complete only.
func (r *Reassembler) Add(now clock.Time, key Key, f Fragment) (d Datagram, v Verdict) {
	g, v := r.find(now, key)
	if v != Pending {
		return Datagram{}, v
	}
	end := f.Offset + len(f.Payload)
	if g.end >= 0 && (end > g.end || !f.More && end != g.end) {
		return Datagram{}, r.giveUp(g, Inconsistent)
	}
	if !f.More {
		if n := len(g.pieces); n > 0 && g.pieces[n-1].to > end {
			return Datagram{}, r.giveUp(g, Inconsistent)
		}
	}
	// The first piece that ends behind the fragment's start.
	i, _ := slices.BinarySearchFunc(g.pieces, f.Offset, func(p piece, from int) int {
		if p.to <= from {
			return -1
		}
		return 1
	})
	if i < len(g.pieces) && g.pieces[i].from < end {
		p := &g.pieces[i]
		if p.from == f.Offset && p.to == end && (g.end == end) == !f.More && bytes.Equal(p.data, f.Payload) {
			return Datagram{}, Duplicate
		}
		return Datagram{}, r.giveUp(g, Overlap)
	}
	if len(g.pieces) >= r.cfg.MaxFragments {
		return Datagram{}, r.giveUp(g, TooMany)
	}
	head := f.Head
	if f.Offset != 0 {
		head = nil
	}
	if !r.charge(g, len(f.Payload)+len(head)+costFragment) {
		if len(g.pieces) == 0 {
			r.remove(g)
		}
		return Datagram{}, NoMemory
	}
	g.pieces = slices.Insert(g.pieces, i, piece{f.Offset, end, bytes.Clone(f.Payload)})
	g.have += len(f.Payload)
	g.ecn |= 1 << (f.ECN & 3)
	if head != nil {
		g.head = bytes.Clone(head)
	}
	if !f.More {
		g.end = end
	}
	if g.have != g.end {
		return Datagram{}, Pending
	}
	return r.complete(g)
}

// GiveUp gives the datagram up, for a reason of the caller's, which is returned.
func (r *Reassembler) GiveUp(now clock.Time, key Key, why Verdict) Verdict {
	g, v := r.find(now, key)
	if v != Pending {
		return v
	}
	return r.giveUp(g, why)
}

// find returns the datagram of key, a new one if there is none. v is Pending unless
// nothing can be added to it.
func (r *Reassembler) find(now clock.Time, key Key) (g *datagram, v Verdict) {
	g = r.byKey[key]
	if g != nil && !g.deadline.After(now) {
		r.remove(g) // its time is over, though nobody has called Advance
		g = nil
	}
	if g != nil {
		if g.givenUp {
			return nil, GivenUp
		}
		return g, Pending
	}
	s := r.bySource[key.Src]
	if s != nil && s.n >= r.cfg.MaxPerSource {
		r.evict(s.oldest)
	}
	if len(r.byKey) >= r.cfg.MaxDatagrams {
		r.evict(r.oldest)
	}
	if s = r.bySource[key.Src]; s == nil { // the eviction may have removed it
		s = &source{addr: key.Src}
		r.bySource[key.Src] = s
	}
	g = &datagram{key: key, deadline: now.Add(r.cfg.Timeout), end: -1, src: s}
	r.byKey[key] = g
	if g.older = r.newest; g.older != nil {
		g.older.newer = g
	} else {
		r.oldest = g
	}
	r.newest = g
	if g.srcOlder = s.newest; g.srcOlder != nil {
		g.srcOlder.srcNewer = g
	} else {
		s.oldest = g
	}
	s.newest = g
	s.n++
	if !r.charge(g, costDatagram) {
		r.remove(g)
		return nil, NoMemory
	}
	return g, Pending
}

// charge adds n bytes to what g costs, giving up others to make room. It reports
// false, and charges nothing, when that isn't enough.
func (r *Reassembler) charge(g *datagram, n int) bool {
	for g.src.bytes+n > r.cfg.MaxBytesPerSource {
		o := g.src.oldest
		if o == g {
			o = g.srcNewer
		}
		if o == nil {
			return false
		}
		r.evict(o)
	}
	for r.bytes+n > r.cfg.MaxBytes || r.cfg.Memory != nil && !r.cfg.Memory.Reserve(n) {
		o := r.oldest
		if o == g {
			o = g.newer
		}
		if o == nil {
			return false
		}
		r.evict(o)
	}
	g.cost += n
	g.src.bytes += n
	r.bytes += n
	return true
}

// refund takes n bytes from what g costs.
func (r *Reassembler) refund(g *datagram, n int) {
	g.cost -= n
	g.src.bytes -= n
	r.bytes -= n
	if r.cfg.Memory != nil {
		r.cfg.Memory.Release(n)
	}
}

func (r *Reassembler) evict(g *datagram) {
	r.evicted++
	r.remove(g)
}

func (r *Reassembler) remove(g *datagram) {
	r.refund(g, g.cost)
	delete(r.byKey, g.key)
	if g.older != nil {
		g.older.newer = g.newer
	} else {
		r.oldest = g.newer
	}
	if g.newer != nil {
		g.newer.older = g.older
	} else {
		r.newest = g.older
	}
	s := g.src
	if g.srcOlder != nil {
		g.srcOlder.srcNewer = g.srcNewer
	} else {
		s.oldest = g.srcNewer
	}
	if g.srcNewer != nil {
		g.srcNewer.srcOlder = g.srcOlder
	} else {
		s.newest = g.srcOlder
	}
	if s.n--; s.n == 0 {
		delete(r.bySource, s.addr)
	}
}

// giveUp drops what has come of g and refuses the rest until its time is over
// (RFC 5722, section 4: "including those not yet received").
func (r *Reassembler) giveUp(g *datagram, why Verdict) Verdict {
	g.pieces, g.head, g.givenUp = nil, nil, true
	if n := g.cost - costDatagram; n > 0 {
		r.refund(g, n)
	}
	return why
}

func (r *Reassembler) complete(g *datagram) (Datagram, Verdict) {
	const notECT, ce = 1 << 0, 1 << 3
	if g.ecn&ce != 0 && g.ecn&notECT != 0 {
		return Datagram{}, r.giveUp(g, Congested)
	}
	d := Datagram{Head: g.head, Payload: make([]byte, 0, g.end)}
	switch {
	case g.ecn&ce != 0:
		d.ECN = 3
	case g.ecn&notECT != 0:
		d.ECN = 0
	case g.ecn&(1<<2) != 0:
		d.ECN = 2
	default:
		d.ECN = 1
	}
	for i := range g.pieces {
		d.Payload = append(d.Payload, g.pieces[i].data...)
	}
	r.remove(g)
	return d, Complete
}
