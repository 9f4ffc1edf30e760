package tcp

import (
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

// Constants of RFC 9438, sections 4.1, 4.3 and 4.6; beta is Linux's 717/1024.
const (
	cubicC        = 0.4
	cubicBetaNum  = 717
	cubicBetaDen  = 1024
	cubicFriendly = 15                    // 8/alpha of section 4.3, in whole numbers
	cubicFirst    = 20                    // segments acknowledged for one more, at most, while W_max is not known
	cubicPause    = 28 * time.Millisecond // the curve is not looked at again so soon for the same window,
	cubicNear     = 7 * time.Millisecond  // nor within a round trip where that is shorter than this
	cubicSlowTime = time.Second           // round-trip times so soon after a reduction say nothing
)

// maxWindow bounds every congestion window; sequence numbers allow no more.
const maxWindow = 1 << 30

// cubicEpoch is the curve of RFC 9438. Windows are in segments, as in the RFC.
type cubicEpoch struct {
	wMax    int     // window before the last reduction, less what fast convergence releases; 0: none
	origin  int     // the plateau of the curve
	k       float64 // seconds from the epoch until the window is there
	reno    int     // window that Reno would have (section 4.3)
	acked   int     // segments acknowledged towards its next increase
	epoch   clock.Time
	inEpoch bool
	count   int        // segments acknowledged for one more
	last    int        // the window when count was computed …
	lastAt  clock.Time // … and when
}

// cubic is CUBIC (RFC 9438), computed in whole segments as Linux does, so that its
// window is the same number.
type cubic struct {
	renoWindow
	cubicEpoch
	prior     cubicEpoch // before the last reduction
	undo      bool       // prior is set
	minRTT    time.Duration
	hystart   hystart
	hystartPP hystartPP
	plusPlus  bool // RFC 9406's is the one that counts
	cssAcked  int  // segments acknowledged towards the next increase in conservative slow start
}

// NewCubic returns a controller as RFC 9438 describes it, with Linux's HyStart,
// which ends slow start when the round-trip time rises or ACKs arrive in a train as
// long as half of it.
func NewCubic() Controller { return &cubic{} }

// NewCubicHyStartPP returns the same with HyStart++ (RFC 9406) in its place.
func NewCubicHyStartPP() Controller { return &cubic{plusPlus: true} }

func (c *cubic) Init(now clock.Time, mss int, rtt time.Duration) {
	c.init(mss)
	c.hystart.reset()
	c.hystartPP.reset()
}

func (c *cubic) SetMSS(mss int) {
	c.renoWindow.SetMSS(mss)
	c.inEpoch, c.undo = false, false // the curve of the epoch under way does not fit any more
}

func (c *cubic) OnAck(a AckInfo) {
	divisor := 1
	if a.RTT > 0 && !(c.inEpoch && a.Now.Sub(c.epoch) < cubicSlowTime) {
		if c.minRTT == 0 || a.RTT < c.minRTT {
			c.minRTT = a.RTT
		}
		if c.cwnd < c.ssthresh {
			exit := false
			if c.plusPlus {
				divisor, exit = c.hystartPP.onAck(&a)
			} else {
				exit = c.hystart.onAck(&a, c.cwnd)
			}
			if exit {
				c.ssthresh = c.cwnd
			}
		}
	}
	if a.Segments == 0 || !a.Limited {
		return
	}
	segs := a.Segments
	if c.cwnd < c.ssthresh {
		if divisor > 1 {
			c.cssAcked += segs
			segs = c.cssAcked / divisor
			c.cssAcked -= segs * divisor
			c.slowStart(segs)
			return
		}
		if segs = c.slowStart(segs); segs == 0 {
			return
		}
	}
	c.update(a.Now, segs)
	c.avoid(c.count, segs)
}

// update computes for how many acknowledged segments the window grows by one:
// section 4.2 to 4.5.
func (c *cubic) update(now clock.Time, segs int) {
	c.cubicEpoch.acked += segs
	pause := cubicPause
	if c.minRTT > 0 && c.minRTT < cubicNear {
		// Linux waits for its pause however short the round trip is, and falls behind Reno
		// by that where it takes a millisecond and segments get lost.
		pause = c.minRTT
	}
	if c.last == c.cwnd && now.Sub(c.lastAt) <= pause {
		return
	}
	if !c.inEpoch || now != c.lastAt {
		c.last, c.lastAt = c.cwnd, now
		c.curve(now, segs)
	}
	// Section 4.3, the Reno-friendly region: one segment more for every 1/alpha windows;
	// alpha stays what it is even when the lost window is regained.
	if step := max(c.cwnd*cubicFriendly/8, 1); c.cubicEpoch.acked > step {
		n := (c.cubicEpoch.acked - 1) / step
		c.reno += n
		c.cubicEpoch.acked -= n * step
	}
	if d := c.reno - c.cwnd; d > 0 {
		c.count = min(c.count, c.cwnd/d)
	}
	c.count = max(c.count, 2) // not faster than 1.5 times a round trip
}

// curve is W_cubic(t) of section 4.2, figure 1, a round trip ahead.
func (c *cubic) curve(now clock.Time, segs int) {
	if !c.inEpoch {
		c.inEpoch, c.epoch = true, now
		c.cubicEpoch.acked, c.reno = segs, c.cwnd
		if c.wMax <= c.cwnd {
			c.k, c.origin = 0, c.cwnd
		} else {
			c.k, c.origin = math.Cbrt(float64(c.wMax-c.cwnd)/cubicC), c.wMax // figure 2
		}
	}
	d := (now.Sub(c.epoch) + c.minRTT).Seconds() - c.k
	target := c.origin + int(min(max(cubicC*d*d*d, -1e9), 1e9))
	if target > c.cwnd {
		c.count = c.cwnd / (target - c.cwnd)
	} else {
		c.count = 100 * c.cwnd
	}
	if c.wMax == 0 && c.count > cubicFirst {
		c.count = cubicFirst // nothing is known of the path yet
	}
}

// lower is section 4.6 with the fast convergence of 4.7.
func (c *cubic) lower() {
	c.prior, c.undo = c.cubicEpoch, true
	if c.cwnd < c.wMax {
		c.wMax = c.cwnd * (cubicBetaDen + cubicBetaNum) / (2 * cubicBetaDen)
	} else {
		c.wMax = c.cwnd
	}
	c.inEpoch = false
	c.reduce(c.cwnd * cubicBetaNum / cubicBetaDen)
}

func (c *cubic) OnLoss(now clock.Time, inFlight int) { c.lower() }

func (c *cubic) OnTimeout(now clock.Time, inFlight int, first bool) {
	if first {
		c.lower()
	}
	// Section 4.8; nothing of the curve is kept.
	c.cubicEpoch = cubicEpoch{}
	c.minRTT = 0
	c.hystart.reset()
	c.hystartPP.reset()
	c.timeout(inFlight)
}

// OnRestart shifts the curve by the time in which nothing was sent (section 5.8).
func (c *cubic) OnRestart(now, since clock.Time) {
	if d := now.Sub(since); c.inEpoch && d > 0 && since != 0 {
		c.epoch = min(c.epoch.Add(d), now)
	}
}

func (c *cubic) OnUndo(now clock.Time) {
	if c.undo {
		c.undo = false
		c.cubicEpoch = c.prior // section 4.9
	}
	c.restore()
}
