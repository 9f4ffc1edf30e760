package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// Conn is one connection. The zero value is CLOSED; Connect or Accept bring it to
// life, once.
//
// Its methods fall into classes:
//
//   - Opening: Connect, Accept.
//   - The application: Read, Peek, Discard, Write, CloseWrite, CloseRead, Close,
//     Abort and the setters. They never block; 0 bytes without an error means "not
//     now", and an event tells when.
//   - The network: Input, ICMPError, PacketTooBig.
//   - Time: Timeout, wanted at Deadline.
//   - Outputs: Output and Sent, Events, Deadline.
//   - Figures: State, Err, Info and the like change nothing.
//
// After any call of the first four classes the driver looks at Events, then calls
// Output until it gives no segments, sending what it gives and calling Sent for
// each batch, and then looks at Deadline. That holds for a connection that has just
// died, too: its reset is still to be sent. Between an Output that gave segments
// and its Sent, every other method may be called, but no Output.
//
// Nothing is safe for concurrent use; all calls carry a time that never decreases.
type Conn struct {
	err      error     // why it ended
	soft     error     // what ICMP said on the way (RFC 5927, section 4.1: no reason to end)
	fast     *fastOpen // of a handshake with Fast Open; nil once it is over
	state    State
	events   Events
	fastBits fastBits // what became of it

	localPort, remotePort uint16
	noDelay               bool
	orphan                bool // Close was called: nobody will read
	readShut              bool // CloseRead or Close was called
	useTS, useSACK        bool
	useScale              bool  // windows are scaled, if only by 0
	partials              uint8 // partial acknowledgements of a fast recovery without SACK, up to renoPatience

	// Sending (RFC 9293, section 3.3.1).
	iss, sndUna, sndNxt Seq
	sndWl1, sndWl2      Seq // segment used for the last window update
	sndWnd, maxWnd      int // peer's window now and at its largest, in bytes
	sndScale            uint8
	wave                uint16 // counts segments received and writes: what leaves after one left together, by whatever clock
	mss                 int    // what we announced
	sndMSS              int    // what a segment may hold, options included: least of ours, the peer's and the path's
	maxGSO              int
	mtu                 pathMTU
	sndBuf              sendBuffer
	sndMost             int  // what tuning may make of its limit
	sndFixed            bool // the application said how large it is
	finQueued           bool // a FIN follows the last byte of sndBuf
	finSent             bool
	synOwed             bool    // Output shall send SYN or SYN-ACK
	offered             Options // our SYN's: repeated in a SYN-ACK (simultaneous open)
	rstOwed             bool    // Output shall send a reset, although CLOSED
	rstSeq              Seq
	sndSml              Seq  // end of the last segment sent that was not full (RFC 9293, 3.7.4, in Minshall's variant)
	forced              bool // the probe timer lets a segment pass that silly-window avoidance holds back
	probeOwed           bool
	reply               Reply // answers a segment that does not belong here
	replyOwed           bool
	unpushed            bool       // the end of sndBuf is that of a Write with more behind it
	lastSent            clock.Time // of data

	// Loss recovery.
	ranges                                     rangeRing
	packetsOut, sackedOut, lostOut, retransOut int // segments; see inFlight
	recovery                                   recoveryState
	highSeq                                    Seq // SND.NXT when the state was entered
	highSacked                                 Seq // end of the highest range reported, if sackedOut
	repeat                                     repeatMode
	repeatedVain                               bool   // something was sent again into a closed window
	reordering, initialReordering              uint16 // extent, in segments
	rack                                       rackState
	prr                                        prrState
	tlp                                        tlpState
	undo                                       undoState
	frto                                       bool // F-RTO is under way
	noFRTO, noIdleRestart, noCollapse          bool
	deferred                                   bool // new data waits for the next acknowledgement
	tlpOwed, tlpNew                            bool // a probe is to be sent; it is being sent as new data
	noTLP                                      bool
	news                                       ackNews
	retransHint                                Seq        // nothing before it is waiting for retransmission
	lossSince                                  clock.Time // first timeout of an episode; 0 if none
	delivered                                  uint64     // bytes known to have arrived
	lostSegs                                   uint64     // segments ever taken for lost
	deliveredAt                                clock.Time
	rate                                       rateEstimator
	rateShown                                  uint64 // the last rate sample that may not be too low, bytes per second …
	rateLimited                                bool   // … or the largest of those that may
	pace                                       pacer
	usage                                      windowUsage
	ecn                                        ecnState
	cc                                         Controller
	cubic                                      cubic  // what cc points to by default
	burstRate                                  uint64 // bytes per second; see burst
	rtt                                        rttEstimator
	backoff, probeBackoff                      uint8 // doublings of the timeout, and of the interval of probes on top
	tries, synRetries, synLinear               uint8
	retries, orphanRetries                     uint8
	stalledSince                               clock.Time // first repetition without progress; 0 if none
	probesSince                                clock.Time // first timeout of the probe timer without progress; 0 if none
	userTimeout                                int64      // nanoseconds, 0: R2

	// Receiving.
	irs          Seq
	rcvBuf       recvBuffer
	rcvNxt       Seq   // next sequence number expected: rcvBuf.nxt, and one more after FIN
	rcvAdv       Seq   // right edge of the window as announced
	rcvWup       Seq   // RCV.NXT when an ACK was last sent
	receiveLowat int32 // see SetReceiveLowat; 0: one byte
	rw           receiveWindow
	drs          receiveTuning
	rcvScale     uint8
	gapAcks      uint8 // how many ACKs have left at once since gapAt was reached: see ackGap
	gapHeld      uint8 // segments whose ACK waits for more of them, until ackAt
	rcvMSS       int   // what the peer's segments carry, as measured
	finSeq       Seq   // place of the peer's FIN, if finKnown
	finKnown     bool
	finTaken     bool // FIN is acknowledged
	ackNow       bool
	ackSoon      bool      // an ACK is owed for data in order, and may wait for more: see OutputHoldBulk
	dupReport    SACKBlock // what arrived twice last, to be told by a D-SACK …
	dupReported  bool      // … unless it was
	dupOwed      uint8     // how many ACKs out-of-order segments are owed
	pingPong     bool      // the application answers what it gets: ACKs can wait for the answer
	quickAcks    uint8
	ack          ackPending
	gapAt        Seq   // RCV.NXT when gapAcks began to count
	ato          int64 // delayed ACK timeout, nanoseconds
	lastData     clock.Time
	lastRecv     clock.Time
	tsAge        clock.Time // when tsRecent was set
	tsRecent     uint32
	tsOffset     uint32
	stamps       stampHistory
	keepTimeWait bool       // see Config.KeepTimeWait
	challenge    clock.Time // when the next challenge ACK may be sent
	urgent       urgent
	invalidEvery time.Duration // see Config.InvalidInterval

	keepAlive KeepAlive
	kaProbes  int

	// Timers; clock.Never when off.
	rtxAt, probeAt, ackAt, keepAt, finAt clock.Time
	rackAt                               clock.Time // reordering timer
	tlpAt                                clock.Time // tail loss probe
	probes                               uint8

	tuning tuning
	chrono chrono
	stats  counters
}

