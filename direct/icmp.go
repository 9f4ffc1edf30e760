package direct

import (
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/icmp"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/tcp"
	"github.com/netduet/netduet/udp"
)

// Limits of the answers to echo requests. That of errors is icmp.Limiter's.
const (
	echoInterval = 50 * time.Microsecond
	echoBurst    = 2000
)

// errorLimit bounds the ICMP errors that others can make us send, for each of them and
// for all together.
type errorLimit struct {
	mu sync.Mutex
	l  *icmp.Limiter
}

// icmpError is what an ICMP error, or a failure of our own to reach a neighbour,
// says about a packet that we sent.
type icmpError struct {
	errno syscall.Errno
	// hard errors end an attempt and are reported to datagram sockets; soft ones may
	// pass (RFC 1122, section 4.2.3.9).
	hard bool
	// mtu is not zero if the packet was too big for the next hop.
	mtu int
}

// errorOf returns what an error message means; ok is false for those that mean
// nothing to a host. The errors are those that Linux reports, as far as all
// platforms have them.
func errorOf(m *icmp.Message, quoted int) (e icmpError, ok bool) {
	switch m.Type {
	case icmp.TypeTimeExceeded:
		return icmpError{errno: syscall.EHOSTUNREACH}, true
	case icmp.TypeParameterProblem:
		return icmpError{errno: syscall.EPROTO}, true
	case icmp.TypeUnreachable:
	default:
		// Source quench is obsolete (RFC 6633); redirects are refused, since the
		// configured routes are meant (RFC 1122, section 3.2.2.2, lets the gateway's
		// word count, which anyone on the link can forge).
		return icmpError{}, false
	}
	switch m.Code {
	case icmp.CodeNetUnreachable, icmp.CodeNetTOS:
		return icmpError{errno: syscall.ENETUNREACH}, true
	case icmp.CodeNetUnknown, icmp.CodeNetProhibited:
		return icmpError{errno: syscall.ENETUNREACH, hard: true}, true
	case icmp.CodeHostUnreachable, icmp.CodeHostTOS, icmp.CodeSourceRouteFailed:
		return icmpError{errno: syscall.EHOSTUNREACH}, true
	case icmp.CodeProtocolUnreachable:
		return icmpError{errno: syscall.ENOPROTOOPT, hard: true}, true
	case icmp.CodePortUnreachable:
		return icmpError{errno: syscall.ECONNREFUSED, hard: true}, true
	case icmp.CodeFragmentationNeeded:
		mtu := m.MTU()
		if mtu == 0 {
			mtu = plateau(quoted)
		}
		return icmpError{errno: syscall.EMSGSIZE, mtu: mtu}, true
	}
	return icmpError{errno: syscall.EHOSTUNREACH, hard: true}, true
}

// plateau returns the next lower common MTU, for routers that don't tell theirs
// (RFC 1191, section 7.1).
func plateau(n int) int {
	for _, p := range [...]int{32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296} {
		if p < n {
			return p
		}
	}
	return ipv4.MinMTU
}

// icmp takes an ICMP message.
func (rx *receiver) icmp(p *packet) {
	st := rx.st
	c := &st.count.icmp
	c.received.Add(1)
	m, err := icmp.Parse(p.payload)
	if err != nil {
		count[icmp.Error](c.invalid[:], err)
		return
	}
	switch {
	case m.Type == icmp.TypeEcho:
		c.echoIn.Add(1)
		rx.echo(p, &m)
	case m.Type == icmp.TypeEchoReply:
		if !st.pings.reply(p.h.Src, m.ID(), m.Seq(), pingResult{at: rx.now}) {
			c.echoUnmatched.Add(1)
		}
	case m.Type.IsError():
		c.errorsIn.Add(1)
		q, err := icmp.ParseQuote(m.Body)
		if err != nil {
			count[icmp.Error](c.invalid[:], err)
			return
		}
		e, ok := errorOf(&m, q.Header.TotalLen)
		if !ok {
			c.ignored.Add(1)
			return
		}
		if !st.isLocal(q.Header.Src) || !st.quoted(rx.now, &q, e) {
			c.unmatched.Add(1)
		}
	default:
		c.ignored.Add(1)
	}
}

// echo answers an echo request (RFC 1122, section 3.2.2.6), but not one to a
// broadcast address: those serve to multiply a flood.
func (rx *receiver) echo(p *packet, m *icmp.Message) {
	st := rx.st
	c := &st.count.icmp
	if p.dst != ipv4.DestinationLocal {
		c.echoBroadcast.Add(1)
		return
	}
	if !st.echoLimit.allow(rx.now) {
		c.echoLimited.Add(1)
		return
	}
	to, errno := st.pathTo(p.h.Dst, p.h.Src)
	if errno != 0 {
		return
	}
	c.echoOut.Add(1)
	reply := icmp.Message{Type: icmp.TypeEchoReply, Rest: m.Rest, Body: m.Body}
	st.sendICMP(rx.now, &to, &reply, &sendOptions{tos: p.h.TOS, hint: rx.q.index})
}

