package tcp

// urgent is urgent data in both directions, with the meaning that sockets give it:
// one octet, out of band unless the application wants it in line (RFC 6093, sections
// 3.2 and 6). It marks a place in the stream that no Read crosses without stopping.
type urgent struct {
	inline   bool // leave the octet in the stream
	standard bool // see Config.StdUrgent

	state urgentState
	at    Seq // the urgent octet's number, unless state is urgentNone
	octet byte

	sending bool // until up is acknowledged
	up      Seq  // SND.UP: the number behind the last urgent octet written
}

type urgentState uint8

const (
	urgentNone   urgentState = iota
	urgentComing             // announced; the octet has not arrived
	urgentHere
	urgentTaken // read out of band, and not yet passed by the stream's reader
)

// inputURG takes notice of the urgent pointer (RFC 9293, section 3.10.7.4, sixth;
// RFC 6093). An octet before the reader, or before what was known to be urgent, is
// no news.
func (c *Conn) inputURG(seg *Segment) {
	u := &c.urgent
	if seg.Flags.Has(URG) {
		ptr := int(seg.Urgent)
		if ptr > 0 && !u.standard {
			ptr--
		}
		at := seg.Seq.Add(ptr)
		if !at.Less(c.rcvBuf.base) && !at.Less(c.rcvNxt) && (u.state == urgentNone || u.at.Less(at)) {
			if u.state != urgentNone && u.at == c.rcvBuf.base && !u.inline && c.rcvBuf.buffered() > 0 {
				c.rcvBuf.discard(1) // the one before, which nobody took: it leaves the stream all the same
			}
			u.state, u.at = urgentComing, at
		}
	}
	if u.state != urgentComing {
		return
	}
	first := seg.Seq
	if seg.Flags.Has(SYN) {
		first = first.Add(1)
	}
	if i := u.at.Sub(first); i >= 0 && i < len(seg.Payload) {
		u.octet, u.state = seg.Payload[i], urgentHere
		c.events |= EventReadable
	}
}

// beforeMark returns how many of the next n bytes a read that has already got some
// may take, and steps over an urgent octet that is not in line. It returns 0 at the
// mark when the read has something to return.
func (c *Conn) beforeMark(n int, some bool) int {
	u := &c.urgent
	if u.state == urgentNone {
		return n
	}
	i := u.at.Sub(c.rcvBuf.base)
	switch {
	case i < 0:
		u.state = urgentNone
	case i > 0:
		return min(n, i)
	case some:
		return 0
	case !u.inline && c.rcvBuf.buffered() > 0:
		c.rcvBuf.discard(1)
		u.state = urgentNone
		return min(n, c.rcvBuf.buffered())
	case u.inline && n > 0:
		// It goes along with what follows, once the reader has stopped before it.
		u.state = urgentNone
	}
	return n
}

// ReadUrgent returns the urgent octet, and takes it unless peek is set. ok is false
// when there is none, and waiting says that it is announced and has not arrived.
func (c *Conn) ReadUrgent(peek bool) (octet byte, ok, waiting bool) {
	u := &c.urgent
	if u.inline || u.state == urgentNone || u.state == urgentTaken {
		return 0, false, false
	}
	if u.state == urgentComing {
		return 0, false, true
	}
	if !peek {
		u.state = urgentTaken
	}
	return u.octet, true, false
}

// UrgentPending reports whether an urgent octet can be had from ReadUrgent, or comes
// next in line.
func (c *Conn) UrgentPending() bool { return c.urgent.state == urgentHere }

// AtMark reports whether the urgent octet is what comes next in the stream.
func (c *Conn) AtMark() bool {
	return c.urgent.state != urgentNone && c.urgent.at == c.rcvBuf.base
}

// SetUrgentInline leaves urgent data in the stream, or takes it out (SO_OOBINLINE).
func (c *Conn) SetUrgentInline(on bool) { c.urgent.inline = on }

// MarkUrgent makes the last octet that was written urgent; it is to be called before
// the Output that follows the Write. Urgent data does not wait for more (RFC 9293,
// section 3.8.5).
func (c *Conn) MarkUrgent() {
	c.urgent.sending, c.urgent.up = true, c.sndBuf.end()
}

// urgentPointer is the urgent pointer of a segment that begins at seq; ok is false
// if it has none (RFC 6093, section 3.1: it names the octet behind).
func (c *Conn) urgentPointer(seq Seq) (ptr uint16, ok bool) {
	u := &c.urgent
	if !u.sending || !seq.Less(u.up) {
		return 0, false
	}
	n := u.up.Sub(seq)
	if n > 65535 {
		return 65535, !seq.Add(65535).Less(c.sndNxt)
	}
	return uint16(n), true
}