// Events says what happened since Events was last called.
type Events uint8

const (
	// EventEstablished: the connection is synchronised.
	EventEstablished Events = 1 << iota
	// EventReadable: there is more to read, or the end is known.
	EventReadable
	// EventWritable: there is room again, or writing fails from now on.
	EventWritable
	// EventError: the connection ended for the reason that Err tells.
	EventError
	// EventClosed: the connection is CLOSED and wants no more segments. Output may
	// still have a reset to send, and data may still be there to be read.
	EventClosed
	// EventTimeWait: the connection is in TIME-WAIT; replace it by its TimeWait
	// record after a last Output.
	EventTimeWait
	// EventFastOpen: there is something for TakeFastOpen to tell.
	EventFastOpen
)

func (c *Conn) init(cfg *Config, state State) {
	c.Reset() // and not a composite literal, which would stand on the stack first
	c.state = state
	c.localPort = cfg.LocalPort
	c.remotePort = cfg.RemotePort
	c.noDelay = cfg.NoDelay
	c.mss = cfg.mss()
	c.sndMSS = min(cfg.mss(), DefaultMSS)
	c.maxGSO = min(cfg.MaxGSO, 65535)
	c.keepAlive = cfg.KeepAlive.withDefaults()
	c.synRetries = retries(max(cfg.SynRetries, 0), DefaultSynRetries)
	c.synLinear = retries(cfg.SynLinear, DefaultSynLinear)
	c.retries = retries(max(cfg.Retries, 0), DefaultRetries)
	c.orphanRetries = retries(max(cfg.OrphanRetries, 0), defaultOrphanRetries)
	c.invalidEvery = cfg.invalidInterval()
	c.keepTimeWait = cfg.KeepTimeWait
	c.tuning.noDSACK, c.tuning.sackDelay = cfg.NoDSACK, cfg.sackDelaySetting()
	c.limit(cfg)
	c.urgent = urgent{inline: cfg.UrgentInline, standard: cfg.StdUrgent}
	c.rtxAt = clock.Never
	c.probeAt = clock.Never
	c.ackAt = clock.Never
	c.keepAt = clock.Never
	c.finAt = clock.Never
	c.rackAt = clock.Never
	c.tlpAt = clock.Never
	c.noTLP, c.noFRTO = cfg.NoTailLossProbe, cfg.NoFRTO
	c.noIdleRestart, c.noCollapse = cfg.NoIdleRestart, cfg.NoCollapse
	c.reordering, c.initialReordering = cfg.reordering(), cfg.reordering()
	c.pace = pacer{at: clock.Never}
	if cfg.Controller != nil {
		c.cc = cfg.Controller()
	} else {
		c.cc = &c.cubic // NewCubic, without an allocation
	}
	c.rcvMSS = min(c.mss, DefaultMSS)
	c.SetUserTimeout(cfg.UserTimeout)
	c.sndBuf.mem, c.rcvBuf.mem = cfg.memory(), cfg.memory()
	c.initReceiveWindow(cfg)
	c.mtu.mode, c.mtu.base = min(cfg.MTUProbing, MTUProbeAlways), cfg.baseMSS()
	c.initSendTuning(cfg)
}

