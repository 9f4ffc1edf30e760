package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// FastOpenConfig says what of TCP Fast Open (RFC 7413) is there. With the zero value
// applications get it in both roles when they ask for it, per socket: data on a SYN may
// be delivered twice, so that it is nothing to be had unasked (section 2.1). Linux has
// the same as bits of tcp_fastopen, and begins with the client's role only.
type FastOpenConfig struct {
	// NoClient and NoServer leave a role out (the bits 1 and 2, if they are not set).
	NoClient, NoServer bool
	// ClientWithoutCookie and ServerWithoutCookie send and take data without one (bits 4
	// and 0x200): for networks in which nobody can lie about his address.
	ClientWithoutCookie, ServerWithoutCookie bool
	// AllListeners has every listener allow as many pending connections as its backlog
	// (bit 0x400).
	AllListeners bool
	// Keys are what cookies are made with: the first, of two at most. Those of the second,
	// which was the first before, are still accepted (section 5.1). Without keys one is
	// drawn when the stack begins.
	Keys []FastOpenKey
	// BlackHoleTimeout is how long no SYN carries data after a path seems to have swallowed
	// one, twice as long each time up to 64 times; 0, Linux's default, switches that off.
	// Three timeouts in a row are what is taken for it. The other sign that Linux knows, an
	// end or reset behind a gap with nothing else received, is not looked at.
	BlackHoleTimeout time.Duration
}

// fastBits is what remains known of a handshake with Fast Open.
type fastBits uint8

const (
	fastUsed      fastBits = 1 << iota // our SYN had the option or data
	fastSynData                        // the data on a SYN was acknowledged by the SYN-ACK
	fastBlackHole                      // repeated timeouts, to be told
	fastFailShift = 6                  // the upper two bits are Linux's tcpi_fastopen_client_fail
)

// Why a Fast Open failed, in Linux's numbers.
const (
	fastNoCookie    = 1
	fastDataIgnored = 2
	fastSynRepeated = 3
)

func (c *Conn) fastFailed(why fastBits) {
	c.fastBits = c.fastBits&(1<<fastFailShift-1) | why<<fastFailShift
}

// fastOpen is what a handshake with Fast Open needs beyond any other.
type fastOpen struct {
	form   FastOption // of the option on the first SYN or SYN-ACK
	cookie FastCookie
	reset  bool // the peer has reset the connection in the handshake

	passive bool
	synAck  Passive // what the SYN-ACK says; it is never looked up

	deferred, data bool
	room           int // how much data the SYN carries
	news           FastOpenNews
}

// FastOpenNews tells what a handshake with Fast Open has come to.
type FastOpenNews struct {
	// Passive is a connection that AcceptFast made: its handshake is over; by a reset of
	// the peer's if Reset is set.
	Passive, Reset bool
	// Answered is a connection that Connect made, whose SYN was answered: Form and Cookie
	// are the SYN-ACK's option and MSS its segment size, 0 if it had none. Asked is the
	// form of the option that the first SYN had. Data says that it carried data, Taken
	// that all of it was acknowledged, Repeated that the SYN left again, without option
	// and data.
	Answered, Data, Taken, Repeated bool
	Asked, Form                     FastOption
	Cookie                          FastCookie
	MSS                             int
	// BlackHole: what looks like a path that swallows such connections.
	BlackHole bool
}

// TakeFastOpen returns what there is to tell, once.
func (c *Conn) TakeFastOpen() (n FastOpenNews) {
	if f := c.fast; f != nil && (f.news.Answered || c.state != StateSynReceived && c.state != StateSynSent) {
		n = f.news
		n.Passive, n.Reset = f.passive, f.passive && f.reset
		c.fast = nil
	}
	n.BlackHole = c.fastBits&fastBlackHole != 0
	c.fastBits &^= fastBlackHole
	return n
}

// FastStart is what a SYN may carry beyond what it must (RFC 7413, section 4.2.1).
type FastStart struct {
	// Form is that of the option, FastOpenNone for none. An empty Cookie asks for one.
	Form   FastOption
	Cookie FastCookie
	// Data sends data, as it is to be with a cookie. MSS is the peer's as it was last
	// time, 0 if that is not known.
	Data bool
	MSS  int
	// Defer holds the SYN back until FastWrite.
	Defer bool
}

