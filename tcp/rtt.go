package tcp

import "time"

// Constants of the retransmission timer.
const (
	initialRTO = time.Second            // RFC 6298, section 2.1
	minRTOVar  = 200 * time.Millisecond // floor of the variance term, as Linux has it, in place of the 1 s floor of rule 2.4
	maxRTO     = 120 * time.Second      // rule 2.5 allows any maximum of at least 60 s; Linux's is 120 s
	synLossRTO = 3 * time.Second        // rule 5.7: after a lost SYN and without a sample
)

// rttEstimator keeps the smoothed round-trip time and the timeout that follows
// from it (RFC 6298), with what Linux adds: the variance that the timeout reckons
// with is the largest of the last round trip, falls by a quarter a round trip, and
// is never less than the floor; and a round trip that is shorter than expected hardly
// raises it, as the timeout should not grow by that (the idea of Eifel).
type rttEstimator struct {
	srtt   time.Duration
	mdev   time.Duration // mean deviation: RTTVAR of RFC 6298, times 4
	most   time.Duration // largest mdev of this round trip
	rttvar time.Duration // times 4
	round  Seq           // the round trip ends when more than this is acknowledged
	latest time.Duration
	min    time.Duration // least sample of the connection; 0 before the first
	rto    time.Duration // without backoff
	// What the application sets, or 0: the floor of rttvar in microseconds, and the largest
	// timeout in milliseconds.
	floor, ceiling uint32
}

// sample takes a round-trip time, and the one that is least delayed, which counts for
// the minimum. una and next are SND.UNA and SND.NXT.
func (e *rttEstimator) sample(rtt, least time.Duration, una, next Seq) {
	rtt, least = max(rtt, time.Microsecond), max(least, time.Microsecond)
	floor := e.least()
	e.latest = least
	if e.min == 0 || least < e.min {
		e.min = least
	}
	if e.srtt == 0 { // rule 2.2
		e.srtt, e.mdev = rtt, 2*rtt
		e.rttvar = max(e.mdev, floor)
		e.most, e.round = e.rttvar, next
	} else { // rule 2.3, alpha 1/8, beta 1/4
		d := rtt - e.srtt
		e.srtt += d / 8
		if d < 0 {
			d = -d - e.mdev/4
			if d > 0 {
				d /= 8
			}
		} else {
			d -= e.mdev / 4
		}
		e.mdev += d
		if e.mdev > e.most {
			e.most = e.mdev
			e.rttvar = max(e.rttvar, e.most)
		}
		if e.round.Less(una) {
			if e.most < e.rttvar {
				e.rttvar -= (e.rttvar - e.most) / 4
			}
			e.round, e.most = next, floor
		}
	}
	e.rto = min(e.srtt+e.rttvar, e.longest())
}

// least is the floor of rttvar.
func (e *rttEstimator) least() time.Duration {
	if e.floor == 0 {
		return minRTOVar
	}
	return time.Duration(e.floor) * time.Microsecond
}

// longest is the largest timeout.
func (e *rttEstimator) longest() time.Duration {
	if e.ceiling == 0 {
		return maxRTO
	}
	return time.Duration(e.ceiling) * time.Millisecond
}

// timeout returns the timeout after backoff doublings (rule 5.5).
func (e *rttEstimator) timeout(backoff uint8) time.Duration {
	rto := e.rto
	if rto == 0 {
		rto = initialRTO
	}
	most := e.longest()
	for ; backoff > 0 && rto < most; backoff-- {
		rto *= 2
	}
	return min(rto, most)
}
