package tcp

// Startup and Drain (draft-ietf-ccwg-bbr-06, sections 5.3.1 and 5.3.2), and the
// estimator that tells when a path is full, which ProbeBW_UP uses too.

func (b *bbr) enterStartup() {
	b.state, b.pacingGain, b.cwndGain = bbrStartup, bbrStartupPacingGain, bbrCwndGain
}

func (b *bbr) resetFullBw() { b.fullBw, b.fullBwRounds, b.fullBwNow = 0, 0, false }

// checkFullBw is CheckFullBWReached (section 5.3.1.2).
func (b *bbr) checkFullBw(s *RateSample) {
	if b.fullBwNow || !b.roundStart || s.AppLimited {
		return
	}
	if rate := s.Rate(); rate >= b.fullBw*bbrFullBwThresh {
		b.resetFullBw()
		b.fullBw = rate
		return
	}
	b.fullBwRounds++
	b.fullBwNow = b.fullBwRounds >= bbrFullBwCount
	if b.fullBwNow {
		b.fullBwReached = true
	}
}

// checkStartupDone is CheckStartupDone (section 5.3.1.1).
func (b *bbr) checkStartupDone(a *AckInfo) {
	if b.state == bbrStartup && !b.fullBwReached && b.startupLoss(a) {
		b.fullBwReached = true
		b.undoState = bbrStartup
		b.inflightLong = max(b.bdp(b.maxBw, 1), b.inflightLatest)
	}
	if b.lossRoundStart {
		b.lossEvents = 0
	}
	if b.state == bbrStartup && b.fullBwReached {
		b.state, b.pacingGain, b.cwndGain = bbrDrain, bbrDrainPacingGain, bbrCwndGain
		b.drainFrom = b.rounds
	}
}

// startupLoss is CheckStartupHighLoss (section 5.3.1.3): a whole round of fast recovery
// lost too much, in many places; or without SACK, which tells of one loss in a round,
// anything at all was lost in fast recovery.
func (b *bbr) startupLoss(a *AckInfo) bool {
	if !b.fast {
		return false
	}
	if b.noSACK {
		return b.lossEvents > 0
	}
	return b.lossRoundStart && a.Sample.PriorDelivered >= b.recoveryFrom &&
		b.lossEvents >= bbrStartupLossEvents && b.tooHigh(a.Sample.Lost, a.Sample.TxInFlight)
}

// checkDrainDone is CheckDrainDone (section 5.3.2).
func (b *bbr) checkDrainDone(a *AckInfo) {
	if b.state == bbrDrain && (a.InFlightAfter <= b.inflight(b.bw, 1) || b.rounds > b.drainFrom+bbrDrainRounds) {
		b.startDown()
	}
}
