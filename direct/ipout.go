package direct

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// path is the way of packets from an address of ours to another: decided once for
// a connection, since interfaces and routes don't change.
type path struct {
	way
	src, dst netip.Addr
}

// way is a path without its ends, which a connection has as its flow.
type way struct {
	ifc *iface
	hop netip.Addr // neighbour that the packets are handed to
	id  uint16     // identification of the next TCP packet
	ip  ipOptions
}

// nextID returns the identification for the packets of seg and moves on. They are
// atomic (DF), so that the value has no meaning (RFC 6864, section 4.1); it counts
// from an unpredictable value for the sake of middleboxes that look at it, as
// Linux's does.
func (p *path) nextID(seg *tcp.OutSegment) uint16 {
	id := p.id
	p.id++
	if seg.SegmentSize > 0 {
		p.id += uint16((seg.PayloadLen - 1) / seg.SegmentSize)
	}
	return id
}

// pathTo finds the way to dst. src may be invalid or unspecified, which leaves the
// choice to the stack. The errno is what connect or sendto would return.
func (s *Stack) pathTo(src, dst netip.Addr) (path, syscall.Errno) {
	chosen := src.IsValid() && !src.IsUnspecified()
	if chosen && !s.isLocal(src) {
		return path{}, syscall.EADDRNOTAVAIL
	}
	if !dst.Is4() {
		return path{}, syscall.EAFNOSUPPORT
	}
	if s.isLocal(dst) {
		if !chosen {
			src = dst
		}
		return path{way: way{ifc: s.lo, hop: dst}, src: src, dst: dst}, 0
	}
	if chosen && src.IsLoopback() {
		return path{}, syscall.EINVAL // as Linux: a loopback address stays inside
	}
	if dst == broadcastAddr || dst.IsMulticast() {
		if ifc := s.linkFor(src, chosen, dst); ifc != nil {
			if !chosen {
				src = ifc.addrs[0].Addr()
			}
			return path{way: way{ifc: ifc, hop: dst}, src: src, dst: dst}, 0
		}
		s.count.ip.noRoute.Add(1)
		return path{}, syscall.ENETUNREACH
	}
	r, ok := s.routes.Lookup(dst)
	if !ok || dst.IsUnspecified() {
		s.count.ip.noRoute.Add(1)
		return path{}, syscall.ENETUNREACH
	}
	ifc := s.ifaces[r.Interface-1]
	hop := r.NextHop(dst)
	if !chosen {
		if src, ok = s.sourceFor(ifc, hop); !ok {
			s.count.ip.noRoute.Add(1)
			return path{}, syscall.ENETUNREACH
		}
	}
	return path{way: way{ifc: ifc, hop: hop}, src: src, dst: dst}, 0
}

// linkFor chooses the interface for the limited broadcast address and for groups:
// that of the source if there is one, that of a route, or the first with an
// address.
func (s *Stack) linkFor(src netip.Addr, chosen bool, dst netip.Addr) *iface {
	if chosen {
		return s.ifaces[s.local[src]-1]
	}
	if r, ok := s.routes.Lookup(dst); ok && len(s.ifaces[r.Interface-1].addrs) > 0 {
		return s.ifaces[r.Interface-1]
	}
	for _, ifc := range s.ifaces {
		if !ifc.loopback() && len(ifc.addrs) > 0 {
			return ifc
		}
	}
	return nil
}

// sourceFor chooses our address for packets handed to hop on ifc: one that shares
// its prefix, the interface's first, or the stack's first.
func (s *Stack) sourceFor(ifc *iface, hop netip.Addr) (netip.Addr, bool) {
	for _, p := range ifc.addrs {
		if p.Contains(hop) {
			return p.Addr(), true
		}
	}
	if len(ifc.addrs) > 0 {
		return ifc.addrs[0].Addr(), true
	}
	for _, other := range s.ifaces {
		if !other.loopback() && len(other.addrs) > 0 {
			return other.addrs[0].Addr(), true
		}
	}
	return netip.Addr{}, false
}

// broadcast reports whether packets of p go to more than one host.
func (p *path) broadcast() bool {
	return p.dst == broadcastAddr || p.dst.IsMulticast() ||
		!p.ifc.loopback() && p.ifc.isDirectedBroadcast(p.dst)
}

