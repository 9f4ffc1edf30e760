package direct

import (
	"net/netip"
	"sync"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/icmp"
	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// decision is what becomes of a packet that arrived.
type decision uint8

const (
	deliverLocal decision = iota
	forward               // to somebody else: we are no router, so that it ends here
	drop
)

// packet is an IP packet that arrived, reassembled if need be.
type packet struct {
	h       ipv4.Header
	whole   []byte // with its header, for errors to quote; its length fields may be those of a fragment
	payload []byte
	dst     ipv4.Destination
	// verified: the device vouches for the transport checksum, or the sender left it
	// out because the frame never touched a wire.
	verified bool
	// partial: the transport checksum field holds the pseudo-header's sum only.
	partial bool
}

// ipv4 takes an IPv4 packet with its padding.
func (rx *receiver) ipv4(b []byte) {
	st := rx.st
	c := &st.count.ip
	c.received.Add(1)
	p := packet{whole: b}
	var err error
	if p.payload, err = p.h.Parse(b); err != nil {
		count[ipv4.Error](c.invalid[:], err)
		return
	}
	p.whole = b[:p.h.TotalLen]
	switch rx.route(&p) {
	case drop:
		return
	case forward:
		c.notForUs.Add(1)
		return
	}
	if p.h.IsFragment() {
		c.fragmentsIn.Add(1)
		if rx.meta.Flags&netif.NeedsChecksum != 0 {
			// The checksum would be over the whole; no device does that.
			c.invalid[ipv4.ErrFragmentLen].Add(1)
			return
		}
		if p.payload = st.fragments.add(st, rx.now, &p.h, b, p.payload); p.payload == nil {
			return
		}
		c.reassembled.Add(1)
	} else {
		p.verified = rx.meta.Flags&(netif.NeedsChecksum|netif.ChecksumValid) != 0
		p.partial = rx.meta.Flags&netif.NeedsChecksum != 0
	}
	switch p.h.Protocol {
	case ipv4.ProtocolTCP:
		rx.tcp(&p)
	case ipv4.ProtocolUDP:
		rx.udp(&p)
	case ipv4.ProtocolICMP:
		rx.icmp(&p)
	default:
		c.unknownProtocol.Add(1)
		st.icmpUnreachable(rx, &p, icmp.CodeProtocolUnreachable)
		return
	}
	c.delivered.Add(1)
}

// route decides whether a packet is for us (RFC 1122, section 3.3.1.5 and the
// sanity checks of section 3.2.1.3). An address of another interface of ours is
// ours, too: the weak host model of section 3.3.4.2, as Linux has it.
func (rx *receiver) route(p *packet) decision {
	st := rx.st
	c := &st.count.ip
	if rx.ifc.loopback() {
		// What comes in here was sent by ourselves.
		p.dst = ipv4.DestinationLocal
		if !st.isLocal(p.h.Dst) {
			c.invalid[ipv4.ErrMartianDestination].Add(1)
			return drop
		}
		return deliverLocal
	}
	p.dst = ipv4.Classify(p.h.Dst, rx.ifc.addrs)
	if ipv4.CheckSource(p.h.Src, rx.ifc.addrs) != nil || st.isLocal(p.h.Src) {
		c.invalid[ipv4.ErrMartianSource].Add(1)
		return drop
	}
	switch p.dst {
	case ipv4.DestinationLocal:
		if rx.group {
			// A unicast packet in a frame to everybody: RFC 1122, section 3.3.6, has it
			// dropped silently.
			c.invalid[ipv4.ErrMartianDestination].Add(1)
			return drop
		}
		return deliverLocal
	case ipv4.DestinationBroadcast:
		return deliverLocal
	case ipv4.DestinationMulticast:
		c.multicast.Add(1)
		return drop
	case ipv4.DestinationOther:
		if st.isLocal(p.h.Dst) && !rx.group {
			p.dst = ipv4.DestinationLocal
			return deliverLocal
		}
		return forward
	}
	c.invalid[ipv4.ErrMartianDestination].Add(1)
	return drop
}

// fragments is the stack's reassembly; its lock is a leaf.
type fragments struct {
	mu    sync.Mutex
	r     *ipv4.Reassembler
	timer timer
	st    *Stack
	drops [ipv4.NumVerdicts]uint64
	late  uint64
}

// fragmentMemory charges reassembly against the stack's limit.
type fragmentMemory struct{ m *memory }

func (f fragmentMemory) Reserve(n int) bool { return f.m.charge(n, false) }
func (f fragmentMemory) Release(n int)      { f.m.credit(n) }

func (f *fragments) init(st *Stack) {
	f.st = st
	f.r = ipv4.NewReassembler(ipv4.ReassemblyConfig{Memory: fragmentMemory{st.mem}})
	st.timers.bind(&f.timer, f, 0)
}

// add takes a fragment in and returns the payload of the datagram that it has
// completed, or nil; h is then the whole's header.
func (f *fragments) add(st *Stack, now clock.Time, h *ipv4.Header, b, payload []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	whole, verdict := f.r.Add(now, h, b, payload)
	f.timer.want(f.r.Deadline())
	if verdict != ipv4.FragmentComplete {
		if verdict != ipv4.FragmentPending && int(verdict) < len(f.drops) {
			f.drops[verdict]++
		}
		return nil
	}
	return whole
}

// expired gives up what was not completed in time, and tells the senders (RFC
// 1122, section 3.3.2).
func (f *fragments) expired(now clock.Time) {
	var quotes [][]byte
	f.mu.Lock()
	f.timer.armed = 0
	f.r.Expire(now, func(e ipv4.Expired) {
		f.late++
		if e.Quote != nil && len(quotes) < 64 {
			quotes = append(quotes, append([]byte(nil), e.Quote...))
		}
	})
	f.timer.want(f.r.Deadline())
	f.mu.Unlock()
	for _, q := range quotes {
		f.st.icmpReassemblyExceeded(now, q)
	}
}

func (f *fragments) close() {
	f.mu.Lock()
	f.timer.stop()
	f.r.Close()
	f.mu.Unlock()
}

// reassemblyDrops returns how many fragments were dropped, by reason.
func (s *Stack) reassemblyDrops() map[string]uint64 {
	f := &s.fragments
	f.mu.Lock()
	defer f.mu.Unlock()
	m := make(map[string]uint64)
	for v, n := range f.drops {
		if n > 0 {
			m[ipv4.Verdict(v).String()] = n
		}
	}
	if f.late > 0 {
		m["expired"] = f.late
	}
	if n := f.r.Evicted(); n > 0 {
		m["evicted"] = n
	}
	return m
}

// tcp takes a TCP segment.
func (rx *receiver) tcp(p *packet) {
	st := rx.st
	c := &st.count.tcp
	c.received.Add(1)
	if p.dst != ipv4.DestinationLocal {
		// RFC 9293, section 3.9.2.3: a SYN to a broadcast or multicast address is
		// ignored, and so must be whatever else comes to one.
		c.badAddress.Add(1)
		return
	}
	if !p.verified {
		sum := checksum.PseudoHeader(p.h.Src, p.h.Dst, ipv4.ProtocolTCP, len(p.payload))
		if checksum.Sum(p.payload, sum).Fold() != checksum.Valid {
			c.badChecksum.Add(1)
			return
		}
	}
	seg := &rx.seg
	switch tcp.Parse(p.payload, seg) {
	case nil:
	case tcp.ErrDataOffset:
		c.badOffset.Add(1)
		return
	default:
		c.truncated.Add(1)
		return
	}
	seg.ECN = p.h.TOS & 3
	if seg.Options.Signed {
		// No socket here has a key, and without one a signed segment is not for it (RFC
		// 5925, section 7.3; as Linux has it for both kinds of signature).
		c.signed.Add(1)
		return
	}
	f := flow{local: p.h.Dst, remote: p.h.Src, localPort: seg.DstPort, remotePort: seg.SrcPort}
	// A record may be replaced by another between being found and being locked; that
	// happens a bounded number of times in a connection's life.
	hint := issHint{}
	for range 8 {
		e := st.table.lookup(&f)
		if e == nil {
			break
		}
		if e.kind.input(rx, seg) {
			return
		}
		if tw, ok := e.kind.(*timeWait); ok {
			hint = tw.hint()
		}
	}
	if seg.SrcPort == 0 {
		// Nobody's, and answered to nobody; only who dialled port 0 has a use for it,
		// and gets the refusal that a kernel sends from there.
		c.badAddress.Add(1)
		return
	}
	if l := st.listeners.lookup(f.localAddr()); l != nil && l.input(rx, &f, seg, hint) {
		return
	}
	c.noConnection.Add(1)
	if r, ok := tcp.ResetFor(seg); ok {
		if !rx.ifc.loopback() && !st.resetLimit.allow(rx.now) {
			c.resetsLimited.Add(1)
			return
		}
		c.resetsSent.Add(1)
		rx.reply(&f, &r)
	}
}

// Resets that answer segments of no connection are limited, unlike in Linux: with a
// forged source each would go to a third party (the reflection that RFC 4987, section
// 3.1, has in mind, by SYNs to closed ports), and a scan or flood would cost us as much
// again in sending. Ten thousand a second are far more than honest peers ask for, and
// as the limit is for all together, an ordinary rate tells nobody of anybody else's
// connections (RFC 5961, section 7, and what became of per-host counters).
const (
	resetInterval = 100 * time.Microsecond
	resetBurst    = 1000
)

// isLocal reports whether a is an address of ours, loopback included.
func (s *Stack) isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	_, ok := s.local[a]
	return ok
}
