package xen

import (
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen/ring"
	"github.com/netduet/netduet/netif/xen/transport"
)

// backRx receives what the guest transmits: it copies frames out of the guest's
// pages, many in one call, and answers each slot.
type backRx struct {
	rxHalf
	dev    *Backend
	ring   *ring.Back
	domain transport.Domain

	// Of the batch under way: what is copied, the frames, and their slots.
	ops    []transport.CopyOp
	frames []incoming
	slots  []answer
}

// incoming is one frame of a batch.
type incoming struct {
	buf    *netif.Buf // nil if it is bad already
	blank  bool
	valid  bool
	gso    byte
	size   uint16
	copies int // how many of ops
	slots  int // how many answers
	ok     bool
}

// answer is one response to be: a request's, or that to extra information.
type answer struct {
	id   uint16
	null bool
}

func (r *backRx) init(b *Backend) {
	r.dev = b
	r.rxHalf.init(&b.core, b.kick)
}

func (r *backRx) start(rg *ring.Back, ch transport.Channel, d transport.Domain) {
	r.mu.Lock()
	r.ring, r.domain = rg, d
	r.open(rg, ch)
	r.mu.Unlock()
	r.bell.ring()
}

// stop keeps what has arrived and makes the half unusable.
func (r *backRx) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.live {
		return
	}
	var bufs [batch]*netif.Buf
	for {
		n := r.take(bufs[:])
		r.left = append(r.left, bufs[:n]...)
		if k, err := r.ring.Requests(); k == 0 || err != nil || r.broken {
			break
		}
	}
	r.ring = nil
	r.shut()
}

func (r *backRx) read(bufs []*netif.Buf) (n int, err error) {
	return r.rxHalf.read(bufs, r.takeSome)
}

// takeSome is take until there is a frame or nothing is left.
func (r *backRx) takeSome(bufs []*netif.Buf) (n int) {
	for {
		// A batch of bad frames yields none, and more may lie behind it.
		n = r.take(bufs)
		if n > 0 || r.broken {
			return n
		}
		if k, err := r.ring.Requests(); k == 0 || err != nil {
			return 0
		}
	}
}

// take takes at most len(bufs) frames, copies them together and answers them. It
// returns the good ones.
func (r *backRx) take(bufs []*netif.Buf) (n int) {
	if r.broken {
		return 0
	}
	left, err := r.ring.Requests()
	if err != nil {
		r.fail()
		return 0
	}
	for left > 0 && len(r.frames) < len(bufs) && !r.broken {
		left -= r.parse(left)
	}
	if len(r.ops) > 0 && r.dev.cfg.Transport.Copy(r.domain, r.ops) != nil {
		for i := range r.ops {
			r.ops[i].Err = transport.ErrBadGrant
		}
	}
	op, at := 0, 0
	for i := range r.frames {
		f := &r.frames[i]
		for range f.copies {
			f.ok = f.ok && r.ops[op].Err == nil
			op++
		}
		status := int16(statusOK)
		if !f.ok {
			status = statusError
			r.dev.count.rxMalformed.Add(1)
		}
		for _, a := range r.slots[at : at+f.slots] {
			if a.null {
				r.ring.Put(txResponse(a.id, statusNull))
			} else {
				r.ring.Put(txResponse(a.id, status))
			}
		}
		at += f.slots
		if b := r.finish(f); b != nil {
			bufs[n] = b
			n++
		}
	}
	clear(r.ops)
	clear(r.frames)
	r.ops, r.frames, r.slots = r.ops[:0], r.frames[:0], r.slots[:0]
	return n
}

// parse takes the slots of one frame, of which there are left, and notes what to
// copy. It returns how many it took. A frame that ends past what was published, or
// has more slots than a frame can have, breaks the protocol.
func (r *backRx) parse(left int) (took int) {
	next := func() (ring.Slot, bool) {
		if took == left {
			r.fail()
			return ring.Slot{}, false
		}
		took++
		return r.ring.Take()
	}
	v, ok := next()
	if !ok {
		return took
	}
	first := txRequestOf(v)
	f := incoming{blank: first.flags&txChecksumBlank != 0, valid: first.flags&txValidated != 0, slots: 1}
	r.slots = append(r.slots, answer{id: first.id})
	control, granted := false, false
	for more := first.flags&flagExtra != 0; more; {
		v, ok := next()
		if !ok {
			return took
		}
		e := extraOf(v)
		switch e.kind {
		case extraGSO:
			f.gso, f.size = e.gso, e.size
		case extraMulticastOn, extraMulticastNo:
			control = true
			granted = r.dev.multicast(e.kind == extraMulticastOn, e.addr)
		}
		f.slots++
		r.slots = append(r.slots, answer{null: true})
		more = e.flags&extraMore != 0
	}
	// The first slot's size is the whole frame's; its own is what the others leave.
	var rest [maxSlots]txRequest
	n, others := 0, 0
	for more := first.flags&flagMore != 0; more; {
		v, ok := next()
		if !ok {
			return took
		}
		q := txRequestOf(v)
		f.slots++
		r.slots = append(r.slots, answer{id: q.id})
		if n < len(rest) {
			rest[n] = q
		}
		n++
		others += int(q.size)
		more = q.flags&flagMore != 0
	}
	total := int(first.size)
	f.ok = !control && total >= etherLen && n < maxSlots && others < total
	if f.ok {
		own := first
		own.size = uint16(total - others)
		f.ok = inPage(own)
		for _, q := range rest[:min(n, len(rest))] {
			f.ok = f.ok && inPage(q) && q.size > 0
		}
		if f.ok {
			r.fetch(&f, own, rest[:n], total)
		}
	}
	if control && granted {
		// Nothing to deliver: it is answered, and that is all.
		f.ok = true
	}
	r.frames = append(r.frames, f)
	return took
}

func inPage(q txRequest) bool { return int(q.offset)+int(q.size) <= pageSize }

// fetch notes the copies of a frame's slots.
func (r *backRx) fetch(f *incoming, first txRequest, rest []txRequest, total int) {
	if total <= pageSize {
		f.buf = r.small.get(r.dev.small)
	} else {
		f.buf = r.large.get(r.dev.large)
	}
	f.buf.Data = f.buf.Store()[:total]
	at := 0
	one := func(q txRequest) {
		r.ops = append(r.ops, transport.CopyOp{Ref: transport.Ref(q.ref), Offset: q.offset, Local: f.buf.Data[at : at+int(q.size)]})
		at += int(q.size)
		f.copies++
	}
	one(first)
	for _, q := range rest {
		one(q)
	}
}

// finish ends a frame: it is returned if it is good.
func (r *backRx) finish(f *incoming) *netif.Buf {
	if f.buf == nil {
		return nil
	}
	b := r.dev
	if f.ok {
		var ok bool
		f.buf.Meta, ok = received(f.buf.Data, f.blank, f.valid, f.gso, f.size)
		switch {
		case !ok, f.buf.Meta.GSO != netif.GSONone && !b.info.Offloads.Has(netif.RxGSO),
			f.buf.Meta.Flags&netif.NeedsChecksum != 0 && !b.info.Offloads.Has(netif.RxChecksum):
			b.count.rxMalformed.Add(1)
		case !b.fits(f.buf):
			b.count.rxOversized.Add(1)
		default:
			return f.buf
		}
	}
	if len(f.buf.Store()) == b.small.Size() {
		r.small.put(f.buf)
	} else {
		r.large.put(f.buf)
	}
	return nil
}
