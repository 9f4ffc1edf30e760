package netif

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netduet/netduet/internal/gso"
)

// Impairment says what Impair does to the frames written through it. The zero
// value changes nothing but this: large frames are segmented and checksums filled
// in. Probabilities are from 0 to 1.
//
// Frames pass in the order of the fields: the MTU, the bottleneck (Rate, Queue),
// then the medium (loss, corruption, duplication, delay, reordering).
type Impairment struct {
	// Seed begins all random decisions. What happens to a frame depends on the seed,
	// on how many frames (segments counted each) were written before, and on its
	// length, never on the time; but what the bottleneck drops depends on the time.
	Seed uint64

	// MTU drops frames with a larger IP packet, as a path does whose ICMP messages
	// are filtered. Zero means the device's own. Info still says the device's own.
	MTU int

	// Rate in bits per second, link header included, at which frames leave the
	// bottleneck's queue; zero is no bottleneck.
	Rate int64
	// QueuePackets and QueueBytes limit that queue, the frame being sent included;
	// what doesn't fit is dropped. Zero is no limit; if both are zero there may be
	// 1000 packets. A frame always fits an empty queue.
	QueuePackets, QueueBytes int

	// MarkAfter marks packets that an ECN-capable transport sent as having experienced
	// congestion (RFC 3168, section 5) when they have to wait longer than this in the
	// bottleneck's queue; zero never does. Mark is the probability that one is marked
	// otherwise.
	MarkAfter time.Duration
	Mark      float64

	// Loss is the probability that a frame is lost, independent of others.
	Loss float64
	// Burst adds loss that comes in bursts.
	Burst GilbertElliott

	// Corrupt is the probability that a frame is damaged, in the way of CorruptMode.
	Corrupt     float64
	CorruptMode CorruptMode

	// Duplicate is the probability that a frame arrives twice, one right behind the
	// other.
	Duplicate float64

	// Delay is added to every frame, and up to Jitter more, at random and without
	// changing the order.
	Delay, Jitter time.Duration
	// Reorder is the probability that a frame is delayed by ReorderDelay more, so
	// that others overtake it.
	Reorder      float64
	ReorderDelay time.Duration

	// HoldBytes limits the memory of all frames under way, because of the delay or
	// of a device that is not writable; what doesn't fit is dropped. 64 MiB if zero.
	HoldBytes int
}

// GilbertElliott is loss in bursts: a chain of a good and a bad state, which a frame
// moves along before its own fate is drawn. It begins in the good one.
type GilbertElliott struct {
	// ToBad and ToGood are the probabilities of leaving the good and the bad state:
	// a burst lasts 1/ToGood frames on average.
	ToBad, ToGood float64
	// LossGood and LossBad are the probabilities of loss in the two states.
	LossGood, LossBad float64
}

// CorruptMode is the kind of damage done to a frame.
type CorruptMode uint8

const (
	// CorruptDetectable flips one bit or a burst of at most 15 bits in what one
	// Internet checksum covers for certain, which that checksum always detects
	// (RFC 1071): the IPv4 header but its first byte, or the TCP segment, ICMP
	// message or UDP datagram but its length and checksum. A frame without such
	// bytes (ARP, a fragment of IPv6, an Ethernet frame of another type) is left
	// alone.
	CorruptDetectable CorruptMode = iota
	// CorruptAny flips bits, overwrites bytes, truncates or extends the frame,
	// anywhere, the link header included. No checksum detects all of that.
	CorruptAny
)

// ImpairStats counts frames, segments of large frames each.
type ImpairStats struct {
	Written    uint64 // taken from the writer
	Delivered  uint64 // taken by the device
	Segmented  uint64 // large frames that were cut; they are not in Written, their segments are
	Checksums  uint64 // checksums filled in, those of segments not counted
	Malformed  uint64 // dropped: could not be segmented, or had a checksum field outside
	TooLarge   uint64 // dropped for the MTU
	QueueFull  uint64 // dropped by the bottleneck
	HoldFull   uint64 // dropped for HoldBytes
	Lost       uint64 // lost independently
	BurstLost  uint64 // lost in the Gilbert–Elliott chain
	Marked     uint64 // experienced congestion
	Corrupted  uint64
	Intact     uint64 // were to be corrupted, but had no byte that might be
	Duplicated uint64
	Reordered  uint64
	Abandoned  uint64 // under way when the device was closed, or refused by it
}