// sendICMP sends a message along p.
func (s *Stack) sendICMP(now clock.Time, p *path, m *icmp.Message, opt *sendOptions) syscall.Errno {
	o := s.getOutgoing()
	defer s.putOutgoing(o)
	opt.protocol = ipv4.ProtocolICMP
	m.EncodeHeader(o.transport(icmp.HeaderLen))
	s.count.icmp.sent.Add(1)
	return s.send(now, p, o, icmp.HeaderLen, m.Body, opt)
}

// allow reports whether an error may be sent to dst now, and counts it if so.
func (e *errorLimit) allow(now clock.Time, dst netip.Addr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.l.Allow(now, dst)
}

// icmpUnreachable tells the sender of p that its packet reached nobody, if that may
// be told.
func (s *Stack) icmpUnreachable(rx *receiver, p *packet, code uint8) {
	if !icmp.MayReport(&p.h, p.payload, p.dst, rx.group) && !(rx.ifc.loopback() && !rx.group && p.h.Protocol != icmp.Protocol) {
		return
	}
	if !rx.ifc.loopback() && !s.errors.allow(rx.now, p.h.Src) {
		s.count.icmp.errLimited.Add(1)
		return
	}
	to, errno := s.pathTo(p.h.Dst, p.h.Src)
	if errno != 0 {
		return
	}
	// The header is encoded again: that of a reassembled datagram was never on the
	// wire. Its checksum and lengths are those that the sender would have made.
	var quote [icmp.MaxErrorLen]byte
	n := p.h.Encode(quote[:])
	n += copy(quote[n:icmp.MaxErrorLen-ipv4.HeaderLen-icmp.HeaderLen], p.payload)
	m := icmp.Message{Type: icmp.TypeUnreachable, Code: code, Body: quote[:n]}
	s.count.icmp.errorsOut.Add(1)
	s.sendICMP(rx.now, &to, &m, &sendOptions{hint: rx.q.index})
}

// icmpReassemblyExceeded tells the sender of the packet that begins with quote that
// its other fragments did not come.
func (s *Stack) icmpReassemblyExceeded(now clock.Time, quote []byte) {
	var h ipv4.Header
	payload, err := h.ParseQuoted(quote)
	if err != nil || !icmp.MayReport(&h, payload, ipv4.DestinationLocal, false) || !s.isLocal(h.Dst) {
		return
	}
	if !s.errors.allow(now, h.Src) {
		s.count.icmp.errLimited.Add(1)
		return
	}
	if to, errno := s.pathTo(h.Dst, h.Src); errno == 0 {
		m := icmp.Message{Type: icmp.TypeTimeExceeded, Code: icmp.CodeReassemblyExceeded, Body: quote}
		s.count.icmp.errorsOut.Add(1)
		s.sendICMP(now, &to, &m, &sendOptions{})
	}
}

// localError reports that a packet of ours, given from its IP header on, did not
// get as far as the link.
func (s *Stack) localError(now clock.Time, b []byte, errno syscall.Errno) {
	var q icmp.Quote
	var err error
	if q.Transport, err = q.Header.ParseQuoted(b); err != nil || q.Header.FragmentOffset != 0 || len(q.Transport) < 8 {
		return
	}
	s.quoted(now, &q, icmpError{errno: errno})
}

// quoted reports an error to whom the quoted packet belongs, and whether there is
// such a one. No lock is held.
func (s *Stack) quoted(now clock.Time, q *icmp.Quote, e icmpError) bool {
	switch q.Header.Protocol {
	case ipv4.ProtocolTCP:
		f := flow{
			local: q.Header.Src, remote: q.Header.Dst,
			localPort: q.Src().Port(), remotePort: q.Dst().Port(),
		}
		entry := s.table.lookup(&f)
		if entry == nil {
			return false
		}
		entry.kind.icmpError(now, tcp.Seq(q.TCPSeq()), e)
		return true
	case udp.Protocol:
		return s.udpSockets.icmpError(now, q.Src(), q.Dst(), e)
	case icmp.Protocol:
		id, seq, ok := q.Echo()
		return ok && s.pings.reply(q.Header.Dst, id, seq, pingResult{at: now, errno: e.errno})
	}
	return false
}

// notePathMTU takes an MTU from a message that was found to be about a packet of
// ours; it can only make packets smaller.
func (s *Stack) notePathMTU(now clock.Time, dst netip.Addr, mtu int) {
	if mtu < s.pathMTU.get(dst, s.clk) {
		s.pathMTU.set(now, dst, mtu)
	}
}
