package tcp

import "github.com/netduet/netduet/clock"

// noteDuplicate remembers that [left, right) arrived a second time; the next
// segment reports it (RFC 2883, section 4).
func (c *Conn) noteDuplicate(left, right Seq) {
	if c.useSACK && !c.tuning.noDSACK && left.Less(right) {
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
	if _, ok := c.bareFIN(); ok {
		n++
	}
	return min(n, c.maxSACK())
}

// bareFIN is the block of a FIN that has arrived before the data in front of it: it
// takes a sequence number as an octet does.
func (c *Conn) bareFIN() (fin run, ok bool) {
	runs := c.rcvBuf.runs
	if !c.finKnown || c.finTaken || len(runs) > 0 && runs[len(runs)-1].right == c.finSeq {
		return run{c.finSeq, c.finSeq}, false
	}
	return run{c.finSeq, c.finSeq.Add(1)}, true
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
	first := n
	fin, bare := c.bareFIN()
	n += c.rcvBuf.sack(blocks[n:], fin)
	if c.finKnown && !bare {
		for i := range blocks[first:n] {
			if b := &blocks[first+i]; b.Right == c.finSeq {
				b.Right = b.Right.Add(1) // the FIN has arrived behind it
			}
		}
	}
	o.NSACK = uint8(n)
}

// overlap is the part of [left, right) that a run holds already, for the report of
// a duplicate that is itself out of order (RFC 2883, section 4.2).
func (b *recvBuffer) overlap(left, right Seq) (Seq, Seq) {
	for i := b.find(left); i < len(b.runs) && b.runs[i].left.Less(right); i++ {
		r := b.runs[i]
		if l, e := maxSeq(left, r.left), minSeq(right, r.right); l.Less(e) {
			return l, e
		}
	}
	return left, left
}

// inputDSACK takes the first block for a D-SACK if it is one: below SEG.ACK, or
// inside the second block (RFC 2883, section 4). It is believed only for what may
// have been sent twice, and not more often than we did (RFC 3708).
func (c *Conn) inputDSACK(now clock.Time, seg *Segment) {
	o, n := &seg.Options, &c.news
	d := o.SACK[0]
	if !d.Left.Less(seg.Ack) {
		if o.NSACK < 2 || d.Left.Less(o.SACK[1].Left) || o.SACK[1].Right.Less(d.Right) {
			return
		}
	}
	size := d.Right.Sub(d.Left)
	if size <= 0 || size > c.maxWnd || c.sndNxt.Less(d.Right) {
		return
	}
	segs, mss, probe := 1, c.payloadMSS(), false
	if size > mss {
		segs = (size + mss - 1) / mss
	} else {
		probe = c.tlp.active && d.Right == c.tlp.end
	}
	c.stats.dsackDups += uint32(segs)
	if c.stats.dsackDups > c.stats.retransmits {
		return // the network duplicated it, or the peer lies
	}
	n.dsackTLP = probe
	if c.stats.reordered > 0 && !probe {
		// A probe in vain says nothing of reordering: the timer is behind it.
		c.rack.dsack = true
	}
	n.dsack = true
	c.stats.dsacksIn++
	c.stats.deliveredSegs += uint64(segs) // the copy has left the network, too
	c.noteCE(segs)
	c.delivered += uint64(size)
	if c.undo.armed && c.undo.repeated > 0 && d.Right.LessEq(n.una) && c.undo.una.Less(d.Right) {
		c.undo.repeated = max(c.undo.repeated-segs, 0)
	}
}
