package tcp

import (
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

// Constants of draft-ietf-ccwg-bbr, sections 2.4 to 2.8 and 5.3.
const (
	bbrStartupPacingGain = 2.77
	bbrDrainPacingGain   = 0.5
	bbrStartupCwndGain   = 2.0
	bbrCwndGain          = 2.0
	bbrUpCwndGain        = 2.25
	bbrProbeRTTCwndGain  = 0.5
	bbrDownPacingGain    = 0.9
	bbrUpPacingGain      = 1.25
	bbrPacingMargin      = 0.99 // 1 % below the estimate
	bbrLossThresh        = 0.02
	bbrBeta              = 0.7
	bbrHeadroom          = 0.15
	bbrMinPipe           = 4 // segments
	bbrMinRTTFilter      = 10 * time.Second
	bbrProbeRTTInterval  = 5 * time.Second
	bbrProbeRTTDuration  = 200 * time.Millisecond
	bbrExtraAckedRounds  = 10
	bbrFullBwCount       = 3
	bbrFullBwThresh      = 1.25
	bbrStartupLossEvents = 6
)

// bbrState is a state of the machine; the four from bbrDown on are ProbeBW.
type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrDown
	bbrCruise
	bbrRefill
	bbrUp
	bbrProbeRTT
)

// bbr is BBR version 3 as draft-ietf-ccwg-bbr describes it: a model of the path,
// made of the largest delivery rate and the least round-trip time lately seen,
// decides how fast to send and how much may be in flight. Names are the draft's.
//
// Loss is judged once for an acknowledgement, by the newest segment that it
// delivers and what was lost since that was sent, where the draft looks at each
// lost segment as well.
type bbr struct {
	mss   int
	state bbrState
	rng   uint64

	pacingRate             float64
	cwnd, priorCwnd        int
	pacingGain, cwndGain   float64
	initialised, idleStart bool
	hasRTT                 bool
	recovering, lossRound  bool

	// Rounds.
	nextRound  uint64
	rounds     uint64
	roundStart bool

	// The model: rate in bytes per second, amounts in bytes.
	maxBw, bw, bwLo           float64
	maxBwFilter               [2]float64
	cycle                     uint64
	inflightHi, inflightLo    int // math.MaxInt: no bound
	inflightLatest            int
	bwLatest                  float64
	lossRoundEnd              uint64
	lossInRound               bool
	lossEvents                int
	minRTT                    time.Duration
	minRTTAt                  clock.Time
	probeRTTMin               time.Duration
	probeRTTMinAt             clock.Time
	probeRTTExpired           bool
	probeRTTDone              clock.Time
	probeRTTRound             bool
	extraAckedAt              clock.Time
	extraAckedDelivered       int
	extraAcked                [2]int // largest of this window of rounds, and of the one before
	extraAckedRound           uint64
	fullBw                    float64
	fullBwRounds              int
	fullBwNow, fullBwReached  bool
	upRounds, roundsSinceProb int
	upAcks, upCount           int
	probeWait                 time.Duration
	cycleAt                   clock.Time
	samplesOfProbe            bool
	undoHi, undoLo            int
	undoBwLo                  float64
	ackPhase                  uint8
}

// What the samples now arriving were sent by (the draft's ack_phase).
const (
	acksInit uint8 = iota
	acksRefilling
	acksProbing
	acksFeedback
	acksStopping
)

// NewBBR returns a controller as draft-ietf-ccwg-bbr describes it.
func NewBBR() Controller { return &bbr{} }

func (b *bbr) Init(now clock.Time, mss int) {
	b.mss = mss
	b.cwnd = InitialWindow(mss)
	b.rng = uint64(now)*0x9e3779b97f4a7c15 | 1
	b.inflightHi, b.inflightLo, b.bwLo = math.MaxInt, math.MaxInt, math.Inf(1)
	b.minRTTAt, b.probeRTTMinAt, b.extraAckedAt, b.cycleAt = now, now, now, now
	b.initialised = true
	b.enterStartup()
	// Section 5.6.2: nothing is known of the round-trip time, which counts as 1 ms.
	b.pacingRate = bbrStartupPacingGain * float64(b.cwnd) * 1000
}

// TakeOver begins with the other's window; BBR has no threshold.
func (b *bbr) TakeOver(window, threshold int) { b.cwnd = window }

// SetWindow is for those that do not govern recovery themselves.
func (b *bbr) SetWindow(window, threshold int) {}

