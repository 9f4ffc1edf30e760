package ipv4

import (
	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/defrag"
)

// ReassemblyConfig bounds a Reassembler. The zero value has useful bounds: 30 s,
// 4 MiB, 1024 datagrams, 64 of one source.
type ReassemblyConfig = defrag.Config

// Verdict is what came of a fragment.
type Verdict = defrag.Verdict

// The verdicts that Add gives. All but the first three mean a drop.
const (
	FragmentPending      = defrag.Pending      // kept, more are missing
	FragmentComplete     = defrag.Complete     // that was the last one missing
	FragmentDuplicate    = defrag.Duplicate    // an exact copy, ignored
	FragmentOverlap      = defrag.Overlap      // overlaps another: the datagram is given up
	FragmentInconsistent = defrag.Inconsistent // contradicts the datagram's end: given up
	FragmentCongested    = defrag.Congested    // contradicts its ECN field (RFC 3168, section 5.3): given up
	FragmentTooMany      = defrag.TooMany      // one fragment too many: given up
	FragmentNoMemory     = defrag.NoMemory     // no room: the fragment is refused
	FragmentGivenUp      = defrag.GivenUp      // of a datagram that was given up
	FragmentTiny         = defrag.Tiny         // splits the TCP header (RFC 1858): given up
	NumVerdicts          = defrag.NumVerdicts  // the size of an array indexed by Verdict
)

// Reassembler puts fragmented datagrams together again (RFC 791, section 3.2), in
// bounded memory. It keeps no packet: bytes are copied. It is not safe for
// concurrent use.
//
// A datagram whose fragments overlap is given up with all that still comes of it,
// as in IPv6 (RFC 5722); exact copies are tolerated. So is one whose fragments split
// the TCP header so that filters on the way can't have seen the flags (RFC 1858,
// RFC 3128).
type Reassembler struct{ r *defrag.Reassembler }

// NewReassembler returns an empty reassembler.
func NewReassembler(cfg ReassemblyConfig) *Reassembler {
	return &Reassembler{defrag.New(cfg)}
}

// tmin is the part of the TCP header that the first fragment must hold: up to the
// window, the flags included (RFC 1858, section 3.1).
const tmin = 16

// Add takes in the fragment in packet, of which h.Parse has returned payload, and
// h.IsFragment is true. With FragmentComplete, *h becomes the header of the whole
// datagram and the result is its payload, which is the caller's; h.Options then
// alias it no more than they do packet. The payload is nil otherwise.
func (r *Reassembler) Add(now clock.Time, h *Header, packet, payload []byte) ([]byte, Verdict) {
	key := defrag.Key{Src: h.Src, Dst: h.Dst, ID: uint32(h.ID), Protocol: h.Protocol}
	if h.Protocol == ProtocolTCP && (h.FragmentOffset == 8 || h.FragmentOffset == 0 && len(payload) < tmin) {
		return nil, r.r.GiveUp(now, key, defrag.Tiny)
	}
	f := defrag.Fragment{
		Offset:  h.FragmentOffset,
		More:    h.MoreFragments,
		ECN:     h.TOS & 3,
		Payload: payload,
	}
	if h.FragmentOffset == 0 {
		// What an error about the datagram quotes: the header and 64 bits (RFC 792).
		f.Head = packet[:min(len(packet), h.Len()+8)]
	}
	d, v := r.r.Add(now, key, f)
	if v != defrag.Complete {
		return nil, v
	}
	// The first fragment's header is that of the datagram. It was valid before.
	var first Header
	if _, err := first.ParseQuoted(d.Head); err != nil {
		return nil, defrag.Inconsistent
	}
	if first.Len()+len(d.Payload) > MaxLen {
		// Parse counted a header without options against the largest datagram.
		return nil, defrag.Inconsistent
	}
	*h = first
	h.MoreFragments = false
	h.TotalLen = first.Len() + len(d.Payload)
	h.TOS = first.TOS&^3 | d.ECN
	return d.Payload, v
}

// Deadline returns when Expire is to be called, or clock.Never.
func (r *Reassembler) Deadline() clock.Time { return r.r.Deadline() }

// Expired is a datagram whose time was over.
type Expired struct {
	// Quote is the header and 8 bytes of the payload of the first fragment: what an
	// ICMP "time exceeded, reassembly" about it quotes. It is nil when nobody is to
	// be told: the first fragment did not arrive (RFC 792; RFC 1122, section 3.3.2),
	// or the datagram had been given up.
	Quote []byte
}

// Expire gives up the datagrams whose time is over at now and calls yield for each.
func (r *Reassembler) Expire(now clock.Time, yield func(Expired)) {
	for _, e := range r.r.Advance(now, nil) {
		yield(Expired{Quote: e.Head})
	}
}

// Len returns the number of datagrams under way, Bytes what they cost.
func (r *Reassembler) Len() int { return r.r.Len() }

// Bytes is described with Len.
func (r *Reassembler) Bytes() int { return r.r.Bytes() }

// Evicted returns how many datagrams were given up to make room for others.
func (r *Reassembler) Evicted() uint64 { return r.r.Evicted() }

// Close forgets everything and gives the memory back.
func (r *Reassembler) Close() { r.r.Close() }
