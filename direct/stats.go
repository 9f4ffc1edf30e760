package direct

import (
	"sync/atomic"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/icmp"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/udp"
)

// Stats is a snapshot of a stack's counters, all since it began unless they say
// "now". Maps named Invalid hold the number of inputs refused by reason, without
// the reasons that did not occur.
type Stats struct {
	Link   LinkStats
	ARP    ARPStats
	IP     IPStats
	ICMP   ICMPStats
	UDP    UDPStats
	TCP    TCPStats
	Memory MemoryStats
}

// LinkStats counts frames, the loopback interface's included.
type LinkStats struct {
	RxFrames, RxBytes uint64
	TxFrames, TxBytes uint64
	Invalid           map[string]uint64
	OtherHost         uint64 // frames to a hardware address that is not ours
	UnknownVLAN       uint64 // frames with a tag, or without one, that no interface has
	UnknownType       uint64 // frames of a protocol that is not spoken
	TxDropped         uint64 // frames of UDP, ICMP and ARP for which the device had no room
	TxFailed          uint64 // frames lost because the device is gone
	Stalls            uint64 // times that TCP waited for room in a device
}

// ARPStats counts address resolution.
type ARPStats struct {
	RequestsIn, RepliesIn   uint64
	RequestsOut, RepliesOut uint64
	Invalid                 map[string]uint64 // malformed, impossible, or nothing to us
	Conflicts               uint64            // another station uses one of our addresses
	Held                    uint64            // packets that waited for a neighbour
	HeldDropped             uint64            // packets given up because too many waited
	Failed                  uint64            // packets given up because the neighbour did not answer
	Refused                 uint64            // neighbours not taken up because the cache was full of busy ones
}

// IPStats counts packets of IPv4.
type IPStats struct {
	Received, Delivered, Sent uint64
	Invalid                   map[string]uint64
	MartianSource             uint64 // sources that no packet may have
	MartianDestination        uint64 // destinations that no packet may have
	NotForUs                  uint64 // we are no router
	UnknownProtocol           uint64
	MulticastIgnored          uint64 // to groups that nobody joined
	FragmentsIn, Reassembled  uint64
	ReassemblyDropped         map[string]uint64
	FragmentsOut              uint64
	NoRoute                   uint64 // packets to send that had no way
	TooBig                    uint64 // packets to send that don't fit and must not be fragmented
}

// ICMPStats counts messages.
type ICMPStats struct {
	Received, Sent          uint64
	Invalid                 map[string]uint64
	EchoIn, EchoOut         uint64 // requests received, replies sent
	ErrorsIn, ErrorsOut     uint64
	ErrorsUnmatched         uint64 // errors about packets that we did not send
	Ignored                 uint64 // messages of kinds that a host has no business with
	EchoLimited, ErrLimited uint64 // replies and errors not sent for their number
	EchoBroadcast           uint64 // requests to a broadcast address, not answered
	EchoUnmatched           uint64 // replies that nobody waits for
}

// UDPStats counts datagrams.
type UDPStats struct {
	Received, Delivered, Sent uint64
	Invalid                   map[string]uint64
	NoPort                    uint64 // nobody listens at the port
	QueueFull                 uint64 // the socket's receive buffer was full
	NoMemory                  uint64 // the stack's memory limit was reached
	Sockets                   uint64 // now
}

// TCPStats counts segments and connections.
type TCPStats struct {
	Received, Sent     uint64
	Truncated          uint64 // segments shorter than their header
	BadOffset          uint64 // segments with an impossible data offset
	BadChecksum        uint64
	BadAddress         uint64 // segments to or from a broadcast or multicast address, or port 0
	NoConnection       uint64 // segments that reached no connection and no listener
	ResetsSent         uint64 // answers to those
	ResetsLimited      uint64 // answers to those that were not sent for their number
	ActiveOpens        uint64
	PassiveOpens       uint64
	SynEvicted         uint64 // half-open connections given up because too many were
	SynOverflow        uint64 // SYNs dropped because too many connections were half-open, without cookies
	SynRefused         uint64 // SYNs dropped, no memory being left or the stack closing
	SynCookiesSent     uint64 // SYNs answered without a record (RFC 4987, section 3.6)
	SynCookiesReceived uint64 // and the acknowledgements of those that were good …
	SynCookiesFailed   uint64 // … or made up, or late
	SynExpired         uint64 // half-open connections that never completed
	FastOpen           FastOpenStats
	AcceptOverflow     uint64 // handshakes held up because the accept queue was full
	ConnRefused        uint64 // connections not made because no memory was left
	TimeWaitDropped    uint64 // records of ended connections given up early, for their number
	Connections        uint64 // now
	HalfOpen, TimeWait uint64 // now
}

