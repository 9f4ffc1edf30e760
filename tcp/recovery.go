package tcp

import "github.com/netduet/netduet/clock"

// recoveryState is the state of loss recovery, in Linux's names and numbers.
type recoveryState uint8

const (
	recoveryOpen     recoveryState = iota // nothing suspicious
	recoveryDisorder                      // duplicate ACKs or SACK blocks, not yet enough
	recoveryCWR                           // the window is being reduced, and nothing is lost
	recoveryFast                          // fast retransmit and fast recovery
	recoveryLoss                          // after a timeout
)

// repeatMode says what the next Output does about losses.
type repeatMode uint8

const (
	repeatNothing repeatMode = iota
	repeatLost               // what is marked lost leaves again, as the window allows
	repeatNew                // new data goes first (F-RTO); if there is none, what is lost
)

// renoPatience is with how many partial acknowledgements the retransmission timer begins
// anew in a fast recovery without SACK. RFC 6582, section 4, has all of them or the first
// one do so, Linux all: a few losses are repaired without a timeout, and of many not all,
// as slow start takes fewer round trips.
const renoPatience = 3

// maxReordering bounds the extent of reordering that is believed, in segments.
const maxReordering = 300

// reducing reports whether the window is on its way down to the threshold.
func (c *Conn) reducing() bool { return c.recovery == recoveryCWR || c.recovery == recoveryFast }

// recover runs the loss recovery that an acknowledgement may begin, further or end:
// RFC 8985 with SACK, RFC 6582 without.
func (c *Conn) recover(now clock.Time, seg *Segment) {
	n := &c.news
	if n.ece {
		c.undo.restore = false // the network is congested, however little was lost
	}
	if n.reneged && n.advanced {
		// The next segment expected was reported to have arrived, and is not acknowledged:
		// it may have been given up (RFC 2018, section 8). A while later it is.
		c.setTimer(timerRetransmit, now.Add(max(c.rtt.srtt/2, renegeDelay)))
		n.setTimer = false
		return
	}
	if c.recovery == recoveryOpen {
		c.undo.stamped = false
	} else if !c.sndUna.Less(c.highSeq) {
		switch c.recovery {
		case recoveryCWR:
			// Until something that was sent behind the reduction is acknowledged, so that the
			// peer has seen CWR.
			if c.sndUna != c.highSeq {
				c.endReduction(now)
				c.recovery = recoveryOpen
			}
		case recoveryFast:
			if !c.useSACK {
				c.sackedOut = 0
			}
			if c.tryUndoRecovery(now, seg) {
				return
			}
			c.endReduction(now)
		}
	}
	switch c.recovery {
	case recoveryFast:
		if !c.useSACK && n.advanced {
			// Each partial acknowledgement tells of one hole, and a round trip goes by for it.
			// When many are lost, the timer ends that, and slow start repairs them (RFC 6582,
			// section 4, the impatient variant).
			n.setTimer = n.setTimer && c.partials < renoPatience
			c.partials += b2u(c.partials < renoPatience)
		}
		if !n.advanced {
			if !c.useSACK && n.dup {
				c.addDupAck()
			}
		} else if c.undo.armed && c.delayed(seg) {
			// A partial acknowledgement of the original: the hole was only late.
			c.noteReordering(n.una)
			if c.retransOut > 0 {
				return // others may be real; nothing more is taken for lost now
			}
			if !c.everRepeated() {
				c.undo.stamped = false
			}
			c.undoReduction(now, true)
			c.keepOpen()
		}
		if c.tryUndoDSACK(now) {
			c.toOpen(now)
		}
		c.detectLoss(now)
		if c.recovery != recoveryFast {
			if c.lostOut == 0 {
				return
			}
			c.enterFast(now)
		}
	case recoveryLoss:
		c.processLoss(now, seg)
		if c.recovery != recoveryLoss {
			c.endTimeouts(now)
			c.cc.OnRecovered(now)
		}
		c.detectLoss(now)
		if c.recovery != recoveryOpen && !n.lostAgain {
			return
		}
		c.outsideRecovery(now)
	default:
		c.outsideRecovery(now)
		return
	}
	c.repeat = repeatLost
}

// outsideRecovery looks whether recovery is to begin.
func (c *Conn) outsideRecovery(now clock.Time) {
	n := &c.news
	if !c.useSACK {
		if n.advanced {
			c.sackedOut = 0
		}
		if n.dup {
			c.addDupAck()
		}
	}
	if c.recovery <= recoveryDisorder {
		c.tryUndoDSACK(now)
	}
	c.detectLoss(now)
	if c.lostOut == 0 {
		c.toOpen(now)
		return
	}
	if !c.probeFailed() {
		c.enterFast(now)
	}
	c.repeat = repeatLost
}

