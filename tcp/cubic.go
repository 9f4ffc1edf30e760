package tcp

import (
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

// Constants of RFC 9438, sections 4.1, 4.3 and 4.6.
const (
	cubicC     = 0.4
	cubicBeta  = 0.7
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
)

// maxWindow bounds every congestion window; sequence numbers allow no more.
const maxWindow = 1 << 30

// cubicState is what a reduction changes and an undo brings back. Windows are in
// segments, as in the RFC.
type cubicState struct {
	cwnd, ssthresh float64
	wMax           float64 // window before the last reduction, less what fast convergence releases
	cwndPrior      float64 // window before the last reduction
	k              float64 // seconds from the epoch until the window is wMax again
	wEst           float64 // window that Reno would have (section 4.3)
	epoch          clock.Time
	inEpoch        bool
	afterTimeout   bool
}

// cubic is CUBIC (RFC 9438) with HyStart++ (RFC 9406) in slow start.
type cubic struct {
	cubicState
	mss     int
	prior   cubicState // before the last reduction
	undo    bool       // prior is set
	srtt    time.Duration
	lastAck clock.Time
	slow    hystart
}

// NewCubic returns a controller as RFC 9438 describes it.
func NewCubic() Controller { return &cubic{} }

func (c *cubic) Init(now clock.Time, mss int) {
	c.mss = mss
	c.cwnd = float64(InitialWindow(mss)) / float64(mss)
	c.ssthresh = maxWindow / float64(mss)
	c.slow.reset()
}

func (c *cubic) TakeOver(window, threshold int) {
	c.cwnd = float64(window) / float64(c.mss)
	c.ssthresh = float64(min(threshold, maxWindow)) / float64(c.mss)
}

func (c *cubic) SetMSS(mss int) {
	scale := float64(c.mss) / float64(mss)
	if c.ssthresh >= maxWindow/float64(c.mss) {
		c.ssthresh = maxWindow / float64(mss)
	} else {
		c.ssthresh *= scale
	}
	// Bytes stay what they were; the curve of the epoch under way does not fit any
	// more.
	c.cwnd, c.wMax, c.cwndPrior = max(c.cwnd*scale, 1), c.wMax*scale, c.cwndPrior*scale
	c.inEpoch, c.undo = false, false
	c.mss = mss
}

func (c *cubic) bytes(w float64) int { return int(w*float64(c.mss) + 0.5) }

func (c *cubic) Window() int {
	w := c.bytes(c.cwnd)
	return max(w, c.mss)
}

func (c *cubic) Threshold() int    { return c.bytes(c.ssthresh) }
func (c *cubic) PacingRate() int64 { return 0 }
func (c *cubic) OwnRecovery() bool { return false }

func (c *cubic) OnAck(a AckInfo) {
	if a.RTT > 0 {
		if c.srtt == 0 {
			c.srtt = a.RTT
		}
		c.srtt += (a.RTT - c.srtt) / 8
	}
	last := c.lastAck
	c.lastAck = a.Now
	if a.Recovering || !a.Limited || a.Acked == 0 {
		// RFC 9438, section 5.8: the curve stands still while the window is not used.
		if c.inEpoch && !a.Limited && last != 0 {
			c.epoch = c.epoch.Add(a.Now.Sub(last))
		}
		return
	}
	acked := float64(a.Acked) / float64(c.mss)
	if c.cwnd < c.ssthresh {
		acked = c.slowStart(&a, acked)
	}
	if acked > 0 {
		c.avoidance(a.Now, acked)
	}
	c.cwnd = min(c.cwnd, maxWindow/float64(c.mss))
}

// slowStart grows the window and returns what is left for congestion avoidance.
func (c *cubic) slowStart(a *AckInfo, acked float64) float64 {
	divisor, exit := c.slow.onAck(a)
	grow := min(acked/float64(divisor), c.ssthresh-c.cwnd)
	c.cwnd += grow
	acked -= grow * float64(divisor)
	if exit {
		c.ssthresh = c.cwnd
	}
	return acked
}

// window is W_cubic(t) (section 4.2, figure 1), t in seconds.
func (c *cubic) window(t float64) float64 {
	d := t - c.k
	return cubicC*d*d*d + c.wMax
}

// avoidance is section 4.2 to 4.5, for so many segments acknowledged.
func (c *cubic) avoidance(now clock.Time, acked float64) {
	if !c.inEpoch {
		c.inEpoch, c.epoch = true, now
		c.wEst = c.cwnd
		if c.cwnd >= c.wMax || c.afterTimeout { // section 4.8; 4.10
			c.wMax, c.k = c.cwnd, 0
		} else {
			c.k = math.Cbrt((c.wMax - c.cwnd) / cubicC) // figure 2
		}
		c.afterTimeout = false
	}
	t := now.Sub(c.epoch).Seconds()
	// Section 4.3: alpha is 1 once the window lost is regained.
	alpha := cubicAlpha
	if c.wEst >= c.cwndPrior {
		alpha = 1
	}
	c.wEst += alpha * acked / c.cwnd
	if c.window(t) < c.wEst {
		c.cwnd = max(c.cwnd, c.wEst)
		return
	}
	target := min(max(c.window(t+c.srtt.Seconds()), c.cwnd), 1.5*c.cwnd)
	c.cwnd += (target - c.cwnd) / c.cwnd * acked
	c.cwnd = min(c.cwnd, target) // an ACK for more than a window aims no higher
}

// reduce is section 4.6 with the fast convergence of 4.7. As in Linux it is the
// window that is reduced and not the flight, which is the smaller only while the
// application limits it; then the window did not grow either.
func (c *cubic) reduce() {
	c.prior, c.undo = c.cubicState, true
	c.cwndPrior = c.cwnd
	if c.cwnd < c.wMax {
		c.wMax = c.cwnd * (1 + cubicBeta) / 2
	} else {
		c.wMax = c.cwnd
	}
	c.ssthresh = max(c.cwnd*cubicBeta, 2)
	c.inEpoch = false
	c.slow.reset()
}

func (c *cubic) OnLoss(now clock.Time, inFlight int) {
	c.reduce()
	c.cwnd, c.afterTimeout = c.ssthresh, false
}

func (c *cubic) OnTimeout(now clock.Time, inFlight int, first bool) {
	if first {
		c.reduce()
	}
	c.cwnd, c.afterTimeout, c.inEpoch = 1, true, false
}

func (c *cubic) OnRecovered(now clock.Time) { c.cwnd = min(c.cwnd, c.ssthresh) }

func (c *cubic) OnRestart(now clock.Time) {
	c.cwnd = min(c.cwnd, float64(InitialWindow(c.mss))/float64(c.mss))
	c.inEpoch = false
	c.slow.reset()
}

func (c *cubic) OnUndo(now clock.Time) {
	if !c.undo {
		return
	}
	c.undo = false
	cwnd, ssthresh := max(c.cwnd, c.prior.cwnd), max(c.ssthresh, c.prior.ssthresh)
	c.cubicState = c.prior // section 4.9
	c.cwnd, c.ssthresh = cwnd, ssthresh
}
