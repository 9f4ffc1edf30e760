package icmp

import (
	"encoding/binary"
	"net/netip"

	"github.com/netduet/netduet/ipv4"
)

// MaxErrorLen is the most bytes of IP packet that an error message makes: as much
// of the original as fits a datagram that every host can take (RFC 1812, section
// 4.3.2.3).
const MaxErrorLen = ipv4.MinReassembly

// minQuoted is how much of the transport header an error must quote: 64 bits
// (RFC 792), the ports, and TCP's sequence number.
const minQuoted = 8

// Quote is the packet that an error message is about, as far as it is quoted. It
// claims to have been sent by us: whether it was is for the transport to check
// (RFC 5927, section 4).
type Quote struct {
	Header ipv4.Header
	// Transport is the quoted beginning of the payload, at least 8 bytes. It aliases
	// the message.
	Transport []byte
}

// ParseQuote decodes the packet that body, the Body of an error message, quotes. A
// quote of a later fragment is ErrFragment: the ports stand in the first. err is an
// [Error].
//
// Extensions behind the quote (RFC 4884) are not looked at.
func ParseQuote(body []byte) (q Quote, err error) {
	q.Transport, err = q.Header.ParseQuoted(body)
	if err != nil {
		return Quote{}, ErrQuote
	}
	if q.Header.FragmentOffset != 0 {
		return Quote{}, ErrFragment
	}
	if len(q.Transport) < minQuoted {
		return Quote{}, ErrQuote
	}
	return q, nil
}

// Src and Dst return the quoted packet's endpoints, for protocols whose header
// begins with the two ports: TCP and UDP.
func (q *Quote) Src() netip.AddrPort {
	return netip.AddrPortFrom(q.Header.Src, binary.BigEndian.Uint16(q.Transport[0:2]))
}

// Dst is described with Src.
func (q *Quote) Dst() netip.AddrPort {
	return netip.AddrPortFrom(q.Header.Dst, binary.BigEndian.Uint16(q.Transport[2:4]))
}

// TCPSeq returns the sequence number of a quoted TCP segment.
func (q *Quote) TCPSeq() uint32 { return binary.BigEndian.Uint32(q.Transport[4:8]) }

// Echo returns the identifier and sequence number of a quoted echo request; ok is false when the
// quoted packet is none.
func (q *Quote) Echo() (id, seq uint16, ok bool) {
	if q.Header.Protocol != Protocol || Type(q.Transport[0]) != TypeEcho {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(q.Transport[4:6]), binary.BigEndian.Uint16(q.Transport[6:8]), true
}

// QuoteOf returns what an error about packet, an IP packet with its header, quotes:
// as much as MaxErrorLen allows behind our own headers.
func QuoteOf(packet []byte) []byte {
	return packet[:min(len(packet), MaxErrorLen-ipv4.HeaderLen-HeaderLen)]
}

// MayReport reports whether an error may be sent about a packet with header h and
// the given payload, of which dst says what its destination is to the interface
// it arrived on, and linkBroadcast that its link-layer destination was a group
// address (RFC 1122, section 3.2.2; RFC 1812, section 4.3.2.7). Not about
//
//   - an ICMP error, or an ICMP message too short or too strange to know;
//   - a packet to a broadcast or multicast address, of IP or of the link;
//   - a fragment other than the first;
//   - a packet whose source doesn't name one host.
func MayReport(h *ipv4.Header, payload []byte, dst ipv4.Destination, linkBroadcast bool) bool {
	if linkBroadcast || h.FragmentOffset != 0 {
		return false
	}
	if dst == ipv4.DestinationBroadcast || dst == ipv4.DestinationMulticast || dst == ipv4.DestinationMartian {
		return false
	}
	if h.Protocol == Protocol {
		if len(payload) < 1 {
			return false
		}
		switch Type(payload[0]) {
		case TypeEcho, TypeEchoReply, TypeTimestamp, TypeTimestampReply, TypeInfoRequest, TypeInfoReply,
			TypeRouterAdvert, TypeRouterSolicit:
		default:
			return false
		}
	}
	return ipv4.CheckSource(h.Src, nil) == nil
}
