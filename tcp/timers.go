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
	c.deferred = false
	switch {
	case !now.Before(c.rackAt):
		c.rackTimeout(now)
	case !now.Before(c.tlpAt):
		c.tlpTimeout(now)
	case !now.Before(c.rtxAt):
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
	if c.fastPassive() {
		c.repeatSYNACK(now)
		return
	}
	if c.ranges.count == 0 {
		return
	}
	c.stats.timeouts++
	c.suspectFastOpen(now)
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
	c.suspectBlackHole(now)
	c.enterLoss(now)
	if c.tries == 0 {
		c.stats.timeoutEpisodes++
		c.lossSince = now
	}
	c.tries += b2u(c.tries < 255)
	if c.backoff < 16 {
		c.backoff++
	}
	c.repeat = repeatLost
	c.setTimer(timerRetransmit, c.retransmitAt(now))
}

// timerKind names the timers of what is in flight. One of them runs at a time.
type timerKind uint8

const (
	timerNone       timerKind = iota
	timerRetransmit           // RFC 6298
	timerProbe                // RFC 8985, section 7
	timerReordering           // RFC 8985, section 6.3
)

func (c *Conn) setTimer(kind timerKind, at clock.Time) {
	if c.state == StateSynReceived {
		return // it is that of the SYN-ACK, to which all data is only a supplement
	}
	c.rtxAt, c.tlpAt, c.rackAt = clock.Never, clock.Never, clock.Never
	switch kind {
	case timerRetransmit:
		c.rtxAt = at
	case timerProbe:
		c.tlpAt = at
	case timerReordering:
		c.rackAt = at
	}
}

// armRetransmission starts a timer anew for what is in flight (RFC 6298, rule 5.3):
// that of the tail loss probe, which comes first, or else the retransmission timer.
func (c *Conn) armRetransmission(now clock.Time) {
	if c.armTLP(now, c.retransmitAt(now)) {
		return
	}
	c.rearmTimeout(now)
}

// rearmTimeout starts the retransmission timer. In place of a probe or the
// reordering timer, it is counted from when the first segment was sent.
func (c *Conn) rearmTimeout(now clock.Time) {
	if c.ranges.count == 0 {
		c.setTimer(timerNone, 0)
		return
	}
	if c.tlpAt != clock.Never || c.rackAt != clock.Never {
		c.noProbe(now)
		return
	}
	c.setTimer(timerRetransmit, c.retransmitAt(now))
}

// headTimeout is when the first segment outstanding will have waited for a timeout.
func (c *Conn) headTimeout() clock.Time {
	return c.ranges.at(0).sentAt.Add(c.rtt.timeout(c.backoff))
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
// RACK_mark_losses_on_RTO), and begins anew with one segment.
func (c *Conn) enterLoss(now clock.Time) {
	c.news = ackNews{una: c.sndUna}
	reneged := c.ranges.at(0).flags&rangeSacked != 0
	if reneged {
		// The peer reported it, and still does not acknowledge it: it has given the data
		// up again (RFC 2018, section 8). No report of it can be trusted any more.
		c.stats.reneged++
	}
	if reneged || !c.useSACK {
		c.sackedOut = 0
	}
	c.retransHint = c.sndUna
	for i := range c.ranges.count {
		r := c.ranges.at(i)
		if reneged {
			r.flags &^= rangeSacked
		}
		if c.useSACK && !reneged && i > 0 && now.Before(r.sentAt.Add(c.rack.rtt)) {
			continue
		}
		c.markLost(now, r)
	}
	if r := c.ranges.at(0); r.flags&(rangeLost|rangeRetrans) == rangeLost|rangeRetrans {
		// Sent again in an episode that was taken back: that is what has timed out.
		r.flags &^= rangeRetrans
		c.retransOut -= int(r.segs)
	}
	// A timeout within an episode is no second reason to reduce the threshold.
	first := c.recovery <= recoveryDisorder || !c.sndUna.Less(c.highSeq) || c.recovery == recoveryLoss && c.tries == 0
	fresh := c.recovery < recoveryFast
	if c.recovery <= recoveryDisorder && c.sackedOut >= int(c.initialReordering) {
		// So many reports, and recovery did not begin: reordering was over-estimated.
		c.reordering = min(c.reordering, c.initialReordering)
	}
	if first {
		c.undoBegin()
		c.undo.restore = true
	}
	c.cc.OnTimeout(now, c.inFlight()*c.payloadMSS(), first)
	c.usage.stamp = now
	c.tlp.active, c.tlpOwed, c.partials = false, false, 0
	c.frto = !c.noFRTO && (fresh || c.tries > 0)
	c.recovery = recoveryLoss
	c.highSeq = c.sndNxt
	c.ecnReduced()
}

// endTimeouts notes how long an episode of timeouts took.
func (c *Conn) endTimeouts(now clock.Time) {
	if c.lossSince != 0 {
		c.stats.timeoutTime += now.Sub(c.lossSince)
		c.lossSince = 0
	}
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
	if c.sndWnd == 0 && !c.orphan && c.state.synchronized() {
		// The peer has closed its window over what we sent, and is there as long as it says
		// anything. The user timeout counts from when that was sent.
		since, most := c.stalledSince, 2*c.rtt.longest()
		if since == 0 {
			since = c.ranges.at(0).sentAt
		}
		if c.userTimeout > 0 {
			return int64(now.Sub(since)) >= c.userTimeout
		}
		return now.Sub(c.lastRecv) >= most && now.Sub(since) >= most
	}
	if c.stalledSince == 0 || c.tries == 0 {
		return false // nothing was repeated yet
	}
	if c.userTimeout > 0 {
		return int64(now.Sub(c.stalledSince)) >= c.userTimeout
	}
	if c.state == StateSynSent || c.state == StateSynReceived {
		return now.Sub(c.stalledSince) >= giveUpAfter(int(c.synRetries), initialRTO, c.rtt.longest())
	}
	limit := c.retries
	if c.orphan {
		limit = c.orphanRetries
	}
	return now.Sub(c.stalledSince) >= giveUpAfter(int(limit), minRTOVar, c.rtt.longest())
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
		expired = expired || c.probeInterval() >= c.rtt.longest()
	}
	if c.probes >= limit || expired {
		c.die(c.timeoutError())
		return
	}
	c.probes++
	if c.probeBackoff < 16 {
		c.probeBackoff++
	}
	if window := c.sndUna.Add(c.sndWnd).Sub(c.sndNxt); window > 0 {
		c.forced = true
	} else {
		c.probeOwed = true
	}
	c.probeAt = c.probeAfter(now)
}

// probeInterval is for how long the next probe waits: a retransmission timeout, and twice
// as long after each (RFC 9293, section 3.8.6.1).
func (c *Conn) probeInterval() time.Duration { return c.rtt.timeout(c.backoff + c.probeBackoff) }

// probeAfter is when the probe timer expires that is started now; not later than
// the user timeout.
func (c *Conn) probeAfter(now clock.Time) clock.Time {
	at := now.Add(c.probeInterval())
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
