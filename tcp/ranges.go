package tcp

import (
	"sort"

	"github.com/netduet/netduet/clock"
)

const (
	// maxRanges bounds the records: with so many, nothing new is sent before an
	// acknowledgement. An application that writes single bytes could otherwise have
	// a record of 72 bytes for each.
	maxRanges = 1 << 14
	// keepRanges is how many records an idle connection keeps room for.
	keepRanges = 512
)

// rangeFlags is what is known of a sent range.
type rangeFlags uint8

const (
	rangeSacked     rangeFlags = 1 << iota // the peer reported it (RFC 2018)
	rangeLost                              // taken for lost; not set together with rangeSacked
	rangeRetrans                           // a retransmission of it is taken to be in flight
	rangeEver                              // was retransmitted at some time: no RTT sample (Karn)
	rangePush                              // left with PSH, and does so again
	rangeAppLimited                        // was sent while data lacked: the rate it shows may be too low
)

// sentRange is the record of one transmission: what was sent, when, and what is
// known of it. It is split where an acknowledgement, a SACK block or a smaller
// segment size divides it.
type sentRange struct {
	seq, end    Seq
	sentAt      clock.Time // of the last transmission
	delivered   uint64     // bytes the peer had received by then
	deliveredAt clock.Time // and when it had last received something
	firstSentAt clock.Time // when what was delivered last by then was sent
	inFlight    uint32     // bytes, this transmission included
	lost        uint32     // bytes ever taken for lost by then, wrapping
	segs        uint16     // how many segments it left as
	size        uint16     // payload of each of them but the last
	flags       rangeFlags
	tries       uint8  // retransmissions, saturating
	wave        uint16 // Conn.wave of the last transmission
}

func (r *sentRange) len() int { return r.end.Sub(r.seq) }

// rangeRing is a deque of records: ascending, without gaps.
type rangeRing struct {
	ring  []sentRange // length a power of two, or nil
	head  int
	count int
}

func (r *rangeRing) at(i int) *sentRange { return &r.ring[(r.head+i)&(len(r.ring)-1)] }

func (r *rangeRing) grow() {
	if r.count < len(r.ring) {
		return
	}
	grown := make([]sentRange, max(4, 2*len(r.ring)))
	for i := range r.count {
		grown[i] = *r.at(i)
	}
	r.ring, r.head = grown, 0
}

func (r *rangeRing) push(s sentRange) {
	r.grow()
	r.count++
	*r.at(r.count - 1) = s
}

// remove takes record i out; the one before it has to cover its place.
func (r *rangeRing) remove(i int) {
	for ; i < r.count-1; i++ {
		*r.at(i) = *r.at(i + 1)
	}
	r.count--
}

func (r *rangeRing) popFront() {
	r.head = (r.head + 1) & (len(r.ring) - 1)
	r.count--
}

// split divides record i at seq, which is inside it; the second half becomes i+1.
func (r *rangeRing) split(i int, seq Seq) {
	r.grow()
	r.count++
	for j := r.count - 1; j > i+1; j-- {
		*r.at(j) = *r.at(j - 1)
	}
	*r.at(i + 1) = *r.at(i)
	r.at(i).end = seq
	r.at(i).flags &^= rangePush // what is pushed is the end
	r.at(i + 1).seq = seq
}

// find returns the index of the record that holds seq, or count.
func (r *rangeRing) find(seq Seq) int {
	return sort.Search(r.count, func(i int) bool { return seq.Less(r.at(i).end) })
}

func (r *rangeRing) reset() {
	r.count = 0
	r.trim()
}

// trim gives memory back when there is nothing on record, as idle connections own
// none that counts.
func (r *rangeRing) trim() {
	if r.count > 0 {
		return
	}
	r.head = 0
	if len(r.ring) > keepRanges {
		r.ring = nil
	}
}