// Impaired is a device whose written frames suffer an Impairment on their way to
// the device beneath. What is read passes unchanged.
//
// Write never blocks and is never short: where a queue is full it drops, as a
// router does. One goroutine delivers; Close ends it and abandons what is under
// way. In a testing/synctest bubble delays are exact.
type Impaired struct {
	dev    Device
	info   Info
	cfg    Impairment
	queues []Queue
	pool   *Pool
	begin  time.Time

	closed  atomic.Bool
	done    chan struct{} // closed by Close
	stopped chan struct{} // closed when the delivering goroutine has ended
	wake    chan struct{} // holds a token when there is an earlier frame to wait for
	open    chan struct{} // always closed

	mu      sync.Mutex
	err     error // why the device beneath takes no more
	stats   ImpairStats
	dice    dice
	line    delayLine
	held    int // bytes under way
	queue   bottleneck
	arrival time.Duration // of the last frame that was not reordered
	scratch []byte        // a large frame in one piece
}

// Impair puts an impairment in front of dev, which belongs to the result from then
// on: closing that closes dev. Impair both ends of a wire to impair both directions.
func Impair(dev Device, cfg Impairment) (*Impaired, error) {
	d, err := newImpaired(dev, cfg)
	if err != nil {
		return nil, err
	}
	go d.deliver()
	return d, nil
}

// newImpaired returns the layer before it begins to deliver.
func newImpaired(dev Device, cfg Impairment) (*Impaired, error) {
	if dev == nil {
		return nil, errors.New("netif: Impair needs a device beneath it")
	}
	info := dev.Info()
	if err := cfg.validate(info); err != nil {
		return nil, err
	}
	d := &Impaired{
		dev: dev, info: info, cfg: cfg, begin: time.Now(),
		// Room for the link header, a VLAN tag and what CorruptAny appends.
		pool: NewPool(info.MTU+etherHeaderLen+vlanTagLen+maxExtension, 1024),
		done: make(chan struct{}), stopped: make(chan struct{}), wake: make(chan struct{}, 1),
		open:  make(chan struct{}),
		dice:  dice{seed: cfg.Seed},
		queue: bottleneck{rate: cfg.Rate, packets: cfg.QueuePackets, bytes: cfg.QueueBytes},
	}
	close(d.open)
	for i, q := range dev.Queues() {
		d.queues = append(d.queues, &impairedQueue{Queue: q, dev: d, index: i})
	}
	return d, nil
}

// validate checks the configuration and fills in defaults.
func (c *Impairment) validate(info Info) error {
	for _, p := range []struct {
		name  string
		value float64
	}{
		{"Loss", c.Loss}, {"Mark", c.Mark}, {"Corrupt", c.Corrupt}, {"Duplicate", c.Duplicate}, {"Reorder", c.Reorder},
		{"Burst.ToBad", c.Burst.ToBad}, {"Burst.ToGood", c.Burst.ToGood},
		{"Burst.LossGood", c.Burst.LossGood}, {"Burst.LossBad", c.Burst.LossBad},
	} {
		if !(p.value >= 0 && p.value <= 1) {
			return fmt.Errorf("netif: impairment %s is %v: a probability is 0 to 1", p.name, p.value)
		}
	}
	switch {
	case c.MTU < 0 || c.MTU > info.MTU:
		return fmt.Errorf("netif: impairment MTU is %d: must be 1 to the device's %d, or 0 for that", c.MTU, info.MTU)
	case c.Rate < 0 || c.QueuePackets < 0 || c.QueueBytes < 0 || c.HoldBytes < 0:
		return fmt.Errorf("netif: impairment Rate, QueuePackets, QueueBytes and HoldBytes must not be negative")
	case c.MarkAfter < 0:
		return fmt.Errorf("netif: impairment MarkAfter must not be negative")
	case c.Delay < 0 || c.Jitter < 0 || c.ReorderDelay < 0:
		return fmt.Errorf("netif: impairment Delay, Jitter and ReorderDelay must not be negative")
	case c.Reorder > 0 && c.ReorderDelay == 0:
		return fmt.Errorf("netif: impairment Reorder needs a ReorderDelay, or nothing would be overtaken")
	case c.CorruptMode > CorruptAny:
		return fmt.Errorf("netif: unknown corruption mode %d: use CorruptDetectable or CorruptAny", c.CorruptMode)
	}
	if c.MTU == 0 {
		c.MTU = info.MTU
	}
	if c.QueuePackets == 0 && c.QueueBytes == 0 {
		c.QueuePackets = 1000
	}
	if c.HoldBytes == 0 {
		c.HoldBytes = 64 << 20
	}
	return nil
}

