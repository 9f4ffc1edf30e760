package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// Passive is a connection in SYN-RECEIVED on the listening side: what must be
// remembered between the peer's SYN and its ACK, and no more. It has no buffers;
// data that comes early is sent again by the peer.
type Passive struct {
	localPort, remotePort uint16
	iss, irs              Seq
	peerMSS, mss          uint16
	window                uint16 // as announced in the SYN-ACK
	peerWindow            uint16
	sndScale, rcvScale    uint8
	useTS, useSACK        bool
	useScale              bool
	useECN                bool
	resent                bool // the SYN-ACK left more than once: no RTT sample (Karn)
	cookie                bool // there is no record; see MakeCookie
	tries, retries        uint8
	repeats               uint8 // of the SYN-ACK
	deferred              uint8
	invalidEvery          time.Duration
	acked                 bool // and the ACK did not count; see SetDeferAccept
	tsRecent, tsOffset    uint32
	lastStamp             uint32 // of a SYN-ACK
	sentAt, deadline      clock.Time
	createdAt             clock.Time
	challenge             clock.Time
}

// PassiveVerdict says what is to be done after an Input.
type PassiveVerdict uint8

const (
	// PassiveDrop: nothing.
	PassiveDrop PassiveVerdict = iota
	// PassiveResend: call Output and send the SYN-ACK again.
	PassiveResend
	// PassiveAck: send AckReply.
	PassiveAck
	// PassiveReset: answer with ResetFor; the record stays.
	PassiveReset
	// PassiveRemove: the peer has given up; forget the record.
	PassiveRemove
	// PassiveRefuse: answer with ResetFor and forget the record.
	PassiveRefuse
	// PassiveEstablish: the handshake is complete; make a Conn by Accept and forget
	// the record, or drop the segment and keep it if there is no room.
	PassiveEstablish
)

// Init makes the record from a SYN that a listener got (RFC 9293, section
// 3.10.7.2). iss and tsOffset come from a [Secret]. Output gives the SYN-ACK.
func (p *Passive) Init(now clock.Time, cfg *Config, syn *Segment, iss Seq, tsOffset uint32) {
	*p = Passive{
		localPort: cfg.LocalPort, remotePort: cfg.RemotePort,
		iss: iss, irs: syn.Seq,
		mss:        uint16(cfg.mss()),
		peerMSS:    syn.Options.MSS,
		window:     uint16(min(cfg.initialWindow(cfg.mss()), 65535)),
		peerWindow: syn.Window,
		useSACK:    syn.Options.SACKPermitted && !cfg.NoSACK,
		useTS:      syn.Options.HasTS && !cfg.NoTimestamps,
		useECN:     syn.asksECN() && cfg.ECN != ECNOff,
		tsOffset:   tsOffset, lastStamp: uint32(int64(now)/int64(time.Millisecond)) + tsOffset,
		retries: retries(cfg.SynAckRetries, DefaultSynAckRetries),
		sentAt:  now, createdAt: now,
		invalidEvery: cfg.invalidInterval(),
		deadline:     now.Add(initialRTO),
	}
	if syn.Options.HasWScale && !cfg.NoWindowScaling {
		p.useScale = true
		p.sndScale, p.rcvScale = syn.Options.WScale, cfg.windowScale()
	}
	if p.useTS {
		p.tsRecent = syn.Options.TSVal
		// Whole segments are shorter by the option, as Linux has it.
		p.window = uint16(min(cfg.initialWindow(cfg.mss()-12), 65535))
	}
}

// Output puts the SYN-ACK into b. No Sent is needed.
func (p *Passive) Output(now clock.Time, b *Batch) {
	p.OutputCookie(now, b, FastOpenNone, FastCookie{})
}

// OutputCookie is Output of a SYN-ACK that gives the peer a cookie, in the form in which
// it has asked for one. A repetition carries none, as in Linux: the option may be what
// was dropped.
func (p *Passive) OutputCookie(now clock.Time, b *Batch, form FastOption, cookie FastCookie) {
	b.reset()
	h := p.header(now)
	h.options.SetFastOpen(form, cookie)
	p.lastStamp = h.options.TSVal
	b.add(&h)
}

// strange reports whether a segment echoes a timestamp that no SYN-ACK had, as one of
// another connection does (Linux since 6.14).
func (p *Passive) strange(seg *Segment) bool {
	if !p.useTS || !seg.Options.HasTS || seg.Options.TSEcr == 0 || p.cookie {
		return false
	}
	first := uint32(int64(p.createdAt)/int64(time.Millisecond)) + p.tsOffset
	return seg.Options.TSEcr-first > p.lastStamp-first
}

// header is that of the SYN-ACK.
func (p *Passive) header(now clock.Time) header {
	h := header{
		srcPort: p.localPort, dstPort: p.remotePort,
		seq: p.iss, ack: p.irs.Add(1), flags: SYN | ACK, window: p.window,
		options: Options{MSS: p.mss, SACKPermitted: p.useSACK},
	}
	if p.useECN {
		h.flags |= ECE
	}
	if p.useScale {
		h.options.HasWScale, h.options.WScale = true, p.rcvScale
	}
	if p.useTS {
		h.options.HasTS, h.options.TSVal, h.options.TSEcr = true, p.tsNow(now), p.tsRecent
		if p.cookie {
			h.options.TSVal = p.cookieTime(now)
		}
	}
	return h
}

func (p *Passive) tsNow(now clock.Time) uint32 {
	return uint32(int64(now)/int64(time.Millisecond)) + p.tsOffset
}