func (c *Conn) initSend(iss Seq) {
	c.iss, c.sndUna, c.sndNxt, c.sndSml = iss, iss, iss, iss
	c.retransHint, c.highSeq, c.rack.next = iss, iss, iss
	c.usage.end = iss
	c.sndBuf.base = iss.Add(1)
}

// initReceive takes the peer's initial sequence number and its SYN's options.
func (c *Conn) initReceive(now clock.Time, irs Seq, o *Options) {
	c.irs = irs
	c.rcvNxt, c.rcvWup = irs.Add(1), irs.Add(1)
	c.rcvBuf.base, c.rcvBuf.nxt = c.rcvNxt, c.rcvNxt
	mss := int(o.MSS)
	if mss == 0 {
		mss = DefaultMSS
	}
	c.sndMSS = max(min(mss, c.mss), minMSS)
	c.useTS = c.useTS && o.HasTS
	c.initPath(now)
	c.useSACK = c.useSACK && o.SACKPermitted
	if c.useScale = c.useScale && o.HasWScale; c.useScale {
		c.sndScale = o.WScale
	} else {
		c.sndScale, c.rcvScale = 0, 0
		c.rw.ssthresh = min(c.rw.ssthresh, 65535)
	}
	// Our SYN announced that, or what its field can hold of it.
	c.rcvAdv = c.rcvNxt.Add(c.rw.ssthresh)
	if c.useTS {
		c.tsRecent, c.tsAge = o.TSVal, now
		c.stamps.begin(c.tsRecent, c.rcvNxt)
	}
	c.lastRecv = now
}

