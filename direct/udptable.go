package direct

import (
	"net/netip"
	"sync"
	"syscall"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/icmp"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/udp"
)

// udpTable is the UDP sockets by local port. Only the application adds to it, so
// that a port's list is as long as the application makes it.
type udpTable struct {
	st *Stack
	mu sync.RWMutex
	m  map[uint16][]*UDPConn
}

func (t *udpTable) init(s *Stack) {
	t.st = s
	t.m = make(map[uint16][]*UDPConn)
}

// add registers c at its local address, choosing a port if it has none.
func (t *udpTable) add(c *UDPConn, first uint32) syscall.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.local.Port() != 0 {
		if t.taken(c.local) {
			return syscall.EADDRINUSE
		}
		t.m[c.local.Port()] = append(t.m[c.local.Port()], c)
		return 0
	}
	for i := range ephemeralCount {
		a := netip.AddrPortFrom(c.local.Addr(), ephemeral(first, i))
		if !t.taken(a) {
			c.local = a
			t.m[a.Port()] = append(t.m[a.Port()], c)
			return 0
		}
	}
	return syscall.EADDRINUSE
}

func (t *udpTable) taken(a netip.AddrPort) bool {
	for _, o := range t.m[a.Port()] {
		if o.local.Addr() == a.Addr() || o.local.Addr().IsUnspecified() || a.Addr().IsUnspecified() {
			return true
		}
	}
	return false
}

func (t *udpTable) remove(c *UDPConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	port := c.local.Port()
	list := t.m[port]
	for i, o := range list {
		if o == c {
			// A new list: lookup may still be going through the old one.
			rest := append(append([]*UDPConn(nil), list[:i]...), list[i+1:]...)
			if len(rest) == 0 {
				delete(t.m, port)
			} else {
				t.m[port] = rest
			}
			return
		}
	}
}

func (t *udpTable) closeAll() {
	t.mu.RLock()
	var all []*UDPConn
	for _, list := range t.m {
		all = append(all, list...)
	}
	t.mu.RUnlock()
	for _, c := range all {
		c.shut()
	}
}

// score says how well c fits a datagram from remote to local: 0 is not at all. A
// connected socket takes its peer's datagrams only.
func (c *UDPConn) score(local, remote netip.AddrPort) int {
	n := 1
	switch {
	case c.local.Addr() == local.Addr():
		n += 1
	case !c.local.Addr().IsUnspecified():
		return 0
	}
	if c.connected {
		if c.remote != remote {
			return 0
		}
		n += 2
	}
	return n
}

// lookup returns the socket that a datagram from remote to local goes to, or nil.
func (t *udpTable) lookup(local, remote netip.AddrPort) *UDPConn {
	t.mu.RLock()
	list := t.m[local.Port()]
	t.mu.RUnlock()
	var best *UDPConn
	bestScore := 0
	for _, c := range list {
		if n := c.score(local, remote); n > bestScore {
			best, bestScore = c, n
		}
	}
	return best
}

// udp takes a UDP datagram.
func (rx *receiver) udp(p *packet) {
	st := rx.st
	c := &st.count.udp
	c.received.Add(1)
	h, data, err := udp.Parse(p.payload, p.h.Src, p.h.Dst, !p.verified)
	if err != nil {
		count[udp.Error](c.invalid[:], err)
		return
	}
	local := netip.AddrPortFrom(p.h.Dst, h.Dst)
	remote := netip.AddrPortFrom(p.h.Src, h.Src)
	size := len(data)
	if rx.meta.GSO == netif.GSOUDP && rx.meta.SegmentSize > 0 {
		size = int(rx.meta.SegmentSize) // several datagrams in one frame
	}
	if p.dst == ipv4.DestinationBroadcast {
		st.udpSockets.mu.RLock()
		list := st.udpSockets.m[local.Port()]
		st.udpSockets.mu.RUnlock()
		for _, s := range list {
			if s.score(local, remote) > 0 {
				s.deliverAll(rx, remote, data, size)
			}
		}
		return
	}
	s := st.udpSockets.lookup(local, remote)
	if s == nil {
		c.noPort.Add(1)
		st.icmpUnreachable(rx, p, icmp.CodePortUnreachable)
		return
	}
	s.deliverAll(rx, remote, data, size)
}

// deliverAll delivers data as datagrams of size bytes.
func (c *UDPConn) deliverAll(rx *receiver, from netip.AddrPort, data []byte, size int) {
	c.queueHint.Store(int32(rx.q.index))
	for len(data) > size {
		c.deliver(from, data[:size])
		data = data[size:]
	}
	c.deliver(from, data)
}

// icmpError reports an error about a datagram that local sent to remote.
func (t *udpTable) icmpError(now clock.Time, local, remote netip.AddrPort, e icmpError) bool {
	c := t.lookup(local, remote)
	if c == nil {
		return false
	}
	if e.mtu > 0 {
		t.st.notePathMTU(now, remote.Addr(), e.mtu)
		e.hard = true // the datagram is lost; only its sender can make it smaller
	}
	// Soft errors may pass, and an unconnected socket could not say which of its
	// datagrams is meant (RFC 1122, section 4.1.3.3; Linux does the same).
	if c.connected && e.hard {
		c.fail(e.errno)
	}
	return true
}
