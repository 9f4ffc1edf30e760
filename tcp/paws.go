package tcp

// stampHistory remembers which of the peer's timestamps are from the recent past: so
// recent that what carries one cannot be of an earlier round of the sequence numbers.
//
// PAWS takes every segment with an older timestamp than the last in order for such an
// old duplicate (RFC 7323, section 5.3, R1). But the last in order may have been a
// retransmission, and what was sent before it and is only late is then dropped,
// though it fills a gap: where segments overtake each other, each real loss costs all
// that are late at that time, which have to be sent again, and make others late that way.
// Linux does so. Here such a segment is taken if its timestamp is not older than floor.
//
// Invariant: floor and next were TS.Recent when RCV.NXT was less than 2^30 behind what it
// is now. The peer, which then had nothing unacknowledged farther back than a window of
// 2^30, has since sent nothing that is 2^32 behind the present window.
type stampHistory struct {
	floor, next uint32
	since       Seq // RCV.NXT when TS.Recent was next
}

// stampSpan is how far RCV.NXT goes before the history moves on.
const stampSpan = 1 << 28

func (h *stampHistory) begin(stamp uint32, rcvNxt Seq) { *h = stampHistory{stamp, stamp, rcvNxt} }

// move follows RCV.NXT; recent is TS.Recent.
func (h *stampHistory) move(recent uint32, rcvNxt Seq) {
	if rcvNxt.Sub(h.since) >= stampSpan {
		*h = stampHistory{h.next, recent, rcvNxt}
	}
}

// onlyLate reports whether a segment that PAWS would drop is taken all the same: one
// with data, while there are gaps that it may fill, or that it leaves.
func (c *Conn) onlyLate(seg *Segment) bool {
	if seg.Len() == 0 || seg.Flags.Has(SYN) || len(c.rcvBuf.runs) == 0 && !c.rcvNxt.Less(seg.Seq) ||
		c.rcvNxt.Sub(c.stamps.since) >= 2*stampSpan {
		return false
	}
	return c.tsRecent-seg.Options.TSVal <= c.tsRecent-c.stamps.floor // both reckoned backwards
}
