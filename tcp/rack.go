package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

const (
	// rackPersist is for how many recoveries a reordering window that D-SACKs have
	// widened stays so (RFC 8985, section 6.2, step 4).
	rackPersist = 16
	// rackMaxSteps bounds the widening; beyond it SRTT is the limit anyway.
	rackMaxSteps = 255
	// coarseTick is the least reordering window where round trips are shorter than a
	// tick of the clock: with less, everything of an earlier tick would seem late.
	coarseTick = time.Millisecond
	// rackLookBack is how many records are looked at for the last one that waits.
	rackLookBack = 64
	// rackMargin is the part of the least round-trip time by which a round trip of a
	// retransmission may be shorter and still be one.
	rackMargin = 16
	// rackSlack is added to the timer, as Linux does.
	rackSlack = 2 * time.Millisecond
)

// rackState is what RACK remembers (RFC 8985, section 5.3): of all segments known
// to have arrived, the one that was sent last. What was sent before it and not
// reported within the reordering window is lost, be it an original or a
// retransmission.
type rackState struct {
	xmitAt   clock.Time    // when that segment was sent
	endSeq   Seq           // its end, which orders segments of one wave
	xmitWave uint16        // its wave, which orders what was sent at the same time
	rtt      time.Duration // from sending to the report, of what was reported last …
	rttEnd   Seq           // … its end …
	rttWave  uint16        // … and its wave
	advanced bool          // there is news since the last look
	mult     uint8         // reordering window in quarters of the least round-trip time
	persist  uint8
	dsack    bool // something was sent again for nothing
	coarse   bool // a round trip took no tick of the clock
	// What was sent, in the order of time, is the records that were sent only once, from
	// next on, merged with the repetitions: nothing before next waits for judgement.
	next    Seq
	dsackAt uint64       // delivery count when D-SACKs last widened the window
	again   []repetition // a queue from first on
	first   int
	worked  uint64 // records looked at, for tests
}

// repetition is what was sent again in one piece: one record then, and by now perhaps
// several, as acknowledgements and SACK blocks divide it.
type repetition struct {
	seq, end Seq
	sentAt   clock.Time
}

// sentAfter is the order of transmissions (RFC 8985, section 6.2, step 2): whether the
// newest that was reported was sent after r, up to end. Sequence numbers order what left
// together only. Of what is sent in answer to ACKs of one instant, by the clock that a
// driver reads once for many frames, repetitions leave behind new data of earlier ACKs:
// by their numbers alone all of them would be late once that data is reported.
func (k *rackState) sentAfter(r *sentRange, end Seq) bool {
	switch {
	case k.xmitAt != r.sentAt:
		return k.xmitAt.After(r.sentAt)
	case k.xmitWave != r.wave:
		return int16(k.xmitWave-r.wave) > 0
	}
	return end.Less(k.endSeq)
}

// rackAdvance takes notice of r, newly reported up to end (RFC 8985, section 6.2,
// steps 1 and 2).
func (c *Conn) rackAdvance(now clock.Time, r *sentRange, end Seq) {
	k := &c.rack
	rtt := now.Sub(r.sentAt)
	if r.flags&rangeEver != 0 && rtt < c.rtt.min-c.rtt.min/rackMargin {
		return // the report is of the original
	}
	if rtt == 0 && r.flags&rangeEver == 0 {
		k.coarse = true
	}
	k.advanced, k.rtt, k.rttEnd, k.rttWave = true, rtt, end, r.wave
	if !k.sentAfter(r, end) {
		k.xmitAt, k.xmitWave, k.endSeq = r.sentAt, r.wave, end
	}
}

// rackRepeated queues r, which leaves again.
func (c *Conn) rackRepeated(now clock.Time, r *sentRange) {
	k := &c.rack
	if k.first > 0 && (k.first == len(k.again) || len(k.again) == cap(k.again)) {
		k.again = k.again[:copy(k.again, k.again[k.first:])]
		k.first = 0
	}
	if len(k.again) > 2*c.ranges.count+64 {
		// Records that went again and again: the last time counts.
		kept := k.again[:0]
		for _, e := range k.again {
			if c.waiting(e, 0) < c.ranges.count {
				kept = append(kept, e)
			}
		}
		k.again = kept
	}
	k.again = append(k.again, repetition{r.seq, r.end, now})
}

// waiting returns the index of the first record, from i on, that e is about and that
// nothing has happened to since, or that of the end.
func (c *Conn) waiting(e repetition, i int) int {
	if c.ranges.count == 0 {
		return 0
	}
	first := c.ranges.at(0).seq
	if e.end.LessEq(first) {
		return c.ranges.count
	}
	for i = max(i, c.ranges.find(maxSeq(e.seq, first))); i < c.ranges.count; i++ {
		r := c.ranges.at(i)
		if e.end.LessEq(r.seq) {
			break
		}
		c.rack.worked++
		if r.sentAt == e.sentAt && r.flags&rangeEver != 0 && rackWaits(r) {
			return i
		}
	}
	return c.ranges.count
}

// rackWaits reports whether r is in flight as far as is known.
func rackWaits(r *sentRange) bool {
	return r.flags&rangeSacked == 0 && r.flags&(rangeLost|rangeRetrans) != rangeLost
}

