package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// MTUProbing says whether a connection finds out by itself how large its segments may
// be (RFC 4821), in Linux's numbers (tcp_mtu_probing).
type MTUProbing uint8

const (
	// MTUProbeNever believes the handshake and ICMP (RFC 1191).
	MTUProbeNever MTUProbing = iota
	// MTUProbeBlackHole begins when repeated timeouts suggest that large segments vanish
	// and that nobody says so.
	MTUProbeBlackHole
	// MTUProbeAlways begins with small segments and probes upwards.
	MTUProbeAlways
)

// Constants of RFC 4821, section 7, with Linux's values.
const (
	// DefaultBaseMSS is where probing begins (section 7.2 asks for 1024 bytes).
	DefaultBaseMSS = 1024
	// mtuThreshold is the range that is not worth another probe, mtuAgain when one that
	// was searched is searched anew.
	mtuThreshold = 8
	mtuAgain     = 10 * time.Minute
	// mtuProbeWindow is the least congestion window, in segments, from which a probe is
	// taken: its loss must not leave the sender without ACKs.
	mtuProbeWindow = 11
	// blackHole is how long nothing must have come through: 3 timeouts from the least on.
	blackHole = 3 * time.Second
	// pathAge is when a path that was found narrow is believed to be wide again (RFC
	// 1191, section 6.3).
	pathAge = 10 * time.Minute
)

// pathMTU is how large segments may be; all sizes are those of sndMSS, options
// included.
type pathMTU struct {
	most, path int        // what the handshake allows, and ICMP of it
	until      clock.Time // path is believed until then; 0: it is most

	mode      MTUProbing
	on        bool
	base      int
	low, high int        // what has come through, and what may
	size      int        // of the probe under way, 0 if there is none …
	start     Seq        // … which is [start, end)
	end       Seq        //
	at        clock.Time // when the search began
}

// initPath begins with what the handshake allows.
func (c *Conn) initPath(now clock.Time) {
	m := &c.mtu
	told := m.path // of the SYN, by ICMP
	m.most, m.path = c.sndMSS, c.sndMSS
	if m.until != 0 && told < m.path {
		m.path = told
	}
	m.high = m.path
	m.low = m.base + c.mss - c.receiveMSS()
	if m.mode >= MTUProbeAlways {
		m.on, m.at = true, now
	}
	c.sndMSS = m.segment()
}

// segment is the size of segments.
func (m *pathMTU) segment() int {
	if m.on {
		return min(m.path, m.low)
	}
	return m.path
}

// syncMSS lets the size of segments follow.
func (c *Conn) syncMSS() {
	c.mtu.high = min(c.mtu.high, c.mtu.path)
	if mss := max(c.mtu.segment(), minMSS); mss != c.sndMSS {
		c.sndMSS = mss
		c.cc.SetMSS(c.payloadMSS())
	}
}

// PacketTooBig tells that the path carries no more than mss bytes behind the IP
// header and 20 (RFC 1191, RFC 5927, section 7). What was sent in larger segments
// is lost. It reports whether that was believed: the number must be that of an
// outstanding segment. Of a SYN, which is small, it is remembered for what follows.
func (c *Conn) PacketTooBig(now clock.Time, seq Seq, mss int) bool {
	if !seq.inRange(c.sndUna, c.sndNxt) {
		return false
	}
	mss = max(mss, minPathMSS)
	if !c.state.synchronized() {
		if c.mtu.until == 0 || mss < c.mtu.path {
			c.mtu.path, c.mtu.until = mss, now.Add(pathAge)
		}
		return true
	}
	if mss >= c.mtu.path {
		return false
	}
	c.mtu.path, c.mtu.until = mss, now.Add(pathAge)
	c.syncMSS()
	c.repeatLarge()
	return true
}

// repeatLarge sends again what was sent in segments that are too large. The loss says
// nothing of congestion: it is repaired as after a timeout, without a reduction of the
// window (RFC 1191, section 6.4; RFC 4821, section 7.5).
func (c *Conn) repeatLarge() {
	for i := range c.ranges.count {
		r := c.ranges.at(i)
		size := int(r.size)
		if r.segs == 1 {
			size = c.dataLen(r) // less than a full segment, perhaps
		}
		if size > c.payloadMSS() && r.flags&rangeSacked == 0 {
			c.takeForLost(r)
		}
	}
	if c.lostOut > c.retransOut {
		c.repeat = repeatLost
		if c.recovery != recoveryLoss { // fast recovery gives way: PRR would hold up what was not lost to congestion
			c.recovery, c.highSeq = recoveryLoss, c.sndNxt
			c.undo.armed, c.frto = false, false
		}
	}
}

