package tcp

import "time"

// counters are the figures of one connection.
type counters struct {
	segsIn, segsOut          uint64
	bytesIn, bytesOut        uint64 // of payload, once each
	bytesRetrans             uint64
	bytesAcked               uint64 // sequence numbers: SYN and FIN count
	dataSegsIn, dataSegsOut  uint64
	deliveredSegs            uint64
	retransmits, timeouts    uint32
	fastRecoveries, lost     uint32
	dupAcksIn, duplicates    uint32
	outOfOrder, outOfWindow  uint32
	pawsDrops, challenges    uint32
	pureAcksOut, delayedAcks uint32
	probesOut, resetsOut     uint32
	noMemory, reneged        uint32
	reordered                uint32
	tailProbes, probeLosses  uint32
	dsacksIn, dsacksOut      uint32
	dsackDups                uint32 // segments that D-SACKs named, believed or not
	timeoutEpisodes          uint32
	timeoutTime              time.Duration // that episodes of timeouts took
	deliveredCE              uint64        // segments delivered by ACKs that echoed congestion
	undos, spuriousTimeouts  uint32
}

// Info is a snapshot of a connection's figures.
type Info struct {
	State State
	// SRTT, RTTVar and MinRTT are 0 before the first sample.
	SRTT, RTTVar, MinRTT, RTO time.Duration
	// SegmentSize is how much payload a full segment carries.
	SegmentSize int
	// Window and Threshold are the congestion controller's, in bytes; InFlight is
	// what it is compared with.
	Window, Threshold, InFlight int
	// PeerWindow is what the peer lets us send beyond SND.UNA, ReceiveWindow what it
	// may send beyond RCV.NXT.
	PeerWindow, ReceiveWindow int
	// Unacked, Unsent and Unread are bytes in the buffers.
	Unacked, Unsent, Unread int
	// Totals.
	SegmentsIn, SegmentsOut               uint64
	BytesIn, BytesOut, BytesRetransmitted uint64
	Retransmits, Timeouts, FastRecoveries uint32
	DuplicateAcksIn, Duplicates           uint32
	OutOfOrder, OutOfWindow, PAWSDrops    uint32
	PureAcksOut, DelayedAcks, ProbesOut   uint32
	NoMemory                              uint32
	// Lost counts what was taken for lost; TailProbes are probes of RFC 8985, section
	// 7. Reordering says that RACK has seen some.
	Lost, TailProbes uint32
	// DSACKsIn and DSACKsOut count reports of duplicates (RFC 2883) that were believed
	// and sent. Undos are reductions of the window taken back, SpuriousTimeouts those
	// that F-RTO found (RFC 5682).
	DSACKsIn, DSACKsOut     uint32
	Undos, SpuriousTimeouts uint32
	Reordering              bool
	Timestamps, SACK        bool
	SendScale, ReceiveScale uint8
}

// Info returns the connection's figures.
func (c *Conn) Info() Info {
	in := Info{
		State: c.State(),
		SRTT:  c.rtt.srtt, RTTVar: c.rtt.rttvar, MinRTT: c.rtt.min, RTO: c.rtt.timeout(c.backoff),
		SegmentSize: c.payloadMSS(),
		InFlight:    c.inFlight() * c.payloadMSS(),
		PeerWindow:  c.sndWnd, ReceiveWindow: max(c.rcvAdv.Sub(c.rcvNxt), 0),
		Unacked: c.outstanding(), Unsent: c.unsent(), Unread: c.rcvBuf.buffered(),
		SegmentsIn: c.stats.segsIn, SegmentsOut: c.stats.segsOut,
		BytesIn: c.stats.bytesIn, BytesOut: c.stats.bytesOut, BytesRetransmitted: c.stats.bytesRetrans,
		Retransmits: c.stats.retransmits, Timeouts: c.stats.timeouts, FastRecoveries: c.stats.fastRecoveries,
		DuplicateAcksIn: c.stats.dupAcksIn, Duplicates: c.stats.duplicates,
		OutOfOrder: c.stats.outOfOrder, OutOfWindow: c.stats.outOfWindow, PAWSDrops: c.stats.pawsDrops,
		PureAcksOut: c.stats.pureAcksOut, DelayedAcks: c.stats.delayedAcks, ProbesOut: c.stats.probesOut,
		NoMemory: c.stats.noMemory,
		Lost:     c.stats.lost, TailProbes: c.stats.tailProbes, Reordering: c.stats.reordered > 0,
		DSACKsIn: c.stats.dsacksIn, DSACKsOut: c.stats.dsacksOut,
		Undos: c.stats.undos, SpuriousTimeouts: c.stats.spuriousTimeouts,
		Timestamps: c.useTS, SACK: c.useSACK,
		SendScale: c.sndScale, ReceiveScale: c.rcvScale,
	}
	if c.cc != nil && c.state.synchronized() {
		in.Window, in.Threshold = c.cc.Window(), c.cc.Threshold()
	}
	return in
}

// State returns the connection's state.
func (c *Conn) State() State {
	if c.state == 0 {
		return StateClosed
	}
	return c.state
}

// Err returns why the connection ended; nil while it lives or if it ended in
// order.
func (c *Conn) Err() error { return c.err }

// Established reports whether the handshake is complete and the connection not
// yet CLOSED.
func (c *Conn) Established() bool { return c.state.synchronized() }

// ReadableBytes returns how many bytes Read would give; up to urgent data, where
// there is some.
func (c *Conn) ReadableBytes() int {
	n := c.rcvBuf.buffered()
	if u := &c.urgent; u.state != urgentNone {
		switch i := u.at.Sub(c.rcvBuf.base); {
		case i > 0:
			n = min(n, i)
		case i == 0 && !u.inline:
			n = max(n-1, 0)
		}
	}
	return n
}

// UnreadBytes is ReadableBytes as Linux's SIOCINQ counts it: none at the urgent octet.
func (c *Conn) UnreadBytes() int {
	if u := &c.urgent; u.state != urgentNone && !u.inline && u.at == c.rcvBuf.base {
		return 0
	}
	return c.ReadableBytes()
}

// WritableBytes returns how many bytes Write would take, memory permitting.
func (c *Conn) WritableBytes() int {
	if c.finQueued || c.orphan || !c.state.canSend() {
		return 0
	}
	return c.writeRoom()
}

// UnsentBytes returns how many bytes were written and never sent.
func (c *Conn) UnsentBytes() int { return c.unsent() }

// UnackedBytes returns how many sequence numbers are sent and not acknowledged.
func (c *Conn) UnackedBytes() int { return c.outstanding() }
