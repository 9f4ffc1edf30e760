package player

import (
	"net/netip"

	"github.com/netduet/netduet/conformance/script"
	"github.com/netduet/netduet/conformance/wire"
)

// conn is what the player knows of one connection (or pair of UDP ports): how the
// script's numbers and the wire's belong together.
type conn struct {
	udp     bool
	passive bool
	local   netip.AddrPort // port 0 until the stack has told
	remote  netip.AddrPort
	sock    *sock // nil until accepted

	// offset is the script's number minus the wire's, for the stack's sequence
	// numbers.
	offset     uint32
	haveOffset bool
	remoteISN  uint32
	haveRemote bool

	// Timestamps of the stack: pairs seen, and the first of them.
	stamps              map[uint32]uint32 // script to wire
	haveStamp           bool
	scriptTS0, wireTS0  uint32
	lastStamp           uint32
	localFIN, remoteFIN bool
	reset               bool
	doubtful            bool // reset, by the remote host, whose reset may not have counted
}

func (c *conn) toScript(seq uint32) uint32 { return seq + c.offset }
func (c *conn) toWire(seq uint32) uint32   { return seq - c.offset }

// tuple is that of an inbound packet.
func (c *conn) tuple() wire.Tuple { return wire.Tuple{Src: c.remote, Dst: c.local} }

// over tells that both sides know the connection is gone, so that a new SYN means a
// new one. TIME-WAIT is not that: there a SYN may revive the pair of ports.
func (c *conn) over() bool { return c.reset }

// note follows a packet of the connection, in either direction.
func (c *conn) note(k *script.TCP, dir script.Direction) {
	if k.Flags&script.RST != 0 && (c.haveOffset || dir == script.Outbound) {
		c.doubtful = dir == script.Inbound && (c.doubtful || !c.reset)
		c.reset = true
	}
	if k.Flags&script.FIN != 0 {
		if dir == script.Inbound {
			c.remoteFIN = true
		} else {
			c.localFIN = true
		}
	}
}

// sock is a file descriptor of the script.
type sock struct {
	live      int
	udp       bool
	epoll     bool
	v6        bool
	bound     netip.AddrPort
	listening bool
	closed    bool
	conn      *conn
}

// opens tells whether the script expects the SYN that is being injected to be answered
// as that of a new connection. Where an old one may or may not be over, that says what
// the script means.
func (r *run) opens() bool {
	found := false
	for _, e := range r.plan.Script.Events {
		if e == r.event {
			found = true
		} else if found && e.Packet != nil && e.Packet.Dir == script.Outbound && e.Packet.TCP != nil {
			return e.Packet.TCP.Flags&script.SYN != 0
		}
	}
	return true
}

// inbound finds or makes the connection that an injected packet belongs to.
func (r *run) inbound(p *script.Packet) *conn {
	syn := p.TCP != nil && p.TCP.Flags&(script.SYN|script.ACK|script.RST) == script.SYN
	c := r.cur
	if c != nil && syn && c.passive {
		closed := c.sock != nil && c.sock.closed
		switch {
		case c.doubtful && !r.opens():
		case c.over(), closed && c.localFIN && c.remoteFIN && c.haveRemote && c.remoteISN == p.TCP.Seq:
			if r.listener != nil {
				c = nil
			}
		case c.localFIN && c.remoteFIN && c.remoteISN != p.TCP.Seq:
			// The pair of ports is revived from TIME-WAIT: the stack chooses anew.
			c.haveOffset, c.haveRemote = false, false
			c.localFIN, c.remoteFIN = false, false
			c.haveStamp, c.stamps = false, nil
		}
	}
	if c == nil {
		port := r.plan.BindPort
		if r.listener != nil && r.listener.bound.Port() != 0 {
			port = r.listener.bound.Port()
		} else if r.lastBound != 0 {
			port = r.lastBound
		}
		r.remotePort++
		c = &conn{
			passive: true, udp: p.UDP != nil,
			local:  netip.AddrPortFrom(r.plan.Local.Addr(), port),
			remote: netip.AddrPortFrom(r.plan.Remote, r.remotePort),
		}
		if r.listener != nil && r.listener.bound.Addr().IsValid() && !r.listener.bound.Addr().IsUnspecified() {
			c.local = netip.AddrPortFrom(r.listener.bound.Addr().Unmap(), port)
		}
		r.conns = append(r.conns, c)
		r.cur = c
	}
	if syn && !c.haveRemote {
		c.remoteISN, c.haveRemote = p.TCP.Seq, true
	}
	return c
}

// outbound finds the connection that a packet of the stack belongs to, newest first,
// and learns the stack's port from it.
func (r *run) outbound(d *wire.Decoded) *conn {
	t := d.Tuple
	if m := d.Packet.ICMP; m != nil {
		if !d.Inner.Src.IsValid() {
			return r.cur
		}
		t = d.Inner.Reverse() // the packet that the error is about was inbound
	}
	for i := len(r.conns) - 1; i >= 0; i-- {
		c := r.conns[i]
		if d.Packet.ICMP == nil && c.udp != (d.Packet.UDP != nil) || c.remote != t.Dst {
			continue
		}
		if c.local.Port() == 0 {
			c.local = t.Src
			return c
		}
		if c.local == t.Src {
			return c
		}
	}
	return nil
}
