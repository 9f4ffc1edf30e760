package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// Deadline returns when Timeout wants to be called, clock.Never if no timer runs.
// Being late is allowed: timers then act on the time that Timeout is told.
func (c *Conn) Deadline() clock.Time {
	if c.state == 0 {
		return clock.Never
	}
	return min(c.rtxAt, c.rackAt, c.tlpAt, c.probeAt, c.ackAt, c.keepAt, c.finAt, c.pace.at)
}

// Timeout runs the timers that have expired. Output follows, as after any input.
func (c *Conn) Timeout(now clock.Time) {
	if !now.Before(c.pace.at) {
		c.pace.at = clock.Never // the Output that follows sends
	}
	if !now.Before(c.ackAt) {
		c.delayedACK(now)
	}
	// What is cheaper than a timeout goes before it, so that being called late costs no
	// more than the delay.
	if !now.Before(c.rackAt) {
		c.rackTimeout(now)
	}
	if !now.Before(c.tlpAt) {
		c.tlpTimeout(now)
	}
	if !now.Before(c.rtxAt) {
		c.retransmissionTimeout(now)
	}
	if !now.Before(c.probeAt) {
		c.probeTimeout(now)
	}
	if !now.Before(c.keepAt) {
		c.keepAliveTimeout(now)
	}
	if !now.Before(c.finAt) {
		// FIN-WAIT-2 with nobody to read: the peer had its time (Linux's tcp_fin_timeout).
		c.die(nil)
	}
}

// retransmissionTimeout is RFC 6298, rules 5.4 to 5.7, with the losses marked as
// RFC 6675, section 5.1, wants.
func (c *Conn) retransmissionTimeout(now clock.Time) {
	c.rtxAt = clock.Never
	if c.sndBuf.pinned {
		// The device has not even taken what we would repeat.
		c.rtxAt = now.Add(c.rtt.timeout(c.backoff))
		return
	}
	if c.ranges.count == 0 {
		return
	}
	c.stats.timeouts++
	if c.state == StateSynSent || c.state == StateSynReceived {
		limit := int(c.synRetries)
		if c.state == StateSynSent {
			limit += int(c.synLinear)
		}
		if int(c.tries) >= limit || c.overdue(now) {
			c.die(c.timeoutError())
			return
		}
		c.noteStalled(now)
		c.tries += b2u(c.tries < 255)
		if (c.state != StateSynSent || c.tries > c.synLinear) && c.backoff < 16 {
			c.backoff++
		}
		c.synOwed = true
		c.rtxAt = c.retransmitAt(now) // Output sets it again when the SYN leaves
		return
	}
	if c.overdue(now) {
		// Without a reset, as Linux has it: nobody seems to be there.
		c.die(c.timeoutError())
		return
	}
	c.noteStalled(now)
	// A timeout within an episode is no second reason to reduce the threshold.
	first := c.recovery < recoveryFast || c.recovery == recoveryLoss && c.tries == 0
	c.tries += b2u(c.tries < 255)
	if c.backoff < 16 {
		c.backoff++
	}
	c.cc.OnTimeout(now, c.outstanding(), first)
	if first {
		c.undoBegin()
	}
	c.frto = frtoOff
	if first && c.useSACK && c.ranges.at(0).flags&rangeSacked == 0 {
		c.frto = frtoFirst
	}
	c.enterLoss(now)
	c.rtxAt = c.retransmitAt(now)
}

// retransmitAt is when the retransmission timer expires that is started now: not
// later than the user timeout, so that the latter is met exactly.
func (c *Conn) retransmitAt(now clock.Time) clock.Time {
	at := now.Add(c.rtt.timeout(c.backoff))
	if c.userTimeout > 0 && c.stalledSince != 0 && c.tries > 0 {
		at = min(at, max(c.stalledSince.Add(time.Duration(c.userTimeout)), now.Add(time.Millisecond)))
	}
	return at
}

// enterLoss takes everything outstanding for lost, except what the peer reported
// and what was sent too recently to be missed (RFC 8985, section 6.3,
// RACK_mark_losses_on_RTO).
func (c *Conn) enterLoss(now clock.Time) {
	width := c.rackWidth()
	if c.ranges.at(0).flags&rangeSacked != 0 {
		// The peer reported it, and still does not acknowledge it: it has given the data
		// up again (RFC 2018, section 8). No report of it can be trusted any more.
		for i := range c.ranges.count {
			if r := c.ranges.at(i); r.flags&rangeSacked != 0 {
				r.flags &^= rangeSacked
				c.sackedOut -= r.len()
			}
		}
		c.stats.reneged++
	}
	for i := range c.ranges.count {
		r := c.ranges.at(i)
		recent := c.useSACK && i > 0 && now.Before(r.sentAt.Add(c.rack.rtt+width))
		if r.flags&rangeSacked == 0 && !recent {
			c.markLost(r)
		}
	}
	c.recovery, c.guarded = recoveryLoss, true
	c.rackAt, c.tlpAt, c.tlp.active, c.tlpOwed = clock.Never, clock.Never, false, false
	c.highSeq = c.sndNxt
	c.retransHint = c.sndUna
	c.dupAcks, c.renoSacked = 0, 0
}

