package tcp

import (
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

// restDelay is how long a connection must have been silent before Rest takes it: long
// enough for a conversation not to pay for it, short enough for connections that
// come in crowds and then wait.
const restDelay = 500 * time.Millisecond

// restUndoDelay is how long it must have been after a reduction of the congestion window
// that a D-SACK may still prove to have been in vain.
const restUndoDelay = 5 * time.Second

// Rest is what remains of a connection on which nothing happens: no data in its
// buffers, nothing in flight, nothing owed, no timer but the one of keep-alive. It
// is a fifth of a [Conn] in size, and Wake makes the connection of it again.
//
// What is left out is the scratch of what is over (loss recovery, the rate
// estimator's last sample, the pacer's schedule), and what the pause has made
// stale: a congestion window's growth begins anew after it (RFC 5681, section 4.1),
// so that CUBIC's epoch and HyStart's round need not be kept.
type Rest struct {
	flags                                   restFlags
	state                                   State
	sndScale, rcvScale, rcvRatio, quickAcks uint8
	rackMult, rackPersist                   uint8
	synRetries, synLinear                   uint8
	retries, orphanRetries                  uint8
	fastBits                                fastBits
	localPort, remotePort                   uint16
	mss, sndMSS, maxGSO, rcvMSS             uint16
	reordering, initialReordering           uint16
	iss, irs                                Seq
	sndUna, sndWl1, sndWl2, highSeq         Seq
	rcvNxt, rcvAdv, rcvWup                  Seq
	tsRecent, tsOffset                      uint32
	sndWnd, maxWnd                          uint32
	sndLimit, sndMost                       uint32
	receive                                 restReceive
	figures                                 restFigures
	keepAlive                               restKeepAlive
	cubic                                   restCubic
	rtt                                     rttEstimator
	rackRTT                                 time.Duration
	ato                                     int64
	busy                                    time.Duration
	delivered, rateShown                    uint64
	lastSent, lastData, lastRecv            clock.Time
	tsAge, keepAt                           clock.Time
	more                                    *restMore
}

// restFlags are a connection's bits.
type restFlags uint32

const (
	restNoDelay restFlags = 1 << iota
	restOrphan
	restReadShut
	restTS
	restSACK
	restFINQueued
	restFINSent
	restFINKnown
	restFINTaken
	restNoTLP
	restNoFRTO
	restNoIdleRestart
	restNoCollapse
	restECN
	restECNSeen
	restECNEcho
	restECNReduced
	restPingPong
	restCoarse
	restAppLimited
	restRateLimited
	restKeepAliveOn
	restHasCubic
	restCubicFound // HyStart has ended slow start
	restCubicPP
	restUrgentInline
	restUrgentStandard
	restKeepTimeWait
	restSendFixed
	restReceiveFixed
	restNoReceiveTuning
	restScale
)

// restFigures are the counters that every connection moves, as long as they are
// small.
type restFigures [10]uint32

// restKeepAlive is a KeepAlive in milliseconds.
type restKeepAlive struct {
	idle, interval uint32
	count          uint16
}

// restCubic is a cubic before its epoch.
type restCubic struct {
	cwnd, ssthresh, wMax uint32
	minRTT               time.Duration
}

// restReceive is the receive window of an empty buffer, and what tuning has found.
type restReceive struct {
	space, maxSpace, clamp, ssthresh uint32
	read, rtt                        uint32 // per round trip, and that in 8ths of a microsecond
}

func (c *Conn) restReceive() restReceive {
	w, t := &c.rw, &c.drs
	return restReceive{
		uint32(w.space), uint32(w.maxSpace), uint32(w.clamp), uint32(w.ssthresh),
		uint32(t.space), uint32(min(t.rtt/time.Microsecond, math.MaxUint32)),
	}
}

// wakeReceive restores it; the measurements of tuning begin anew.
func (c *Conn) wakeReceive(r *restReceive) {
	w, t := &c.rw, &c.drs
	w.space, w.maxSpace, w.clamp, w.ssthresh = int(r.space), int(r.maxSpace), int(r.clamp), int(r.ssthresh)
	w.note()
	t.begin(c, int(r.read))
	t.rtt = time.Duration(r.rtt) * time.Microsecond
}

// restMore holds what few connections have.
type restMore struct {
	err, soft    error
	cc           Controller // another one than cubic
	tuning       tuning
	keepAlive    KeepAlive
	userTimeout  int64
	invalidEvery time.Duration
	chrono       chrono
	stats        counters
	mtu          pathMTU
	receiveLowat int32
}

// RestAt returns from when on Rest would take the connection if nothing happens
// until then; clock.Never if something must happen first.
func (c *Conn) RestAt() clock.Time {
	if !c.idle() {
		return clock.Never
	}
	delay := max(restDelay, c.rtt.timeout(0))
	if c.undo.armed && c.undo.repeated > 0 {
		delay = max(delay, restUndoDelay)
	}
	return max(c.lastSent, c.lastRecv).Add(delay + time.Millisecond)
}

// idle reports whether nothing is buffered, in flight or owed.
func (c *Conn) idle() bool {
	if c.ranges.count > 0 || c.sndBuf.len > 0 || c.sndBuf.pinned || c.rcvBuf.buffered() > 0 || len(c.rcvBuf.runs) > 0 {
		return false
	}
	switch c.state {
	case StateEstablished, StateCloseWait:
		return !c.finQueued && c.sndUna == c.sndNxt && c.finKnown == c.finTaken &&
			min(c.rtxAt, c.probeAt, c.ackAt, c.finAt, c.rackAt, c.tlpAt, c.pace.at) == clock.Never &&
			c.recovery == recoveryOpen && c.backoff|c.probeBackoff|c.tries|c.probes|c.dupOwed == 0 && c.kaProbes == 0 &&
			!c.ackNow && !c.ackSoon && !c.ack.owed && c.gapHeld == 0 && !c.hasDSACK() &&
			!c.urgent.sending && (c.urgent.state == urgentNone || c.urgent.at.Less(c.rcvBuf.base))
	case StateClosed, StateTimeWait:
		return true
	}
	return false
}

// Rest moves an idle connection to r and reports true; c can then serve another
// one. It reports false, and leaves c as it is, when the connection is not idle, or
// not for long enough. A connection that is CLOSED or in TIME-WAIT, of which nothing
// is owed and which was released, is taken at once.
func (c *Conn) Rest(now clock.Time, r *Rest) bool {
	over := c.state == StateClosed || c.state == StateTimeWait
	if c.RestAt() > now && !over || !c.idle() || c.events != 0 || c.fast != nil ||
		c.synOwed || c.rstOwed || c.replyOwed || c.probeOwed || c.forced || c.tlpOwed || c.tlp.active ||
		!over && (c.stalledSince|c.probesSince != 0 || c.chrono.kind != chronoIdle || now.Before(c.challenge)) {
		return false
	}
	*r = Rest{
		state: c.state, sndScale: c.sndScale, rcvScale: c.rcvScale, quickAcks: c.quickAcks,
		rackMult: c.rack.mult, rackPersist: c.rack.persist,
		synRetries: c.synRetries, synLinear: c.synLinear, retries: c.retries, orphanRetries: c.orphanRetries, fastBits: c.fastBits,
		localPort: c.localPort, remotePort: c.remotePort,
		reordering: c.reordering, initialReordering: c.initialReordering,
		mss: uint16(c.mss), sndMSS: uint16(c.sndMSS), maxGSO: uint16(c.maxGSO), rcvMSS: uint16(c.rcvMSS),
		iss: c.iss, irs: c.irs,
		sndUna: c.sndUna, sndWl1: c.sndWl1, sndWl2: c.sndWl2, highSeq: c.highSeq,
		rcvNxt: c.rcvNxt, rcvAdv: c.rcvAdv, rcvWup: c.rcvWup,
		tsRecent: c.tsRecent, tsOffset: c.tsOffset,
		sndWnd: uint32(c.sndWnd), maxWnd: uint32(c.maxWnd), sndLimit: uint32(c.sndBuf.limit),
		sndMost: uint32(c.sndMost), receive: c.restReceive(), rcvRatio: c.rw.ratio,
		rtt: c.rtt, rackRTT: c.rack.rtt, ato: c.ato, busy: c.chrono.total[chronoBusy],
		delivered: c.delivered, rateShown: c.rateShown, lastSent: c.lastSent, lastData: c.lastData, lastRecv: c.lastRecv,
		tsAge: c.tsAge, keepAt: c.keepAt,
	}
	for _, f := range c.restBits() {
		if *f.on {
			r.flags |= f.flag
		}
	}
	if c.rate.appLimited != 0 {
		r.flags |= restAppLimited
	}
	more := restMore{err: c.err, soft: c.soft, tuning: c.tuning, userTimeout: c.userTimeout, invalidEvery: c.invalidEvery, receiveLowat: c.receiveLowat}
	more.tuning.noSpace, more.tuning.more = false, false // what they were about has been sent
	more.chrono.total[chronoWindow], more.chrono.total[chronoBuffer] = c.chrono.total[chronoWindow], c.chrono.total[chronoBuffer]
	needed := c.err != nil || c.soft != nil || more.tuning != (tuning{}) || c.userTimeout != 0 || c.receiveLowat != 0 ||
		c.invalidEvery != DefaultInvalidInterval || more.chrono != (chrono{})
	if c.mtu.mode != MTUProbeNever || c.mtu.until != 0 {
		more.mtu, needed = c.mtu, true
	}
	if c.keepAlive.Enable {
		r.flags |= restKeepAliveOn
	}
	if !r.keepAlive.set(&c.keepAlive) {
		more.keepAlive, needed = c.keepAlive, true
	}
	if !r.figures.set(&c.stats) {
		more.stats, needed = c.stats, true
	}
	if q, ok := c.cc.(*cubic); !ok {
		more.cc, needed = c.cc, needed || c.cc != nil
	} else {
		r.flags |= restHasCubic
		if q.hystart.found {
			r.flags |= restCubicFound
		}
		if q.plusPlus {
			r.flags |= restCubicPP
		}
		r.cubic = restCubic{uint32(q.cwnd), uint32(q.ssthresh), uint32(q.wMax), q.minRTT}
	}
	if needed {
		r.more = new(restMore)
		*r.more = more
	}
	c.Reset()
	return true
}

// Wake makes c the connection that r was taken of. mem is where its buffers get
// their memory from.
func (c *Conn) Wake(r *Rest, mem Memory) {
	una := r.sndUna
	c.Reset() // and not a composite literal, which would stand on the stack first
	c.state = r.state
	c.sndScale = r.sndScale
	c.rcvScale = r.rcvScale
	c.quickAcks = r.quickAcks
	c.rack = rackState{rtt: r.rackRTT, next: una, mult: r.rackMult, persist: r.rackPersist}
	c.reordering = r.reordering
	c.initialReordering = r.initialReordering
	c.synRetries = r.synRetries
	c.synLinear = r.synLinear
	c.retries = r.retries
	c.orphanRetries = r.orphanRetries
	c.fastBits = r.fastBits
	c.localPort = r.localPort
	c.remotePort = r.remotePort
	c.invalidEvery = DefaultInvalidInterval
	c.mss = int(r.mss)
	c.sndMSS = int(r.sndMSS)
	c.maxGSO = int(r.maxGSO)
	c.rcvMSS = int(r.rcvMSS)
	c.iss = r.iss
	c.irs = r.irs
	c.sndUna = una
	c.sndNxt = una
	c.sndSml = una
	c.retransHint = una
	c.usage = windowUsage{end: una, stamp: r.lastSent}
	c.highSeq = r.highSeq
	c.sndWl1 = r.sndWl1
	c.sndWl2 = r.sndWl2
	c.rcvNxt = r.rcvNxt
	c.rcvAdv = r.rcvAdv
	c.rcvWup = r.rcvWup
	c.tsRecent = r.tsRecent
	c.stamps.begin(c.tsRecent, c.rcvNxt)
	c.tsOffset = r.tsOffset
	c.sndWnd = int(r.sndWnd)
	c.maxWnd = int(r.maxWnd)
	c.sndMost = int(r.sndMost)
	c.rtt = r.rtt
	c.ato = r.ato
	c.chrono = chrono{total: [chronoKinds]time.Duration{chronoBusy: r.busy}}
	c.delivered = r.delivered
	c.rateShown = r.rateShown
	c.lastSent = r.lastSent
	c.lastData = r.lastData
	c.lastRecv = r.lastRecv
	c.tsAge = r.tsAge
	c.keepAt = r.keepAt
	c.rtxAt = clock.Never
	c.probeAt = clock.Never
	c.ackAt = clock.Never
	c.finAt = clock.Never
	c.rackAt = clock.Never
	c.tlpAt = clock.Never
	c.pace = pacer{at: clock.Never}
	c.keepAlive = r.keepAlive.get()
	c.stats = r.figures.get()
	for _, f := range c.restBits() {
		*f.on = r.flags&f.flag != 0
	}
	c.sndBuf.mem, c.sndBuf.base, c.sndBuf.limit = mem, una, int(r.sndLimit)
	data := r.rcvNxt
	if c.finTaken {
		data = data.Add(-1)
		c.finSeq = data
	}
	c.rcvBuf.mem, c.rcvBuf.base, c.rcvBuf.nxt = mem, data, data
	c.rw.ratio = r.rcvRatio
	c.wakeReceive(&r.receive)
	c.keepAlive.Enable = r.flags&restKeepAliveOn != 0
	if r.flags&restAppLimited != 0 {
		c.rate.appLimited = max(c.delivered, 1)
	}
	c.mtu = pathMTU{most: c.sndMSS, path: c.sndMSS, low: DefaultBaseMSS, high: c.sndMSS, base: DefaultBaseMSS}
	if m := r.more; m != nil {
		if m.mtu.most > 0 {
			c.mtu = m.mtu
		}
		c.err, c.soft, c.cc = m.err, m.soft, m.cc
		c.tuning, c.userTimeout, c.invalidEvery, c.receiveLowat = m.tuning, m.userTimeout, m.invalidEvery, m.receiveLowat
		c.chrono.total[chronoWindow], c.chrono.total[chronoBuffer] = m.chrono.total[chronoWindow], m.chrono.total[chronoBuffer]
		if r.keepAlive == (restKeepAlive{}) {
			c.keepAlive = m.keepAlive
		}
		if r.figures == (restFigures{}) {
			c.stats = m.stats
		}
	}
	if r.flags&restHasCubic != 0 {
		q := &c.cubic
		q.init(c.payloadMSS())
		q.hystart.reset()
		q.hystartPP.reset()
		q.cwnd, q.ssthresh, q.wMax, q.minRTT = int(r.cubic.cwnd), int(r.cubic.ssthresh), int(r.cubic.wMax), r.cubic.minRTT
		q.hystart.found, q.hystart.minRTT = r.flags&restCubicFound != 0, q.minRTT
		q.plusPlus = r.flags&restCubicPP != 0
		c.cc = q
	}
	if c.cc != nil && c.state.synchronized() {
		c.updateBurst()
	}
}

// Reset makes c a Conn like the zero value, but for memory that the next connection
// can use: it is for Conns that serve many connections, one after the other. The one
// before was taken by Rest, or released.
func (c *Conn) Reset() {
	kept := c.takeRings()
	*c = Conn{}
	c.setRings(kept)
}

// restBit is a bit and where a Conn has it.
type restBit struct {
	flag restFlags
	on   *bool
}

func (c *Conn) restBits() [27]restBit {
	return [...]restBit{
		{restNoDelay, &c.noDelay}, {restOrphan, &c.orphan}, {restReadShut, &c.readShut},
		{restTS, &c.useTS}, {restSACK, &c.useSACK},
		{restFINQueued, &c.finQueued}, {restFINSent, &c.finSent}, {restFINKnown, &c.finKnown}, {restFINTaken, &c.finTaken},
		{restNoTLP, &c.noTLP}, {restNoFRTO, &c.noFRTO}, {restNoIdleRestart, &c.noIdleRestart}, {restNoCollapse, &c.noCollapse},
		{restRateLimited, &c.rateLimited}, {restECN, &c.ecn.on}, {restECNSeen, &c.ecn.seen}, {restECNEcho, &c.ecn.echo}, {restECNReduced, &c.ecn.reduced},
		{restPingPong, &c.pingPong},
		{restCoarse, &c.rack.coarse},
		{restUrgentInline, &c.urgent.inline}, {restUrgentStandard, &c.urgent.standard},
		{restKeepTimeWait, &c.keepTimeWait},
		{restSendFixed, &c.sndFixed}, {restReceiveFixed, &c.rw.fixed}, {restNoReceiveTuning, &c.rw.noTuning}, {restScale, &c.useScale},
	}
}

// set keeps k if milliseconds can hold it. The zero value stands for what they
// can't.
func (r *restKeepAlive) set(k *KeepAlive) bool {
	*r = restKeepAlive{uint32(k.Idle / time.Millisecond), uint32(k.Interval / time.Millisecond), uint16(k.Count)}
	back := r.get()
	back.Enable = k.Enable
	if back != *k {
		*r = restKeepAlive{}
		return *k == (KeepAlive{})
	}
	return true
}

func (r *restKeepAlive) get() KeepAlive {
	return KeepAlive{
		Idle: time.Duration(r.idle) * time.Millisecond, Interval: time.Duration(r.interval) * time.Millisecond,
		Count: int(r.count),
	}
}

// set keeps s if no counter is too large and none is set that most connections never
// move. The zero value stands for what it can't hold.
func (f *restFigures) set(s *counters) bool {
	for i, n := range [...]uint64{
		s.segsIn, s.segsOut, s.bytesIn, s.bytesOut, s.bytesAcked, s.dataSegsIn, s.dataSegsOut, s.deliveredSegs,
		uint64(s.pureAcksOut), uint64(s.delayedAcks),
	} {
		f[i] = uint32(min(n, math.MaxUint32))
	}
	if f.get() != *s {
		*f = restFigures{}
		return *s == (counters{})
	}
	return true
}

func (f *restFigures) get() counters {
	return counters{
		segsIn: uint64(f[0]), segsOut: uint64(f[1]), bytesIn: uint64(f[2]), bytesOut: uint64(f[3]), bytesAcked: uint64(f[4]),
		dataSegsIn: uint64(f[5]), dataSegsOut: uint64(f[6]), deliveredSegs: uint64(f[7]),
		pureAcksOut: f[8], delayedAcks: f[9],
	}
}

// Rings of at most so many entries stay with a Conn that serves another connection.
const (
	keptChunks = 16
	keptRanges = 16
)

// rings is the memory that a Conn's deques keep between connections.
type rings struct {
	send, receive []*Chunk
	ranges        []sentRange
}

// takeRings takes the deques' memory out of c. They are empty, or the garbage of a
// connection that was not released.
func (c *Conn) takeRings() (r rings) {
	if n := len(c.sndBuf.chunks.ring); n > 0 && n <= keptChunks && c.sndBuf.chunks.count == 0 {
		r.send = c.sndBuf.chunks.ring
	}
	if n := len(c.rcvBuf.chunks.ring); n > 0 && n <= keptChunks && c.rcvBuf.chunks.count == 0 {
		r.receive = c.rcvBuf.chunks.ring
	}
	if n := len(c.ranges.ring); n > 0 && n <= keptRanges && c.ranges.count == 0 {
		r.ranges = c.ranges.ring
	}
	return r
}

func (c *Conn) setRings(r rings) {
	c.sndBuf.chunks.ring, c.rcvBuf.chunks.ring, c.ranges.ring = r.send, r.receive, r.ranges
}

// Silent reports whether Conn.Read of the connection that rests would have nothing to
// tell: no data, no end.
func (r *Rest) Silent() bool {
	return r.state == StateEstablished && r.flags&(restFINTaken|restReadShut|restOrphan) == 0
}

// Deadline is Conn.Deadline of the connection that rests.
func (r *Rest) Deadline() clock.Time {
	if r.state == 0 {
		return clock.Never
	}
	return r.keepAt
}
