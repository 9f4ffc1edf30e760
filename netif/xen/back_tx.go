package xen

import (
	"sync/atomic"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen/ring"
	"github.com/netduet/netduet/netif/xen/transport"
)

// backTx sends frames to the guest: it fills the pages that the guest has posted.
type backTx struct {
	txHalf
	dev *Backend
	// instead is another queue's half if the guest uses fewer queues.
	instead atomic.Pointer[backTx]

	ring   *ring.Back
	domain transport.Domain
	ops    []transport.CopyOp
	rsps   []backResponse
}

// backResponse is one slot of an answer, and the copies it depends on.
type backResponse struct {
	slot   ring.Slot
	rsp    rxResponse
	extra  bool
	copies int // how many of ops are into its page
	whole  int // slots of the frame, in its first one
}

func (t *backTx) init(b *Backend) {
	t.dev = b
	t.txHalf.init(&b.core, b.kick, t.enough)
}

func (t *backTx) target() *backTx {
	if o := t.instead.Load(); o != nil {
		return o
	}
	return t
}

func (t *backTx) start(r *ring.Back, ch transport.Channel, d transport.Domain, c caps) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring, t.domain = r, d
	t.open(r, ch, c, r.Size())
}

func (t *backTx) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring = nil
	t.shut()
}

func (t *backTx) write(frames []netif.Frame) int { return t.txHalf.write(frames, t.fill) }

// fill takes frames until there is no room.
func (t *backTx) fill(frames []netif.Frame) (n int) {
	for n < len(frames) && !t.broken {
		if t.dev.unwanted(&frames[n]) {
			n++
			continue
		}
		outs, slots, _, ok := t.plan.plan(&frames[n])
		if !ok {
			t.dev.count.txUnsendable.Add(1)
			n++
			continue
		}
		if !t.room(slots) {
			t.gate.refuse(slots, 0)
			break
		}
		for i := range outs {
			t.put(&outs[i])
		}
		n++
		// The planner's memory is used again by the next frame.
		if t.plan.scratch || len(t.ops) >= 4*batch {
			t.flush()
		}
	}
	t.flush()
	return n
}

func (t *backTx) room(slots int) bool {
	n, err := t.ring.Requests()
	if err != nil {
		t.fail()
		return false
	}
	return n >= slots
}

// put takes requests for a frame and notes what to copy. There is room.
func (t *backTx) put(o *outgoing) {
	slots, data := o.slots()
	w := walker{parts: o.parts}
	left := o.length
	for i := range data {
		v, ok := t.ring.Take()
		if !ok {
			return
		}
		id, ref := rxRequestOf(v)
		n := min(left, pageSize)
		left -= n
		r := backResponse{rsp: rxResponse{id: id, status: int16(n)}}
		if i == 0 {
			r.whole = slots
			if o.blank {
				r.rsp.flags |= rxChecksumBlank | rxValidated
			}
			if o.gso != 0 {
				r.rsp.flags |= flagExtra
			}
		}
		if i < data-1 {
			r.rsp.flags |= flagMore
		}
		for at := 0; at < n; r.copies++ {
			b := w.next(n - at)
			t.ops = append(t.ops, transport.CopyOp{Ref: transport.Ref(ref), Offset: uint16(at), Local: b, Write: true})
			at += len(b)
		}
		t.rsps = append(t.rsps, r)
		if i == 0 && o.gso != 0 {
			// The page posted in this place goes back unused.
			if _, ok := t.ring.Take(); !ok {
				return
			}
			t.rsps = append(t.rsps, backResponse{slot: extra{kind: extraGSO, size: o.size, gso: o.gso}.slot(), extra: true})
		}
	}
}

// flush copies and answers. Nothing borrowed is kept.
func (t *backTx) flush() {
	if len(t.rsps) == 0 {
		return
	}
	failed := t.dev.cfg.Transport.Copy(t.domain, t.ops) != nil
	op := 0
	for i := range t.rsps {
		r := &t.rsps[i]
		if r.extra {
			t.ring.Put(r.slot)
			continue
		}
		bad := failed
		for range r.copies {
			bad = bad || t.ops[op].Err != nil
			op++
		}
		if bad {
			r.rsp.status = statusError
			t.dev.count.txRefused.Add(1)
		}
		t.ring.Put(r.rsp.slot())
	}
	clear(t.ops)
	t.ops, t.rsps = t.ops[:0], t.rsps[:0]
}

// enough reports whether there is room for what was refused, and asks for an event
// if there is not.
func (t *backTx) enough() bool {
	for {
		if t.over() {
			return true
		}
		if t.broken {
			return false
		}
		if t.room(t.gate.needSlots) {
			return true
		}
		// No more than the frame takes: nobody knows how many pages the guest posts.
		if ready, err := t.ring.Arm(t.gate.needSlots); !ready && err == nil {
			return false
		}
	}
}