// rackWidth is the reordering window (RFC 8985, section 6.2, step 4).
func (c *Conn) rackWidth() time.Duration {
	k := &c.rack
	if c.stats.reordered == 0 && (c.recovery >= recoveryFast || c.sackedOut >= int(c.reordering)) {
		return 0
	}
	width := min(time.Duration(max(k.mult, 1))*c.rtt.min/4, c.rtt.srtt)
	if k.coarse {
		width = max(width, coarseTick)
	}
	return width
}

// rackDSACK widens the window once a round trip in which something was sent again
// for nothing (RFC 8985, section 6.2, step 4).
func (c *Conn) rackDSACK() {
	k := &c.rack
	if !c.rate.found {
		return
	}
	if c.rate.priorDelivered < k.dsackAt {
		k.dsack = false
	}
	switch {
	case k.dsack:
		k.mult = uint8(min(int(max(k.mult, 1))+1, rackMaxSteps))
		k.dsack, k.dsackAt, k.persist = false, c.delivered, rackPersist
	case k.persist == 0:
		k.mult = 1
	}
}

// rackRecovered counts recoveries that were called for.
func (c *Conn) rackRecovered() {
	if c.rack.persist > 0 {
		c.rack.persist--
	}
}

// rackDetect marks what is lost, and starts the timer for what may turn out to be
// (RFC 8985, section 6.2, step 5), if anything was reported since the last time. It
// reports whether it did start it.
func (c *Conn) rackDetect(now clock.Time) bool {
	if !c.rack.advanced {
		return false
	}
	c.rack.advanced = false
	wait := c.rackMark(now)
	if wait > 0 {
		at := now.Add(wait + rackSlack)
		c.setTimer(timerReordering, min(at, c.retransmitAt(now)))
	}
	return wait > 0
}

// rackMark marks what was sent before the newest that arrived, and longer ago than
// the reordering window; it returns for how long the rest has to be waited for. It
// looks at what was sent in the order of time, and at nothing twice that is settled.
func (c *Conn) rackMark(now clock.Time) (wait time.Duration) {
	k := &c.rack
	width := c.rackWidth()
	late := func(r *sentRange) bool {
		k.worked++
		left := r.sentAt.Add(k.rtt + width).Sub(now)
		if left == 0 && k.rttEnd.LessEq(r.seq) && r.wave != k.rttWave {
			left = 1 // by a clock that does not tell them apart, sent behind what took so long
		}
		if left > 0 {
			wait = max(wait, left)
			return false
		}
		c.markLost(now, r)
		return true
	}
	if k.next.Less(c.sndUna) {
		k.next = c.sndUna
	}
	for i := c.ranges.find(k.next); i < c.ranges.count; i++ {
		r := c.ranges.at(i)
		if r.flags&rangeEver == 0 && rackWaits(r) {
			if !k.sentAfter(r, r.end) {
				break
			}
			if !late(r) {
				// Those behind it were sent later, and have longer to wait.
				wait = max(wait, c.rackLatest(i).Add(k.rtt+width).Sub(now))
				break
			}
		} else {
			k.worked++
		}
		k.next = r.end
	}
	kept := k.first
	j := k.first
queue:
	for ; j < len(k.again); j++ {
		e := k.again[j]
		keep := false
		k.worked++
		for i := c.waiting(e, 0); i < c.ranges.count; i = c.waiting(e, i+1) {
			r := c.ranges.at(i)
			if !k.sentAfter(r, r.end) {
				if !keep {
					break queue
				}
				break
			}
			if !late(r) {
				keep = true
			}
		}
		if keep {
			k.again[kept] = e
			kept++
		}
	}
	if j > kept { // close the gap: in front of what was not looked at
		n := kept - k.first
		copy(k.again[j-n:j], k.again[k.first:kept])
		k.first = j - n
	}
	if k.first == len(k.again) {
		k.again, k.first = k.again[:0], 0
	}
	return wait
}

// rackLatest is when the last of the records was sent, from i on, that were sent only
// once and before the newest that arrived, and wait for judgement. Where it would have
// to be looked for far, that newest one's time stands for it.
func (c *Conn) rackLatest(i int) clock.Time {
	k := &c.rack
	j := min(c.ranges.find(k.endSeq.Add(-1)), c.ranges.count-1)
	if j <= i {
		j = c.ranges.count - 1 // the newest that arrived was a repetition of something older
	}
	for range rackLookBack {
		if j <= i {
			return c.ranges.at(i).sentAt
		}
		k.worked++
		if r := c.ranges.at(j); r.flags&rangeEver == 0 && rackWaits(r) && k.sentAfter(r, r.end) {
			return r.sentAt
		}
		j--
	}
	return k.xmitAt
}

// rackTimeout is the reordering timer (RFC 8985, section 6.3): late as it may be,
// what it marks is judged by now.
func (c *Conn) rackTimeout(now clock.Time) {
	if c.ranges.count == 0 {
		return
	}
	flight := c.inFlight()
	c.news = ackNews{una: c.sndUna}
	wait := c.rackMark(now)
	if wait > 0 {
		c.setTimer(timerReordering, min(now.Add(wait+rackSlack), c.retransmitAt(now)))
	}
	if c.inFlight() != flight {
		if c.recovery != recoveryFast && !c.probeFailed() {
			c.enterFast(now)
			if !c.cc.OwnRecovery() {
				c.prrUpdate(1, false)
			}
		}
		c.repeat = repeatLost
		// The timer sends again what it took for lost. If that has to wait, because more is in
		// flight that was sent again, it is no reason for new data to go, as in Linux.
		c.deferred = c.pacingRate() == 0
	}
	if wait <= 0 {
		c.rearmTimeout(now)
	}
}
