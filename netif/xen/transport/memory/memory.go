// Package memory is a hypervisor in memory: several domains in one process, with
// grant tables, event channels and a xenstore, as package transport wants them. It
// is for tests, and for drivers of both halves that live in one process.
//
// It checks what the real one checks (who granted what to whom, who may bind a
// port, who may write where) and fails as that does. It has no goroutines and never
// looks at the time, so it works in a testing/synctest bubble, unless a Delivery
// policy brings its own. What it cannot do is protect memory: a page granted for
// reading can be written through Map, as Go has no read-only memory, but not
// through Copy.
//
// Locks: each domain's tables, the store and each port have locks of their own,
// all leaves; handlers and policies run without any.
package memory

import (
	"sync"
	"sync/atomic"

	"github.com/netduet/netduet/netif/xen/transport"
)

// Delivery decides what becomes of one event on its way to a port: deliver hands
// it over, and may be called never, later, or several times, from any goroutine.
type Delivery func(to transport.Domain, port transport.Port, deliver func())

// Hypervisor joins domains.
type Hypervisor struct {
	store    *store
	delivery atomic.Pointer[Delivery]

	mu      sync.Mutex
	domains map[transport.Domain]*Domain
	maxRefs int
}

// New returns a hypervisor without domains.
func New() *Hypervisor {
	return &Hypervisor{store: newStore(), domains: make(map[transport.Domain]*Domain), maxRefs: 1 << 16}
}

// SetGrantLimit sets how many pages each domain may have granted at once.
func (h *Hypervisor) SetGrantLimit(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.maxRefs = n
}

// SetDelivery sets the policy for events from now on; nil delivers each at once.
func (h *Hypervisor) SetDelivery(d Delivery) {
	if d == nil {
		h.delivery.Store(nil)
		return
	}
	h.delivery.Store(&d)
}

// Domain returns domain id, and makes it if it is not there. After Close of the
// domain the next call makes a new one of that number, as after a restart.
func (h *Hypervisor) Domain(id transport.Domain) *Domain {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.domains[id]
	if d == nil {
		d = &Domain{hv: h, id: id, grants: make(map[transport.Ref]*grant), ports: make(map[transport.Port]*Channel), nextRef: 8, nextPort: 1}
		h.domains[id] = d
	}
	return d
}

func (h *Hypervisor) find(id transport.Domain) *Domain {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.domains[id]
}

// Domain is one domain; it implements transport.Transport.
type Domain struct {
	hv *Hypervisor
	id transport.Domain

	mu       sync.Mutex
	closed   bool
	grants   map[transport.Ref]*grant
	nextRef  transport.Ref
	ports    map[transport.Port]*Channel
	nextPort transport.Port
	maps     int
}

// ID returns the domain's number.
func (d *Domain) ID() transport.Domain { return d.id }

// Grants returns how many pages are granted to others at the moment.
func (d *Domain) Grants() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.grants)
}

// Mapped returns how many pages of others are mapped at the moment.
func (d *Domain) Mapped() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.maps
}

// Ports returns how many event channels are open at the moment.
func (d *Domain) Ports() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ports)
}

// Store implements transport.Transport.
func (d *Domain) Store() transport.Store { return &domainStore{store: d.hv.store, id: d.id, owner: d} }

// Close ends the domain as a crash would: without a word to anybody. What it had
// granted stays in the memory of who has it mapped; its xenstore stays as it was.
func (d *Domain) Close() error {
	d.hv.mu.Lock()
	if d.hv.domains[d.id] == d {
		delete(d.hv.domains, d.id)
	}
	d.hv.mu.Unlock()
	d.mu.Lock()
	d.closed = true
	clear(d.grants)
	var ports []*Channel
	for _, p := range d.ports {
		ports = append(ports, p)
	}
	d.mu.Unlock()
	for _, p := range ports {
		p.Close()
	}
	d.hv.store.forget(d)
	return nil
}

// grant is one entry of a grant table.
type grant struct {
	to       transport.Domain
	page     []byte
	writable bool
}

// region is a transport.Region.
type region struct {
	bytes   []byte
	refs    []transport.Ref
	release func()
	once    sync.Once
}

func (r *region) Bytes() []byte         { return r.bytes }
func (r *region) Refs() []transport.Ref { return r.refs }
func (r *region) Close() error {
	r.once.Do(r.release)
	return nil
}

// Grant implements transport.Transport.
func (d *Domain) Grant(peer transport.Domain, pages int, writable bool) (transport.Region, error) {
	d.hv.mu.Lock()
	limit := d.hv.maxRefs
	d.hv.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, transport.ErrClosed
	}
	if pages < 1 || len(d.grants)+pages > limit {
		return nil, transport.ErrGrants
	}
	r := &region{bytes: make([]byte, pages*transport.PageSize)}
	for i := range pages {
		// References are never reused, so that a stale one is found out, and have gaps,
		// so that nobody counts on their order.
		d.nextRef += 1 + d.nextRef%3
		d.grants[d.nextRef] = &grant{to: peer, page: r.bytes[i*transport.PageSize:][:transport.PageSize:transport.PageSize], writable: writable}
		r.refs = append(r.refs, d.nextRef)
	}
	r.release = func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, ref := range r.refs {
			delete(d.grants, ref)
		}
	}
	return r, nil
}

// lookup finds a page that d granted to domain to.
func (d *Domain) lookup(to transport.Domain, ref transport.Ref, write bool) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.grants[ref]
	if g == nil || g.to != to || write && !g.writable {
		return nil, transport.ErrBadGrant
	}
	return g.page, nil
}

// Map implements transport.Transport.
func (d *Domain) Map(peer transport.Domain, ref transport.Ref) (transport.Region, error) {
	from := d.hv.find(peer)
	if from == nil {
		return nil, transport.ErrBadGrant
	}
	page, err := from.lookup(d.id, ref, true)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, transport.ErrClosed
	}
	d.maps++
	return &region{bytes: page, refs: []transport.Ref{ref}, release: func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.maps--
	}}, nil
}

// Copy implements transport.Transport.
func (d *Domain) Copy(peer transport.Domain, ops []transport.CopyOp) error {
	from := d.hv.find(peer)
	for i := range ops {
		o := &ops[i]
		if o.Err = o.Check(); o.Err != nil {
			continue
		}
		if from == nil {
			o.Err = transport.ErrBadGrant
			continue
		}
		page, err := from.lookup(d.id, o.Ref, o.Write)
		if err != nil {
			o.Err = err
			continue
		}
		if o.Write {
			copy(page[o.Offset:], o.Local)
		} else {
			copy(o.Local, page[o.Offset:])
		}
	}
	return nil
}