func (b *bbr) SetMSS(mss int)    { b.mss = mss }
func (b *bbr) Window() int       { return max(b.cwnd, b.mss) }
func (b *bbr) Threshold() int    { return infiniteThreshold }
func (b *bbr) OwnRecovery() bool { return true }

func (b *bbr) PacingRate() int64 {
	return int64(min(max(b.pacingRate, float64(b.mss)), 1e12))
}

func (b *bbr) enterStartup() {
	b.state, b.pacingGain, b.cwndGain = bbrStartup, bbrStartupPacingGain, bbrStartupCwndGain
}

func (b *bbr) inProbeBW() bool { return b.state >= bbrDown && b.state <= bbrUp }

// OnAck is BBRUpdateModelAndState and BBRUpdateControlParameters (section 5.2.3).
func (b *bbr) OnAck(a AckInfo) {
	s := &a.Sample
	b.updateRound(&a)
	b.updateLatest(&a)
	b.updateCongestion(&a)
	b.updateAckAggregation(&a)
	b.checkFullBw(&a)
	if b.state == bbrStartup && b.fullBwReached {
		b.state, b.pacingGain, b.cwndGain = bbrDrain, bbrDrainPacingGain, bbrCwndGain
	}
	if b.state == bbrDrain && a.InFlightAfter <= b.inflight(b.bw, 1) {
		b.startDown(a.Now)
	}
	b.updateProbeBW(&a)
	b.updateMinRTT(&a)
	b.checkProbeRTT(&a)
	// BBRAdvanceLatestDeliverySignals
	if b.lossRound {
		b.bwLatest, b.inflightLatest = s.Rate(), s.Delivered
	}
	b.bw = min(b.maxBw, b.bwLo)
	b.setPacingRate()
	b.setCwnd(&a)
	if a.Delivered > 0 {
		b.idleStart = false
	}
}

// updateRound is BBRUpdateRound (section 5.5.1).
func (b *bbr) updateRound(a *AckInfo) {
	b.roundStart = a.Sample.PriorDelivered >= b.nextRound && a.Delivered > 0
	if b.roundStart {
		b.nextRound = a.TotalDelivered
		b.rounds++
		b.roundsSinceProb++
	}
}

// updateLatest is BBRUpdateLatestDeliverySignals and BBRUpdateMaxBw (sections
// 5.5.5 and 5.5.10.2).
func (b *bbr) updateLatest(a *AckInfo) {
	s := &a.Sample
	b.lossRound = false
	rate := s.Rate()
	b.bwLatest = max(b.bwLatest, rate)
	b.inflightLatest = max(b.inflightLatest, s.Delivered)
	if s.PriorDelivered >= b.lossRoundEnd && a.Delivered > 0 {
		b.lossRoundEnd = a.TotalDelivered
		b.lossRound = true
	}
	if rate > 0 && (rate >= b.maxBw || !s.AppLimited) {
		b.maxBwFilter[b.cycle&1] = max(b.maxBwFilter[b.cycle&1], rate)
		b.maxBw = max(b.maxBwFilter[0], b.maxBwFilter[1])
	}
}

// updateCongestion is BBRUpdateCongestionSignals (section 5.5.10.3).
func (b *bbr) updateCongestion(a *AckInfo) {
	if a.Lost > 0 {
		b.lossInRound = true
		b.lossEvents++
	}
	if !b.lossRound {
		return
	}
	// BBRAdaptLowerBoundsFromCongestion: only while not probing for more.
	if b.lossInRound && b.state != bbrStartup && b.state != bbrRefill && b.state != bbrUp {
		if math.IsInf(b.bwLo, 1) {
			b.bwLo = b.maxBw
		}
		if b.inflightLo == math.MaxInt {
			b.inflightLo = b.cwnd
		}
		b.bwLo = max(b.bwLatest, bbrBeta*b.bwLo)
		b.inflightLo = max(b.inflightLatest, int(bbrBeta*float64(b.inflightLo)))
	}
}

// updateAckAggregation is BBRUpdateACKAggregation (section 5.5.9).
func (b *bbr) updateAckAggregation(a *AckInfo) {
	expected := int(b.bw * a.Now.Sub(b.extraAckedAt).Seconds())
	if b.extraAckedDelivered <= expected {
		b.extraAckedDelivered, b.extraAckedAt, expected = 0, a.Now, 0
	}
	b.extraAckedDelivered += a.Delivered
	extra := min(b.extraAckedDelivered-expected, b.cwnd)
	if b.rounds-b.extraAckedRound >= bbrExtraAckedRounds/2 {
		b.extraAckedRound = b.rounds
		b.extraAcked[1], b.extraAcked[0] = b.extraAcked[0], 0
	}
	b.extraAcked[0] = max(b.extraAcked[0], extra)
}

