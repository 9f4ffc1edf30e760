package tcp

import (
	"math"

	"github.com/netduet/netduet/clock"
)

// What BBR makes of losses, of congestion marks, and of losses that were none
// (draft-ietf-ccwg-bbr-06, sections 5.5.10, 3.7, 5.5.11 and 5.6.4.4).

// tooHigh is IsInflightTooHigh (section 5.5.10.2).
func (b *bbr) tooHigh(lost, txInFlight int) bool {
	return float64(lost) > b.tolerated(float64(txInFlight)) || lost > 0 && b.noSACK
}

// tolerated is how much of what was sent may be lost: LossThresh of it, and without a
// queue what chance may add. See bbr.
func (b *bbr) tolerated(sent float64) float64 {
	n := bbrLossThresh * sent
	if b.lastRTT.Seconds() <= bbrLossQueue*b.minRTT.Seconds() {
		n += bbrLossChance * math.Sqrt(n*float64(b.mss))
	}
	return n
}

// OnLost is HandleLostPacket (section 5.5.10.2).
func (b *bbr) OnLost(l LossInfo) {
	b.now, b.delivered = l.Now, l.TotalDelivered
	b.noteLoss()
	if l.Marked {
		b.onMark(&l)
		return
	}
	b.lostInRound += l.Bytes
	if !l.Adjoins {
		b.lossEvents++
	}
	if b.probeSample && b.tooHigh(l.Lost, l.TxInFlight) {
		b.handleTooHigh(inflightAtLoss(&l), l.AppLimited || b.held(l.PriorDelivered))
	}
}

// noteLoss is NoteLoss: the first loss of a round begins the round at whose end it is
// answered.
func (b *bbr) noteLoss() {
	if !b.lossInRound {
		b.lossRoundEnd = b.delivered
		if !b.recovering {
			b.saveState()
		}
	}
	b.lossInRound = true
}

// inflightAtLoss is InflightAtLoss: how much was in flight when losses crossed the
// threshold, which may have been in the middle of a burst.
func inflightAtLoss(l *LossInfo) int {
	before := float64(max(l.TxInFlight-l.Bytes, 0))
	lost := float64(max(l.Lost-l.Bytes, 0))
	return int(before + max((bbrLossThresh*before-lost)/(1-bbrLossThresh), 0))
}

// handleTooHigh is HandleInflightTooHigh: a probe is answered once.
func (b *bbr) handleTooHigh(txInFlight int, appLimited bool) {
	b.prevTooHigh = true
	b.probeSample = false
	if !appLimited {
		b.inflightLong = max(txInFlight, int(bbrBeta*float64(b.targetInflight())))
	}
	if b.state == bbrUp {
		b.undoState = bbrUp
		b.startDown()
	}
}

// updateLatest is UpdateLatestDeliverySignals (section 5.5.10.3).
func (b *bbr) updateLatest(a *AckInfo) {
	s := &a.Sample
	b.bwLatest = max(b.bwLatest, s.Rate())
	b.inflightLatest = max(b.inflightLatest, s.Delivered)
	b.lossRoundStart = s.Delivered > 0 && s.PriorDelivered >= b.lossRoundEnd
	if b.lossRoundStart {
		b.lossRoundEnd = b.delivered
	}
}

// advanceLatest is AdvanceLatestDeliverySignals.
func (b *bbr) advanceLatest(s *RateSample) {
	if b.lossRoundStart {
		b.bwLatest, b.inflightLatest = s.Rate(), s.Delivered
	}
}

func (b *bbr) resetCongestion() {
	b.endLossRound()
	b.bwLatest, b.inflightLatest = 0, 0
}

