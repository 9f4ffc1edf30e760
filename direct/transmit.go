package direct

import (
	"encoding/binary"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// headroom is what is left in front of every transport header: 38 bytes for the
// largest link and IP header, the rest for a device that wants some (a virtio
// header has 12).
const headroom = 64

// ipOffset is where the IP header begins in a packet with headroom.
const ipOffset = headroom - ipv4.HeaderLen

const tcpChecksumOffset = 16 // RFC 9293, section 3.1

// txBatch is what one Output of a connection gave, as frames. While the device has
// not taken all of them it remains with the connection, whose send buffer they
// point into.
type txBatch struct {
	segs   *tcp.Batch
	frames []netif.Frame
	frags  [][]byte
	flat   []*slab // payload copied for devices with few fragments
	done   int     // frames[:done] were taken
	id     uint16  // IP identification of what follows

	conn  *TCPConn
	queue *queue
	next  *txBatch // in the stall
}

func (s *Stack) getBatch() *txBatch {
	if tb, ok := s.batches.Get().(*txBatch); ok {
		return tb
	}
	return &txBatch{segs: tcp.NewBatch(headroom), frames: make([]netif.Frame, 0, tcp.BatchSegments)}
}

// putBatch takes a batch back that is as after reset.
func (s *Stack) putBatch(tb *txBatch) { s.batches.Put(tb) }

// reset forgets what was sent.
func (tb *txBatch) reset(s *Stack) {
	tb.segs.Reset()
	clear(tb.frames)
	clear(tb.frags)
	for i, f := range tb.flat {
		s.mem.putSlab(f)
		tb.flat[i] = nil
	}
	tb.frames, tb.frags, tb.flat = tb.frames[:0], tb.frags[:0], tb.flat[:0]
	tb.done, tb.conn, tb.queue, tb.next = 0, nil, nil, nil
}

// transmit sends the segments of tb along p and leaves in tb.id the IP identification
// of the next. It reports whether the device took them all; if not, tb waits in the
// queue's stall, and the connection is told by resumed, perhaps before transmit
// returns: tb and the connection are no longer the caller's. No lock is held.
func (s *Stack) transmit(tb *txBatch, p *path, now clock.Time, cache *hopCache, progress bool, q *queue) bool {
	ifc := p.ifc
	s.count.tcp.sent.Add(uint64(len(tb.segs.Segments)))
	s.count.ip.sent.Add(uint64(len(tb.segs.Segments)))
	hw, ok := ifc.resolve(now, p.hop, progress, cache)
	if !ok {
		for i := range tb.segs.Segments {
			ifc.hold(now, p.hop, s.flatten(p, &tb.segs.Segments[i]))
		}
		tb.id = p.id
		return true
	}
	for i := range tb.segs.Segments {
		seg := &tb.segs.Segments[i]
		meta := s.finish(p, seg)
		ifc.link.put(seg.Packet[:ipOffset], hw, ethernet.TypeIPv4)
		start := len(tb.frags)
		tb.frags = append(tb.frags, seg.Packet[ipOffset-ifc.link.header:])
		if limit := ifc.port.info.MaxFragments; limit > 0 && len(seg.Payload)+1 > limit {
			tb.gather(s, seg, limit)
		} else {
			tb.frags = append(tb.frags, seg.Payload...)
		}
		tb.frames = append(tb.frames, netif.Frame{Fragments: tb.frags[start:len(tb.frags):len(tb.frags)], Meta: meta})
	}
	tb.queue, tb.id = q, p.id
	return q.send(tb)
}

// gather puts the payload of seg into one fragment, or with a limit of one the
// whole frame, of which the headers are in frags already.
func (tb *txBatch) gather(s *Stack, seg *tcp.OutSegment, limit int) {
	last := len(tb.frags) - 1
	m := s.mem.slab(headroom + len(tb.frags[last]) + seg.PayloadLen)
	tb.flat = append(tb.flat, m)
	b := m.b[:headroom]
	if limit == 1 {
		b = append(b, tb.frags[last]...)
	}
	for _, p := range seg.Payload {
		b = append(b, p...)
	}
	if limit == 1 {
		tb.frags[last] = b[headroom:]
		return
	}
	tb.frags = append(tb.frags, b[headroom:])
}

// finish writes the IP header of seg and its checksum, as far as the device does
// not do that, and returns what the device must know.
func (s *Stack) finish(p *path, seg *tcp.OutSegment) (meta netif.Meta) {
	ifc := p.ifc
	thdr := seg.Packet[headroom:]
	n := len(thdr) + seg.PayloadLen
	h := ipv4.Header{
		Src: p.src, Dst: p.dst,
		TotalLen:     ipv4.HeaderLen + n,
		ID:           p.nextID(seg),
		TOS:          p.ip.tos | seg.ECN, // the option's ECN field is zero
		TTL:          p.ip.hops(),
		Protocol:     ipv4.ProtocolTCP,
		DontFragment: p.ip.df(),
	}
	h.Encode(seg.Packet[ipOffset:headroom])
	sum := checksum.PseudoHeader(p.src, p.dst, ipv4.ProtocolTCP, n)
	info := &ifc.port.info
	if info.Headroom > 0 && info.Headroom <= ipOffset-ifc.link.header {
		meta.Flags |= netif.MetaHeadroom
	}
	if info.Offloads.Has(netif.TxChecksum) {
		meta.Flags |= netif.NeedsChecksum
		meta.ChecksumStart = uint16(ifc.link.header + ipv4.HeaderLen)
		meta.ChecksumOffset = tcpChecksumOffset
		binary.BigEndian.PutUint16(thdr[tcpChecksumOffset:], sum.Fold())
	} else {
		sum = checksum.Sum(thdr, sum)
		for _, b := range seg.Payload {
			sum = checksum.Sum(b, sum)
		}
		binary.BigEndian.PutUint16(thdr[tcpChecksumOffset:], sum.Checksum())
	}
	if seg.SegmentSize > 0 {
		meta.GSO = netif.GSOTCP4
		meta.HeaderLen = uint16(ifc.link.header + ipv4.HeaderLen + len(thdr))
		meta.SegmentSize = uint16(seg.SegmentSize)
	}
	return meta
}

// flatten copies a segment into one piece, to wait for its neighbour.
func (s *Stack) flatten(p *path, seg *tcp.OutSegment) *held {
	meta := s.finish(p, seg)
	n := len(seg.Packet) - ipOffset + seg.PayloadLen
	h := &held{mem: s.mem.slab(headroom + n), n: n, meta: meta}
	b := append(h.mem.b[:headroom], seg.Packet[ipOffset:]...)
	for _, part := range seg.Payload {
		b = append(b, part...)
	}
	return h
}

// send offers tb's frames to the device. It reports false when some must wait: tb
// then belongs to the stall, behind those that wait already.
func (q *queue) send(tb *txBatch) bool {
	if q.stall.n.Load() == 0 && q.push(tb) {
		return true
	}
	return q.park(tb)
}

// push writes what is left of tb and reports whether nothing is.
func (q *queue) push(tb *txBatch) bool {
	c := &q.port.st.count.link
	rest := tb.frames[tb.done:]
	n, err := q.q.Write(rest)
	if n > 0 {
		bytes := 0
		for i := range rest[:n] {
			bytes += rest[i].Len()
		}
		c.txFrames.Add(uint64(n))
		c.txBytes.Add(uint64(bytes))
	}
	tb.done += n
	if err != nil {
		// The device is gone, and the frames with it.
		c.txFailed.Add(uint64(len(tb.frames) - tb.done))
		tb.done = len(tb.frames)
	}
	return tb.done == len(tb.frames)
}

// park puts tb behind the others that wait for room and sees to it that they are
// served. It reports true if that is impossible because the stack is gone; the
// frames are lost then.
func (q *queue) park(tb *txBatch) bool {
	st := q.port.st
	s := &q.stall
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.serving {
		if !st.background.enter() {
			st.count.link.txFailed.Add(uint64(len(tb.frames) - tb.done))
			return true
		}
		s.serving = true
		go q.serve()
	}
	st.count.link.stalls.Add(1)
	if s.tail == nil {
		s.head = tb
	} else {
		s.tail.next = tb
	}
	s.tail = tb
	s.n.Add(1)
	return false
}

// maxStalled is how many batches, of some 13 KiB each, wait for room in a queue. A
// hundred thousand connections may have something to say while a device stalls, an
// answer to a keep-alive probe for instance. The number is looked at without the stall's
// lock: those who do so at the same moment may have one batch more each.
const maxStalled = 64

// crowded reports whether c has to wait for its turn to take a batch: then it was put
// into the stall's list, and admitted goes on. c.mu is held.
func (q *queue) crowded(c *TCPConn) bool {
	s := &q.stall
	if s.n.Load() < maxStalled {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.serving {
		return false
	}
	s.waiting = append(s.waiting, c)
	return true
}

// next returns a connection that waits for its turn. The stall's lock is held.
func (s *stall) next() *TCPConn {
	if len(s.waiting) == 0 {
		s.waiting = nil
		return nil
	}
	c := s.waiting[0]
	s.waiting[0] = nil
	s.waiting = s.waiting[1:]
	return c
}

// serve resumes parked transmitters, one after the other, until none is left.
func (q *queue) serve() {
	defer q.port.st.background.leave()
	s := &q.stall
	for {
		s.mu.Lock()
		tb := s.head
		if tb == nil {
			c := s.next()
			s.serving = c != nil
			s.mu.Unlock()
			if c == nil {
				return
			}
			c.admitted()
			continue
		}
		s.mu.Unlock()
		for !q.push(tb) {
			<-q.q.Writable()
		}
		s.mu.Lock()
		s.head = tb.next
		if s.head == nil {
			s.tail = nil
		}
		s.n.Add(-1)
		s.mu.Unlock()
		tb.conn.resumed(tb)
	}
}

// sendOne offers one frame of UDP, ICMP or ARP, or a TCP segment of no connection,
// to the device, and drops it when there is no room.
func (q *queue) sendOne(f netif.Frame) {
	frames := [1]netif.Frame{f}
	q.sendFrames(frames[:])
}

func (q *queue) sendFrames(frames []netif.Frame) {
	c := &q.port.st.count.link
	n, err := q.q.Write(frames)
	if n > 0 {
		bytes := 0
		for i := range frames[:n] {
			bytes += frames[i].Len()
		}
		c.txFrames.Add(uint64(n))
		c.txBytes.Add(uint64(bytes))
	}
	if rest := len(frames) - n; err != nil {
		c.txFailed.Add(uint64(rest))
	} else if rest > 0 {
		c.txDropped.Add(uint64(rest))
	}
}
