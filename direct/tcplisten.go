package direct

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/tcp"
)

// listenBacklog bounds the connections that wait for Accept, and apart from those
// the half-open ones: Linux's somaxconn.
const listenBacklog = 4096

// TCPListener is a listening TCP socket. It has the methods of *net.TCPListener
// except SyscallConn and File, and is safe for concurrent use.
type TCPListener struct {
	st       *Stack
	ep       netapi.Endpoint
	addr     netip.AddrPort
	deadline netapi.Deadline
	done     chan struct{} // closed by Close
	// ready holds a token while queue may not be empty. Whoever takes it and leaves
	// connections behind puts it back.
	ready chan struct{}

	mu     sync.Mutex
	closed bool
	opt    tcpOptions  // its connections get them
	shared *tcpOptions // as they get them; nil when opt has changed
	net    bool        // they also get what package net sets of those that it accepts
	// backlog bounds queue; notify is Socket.Notify's.
	backlog int
	notify  func()
	queue   []*TCPConn // established, waiting for Accept
	// half is the half-open connections in the order of their coming.
	oldest, newest *halfOpen
	half           int

	// fast bounds the connections that Fast Open has made and whose handshake is not
	// complete. Its lock is a leaf.
	fast fastQueue

	// cookiesUntil is until when an ACK may be that of a cookie.
	cookiesUntil atomic.Int64
}

// input takes a segment for a pair of ends that has no record. It reports false
// when the segment is to be answered with a reset.
func (l *TCPListener) input(rx *receiver, f *flow, seg *tcp.Segment, hint issHint) bool {
	// RFC 9293, section 3.10.7.2.
	switch {
	case seg.Flags.Has(tcp.RST):
		return true
	case seg.Flags.Has(tcp.ACK):
		return l.cookieInput(rx, f, seg)
	case !seg.Flags.Has(tcp.SYN) || seg.Flags.Has(tcp.FIN):
		return true
	}
	st := l.st
	p, errno := st.pathTo(f.local, f.remote)
	if errno != 0 {
		st.count.tcp.synRefused.Add(1)
		return true
	}
	// A pair of ends that is in TIME-WAIT is a peer that exists, as Linux sees it.
	admission := l.admit(rx.now, st.tcp.Load().SynCookies, hint.valid)
	switch admission {
	case synDropped:
		return true
	case synByCookie:
		l.sendCookie(rx, f, seg, &p)
		return true
	}
	if !st.mem.charge(passiveCharge, false) {
		st.count.tcp.synRefused.Add(1)
		return true
	}
	p.id = uint16(st.random())
	fast := l.fastOpen(rx.now, f, seg)
	if fast.open && l.openFast(rx, f, seg, &p, hint, &fast) {
		return true
	}
	h := &halfOpen{st: st, listener: l, path: p, queue: rx.q.index, born: rx.now}
	h.flow, h.sum, h.kind = *f, f.hash(st.table.key), h
	st.timers.bind(&h.timer, h, h.sum)
	o := l.options()
	h.path.ip = o.ip
	cfg := st.tcpConfig(&h.path, f, o)
	iss := st.issFor(rx.now, f, hint)
	h.mu.Lock()
	h.p.Init(rx.now, &cfg, seg, iss, st.secret.TSOffset(f.localAddr(), f.remoteAddr()))
	h.p.SetDeferAccept(o.deferAccept)
	// The listener's list first: from the moment that the record is in the table it
	// can be removed by anybody.
	evicted, ok := l.add(h, admission == synForOldest)
	if !ok || !st.table.insert(&h.entry) {
		if ok {
			l.forget(h)
		}
		h.dead = true
		h.mu.Unlock()
		st.mem.credit(passiveCharge)
		st.count.tcp.synRefused.Add(1)
		return true
	}
	st.count.tcp.halfOpen.Add(1)
	h.timer.want(h.p.Deadline())
	h.mu.Unlock()
	if evicted != nil {
		st.count.tcp.synEvicted.Add(1)
		evicted.end()
	}
	h.synAck(rx.now, fast)
	return true
}

// issFor returns the initial sequence number of a connection for f.
func (s *Stack) issFor(now clock.Time, f *flow, hint issHint) tcp.Seq {
	iss := s.secret.ISS(now, f.localAddr(), f.remoteAddr())
	if hint.valid && iss.Less(hint.iss) {
		iss = hint.iss
	}
	return iss
}

// options returns what new connections get. They share it, so that nobody may change
// it.
func (l *TCPListener) options() *tcpOptions {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shared == nil {
		o := l.opt
		if l.net {
			o.noDelay, o.keepAlive = true, l.st.netOptions.keepAlive
		}
		l.shared = &o
	}
	return l.shared
}

