package direct

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/internal/siphash"
)

// The range of ephemeral ports, Linux's (ip_local_port_range). RFC 6056, section
// 3.2, would have it as large as possible; the lower ports are left to services.
const (
	ephemeralLow   = 32768
	ephemeralCount = 60999 - ephemeralLow + 1
)

// portTable chooses ephemeral ports as RFC 6056, section 3.3.4, "double-hash port
// selection", has it, with random increments: ports are unpredictable, and not
// used again soon for the same peer.
type portTable struct {
	key   siphash.Key
	table [256]atomic.Uint32
}

// first returns where the search for the connection's port begins.
func (t *portTable) first(f *flow, step uint32) uint32 {
	var b [36]byte
	l, r := f.local.As16(), f.remote.As16()
	copy(b[0:], l[:])
	copy(b[16:], r[:])
	binary.BigEndian.PutUint16(b[32:], f.remotePort)
	h := t.key.Sum64(b[:])
	return uint32(h) + t.table[h>>56].Add(1+step%16)
}

// ephemeral returns the i-th port of a search that began at first.
func ephemeral(first uint32, i int) uint16 {
	return uint16(ephemeralLow + (uint64(first)+uint64(i))%ephemeralCount)
}

// listeners is who listens where, and which local ports dialled connections hold.
type listeners struct {
	mu     sync.RWMutex
	m      map[netip.AddrPort]*TCPListener
	ports  map[uint16]int // listeners by port
	dialed map[netip.AddrPort]int
	// bound is the sockets that hold an address and neither listen nor connect.
	bound map[uint16][]binding
	// dialedPorts is dialed by port.
	dialedPorts map[uint16]int
	// crowded is which ports are free where few are.
	crowded portSets
}

func (l *listeners) init() {
	l.m = make(map[netip.AddrPort]*TCPListener)
	l.ports = make(map[uint16]int)
	l.dialed = make(map[netip.AddrPort]int)
	l.bound = make(map[uint16][]binding)
	l.dialedPorts = make(map[uint16]int)
}

// lookup returns the listener for segments to a, or nil.
func (l *listeners) lookup(a netip.AddrPort) *TCPListener {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.ports[a.Port()] == 0 {
		return nil
	}
	if t := l.m[a]; t != nil {
		return t
	}
	if a.Addr().Is4() {
		if t := l.m[netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port())]; t != nil {
			return t
		}
	}
	return l.m[netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())]
}

// add registers t at its address, choosing a port if it has none. As with package
// net on Linux (SO_REUSEADDR), connections in TIME-WAIT and accepted ones don't
// keep a port from being listened on; dialled ones do.
func (l *listeners) add(t *TCPListener, first uint32, from *Socket) syscall.Errno {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.addr.Port() != 0 {
		if l.taken(t.addr, from) {
			return syscall.EADDRINUSE
		}
		l.unbind(from, t.addr.Port())
		l.put(t)
		return 0
	}
	for i := range ephemeralCount {
		a := netip.AddrPortFrom(t.addr.Addr(), ephemeral(first, i))
		if !l.taken(a, from) {
			t.addr = a
			l.put(t)
			return 0
		}
	}
	return syscall.EADDRINUSE
}

// put publishes t: from here on segments find it, so that it must be complete.
func (l *listeners) put(t *TCPListener) {
	t.ep.Local = netapi.Addr("tcp", t.addr)
	l.m[t.addr] = t
	l.ports[t.addr.Port()]++
}

// taken reports whether a socket that listens at a would be in somebody's way; from
// is the one that wants to, if it is a Socket.
func (l *listeners) taken(a netip.AddrPort, from *Socket) bool {
	shared := from != nil && from.opt.reuseAddr
	if l.held(a, from, from == nil || shared) {
		return true
	}
	if a.Addr().IsUnspecified() {
		return l.ports[a.Port()] > 0 || l.dialedPorts[a.Port()] > 0 && !shared
	}
	return l.listened(a) || l.dialed[a] > 0 && !shared
}

// listened reports whether somebody listens at a or at its port on all addresses.
func (l *listeners) listened(a netip.AddrPort) bool {
	if l.ports[a.Port()] == 0 {
		return false
	}
	for _, addr := range [...]netip.Addr{a.Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if l.m[netip.AddrPortFrom(addr, a.Port())] != nil {
			return true
		}
	}
	return false
}

func (l *listeners) remove(t *TCPListener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m[t.addr] == t {
		delete(l.m, t.addr)
		if l.ports[t.addr.Port()]--; l.ports[t.addr.Port()] == 0 {
			delete(l.ports, t.addr.Port())
		}
	}
}

// all returns the listeners.
func (l *listeners) all() []*TCPListener {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]*TCPListener, 0, len(l.m))
	for _, t := range l.m {
		list = append(list, t)
	}
	return list
}

// dial registers c, whose flow has all but perhaps the local port, as dialled and
// puts it into the table; a port that from holds becomes the connection's. c.mu is
// held; the listeners' lock is a leaf to it.
func (s *Stack) dial(c *TCPConn, from *Socket) syscall.Errno {
	l := &s.listeners
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.localPort != 0 {
		shared := from != nil && from.opt.reuseAddr
		if a := c.localAddr(); l.listened(a) || l.dialed[a] > 0 && !shared || l.held(a, from, shared) {
			return syscall.EADDRINUSE
		}
		errno := s.enter(c, syscall.EADDRNOTAVAIL)
		if errno == 0 {
			l.unbind(from, c.localPort)
		}
		return errno
	}
	first := s.ports.first(&c.flow, uint32(s.random()))
	d := c.flow.destination()
	set := l.crowded.m[d]
	for i := 0; i < ephemeralCount; i++ {
		if i == crowdedAfter && set == nil {
			set = l.crowded.make(&s.table, d)
		}
		c.localPort = ephemeral(first, i)
		if set != nil {
			at := int(c.localPort) - ephemeralLow
			next := set.free(at)
			if i += next - at; next == ephemeralCount {
				i-- // on from the lowest port
				continue
			}
			c.localPort = uint16(ephemeralLow + next)
		}
		if c.localPort == c.remotePort && c.local == c.remote || l.listened(c.localAddr()) || l.held(c.localAddr(), nil, false) {
			continue // not to itself, and not from where others are served
		}
		if s.enter(c, syscall.EADDRNOTAVAIL) == 0 {
			if set != nil {
				set.set(int(c.localPort) - ephemeralLow)
			}
			return 0
		}
	}
	return syscall.EADDRNOTAVAIL
}

// enter puts c into the table and counts its port; it returns taken if the flow
// exists.
func (s *Stack) enter(c *TCPConn, taken syscall.Errno) syscall.Errno {
	c.sum = c.flow.hash(s.table.key)
	if !s.table.insert(&c.entry) {
		return taken
	}
	c.dialed = true
	s.listeners.dialed[c.localAddr()]++
	s.listeners.dialedPorts[c.localPort]++
	return 0
}

// releaseDialed gives up a dialled connection's port.
func (l *listeners) releaseDialed(a netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialed[a]--; l.dialed[a] <= 0 {
		delete(l.dialed, a)
	}
	if l.dialedPorts[a.Port()]--; l.dialedPorts[a.Port()] <= 0 {
		delete(l.dialedPorts, a.Port())
	}
}
