package tcp

import (
	"io"
	"time"

	"github.com/netduet/netduet/clock"
)

// honest is the peer that takes a connection over from a hostile one: it acknowledges
// what it has got, reports the rest by SACK, sends what its own stream still lacks within
// the window, repeats it, and ends. It answers after 10 ms.
type honest struct {
	m      *hostile
	acked  Seq // up to where it has our stream
	end    Seq // of what it sends; its FIN has this number
	next   Seq // what it sends next
	una    Seq // what we have acknowledged of it
	edge   Seq // of our window
	resend clock.Time
	owed   bool
	ended  bool // our FIN has arrived
	stamp  uint32
	back   uint // doublings of its timer
}

// finish lets an honest peer take over: the connection must come to its end, and every
// byte to its place.
func (m *hostile) finish() {
	c := &m.c
	switch c.State() {
	case StateSynSent, StateSynReceived:
		// The handshake has its own tests; a hostile one may leave nothing behind it.
		c.Abort(m.now)
		m.drain()
		return
	case StateTimeWait:
		m.readAll(hostileSpan)
		return
	case StateClosed:
		if !m.reset && c.stats.resetsOut == 0 && c.Err() != nil {
			m.t.Fatalf("%v: %v", errHostile, c.Err())
		}
		return
	}
	h := &honest{m: m, acked: c.sndUna, next: c.rcvNxt, una: c.rcvNxt, edge: c.windowEdge(), stamp: c.tsRecent}
	switch {
	case c.finTaken:
		h.end = c.rcvNxt.Add(-1)
	case c.finKnown:
		h.end = c.finSeq
	default:
		h.end = maxSeq(c.rcvNxt, c.sndWl1).Add(5000)
		if n := len(c.rcvBuf.runs); n > 0 {
			h.end = maxSeq(h.end, c.rcvBuf.runs[n-1].right)
		}
	}
	if c.finKnown && c.finSeq.Add(1).Less(c.sndWl1) {
		// The peer closed its window in a segment from behind its own end, and has no
		// number left that would be newer (RFC 9293, section 3.10.7.4, SND.WL1).
		c.Abort(m.now)
		m.drain()
		return
	}
	if at := c.sndUna.Sub(m.iss) - 1; m.forgets && at >= 0 {
		clear(m.got[at:])
	}
	m.reset, m.span = false, len(m.heard)
	m.onData = h.hear
	begin := m.now
	h.say(h.segment()) // what it has, before any timer runs: it was never silent
	m.readAll(hostileSpan)
	c.CloseWrite(m.now)
	m.drain()
	for range 50000 {
		if s := c.State(); s == StateClosed || s == StateTimeWait {
			break
		}
		if m.now.Sub(begin) > time.Hour {
			m.t.Fatalf("stalls: %v, %+v\nhonest: has %d of %d, sent %d of %d, edge %d", c.State(), c.Info(),
				h.acked.Sub(m.iss), m.wrote, h.next.Sub(m.irs), h.end.Sub(m.irs), h.edge.Sub(m.irs))
		}
		h.turn()
	}
	if s := c.State(); s != StateTimeWait && s != StateClosed || c.Err() != nil {
		m.t.Fatalf("%v, %v, %+v", s, c.Err(), c.Info())
	}
	m.readAll(hostileSpan)
	if _, err := c.Read(m.now, make([]byte, 1)); err != io.EOF {
		m.t.Fatalf("at the end: %v", err)
	}
	if want := h.end.Sub(m.irs) - 1; m.read != want {
		m.t.Fatalf("read %d of %d bytes", m.read, want)
	}
	if got := h.acked.Sub(m.iss) - 1; got < m.wrote {
		m.t.Fatalf("%d of %d bytes arrived", got, m.wrote)
	}
}

// hear takes a segment of ours.
func (h *honest) hear(s *Segment) {
	m := h.m
	if s.Flags.Has(RST) {
		m.t.Fatalf("a reset for an honest peer, in %v: %+v", m.c.State(), m.c.Info())
	}
	if h.una.Less(s.Ack) {
		h.una, h.back = s.Ack, 0
		h.next = maxSeq(h.next, s.Ack) // some of it the other one has sent
		h.resend = m.now.Add(time.Second)
	}
	if edge := s.Ack.Add(int(s.Window) << m.c.rcvScale); h.edge.Less(edge) {
		h.edge = edge
	}
	at := h.acked.Sub(m.iss) - 1
	for at < m.wrote && m.got[at] {
		at++
	}
	h.acked = maxSeq(h.acked, m.iss.Add(1+at))
	if s.Flags.Has(FIN) && s.Seq.Add(len(s.Payload)) == h.acked {
		h.ended = true
	}
	if h.ended && h.acked.Sub(m.iss)-1 == m.wrote {
		h.acked = h.acked.Add(1)
	}
	h.owed = h.owed || s.Len() > 0 || s.Seq.Less(h.acked) // a probe
}

func (h *honest) segment() Segment {
	c := &h.m.c
	s := Segment{Seq: h.next, Ack: h.acked, Flags: ACK, Window: 16000}
	if c.useTS {
		h.stamp++
		s.Options.HasTS, s.Options.TSVal, s.Options.TSEcr = true, h.stamp, c.tsNow(h.m.now.Add(-10*time.Millisecond))
	}
	return s
}

func (h *honest) say(s Segment) {
	h.m.input(s)
}

// turn is one answer, or the wait for a timer.
func (h *honest) turn() {
	m := h.m
	c := &m.c
	wait := 10 * time.Millisecond
	room := h.edge.Sub(h.next)
	if c.finTaken && h.una == h.end.Add(1) {
		room = 0
	}
	sends := h.next.LessEq(h.end) && room > 0
	if !h.owed && !sends {
		at := min(c.Deadline(), m.now.Add(time.Hour))
		if h.una.LessEq(h.end) {
			h.resend = max(h.resend, m.now)
			at = min(at, h.resend)
		}
		wait = max(at.Sub(m.now), 0)
	}
	m.now = m.now.Add(wait)
	switch {
	case sends:
		h.owed = false
		s := h.segment()
		m.text(&s, min(room, 1000, h.end.Sub(h.next)), 0)
		h.next = h.next.Add(len(s.Payload))
		if h.next == h.end {
			s.Flags |= FIN
			h.next = h.next.Add(1)
		}
		h.say(s)
	case h.owed:
		h.owed = false
		h.say(h.segment())
	case h.una.LessEq(h.end) && !m.now.Before(h.resend):
		// Its own timer: it begins again, and probes a closed window with one byte.
		h.back = min(h.back+1, 5)
		h.resend = m.now.Add(time.Second << h.back)
		h.next = h.una
		if h.edge.LessEq(h.next) {
			s := h.segment()
			m.text(&s, min(1, h.end.Sub(h.next)), 0)
			h.say(s)
		}
	}
	m.timers()
	m.readAll(hostileSpan)
}
