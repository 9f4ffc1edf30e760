package netif

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// Port is a device in memory: one end of a wire (NewWire) or one socket of a
// switch (NewSwitch). It has no goroutines and never looks at the time, so it
// works in a testing/synctest bubble: a blocked Wait is durably blocked.
//
// Closing a port takes the link down: what was written to the far end before is
// still read there, and what the far end writes from then on is taken and dropped.
type Port struct {
	info   Info
	queues []Queue
	in     *inbound
	fabric fabric
	closed atomic.Bool
	done   chan struct{} // closed by Close

	dropped atomic.Uint64
}

// fabric is what a port's frames are written into.
type fabric interface {
	// write takes frames from port p, as Queue.Write does.
	write(p *Port, frames []Frame) int
	writable(p *Port) <-chan struct{}
	portClosed(p *Port)
}

// PortStats counts what a Port did with frames written to it.
type PortStats struct {
	// Dropped frames were taken and came to nothing: too short or too long for the
	// link, with offloads that were not announced, or with the link down.
	Dropped uint64
	// Overflowed frames were lost because the receiving port of a switch was full. A
	// wire loses none: its Write is short instead.
	Overflowed uint64
}

func newPort(info Info, queues, ring int) *Port {
	p := &Port{info: info, done: make(chan struct{})}
	p.in = newInbound(info, queues, ring)
	for i := range p.in.rings {
		p.queues = append(p.queues, &portQueue{port: p, ring: &p.in.rings[i]})
	}
	return p
}

// Info implements Device.
func (p *Port) Info() Info { return p.info }

// Queues implements Device.
func (p *Port) Queues() []Queue { return p.queues }

// Stats returns the port's counters.
func (p *Port) Stats() PortStats {
	return PortStats{Dropped: p.dropped.Load(), Overflowed: p.in.overflowed.Load()}
}

// Close implements Device.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		return net.ErrClosed
	}
	close(p.done)
	for _, q := range p.queues {
		q.(*portQueue).end()
	}
	p.in.wakeWriters()
	p.fabric.portClosed(p)
	return nil
}

// portQueue is one queue of a port.
//
// Wait looks at one channel only, which is half the price of a select: the end of
// the port and that of the context leave a token there as a frame does.
type portQueue struct {
	port *Port
	ring *ring

	done <-chan struct{} // of the context whose end wakes Wait; the reader's alone
	mu   sync.Mutex
	stop func() bool // forgets that context
	over bool        // no other one is to be watched
}

// Read implements Queue.
func (q *portQueue) Read(bufs []*Buf) (int, error) {
	// Closed is looked at first: a frame that arrives in between is then read by
	// the next call rather than lost behind an error.
	closed := q.port.closed.Load()
	n := q.ring.pop(bufs)
	if n > 0 {
		q.port.in.free(n)
		return n, nil
	}
	if closed {
		return 0, net.ErrClosed
	}
	return 0, nil
}