// admission is what becomes of a SYN.
type admission uint8

const (
	synDropped   admission = iota // not answered
	synRecorded                   // a record is made
	synForOldest                  // in the place of the oldest
	synByCookie                   // answered without a record
)

// staleHalfOpen is how old a half-open connection must be to give way: its SYN-ACK has
// left twice by then, so that its peer is far away, or does not exist.
const staleHalfOpen = time.Second

// admit decides about a SYN, and counts it when it is dropped: not while the accept
// queue is full, as in Linux; and when as many connections are half-open as may wait for
// Accept, only by a cookie. Without cookies the SYN is dropped then, unless the oldest
// can give way.
func (l *TCPListener) admit(now clock.Time, mode tcp.SynCookies, revived bool) admission {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.st.count.tcp
	how := synRecorded
	switch full := l.half >= l.backlog; {
	case revived:
	case mode == tcp.SynCookiesAlways, full && mode == tcp.SynCookiesWhenFull:
		how = synByCookie
	case full && l.oldest != nil && now.Sub(l.oldest.born) > staleHalfOpen:
		how = synForOldest
	case full:
		c.synOverflow.Add(1)
		return synDropped
	}
	switch {
	case len(l.queue) >= l.backlog:
		c.acceptOverflow.Add(1)
	case l.closed:
	default:
		return how
	}
	c.synRefused.Add(1)
	return synDropped
}

// add puts h into the list of half-open connections. When there are too many, or the
// oldest is to give way, that one, which is the likeliest to be a flood's, is returned to
// be ended.
func (l *TCPListener) add(h *halfOpen, evict bool) (evicted *halfOpen, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, false
	}
	if (evict || l.half >= listenBacklog) && l.oldest != nil {
		evicted = l.oldest
		l.unlink(evicted)
	}
	h.prev = l.newest
	if l.newest != nil {
		l.newest.next = h
	} else {
		l.oldest = h
	}
	l.newest = h
	l.half++
	h.listed = true
	return evicted, true
}

// forget takes h out of the list, if it is in it.
func (l *TCPListener) forget(h *halfOpen) {
	l.mu.Lock()
	l.unlink(h)
	l.mu.Unlock()
}

func (l *TCPListener) unlink(h *halfOpen) {
	if !h.listed {
		return
	}
	h.listed = false
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		l.oldest = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	} else {
		l.newest = h.prev
	}
	h.prev, h.next = nil, nil
	l.half--
}

// room reports whether one more connection may wait for Accept.
func (l *TCPListener) room() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && len(l.queue) < l.backlog
}

// push hands over an established connection; it reports false when the listener
// was closed meanwhile.
func (l *TCPListener) push(c *TCPConn) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.queue = append(l.queue, c)
	notify := l.notify
	l.mu.Unlock()
	l.signal()
	if notify != nil {
		notify()
	}
	return true
}

func (l *TCPListener) signal() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// Accept implements net.Listener; the connection is a *TCPConn.
func (l *TCPListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptTCP is Accept with the connection's own type.
func (l *TCPListener) AcceptTCP() (*TCPConn, error) {
	for {
		l.mu.Lock()
		closed := l.closed
		var c *TCPConn
		more := false
		if !closed && !l.deadline.Expired() && len(l.queue) > 0 {
			c = l.queue[0]
			l.queue[0] = nil
			l.queue = l.queue[1:]
			more = len(l.queue) > 0
		}
		l.mu.Unlock()
		if more {
			l.signal()
		}
		switch {
		case closed:
			return nil, l.ep.Accept(errClosed)
		case c != nil:
			return c, nil
		case l.deadline.Expired():
			// The token may have been ours; another may have no deadline any more.
			l.signal()
			return nil, l.ep.Accept(os.ErrDeadlineExceeded)
		}
		select {
		case <-l.ready:
		case <-l.done:
		case <-l.deadline.Wait():
		}
	}
}

// SetDeadline bounds Accept; the zero time removes the bound.
func (l *TCPListener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return errClosed // bare, as net has it
	}
	l.deadline.Set(t)
	return nil
}

// Addr implements net.Listener; the result is a *net.TCPAddr.
func (l *TCPListener) Addr() net.Addr { return l.ep.Local }

// Close implements net.Listener. Connections that nobody accepted are reset.
func (l *TCPListener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return l.ep.CloseListener(errClosed)
	}
	l.closed = true
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	l.st.listeners.remove(l)
	close(l.done)
	l.deadline.Stop()
	for {
		l.mu.Lock()
		h := l.oldest
		if h != nil {
			l.unlink(h)
		}
		l.mu.Unlock()
		if h == nil {
			break
		}
		h.end()
	}
	for _, c := range queue {
		c.abort()
	}
	return nil
}
