package tcp

import (
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

// Constants of RFC 9406, section 4.3; the first three hold for Linux's HyStart, too.
const (
	hystartMinThresh = 4 * time.Millisecond
	hystartMaxThresh = 16 * time.Millisecond
	hystartDivisor   = 8
	hystartSamples   = 8
	cssGrowthDivisor = 4
	cssRounds        = 5
)

// Constants of Linux's HyStart: it needs a window of so many segments, and ACKs are
// a train when they are closer than this.
const (
	hystartLowWindow = 16
	hystartTrain     = 2 * time.Millisecond
)

// noRTT stands for a round without a sample.
const noRTT = time.Duration(math.MaxInt64)

// hystart is the algorithm of Ha and Rhee ("Taming the elephants", 2011) as Linux
// has it. It ends slow start for good, without the second thoughts of RFC 9406.
type hystart struct {
	roundEnd uint64 // delivery count that ends the round
	began    clock.Time
	lastAck  clock.Time
	minRTT   time.Duration // of all rounds
	curMin   time.Duration // of this round
	samples  int
	found    bool
}

func (h *hystart) reset() { *h = hystart{curMin: noRTT} }

// onAck takes an acknowledgement that arrived in slow start with a window of so many
// segments, and reports whether slow start is to end.
func (h *hystart) onAck(a *AckInfo, window int) bool {
	if h.minRTT == 0 || a.RTT < h.minRTT {
		h.minRTT = a.RTT
	}
	if h.found || window < hystartLowWindow {
		return false
	}
	if a.Sample.PriorDelivered >= h.roundEnd || h.began == 0 {
		h.roundEnd = a.TotalDelivered
		h.began, h.lastAck = a.Now, a.Now
		h.curMin, h.samples = noRTT, 0
	}
	if a.Now.Sub(h.lastAck) <= hystartTrain {
		h.lastAck = a.Now
		h.found = a.Now.Sub(h.began) > h.minRTT/2
	}
	h.curMin = min(h.curMin, a.RTT)
	if h.samples < hystartSamples {
		h.samples++
	} else if h.curMin > h.minRTT+min(max(h.minRTT/hystartDivisor, hystartMinThresh), hystartMaxThresh) {
		h.found = true
	}
	return h.found
}

// hystartPP is HyStart++ (RFC 9406): it ends slow start when the round-trip time
// begins to rise, before the queue overflows. A rise sends it into Conservative
// Slow Start first, in which the window grows by a quarter, and from which it goes
// back if the rise was noise.
//
// The RFC's limit L on what one ACK adds is left at infinity, as receivers that
// coalesce segments acknowledge dozens at once and would otherwise slow slow start
// down.
type hystartPP struct {
	roundEnd  uint64 // delivery count that ends the round
	lastMin   time.Duration
	curMin    time.Duration
	baseline  time.Duration // of the round that entered CSS
	samples   int
	css       bool
	cssRounds int
}

func (h *hystartPP) reset() { *h = hystartPP{lastMin: noRTT, curMin: noRTT} }

// onAck takes an acknowledgement that arrived in slow start. It returns by what the
// increase is to be divided, and whether slow start is to end.
func (h *hystartPP) onAck(a *AckInfo) (divisor int, exit bool) {
	if a.Sample.PriorDelivered >= h.roundEnd {
		// Something sent in this round has arrived: the next round begins.
		h.roundEnd = a.TotalDelivered
		if h.css {
			h.cssRounds++
		}
		h.lastMin, h.curMin, h.samples = h.curMin, noRTT, 0
	}
	if a.RTT > 0 {
		h.curMin = min(h.curMin, a.RTT)
		h.samples++
	}
	if h.samples >= hystartSamples && h.curMin != noRTT {
		switch {
		case h.css && h.curMin < h.baseline:
			h.css, h.baseline = false, noRTT // the rise was spurious
		case !h.css && h.lastMin != noRTT:
			thresh := min(max(h.lastMin/hystartDivisor, hystartMinThresh), hystartMaxThresh)
			if h.curMin >= h.lastMin+thresh {
				h.css, h.baseline, h.cssRounds = true, h.curMin, 0
			}
		}
	}
	if !h.css {
		return 1, false
	}
	return cssGrowthDivisor, h.cssRounds >= cssRounds
}