// checkFullBw is BBRCheckFullBWReached and BBRCheckStartupHighLoss (section 5.3.1).
func (b *bbr) checkFullBw(a *AckInfo) {
	s := &a.Sample
	if !b.fullBwNow && b.roundStart && !s.AppLimited {
		if rate := s.Rate(); rate >= b.fullBw*bbrFullBwThresh {
			b.resetFullBw()
			b.fullBw = rate
		} else {
			b.fullBwRounds++
			b.fullBwNow = b.fullBwRounds >= bbrFullBwCount
			if b.fullBwNow {
				b.fullBwReached = true
			}
		}
	}
	if b.state == bbrStartup && !b.fullBwReached && b.lossRound && a.Recovering &&
		b.lossEvents >= bbrStartupLossEvents && b.tooHigh(s) {
		b.fullBwNow, b.fullBwReached = true, true
		b.inflightHi = max(b.inflight(b.maxBw, 1), b.inflightLatest)
	}
	if b.lossRound {
		b.lossEvents = 0
		b.lossInRound = false
	}
}

func (b *bbr) resetFullBw() { b.fullBw, b.fullBwRounds, b.fullBwNow = 0, 0, false }

// tooHigh is IsInflightTooHigh (section 5.5.10.2).
func (b *bbr) tooHigh(s *RateSample) bool {
	return s.TxInFlight > 0 && float64(s.Lost) > bbrLossThresh*float64(s.TxInFlight)
}

// bdp is what is in flight when the path is just full, times gain.
func (b *bbr) bdp(bw, gain float64) int {
	if !b.hasRTT {
		return InitialWindow(b.mss)
	}
	return int(gain * bw * b.minRTT.Seconds())
}

// inflight is BBRInflight: the product with room for the quanta of both ends
// (section 5.6.4.2).
func (b *bbr) inflight(bw, gain float64) int {
	n := max(b.bdp(bw, gain), b.offload(), bbrMinPipe*b.mss)
	if b.state == bbrUp {
		n += 2 * b.mss
	}
	return n
}

// offload is what the quanta of pacing, the peer's coalescing and ours take.
func (b *bbr) offload() int {
	return 3 * max(int(b.pacingRate*pacingQuantum.Seconds()), 2*b.mss)
}

// updateMinRTT is BBRUpdateMinRTT (section 5.3.4.3).
func (b *bbr) updateMinRTT(a *AckInfo) {
	b.probeRTTExpired = a.Now.Sub(b.probeRTTMinAt) > bbrProbeRTTInterval
	if a.RTT > 0 && (b.probeRTTMin == 0 || a.RTT < b.probeRTTMin || b.probeRTTExpired) {
		b.probeRTTMin, b.probeRTTMinAt = a.RTT, a.Now
	}
	expired := a.Now.Sub(b.minRTTAt) > bbrMinRTTFilter
	if b.probeRTTMin > 0 && (!b.hasRTT || b.probeRTTMin < b.minRTT || expired) {
		if !b.hasRTT && !b.fullBwReached {
			b.pacingRate = bbrStartupPacingGain * float64(b.cwnd) / b.probeRTTMin.Seconds()
		}
		b.minRTT, b.minRTTAt, b.hasRTT = b.probeRTTMin, b.probeRTTMinAt, true
	}
}

// checkProbeRTT is BBRCheckProbeRTT (section 5.3.4.3).
func (b *bbr) checkProbeRTT(a *AckInfo) {
	if b.state != bbrProbeRTT && b.probeRTTExpired && !b.idleStart {
		b.saveCwnd()
		b.state, b.pacingGain, b.cwndGain = bbrProbeRTT, 1, bbrProbeRTTCwndGain
		b.probeRTTDone, b.ackPhase = 0, acksStopping
		b.lossRoundEnd = a.TotalDelivered
	}
	if b.state != bbrProbeRTT {
		return
	}
	switch {
	case b.probeRTTDone == 0 && a.InFlightAfter <= b.probeRTTCwnd():
		b.probeRTTDone = a.Now.Add(bbrProbeRTTDuration)
		b.probeRTTRound = false
		b.nextRound = a.TotalDelivered
	case b.probeRTTDone != 0:
		if b.roundStart {
			b.probeRTTRound = true
		}
		if b.probeRTTRound && !a.Now.Before(b.probeRTTDone) {
			b.leaveProbeRTT(a.Now)
		}
	}
}

