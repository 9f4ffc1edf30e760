package tcp

import "github.com/netduet/netduet/clock"

// pieces is in how many segments n bytes of r leave.
func (c *Conn) pieces(n int, r *sentRange) uint16 {
	size := max(int(r.size), 1)
	return uint16(max((n+size-1)/size, 1))
}

// cut divides record i at seq, which is inside it. Where that is no boundary of
// segments there is one segment more.
func (c *Conn) cut(i int, seq Seq) {
	before := int(c.ranges.at(i).segs)
	c.ranges.split(i, seq)
	a, b := c.ranges.at(i), c.ranges.at(i+1)
	a.segs, b.segs = c.pieces(a.len(), a), c.pieces(c.dataLen(b), b)
	c.drop(a, before-int(a.segs)-int(b.segs))
}

// dataLen is how many bytes of data r holds: a FIN is none, unless it stands alone.
func (c *Conn) dataLen(r *sentRange) int {
	n := r.len()
	if c.finSent && r.end == c.sndNxt && n > 1 {
		n--
	}
	return n
}

// fack is the end of the highest segment that the peer has reported, or SND.UNA.
func (c *Conn) fack() Seq {
	if !c.useSACK || c.sackedOut == 0 {
		return c.sndUna
	}
	return maxSeq(c.highSacked, c.sndUna)
}

// applySACK takes the blocks of an acknowledgement (RFC 2018, section 5): the first
// may be a D-SACK. Only what was sent and is outstanding can be marked, and only
// whole segments: a block that cuts one is rounded, so that lies make no more records
// than there are segments.
func (c *Conn) applySACK(now clock.Time, seg *Segment) {
	n := &c.news
	blocks := seg.Options.SACK[:seg.Options.NSACK]
	c.inputDSACK(now, seg)
	if c.packetsOut == 0 || seg.Ack.Less(n.una.Add(-c.maxWnd)) {
		return
	}
	if b := blocks[0]; n.dsack && c.undo.armed && b.Right.LessEq(c.sndUna) {
		// What the same acknowledgement covers is still on record.
		for i := c.ranges.find(b.Left); i < c.ranges.count; i++ {
			r := c.ranges.at(i)
			if b.Right.Less(r.end) {
				break
			}
			if r.flags&rangeEver != 0 && b.Left.LessEq(r.seq) && c.undo.repeated > 0 && c.undo.una.Less(r.end) {
				c.undo.repeated = max(c.undo.repeated-int(r.segs), 0)
			}
		}
	}
	// In the order of the stream, not of arrival: of two blocks that are news in the same
	// acknowledgement, the lower one was not overtaken by the upper.
	var order [len(seg.Options.SACK)]uint8
	count := 0
	for k, b := range blocks {
		if !b.Left.Less(b.Right) || c.sndNxt.Less(b.Right) || !b.Left.Less(c.sndNxt) || !c.sndUna.Less(b.Left) {
			continue
		}
		i := count
		for ; i > 0 && b.Left.Less(blocks[order[i-1]].Left); i-- {
			order[i] = order[i-1]
		}
		order[i] = uint8(k)
		count++
	}
	for _, k := range order[:count] {
		c.sackBlock(now, seg, blocks[k], k == 0 && n.dsack)
	}
	if n.reordered && (c.recovery != recoveryLoss || c.undo.armed) {
		c.noteReordering(n.reord)
		n.reordered = false
	}
}

// sackBlock marks the segments inside a block.
func (c *Conn) sackBlock(now clock.Time, seg *Segment, b SACKBlock, dup bool) {
	i := c.ranges.find(b.Left)
	for ; i < c.ranges.count; i++ {
		r := c.ranges.at(i)
		if b.Right.LessEq(r.seq) {
			return
		}
		left, right := maxSeq(b.Left, r.seq), minSeq(b.Right, r.end)
		if c.finSent && r.end == c.sndNxt && right == r.end.Add(-1) && left.Less(right) {
			right = r.end // a receiver may report the data before a FIN, and not the FIN
		}
		if left != r.seq || right != r.end {
			if r.segs == 1 || r.flags&rangeSacked != 0 && !dup {
				continue // a part of a segment tells nothing
			}
			size := int(r.size)
			if over := left.Sub(r.seq) % size; over > 0 {
				left = left.Add(size - over)
			}
			if right != r.end {
				right = right.Add(-(right.Sub(r.seq) % size))
			}
			left = minSeq(left, r.end)
			if !left.Less(right) {
				continue
			}
			if left != r.seq {
				c.cut(i, left)
				i++
				r = c.ranges.at(i)
			}
			if right != r.end {
				c.cut(i, right)
				r = c.ranges.at(i)
			}
		}
		c.sackRange(now, r, dup)
	}
}

