package netif

import "time"

// parcel is a frame under way.
type parcel struct {
	at    time.Duration // since the layer began
	seq   uint64
	buf   *Buf
	queue int
}

func (p *parcel) before(o *parcel) bool {
	return p.at < o.at || p.at == o.at && p.seq < o.seq
}

// delayLine is a heap of parcels by time and, at equal times, by the order in which
// they were pushed.
type delayLine struct {
	heap []parcel
	seq  uint64
}

func (l *delayLine) empty() bool { return len(l.heap) == 0 }

// first returns the earliest parcel of a line that is not empty.
func (l *delayLine) first() *parcel { return &l.heap[0] }

// next returns when the earliest parcel is due.
func (l *delayLine) next() (at time.Duration, ok bool) {
	if len(l.heap) == 0 {
		return 0, false
	}
	return l.heap[0].at, true
}

func (l *delayLine) push(p parcel) {
	p.seq = l.seq
	l.seq++
	l.heap = append(l.heap, p)
	h := l.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// pop takes the earliest parcel if it is due by now.
func (l *delayLine) pop(now time.Duration) (parcel, bool) {
	h := l.heap
	if len(h) == 0 || h[0].at > now {
		return parcel{}, false
	}
	p := h[0]
	last := len(h) - 1
	h[0], h[last] = h[last], parcel{}
	h = h[:last]
	l.heap = h
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].before(&h[down]) {
			down++
		}
		if !h[down].before(&h[i]) {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	return p, true
}

// bottleneck is a link of a rate with a queue before it. It moves no frames: it
// only tells when each would have left.
type bottleneck struct {
	rate           int64 // bits per second; 0 is no bottleneck
	packets, bytes int   // limits of the queue; 0 is none

	free    time.Duration // when the link will have sent all that was admitted
	rest    int64         // what free lacks, in 1/rate nanoseconds
	waiting []departure   // admitted and perhaps not sent yet, oldest at head
	head    int
	backlog int // bytes of waiting[head:]
}

type departure struct {
	at   time.Duration
	size int
}

// admit queues a frame of size bytes and returns when its last bit leaves, or that
// the queue is full.
func (q *bottleneck) admit(now time.Duration, size int) (time.Duration, bool) {
	if q.rate == 0 {
		return now, true
	}
	for q.head < len(q.waiting) && q.waiting[q.head].at <= now {
		q.backlog -= q.waiting[q.head].size
		q.head++
	}
	// Moving the rest down once half is spent keeps the slice at twice the queue.
	if q.head*2 >= len(q.waiting) {
		q.waiting = q.waiting[:copy(q.waiting, q.waiting[q.head:])]
		q.head = 0
	}
	if n := len(q.waiting) - q.head; n > 0 {
		if q.packets > 0 && n >= q.packets || q.bytes > 0 && q.backlog+size > q.bytes {
			return 0, false
		}
	}
	if q.free < now {
		q.free, q.rest = now, 0
	}
	// The remainder is carried over, or a gigabit link would gain with each frame.
	work := int64(size)*8*int64(time.Second) + q.rest
	q.free += time.Duration(work / q.rate)
	q.rest = work % q.rate
	q.waiting = append(q.waiting, departure{q.free, size})
	q.backlog += size
	return q.free, true
}