// Connect opens the connection actively (RFC 9293, section 3.10.1). iss and
// tsOffset come from a [Secret]. The SYN leaves with the next Output.
func (c *Conn) Connect(now clock.Time, cfg *Config, iss Seq, tsOffset uint32) {
	c.init(cfg, StateSynSent)
	c.initSend(iss)
	c.tsOffset = tsOffset
	c.useTS, c.useSACK = !cfg.NoTimestamps, !cfg.NoSACK
	c.rw.ssthresh = cfg.initialWindow(c.mss)
	c.offered = Options{MSS: uint16(c.mss), SACKPermitted: c.useSACK, HasTS: c.useTS, HasWScale: c.useScale, WScale: c.rcvScale}
	c.ecn.ask = cfg.ECN == ECNActive
	c.synOwed = true
}

// establish enters a synchronised state.
func (c *Conn) establish(now clock.Time, state State) {
	c.state = state
	c.events |= EventEstablished | EventWritable
	c.cc.Init(now, c.payloadMSS(), c.rtt.min)
	c.establishWindow()
	c.setSendLimit(c.sendTarget())
	if c.tries > 1 {
		// RFC 6928, section 2: after several losses in the handshake, begin with one
		// segment.
		c.cc.SetWindow(c.payloadMSS(), c.cc.Threshold())
	}
	c.usage.stamp = now
	c.updateBurst()
	c.rtxAt = clock.Never
	if c.ranges.count > 0 {
		c.rtxAt = now.Add(c.rtt.timeout(0))
	}
	c.backoff, c.tries, c.stalledSince = 0, 0, 0
	c.armKeepAlive(now)
}

// payloadMSS is how much data a full segment carries beside the options that
// every segment has.
func (c *Conn) payloadMSS() int {
	if c.useTS {
		return c.sndMSS - 12
	}
	return c.sndMSS
}

// outstanding is the number of sequence numbers sent and not acknowledged.
func (c *Conn) outstanding() int { return c.sndNxt.Sub(c.sndUna) }

// inFlight estimates how many segments are in the network ("pipe" in RFC 6675).
// Duplicate ACKs stand for segments that left it when the peer has no SACK.
func (c *Conn) inFlight() int {
	return max(c.packetsOut-c.sackedOut-c.lostOut+c.retransOut, 0)
}

// unsent is how many bytes were written and never sent.
func (c *Conn) unsent() int {
	if c.finSent {
		return 0
	}
	return c.sndBuf.end().Sub(maxSeq(c.sndNxt, c.sndBuf.base))
}

// die enters CLOSED. What was received can still be read.
func (c *Conn) die(err error) {
	if c.state == StateClosed {
		return
	}
	c.state = StateClosed
	c.err = err
	c.events |= EventClosed | EventReadable | EventWritable
	if c.fast != nil {
		c.fast.reset = err == ErrReset
		c.events |= EventFastOpen
	}
	if err != nil {
		c.events |= EventError
	}
	c.sndBuf.reset()
	c.stopSending()
	c.keepAt, c.finAt, c.ackAt = clock.Never, clock.Never, clock.Never
	c.ackNow, c.ackSoon, c.dupOwed = false, false, 0
	if c.orphan {
		c.rcvBuf.reset()
	}
}

// stopSending forgets everything that waits to be sent or acknowledged.
func (c *Conn) stopSending() {
	c.ranges.reset()
	c.packetsOut, c.sackedOut, c.lostOut, c.retransOut = 0, 0, 0, 0
	c.sndUna = c.sndNxt
	c.synOwed, c.probeOwed, c.forced = false, false, false
	c.rtxAt, c.probeAt, c.rackAt, c.tlpAt = clock.Never, clock.Never, clock.Never, clock.Never
	c.tlpOwed = false
	c.pace = pacer{at: clock.Never}
}

// reset ends the connection with a reset to the peer, and err for ourselves.
func (c *Conn) reset(err error) {
	if c.state.synchronized() || c.state == StateSynReceived {
		c.rstOwed, c.rstSeq = true, c.bareSeq()
	}
	c.die(err)
}

// Events returns what happened since the last call.
func (c *Conn) Events() Events {
	e := c.events
	c.events = 0
	return e
}

// Release gives the buffers back. It is called when nobody will read any more and
// the connection is CLOSED or in TIME-WAIT; memory of a batch under way follows
// with its Sent.
func (c *Conn) Release() {
	c.sndBuf.reset()
	c.rcvBuf.reset()
	c.ranges.reset()
}