// sackRange takes notice that the peer holds r (dup: that it got it twice).
func (c *Conn) sackRange(now clock.Time, r *sentRange, dup bool) {
	n := &c.news
	segs := int(r.segs)
	if dup && r.flags&rangeEver != 0 {
		if c.undo.armed && c.undo.repeated > 0 && c.undo.una.Less(r.end) {
			c.undo.repeated = max(c.undo.repeated-segs, 0)
		}
		if r.flags&rangeSacked != 0 && r.seq.Less(c.fack()) {
			n.overtaken(r.seq)
		}
	}
	if r.flags&rangeSacked == 0 {
		c.rackAdvance(now, r, r.end)
		if r.flags&rangeRetrans != 0 {
			// What was not taken for lost and yet sent again counts as in flight still.
			if r.flags&rangeLost != 0 {
				r.flags &^= rangeLost | rangeRetrans
				c.lostOut -= segs
				c.retransOut -= segs
			}
		} else {
			if r.flags&rangeEver == 0 {
				if r.seq.Less(c.fack()) {
					n.overtaken(r.seq)
				}
				if r.end.LessEq(c.highSeq) {
					n.original = true
				}
				if n.firstSacked == 0 {
					n.firstSacked = r.sentAt
				}
				n.lastSacked = r.sentAt
			}
			if r.flags&rangeLost != 0 {
				r.flags &^= rangeLost
				c.lostOut -= segs
			}
		}
		r.flags |= rangeSacked
		c.sackedOut += segs
		if c.sackedOut == segs || c.highSacked.Less(r.end) {
			c.highSacked = r.end
		}
		n.sacked = true
		c.rateDelivered(now, r)
		c.delivered += uint64(r.len())
		c.deliveredAt = now
		c.stats.deliveredSegs += uint64(segs)
		c.noteCE(segs)
	}
	if dup && r.flags&rangeRetrans != 0 {
		r.flags &^= rangeRetrans
		c.retransOut -= segs
	}
}

// noteReordering remembers that what begins at seq was overtaken, by how much, and
// that reordering happens on this path (RFC 8985, section 6.2, step 3).
func (c *Conn) noteReordering(seq Seq) {
	fack := c.fack()
	if !seq.Less(fack) {
		return
	}
	mss := c.payloadMSS()
	if extent := fack.Sub(seq); extent > int(c.reordering)*mss {
		c.reordering = uint16(min((extent+mss-1)/mss, maxReordering))
	}
	c.stats.reordered++
}

// markLost takes r for lost, and tells the controller, unless r was a probe of the path's
// MTU: that says nothing of congestion (RFC 4821, section 7.5).
func (c *Conn) markLost(now clock.Time, r *sentRange) {
	if !c.takeForLost(r) || c.mtu.size != 0 && r.seq == c.mtu.start {
		return
	}
	e := &c.rate
	e.lost += uint64(r.len())
	c.cc.OnLost(LossInfo{
		Now: now, Bytes: r.len(), Adjoins: e.lost > uint64(r.len()) && r.seq == e.lostEnd,
		AppLimited: r.flags&rangeAppLimited != 0, PriorDelivered: r.delivered, TxInFlight: int(r.inFlight),
		Lost: int(uint32(e.lost) - r.lost), TotalDelivered: c.delivered,
	})
	e.lostEnd = r.end
}

// takeForLost counts r as out of the network: it is to be sent again. A retransmission
// may be lost again. It reports whether that is news.
func (c *Conn) takeForLost(r *sentRange) bool {
	if r.flags&rangeSacked != 0 {
		return false
	}
	segs := int(r.segs)
	if r.flags&rangeLost != 0 {
		if r.flags&rangeRetrans == 0 {
			return false
		}
		r.flags &^= rangeRetrans
		c.retransOut -= segs
		c.news.lostAgain = true
	} else {
		r.flags |= rangeLost
		c.lostOut += segs
		c.stats.lost++
	}
	c.lostSegs += uint64(segs)
	if r.seq.Less(c.retransHint) {
		c.retransHint = r.seq
	}
	return true
}

// markHeadLost marks the first segment that is outstanding (RFC 6582).
func (c *Conn) markHeadLost(now clock.Time) {
	if c.ranges.count == 0 {
		return
	}
	r := c.ranges.at(0)
	if r.flags&rangeLost != 0 {
		return
	}
	if r.segs > 1 && r.len() > int(r.size) {
		c.cut(0, r.seq.Add(int(r.size)))
		r = c.ranges.at(0)
	}
	c.markLost(now, r)
}

// Without SACK, each duplicate ACK stands for a segment that left the network, and
// counts among those reported.

// addDupAck counts one.
func (c *Conn) addDupAck() {
	before := c.sackedOut
	c.sackedOut++
	c.limitDupAcks(0)
	if c.sackedOut > before {
		c.stats.deliveredSegs++
		c.noteCE(1)
	}
}

// removeDupAcks follows the acknowledgement of segs segments: one filled the hole,
// and duplicate ACKs stood for the others.
func (c *Conn) removeDupAcks(segs int) {
	delivered := max(segs-c.sackedOut, 1)
	c.stats.deliveredSegs += uint64(delivered)
	c.noteCE(delivered)
	c.sackedOut = max(c.sackedOut-max(segs-1, 0), 0)
	c.limitDupAcks(segs)
}

// limitDupAcks: no more can have arrived than is outstanding and not lost. If more
// duplicates came, the hole was filled late: that is reordering.
func (c *Conn) limitDupAcks(acked int) {
	holes := min(max(c.lostOut, 1), c.packetsOut)
	if c.sackedOut+holes > c.packetsOut {
		c.sackedOut = max(c.packetsOut-holes, 0)
		c.reordering = uint16(min(c.packetsOut+acked, maxReordering))
		c.stats.reordered++
	}
}
