package tcp

import (
	"math"
	"time"
)

// Constants of RFC 9406, section 4.3.
const (
	hystartMinThresh = 4 * time.Millisecond
	hystartMaxThresh = 16 * time.Millisecond
	hystartDivisor   = 8
	hystartSamples   = 8
	cssGrowthDivisor = 4
	cssRounds        = 5
)

// noRTT stands for a round without a sample.
const noRTT = time.Duration(math.MaxInt64)

// hystart is HyStart++ (RFC 9406): it ends slow start when the round-trip time
// begins to rise, before the queue overflows. A rise sends it into Conservative
// Slow Start first, in which the window grows by a quarter, and from which it goes
// back if the rise was noise.
//
// The RFC's limit L on what one ACK adds is left at infinity, as receivers that
// coalesce segments acknowledge dozens at once and would otherwise slow slow start
// down.
type hystart struct {
	roundEnd  uint64 // delivery count that ends the round
	lastMin   time.Duration
	curMin    time.Duration
	baseline  time.Duration // of the round that entered CSS
	samples   int
	css       bool
	cssRounds int
}

func (h *hystart) reset() { *h = hystart{lastMin: noRTT, curMin: noRTT} }

// onAck takes an acknowledgement that arrived in slow start. It returns by what the
// increase is to be divided, and whether slow start is to end.
func (h *hystart) onAck(a *AckInfo) (divisor int, exit bool) {
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
