package direct

import (
	"crypto/subtle"
	"sync"
	"syscall"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// fastQueue bounds the connections of a listener that Fast Open has made and whose
// handshake is not complete: without the bound, whoever has one cookie could have a
// server do its work for addresses that are not his (RFC 7413, section 5.1). Those that
// were reset count for a while longer, as the addresses may have been used by somebody
// else, who then answered the SYN-ACK with a reset.
type fastQueue struct {
	mu      sync.Mutex
	pending int
	resets  []clock.Time // until when they count, oldest first
}

// fastResetCounts is for how long a reset counts, as in Linux.
const fastResetCounts = time.Minute

// reserve takes a place, if fewer than most are taken.
func (q *fastQueue) reserve(now clock.Time, most int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.resets) > 0 && q.resets[0] <= now {
		q.resets = q.resets[1:]
	}
	if q.pending+len(q.resets) >= most {
		return false
	}
	q.pending++
	return true
}

// release gives a place back, at once or, for a connection that was reset, later.
func (q *fastQueue) release(now clock.Time, reset bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending--
	if reset {
		q.resets = append(q.resets, now.Add(fastResetCounts))
	}
}

// fastVerdict is what a SYN gets from Fast Open: a connection, or a cookie on the
// SYN-ACK, or nothing.
type fastVerdict struct {
	open   bool
	form   tcp.FastOption
	cookie tcp.FastCookie
}

// fastOpen looks at a SYN (RFC 7413, section 4.2.2). If the verdict is to open a
// connection, a place of l.fast is taken.
func (l *TCPListener) fastOpen(now clock.Time, f *flow, seg *tcp.Segment) (v fastVerdict) {
	form := seg.Options.FastOpen
	if form == tcp.FastOpenNone && len(seg.Payload) == 0 {
		return v
	}
	st := l.st
	cfg, o := &st.tcp.Load().FastOpen, l.options()
	most := o.fastQueue
	if most == 0 && cfg.AllListeners {
		most = l.limit()
	}
	if most == 0 || cfg.NoServer {
		return v
	}
	c, got := &st.count.tcp, seg.Options.Cookie()
	if form != tcp.FastOpenNone && got.Len() == 0 {
		c.fastRequests.Add(1)
	}
	if !l.fast.reserve(now, most) {
		c.fastFull.Add(1)
		return v
	}
	keys := o.fastKeys
	if len(keys) == 0 {
		keys = st.fastKeys(cfg)
	}
	match := -1
	switch {
	case cfg.ServerWithoutCookie || o.fastNoCookie:
		match = 0
	case got.Len() > 0:
		for i := range keys {
			if own := keys[i].Cookie(f.local, f.remote); subtle.ConstantTimeCompare(own.Bytes(), got.Bytes()) == 1 {
				match = i
				break
			}
		}
		if match < 0 {
			c.fastRefused.Add(1)
		}
	}
	if form != tcp.FastOpenNone && match != 0 {
		v.form, v.cookie = form, keys[0].Cookie(f.local, f.remote)
	}
	if v.open = match >= 0; !v.open {
		l.fast.release(now, false)
	} else if match > 0 {
		c.fastOldKey.Add(1)
	}
	return v
}

// limit is the backlog that was asked for.
func (l *TCPListener) limit() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.backlog - 1
}

// fastKeys returns what cookies are made with; one at least.
func (s *Stack) fastKeys(cfg *tcp.FastOpenConfig) []tcp.FastOpenKey {
	if len(cfg.Keys) > 0 {
		return cfg.Keys[:min(len(cfg.Keys), maxFastKeys)]
	}
	return s.fastKey[:]
}

// maxFastKeys is a key and its predecessor.
const maxFastKeys = 2

// setFastKeys is TCP_FASTOPEN_KEY.
func (o *tcpOptions) setFastKeys(value []byte) syscall.Errno {
	n := len(value) / len(tcp.FastOpenKey{})
	if n < 1 || n > maxFastKeys || len(value)%len(tcp.FastOpenKey{}) != 0 {
		return syscall.EINVAL
	}
	o.fastKeys = make([]tcp.FastOpenKey, n)
	for i := range o.fastKeys {
		copy(o.fastKeys[i][:], value[i*len(tcp.FastOpenKey{}):])
	}
	return 0
}

// fastKeysValue is TCP_FASTOPEN_KEY of a socket.
func (s *Stack) fastKeysValue(o *tcpOptions) (b []byte) {
	keys := o.fastKeys
	if len(keys) == 0 {
		keys = s.fastKeys(&s.tcp.Load().FastOpen)
	}
	for i := range keys {
		b = append(b, keys[i][:]...)
	}
	return b
}

// openFast makes the connection of a SYN that Fast Open lets in and hands it to Accept.
// It reports false, with the place in l.fast given back, when there is no memory: the SYN
// is then one like any other.
func (l *TCPListener) openFast(rx *receiver, f *flow, seg *tcp.Segment, to *path, hint issHint, v *fastVerdict) bool {
	st := l.st
	v.open = false
	c, ok := st.newConn()
	if !ok {
		l.fast.release(rx.now, false)
		return false
	}
	// The record that was charged for is not made.
	st.mem.credit(passiveCharge)
	to.ip = l.options().ip
	c.lock()
	c.flow, c.sum = *f, f.hash(st.table.key)
	cfg := l.found(c, to, rx.q.index)
	var p tcp.Passive
	now := c.at(rx.now)
	p.Init(now, &cfg, seg, st.issFor(now, f, hint), st.secret.TSOffset(f.localAddr(), f.remoteAddr()))
	if !st.table.insert(&c.entry) {
		// Another queue was quicker with a segment of the same connection.
		l.fast.release(rx.now, false)
		st.forgetConn(c)
		st.putCore(c.tc)
		c.tc = nil
		c.mu.Unlock()
		return true
	}
	c.tc.AcceptFast(now, &cfg, &p, seg, v.form, v.cookie)
	c.opt.start(c.tc)
	st.fast.add(c, l)
	st.count.tcp.passiveOpens.Add(1)
	st.count.tcp.fastAccepted.Add(1)
	st.count.tcp.fastPending.Add(1)
	rx.touch(c)
	c.mu.Unlock()
	if !l.push(c) {
		c.abort()
	}
	return true
}

// fastNews follows a connection's EventFastOpen. c.mu is held.
func (c *TCPConn) fastNews(now clock.Time) {
	n, st := c.tc.TakeFastOpen(), c.st
	if n.Passive {
		if l := st.fast.take(c); l != nil {
			l.fast.release(now, n.Reset)
			st.count.tcp.fastPending.Add(-1)
		}
	}
	if n.Answered {
		st.fast.learn(c, &n)
	}
	if n.BlackHole && st.tcp.Load().FastOpen.BlackHoleTimeout > 0 {
		st.count.tcp.fastBlackHoles.Add(1)
		st.fast.suspect(now)
	}
}
