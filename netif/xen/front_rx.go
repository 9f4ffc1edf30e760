package xen

import (
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen/ring"
	"github.com/netduet/netduet/netif/xen/transport"
)

// frontRx is the receiving half of a queue.
//
// Responses come in the order of requests, so the position in the ring tells which
// page one is about; the id in it is only compared. Extra information takes the
// place of a response, and the page of that place goes back unused.
type frontRx struct {
	rxHalf
	dev  *Frontend
	ring *ring.Front
	mem  []byte
	refs []transport.Ref
	page []uint16 // by position in the ring: the page posted there
	part assembly
}

// assembly is a frame of which some slots have come.
type assembly struct {
	buf    *netif.Buf
	active bool // some have come, more will
	bad    bool // it will be dropped
	extra  bool // the next slot is extra information
	more   bool // data follow
	blank  bool
	valid  bool
	slots  int
	gso    byte
	size   uint16
}

func (r *frontRx) init(f *Frontend) {
	r.dev = f
	r.rxHalf.init(&f.core, f.kick)
}

// start makes the half usable; all pages are posted.
func (r *frontRx) start(rg *ring.Front, mem transport.Region, page []uint16, ch transport.Channel) {
	r.mu.Lock()
	r.ring, r.mem, r.refs, r.page = rg, mem.Bytes(), mem.Refs(), page
	r.part = assembly{}
	r.open(rg, ch)
	r.mu.Unlock()
	r.bell.ring()
}

// post gives every page to a new ring and returns which one is where.
func post(rg *ring.Front, refs []transport.Ref) (page []uint16) {
	page = make([]uint16, rg.Size())
	n := min(len(refs), rg.Size())
	at, _ := rg.Reserve(n)
	for i := range n {
		rg.Put(at, rxRequest(uint16(i), uint32(refs[i])))
		page[rg.Index(at)] = uint16(i)
		at++
	}
	rg.Push()
	return page
}

// stop keeps what has arrived and makes the half unusable.
func (r *frontRx) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.live {
		return
	}
	var bufs [batch]*netif.Buf
	for {
		n := r.take(bufs[:])
		if n == 0 {
			break
		}
		r.left = append(r.left, bufs[:n]...)
	}
	if r.part.buf != nil {
		r.part.buf.Release()
	}
	r.part = assembly{}
	r.ring, r.mem, r.refs, r.page = nil, nil, nil, nil
	r.shut()
}

func (r *frontRx) read(bufs []*netif.Buf) (n int, err error) {
	return r.rxHalf.read(bufs, r.take)
}

// take takes responses until bufs is full or none are left, and posts their pages
// again.
func (r *frontRx) take(bufs []*netif.Buf) (n int) {
	if r.broken {
		return 0
	}
	for n < len(bufs) {
		k, err := r.ring.Responses()
		if err != nil {
			r.fail()
			return n
		}
		if k == 0 {
			return n
		}
		for ; k > 0 && n < len(bufs); k-- {
			at, v, ok := r.ring.Take()
			if !ok {
				return n
			}
			id := r.page[r.ring.Index(at)]
			if b := r.slot(v, id); b != nil {
				bufs[n] = b
				n++
			}
			// Its data are copied: the page can be filled again.
			if next, ok := r.ring.Reserve(1); ok {
				r.page[r.ring.Index(next)] = id
				r.ring.Put(next, rxRequest(id, uint32(r.refs[id])))
			}
		}
	}
	return n
}

// slot takes one slot, where page id was posted. It returns a frame if that is
// complete now, and good.
func (r *frontRx) slot(v ring.Slot, id uint16) *netif.Buf {
	a := &r.part
	if a.extra {
		e := extraOf(v)
		if e.kind == extraGSO {
			a.gso, a.size = e.gso, e.size
			a.bad = a.bad || e.gso == 0
		}
		a.extra = e.flags&extraMore != 0
		a.count()
	} else {
		rsp := rxResponseOf(v)
		if !a.active {
			*a = assembly{active: true, blank: rsp.flags&rxChecksumBlank != 0, valid: rsp.flags&rxValidated != 0}
			a.extra = rsp.flags&flagExtra != 0
		}
		a.more = rsp.flags&flagMore != 0
		a.count()
		r.data(rsp, id)
	}
	if a.extra || a.more {
		return nil
	}
	return r.finish()
}

func (a *assembly) count() {
	if a.slots++; a.slots > maxSlots+maxExtras {
		a.bad = true
	}
}

// data copies what one response says is in its page.
func (r *frontRx) data(rsp rxResponse, id uint16) {
	a := &r.part
	if rsp.id != id || rsp.status < 0 || int(rsp.offset)+int(rsp.status) > pageSize {
		a.bad = true
	}
	if a.bad {
		return
	}
	n := int(rsp.status)
	if a.buf == nil {
		if a.more {
			a.buf = r.large.get(r.dev.large)
		} else {
			a.buf = r.small.get(r.dev.small)
		}
	}
	b := a.buf
	if len(b.Data)+n > cap(b.Data) {
		a.bad = true
		return
	}
	b.Data = append(b.Data, r.mem[int(id)*pageSize+int(rsp.offset):][:n]...)
}

// finish ends a frame.
func (r *frontRx) finish() *netif.Buf {
	a := r.part
	r.part = assembly{}
	f := r.dev
	if !a.bad && len(a.buf.Data) >= etherLen {
		var ok bool
		a.buf.Meta, ok = received(a.buf.Data, a.blank, a.valid, a.gso, a.size)
		switch {
		case !ok:
		case a.buf.Meta.GSO != netif.GSONone && !f.info.Offloads.Has(netif.RxGSO):
		case a.buf.Meta.Flags&netif.NeedsChecksum != 0 && !f.info.Offloads.Has(netif.RxChecksum):
		case !f.fits(a.buf):
			f.count.rxOversized.Add(1)
			r.drop(a.buf)
			return nil
		default:
			return a.buf
		}
	}
	f.count.rxMalformed.Add(1)
	if a.buf != nil {
		r.drop(a.buf)
	}
	return nil
}

func (r *frontRx) drop(b *netif.Buf) {
	if len(b.Store()) == r.dev.small.Size() {
		r.small.put(b)
	} else {
		r.large.put(b)
	}
}
