package gvisor

import (
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/netduet/netduet/netif"
)

// maxBacklog is how many frames wait for room in a device's queue: Linux's
// txqueuelen.
const maxBacklog = 1000

// txBatch is how many frames of the backlog one Write gets.
const txBatch = 64

// batch is the memory that frames are put together in.
type batch struct {
	frames    []netif.Frame
	fragments [][]byte
	starts    []int // where each frame's fragments begin
}

// batches is a pool of them; its zero value is ready.
type batches struct{ pool sync.Pool }

func (p *batches) get() *batch {
	if b, ok := p.pool.Get().(*batch); ok {
		return b
	}
	return new(batch)
}

// put forgets what the batch pointed at.
func (p *batches) put(b *batch) {
	clear(b.frames)
	clear(b.fragments)
	b.frames, b.fragments, b.starts = b.frames[:0], b.fragments[:0], b.starts[:0]
	p.pool.Put(b)
}

// add appends a packet as a frame; its fragments lie in the packet.
func (b *batch) add(l *link, pkt *stack.PacketBuffer) {
	start := len(b.fragments)
	views, skip := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		p := v.AsSlice()
		if skip >= len(p) {
			skip -= len(p)
			continue
		}
		b.fragments = append(b.fragments, p[skip:])
		skip = 0
	}
	parts := b.fragments[start:]
	limit := l.port.info.MaxFragments
	if len(parts) > 1 && (len(parts[0]) < pkt.HeaderSize() || limit > 0 && len(parts) > limit) {
		whole := make([]byte, 0, pkt.Size())
		for _, p := range parts {
			whole = append(whole, p...)
		}
		clear(parts)
		b.fragments = append(b.fragments[:start], whole)
	}
	b.starts = append(b.starts, start)
	b.frames = append(b.frames, netif.Frame{Meta: meta(l, pkt)})
}

// finish gives the frames their fragments, which no longer move.
func (b *batch) finish() []netif.Frame {
	for i := range b.frames {
		end := len(b.fragments)
		if i+1 < len(b.starts) {
			end = b.starts[i+1]
		}
		b.frames[i].Fragments = b.fragments[b.starts[i]:end:end]
	}
	return b.frames
}

// meta says what the device is to do for a packet. gVisor has left the sum of the
// pseudo-header in the checksum field of what it wants finished.
func meta(l *link, pkt *stack.PacketBuffer) (m netif.Meta) {
	gso := &pkt.GSOOptions
	if gso.Type != stack.GSOTCPv4 || !gso.NeedsCsum {
		return m
	}
	network := len(pkt.NetworkHeader().Slice())
	m.Flags = netif.NeedsChecksum
	m.ChecksumStart = uint16(l.head + network)
	m.ChecksumOffset = header.TCPChecksumOffset
	if pkt.Data().Size() > int(gso.MSS) {
		m.GSO = netif.GSOTCP4
		m.SegmentSize = gso.MSS
		m.HeaderLen = uint16(l.head + network + len(pkt.TransportHeader().Slice()))
	}
	return m
}

// transmit sends packets of l, or queues clones of them behind others that wait.
func (q *queue) transmit(l *link, pkts []*stack.PacketBuffer) {
	q.mu.Lock()
	waiting := len(q.backlog) > 0 || q.resting
	q.mu.Unlock()
	if !waiting {
		b := q.port.st.batches.get()
		for _, p := range pkts {
			b.add(l, p)
		}
		n, err := q.q.Write(b.finish())
		q.port.st.batches.put(b)
		pkts = pkts[n:]
		if err != nil {
			q.dropped.Add(uint64(len(pkts)))
			return
		}
	}
	if len(pkts) > 0 {
		q.enqueue(l, pkts)
	}
}

// enqueue puts clones of packets into the backlog, as far as there is room, and
// sees to it that somebody sends them.
func (q *queue) enqueue(l *link, pkts []*stack.PacketBuffer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	room := max(maxBacklog-len(q.backlog), 0)
	if q.closed {
		room = 0
	}
	if len(pkts) > room {
		q.dropped.Add(uint64(len(pkts) - room))
		pkts = pkts[:room]
	}
	for _, p := range pkts {
		q.backlog = append(q.backlog, p.Clone())
		q.links = append(q.links, l)
	}
	if len(q.backlog) > 0 && !q.resting {
		q.resting = true
		q.port.st.background.Go(q.drain)
	}
}

// drain sends the backlog as room comes free, and ends when it is empty or the
// device is closed.
func (q *queue) drain() {
	for {
		q.mu.Lock()
		n := min(len(q.backlog), txBatch)
		if n == 0 || q.closed {
			q.forget(len(q.backlog))
			q.resting = false
			q.mu.Unlock()
			return
		}
		pkts, links := q.backlog[:n:n], q.links[:n:n]
		q.mu.Unlock()

		// Only this goroutine takes packets out, so that these stay.
		b := q.port.st.batches.get()
		for i, p := range pkts {
			b.add(links[i], p)
		}
		taken, err := q.q.Write(b.finish())
		q.port.st.batches.put(b)
		q.mu.Lock()
		q.take(taken)
		if err != nil {
			q.forget(len(q.backlog))
		}
		q.mu.Unlock()
		if taken < n && err == nil {
			select {
			case <-q.q.Writable():
			case <-q.port.st.silent:
				q.mu.Lock()
				q.closed = true
				q.mu.Unlock()
			}
		}
	}
}

// take removes the first n packets of the backlog. q.mu is held.
func (q *queue) take(n int) {
	for i := range n {
		q.backlog[i].DecRef()
		q.backlog[i], q.links[i] = nil, nil
	}
	q.backlog, q.links = q.backlog[n:], q.links[n:]
	if len(q.backlog) == 0 {
		q.backlog, q.links = nil, nil
	}
}

// forget drops n packets. q.mu is held.
func (q *queue) forget(n int) {
	q.dropped.Add(uint64(n))
	q.take(n)
}