// widen believes the path to be wide again when it was narrow for long enough.
func (c *Conn) widen(now clock.Time) {
	if m := &c.mtu; m.until != 0 && !now.Before(m.until) {
		m.path, m.until = m.most, 0
		if !m.on {
			m.high = m.most
		}
		c.syncMSS()
	}
}

// suspectBlackHole follows a retransmission timeout: when nothing has come through for
// a while, large segments may vanish without a word (RFC 4821, section 7.7; RFC 2923,
// section 2.1).
func (c *Conn) suspectBlackHole(now clock.Time) {
	m := &c.mtu
	m.size = 0 // a probe that was under way says nothing
	if m.mode == MTUProbeNever || c.tries == 0 || now.Sub(c.lossSince) < blackHole {
		return
	}
	if !m.on {
		m.on, m.at = true, now
	} else {
		options := c.mss - c.receiveMSS()
		m.low = max(min(m.base, (m.low-options)/2), minMSS) + options
	}
	c.syncMSS()
}

// probeMTU sends a segment that is larger than the others when it is time to (RFC
// 4821, section 7.3); its data is ordinary data. wait says that a probe is due and
// nothing else shall be sent before it can leave.
func (c *Conn) probeMTU(now clock.Time, b *Batch) (sent int, wait bool) {
	m := &c.mtu
	cwnd := c.cwnd()
	if !m.on || m.size > 0 || c.recovery != recoveryOpen || cwnd < mtuProbeWindow ||
		c.tlpNew || len(c.rcvBuf.runs) > 0 || c.hasDSACK() {
		return 0, false
	}
	if m.high-m.low < mtuThreshold {
		if now.Sub(m.at) >= mtuAgain {
			m.low, m.high, m.at = c.sndMSS, m.most, now
		}
		return 0, false
	}
	mss := c.payloadMSS()
	size := (m.high + m.low) / 2
	n := size - (c.sndMSS - mss)
	need := n + (int(c.reordering)+1)*mss
	switch window := c.sndUna.Add(c.sndWnd).Sub(c.sndNxt); {
	case c.unsent() < need || c.sndWnd < need || n > len(b.parts[0])*ChunkSize-ChunkSize || b.full():
		return 0, false
	case window < need:
		return 0, true
	}
	if c.inFlight()+2 > cwnd {
		return 0, c.inFlight() > 0
	}
	r := sentRange{
		seq: c.sndNxt, end: c.sndNxt.Add(n), inFlight: uint32((c.inFlight() + 1) * mss),
		segs: 1, size: uint16(min(n, 65535)),
	}
	m.size, m.start, m.end = size, r.seq, r.end
	c.snapshot(now, &r)
	c.sndNxt = r.end
	c.pace.sent(n, c.pacingRate())
	first := c.packetsOut == 0
	c.ranges.push(r)
	c.packetsOut++
	c.emitRange(now, b, &r)
	c.stats.bytesOut += uint64(n)
	c.lastSent = now
	if first {
		c.setTimer(timerRetransmit, c.retransmitAt(now))
	} else if c.tlpAt != clock.Never {
		c.rearmTimeout(now)
	}
	c.probeAt = clock.Never
	return 1, false
}

// probeAcked follows an acknowledgement: a probe that it covers came through.
func (c *Conn) probeAcked() {
	if m := &c.mtu; m.size > 0 && m.end.LessEq(c.sndUna) {
		m.low, m.size = m.size, 0
		c.syncMSS()
	}
}

// probeFailed reports whether what seems lost is a probe: then the path is to blame, and
// not congestion (RFC 4821, section 7.5).
func (c *Conn) probeFailed() bool {
	m := &c.mtu
	if m.size == 0 || m.start != c.sndUna || c.recovery > recoveryDisorder {
		return false
	}
	m.high, m.size = m.size-1, 0
	c.repeatLarge()
	return true
}
