package xen

import (
	"encoding/binary"

	"github.com/netduet/netduet/internal/gso"
	"github.com/netduet/netduet/netif"
)

// caps is what the far end takes.
type caps struct {
	sg, tcp4, tcp6       bool // several slots; large segments
	checksum4, checksum6 bool // unfinished checksums
}

// outgoing is one frame as it goes into a ring.
type outgoing struct {
	parts  [][]byte
	length int
	blank  bool // the checksum is left to the far end
	gso    byte // gsoTCP4, gsoTCP6 or 0
	size   uint16
}

// slots returns how many slots the frame takes, and how many pages of data.
func (o *outgoing) slots() (slots, data int) {
	data = pages(o.length)
	slots = data
	if o.gso != 0 {
		slots++
	}
	return slots, data
}

// planner turns frames into what the far end takes. It is used under its queue's
// lock and keeps its scratch memory, most of which a far end with all features
// never makes it allocate.
type planner struct {
	caps caps
	mtu  int
	// most is how many data pages the ring can ever take at once.
	most int

	// scratch is set by plan if the result lies in the planner's own memory.
	scratch bool

	outs []outgoing
	flat []byte   // a frame in one piece
	cut  []byte   // what it was cut into
	ends []int    // where each piece of cut ends
	part [][]byte // one part for each piece
	seg  gso.Segmenter
}

// plan returns the frames to put into the ring for f, all or none, and what they
// take. It is not ok if f can never be sent. The result is valid until the next
// call, and while f is.
func (p *planner) plan(f *netif.Frame) (outs []outgoing, slots, data int, ok bool) {
	p.scratch = false
	n := f.Len()
	if n < etherLen || len(f.Fragments) == 0 {
		return nil, 0, 0, false
	}
	head := f.Fragments[0]
	link := linkLen(head)
	if f.Meta.GSO == netif.GSONone {
		if n > p.mtu+link {
			return nil, 0, 0, false
		}
		ok = p.whole(f, n, head)
	} else {
		ok = p.large(f, n, head, link)
	}
	if !ok {
		return nil, 0, 0, false
	}
	for i := range p.outs {
		s, d := p.outs[i].slots()
		if d > 1 && !p.caps.sg {
			return nil, 0, 0, false
		}
		slots += s
		data += d
	}
	return p.outs, slots, data, slots <= p.most
}

// whole plans a frame that needs no cutting.
func (p *planner) whole(f *netif.Frame, n int, head []byte) bool {
	o := outgoing{parts: f.Fragments, length: n}
	if f.Meta.Flags&netif.NeedsChecksum != 0 {
		if p.leave(&f.Meta, head) {
			o.blank = true
		} else {
			p.flatten(f)
			if gso.FillChecksum(p.flat, int(f.Meta.ChecksumStart), int(f.Meta.ChecksumOffset)) != nil {
				return false
			}
			p.part = append(p.part[:0], p.flat)
			o.parts = p.part
		}
	}
	p.outs = append(p.outs[:0], o)
	return true
}

// leave reports whether the far end completes the checksum: it must find the same
// field by itself.
func (p *planner) leave(m *netif.Meta, head []byte) bool {
	l, ok := locate(head)
	if !ok || l.tagged || l.transport != int(m.ChecksumStart) || l.field != int(m.ChecksumOffset) {
		return false
	}
	if l.v6 {
		return p.caps.checksum6
	}
	return p.caps.checksum4
}

// large plans a frame with a GSO type.
func (p *planner) large(f *netif.Frame, n int, head []byte, link int) bool {
	l, ok := locate(head)
	size := int(f.Meta.SegmentSize)
	if !ok || size == 0 || n > maxPacket+link || l.payload+size > p.mtu+link || l.proto != protoTCP {
		return false
	}
	var kind byte
	switch f.Meta.GSO {
	case netif.GSOTCP4:
		if l.v6 {
			return false
		}
		if p.caps.tcp4 && p.caps.checksum4 {
			kind = gsoTCP4
		}
	case netif.GSOTCP6:
		if !l.v6 {
			return false
		}
		if p.caps.tcp6 && p.caps.checksum6 {
			kind = gsoTCP6
		}
	default:
		return false
	}
	if l.tagged || !p.caps.sg || f.Meta.Flags&netif.NeedsChecksum == 0 {
		kind = 0
	}
	if n <= l.payload+size {
		return p.whole(f, n, head)
	}
	if kind != 0 && n <= maxWire {
		p.outs = append(p.outs[:0], outgoing{parts: f.Fragments, length: n, blank: true, gso: kind, size: uint16(size)})
		return true
	}
	// Cut: into segments, or into large frames that the size field can describe.
	step := size
	if kind != 0 {
		step = (maxWire - l.payload) / size * size
	}
	p.flatten(f)
	if p.seg.Start(p.flat, l.ip, step) != nil {
		return false
	}
	p.cut, p.ends, p.outs, p.part = p.cut[:0], p.ends[:0], p.outs[:0], p.part[:0]
	for {
		next, more := p.seg.Append(p.cut)
		if !more {
			break
		}
		p.cut = next
		p.ends = append(p.ends, len(p.cut))
	}
	// Only now, since appending moves the memory.
	at := 0
	for _, end := range p.ends {
		p.part = append(p.part, p.cut[at:end:end])
		at = end
	}
	for i, b := range p.part {
		o := outgoing{parts: p.part[i : i+1], length: len(b)}
		if kind != 0 && len(b) > l.payload+size {
			o.blank, o.gso, o.size = true, kind, uint16(size)
			binary.BigEndian.PutUint16(b[l.transport+l.field:], pseudo(b, l, len(b)-l.transport))
		}
		p.outs = append(p.outs, o)
	}
	return len(p.outs) > 0
}

func (p *planner) flatten(f *netif.Frame) {
	p.scratch = true
	p.flat = p.flat[:0]
	for _, b := range f.Fragments {
		p.flat = append(p.flat, b...)
	}
}

// walker goes through the bytes of a frame's parts, which it does not change.
type walker struct {
	parts [][]byte
	off   int // into parts[0]
}

// next returns the next bytes, all of one part and at most n; nil at the end.
func (w *walker) next(n int) []byte {
	for len(w.parts) > 0 {
		if b := w.parts[0][w.off:]; len(b) > 0 {
			b = b[:min(n, len(b))]
			w.off += len(b)
			return b
		}
		w.parts, w.off = w.parts[1:], 0
	}
	return nil
}