func (b *bbr) probeRTTCwnd() int {
	return max(b.bdp(b.bw, bbrProbeRTTCwndGain), bbrMinPipe*b.mss)
}

func (b *bbr) leaveProbeRTT(now clock.Time) {
	b.probeRTTMinAt = now // the next is due an interval from now
	b.restoreCwnd()
	b.resetLower()
	if b.fullBwReached {
		b.startDown(now)
		b.startCruise()
	} else {
		b.enterStartup()
	}
}

func (b *bbr) saveCwnd() {
	if !b.recovering && b.state != bbrProbeRTT {
		b.priorCwnd = b.cwnd
	} else {
		b.priorCwnd = max(b.priorCwnd, b.cwnd)
	}
}

func (b *bbr) restoreCwnd() { b.cwnd = max(b.cwnd, b.priorCwnd) }

func (b *bbr) resetLower() { b.bwLo, b.inflightLo = math.Inf(1), math.MaxInt }

// setPacingRate is BBRSetPacingRate (section 5.6.2).
func (b *bbr) setPacingRate() {
	rate := b.pacingGain * b.bw * bbrPacingMargin
	if rate > 0 && (b.fullBwReached || rate > b.pacingRate) {
		b.pacingRate = rate
	}
}

// setCwnd is BBRSetCwnd (section 5.6.4).
func (b *bbr) setCwnd(a *AckInfo) {
	target := b.inflight(b.bw, b.cwndGain) + max(b.extraAcked[0], b.extraAcked[1])
	if b.fullBwReached {
		b.cwnd = min(b.cwnd+a.Delivered, target)
	} else if b.cwnd < target || a.TotalDelivered < uint64(InitialWindow(b.mss)) {
		b.cwnd += a.Delivered
	}
	b.cwnd = max(b.cwnd, bbrMinPipe*b.mss)
	if b.state == bbrProbeRTT {
		b.cwnd = min(b.cwnd, b.probeRTTCwnd())
	}
	limit := math.MaxInt
	switch {
	case b.inProbeBW() && b.state != bbrCruise:
		limit = b.inflightHi
	case b.state == bbrProbeRTT || b.state == bbrCruise:
		limit = b.withHeadroom()
	}
	limit = max(min(limit, b.inflightLo), bbrMinPipe*b.mss)
	b.cwnd = min(b.cwnd, limit, maxWindow)
}

// OnLoss begins recovery: the model already knows what was lost.
func (b *bbr) OnLoss(now clock.Time, inFlight int) {
	b.saveCwnd()
	b.saveBounds()
	b.recovering = true
}

func (b *bbr) saveBounds() { b.undoHi, b.undoLo, b.undoBwLo = b.inflightHi, b.inflightLo, b.bwLo }

// OnTimeout is BBROnEnterRTO (section 5.6.4.4): one segment, and then as fast as
// acknowledgements allow.
func (b *bbr) OnTimeout(now clock.Time, inFlight int, first bool) {
	if first {
		b.saveCwnd()
		b.saveBounds()
	}
	b.recovering = true
	b.cwnd = b.mss
}

func (b *bbr) OnRecovered(now clock.Time) {
	b.recovering = false
	b.restoreCwnd()
}

// OnRestart is BBRHandleRestartFromIdle (section 5.4.1): pace at the rate that the
// model knows, so that the window need not shrink.
func (b *bbr) OnRestart(now, since clock.Time) {
	b.idleStart = true
	b.extraAckedAt, b.extraAckedDelivered = now, 0
	switch {
	case b.inProbeBW():
		if b.bw > 0 {
			b.pacingRate = b.bw * bbrPacingMargin
		}
	case b.state == bbrProbeRTT && b.probeRTTDone != 0 && !now.Before(b.probeRTTDone):
		b.leaveProbeRTT(now)
	}
}

func (b *bbr) OnUndo(now clock.Time) {
	b.recovering = false
	b.restoreCwnd()
	b.resetFullBw()
	b.inflightHi = max(b.inflightHi, b.undoHi)
	b.inflightLo = max(b.inflightLo, b.undoLo)
	b.bwLo = max(b.bwLo, b.undoBwLo)
	b.lossInRound = false
}
