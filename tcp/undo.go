package tcp

import "github.com/netduet/netduet/clock"

// undoState is what it takes to find that an episode of loss recovery was not
// called for, and to take its reduction back.
type undoState struct {
	armed    bool   // the window was reduced, and nothing proves yet that it had to be
	una      Seq    // SND.UNA at that time
	repeated int    // bytes sent again in the episode that no D-SACK has named
	sent     bool   // something was sent again
	stamp    uint32 // timestamp of the first of it (RFC 3522, section 3.2)
}

func (c *Conn) undoBegin() { c.undo = undoState{armed: true, una: c.sndUna} }

// undoSent counts n bytes that are sent again.
func (c *Conn) undoSent(now clock.Time, n int) {
	if !c.undo.sent {
		c.undo.sent, c.undo.stamp = true, c.tsNow(now)
	}
	c.undo.repeated += n
}

// allInVain reports whether the peer has got everything twice that was sent again
// (the idea of RFC 3708).
func (c *Conn) allInVain() bool { return c.undo.armed && c.undo.sent && c.undo.repeated == 0 }

// originalAcked reports whether what moved SND.UNA was sent before the first
// retransmission, as its timestamp tells (RFC 3522, section 3.2).
func (c *Conn) originalAcked(seg *Segment, acked int) bool {
	return c.undo.armed && c.undo.sent && acked > 0 && c.useTS && seg.Options.HasTS &&
		int32(seg.Options.TSEcr-c.undo.stamp) < 0
}

// tryUndo takes a false reduction back (RFC 4015). In fast recovery the timestamp
// of a partial acknowledgement proves it only while no retransmission is in
// flight, as another hole may have been a real one.
func (c *Conn) tryUndo(now clock.Time, seg *Segment, acked int) {
	if !c.undo.armed {
		return
	}
	done := !c.sndUna.Less(c.highSeq)
	switch {
	case c.allInVain():
	case c.recovery == recoveryLoss && c.originalAcked(seg, acked):
	case c.recovery == recoveryFast && c.originalAcked(seg, acked) && (done || c.retransOut == 0):
	case c.recovery == recoveryLoss && c.frtoInput(acked):
		c.stats.spuriousTimeouts++
	default:
		return
	}
	c.undoReduction(now)
}

func (c *Conn) undoReduction(now clock.Time) {
	for i := range c.ranges.count {
		r := c.ranges.at(i)
		r.flags &^= rangeLost | rangeRetrans
	}
	c.lostOut, c.retransOut = 0, 0
	c.undo.armed, c.frto = false, frtoOff
	c.recovery = recoveryOpen
	c.dupAcks, c.renoSacked = 0, 0
	c.backoff, c.tries, c.stalledSince = 0, 0, 0
	c.stats.undos++
	c.rack.reordering = true
	c.cc.OnUndo(now)
	if c.ranges.count > 0 {
		c.rtxAt = c.retransmitAt(now)
	}
}

// frtoState is the progress of F-RTO (RFC 5682, sections 2.1 and 3.1).
type frtoState uint8

const (
	frtoOff   frtoState = iota
	frtoFirst           // the timeout's retransmission is under way
	frtoSend            // it was acknowledged: new data shall leave in place of retransmissions
	frtoWait            // new data is under way: what is acknowledged next decides
)

// frtoInput judges an acknowledgement after a timeout (with SACK only): it was spurious if something
// arrived that was sent before it and never again.
func (c *Conn) frtoInput(acked int) bool {
	switch c.frto {
	case frtoOff:
		return false
	case frtoFirst:
		if c.news.original {
			return true // step 3.b
		}
		if acked > 0 && c.sndUna.Less(c.highSeq) {
			c.frto = frtoSend // step 2.b
		} else {
			c.frto = frtoOff // step 2.a
		}
	case frtoWait:
		if c.news.original {
			return true // step 3.b
		}
		c.frto = frtoOff // step 3.a
	}
	return false
}

// frtoOutput sends the new data of step 2.b, at most two segments; if there is none
// that may leave, recovery goes on as usual. It reports whether retransmissions
// have to wait.
func (c *Conn) frtoOutput(now clock.Time, b *Batch) bool {
	if c.recovery != recoveryLoss {
		c.frto = frtoOff
	}
	if c.frto == frtoSend {
		next := c.sndNxt
		c.outputNew(now, b)
		c.frto = frtoOff
		if c.sndNxt != next {
			c.frto = frtoWait
		}
	}
	return c.frto == frtoWait
}
