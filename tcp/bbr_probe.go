package tcp

import (
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

// updateProbeBW is the cycle DOWN, CRUISE, REFILL, UP (draft-ietf-ccwg-bbr, section
// 5.3.3), together with what it learns of the most that may be in flight.
func (b *bbr) updateProbeBW(a *AckInfo) {
	if !b.fullBwReached {
		return
	}
	b.adaptUpper(a)
	switch b.state {
	case bbrDown:
		if b.timeToProbe(a) {
			return
		}
		if a.InFlightAfter <= b.withHeadroom() && a.InFlightAfter <= b.inflight(b.maxBw, 1) {
			b.startCruise()
		}
	case bbrCruise:
		b.timeToProbe(a)
	case bbrRefill:
		if b.roundStart { // after a round at the full rate the pipe is full
			b.samplesOfProbe = true
			b.startUp(a)
		}
	case bbrUp:
		if b.timeToGoDown(a) {
			b.startDown(a.Now)
		}
	}
}

func (b *bbr) startDown(now clock.Time) {
	b.state, b.pacingGain, b.cwndGain = bbrDown, bbrDownPacingGain, bbrCwndGain
	b.upCount = math.MaxInt
	b.ackPhase = acksStopping
	b.cycleAt = now
	// Section 5.3.3.3: 2 to 3 s of wall clock, or as many rounds as Reno would need.
	b.roundsSinceProb = int(b.random() & 1)
	b.probeWait = 2*time.Second + time.Duration(b.random()%uint64(time.Second))
	b.nextRound = max(b.nextRound, b.lossRoundEnd)
	b.resetFullBw()
}

func (b *bbr) startCruise() {
	b.state, b.pacingGain, b.cwndGain = bbrCruise, 1, bbrCwndGain
}

// startRefill fills the pipe, without a queue, before it is probed.
func (b *bbr) startRefill(a *AckInfo) {
	b.resetLower()
	b.upRounds, b.upAcks = 0, 0
	b.ackPhase = acksRefilling
	b.nextRound = a.TotalDelivered
	b.state, b.pacingGain, b.cwndGain = bbrRefill, 1, bbrCwndGain
}

func (b *bbr) startUp(a *AckInfo) {
	b.state, b.pacingGain, b.cwndGain = bbrUp, bbrUpPacingGain, bbrUpCwndGain
	b.ackPhase = acksProbing
	b.nextRound = a.TotalDelivered
	b.cycleAt = a.Now
	b.resetFullBw()
	b.fullBw = a.Sample.Rate()
	b.raiseSlope()
}

// random is a linear congruential generator: only flows' probes are to differ in
// time, nothing is to be unpredictable.
func (b *bbr) random() uint64 {
	b.rng = b.rng*6364136223846793005 + 1442695040888963407
	return b.rng >> 33
}

// timeToProbe is BBRIsTimeToProbeBW (section 5.3.3.3): after the wait, or in the
// time in which Reno would have regained its window, at most 63 rounds.
func (b *bbr) timeToProbe(a *AckInfo) bool {
	segments := min(b.bdp(b.bw, 1), b.cwnd) / b.mss
	if a.Now.Sub(b.cycleAt) > b.probeWait || b.roundsSinceProb >= min(max(segments, 1), 63) {
		b.startRefill(a)
		return true
	}
	return false
}

// timeToGoDown is BBRIsTimeToGoDown: more was tried long enough and gave nothing.
func (b *bbr) timeToGoDown(a *AckInfo) bool {
	if b.inflightHi != math.MaxInt && b.cwnd >= b.inflightHi && a.Limited {
		b.resetFullBw() // it is our own bound that keeps the rate from growing
		b.fullBw = a.Sample.Rate()
		return false
	}
	return b.fullBwNow
}

// withHeadroom leaves a part of what may be in flight to other flows.
func (b *bbr) withHeadroom() int {
	if b.inflightHi == math.MaxInt {
		return math.MaxInt
	}
	room := max(b.mss, int(bbrHeadroom*float64(b.inflightHi)))
	return max(b.inflightHi-room, bbrMinPipe*b.mss)
}

// adaptUpper is BBRAdaptLongTermModel (section 5.5.10.1).
func (b *bbr) adaptUpper(a *AckInfo) {
	s := &a.Sample
	if b.ackPhase == acksProbing && b.roundStart {
		b.ackPhase = acksFeedback // what arrives now was sent while probing
	}
	if b.ackPhase == acksStopping && b.roundStart {
		b.samplesOfProbe = false
		b.ackPhase = acksInit
		if b.inProbeBW() && !s.AppLimited { // a cycle of the filter of the rate ends
			b.cycle++
			b.maxBwFilter[b.cycle&1] = 0
		}
	}
	if b.tooHigh(s) {
		b.handleTooHigh(a)
		return
	}
	if b.inflightHi == math.MaxInt {
		return
	}
	b.inflightHi = max(b.inflightHi, s.TxInFlight)
	if b.state == bbrUp {
		b.raiseUpper(a)
	}
}

// handleTooHigh is BBRHandleInflightTooHigh: a probe is answered once.
func (b *bbr) handleTooHigh(a *AckInfo) {
	if !b.samplesOfProbe {
		return
	}
	b.samplesOfProbe = false
	if !a.Sample.AppLimited {
		target := min(b.bdp(b.bw, 1), b.cwnd)
		b.inflightHi = max(a.Sample.TxInFlight, int(bbrBeta*float64(target)))
	}
	if b.state == bbrUp {
		b.startDown(a.Now)
	}
}

// raiseSlope is BBRRaiseInflightLongtermSlope: 1, 2, 4 … segments in a round.
func (b *bbr) raiseSlope() {
	growth := b.mss << min(b.upRounds, 30)
	b.upRounds = min(b.upRounds+1, 30)
	b.upCount = max(b.cwnd/max(growth/b.mss, 1), b.mss)
}

// raiseUpper is BBRProbeInflightLongtermUpward.
func (b *bbr) raiseUpper(a *AckInfo) {
	if !a.Limited || b.cwnd < b.inflightHi {
		return // the bound is not what holds us back
	}
	b.upAcks += a.Delivered
	if b.upAcks >= b.upCount {
		n := b.upAcks / b.upCount
		b.upAcks -= n * b.upCount
		b.inflightHi = min(b.inflightHi+n*b.mss, maxWindow)
	}
	if b.roundStart {
		b.raiseSlope()
	}
}
