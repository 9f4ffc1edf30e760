package direct

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/netduet/netduet/ifconf"
	"github.com/netduet/netduet/netif"
)

const (
	loopbackMTU = 65535
	// loopbackFrames bounds the frames under way to ourselves. A write is short beyond
	// it, so that datagrams are lost only when their reader is that far behind.
	loopbackFrames = 1024
)

func loopbackAddrs() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 8)}
}

// loopback is the device behind the loopback interface: an IP link on which we read
// what we wrote. What we send to ourselves so takes the same way as everything
// else, and no call ever finds itself deeper in the stack. Checksums are left out,
// since the frames never leave our memory, which is charged like all other.
type loopback struct {
	mem   *memory
	queue [1]netif.Queue
	wake  chan struct{} // a token: there may be frames
	done  chan struct{} // closed by Close

	mu     sync.Mutex
	ring   [loopbackFrames]*loopFrame
	head   int
	n      int
	room   chan struct{} // made by a short writer, closed when there is room
	closed bool
	free   []*loopFrame // released, without memory
}

// loopFrame is a frame and its memory.
type loopFrame struct {
	buf *netif.Buf
	mem *slab
}

func newLoopback(mem *memory) *loopback {
	l := &loopback{mem: mem, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.queue[0] = (*loopbackQueue)(l)
	return l
}

// Info implements netif.Device.
func (l *loopback) Info() netif.Info {
	return netif.Info{
		Name: ifconf.LoopbackName, Link: netif.LinkIP, MTU: loopbackMTU,
		Offloads: netif.TxChecksum | netif.RxChecksum,
	}
}

// Queues implements netif.Device.
func (l *loopback) Queues() []netif.Queue { return l.queue[:] }

// Close implements netif.Device.
func (l *loopback) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	close(l.done)
	l.signalRoom()
	for ; l.n > 0; l.n-- {
		f := l.ring[l.head]
		l.ring[l.head] = nil
		l.head = (l.head + 1) % loopbackFrames
		l.recycle(f)
	}
	return nil
}

func (l *loopback) signalRoom() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

// recycle gives a frame's memory back. l.mu is held.
func (l *loopback) recycle(f *loopFrame) {
	l.mem.credit(len(f.mem.b))
	l.mem.putSlab(f.mem)
	f.mem = nil
	if len(l.free) < 64 {
		l.free = append(l.free, f)
	}
}

// loopbackQueue is the device's only queue.
type loopbackQueue loopback

// Read implements netif.Queue.
func (q *loopbackQueue) Read(bufs []*netif.Buf) (int, error) {
	l := (*loopback)(q)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, net.ErrClosed
	}
	n := min(len(bufs), l.n)
	for i := range n {
		bufs[i] = l.ring[l.head].buf
		l.ring[l.head] = nil
		l.head = (l.head + 1) % loopbackFrames
	}
	l.n -= n
	if n > 0 {
		l.signalRoom()
	}
	return n, nil
}

// Wait implements netif.Queue.
func (q *loopbackQueue) Wait(ctx context.Context) error {
	select {
	case <-q.wake:
		return nil
	case <-q.done:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Write implements netif.Queue. A frame for which no memory is left is taken and
// dropped.
func (q *loopbackQueue) Write(frames []netif.Frame) (int, error) {
	l := (*loopback)(q)
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, net.ErrClosed
	}
	taken := 0
	for i := range frames {
		if l.n == loopbackFrames {
			break
		}
		taken++
		m := l.mem.slab(frames[i].Len())
		if !l.mem.charge(len(m.b), false) {
			l.mem.putSlab(m)
			continue
		}
		f := l.frame()
		f.mem = m
		b := m.b[:0]
		for _, p := range frames[i].Fragments {
			b = append(b, p...)
		}
		f.buf.Data, f.buf.Meta = b, frames[i].Meta
		l.ring[(l.head+l.n)%loopbackFrames] = f
		l.n++
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return taken, nil
}

// frame returns one without memory. l.mu is held.
func (l *loopback) frame() *loopFrame {
	if n := len(l.free); n > 0 {
		f := l.free[n-1]
		l.free = l.free[:n-1]
		f.buf.Reuse()
		return f
	}
	f := new(loopFrame)
	f.buf = netif.NewBuf(nil, loopRecycler{l, f})
	return f
}

// loopRecycler takes the frame's buffer back.
type loopRecycler struct {
	l *loopback
	f *loopFrame
}

// Recycle implements netif.Recycler.
func (r loopRecycler) Recycle(*netif.Buf) {
	r.l.mu.Lock()
	r.l.recycle(r.f)
	r.l.mu.Unlock()
}

// Writable implements netif.Queue.
func (q *loopbackQueue) Writable() <-chan struct{} {
	l := (*loopback)(q)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.done
	}
	if l.room == nil {
		l.room = make(chan struct{})
	}
	room := l.room
	if l.n < loopbackFrames {
		l.signalRoom()
	}
	return room
}