func (ifc *iface) isDirectedBroadcast(a netip.Addr) bool {
	return ifc.link.ethernet && ipv4.IsDirectedBroadcast(a, ifc.addrs)
}

// outgoing is the memory for one packet that is not a connection's: its headers,
// and the list of fragments that points at them and at the payload.
type outgoing struct {
	head   [headroom + 64]byte
	frags  [2][]byte
	frames [1]netif.Frame
}

// transport returns the place for n bytes of transport header.
func (o *outgoing) transport(n int) []byte { return o.head[headroom : headroom+n] }

func (s *Stack) getOutgoing() *outgoing { return s.outgoing.Get().(*outgoing) }

func (s *Stack) putOutgoing(o *outgoing) {
	o.frags = [2][]byte{}
	o.frames = [1]netif.Frame{}
	s.outgoing.Put(o)
}

// sendOptions are what packets to send differ in.
type sendOptions struct {
	protocol uint8
	tos      uint8 // of what answers a packet
	df       bool  // the packet must not be fragmented
	// partialAt is the offset of a transport checksum that holds the pseudo-header's
	// sum only, to be finished by the device; 0: the checksum is complete.
	partialAt int
	hint      int // of the transmit queue
}

// wantsPartial reports whether a transport checksum over a packet of n bytes along
// p is the device's work.
func (s *Stack) wantsPartial(p *path, n int) bool {
	return p.ifc.port.info.Offloads.Has(netif.TxChecksum) && ipv4.HeaderLen+n <= s.mtu(p)
}

// mtu is the largest packet that goes along p whole.
func (s *Stack) mtu(p *path) int {
	if p.ifc.loopback() {
		return p.ifc.mtu
	}
	if !p.ip.adapts() || p.ip.discover() == linuxopt.PMTUDISC_PROBE {
		return p.ifc.mtu
	}
	return min(p.ifc.mtu, s.pathMTU.get(p.dst, s.clk))
}

// send sends the packet whose transport header of n bytes stands in o, followed by
// payload, which is borrowed for the call. No lock is held.
func (s *Stack) send(now clock.Time, p *path, o *outgoing, n int, payload []byte, opt *sendOptions) syscall.Errno {
	h := ipv4.Header{
		Src: p.src, Dst: p.dst, TOS: opt.tos | p.ip.tos, TTL: p.ip.hops(), Protocol: opt.protocol,
		TotalLen: ipv4.HeaderLen + n + len(payload),
		// A packet that fits is sent with DF, so that a narrower path makes itself
		// known (RFC 1191); one that is cut up here can't have it.
		DontFragment: p.ip.df(),
	}
	if h.TotalLen > ipv4.MaxLen {
		return syscall.EMSGSIZE
	}
	if mtu := s.mtu(p); h.TotalLen > mtu {
		if opt.df {
			s.count.ip.tooBig.Add(1)
			return syscall.EMSGSIZE
		}
		return s.sendFragments(now, p, &h, o.transport(n), payload, mtu, opt)
	}
	h.ID = s.nextID(p, opt.protocol)
	h.Encode(o.head[ipOffset:headroom])
	s.count.ip.sent.Add(1)
	var meta netif.Meta
	link := &p.ifc.link
	if opt.partialAt > 0 {
		meta.Flags = netif.NeedsChecksum
		meta.ChecksumStart = uint16(link.header + ipv4.HeaderLen)
		meta.ChecksumOffset = uint16(opt.partialAt)
	}
	hw, ok := p.ifc.resolve(now, p.hop, false, nil)
	if !ok {
		size := ipv4.HeaderLen + n + len(payload)
		w := &held{mem: s.mem.slab(headroom + size), n: size, meta: meta}
		b := append(w.mem.b[:headroom], o.head[ipOffset:headroom+n]...)
		copy(w.mem.b[len(b):], payload)
		p.ifc.hold(now, p.hop, w)
		return 0
	}
	link.put(o.head[:ipOffset], hw, ethernet.TypeIPv4)
	info := &p.ifc.port.info
	if info.Headroom > 0 && info.Headroom <= ipOffset-link.header {
		meta.Flags |= netif.MetaHeadroom
	}
	o.frags[0] = o.head[ipOffset-link.header : headroom+n]
	frags := o.frags[:1]
	if len(payload) > 0 {
		o.frags[1] = payload
		frags = o.frags[:2]
	}
	q := p.ifc.port.queue(opt.hint)
	if info.MaxFragments == 1 && len(frags) > 1 {
		m := s.mem.slab(headroom + n + len(payload))
		b := append(m.b[:0], frags[0]...)
		o.frags[0] = append(b, payload...)
		o.frames[0] = netif.Frame{Fragments: o.frags[:1], Meta: meta}
		q.sendFrames(o.frames[:])
		s.mem.putSlab(m)
		return 0
	}
	o.frames[0] = netif.Frame{Fragments: frags, Meta: meta}
	q.sendFrames(o.frames[:])
	return 0
}