// Wait implements Queue.
func (q *portQueue) Wait(ctx context.Context) error {
	if q.port.closed.Load() {
		return net.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if ctx.Done() != q.done {
		q.watch(ctx)
	}
	if q.ring.ready() {
		return nil
	}
	<-q.ring.wake
	if q.port.closed.Load() {
		return net.ErrClosed
	}
	return ctx.Err()
}

// watch has the end of ctx wake Wait. It stays so for as long as the reader comes with
// the same context.
func (q *portQueue) watch(ctx context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stop != nil {
		q.stop()
		q.stop = nil
	}
	if q.done = ctx.Done(); q.done != nil && !q.over {
		q.stop = context.AfterFunc(ctx, q.ring.token)
	}
}

// end wakes Wait for good, because the port is closed.
func (q *portQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	if q.stop != nil {
		q.stop()
	}
	q.ring.token()
}

// Write implements Queue.
func (q *portQueue) Write(frames []Frame) (int, error) {
	if q.port.closed.Load() {
		return 0, net.ErrClosed
	}
	return q.port.fabric.write(q.port, frames), nil
}

// Writable implements Queue.
func (q *portQueue) Writable() <-chan struct{} {
	if q.port.closed.Load() {
		return q.port.done
	}
	return q.port.fabric.writable(q.port)
}

// chunk is how many frames are moved between two looks at the locks; the scratch
// space for them is on the writer's stack.
const chunk = 64

// inbound is the receiving half of a port: a ring for each queue and one limit on
// the frames in all of them, so that "full" is one fact and not one per queue.
type inbound struct {
	info  Info
	rings []ring
	small *Pool // frames up to the MTU
	large *Pool // frames with a GSO type; nil when none may arrive

	room       atomic.Int64 // frames that may still be taken
	overflowed atomic.Uint64

	waiting atomic.Bool // blocked is not nil
	mu      sync.Mutex
	blocked chan struct{} // what short writers wait on
	open    chan struct{} // always closed
}

func newInbound(info Info, queues, size int) *inbound {
	in := &inbound{info: info, rings: make([]ring, queues), open: make(chan struct{})}
	close(in.open)
	in.room.Store(int64(size))
	slots := 1
	for slots < size {
		slots *= 2
	}
	for i := range in.rings {
		in.rings[i] = ring{slots: make([]*Buf, slots), wake: make(chan struct{}, 1)}
	}
	// Beside the ring's frames there are those that the reader still holds.
	in.small = NewPool(info.MTU+etherHeaderLen+vlanTagLen, size+4*chunk)
	if info.Offloads.Has(RxGSO) {
		in.large = NewPool(maxSegmentable+etherHeaderLen+vlanTagLen, min(size, 4*chunk))
	}
	return in
}

// reserve takes up to n places and returns how many it got.
func (in *inbound) reserve(n int) int {
	for {
		room := in.room.Load()
		k := min(int64(n), room)
		if k <= 0 {
			return 0
		}
		if in.room.CompareAndSwap(room, room-k) {
			return int(k)
		}
	}
}

// free gives n places back.
func (in *inbound) free(n int) {
	in.room.Add(int64(n))
	if in.waiting.Load() {
		in.wakeWriters()
	}
}

func (in *inbound) wakeWriters() {
	in.mu.Lock()
	if in.blocked != nil {
		close(in.blocked)
		in.blocked = nil
		in.waiting.Store(false)
	}
	in.mu.Unlock()
}

// writable returns a channel that closes when there is room or gone reports true;
// whoever makes gone true calls wakeWriters after that.
func (in *inbound) writable(gone func() bool) <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.blocked == nil {
		in.blocked = make(chan struct{})
		in.waiting.Store(true)
	}
	// Room is looked at after waiting was set, and free looks at waiting after it
	// made room: one of the two sees the other.
	if in.room.Load() > 0 || gone() {
		return in.open
	}
	return in.blocked
}

// carries reports whether a frame fits the link, and whether it needs a buffer of
// the large kind.
func (in *inbound) carries(f *Frame) (ok, large bool) {
	n := f.Len()
	if n == 0 || in.info.Link == LinkEthernet && n < etherHeaderLen {
		return false, false
	}
	var head []byte
	if len(f.Fragments) > 0 {
		head = f.Fragments[0]
	}
	n -= headerLen(in.info.Link, head)
	m := &f.Meta
	if m.Flags&NeedsChecksum != 0 && !in.info.Offloads.Has(TxChecksum) {
		return false, false
	}
	if m.GSO == GSONone {
		return n <= in.info.MTU, false
	}
	var want Offloads
	switch m.GSO {
	case GSOTCP4:
		want = TxTSO4
	case GSOTCP6:
		want = TxTSO6
	case GSOUDP:
		want = TxUSO
	default:
		return false, false
	}
	if !in.info.Offloads.Has(want) || n > maxSegmentable || m.SegmentSize == 0 {
		return false, false
	}
	segment := int(m.HeaderLen) + int(m.SegmentSize) - headerLen(in.info.Link, head)
	return segment <= in.info.MTU, n > in.info.MTU
}

