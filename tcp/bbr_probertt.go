package tcp

// ProbeRTT (draft-ietf-ccwg-bbr-06, section 5.3.4): once in five seconds half of what
// fills the path is in flight, for 200 ms and for a round at least, unless the queue was
// empty meanwhile, so that all flows together see the path without its queue.

// checkProbeRTT is CheckProbeRTT (section 5.3.4.3).
func (b *bbr) checkProbeRTT(a *AckInfo) {
	if b.state != bbrProbeRTT && b.probeRTTExpired && !b.idleRestart {
		b.saveCwnd()
		b.state, b.pacingGain, b.cwndGain = bbrProbeRTT, 1, bbrProbeRTTCwndGain
		b.probeRTTDone, b.ackPhase = 0, acksStopping
		b.startRound()
	}
	if b.state == bbrProbeRTT {
		b.handleProbeRTT(a)
	}
	if a.Delivered > 0 {
		b.idleRestart = false
	}
}

func (b *bbr) handleProbeRTT(a *AckInfo) {
	// MarkConnectionAppLimited: what is sent from here on, until what is in flight has
	// arrived, shows a rate that we have chosen.
	if b.delivered > b.heldUntil {
		b.heldFrom = b.delivered
	}
	b.heldUntil = b.delivered + uint64(a.InFlightAfter)
	switch {
	case b.probeRTTDone == 0 && a.InFlightAfter <= b.probeRTTCwnd():
		b.probeRTTDone = a.Now.Add(bbrProbeRTTDuration)
		b.probeRTTRound = false
		b.startRound()
	case b.probeRTTDone != 0:
		if b.roundStart {
			b.probeRTTRound = true
		}
		if b.probeRTTRound {
			b.checkProbeRTTDone()
		}
	}
}

// held reports whether what was sent after so many bytes were delivered was held back by
// ProbeRTT.
func (b *bbr) held(delivered uint64) bool {
	return delivered >= b.heldFrom && delivered <= b.heldUntil
}

// checkProbeRTTDone is CheckProbeRTTDone and ExitProbeRTT (section 5.3.4.4).
func (b *bbr) checkProbeRTTDone() {
	if b.probeRTTDone == 0 || !b.now.After(b.probeRTTDone) {
		return
	}
	b.probeRTTMinAt = b.now // the next is due an interval from now
	b.restoreCwnd()
	b.resetShort()
	if b.fullBwReached {
		b.startDown()
		b.startCruise()
	} else {
		b.enterStartup()
	}
}

func (b *bbr) probeRTTCwnd() int {
	return max(b.bdp(b.bw, bbrProbeRTTCwndGain), bbrMinPipe*b.mss)
}
