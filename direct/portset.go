package direct

import (
	"math/bits"
	"net/netip"
	"sync/atomic"
)

// destination is what connections have in common whose local ports must differ.
type destination struct {
	local, remote netip.Addr
	port          uint16 // the remote one
}

func (f *flow) destination() destination { return destination{f.local, f.remote, f.remotePort} }

// portSet says which ephemeral ports are in use towards a destination, by
// connections and by records of TIME-WAIT.
type portSet struct {
	n    int
	used [(ephemeralCount + 63) / 64]uint64
}

func (s *portSet) has(i int) bool { return s.used[i/64]&(1<<(i%64)) != 0 }

func (s *portSet) set(i int) {
	if !s.has(i) {
		s.used[i/64] |= 1 << (i % 64)
		s.n++
	}
}

func (s *portSet) clear(i int) {
	if s.has(i) {
		s.used[i/64] &^= 1 << (i % 64)
		s.n--
	}
}

// free returns the first port that is free from i on, without a turn round the end;
// ephemeralCount if there is none.
func (s *portSet) free(i int) int {
	for w := i / 64; w < len(s.used); w++ {
		open := ^s.used[w]
		if w == i/64 {
			open &^= 1<<(i%64) - 1
		}
		if open != 0 {
			return min(w*64+bits.TrailingZeros64(open), ephemeralCount)
		}
	}
	return ephemeralCount
}

const (
	// crowdedAfter is how many ports in a row must be taken for a destination to get
	// a portSet: among few connections that is rare, and looking at one port after the
	// other is quick.
	crowdedAfter = 32
	// crowdedLeast is with how many ports in use it keeps it.
	crowdedLeast = ephemeralCount / 16
)

// portSets is the portSets of crowded destinations. It is guarded by the listeners'
// lock but for n, their number.
type portSets struct {
	n atomic.Int32
	m map[destination]*portSet
}

// make returns the portSet of d, which it fills from the table. The set is there
// before the table is looked at, so that a connection which leaves it meanwhile, and
// asks afterwards whether there are sets, takes itself out.
func (p *portSets) make(t *table, d destination) *portSet {
	s := new(portSet)
	if p.m == nil {
		p.m = make(map[destination]*portSet)
	}
	p.m[d] = s
	p.n.Store(int32(len(p.m)))
	f := flow{local: d.local, remote: d.remote, remotePort: d.port}
	for i := range ephemeralCount {
		f.localPort = ephemeral(0, i)
		if t.lookup(&f) != nil {
			s.set(i)
		}
	}
	return s
}

// vacate notes that f is no longer in the table. No lock of the table is held.
func (l *listeners) vacate(f *flow) {
	if l.crowded.n.Load() == 0 || f.localPort < ephemeralLow || f.localPort >= ephemeralLow+ephemeralCount {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d := f.destination()
	if s := l.crowded.m[d]; s != nil {
		s.clear(int(f.localPort) - ephemeralLow)
		if s.n < crowdedLeast {
			delete(l.crowded.m, d)
			l.crowded.n.Store(int32(len(l.crowded.m)))
		}
	}
}
