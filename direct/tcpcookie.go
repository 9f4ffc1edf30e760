package direct

import (
	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// sendCookie answers a SYN without keeping anything of it (RFC 4987, section 3.6).
// Nothing is allocated: this is what a flood costs.
func (l *TCPListener) sendCookie(rx *receiver, f *flow, seg *tcp.Segment, to *path) {
	st := l.st
	to.id = uint16(st.random())
	o := l.options()
	to.ip = o.ip
	cfg := st.tcpConfig(to, f, o)
	var p tcp.Passive
	p.Init(rx.now, &cfg, seg, 0, st.secret.TSOffset(f.localAddr(), f.remoteAddr()))
	p.MakeCookie(rx.now, &st.secret, f.localAddr(), f.remoteAddr())
	l.cookiesUntil.Store(int64(rx.now.Add(tcp.CookieLife)))
	st.count.tcp.cookiesSent.Add(1)
	tb := st.getBatch()
	p.Output(rx.now, tb.segs)
	st.sendSynAck(rx.now, tb, to, rx.q.index)
}

// cookieInput takes an ACK for a pair of ends that has no record: that of a cookie, when
// there may be one. It reports false when it is to be answered with a reset.
func (l *TCPListener) cookieInput(rx *receiver, f *flow, seg *tcp.Segment) bool {
	st := l.st
	if seg.Flags.Has(tcp.SYN) || rx.now >= clock.Time(l.cookiesUntil.Load()) ||
		st.tcp.Load().SynCookies == tcp.SynCookiesNever {
		return false
	}
	to, errno := st.pathTo(f.local, f.remote)
	if errno != 0 {
		return true // there is no way for a reset either
	}
	o := l.options()
	to.ip = o.ip
	cfg := st.tcpConfig(&to, f, o)
	var p tcp.Passive
	if !p.FromCookie(rx.now, &cfg, &st.secret, f.localAddr(), f.remoteAddr(), seg) {
		st.count.tcp.cookiesFailed.Add(1)
		return false
	}
	st.count.tcp.cookiesReceived.Add(1)
	// Without room the ACK is as good as lost, as Linux has it: data that follows, or the
	// peer's own timer, brings the next.
	if !l.room() {
		st.count.tcp.acceptOverflow.Add(1)
		return true
	}
	c, ok := st.newConn()
	if !ok {
		return true
	}
	to.id = uint16(st.random())
	c.lock()
	c.flow, c.sum = *f, f.hash(st.table.key)
	if !st.table.insert(&c.entry) {
		// Another queue was quicker with a segment of the same connection.
		st.forgetConn(c)
		st.putCore(c.tc)
		c.tc = nil
		c.mu.Unlock()
		return true
	}
	cfg = l.found(c, &to, rx.q.index)
	c.tc.Accept(c.at(rx.now), &cfg, &p, seg)
	c.opt.start(c.tc)
	st.count.tcp.passiveOpens.Add(1)
	rx.touch(c)
	c.mu.Unlock()
	if !l.push(c) {
		c.abort()
	}
	return true
}

// found prepares c, whose flow is set, for the connection that l has got, and returns
// what its state machine is to be made with. c.mu is held.
func (l *TCPListener) found(c *TCPConn, to *path, queue int) tcp.Config {
	c.way, c.queue = to.way, int32(queue)
	c.network = nameNetwork(l.ep.Network)
	l.st.timers.bind(&c.timer, c, c.sum)
	c.opt = l.options()
	return l.st.tcpConfig(to, &c.flow, c.opt)
}
