package tcp

import "github.com/netduet/netduet/clock"

// reno is the congestion control of RFC 5681 and 6582 with appropriate byte
// counting (RFC 3465).
type reno struct {
	mss      int
	cwnd     int
	ssthresh int
	acked    int // bytes acknowledged towards the next increase in congestion avoidance
	// priorWindow and priorThreshold are what they were before the last reduction; 0 if
	// it was undone or there was none.
	priorWindow, priorThreshold int
}

// NewReno returns a controller as RFC 5681 describes it.
func NewReno() Controller { return &reno{} }

func (r *reno) Init(now clock.Time, mss int) {
	r.mss, r.cwnd, r.ssthresh = mss, InitialWindow(mss), infiniteThreshold
}

func (r *reno) TakeOver(window, threshold int) { r.cwnd, r.ssthresh = window, threshold }

func (r *reno) SetMSS(mss int)    { r.mss = mss }
func (r *reno) Window() int       { return max(r.cwnd, r.mss) }
func (r *reno) Threshold() int    { return r.ssthresh }
func (r *reno) PacingRate() int64 { return 0 }

func (r *reno) OnAck(a AckInfo) {
	if a.Recovering || !a.Limited || a.Acked == 0 {
		return
	}
	acked := a.Acked
	if r.cwnd < r.ssthresh {
		// RFC 3465 with L unbounded, as Linux counts: a stretch ACK opens the window by
		// what it acknowledged.
		grow := min(acked, r.ssthresh-r.cwnd)
		r.cwnd += grow
		acked -= grow
	}
	if acked == 0 {
		return
	}
	r.acked += acked
	if r.acked >= r.cwnd { // RFC 3465, section 2.1
		r.acked -= r.cwnd
		r.cwnd += r.mss
	}
}

func (r *reno) reduce(inFlight int) {
	r.priorWindow, r.priorThreshold = r.cwnd, r.ssthresh
	r.ssthresh = max(inFlight/2, 2*r.mss) // RFC 5681, equation 4
	r.acked = 0
}

func (r *reno) OnLoss(now clock.Time, inFlight int) {
	r.reduce(inFlight)
	r.cwnd = r.ssthresh
}

func (r *reno) OnTimeout(now clock.Time, inFlight int, first bool) {
	if first {
		r.reduce(inFlight)
	}
	r.cwnd = r.mss
}

func (r *reno) OnRecovered(now clock.Time) { r.cwnd = min(r.cwnd, r.ssthresh) }

func (r *reno) OnRestart(now clock.Time) { r.cwnd = min(r.cwnd, InitialWindow(r.mss)) }

func (r *reno) OnUndo(now clock.Time) {
	r.cwnd = max(r.cwnd, r.priorWindow)
	r.ssthresh = max(r.ssthresh, r.priorThreshold)
	r.priorWindow, r.priorThreshold = 0, 0
}

func (r *reno) OwnRecovery() bool { return false }