// FastOpenStats counts TCP Fast Open (RFC 7413), as Linux's TCPFastOpen counters do.
type FastOpenStats struct {
	CookieRequests uint64 // SYNs that asked for a cookie
	Accepted       uint64 // SYNs that opened a connection …
	AcceptedOldKey uint64 // … with a cookie of the second key
	Refused        uint64 // cookies that were not good
	QueueFull      uint64 // SYNs that opened none because too many were pending
	Pending        uint64 // such connections without a complete handshake, now
	Active         uint64 // own SYNs whose data was acknowledged
	ActiveFailed   uint64 // and those whose data had to be sent again
	BlackHoles     uint64 // paths that seemed to swallow such connections
	Cookies        uint64 // that servers gave us, now
}

// MemoryStats tells what counts against Config.MemoryLimit.
type MemoryStats struct {
	Used, Limit uint64 // now, in bytes
	Refused     uint64 // how often something was refused for want of it
}

// counters are the live counters behind Stats. atomic.Uint64 aligns itself on
// 32-bit machines.
type counters struct {
	link struct {
		rxFrames, rxBytes, txFrames, txBytes atomic.Uint64
		otherHost, unknownVLAN, unknownType  atomic.Uint64
		txDropped, txFailed, stalls          atomic.Uint64
		invalid                              [ethernet.NumErrors]atomic.Uint64
	}
	arp struct {
		requestsIn, repliesIn, requestsOut, repliesOut atomic.Uint64
		held, heldDropped, failed, refused             atomic.Uint64
		invalid                                        [arp.NumErrors]atomic.Uint64
	}
	ip struct {
		received, delivered, sent              atomic.Uint64
		notForUs, unknownProtocol, multicast   atomic.Uint64
		fragmentsIn, reassembled, fragmentsOut atomic.Uint64
		noRoute, tooBig                        atomic.Uint64
		invalid                                [ipv4.NumErrors]atomic.Uint64
	}
	icmp struct {
		received, sent, echoIn, echoOut, errorsIn, errorsOut       atomic.Uint64
		unmatched, ignored, echoLimited, errLimited, echoBroadcast atomic.Uint64
		echoUnmatched                                              atomic.Uint64
		invalid                                                    [icmp.NumErrors]atomic.Uint64
	}
	udp struct {
		received, delivered, sent, noPort, queueFull, noMemory atomic.Uint64
		sockets                                                atomic.Int64
		invalid                                                [udp.NumErrors]atomic.Uint64
	}
	tcp struct {
		received, sent, truncated, badOffset, badChecksum, badAddress, signed atomic.Uint64
		noConnection, resetsSent, resetsLimited, activeOpens, passiveOpens    atomic.Uint64
		synEvicted, synOverflow, synRefused, synExpired, acceptOverflow       atomic.Uint64
		cookiesSent, cookiesReceived, cookiesFailed                           atomic.Uint64
		connRefused, timeWaitDropped                                          atomic.Uint64
		fastRequests, fastAccepted, fastOldKey, fastRefused, fastFull         atomic.Uint64
		fastActive, fastActiveFailed, fastBlackHoles                          atomic.Uint64
		fastPending                                                           atomic.Int64
		connections, halfOpen, timeWait                                       atomic.Int64
	}
}

// reason is the dense error type of a protocol package.
type reason interface {
	~uint8
	error
}

func byReason[E reason](counts []atomic.Uint64) map[string]uint64 {
	m := make(map[string]uint64)
	for i := range counts {
		if n := counts[i].Load(); n > 0 {
			m[E(i).Error()] = n
		}
	}
	return m
}

// count adds one to the counter of err, an E.
func count[E reason](counts []atomic.Uint64, err error) {
	if e, ok := err.(E); ok && int(e) < len(counts) {
		counts[e].Add(1)
	}
}