// deliver copies at most chunk frames, for which there is room reserved, to the
// rings. It returns how many of them could not be carried; their places are free
// again.
func (in *inbound) deliver(frames []Frame) (bad int) {
	if len(frames) == 1 {
		return in.deliverOne(&frames[0])
	}
	var small, large [chunk]*Buf
	var kinds [chunk]uint8
	ns, nl := 0, 0
	for i := range frames {
		switch ok, big := in.carries(&frames[i]); {
		case !ok:
			bad++
		case big:
			kinds[i] = 2
			nl++
		default:
			kinds[i] = 1
			ns++
		}
	}
	in.small.GetBatch(small[:ns])
	if nl > 0 {
		in.large.GetBatch(large[:nl])
	}
	ns, nl = 0, 0
	var run [chunk]*Buf
	n, target := 0, 0
	for i := range frames {
		var b *Buf
		switch kinds[i] {
		case 0:
			continue
		case 1:
			b = small[ns]
			ns++
		default:
			b = large[nl]
			nl++
		}
		b.load(&frames[i])
		if len(in.rings) > 1 {
			to := in.steer(b)
			if to != target && n > 0 {
				in.rings[target].push(run[:n])
				n = 0
			}
			target = to
		}
		run[n] = b
		n++
	}
	if n > 0 {
		in.rings[target].push(run[:n])
	}
	if bad > 0 {
		in.free(bad)
	}
	return bad
}

// deliverOne is deliver for a single frame, as conversations have it, without the
// scratch space for many.
func (in *inbound) deliverOne(f *Frame) (bad int) {
	ok, large := in.carries(f)
	if !ok {
		in.free(1)
		return 1
	}
	pool, one := in.small, [1]*Buf{}
	if large {
		pool = in.large
	}
	pool.GetBatch(one[:])
	one[0].load(f)
	to := 0
	if len(in.rings) > 1 {
		to = in.steer(one[0])
	}
	in.rings[to].push(one[:])
	return 0
}

// load copies a frame into b.
func (b *Buf) load(f *Frame) {
	b.Data = b.Store()[:0]
	for _, part := range f.Fragments {
		b.Data = append(b.Data, part...)
	}
	b.Meta = f.Meta
	b.Meta.Flags &= NeedsChecksum // the sender can vouch for nothing else
}

// steer chooses the ring for a frame.
func (in *inbound) steer(b *Buf) int {
	return int(flowHash(in.info.Link, b.Data) % uint32(len(in.rings)))
}

// ring is a bounded queue of frames with one reader. It has a slot for every
// frame that inbound.room admits, so that push always finds one.
type ring struct {
	mu      sync.Mutex
	slots   []*Buf // a power of two
	head, n int
	waiting bool          // the reader is in Wait, or was and gave up
	wake    chan struct{} // holds at most one token
}

func (r *ring) push(bufs []*Buf) {
	r.mu.Lock()
	mask := len(r.slots) - 1
	for i, b := range bufs {
		r.slots[(r.head+r.n+i)&mask] = b
	}
	r.n += len(bufs)
	wake := r.waiting
	r.waiting = false
	r.mu.Unlock()
	if wake {
		r.token()
	}
}

// token wakes who waits, or who will.
func (r *ring) token() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *ring) pop(bufs []*Buf) int {
	r.mu.Lock()
	mask := len(r.slots) - 1
	n := min(len(bufs), r.n)
	for i := range n {
		at := (r.head + i) & mask
		bufs[i], r.slots[at] = r.slots[at], nil
	}
	r.head = (r.head + n) & mask
	r.n -= n
	r.mu.Unlock()
	return n
}

// ready reports whether there is something to read, and if not, that the next
// push is to leave a token.
func (r *ring) ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = r.n == 0
	return !r.waiting
}
