package direct

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/siphash"
	"github.com/netduet/netduet/tcp"
)

// flow names a TCP connection: its four-tuple as we see it.
type flow struct {
	local, remote         netip.Addr
	localPort, remotePort uint16
}

func (f flow) localAddr() netip.AddrPort  { return netip.AddrPortFrom(f.local, f.localPort) }
func (f flow) remoteAddr() netip.AddrPort { return netip.AddrPortFrom(f.remote, f.remotePort) }

// hash is keyed, so that a peer who chooses its address and port can't make the
// table's chains long.
func (f *flow) hash(key siphash.Key) uint64 {
	var b [36]byte
	if f.local.Is4() {
		l, r := f.local.As4(), f.remote.As4()
		copy(b[0:], l[:])
		copy(b[4:], r[:])
		binary.BigEndian.PutUint16(b[8:], f.localPort)
		binary.BigEndian.PutUint16(b[10:], f.remotePort)
		return key.Sum64(b[:12])
	}
	l, r := f.local.As16(), f.remote.As16()
	copy(b[0:], l[:])
	copy(b[16:], r[:])
	binary.BigEndian.PutUint16(b[32:], f.localPort)
	binary.BigEndian.PutUint16(b[34:], f.remotePort)
	return key.Sum64(b[:])
}

// entry is what the table holds: a connection, or the small record of one that
// does not exist yet or no more. It is a node of its bucket's chain, embedded in
// the record.
type entry struct {
	flow
	sum  uint64
	next *entry // guarded by the shard
	kind tcpEndpoint
}

// tcpEndpoint is the record around an entry.
type tcpEndpoint interface {
	// input takes a segment. It reports false when the record was taken out of the
	// table meanwhile: then the segment must be looked up anew.
	input(rx *receiver, seg *tcp.Segment) bool
	// icmpError reports an ICMP error about a segment that we sent.
	icmpError(now clock.Time, seq tcp.Seq, e icmpError)
	expirer
}

// tableShards is the number of the table's locks, a power of two.
const tableShards = 64

// table is the exact demultiplexing table of TCP.
type table struct {
	key    siphash.Key
	shards [tableShards]tableShard
}

// tableShard is a hash table by linear hashing (Litwin, 1980): with each record that
// there are too many, one bucket is split, in turn, so that no operation ever moves
// more than a few chains. Buckets lie in segments, of which none is ever moved either.
// The chains are links in the records themselves; a bucket costs 8 bytes a record.
type tableShard struct {
	mu       sync.RWMutex
	segments []*[segmentSize]*entry
	buckets  uint64 // in use
	n        uint64 // records
}

// segmentSize is how many buckets a segment has, and a shard at least; a power of two.
const segmentSize = 128

func (t *table) shard(sum uint64) *tableShard { return &t.shards[sum%tableShards] }

// bucket returns the place of the chain for sum. There are buckets.
func (s *tableShard) bucket(sum uint64) **entry {
	// All bits that address the buckets in use, and one less for those of the upper
	// half that are not split yet.
	i := sum / tableShards
	mask := uint64(1)<<bits.Len64(s.buckets-1) - 1
	if i &= mask; i >= s.buckets {
		i &= mask >> 1
	}
	return s.at(i)
}

func (s *tableShard) at(i uint64) **entry { return &s.segments[i/segmentSize][i%segmentSize] }

// grow adds a bucket and moves there what belongs there, from the one that held it.
func (s *tableShard) grow() {
	if s.buckets == 0 {
		s.segments, s.buckets = append(s.segments, new([segmentSize]*entry)), segmentSize
		return
	}
	if s.buckets%segmentSize == 0 {
		s.segments = append(s.segments, new([segmentSize]*entry))
	}
	from := s.at(s.buckets &^ (1 << (bits.Len64(s.buckets) - 1)))
	s.buckets++
	chain := *from
	*from = nil
	for e := chain; e != nil; {
		next := e.next
		b := s.bucket(e.sum)
		e.next, *b = *b, e
		e = next
	}
}

// shrinkSteps is how many buckets there are for each record before a removal takes
// that many away, so that an empty shard has next to none.
const shrinkSteps = 4

// shrink undoes the last grow.
func (s *tableShard) shrink() {
	s.buckets--
	last := s.at(s.buckets)
	for e := *last; e != nil; {
		next := e.next
		b := s.bucket(e.sum)
		e.next, *b = *b, e
		e = next
	}
	*last = nil
	if s.buckets%segmentSize == 0 {
		k := len(s.segments) - 1
		s.segments[k] = nil
		s.segments = s.segments[:k]
	}
}

// lookup returns the record for f, or nil.
func (t *table) lookup(f *flow) *entry {
	sum := f.hash(t.key)
	s := t.shard(sum)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.n == 0 {
		return nil
	}
	for e := *s.bucket(sum); e != nil; e = e.next {
		if e.sum == sum && e.flow == *f {
			return e
		}
	}
	return nil
}

// insert adds e, whose flow and sum are set, unless its flow is there already.
func (t *table) insert(e *entry) bool {
	s := t.shard(e.sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n >= s.buckets {
		s.grow()
	}
	b := s.bucket(e.sum)
	for o := *b; o != nil; o = o.next {
		if o.sum == e.sum && o.flow == e.flow {
			return false
		}
	}
	e.next, *b = *b, e
	s.n++
	return true
}

// remove takes e out and reports whether it was there.
func (t *table) remove(e *entry) bool {
	s := t.shard(e.sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replace(e, nil)
}

// swap puts by in the place of e, which has the same flow, and reports whether e
// was there.
func (t *table) swap(e, by *entry) bool {
	s := t.shard(e.sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replace(e, by)
}

func (s *tableShard) replace(e, by *entry) bool {
	if s.n == 0 {
		return false
	}
	for p := s.bucket(e.sum); *p != nil; p = &(*p).next {
		if *p != e {
			continue
		}
		if by != nil {
			by.next = e.next
			*p = by
		} else {
			*p = e.next
			s.n--
		}
		e.next = nil
		for i := 0; i < shrinkSteps && s.buckets > segmentSize && s.n < s.buckets/shrinkSteps; i++ {
			s.shrink()
		}
		return true
	}
	return false
}

// all returns a snapshot of the records.
func (t *table) all() []*entry {
	var list []*entry
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for b := range s.buckets {
			for e := *s.at(b); e != nil; e = e.next {
				list = append(list, e)
			}
		}
		s.mu.RUnlock()
	}
	return list
}
