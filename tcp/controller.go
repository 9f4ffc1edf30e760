package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// Controller is a congestion control algorithm: it is told what happened and
// answers with a window and a pacing rate. It never sees the connection, and a
// connection calls it from one goroutine at a time. All amounts are bytes.
type Controller interface {
	// Init is called once, when the connection is synchronised, with the sender's
	// maximum segment size.
	Init(now clock.Time, mss int)
	// SetMSS tells a changed maximum segment size.
	SetMSS(mss int)
	// Window returns the congestion window: how many bytes may be in flight.
	Window() int
	// Threshold returns the slow start threshold.
	Threshold() int
	// PacingRate returns bytes per second, 0 for no pacing.
	PacingRate() int64
	// OnAck is called for each acknowledgement that brought news of delivery.
	OnAck(a AckInfo)
	// OnLoss is called once when loss recovery begins (RFC 5681, section 3.2).
	OnLoss(now clock.Time, inFlight int)
	// OnTimeout is called when the retransmission timer found a loss (RFC 5681,
	// section 3.1); first is false for the repeated timeouts of one episode.
	OnTimeout(now clock.Time, inFlight int, first bool)
	// OnRecovered is called when everything that was outstanding at the loss has
	// been acknowledged.
	OnRecovered(now clock.Time)
	// OnRestart is called before sending again after an idle period of at least one
	// retransmission timeout (RFC 5681, section 4.1).
	OnRestart(now clock.Time)
	// OnUndo is called when the losses that the last OnLoss or OnTimeout reported
	// turn out not to have been: window and threshold become at least what they were
	// before the reduction (RFC 4015, section 3.4, as Linux has it). After an OnTimeout
	// with first unset that is the state before the episode's first call.
	OnUndo(now clock.Time)
	// OwnRecovery reports whether Window holds during fast recovery, too. Otherwise the
	// connection paces what it sends then by proportional rate reduction (RFC 6937)
	// towards Threshold.
	OwnRecovery() bool
}

// AckInfo is what one acknowledgement brought.
type AckInfo struct {
	Now clock.Time
	// Acked is how many bytes the cumulative acknowledgement newly covered.
	Acked int
	// Delivered is how many bytes the peer newly holds, by SACK or cumulatively.
	Delivered int
	// RTT is the sample this acknowledgement gave, 0 if none.
	RTT time.Duration
	// InFlight is how many bytes were in flight before it.
	InFlight int
	// Limited says that the window, and not the application, limited the sender
	// during the last round trip: only then may the window grow (RFC 7661 gives the
	// reasons).
	Limited bool
	// Recovering says that losses of an episode are still being repaired by fast
	// retransmission.
	Recovering bool
}

// infiniteThreshold stands for a slow start without end (RFC 5681, section 3.1).
const infiniteThreshold = 1 << 30

// InitialWindow returns the initial congestion window of RFC 6928, section 2.
func InitialWindow(mss int) int { return min(10*mss, max(2*mss, 14600)) }

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
