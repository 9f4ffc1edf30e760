package xen

import (
	"sync/atomic"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen/ring"
	"github.com/netduet/netduet/netif/xen/transport"
)

// frontTx is the transmitting half of a queue. Its pages are granted for reading
// only and numbered; a page's number is the id of the request that it is in.
//
// Responses come in any order, so their position means nothing: the id tells which
// page is free again, and each response to extra information, which has no id, is
// told by its status. Both are counted: a far end that gives back what it does not
// have, or answers extra information that nobody sent, is not to be believed.
type frontTx struct {
	txHalf
	dev *Frontend
	// instead is another queue's half if the back end has fewer queues than we.
	instead atomic.Pointer[frontTx]

	ring   *ring.Front
	mem    []byte
	refs   []transport.Ref
	free   []uint16 // pages not in a request
	inUse  []bool   // by page: it is in a request
	extras int      // slots of extra information without a response
}

func (t *frontTx) init(f *Frontend) {
	t.dev = f
	t.txHalf.init(&f.core, f.kick, t.enough)
}

func (t *frontTx) target() *frontTx {
	if o := t.instead.Load(); o != nil {
		return o
	}
	return t
}

// start makes the half usable with a ring and its pages.
func (t *frontTx) start(r *ring.Front, mem transport.Region, ch transport.Channel, c caps) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring, t.mem, t.refs = r, mem.Bytes(), mem.Refs()
	t.free = t.free[:0]
	t.inUse = make([]bool, len(t.refs))
	t.extras = 0
	for i := range t.refs {
		t.free = append(t.free, uint16(len(t.refs)-1-i))
	}
	t.open(r, ch, c, min(len(t.refs), r.Size()))
}

// stop makes it unusable: what is written is dropped from now on.
func (t *frontTx) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring, t.mem, t.refs = nil, nil, nil
	t.shut()
}

func (t *frontTx) write(frames []netif.Frame) int { return t.txHalf.write(frames, t.fill) }

// fill takes frames until there is no room.
func (t *frontTx) fill(frames []netif.Frame) (n int) {
	t.reap()
	for n < len(frames) && !t.broken {
		outs, slots, data, ok := t.plan.plan(&frames[n])
		if !ok {
			t.dev.count.txUnsendable.Add(1)
			n++
			continue
		}
		if !t.room(slots, data) {
			// Once more: responses may have come while we copied.
			if t.reap(); !t.room(slots, data) {
				t.gate.refuse(slots, data)
				break
			}
		}
		for i := range outs {
			t.put(&outs[i])
		}
		n++
	}
	return n
}

func (t *frontTx) room(slots, data int) bool {
	return t.ring.Free() >= slots && len(t.free) >= data
}

// put copies a frame into pages and writes its requests. There is room.
func (t *frontTx) put(o *outgoing) {
	slots, data := o.slots()
	at, ok := t.ring.Reserve(slots)
	if !ok {
		return
	}
	w := walker{parts: o.parts}
	left := o.length
	for i := range data {
		last := len(t.free) - 1
		id := t.free[last]
		t.free = t.free[:last]
		t.inUse[id] = true
		n := min(left, pageSize)
		left -= n
		page := t.mem[int(id)*pageSize:][:n]
		for len(page) > 0 {
			page = page[copy(page, w.next(len(page))):]
		}
		r := txRequest{ref: uint32(t.refs[id]), id: id, size: uint16(n)}
		if i == 0 {
			r.size = uint16(o.length)
			if o.blank {
				r.flags |= txChecksumBlank | txValidated
			}
			if o.gso != 0 {
				r.flags |= flagExtra
			}
		}
		if i < data-1 {
			r.flags |= flagMore
		}
		t.ring.Put(at, r.slot())
		at++
		if i == 0 && o.gso != 0 {
			t.extras++
			t.ring.Put(at, extra{kind: extraGSO, size: o.size, gso: o.gso}.slot())
			at++
		}
	}
}

// reap takes the responses that are there.
func (t *frontTx) reap() {
	n, err := t.ring.Responses()
	if err != nil {
		t.fail()
		return
	}
	for range n {
		_, v, ok := t.ring.Take()
		if !ok {
			return
		}
		id, status := txResponseOf(v)
		if status == statusNull {
			if t.extras == 0 {
				t.fail()
				return
			}
			t.extras--
			continue
		}
		if int(id) >= len(t.inUse) || !t.inUse[id] {
			t.fail()
			return
		}
		t.inUse[id] = false
		t.free = append(t.free, id)
		if status != statusOK {
			t.dev.count.txRefused.Add(1)
		}
	}
}

// enough reports whether there is room for what was refused, and asks for an event
// if there is not.
func (t *frontTx) enough() bool {
	for {
		if t.over() {
			return true
		}
		t.reap()
		if t.broken {
			return false // until the control goroutine has taken the link down
		}
		g := &t.gate
		if t.room(g.needSlots, g.needPages) {
			return true
		}
		// Half of what is outstanding, so that one event makes room for many frames.
		missing := max(g.needSlots-t.ring.Free(), g.needPages-len(t.free), t.ring.Unanswered()/2)
		if ready, err := t.ring.Arm(missing); !ready && err == nil {
			return false
		}
	}
}