// FastOpen follows Connect: the SYN, which must not have left yet, is to be as f says.
func (c *Conn) FastOpen(f *FastStart) {
	if c.state != StateSynSent || c.ranges.count > 0 {
		return
	}
	c.fast = &fastOpen{form: f.Form, cookie: f.Cookie, data: f.Data, deferred: f.Defer}
	c.fast.news.Asked = f.Form
	c.synOwed = !f.Defer
	switch {
	case f.Data:
		mss := c.mss
		if f.MSS > 0 {
			mss = min(mss, max(f.MSS, minMSS))
		}
		// All the room for options is left free, as Linux does for the sake of middleboxes
		// that add some.
		c.fast.room = max(mss-(MaxHeaderLen-HeaderLen), 0)
	case f.Form != FastOpenNone:
		c.fastFailed(fastNoCookie)
	}
}

// FastDeferred reports whether the SYN waits for FastWrite.
func (c *Conn) FastDeferred() bool { return c.fast != nil && c.fast.deferred }

// FastWrite gives the SYN data, and lets it go with the next Output. It returns how much
// the SYN takes; 0 if it has left already, or carries none.
func (c *Conn) FastWrite(now clock.Time, p []byte) int {
	f := c.fast
	if f == nil || c.state != StateSynSent || c.ranges.count > 0 {
		return 0
	}
	f.deferred, c.synOwed = false, true
	if !f.data {
		return 0
	}
	n, _ := c.Write(now, p[:min(len(p), max(f.room-c.sndBuf.len, 0))])
	return n
}

// Opening reports whether nothing can be read or written yet.
func (c *Conn) Opening() bool {
	return c.state == StateSynSent && !c.FastDeferred() || c.state == StateSynReceived && !c.fastPassive()
}

func (c *Conn) fastPassive() bool {
	return c.state == StateSynReceived && c.fast != nil && c.fast.passive
}

// AcceptFast makes the connection of a SYN that has brought a good cookie, before the
// handshake is complete (RFC 7413, section 4.2.2). p was made by Init from syn, whose
// data can be read at once, and cfg is the one that p was made with. The SYN-ACK leaves
// with the next Output, and form and cookie are the option that it has. The handshake
// is this connection's from here on: it repeats the SYN-ACK and ends if nobody answers.
func (c *Conn) AcceptFast(now clock.Time, cfg *Config, p *Passive, syn *Segment, form FastOption, cookie FastCookie) {
	c.begin(now, cfg, p, StateSynReceived)
	c.fast = &fastOpen{form: form, cookie: cookie, passive: true, synAck: *p}
	c.setWindow(syn)
	c.stats.segsIn = 1
	c.establish(now, StateSynReceived)
	// No more than what the SYN-ACK announces: that is counted from behind the data.
	data := syn.Payload[:min(len(syn.Payload), int(p.window))]
	if len(data) > 0 && c.rcvBuf.insert(c.rcvNxt, data) {
		// Nothing is learned from it about the peer's segments and their pace, as in Linux.
		n := c.rcvBuf.nxt.Sub(c.rcvNxt)
		c.rcvNxt = c.rcvBuf.nxt
		c.rw.charge(n, c.peerHeader())
		c.stats.dataSegsIn++
		c.stats.bytesIn += uint64(n)
		c.fastBits |= fastSynData
		c.events |= EventReadable
	}
	c.rcvAdv = maxSeq(c.rcvAdv, c.rcvNxt.Add(int(p.window)))
	c.synOwed = true
	c.rtxAt = now.Add(initialRTO)
}

// outputFast sends the first SYN, with what Fast Open adds to it, or a SYN-ACK.
func (c *Conn) outputFast(now clock.Time, b *Batch) {
	f := c.fast
	c.synOwed = false
	if f.passive {
		h := f.synAck.header(now)
		h.ack = c.rcvNxt
		h.options.SetFastOpen(f.form, f.cookie)
		f.form = FastOpenNone // a repetition has it no more
		b.add(&h)
		c.ackSent()
		return
	}
	h := c.synHeader(now)
	h.options.SetFastOpen(f.form, f.cookie)
	s := b.add(&h)
	c.sndNxt = c.iss.Add(1)
	c.ranges.push(sentRange{seq: c.iss, end: c.sndNxt, sentAt: now, segs: 1, size: 1})
	c.packetsOut = 1
	if n := min(c.sndBuf.len, f.room); n > 0 {
		s.Payload = c.sndBuf.appendViews(s.Payload, c.sndNxt, n)
		s.PayloadLen = n
		r := sentRange{seq: c.sndNxt, end: c.sndNxt.Add(n), segs: 1, size: uint16(n), flags: rangePush}
		c.snapshot(now, &r)
		c.sndNxt = r.end
		c.ranges.push(r)
		c.packetsOut++ // as Linux counts: it may be acknowledged apart
		c.stats.bytesOut += uint64(n)
		c.lastSent = now
		f.news.Data = true
	}
	if f.form != FastOpenNone || f.news.Data {
		c.fastBits |= fastUsed
	}
	c.stalledSince = now
	c.rtxAt = c.retransmitAt(now)
}

