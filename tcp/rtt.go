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
// from it (RFC 6298).
type rttEstimator struct {
	srtt, rttvar time.Duration
	latest       time.Duration
	min          time.Duration // least sample of the connection; 0 before the first
	rto          time.Duration // without backoff
}

func (e *rttEstimator) sample(rtt time.Duration) {
	rtt = max(rtt, time.Microsecond)
	e.latest = rtt
	if e.min == 0 || rtt < e.min {
		e.min = rtt
	}
	if e.srtt == 0 { // rule 2.2
		e.srtt, e.rttvar = rtt, rtt/2
	} else { // rule 2.3, alpha 1/8, beta 1/4
		d := e.srtt - rtt
		if d < 0 {
			d = -d
		}
		e.rttvar += (d - e.rttvar) / 4
		e.srtt += (rtt - e.srtt) / 8
	}
	e.rto = min(e.srtt+max(4*e.rttvar, minRTOVar), maxRTO)
}

// timeout returns the timeout after backoff doublings (rule 5.5).
func (e *rttEstimator) timeout(backoff uint8) time.Duration {
	rto := e.rto
	if rto == 0 {
		rto = initialRTO
	}
	for ; backoff > 0 && rto < maxRTO; backoff-- {
		rto *= 2
	}
	return min(rto, maxRTO)
}