// noteStalled notes when the first repetition without progress left: what the user
// timeout and R2 are counted from, as in Linux.
func (c *Conn) noteStalled(now clock.Time) {
	if c.stalledSince == 0 {
		c.stalledSince = now
	}
}

// overdue reports whether R2 or the user timeout is reached (RFC 9293, section
// 3.8.3).
func (c *Conn) overdue(now clock.Time) bool {
	if c.stalledSince == 0 || c.tries == 0 {
		return false // nothing was repeated yet
	}
	if c.userTimeout > 0 {
		return int64(now.Sub(c.stalledSince)) >= c.userTimeout
	}
	if c.state == StateSynSent || c.state == StateSynReceived {
		return now.Sub(c.stalledSince) >= giveUpAfter(int(c.synRetries), initialRTO)
	}
	if c.sndWnd == 0 && now.Sub(c.lastRecv) < 2*maxRTO && !c.orphan {
		return false // the peer is there and has closed its window over what we sent
	}
	limit := c.retries
	if c.orphan {
		limit = c.orphanRetries
	}
	return now.Sub(c.stalledSince) >= giveUpAfter(int(limit), minRTOVar)
}

// timeoutError is what the application sees: what ICMP reported, if it did.
func (c *Conn) timeoutError() error {
	if c.soft != nil {
		return c.soft
	}
	return ErrTimeout
}

// probeTimeout probes a window that is closed, or too small to be worth a segment
// (RFC 9293, section 3.8.6.1).
func (c *Conn) probeTimeout(now clock.Time) {
	c.probeAt = clock.Never
	if c.ranges.count > 0 || c.unsent() == 0 && (!c.finQueued || c.finSent) {
		c.probesSince = 0
		return
	}
	// A live peer may keep its window closed for ever as long as it answers (RFC 9293,
	// section 3.8.6.1), but not beyond the user timeout, and for a connection that the
	// application has given up only until the backoff is at its end.
	if c.probesSince == 0 {
		c.probesSince = now
	}
	expired := c.userTimeout > 0 && int64(now.Sub(c.probesSince)) >= c.userTimeout
	limit := c.retries
	if c.orphan {
		limit = c.orphanRetries
		expired = expired || c.rtt.timeout(c.backoff) >= maxRTO
	}
	if c.probes >= limit || expired {
		c.die(c.timeoutError())
		return
	}
	c.probes++
	if c.backoff < 16 {
		c.backoff++
	}
	if window := c.sndUna.Add(c.sndWnd).Sub(c.sndNxt); window > 0 {
		c.forced = true
	} else {
		c.probeOwed = true
	}
	c.probeAt = c.probeAfter(now)
}

// probeAfter is when the probe timer expires that is started now; not later than
// the user timeout.
func (c *Conn) probeAfter(now clock.Time) clock.Time {
	at := now.Add(c.rtt.timeout(c.backoff))
	if c.userTimeout > 0 && c.probesSince != 0 {
		at = min(at, max(c.probesSince.Add(time.Duration(c.userTimeout)), now.Add(time.Millisecond)))
	}
	return at
}

// armKeepAlive starts the keep-alive timer if it is wanted.
func (c *Conn) armKeepAlive(now clock.Time) {
	c.keepAt = clock.Never
	if c.keepAlive.Enable && c.state.synchronized() && c.state != StateTimeWait {
		c.keepAt = now.Add(c.keepAlive.Idle)
		if c.lastRecv != 0 {
			c.keepAt = max(c.lastRecv.Add(c.keepAlive.Idle), now.Add(time.Millisecond))
		}
	}
}

// keepAliveTimeout is RFC 9293, section 3.8.4.
func (c *Conn) keepAliveTimeout(now clock.Time) {
	if c.ranges.count > 0 || c.unsent() > 0 {
		// Data is under way: its own timers find a dead peer.
		c.keepAt = now.Add(c.keepAlive.Idle)
		return
	}
	if idle := now.Sub(c.lastRecv); idle < c.keepAlive.Idle {
		c.keepAt = now.Add(c.keepAlive.Idle - idle)
		return
	}
	// The user timeout takes the place of the count (RFC 5482, section 4.2, has them
	// agree somehow).
	if c.userTimeout == 0 && c.kaProbes >= c.keepAlive.Count ||
		c.userTimeout > 0 && c.kaProbes > 0 && int64(now.Sub(c.lastRecv)) >= c.userTimeout {
		c.reset(c.timeoutError())
		return
	}
	c.kaProbes++
	c.probeOwed = true
	c.keepAt = now.Add(c.keepAlive.Interval)
}
