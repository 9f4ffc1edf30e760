package tcp

// prrState is proportional rate reduction (RFC 6937, with the safeguards of its
// revision, RFC 9937): while the window is reduced, sending follows what is
// delivered, so that it arrives at the threshold within a round trip, without a pause
// before or a burst after. All amounts are segments.
type prrState struct {
	prior     int // the window when the reduction began
	delivered int // since then
	out       int // sent since then
}

// cwnd is the congestion window in segments.
func (c *Conn) cwnd() int { return max(c.cc.Window()/max(c.payloadMSS(), 1), 1) }

// ssthresh is the slow start threshold in segments.
func (c *Conn) ssthresh() int { return c.cc.Threshold() / max(c.payloadMSS(), 1) }

func (c *Conn) prrBegin() { c.prr = prrState{prior: c.cwnd()} }

// prrUpdate sets the window after an acknowledgement that delivered n segments (RFC
// 9937, section 6.2). safe says that it moved SND.UNA and told of no further loss:
// then one more than was delivered may leave, as in slow start.
func (c *Conn) prrUpdate(n int, safe bool) {
	p := &c.prr
	if n <= 0 || p.prior == 0 {
		return
	}
	p.delivered += n
	pipe, target := c.inFlight(), c.ssthresh()
	var count int
	if room := target - pipe; room < 0 {
		count = (target*p.delivered+p.prior-1)/p.prior - p.out
	} else {
		count = max(p.delivered-p.out, n)
		if safe {
			count++
		}
		count = min(count, room)
	}
	if p.out == 0 {
		count = max(count, 1) // the fast retransmission itself
	}
	c.cc.SetWindow((pipe+max(count, 0))*c.payloadMSS(), c.cc.Threshold())
}

// prrSent counts segments that leave.
func (c *Conn) prrSent(segs int) {
	if c.reducing() {
		c.prr.out += segs
	}
}
