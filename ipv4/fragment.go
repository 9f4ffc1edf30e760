package ipv4

// ErrDontFragment and ErrTooLong tell why a datagram can't be sent.
const (
	// ErrDontFragment: it doesn't fit the link, and DF is set.
	ErrDontFragment SendError = iota + 1
	// ErrTooLong: it is larger than MaxLen.
	ErrTooLong
	// ErrMTU: the link is smaller than MinMTU, or too small for the header.
	ErrMTU
)

// SendError is the reason why a datagram can't be sent.
type SendError uint8

// Error returns the reason in words.
func (e SendError) Error() string {
	switch e {
	case ErrDontFragment:
		return "ipv4: datagram is larger than the MTU and must not be fragmented"
	case ErrTooLong:
		return "ipv4: datagram is larger than 65535 bytes"
	case ErrMTU:
		return "ipv4: the MTU is too small for IPv4: it must be at least 68"
	}
	return "ipv4: unknown send error"
}

// Fragmenter cuts a datagram into packets that fit a link (RFC 791, section 3.2,
// "An Example Fragmentation Procedure"), the last fragment being the shortest. A
// datagram that fits is one packet.
type Fragmenter struct {
	h       Header
	options [MaxOptionsLen]byte // those of the fragments after the first
	rest    int                 // how many of them
	mtu     int
	from    int // payload sent
	total   int // payload in all
	base    int // offset of the payload in the datagram, when it is a fragment itself
	more    bool
	done    bool
}

// NewFragmenter returns the fragmenter of a datagram with header h (whose TotalLen
// doesn't count) and a payload of payloadLen bytes for a link of the given MTU. err
// is a [SendError].
func NewFragmenter(h *Header, payloadLen, mtu int) (f Fragmenter, err error) {
	if h.Len()+payloadLen > MaxLen {
		return f, ErrTooLong
	}
	if mtu < MinMTU {
		return f, ErrMTU
	}
	if h.Len()+payloadLen > mtu && h.DontFragment {
		return f, ErrDontFragment
	}
	f = Fragmenter{h: *h, mtu: mtu, total: payloadLen, base: h.FragmentOffset, more: h.MoreFragments}
	f.rest = len(appendCopied(f.options[:0], h.Options))
	return f, nil
}

// Next writes the header of the next packet to b, which must have room for
// MaxHeaderLen bytes (or for the datagram's own header, which is the longest), and
// returns its length. The packet's payload is [from, to) of the datagram's. ok is
// false when there is no further packet.
func (f *Fragmenter) Next(b []byte) (n, from, to int, ok bool) {
	if f.done {
		return 0, 0, 0, false
	}
	h := f.h
	if f.from > 0 {
		h.Options = f.options[:f.rest]
	}
	room := f.mtu - h.Len()
	size := f.total - f.from
	if size > room {
		size = room &^ 7
	}
	from, to = f.from, f.from+size
	f.from = to
	f.done = to == f.total
	h.FragmentOffset = f.base + from
	h.MoreFragments = !f.done || f.more
	h.TotalLen = h.Len() + size
	return h.Encode(b), from, to, true
}
