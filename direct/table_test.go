package direct

import (
	"math/rand/v2"
	"testing"
)

// TestTable compares the table with a map through growth and shrinking, and holds
// every insertion and removal to moving no more than a few chains.
func TestTable(t *testing.T) {
	const most = 20000
	tab := newTable()
	list := make([]*fakeEndpoint, most)
	for i := range list {
		list[i] = newFake(tab, i)
	}
	in := make([]bool, most)
	n := 0
	random := rand.New(rand.NewPCG(3, 4))
	check := func() {
		t.Helper()
		for i, f := range list {
			e := tab.lookup(&f.flow)
			if (e != nil) != in[i] || e != nil && e != &f.entry {
				t.Fatalf("record %d: found %v, want %v", i, e != nil, in[i])
			}
		}
		if got := len(tab.all()); got != n {
			t.Fatalf("%d records in all, want %d", got, n)
		}
		buckets, longest := 0, 0
		for i := range tab.shards {
			s := &tab.shards[i]
			buckets += int(s.buckets)
			if len(s.segments) != int(s.buckets+segmentSize-1)/segmentSize {
				t.Fatalf("%d segments for %d buckets", len(s.segments), s.buckets)
			}
			for b := range s.buckets {
				length := 0
				for e := *s.at(b); e != nil; e = e.next {
					length++
				}
				longest = max(longest, length)
			}
		}
		if buckets > 4*n+tableShards*(segmentSize+4) {
			t.Errorf("%d buckets for %d records", buckets, n)
		}
		if longest > 16 {
			t.Errorf("a chain of %d records", longest)
		}
	}
	for _, up := range []bool{true, false, true, false} {
		for range 3 * most {
			i := random.IntN(most)
			s := tab.shard(list[i].sum)
			before := s.buckets
			switch {
			case up || random.IntN(4) == 0:
				if tab.insert(&list[i].entry) == in[i] {
					t.Fatalf("insert of record %d, which was there: %v", i, in[i])
				}
				if !in[i] {
					in[i] = true
					n++
				}
			default:
				if tab.remove(&list[i].entry) != in[i] {
					t.Fatalf("remove of record %d, which was there: %v", i, in[i])
				}
				if in[i] {
					in[i] = false
					n--
				}
			}
			if d := int(s.buckets) - int(before); (d > 1 || d < -shrinkSteps) && before != 0 {
				t.Fatalf("one operation changed the buckets from %d to %d", before, s.buckets)
			}
		}
		check()
	}
	for i, f := range list {
		if in[i] {
			by := newFake(tab, i)
			if !tab.swap(&f.entry, &by.entry) || tab.lookup(&f.flow) != &by.entry {
				t.Fatalf("record %d is not swapped", i)
			}
			list[i] = by
		}
	}
	check()
	for i, f := range list {
		if tab.remove(&f.entry) {
			in[i] = false
			n--
		}
	}
	check()
}
