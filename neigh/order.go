package neigh

import "github.com/netduet/netduet/clock"

// list is the entries of one class, most recently used first.
type list[P any] struct {
	head, tail *entry[P]
	n          int
}

func (l *list[P]) pushFront(e *entry[P]) {
	e.prev, e.next = nil, l.head
	if l.head != nil {
		l.head.prev = e
	} else {
		l.tail = e
	}
	l.head = e
	l.n++
}

func (l *list[P]) remove(e *entry[P]) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.tail = e.prev
	}
	e.prev, e.next = nil, nil
	l.n--
}

// timers is a binary heap of the entries that have a deadline, earliest first; among
// equals, the one armed first.
type timers[P any] struct {
	heap  []*entry[P]
	count uint64
}

func (h *timers[P]) first() clock.Time {
	if len(h.heap) == 0 {
		return clock.Never
	}
	return h.heap[0].deadline
}

// arm sets e's deadline, replacing an earlier one.
func (h *timers[P]) arm(e *entry[P], at clock.Time) {
	h.count++
	e.deadline, e.order = at, h.count
	if e.heapIndex < 0 {
		e.heapIndex = len(h.heap)
		h.heap = append(h.heap, e)
	}
	h.fix(e.heapIndex)
}

// stop takes e's deadline away, if it has one.
func (h *timers[P]) stop(e *entry[P]) {
	i := e.heapIndex
	if i < 0 {
		return
	}
	n := len(h.heap) - 1
	h.swap(i, n)
	h.heap[n] = nil
	h.heap = h.heap[:n]
	e.heapIndex = -1
	if i < n {
		h.fix(i)
	}
}

func (h *timers[P]) fix(i int) {
	for i > 0 {
		up := (i - 1) / 2
		if !h.less(i, up) {
			break
		}
		h.swap(i, up)
		i = up
	}
	for {
		down := 2*i + 1
		if down >= len(h.heap) {
			return
		}
		if r := down + 1; r < len(h.heap) && h.less(r, down) {
			down = r
		}
		if !h.less(down, i) {
			return
		}
		h.swap(i, down)
		i = down
	}
}

func (h *timers[P]) less(i, j int) bool {
	a, b := h.heap[i], h.heap[j]
	return a.deadline < b.deadline || a.deadline == b.deadline && a.order < b.order
}

func (h *timers[P]) swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].heapIndex, h.heap[j].heapIndex = i, j
}