// detectLoss marks what is lost.
func (c *Conn) detectLoss(now clock.Time) {
	if c.ranges.count == 0 {
		return
	}
	if c.useSACK {
		if c.rackDetect(now) {
			c.news.setTimer = false
		}
		return
	}
	// RFC 5681, section 3.2, and RFC 6582, section 3.2, step 3: enough duplicate ACKs,
	// and then each partial acknowledgement.
	if c.recovery < recoveryFast && c.sackedOut >= int(c.reordering) || c.recovery == recoveryFast && c.news.advanced {
		c.markHeadLost(now)
	}
}

// toOpen settles the state when nothing is lost.
func (c *Conn) toOpen(now clock.Time) {
	if !c.everRepeated() {
		c.undo.stamped = false
	}
	if c.news.ece {
		c.enterCWR(now)
	}
	if c.recovery != recoveryCWR {
		c.keepOpen()
	}
}

func (c *Conn) keepOpen() {
	state := recoveryOpen
	if c.sackedOut+c.lostOut > 0 || c.everRepeated() {
		state = recoveryDisorder
	}
	if c.recovery != state {
		c.recovery = state
		c.highSeq = c.sndNxt
	}
}

// everRepeated reports whether a retransmission is in flight, or the first segment
// outstanding was sent again.
func (c *Conn) everRepeated() bool {
	return c.retransOut > 0 || c.ranges.count > 0 && c.ranges.at(0).flags&rangeEver != 0
}

// enterFast begins fast recovery (RFC 5681, section 3.2; RFC 6675, section 5).
func (c *Conn) enterFast(now clock.Time) {
	c.partials = 0
	if !c.everRepeated() {
		c.undo.stamped = false
	}
	c.stats.fastRecoveries++
	c.undoBegin()
	c.undo.restore = false
	if !c.reducing() {
		c.undo.restore = !c.news.ece
		c.beginReduction(now)
	}
	c.recovery = recoveryFast
}

// enterCWR begins a reduction that has nothing to repair: ECN (RFC 3168, section
// 6.1.2).
func (c *Conn) enterCWR(now clock.Time) {
	c.undo.restore = false
	if c.recovery < recoveryCWR {
		c.undo.armed = false
		c.cc.OnLost(LossInfo{Now: now, Marked: true, TxInFlight: c.inFlight() * c.payloadMSS(), TotalDelivered: c.delivered})
		c.beginReduction(now)
		c.recovery = recoveryCWR
	}
}

// beginReduction asks the controller for the threshold.
func (c *Conn) beginReduction(now clock.Time) {
	c.highSeq = c.sndNxt
	c.tlp.active = false
	c.prrBegin()
	c.cc.OnLoss(now, c.inFlight()*c.payloadMSS())
	c.ecnReduced()
}

// endReduction leaves the window at the threshold, unless the reduction was undone.
func (c *Conn) endReduction(now clock.Time) {
	if c.cc.OwnRecovery() {
		c.cc.OnRecovered(now)
		return
	}
	if t := c.cc.Threshold(); t < infiniteThreshold && (c.recovery == recoveryCWR || c.undo.armed) {
		c.cc.SetWindow(t, t)
		c.usage.stamp = now
	}
	c.cc.OnRecovered(now)
}

// processLoss is recovery after a timeout, with F-RTO (RFC 5682, sections 2.1 and
// 3.1).
func (c *Conn) processLoss(now clock.Time, seg *Segment) {
	n := &c.news
	recovered := !c.sndUna.Less(c.highSeq)
	if n.advanced && c.tryUndoLoss(now, seg, false) {
		return
	}
	if c.frto {
		if n.original && c.tryUndoLoss(now, seg, true) {
			return // step 3.b: something arrived that was sent before the timeout, and once
		}
		if c.highSeq.Less(c.sndNxt) {
			if n.sacked || n.dup {
				c.frto = false // step 3.a: the loss was real
			}
		} else if n.advanced && !recovered {
			c.highSeq = c.sndNxt
			if c.unsent() > 0 && c.sndNxt.Less(c.sndUna.Add(c.sndWnd)) {
				c.repeat = repeatNew // step 2.b
				return
			}
			c.frto = false
		}
	}
	if recovered {
		c.tryUndoRecovery(now, seg)
		return
	}
	if !c.useSACK {
		switch {
		case c.highSeq.Less(c.sndNxt) && n.dup:
			c.addDupAck()
		case n.advanced:
			c.sackedOut = 0
		}
	}
	c.repeat = repeatLost
}
