package netif

import "sync"

// Pool is a Recycler that keeps released buffers of one size for the next frames.
//
// The number of idle buffers kept is bounded; that of buffers in use is not: Get
// always succeeds, since a driver without buffers could neither read nor drop,
// and would spin on a device that stays readable. What is in use is bounded by
// the rings and queues of those who hold buffers. Safe for concurrent use; a Pool
// outlives its device for as long as somebody holds one of its buffers.
type Pool struct {
	size int // bytes of each buffer's store
	keep int // most idle buffers kept

	mu   sync.Mutex
	idle []*Buf // last in, first out: the warmest memory is used first
}

// NewPool returns a pool of buffers of size bytes each that keeps at most keep of
// them while nobody needs them. Nothing is allocated until the first Get.
func NewPool(size, keep int) *Pool {
	return &Pool{size: max(size, 0), keep: max(keep, 0)}
}

// Size returns the number of bytes of each buffer's Store.
func (p *Pool) Size() int { return p.size }

// Get returns a buffer with empty Data and zero Meta. Its Store holds what the
// frame before left there.
func (p *Pool) Get() *Buf {
	var one [1]*Buf
	p.GetBatch(one[:])
	return one[0]
}

// GetBatch fills all of bufs, as Get would, and takes the pool's lock only once.
func (p *Pool) GetBatch(bufs []*Buf) {
	if len(bufs) == 0 {
		return
	}
	p.mu.Lock()
	rest := len(p.idle) - min(len(p.idle), len(bufs))
	n := copy(bufs, p.idle[rest:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	p.mu.Unlock()
	for _, b := range bufs[:n] {
		b.Reuse()
	}
	for i := n; i < len(bufs); i++ {
		bufs[i] = NewBuf(make([]byte, p.size), p)
	}
}

// Recycle takes a released buffer back. Buf.Release calls it; nobody else should.
func (p *Pool) Recycle(b *Buf) {
	p.mu.Lock()
	if len(p.idle) < p.keep {
		p.idle = append(p.idle, b)
	}
	p.mu.Unlock()
}

// Idle returns how many buffers the pool keeps at the moment.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}
