package tcp

import "github.com/netduet/netduet/clock"

// windowUsage remembers how much of the congestion window the last round trip used
// (RFC 7661 gives the reasons; the rules are Linux's): a window that the
// application does not fill says nothing about the path, and must not grow.
type windowUsage struct {
	limited   bool       // the window held the sender back in this round trip
	most      int        // if not: segments outstanding at most
	end       Seq        // the round trip ends when this is acknowledged
	used      int        // segments outstanding at most, since the window was last full
	stamp     clock.Time // when the window was last full, or was last changed for not being so
	restarted clock.Time // the last transmission before the idle time that was reckoned with
}

// sent notes what is outstanding after a transmission, or an attempt that the
// window stopped.
func (u *windowUsage) sent(now clock.Time, c *Conn, limited bool) {
	if u.end.LessEq(c.sndUna) || limited || !u.limited && c.packetsOut > u.most {
		u.limited, u.most, u.end = limited, c.packetsOut, c.sndNxt
	}
	if u.limits(c) {
		u.used, u.stamp = 0, now
		return
	}
	u.used = max(u.used, c.packetsOut)
	if !c.noIdleRestart && now.Sub(u.stamp) >= c.rtt.timeout(c.backoff) && !c.cc.OwnRecovery() {
		u.decay(now, c)
	}
}

// limits reports whether the window limited the sender. In slow start half a window
// in use is reason enough to open it, or bursts of an application could never grow.
func (u *windowUsage) limits(c *Conn) bool {
	if u.limited {
		return true
	}
	w := c.cwnd()
	return w < c.ssthresh() && w < 2*u.most
}

// decay takes half of what was not used for a timeout away from the window (RFC
// 2861, section 3.1).
func (u *windowUsage) decay(now clock.Time, c *Conn) {
	if c.recovery == recoveryOpen && !c.tuning.noSpace {
		if w, used := c.cwnd(), max(u.used, initialSegments); used < w {
			mss := c.payloadMSS()
			c.cc.SetWindow((w+used)/2*mss, c.thresholdKept())
		}
		u.used = 0
	}
	u.stamp = now
}

// thresholdKept is the threshold that remembers most of the window before it is
// taken down for want of use (RFC 2861, section 3.1).
func (c *Conn) thresholdKept() int {
	if c.reducing() {
		return c.cc.Threshold()
	}
	return max(c.cc.Threshold(), c.cc.Window()*3/4)
}

// idleRestart takes the window down before the first transmission after an idle
// time of more than a timeout: by half for each (RFC 2861, section 3.1; RFC 5681,
// section 4.1, has the initial window at once).
func (c *Conn) idleRestart(now clock.Time) {
	if c.packetsOut > 0 || c.lastSent == 0 || c.lastSent == c.usage.restarted || c.noIdleRestart || c.cc.OwnRecovery() {
		return
	}
	rto := c.rtt.timeout(c.backoff)
	idle := now.Sub(c.lastSent)
	if idle <= rto {
		return
	}
	w := c.cwnd()
	least := min(initialSegments, w)
	threshold := c.thresholdKept()
	for idle -= rto; idle > 0 && w > least; idle -= rto {
		w /= 2
	}
	c.cc.SetWindow(max(w, least)*c.payloadMSS(), threshold)
	c.usage.stamp, c.usage.used, c.usage.restarted = now, 0, c.lastSent
}

// tellRestart tells the controller of a transmission when nothing is in flight.
func (c *Conn) tellRestart(now clock.Time) {
	if c.inFlight() == 0 && (!c.cc.OwnRecovery() || c.rate.appLimited != 0) {
		c.cc.OnRestart(now, c.lastSent)
	}
}
