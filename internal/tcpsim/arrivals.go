package tcpsim

import (
	"sort"

	"github.com/netduet/netduet/tcp"
)

// Arrivals is what reached a receiver, seen from outside of it: which bytes, and which
// segments brought nothing that had not come before. The zero value is ready; it
// begins with a SYN.
type Arrivals struct {
	// Segments is how many came with data, Unneeded how many of them carried only what
	// had arrived already. Copies that the network made are in neither.
	Segments, Unneeded uint64

	begun bool
	next  tcp.Seq // everything before it has arrived
	runs  []seqRun
}

type seqRun struct{ left, right tcp.Seq }

// Note counts a segment that arrives; copied says that the network made it of another
// one.
func (a *Arrivals) Note(seg *tcp.Segment, copied bool) {
	seq := seg.Seq
	if seg.Flags.Has(tcp.SYN) {
		if !a.begun {
			a.begun, a.next = true, seq.Add(1)
		}
		return
	}
	if len(seg.Payload) == 0 || !a.begun {
		return
	}
	end := seq.Add(len(seg.Payload))
	fresh := a.add(seq, end)
	if copied {
		return
	}
	a.Segments++
	if !fresh {
		a.Unneeded++
	}
}

// add notes [left, right) and tells whether any of it is new.
func (a *Arrivals) add(left, right tcp.Seq) bool {
	if !a.next.Less(right) {
		return false
	}
	if left.LessEq(a.next) {
		a.next = right
		n := 0
		for n < len(a.runs) && a.runs[n].left.LessEq(a.next) {
			if a.next.Less(a.runs[n].right) {
				a.next = a.runs[n].right
			}
			n++
		}
		a.runs = append(a.runs[:0], a.runs[n:]...)
		return true
	}
	i := sort.Search(len(a.runs), func(i int) bool { return left.LessEq(a.runs[i].right) })
	if i < len(a.runs) && a.runs[i].left.LessEq(left) && right.LessEq(a.runs[i].right) {
		return false
	}
	j, merged := i, seqRun{left, right}
	for j < len(a.runs) && a.runs[j].left.LessEq(right) {
		if a.runs[j].left.Less(merged.left) {
			merged.left = a.runs[j].left
		}
		if merged.right.Less(a.runs[j].right) {
			merged.right = a.runs[j].right
		}
		j++
	}
	if i == j {
		a.runs = append(a.runs, seqRun{})
		copy(a.runs[i+1:], a.runs[i:])
	} else {
		a.runs = append(a.runs[:i+1], a.runs[j:]...)
	}
	a.runs[i] = merged
	return true
}