// updateCongestion is UpdateCongestionSignals without UpdateMaxBw.
func (b *bbr) updateCongestion() {
	if !b.lossRoundStart {
		return
	}
	if b.lossInRound && !b.probing() && !b.tolerable() {
		// InitLowerBounds and LossLowerBounds
		if math.IsInf(b.bwShort, 1) {
			b.bwShort = b.maxBw
		}
		if b.inflightShort == math.MaxInt {
			b.inflightShort = b.cwnd
		}
		share := 1.0
		if b.markInRound {
			// A mark, unlike a loss, takes nothing from what was delivered.
			share = bbrECNShare
		}
		b.bwShort = max(share*b.bwLatest, bbrBeta*b.bwShort)
		b.inflightShort = max(int(share*float64(b.inflightLatest)), int(bbrBeta*float64(b.inflightShort)))
	}
	b.endLossRound()
}

// tolerable reports whether the round lost no more than is tolerated: see bbr.
func (b *bbr) tolerable() bool {
	sent := float64(b.lostInRound) + float64(b.delivered-b.lossRoundFrom)
	return !b.markInRound && !b.noSACK && float64(b.lostInRound) <= b.tolerated(sent)
}

func (b *bbr) endLossRound() {
	b.lossInRound, b.markInRound = false, false
	b.lostInRound, b.lossRoundFrom = 0, b.delivered
}

// resetShort is ResetShortTermModel.
func (b *bbr) resetShort() { b.bwShort, b.inflightShort = math.Inf(1), math.MaxInt }

// saveState is SaveStateUponLoss (section 5.5.11.1).
func (b *bbr) saveState() {
	b.saveCwnd()
	b.saved = true
	b.undoState = bbrNoState
	b.undoBwShort, b.undoInflightShort, b.undoInLong = b.bwShort, b.inflightShort, b.inflightLong
}

// OnLoss is OnEnterFastRecovery (section 5.6.4.4).
func (b *bbr) OnLoss(now clock.Time, inFlight int) {
	b.now = now
	if !b.saved {
		b.saveState()
	}
	b.recovering, b.fast = true, true
	b.recoveryFrom = b.delivered
}

// onMark takes a congestion mark for a loss (section 3.7): a round is answered in the
// short term, a probe in the long term, and Startup ends, as slow start does (RFC 3168,
// section 6.1.2). What a probe queued is being drained already when its marks arrive: for
// the rounds that a drain may take they ask for no second answer.
func (b *bbr) onMark(l *LossInfo) {
	if b.state != bbrDown && b.ackPhase != acksStopping || b.roundsSinceUp > bbrDrainRounds+1 {
		b.markInRound = true
	}
	switch {
	case b.state == bbrStartup && !b.fullBwReached:
		b.fullBwReached = true
		b.inflightLong = max(b.bdp(b.maxBw, 1), b.inflightLatest)
	case b.probeSample:
		b.handleTooHigh(int(bbrECNShare*float64(l.TxInFlight)), false)
	}
}

// OnTimeout is OnEnterRTO (section 5.6.4.4): one segment beside what is still on the
// way, and then as fast as acknowledgements allow.
func (b *bbr) OnTimeout(now clock.Time, inFlight int, first bool) {
	b.now = now
	if first && !b.saved {
		b.saveState()
	}
	b.recovering, b.fast = true, false
	b.cwnd = inFlight + b.mss
}

// OnRecovered ends an episode.
func (b *bbr) OnRecovered(now clock.Time) {
	b.recovering, b.fast, b.saved = false, false, false
	b.restoreCwnd()
}

// OnUndo is HandleSpuriousLossDetection (section 5.5.11.2).
func (b *bbr) OnUndo(now clock.Time) {
	b.now = now
	b.OnRecovered(now)
	b.endLossRound()
	b.resetFullBw()
	b.bwShort = max(b.bwShort, b.undoBwShort)
	b.inflightShort = max(b.inflightShort, b.undoInflightShort)
	b.inflightLong = max(b.inflightLong, b.undoInLong)
	switch {
	case b.undoState == bbrStartup && b.state != bbrStartup:
		b.fullBwReached = false
		if b.state != bbrProbeRTT {
			b.enterStartup()
		}
	case b.undoState == bbrUp && b.state != bbrUp && b.state != bbrProbeRTT:
		b.startRefill()
	}
	b.undoState = bbrNoState
}
