package tcp

import "github.com/netduet/netduet/clock"

// A driver may give Input all segments that it has at hand before it calls Output, so that
// they share one answer. What must not be merged is here.

// OutputFirst reports whether an OutputAll had better come before seg is given to Input, if
// that has taken segments since the last Output:
//
//   - ACKs have opened the congestion window for more, and seg tells of what may be a loss,
//     after which the window is another one. What each of those ACKs had been good for on
//     its own would never leave.
//   - What is to be reported of the segments before does not fit one ACK with what is of
//     seg: an ACK has room for one D-SACK (RFC 2883, section 4) and three or four gaps. The
//     peer would take the rest for lost.
func (c *Conn) OutputFirst(seg *Segment) bool {
	if len(seg.Payload) > 0 && c.useSACK && c.reportFull(seg) {
		return true
	}
	return (seg.Options.NSACK > 0 || seg.Ack == c.sndUna || c.ecn.on && seg.Flags.Has(ECE)) &&
		c.recovery <= recoveryDisorder && c.unsent() > 0 && c.inFlight() < c.cwnd()
}

// reportFull reports whether the SACK blocks that are due have no room for what there
// would be of seg.
func (c *Conn) reportFull(seg *Segment) bool {
	if c.hasDSACK() {
		if seg.Seq.Less(c.rcvNxt) {
			return true
		}
		left, right := c.rcvBuf.overlap(seg.Seq, seg.Seq.Add(len(seg.Payload)))
		return left != right
	}
	runs := c.rcvBuf.runs
	return int(c.ack.runs) >= c.maxSACK() && c.rcvNxt.Less(seg.Seq) &&
		len(runs) > 0 && runs[len(runs)-1].right != seg.Seq // which makes no block more
}

// ackApart sends the ACK that would have left before the gap was seen, if it had not been
// held back for the rest of a batch. In one with the report of the gap it would be lost on
// the peer: what arrives with a loss lets no congestion window grow, and without SACK it
// would be one duplicate less.
func (c *Conn) ackApart(now clock.Time, b *Batch) {
	h := c.plainHeader(now, c.sndNxt, ACK)
	codepoint := c.ecnOutput(&h, false)
	b.add(&h).ECN = codepoint
	c.stats.pureAcksOut++
	c.ackSent()
}