// Stats returns the stack's counters as they are now. Counters are read one after
// the other while traffic goes on.
func (s *Stack) Stats() Stats {
	c := &s.count
	var st Stats
	st.Link = LinkStats{
		RxFrames: c.link.rxFrames.Load(), RxBytes: c.link.rxBytes.Load(),
		TxFrames: c.link.txFrames.Load(), TxBytes: c.link.txBytes.Load(),
		Invalid:   byReason[ethernet.Error](c.link.invalid[:]),
		OtherHost: c.link.otherHost.Load(), UnknownVLAN: c.link.unknownVLAN.Load(),
		UnknownType: c.link.unknownType.Load(), TxDropped: c.link.txDropped.Load(),
		TxFailed: c.link.txFailed.Load(), Stalls: c.link.stalls.Load(),
	}
	st.ARP = ARPStats{
		RequestsIn: c.arp.requestsIn.Load(), RepliesIn: c.arp.repliesIn.Load(),
		RequestsOut: c.arp.requestsOut.Load(), RepliesOut: c.arp.repliesOut.Load(),
		Invalid: byReason[arp.Error](c.arp.invalid[:]), Conflicts: c.arp.invalid[arp.ErrConflict].Load(),
		Held: c.arp.held.Load(), HeldDropped: c.arp.heldDropped.Load(),
		Failed: c.arp.failed.Load(), Refused: c.arp.refused.Load(),
	}
	st.IP = IPStats{
		Received: c.ip.received.Load(), Delivered: c.ip.delivered.Load(), Sent: c.ip.sent.Load(),
		Invalid:            byReason[ipv4.Error](c.ip.invalid[:]),
		MartianSource:      c.ip.invalid[ipv4.ErrMartianSource].Load(),
		MartianDestination: c.ip.invalid[ipv4.ErrMartianDestination].Load(),
		NotForUs:           c.ip.notForUs.Load(), UnknownProtocol: c.ip.unknownProtocol.Load(),
		MulticastIgnored: c.ip.multicast.Load(), FragmentsIn: c.ip.fragmentsIn.Load(),
		Reassembled: c.ip.reassembled.Load(), FragmentsOut: c.ip.fragmentsOut.Load(),
		ReassemblyDropped: s.reassemblyDrops(),
		NoRoute:           c.ip.noRoute.Load(), TooBig: c.ip.tooBig.Load(),
	}
	st.ICMP = ICMPStats{
		Received: c.icmp.received.Load(), Sent: c.icmp.sent.Load(),
		Invalid: byReason[icmp.Error](c.icmp.invalid[:]),
		EchoIn:  c.icmp.echoIn.Load(), EchoOut: c.icmp.echoOut.Load(),
		ErrorsIn: c.icmp.errorsIn.Load(), ErrorsOut: c.icmp.errorsOut.Load(),
		ErrorsUnmatched: c.icmp.unmatched.Load(), Ignored: c.icmp.ignored.Load(),
		EchoLimited: c.icmp.echoLimited.Load(), ErrLimited: c.icmp.errLimited.Load(),
		EchoBroadcast: c.icmp.echoBroadcast.Load(), EchoUnmatched: c.icmp.echoUnmatched.Load(),
	}
	st.UDP = UDPStats{
		Received: c.udp.received.Load(), Delivered: c.udp.delivered.Load(), Sent: c.udp.sent.Load(),
		Invalid: byReason[udp.Error](c.udp.invalid[:]), NoPort: c.udp.noPort.Load(),
		QueueFull: c.udp.queueFull.Load(), NoMemory: c.udp.noMemory.Load(),
		Sockets: uint64(c.udp.sockets.Load()),
	}
	st.TCP = TCPStats{
		Received: c.tcp.received.Load(), Sent: c.tcp.sent.Load(), Truncated: c.tcp.truncated.Load(),
		BadOffset: c.tcp.badOffset.Load(), BadChecksum: c.tcp.badChecksum.Load(),
		BadAddress: c.tcp.badAddress.Load(), NoConnection: c.tcp.noConnection.Load(),
		ResetsSent: c.tcp.resetsSent.Load(), ResetsLimited: c.tcp.resetsLimited.Load(), ActiveOpens: c.tcp.activeOpens.Load(),
		PassiveOpens: c.tcp.passiveOpens.Load(), SynEvicted: c.tcp.synEvicted.Load(),
		SynOverflow: c.tcp.synOverflow.Load(), SynCookiesSent: c.tcp.cookiesSent.Load(),
		SynCookiesReceived: c.tcp.cookiesReceived.Load(), SynCookiesFailed: c.tcp.cookiesFailed.Load(),
		SynRefused: c.tcp.synRefused.Load(), SynExpired: c.tcp.synExpired.Load(),
		AcceptOverflow: c.tcp.acceptOverflow.Load(), ConnRefused: c.tcp.connRefused.Load(),
		TimeWaitDropped: c.tcp.timeWaitDropped.Load(), Connections: uint64(c.tcp.connections.Load()),
		HalfOpen: uint64(c.tcp.halfOpen.Load()), TimeWait: uint64(c.tcp.timeWait.Load()),
	}
	st.TCP.FastOpen = FastOpenStats{
		CookieRequests: c.tcp.fastRequests.Load(), Accepted: c.tcp.fastAccepted.Load(), AcceptedOldKey: c.tcp.fastOldKey.Load(),
		Refused: c.tcp.fastRefused.Load(), QueueFull: c.tcp.fastFull.Load(), Pending: uint64(max(c.tcp.fastPending.Load(), 0)),
		Active: c.tcp.fastActive.Load(), ActiveFailed: c.tcp.fastActiveFailed.Load(), BlackHoles: c.tcp.fastBlackHoles.Load(),
		Cookies: s.fast.cookies(),
	}
	st.Memory = MemoryStats{
		Used: uint64(max(s.mem.used.Load(), 0)), Limit: uint64(s.mem.limit), Refused: s.mem.refused.Load(),
	}
	return st
}
