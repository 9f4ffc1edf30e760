package tcp

import "github.com/netduet/netduet/clock"

// undoState is what it takes to find that an episode of loss recovery was not
// called for, and to take its reduction back.
type undoState struct {
	armed    bool   // the window was reduced, and nothing proves yet that it had to be
	restore  bool   // the controller can take the reduction back
	una      Seq    // SND.UNA at that time
	repeated int    // segments sent again that no D-SACK has named; -1 before the first
	stamped  bool   // something was sent again …
	stamp    uint32 // … the first time at this timestamp (RFC 3522, section 3.2)
}

// undoBegin begins an episode. Retransmissions of an earlier one that are still in
// flight, a probe among them, can be reported in this one.
func (c *Conn) undoBegin() {
	u := &c.undo
	u.armed, u.una, u.repeated = true, c.sndUna, c.retransOut
	if c.tlp.active && c.tlp.retrans {
		u.repeated++
	}
	if u.repeated == 0 {
		u.repeated = -1
	}
}

// undoSent counts segments that are sent again.
func (c *Conn) undoSent(now clock.Time, segs int) {
	u := &c.undo
	if !u.stamped {
		u.stamped, u.stamp = true, c.tsNow(now)
	}
	u.repeated = max(u.repeated, 0) + segs
}

// delayed reports whether what moved SND.UNA was sent before the first
// retransmission, as its timestamp tells (RFC 3522, section 3.2), or because nothing
// was sent again yet.
func (c *Conn) delayed(seg *Segment) bool {
	if c.undo.stamped {
		return c.echoes(seg) && int32(seg.Options.TSEcr-c.undo.stamp) < 0
	}
	// Without SACK the mark is taken away while the state is held; see tryUndoRecovery.
	return c.useSACK || c.sndUna.Less(c.highSeq)
}

// mayUndo reports whether the episode was in vain: the peer has got everything twice
// that was sent again (RFC 3708), or the original arrived.
func (c *Conn) mayUndo(seg *Segment) bool {
	return c.undo.armed && (c.undo.repeated == 0 || c.delayed(seg))
}

// tryUndoRecovery ends recovery when all is acknowledged that was outstanding when
// it began. It reports whether the state is to be held: without SACK, duplicates of
// the last retransmission could begin another recovery, so RFC 6582, section 4, has
// it end only when more than the recovery point is acknowledged.
func (c *Conn) tryUndoRecovery(now clock.Time, seg *Segment) bool {
	if c.mayUndo(seg) {
		c.undoReduction(now, false)
	} else {
		c.rackRecovered()
	}
	if c.holdsState() {
		return true
	}
	c.recovery = recoveryOpen
	return false
}

func (c *Conn) holdsState() bool {
	if c.useSACK || c.sndUna != c.highSeq {
		return false
	}
	if !c.everRepeated() {
		c.undo.stamped = false
	}
	return true
}

// tryUndoDSACK takes the reduction back when everything that was sent again arrived
// twice.
func (c *Conn) tryUndoDSACK(now clock.Time) bool {
	if !c.undo.armed || c.undo.repeated != 0 {
		return false
	}
	c.rack.persist = min(rackPersist, c.rack.persist+1)
	c.undoReduction(now, false)
	return true
}

// tryUndoLoss takes a timeout back: proved by what arrived (F-RTO), by a timestamp
// or by D-SACK.
func (c *Conn) tryUndoLoss(now clock.Time, seg *Segment, frto bool) bool {
	if !frto && !c.mayUndo(seg) {
		return false
	}
	c.undoReduction(now, true)
	if frto {
		c.stats.spuriousTimeouts++
	}
	c.tries = 0
	if c.holdsState() {
		return true
	}
	if frto || c.useSACK {
		c.recovery = recoveryOpen
	}
	return true
}

// undoReduction brings the window back (RFC 4015); unmark: nothing is taken for lost
// any more.
func (c *Conn) undoReduction(now clock.Time, unmark bool) {
	if unmark {
		for i := range c.ranges.count {
			c.ranges.at(i).flags &^= rangeLost
		}
		c.lostOut = 0
		c.retransHint = c.sndNxt
		// What RACK had settled is not judged again, as in Linux: its ACK is on its way, and
		// if that is another mistake, the timers find it.
	}
	if c.undo.restore {
		c.cc.OnUndo(now)
		c.ecn.reduced = false
	}
	c.usage.stamp = now
	c.undo.armed = false
	c.rack.advanced = true
	c.stats.undos++
}