// Info implements Device; it is that of the device beneath.
func (d *Impaired) Info() Info { return d.info }

// Queues implements Device.
func (d *Impaired) Queues() []Queue { return d.queues }

// Stats returns the counters.
func (d *Impaired) Stats() ImpairStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Close implements Device. It closes the device beneath as well.
func (d *Impaired) Close() error {
	if d.closed.Swap(true) {
		return net.ErrClosed
	}
	close(d.done)
	<-d.stopped
	d.mu.Lock()
	for {
		p, ok := d.line.pop(1<<63 - 1)
		if !ok {
			break
		}
		d.stats.Abandoned++
		p.buf.Release()
	}
	d.held = 0
	d.mu.Unlock()
	return d.dev.Close()
}

// impairedQueue reads from the queue beneath and writes into the impairment.
type impairedQueue struct {
	Queue
	dev   *Impaired
	index int
}

// Writable implements Queue: no Write is ever short.
func (q *impairedQueue) Writable() <-chan struct{} { return q.dev.open }

// Write implements Queue.
func (q *impairedQueue) Write(frames []Frame) (int, error) {
	d := q.dev
	if d.closed.Load() {
		return 0, net.ErrClosed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	if len(frames) == 0 {
		return 0, nil
	}
	next, waiting := d.line.next()
	now := time.Since(d.begin)
	for i := range frames {
		d.take(&frames[i], q.index, now)
	}
	if first, ok := d.line.next(); ok && (!waiting || first < next) {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	return len(frames), nil
}

// take copies a frame into buffers of the layer's, as segments of the link's size
// with complete checksums, and sends each on its way.
func (d *Impaired) take(f *Frame, queue int, now time.Duration) {
	var head []byte
	if len(f.Fragments) > 0 {
		head = f.Fragments[0]
	}
	link := headerLen(d.info.Link, head)
	switch n := f.Len(); {
	case n == 0 || n < link:
		d.stats.Malformed++
		return
	case f.Meta.GSO == GSONone && n-link > d.info.MTU:
		d.stats.Written++
		d.stats.TooLarge++
		return
	case f.Meta.GSO != GSONone:
		d.cut(f, link, queue, now)
		return
	}
	b := d.pool.Get()
	b.Data = flatten(b.Store()[:0], f)
	if f.Meta.Flags&NeedsChecksum != 0 {
		if gso.FillChecksum(b.Data, int(f.Meta.ChecksumStart), int(f.Meta.ChecksumOffset)) != nil {
			d.stats.Malformed++
			b.Release()
			return
		}
		d.stats.Checksums++
	}
	d.pass(b, link, queue, now)
}

// cut segments a large frame.
func (d *Impaired) cut(f *Frame, link, queue int, now time.Duration) {
	if f.Len()-link > maxSegmentable {
		d.stats.Malformed++
		return
	}
	var s gso.Segmenter
	d.scratch = flatten(d.scratch[:0], f)
	if s.Start(d.scratch, link, int(f.Meta.SegmentSize)) != nil {
		d.stats.Malformed++
		return
	}
	d.stats.Segmented++
	if s.Max()-link > d.info.MTU {
		d.stats.Written += uint64(s.Count())
		d.stats.TooLarge += uint64(s.Count())
		return
	}
	for s.Count() > 0 {
		b := d.pool.Get()
		b.Data, _ = s.Append(b.Store()[:0])
		d.pass(b, link, queue, now)
	}
}

func flatten(dst []byte, f *Frame) []byte {
	for _, p := range f.Fragments {
		dst = append(dst, p...)
	}
	return dst
}

// pass decides the fate of one frame and puts it on the delay line.
func (d *Impaired) pass(b *Buf, link, queue int, now time.Duration) {
	c, s := &d.cfg, &d.stats
	s.Written++
	fate := d.dice.throw(c)
	if len(b.Data)-link > c.MTU {
		s.TooLarge++
		b.Release()
		return
	}
	leaves, ok := d.queue.admit(now, len(b.Data))
	if !ok {
		s.QueueFull++
		b.Release()
		return
	}
	switch {
	case fate.lost:
		s.Lost++
		b.Release()
		return
	case fate.burstLost:
		s.BurstLost++
		b.Release()
		return
	}
	if (fate.mark || c.MarkAfter > 0 && leaves-now > c.MarkAfter) && markCongestion(b.Data[link:]) {
		s.Marked++
	}
	if fate.corrupt {
		if corrupt(b, d.info.Link, c.CorruptMode, d.dice.rand()) {
			s.Corrupted++
		} else {
			s.Intact++
		}
	}
	// Order is kept by time and, at equal times, by sequence. A frame that is late
	// on purpose holds up none of those behind it.
	at := max(leaves+c.Delay+fate.jitter, d.arrival)
	if fate.reorder {
		s.Reordered++
		at += c.ReorderDelay
	} else {
		d.arrival = at
	}
	if d.hold(b, at, queue) && fate.duplicate {
		twin := d.pool.Get()
		twin.Data = append(twin.Store()[:0], b.Data...)
		if d.hold(twin, at, queue) {
			s.Duplicated++
		}
	}
}

// hold puts a frame on the delay line if there is memory for it.
func (d *Impaired) hold(b *Buf, at time.Duration, queue int) bool {
	if d.held+len(b.Store()) > d.cfg.HoldBytes {
		d.stats.HoldFull++
		b.Release()
		return false
	}
	d.held += len(b.Store())
	d.line.push(parcel{at: at, buf: b, queue: queue})
	return true
}

// deliver writes frames that are due to the device beneath until Close.
func (d *Impaired) deliver() {
	defer close(d.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	queues := d.dev.Queues()
	var (
		bufs   [chunk]*Buf
		parts  [chunk][1][]byte
		frames [chunk]Frame
	)
	for {
		n, queue, wait, idle := d.due(bufs[:])
		if n == 0 {
			var due <-chan time.Time
			if !idle {
				timer.Reset(wait)
				due = timer.C
			}
			select {
			case <-due:
			case <-d.wake:
			case <-d.done:
				return
			}
			continue
		}
		for i, b := range bufs[:n] {
			parts[i][0] = b.Data
			frames[i].Fragments = parts[i][:]
		}
		d.send(queues[queue], frames[:n])
		d.mu.Lock()
		for i, b := range bufs[:n] {
			d.held -= len(b.Store())
			b.Release()
			bufs[i], parts[i][0] = nil, nil
		}
		d.mu.Unlock()
	}
}

// due takes frames for one queue whose time has come. If there are none it returns
// how long to wait for the first, or that the line is idle.
func (d *Impaired) due(bufs []*Buf) (n, queue int, wait time.Duration, idle bool) {
	now := time.Since(d.begin)
	d.mu.Lock()
	defer d.mu.Unlock()
	for n < len(bufs) {
		if n > 0 && d.line.first().queue != queue {
			break
		}
		p, ok := d.line.pop(now)
		if !ok {
			break
		}
		bufs[n], queue = p.buf, p.queue
		n++
		if d.line.empty() {
			break
		}
	}
	next, ok := d.line.next()
	return n, queue, next - now, !ok
}

// send writes frames, waiting for room as often as it takes.
func (d *Impaired) send(q Queue, frames []Frame) {
	for len(frames) > 0 {
		n, err := q.Write(frames)
		d.mu.Lock()
		d.stats.Delivered += uint64(n)
		frames = frames[n:]
		if err != nil {
			d.err = err
			d.stats.Abandoned += uint64(len(frames))
		}
		d.mu.Unlock()
		if err != nil || len(frames) == 0 {
			return
		}
		select {
		case <-q.Writable():
		case <-d.done:
			d.mu.Lock()
			d.stats.Abandoned += uint64(len(frames))
			d.mu.Unlock()
			return
		}
	}
}
