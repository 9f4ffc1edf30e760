package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// renoWindow is a window in whole segments with a threshold, as Linux counts: what
// Reno and CUBIC have in common.
type renoWindow struct {
	mss            int
	cwnd, ssthresh int
	acked          int // segments acknowledged towards the next increase in congestion avoidance
	// prior are cwnd and the threshold before the last reduction; 0 if it was undone or
	// there was none.
	priorWindow, priorThreshold int
}

// infiniteSegments is a threshold without end.
const infiniteSegments = 1<<31 - 1

func (r *renoWindow) init(mss int) {
	*r = renoWindow{mss: max(mss, 1), cwnd: initialSegments, ssthresh: infiniteSegments}
}

func (r *renoWindow) SetMSS(mss int) {
	// The window is so many segments, whatever their size; but larger ones are no
	// reason to send more bytes.
	mss = max(mss, 1)
	if mss > r.mss {
		r.cwnd = max(r.cwnd*r.mss/mss, 1)
	}
	r.mss = mss
}

func (r *renoWindow) Window() int { return min(r.cwnd, maxWindow/r.mss) * r.mss }

func (r *renoWindow) Threshold() int {
	if r.ssthresh >= infiniteThreshold/r.mss {
		return infiniteThreshold
	}
	return r.ssthresh * r.mss
}

func (r *renoWindow) SetWindow(window, threshold int) {
	r.cwnd = max(window/r.mss, 1)
	r.ssthresh = infiniteSegments
	if threshold < infiniteThreshold {
		r.ssthresh = threshold / r.mss
	}
}

func (r *renoWindow) TakeOver(window, threshold int) { r.SetWindow(window, threshold) }
func (r *renoWindow) PacingRate() int64              { return 0 }
func (r *renoWindow) OwnRecovery() bool              { return false }
func (r *renoWindow) OnRecovered(now clock.Time)     {}
func (r *renoWindow) OnLost(l LossInfo)              {}

// slowStart adds what was acknowledged, up to the threshold (RFC 3465 with L
// unbounded, as Linux counts: a stretch ACK opens the window by what it
// acknowledged), and returns the rest.
func (r *renoWindow) slowStart(segs int) int {
	grow := min(segs, max(r.ssthresh-r.cwnd, 0))
	r.cwnd += grow
	return segs - grow
}

// avoid adds a segment for every count that are acknowledged.
func (r *renoWindow) avoid(count, segs int) {
	if r.acked >= count { // credits from a time of a larger count
		r.acked = 0
		r.cwnd++
	}
	r.acked += segs
	if r.acked >= count {
		grow := r.acked / count
		r.acked -= grow * count
		r.cwnd += grow
	}
}

// reduce sets the threshold, and remembers what was before.
func (r *renoWindow) reduce(threshold int) {
	r.priorWindow, r.priorThreshold = r.cwnd, max(r.ssthresh, r.cwnd*3/4)
	if r.ssthresh == infiniteSegments {
		r.priorThreshold = infiniteSegments
	}
	r.ssthresh = max(threshold, 2)
	r.acked = 0
}

// timeout leaves one segment more than is in flight.
func (r *renoWindow) timeout(inFlight int) {
	r.cwnd = inFlight/r.mss + 1
	r.acked = 0
}

func (r *renoWindow) restore() {
	r.cwnd = max(r.cwnd, r.priorWindow)
	r.ssthresh = max(r.ssthresh, r.priorThreshold)
	r.priorWindow, r.priorThreshold = 0, 0
}

// reno is the congestion control of RFC 5681 and 6582 with appropriate byte
// counting (RFC 3465). As in Linux it is the window that is halved and not the
// flight, which is the smaller only while the application limits it; then the window
// did not grow, either.
type reno struct{ renoWindow }

// NewReno returns a controller as RFC 5681 describes it.
func NewReno() Controller { return &reno{} }

func (r *reno) Init(now clock.Time, mss int, rtt time.Duration) { r.init(mss) }

func (r *reno) OnAck(a AckInfo) {
	if a.Segments == 0 || !a.Limited {
		return
	}
	if segs := r.slowStart(a.Segments); segs > 0 {
		r.avoid(r.cwnd, segs)
	}
}

func (r *reno) OnLoss(now clock.Time, inFlight int) { r.reduce(r.cwnd / 2) }

func (r *reno) OnTimeout(now clock.Time, inFlight int, first bool) {
	if first {
		r.reduce(r.cwnd / 2)
	}
	r.timeout(inFlight)
}

func (r *reno) OnRestart(now, since clock.Time) {}

func (r *reno) OnUndo(now clock.Time) { r.restore() }