// Input looks at a segment for this pair of ends (RFC 9293, section 3.10.7.4, for
// SYN-RECEIVED after a passive open).
func (p *Passive) Input(now clock.Time, seg *Segment) PassiveVerdict {
	if seg.Flags&(SYN|ACK|RST|FIN) == SYN && seg.Seq == p.irs {
		// The SYN again: the SYN-ACK was lost, or the peer is impatient. One answer a
		// while is enough.
		if now.Before(p.challenge) {
			return PassiveDrop
		}
		p.challenge = now.Add(p.invalidEvery)
		p.deadline = now.Add(initialRTO << p.tries) // the answer has its time, as in Linux
		p.resent = true
		p.repeats += b2u(p.repeats < 255)
		return PassiveResend
	}
	if seg.Flags&(ACK|RST) == ACK && seg.Ack != p.iss.Add(1) {
		return PassiveReset // whatever its number
	}
	next := p.irs.Add(1)
	edge := next.Add(int(p.window))
	paws := p.useTS && seg.Options.HasTS && !seg.Flags.Has(RST) && int32(seg.Options.TSVal-p.tsRecent) < 0
	if paws || p.strange(seg) || seg.End().Less(next) || edge.Less(seg.Seq) {
		if seg.Flags.Has(RST) {
			return PassiveDrop
		}
		if seg.Len() > 0 && !seg.Flags.Has(SYN) {
			return PassiveAck // data makes no loop of ACKs
		}
		if now.Before(p.challenge) {
			return PassiveDrop
		}
		p.challenge = now.Add(p.invalidEvery)
		return PassiveAck
	}
	switch {
	case seg.Flags.Has(RST):
		if seg.Seq == next { // RFC 5961, section 3.2
			return PassiveRemove
		}
		if now.Before(p.challenge) {
			return PassiveDrop
		}
		p.challenge = now.Add(p.invalidEvery)
		return PassiveAck
	case seg.Flags.Has(SYN) && seg.Seq != p.irs:
		// RFC 9293, section 3.10.7.4, fourth: back to LISTEN; the reset is Linux's.
		return PassiveRefuse
	case seg.Flags.Has(SYN): // the peer's own, with an ACK that it cannot have
		if now.Before(p.challenge) {
			return PassiveDrop
		}
		p.challenge = now.Add(p.invalidEvery)
		return PassiveAck
	case !seg.Flags.Has(ACK):
		return PassiveDrop
	case p.defers(seg):
		return PassiveDrop
	}
	return PassiveEstablish
}

// AckReply is the ACK that answers a segment which is not acceptable.
func (p *Passive) AckReply(now clock.Time) Reply {
	r := Reply{Seq: p.iss.Add(1), Ack: p.irs.Add(1), Flags: ACK, Window: p.window >> p.rcvScale}
	if p.useTS {
		r.HasTS, r.TSVal, r.TSEcr = true, p.tsNow(now), p.tsRecent
	}
	return r
}

// Deadline returns when Timeout wants to be called.
func (p *Passive) Deadline() clock.Time { return p.deadline }

// Timeout says whether to send the SYN-ACK again, or to forget the record because
// no answer came.
func (p *Passive) Timeout(now clock.Time) (resend, expired bool) {
	if now.Before(p.deadline) {
		return false, false
	}
	if p.tries >= p.retries {
		return false, true
	}
	p.tries++
	p.deadline = now.Add(initialRTO << p.tries)
	if p.quiet() {
		return false, false
	}
	p.resent = true
	p.repeats += b2u(p.repeats < 255)
	return true, false
}

// SentSeq returns the range of sequence numbers that are outstanding: what an ICMP
// message may name (RFC 5927, section 4.1).
func (p *Passive) SentSeq() (lo, hi Seq) { return p.iss, p.iss.Add(1) }

// Accept makes the connection that p has become: seg is the segment on which
// p.Input gave PassiveEstablish, and is processed with all that it carries. cfg is
// the one that p was made with.
func (c *Conn) Accept(now clock.Time, cfg *Config, p *Passive, seg *Segment) {
	c.begin(now, cfg, p, StateEstablished)
	c.setWindow(seg)
	if !p.resent {
		c.rtt.sample(now.Sub(p.sentAt), now.Sub(p.sentAt), c.sndUna, c.sndNxt)
	} else if rtt := c.timestampRTT(now, seg); rtt > 0 {
		c.rtt.sample(rtt, rtt, c.sndUna, c.sndNxt)
	} else {
		c.rtt.rto = synLossRTO
	}
	c.tries = p.tries
	c.stats.retransmits = uint32(p.repeats)
	c.stats.segsIn, c.stats.segsOut, c.stats.deliveredSegs = 1, 0, 1 // the SYN-ACK is delivered, but not counted as sent, as in Linux
	c.establish(now, StateEstablished)
	c.Input(now, seg)
}

// begin takes from p what has been said in the handshake.
func (c *Conn) begin(now clock.Time, cfg *Config, p *Passive, state State) {
	c.init(cfg, state)
	c.initSend(p.iss)
	c.sndUna, c.sndNxt, c.sndSml = p.iss.Add(1), p.iss.Add(1), p.iss.Add(1)
	c.retransHint, c.highSeq, c.rack.next, c.usage.end = c.sndUna, c.sndUna, c.sndUna, c.sndUna
	c.tsOffset = p.tsOffset
	c.useTS, c.useSACK, c.ecn.on = p.useTS, p.useSACK, p.useECN
	c.rw.ssthresh = max(cfg.initialWindow(c.receiveMSS()), int(p.window))
	o := Options{MSS: p.peerMSS, SACKPermitted: p.useSACK, HasTS: p.useTS, TSVal: p.tsRecent, HasWScale: p.useScale, WScale: p.sndScale}
	c.initReceive(now, p.irs, &o)
	c.sndWnd = int(p.peerWindow)
}