// answeredFast follows a SYN-ACK (RFC 7413, section 4.2.1). What of the data it does not
// acknowledge is repeated at once, and without taking congestion for the reason: the
// server did not want it.
func (c *Conn) answeredFast(now clock.Time, seg *Segment) {
	f := c.fast
	n := &f.news
	n.Answered, n.Repeated = true, c.stats.retransmits > 0
	n.Form, n.Cookie, n.MSS = seg.Options.FastOpen, seg.Options.Cookie(), int(seg.Options.MSS)
	c.events |= EventFastOpen
	if c.ranges.count > 0 {
		c.fastFailed(fastDataIgnored)
		if n.Repeated {
			c.fastFailed(fastSynRepeated)
		}
		for i := range c.ranges.count {
			c.takeForLost(c.ranges.at(i))
		}
		c.repeat = repeatLost
		c.recovery, c.highSeq = recoveryLoss, c.sndNxt
		c.undo.armed, c.frto = false, false
		return
	}
	if n.Data {
		n.Taken = true
		c.fastBits |= fastSynData
		if c.stats.deliveredSegs > 1 {
			c.stats.deliveredSegs-- // it was one segment on the wire
		}
	}
	if len(seg.Payload) > 0 || seg.Flags.Has(FIN) {
		c.inputData(now, seg) // from a server that answers at once
	}
}

// inputSYNAgain takes a SYN of a handshake that AcceptFast began, and reports whether it
// was one: the SYN-ACK was lost, and is sent again, not more often than invalid segments
// are answered. Data on it is what there is already.
func (c *Conn) inputSYNAgain(now clock.Time, seg *Segment) bool {
	if seg.Flags&(SYN|ACK|RST|FIN) != SYN || seg.Seq != c.irs {
		return false
	}
	if !now.Before(c.challenge) {
		c.challenge = now.Add(c.invalidEvery)
		c.synOwed, c.fast.synAck.resent = true, true
		c.stats.retransmits++
	}
	return true
}

// repeatSYNACK is the retransmission timer while the handshake is not complete. Data that
// was sent meanwhile is not repeated before it is: the peer may be somebody else.
func (c *Conn) repeatSYNACK(now clock.Time) {
	c.stats.timeouts++
	f := c.fast
	if c.tries > f.synAck.retries { // once more than a record does, as in Linux
		c.die(c.timeoutError())
		return
	}
	if c.tries == 1 && c.ranges.count > 0 { // as Linux has it: the data is lost as well
		c.enterLoss(now)
	}
	c.tries++
	c.synOwed, f.synAck.resent = true, true
	c.stats.retransmits++
	c.rtxAt = now.Add(min(initialRTO<<c.tries, c.rtt.longest()))
}

// completeFast ends the handshake with the segment that acknowledges the SYN-ACK.
func (c *Conn) completeFast(now clock.Time, seg *Segment, state State) {
	f := c.fast
	c.state = state
	c.events |= EventFastOpen | EventWritable
	if !f.synAck.resent {
		c.rtt.sample(now.Sub(f.synAck.sentAt), now.Sub(f.synAck.sentAt), c.sndUna, c.sndNxt)
	} else if rtt := c.timestampRTT(now, seg); rtt > 0 {
		c.rtt.sample(rtt, rtt, c.sndUna, c.sndNxt)
	} else {
		c.rtt.rto = synLossRTO
	}
	if late := c.tries > 1; late { // see establish
		c.cc.SetWindow(c.payloadMSS(), c.cc.Threshold())
	}
	if c.recovery == recoveryLoss {
		c.repeat = repeatLost
	}
	c.backoff, c.tries, c.stalledSince = 0, 0, 0
	c.stats.deliveredSegs++
	c.rtxAt = clock.Never
	if c.ranges.count > 0 {
		c.rtxAt = now.Add(c.rtt.timeout(0))
	}
	c.lastRecv = now
	c.armKeepAlive(now)
}

// suspectFastOpen looks at a timeout of a connection that Fast Open has opened: at the
// third in a row, data on SYNs is suspected to be swallowed somewhere, as Linux does.
func (c *Conn) suspectFastOpen(now clock.Time) {
	if c.fastBits&fastUsed != 0 && c.tries == 2 {
		c.fastBits |= fastBlackHole
		c.events |= EventFastOpen
	}
}
