package tcp

// noteDuplicate remembers that [left, right) arrived a second time; the next
// segment reports it (RFC 2883, section 4).
func (c *Conn) noteDuplicate(left, right Seq) {
	if c.useSACK && left.Less(right) {
		c.dupReport, c.dupReported = SACKBlock{left, right}, false
	}
}

// hasDSACK reports whether the next segment carries a D-SACK.
func (c *Conn) hasDSACK() bool { return !c.dupReported && c.dupReport.Left != c.dupReport.Right }

// sackBlocks is how many blocks the next segment carries.
func (c *Conn) sackBlocks() int {
	n := len(c.rcvBuf.runs)
	if c.hasDSACK() {
		n++
	}
	return min(n, c.maxSACK())
}

// fillSACK puts the blocks into o, the D-SACK first (RFC 2883, section 4), once.
func (c *Conn) fillSACK(o *Options) {
	blocks := o.SACK[:c.maxSACK()]
	n := 0
	if c.hasDSACK() {
		blocks[0] = c.dupReport
		n = 1
		c.dupReported = true
		c.stats.dsacksOut++
	}
	n += c.rcvBuf.sack(blocks[n:])
	o.NSACK = uint8(n)
}

// overlap is the part of [left, right) that a run holds already, for the report of
// a duplicate that is itself out of order (RFC 2883, section 4.2).
func (b *recvBuffer) overlap(left, right Seq) (Seq, Seq) {
	for _, r := range b.runs {
		if l, e := maxSeq(left, r.left), minSeq(right, r.right); l.Less(e) {
			return l, e
		}
	}
	return left, left
}

// inputDSACK takes the first block for a D-SACK if it is one: below SEG.ACK, or
// inside the second block (RFC 2883, section 4). It is believed only for what may
// have been sent twice, and not more often than we did.
func (c *Conn) inputDSACK(seg *Segment) {
	o := &seg.Options
	d := o.SACK[0]
	if !d.Left.Less(d.Right) || c.sndNxt.Less(d.Right) || d.Left.Less(c.sndUna.Add(-c.maxWnd)) {
		return
	}
	inside := o.NSACK > 1 && o.SACK[1].Left.LessEq(d.Left) && d.Right.LessEq(o.SACK[1].Right)
	if !d.Right.LessEq(seg.Ack) && !inside {
		return
	}
	n := d.Right.Sub(d.Left)
	if c.stats.bytesDuplicated+uint64(n) > c.stats.bytesRetrans {
		return // the network duplicated it, or the peer lies
	}
	c.stats.bytesDuplicated += uint64(n)
	c.stats.dsacksIn++
	if c.tlp.active && c.tlp.retrans && d.Right == c.tlp.end {
		c.news.dsackTLP = true // a probe that was in vain says nothing of reordering
		return
	}
	c.news.dsack = true
	c.rack.reordering = true // what was taken for lost was only late
	if c.undo.armed && !d.Left.Less(c.undo.una) {
		c.undo.repeated = max(c.undo.repeated-n, 0)
	}
}
