package tcp

import (
	"math"
	"time"
)

// ProbeBW (draft-ietf-ccwg-bbr-06, section 5.3.3): the cycle DOWN, CRUISE, REFILL, UP,
// and what it learns of the most that may be in flight.

// updateProbeBW is UpdateProbeBWCyclePhase (section 5.3.3.9).
func (b *bbr) updateProbeBW(a *AckInfo) {
	if !b.fullBwReached || b.adaptLong(a) {
		return
	}
	switch b.state {
	case bbrDown:
		if !b.timeToProbe() && b.timeToCruise(a) {
			b.startCruise()
		}
	case bbrCruise:
		b.timeToProbe()
	case bbrRefill:
		if b.roundStart { // after a round at the full rate the pipe is full
			b.probeSample = true
			b.startUp(&a.Sample)
		}
	case bbrUp:
		if b.timeToGoDown(a) {
			b.prevTooHigh = false
			b.startDown()
		}
	}
}

func (b *bbr) startDown() {
	b.resetCongestion()
	b.state, b.pacingGain, b.cwndGain = bbrDown, bbrDownPacingGain, bbrCwndGain
	b.upCount = math.MaxInt
	// PickProbeWait (section 5.3.3.8): 2 to 3 s of wall clock, or as many rounds as Reno
	// would need.
	b.roundsSinceUp = b.random() & 1
	b.probeWait = 2*time.Second + time.Duration(b.random()%uint64(time.Second))
	b.cycleAt = b.now
	b.ackPhase = acksStopping
	b.startRound()
}

func (b *bbr) startCruise() {
	b.state, b.pacingGain, b.cwndGain = bbrCruise, 1, bbrCwndGain
}

// startRefill fills the pipe, without a queue, before it is probed.
func (b *bbr) startRefill() {
	b.resetShort()
	b.upRounds, b.upAcks = 0, 0
	b.prevPrecautionary = false
	b.ackPhase = acksRefilling
	b.startRound()
	b.state, b.pacingGain, b.cwndGain = bbrRefill, 1, bbrCwndGain
}

func (b *bbr) startUp(s *RateSample) {
	b.ackPhase = acksProbing
	b.startRound()
	b.resetFullBw()
	b.fullBw = s.Rate()
	b.upFrom = b.inflightLong
	b.state, b.pacingGain, b.cwndGain = bbrUp, bbrUpPacingGain, bbrUpCwndGain
	b.raiseSlope()
}

// timeToProbe is IsTimeToProbeBW (section 5.3.3.8): after the wait, or in the time in
// which Reno would have regained its window.
func (b *bbr) timeToProbe() bool {
	rounds := min(max(b.targetInflight()/b.mss, 1), bbrRenoRounds)
	if b.now.Sub(b.cycleAt) > b.probeWait || b.roundsSinceUp >= uint64(rounds) {
		b.startRefill()
		return true
	}
	return false
}

// timeToCruise is IsTimeToCruise.
func (b *bbr) timeToCruise(a *AckInfo) bool {
	return a.InFlightAfter <= b.withHeadroom() && a.InFlightAfter <= b.inflight(b.maxBw, 1)
}

// timeToGoDown is IsTimeToGoDown. What was in flight before the acknowledgement is what
// the flow reached.
func (b *bbr) timeToGoDown(a *AckInfo) bool {
	if b.prevTooHigh && a.InFlight >= b.inflightLong {
		// Precautionary probing (section 5.3.3.6): the level that was too high is not held
		// for a round, before it is known to be safe now.
		b.prevPrecautionary = true
		return true
	}
	if b.gainsFromOthers(a) {
		return true
	}
	if a.WindowLimited && b.cwnd >= b.inflightLong {
		b.resetFullBw() // it is our own bound that keeps the rate from growing
		b.fullBw = a.Sample.Rate()
		return false
	}
	return b.fullBwNow
}

// gainsFromOthers reports whether a probe has raised the bound by a quarter, into a queue:
// see bbr.
func (b *bbr) gainsFromOthers(a *AckInfo) bool {
	return b.upFrom != math.MaxInt && float64(b.inflightLong) >= bbrUpGrowth*float64(b.upFrom) &&
		a.RTT.Seconds() > bbrUpQueue*b.minRTT.Seconds()
}

// withHeadroom is InflightWithHeadroom: it leaves a part of what may be in flight to
// other flows.
func (b *bbr) withHeadroom() int {
	if b.inflightLong == math.MaxInt {
		return math.MaxInt
	}
	room := max(b.mss, int(bbrHeadroom*float64(b.inflightLong)))
	return max(b.inflightLong-room, bbrMinPipe*b.mss)
}

// adaptLong is AdaptLongTermModel. It reports whether it changed the state.
func (b *bbr) adaptLong(a *AckInfo) bool {
	s := &a.Sample
	if b.ackPhase == acksProbing && b.roundStart {
		b.ackPhase = acksFeedback // what arrives now was sent while probing
	}
	if b.ackPhase == acksStopping && b.roundStart {
		b.probeSample = false
		b.ackPhase = acksInit
		if b.inProbeBW() {
			if !s.AppLimited {
				b.advanceMaxBw()
			}
			if b.prevPrecautionary && !b.prevTooHigh {
				b.startRefill() // the level was safe: probe on at once
				return true
			}
		}
	}
	if b.inflightLong == math.MaxInt || b.tooHigh(s.Lost, s.TxInFlight) {
		return false
	}
	b.inflightLong = max(b.inflightLong, s.TxInFlight)
	if b.state == bbrUp {
		b.raiseLong(a)
	}
	return false
}

// raiseSlope is RaiseInflightLongtermSlope: 1, 2, 4 … segments in a round.
func (b *bbr) raiseSlope() {
	b.upCount = max(b.cwnd>>b.upRounds, b.mss)
	b.upRounds = min(b.upRounds+1, 30)
}

// raiseLong is ProbeInflightLongtermUpward.
func (b *bbr) raiseLong(a *AckInfo) {
	if !a.WindowLimited || b.cwnd < b.inflightLong {
		return // the bound is not what holds us back
	}
	b.upAcks += a.Delivered
	if b.upAcks >= b.upCount {
		n := b.upAcks / b.upCount
		b.upAcks -= n * b.upCount
		b.inflightLong = min(b.inflightLong+n*b.mss, maxWindow)
	}
	if b.roundStart {
		b.raiseSlope()
	}
}
