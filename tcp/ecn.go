package tcp

// ECNMode says what a connection does about explicit congestion notification (RFC
// 3168).
type ECNMode uint8

const (
	// ECNPassive agrees when the peer asks for it, as Linux does by default.
	ECNPassive ECNMode = iota
	// ECNOff neither asks nor agrees.
	ECNOff
	// ECNActive asks for it, too.
	ECNActive
)

// ecnState is what both ends of RFC 3168, section 6.1, remember.
type ecnState struct {
	ask     bool // our SYN asks for it
	on      bool // both sides agreed
	seen    bool // the peer has sent something with an ECN codepoint
	echo    bool // ECE is to be set on what we send, until the peer's CWR (section 6.1.3)
	reduced bool // CWR is to be set on the next new data (section 6.1.2)
}

// Codepoints of the IP header (RFC 3168, section 5).
const (
	ECNNotECT = 0
	ECNECT1   = 1
	ECNECT0   = 2
	ECNCE     = 3
)

// ecnReduced notes that the window was reduced: the peer is told.
func (c *Conn) ecnReduced() {
	if c.ecn.on {
		c.ecn.reduced = true
	}
}

// noteCE counts segments that were delivered by an acknowledgement with ECE.
func (c *Conn) noteCE(segs int) {
	if c.news.ece {
		c.stats.deliveredCE += uint64(segs)
	}
}

// asksECN reports whether a SYN asks for ECN. One whose packet claims to be capable
// itself is the work of a middlebox, or a cheat (RFC 3168, section 6.1.1).
func (s *Segment) asksECN() bool {
	return s.Flags&(ECE|CWR) == ECE|CWR && s.ECN == ECNNotECT
}

// ecnInput looks at the codepoint and the flags of a segment with data.
func (c *Conn) ecnInput(seg *Segment) {
	if !c.ecn.on {
		return
	}
	if seg.Flags.Has(CWR) {
		// The sender's window may be very small now: it waits for the ACK.
		c.ecn.echo = false
		c.ackNow = true
	}
	switch seg.ECN {
	case ECNCE:
		if !c.ecn.echo {
			c.ecn.echo = true
			c.quicken()
		}
		c.ecn.seen = true
	case ECNECT0, ECNECT1:
		c.ecn.seen = true
	default:
		// A retransmission has none (section 6.1.5), and may mean that our ACKs are lost.
		if c.ecn.seen {
			c.quicken()
		}
	}
}

// quicken has the next two segments acknowledged at once.
func (c *Conn) quicken() {
	c.quickAcks = max(c.quickAcks, 2)
	c.pingPong = false
	c.ato = int64(delAckMin)
}

// ecnOutput sets what an outgoing segment says of congestion: ECE until the peer has
// answered it, CWR once behind a reduction, and the codepoint, which only new data
// has: neither pure ACKs (section 6.1.4) nor retransmissions (6.1.5).
func (c *Conn) ecnOutput(h *header, newData bool) (codepoint uint8) {
	if !c.ecn.on {
		return ECNNotECT
	}
	if c.ecn.echo {
		h.flags |= ECE
	}
	if !newData {
		return ECNNotECT
	}
	if c.ecn.reduced {
		c.ecn.reduced = false
		h.flags |= CWR
	}
	return ECNECT0
}
