package tcp

import "github.com/netduet/netduet/clock"

// prrState is proportional rate reduction (RFC 6937, with the heuristic of its
// revision, RFC 9937): during fast recovery, sending follows what is delivered, so
// that the window arrives at the threshold within a round trip, without a pause
// before or a burst after. All amounts are bytes.
type prrState struct {
	window    int // takes the place of the congestion window
	recoverFS int // what was in flight when recovery began
	delivered int // since then
	out       int // sent since then
}

// cwnd is the congestion window that holds now.
func (c *Conn) cwnd() int {
	if c.recovery == recoveryFast && !c.cc.OwnRecovery() {
		return c.prr.window
	}
	return c.cc.Window()
}

// prrBegin starts fast recovery with the acknowledgement that newly delivered n
// bytes (RFC 9937, section 6.1: those count as in flight).
func (c *Conn) prrBegin(n int) {
	c.prr = prrState{recoverFS: max(c.outstanding()-c.sackedOut-c.renoSacked+n, 1)}
}

// prrUpdate sets the window after an acknowledgement that delivered n bytes (RFC
// 9937, section 6.2). safe says that it moved SND.UNA and told of no further loss:
// then the window may grow towards the threshold as in slow start.
func (c *Conn) prrUpdate(n int, safe bool) {
	p := &c.prr
	p.delivered += n
	pipe, target, mss := c.inFlight(), c.cc.Threshold(), c.payloadMSS()
	count := 0
	if pipe > target {
		share := (int64(p.delivered)*int64(target) + int64(p.recoverFS) - 1) / int64(p.recoverFS)
		count = int(min(share, infiniteThreshold)) - p.out
	} else {
		limit := p.delivered - p.out
		if safe {
			limit = max(limit, n) + mss
		}
		count = min(target-pipe, limit)
	}
	if p.out == 0 {
		count = max(count, mss) // the fast retransmission itself
	}
	p.window = pipe + max(count, 0)
}

// prrSent counts n bytes that leave.
func (c *Conn) prrSent(n int) {
	if c.recovery == recoveryFast {
		c.prr.out += n
	}
}

// enterFast begins fast recovery (RFC 5681, section 3.2; RFC 6675, section 5).
func (c *Conn) enterFast(now clock.Time) {
	c.recovery = recoveryFast
	c.tlpAt, c.tlp.active, c.tlpOwed = clock.Never, false, false
	c.highSeq = c.sndNxt
	c.stats.fastRecoveries++
	c.cc.OnLoss(now, c.outstanding())
	c.undoBegin()
	c.rtxAt = c.retransmitAt(now) // RFC 6675, section 5, step 4.3, lets it: the retransmission gets its whole time
	c.prrBegin(c.news.delivered)
	c.prrUpdate(0, false)
}
