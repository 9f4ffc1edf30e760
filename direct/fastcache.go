package direct

import (
	"net/netip"
	"sync"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// fastCookies bounds the servers whose cookies are kept (RFC 7413, section 4.1.3.1);
// what was learned first gives way.
const fastCookies = 1024

// fastOpens is what a stack knows of Fast Open. Its lock is a leaf.
type fastOpens struct {
	mu sync.Mutex
	// pending is the connections that listeners have made and whose handshake is not
	// complete: listeners bound them.
	pending map[*TCPConn]*TCPListener

	servers map[fastPair]fastServer
	order   []fastPair // of servers, a ring once it is full
	next    int

	// How often in a row a path was suspected to swallow data on SYNs, and when last.
	suspected int
	since     clock.Time
}

// fastPair is an address of ours and a server's: a cookie is for both.
type fastPair struct{ local, remote netip.Addr }

// fastServer is what a server has told.
type fastServer struct {
	cookie tcp.FastCookie
	form   tcp.FastOption // of the cookie
	mss    uint16         // 0: not known
	tried  uint8          // 1: the standard form gave no cookie; 2: the experimental one neither
}

func (f *fastOpens) add(c *TCPConn, l *TCPListener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending == nil {
		f.pending = make(map[*TCPConn]*TCPListener)
	}
	f.pending[c] = l
}

func (f *fastOpens) take(c *TCPConn) *TCPListener {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.pending[c]
	delete(f.pending, c)
	return l
}

func (f *fastOpens) cookies() (n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.servers {
		if e.cookie.Len() > 0 {
			n++
		}
	}
	return n
}

func (f *fastOpens) get(k fastPair) fastServer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.servers[k]
}

func (f *fastOpens) set(k fastPair, e fastServer) {
	if _, ok := f.servers[k]; !ok {
		if f.servers == nil {
			f.servers = make(map[fastPair]fastServer)
		}
		if len(f.order) < fastCookies {
			f.order = append(f.order, k)
		} else {
			delete(f.servers, f.order[f.next])
			f.order[f.next] = k
			f.next = (f.next + 1) % fastCookies
		}
	}
	f.servers[k] = e
}

// learn takes what a SYN-ACK has told c, whose mu is held.
func (f *fastOpens) learn(c *TCPConn, n *tcp.FastOpenNews) {
	t := &c.st.count.tcp
	switch {
	case n.Taken:
		t.fastActive.Add(1)
	case n.Data:
		t.fastActiveFailed.Add(1)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n.Taken {
		f.suspected = 0 // it goes through
	}
	k := fastPair{c.local, c.remote}
	e := f.servers[k]
	if n.MSS > 0 {
		e.mss = uint16(n.MSS)
	}
	switch {
	case n.Asked == tcp.FastOpenNone:
		// What nobody asked for is not taken.
	case n.Form != tcp.FastOpenNone && n.Cookie.Len() > 0:
		e.cookie, e.form = n.Cookie, n.Form
	case !n.Repeated && !n.Data && e.cookie.Len() == 0:
		// No cookie: next time it is asked for in the other form, and not again after that.
		e.tried = max(e.tried, uint8(n.Asked))
	}
	f.set(k, e)
}

// suspect notes that a path seems to swallow what Fast Open sends.
func (f *fastOpens) suspect(now clock.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.suspected++
	f.since = now
}

// maxBlackHoles bounds the growth of the time for which no SYN carries data.
const maxBlackHoles = 7

// disabled reports whether no SYN is to carry data for now.
func (f *fastOpens) disabled(now clock.Time, cfg *tcp.FastOpenConfig) bool {
	if cfg.BlackHoleTimeout <= 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.suspected > 0 && now.Before(f.since.Add(cfg.BlackHoleTimeout<<(min(f.suspected, maxBlackHoles)-1)))
}

// fastStart is what a SYN for f may carry. A SYN that carries data is held back until
// there is some, if later is set.
func (s *Stack) fastStart(now clock.Time, f *flow, o *tcpOptions, later bool) (start tcp.FastStart) {
	cfg := &s.tcp.Load().FastOpen
	e := s.fast.get(fastPair{f.local, f.remote})
	switch {
	case s.fast.disabled(now, cfg):
		return start
	case cfg.ClientWithoutCookie || o.fastNoCookie:
		start.Data = true
	case e.cookie.Len() > 0:
		start.Form, start.Cookie, start.Data = e.form, e.cookie, true
	default:
		start.Form = tcp.FastOpenStandard
		if e.tried == 1 {
			start.Form = tcp.FastOpenExperimental
		}
	}
	start.MSS = int(e.mss)
	start.Defer = later && start.Data
	return start
}