// sendFragments cuts a packet up for the MTU. Its fragments leave together or, when
// the device has no room for all, in part: the rest is dropped as any loss would.
func (s *Stack) sendFragments(now clock.Time, p *path, h *ipv4.Header, transport, payload []byte, mtu int, opt *sendOptions) syscall.Errno {
	h.DontFragment = false
	h.ID = s.nextID(p, opt.protocol)
	whole := s.mem.slab(len(transport) + len(payload))
	defer s.mem.putSlab(whole)
	data := append(append(whole.b[:0], transport...), payload...)
	f, err := ipv4.NewFragmenter(h, len(data), mtu)
	if err != nil {
		s.count.ip.tooBig.Add(1)
		return syscall.EMSGSIZE
	}
	q := p.ifc.port.queue(opt.hint)
	link := &p.ifc.link
	for {
		m := s.mem.slab(headroom + mtu)
		b := m.b
		n, from, to, ok := f.Next(b[ipOffset : ipOffset+ipv4.MaxHeaderLen])
		if !ok {
			s.mem.putSlab(m)
			return 0
		}
		copy(b[ipOffset+n:], data[from:to])
		size := n + to - from
		s.count.ip.fragmentsOut.Add(1)
		s.count.ip.sent.Add(1)
		hw, ok := p.ifc.resolve(now, p.hop, false, nil)
		if !ok {
			w := &held{mem: s.mem.slab(headroom + size), n: size}
			copy(w.mem.b[headroom:], b[ipOffset:ipOffset+size])
			p.ifc.hold(now, p.hop, w)
		} else {
			link.put(b[:ipOffset], hw, ethernet.TypeIPv4)
			q.sendOne(netif.Frame{Fragments: [][]byte{b[ipOffset-link.header : ipOffset+size]}})
		}
		s.mem.putSlab(m)
	}
}

// nextID returns an identification for a packet that may be fragmented on its way.
func (s *Stack) nextID(p *path, protocol uint8) uint16 {
	s.idMu.Lock()
	defer s.idMu.Unlock()
	return s.ids.Next(p.src, p.dst, protocol)
}

// reply sends a TCP segment without data that no connection sends.
func (rx *receiver) reply(f *flow, r *tcp.Reply) {
	p, errno := rx.st.pathTo(f.local, f.remote)
	if errno != 0 {
		return
	}
	rx.st.sendReply(rx.now, &p, f, r, rx.q.index)
}

func (s *Stack) sendReply(now clock.Time, p *path, f *flow, r *tcp.Reply, hint int) {
	o := s.getOutgoing()
	defer s.putOutgoing(o)
	n := len(r.Append(o.transport(0), f.localPort, f.remotePort))
	opt := sendOptions{protocol: ipv4.ProtocolTCP, df: true, hint: hint}
	s.finishTCP(p, o.transport(n), &opt)
	s.count.tcp.sent.Add(1)
	s.send(now, p, o, n, nil, &opt)
}

// finishTCP completes the checksum of a segment without payload.
func (s *Stack) finishTCP(p *path, b []byte, opt *sendOptions) {
	sum := pseudo(p, ipv4.ProtocolTCP, len(b))
	if s.wantsPartial(p, len(b)) {
		binary.BigEndian.PutUint16(b[tcpChecksumOffset:], sum.Fold())
		opt.partialAt = tcpChecksumOffset
		return
	}
	binary.BigEndian.PutUint16(b[tcpChecksumOffset:], checksumOf(b, sum))
}

func pseudo(p *path, protocol uint8, n int) checksum.Partial {
	return checksum.PseudoHeader(p.src, p.dst, protocol, n)
}

func checksumOf(b []byte, sum checksum.Partial) uint16 { return checksum.Sum(b, sum).Checksum() }
