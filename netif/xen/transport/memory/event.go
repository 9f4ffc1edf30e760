package memory

import (
	"fmt"
	"sync"

	"github.com/netduet/netduet/netif/xen/transport"
)

// Channel is one end of an event channel; it implements transport.Channel.
//
// A port has a pending and a mask bit, as in the real hypervisor: an event sets
// pending, and the handler is called when it is set and the port not masked, which
// clears it. A port is masked until it has a handler.
type Channel struct {
	owner *Domain
	port  transport.Port
	peer  transport.Domain // who may bind, or has bound

	mu      sync.Mutex
	idle    sync.Cond // running became false
	other   *Channel  // the bound other end
	handler func()
	pending bool
	masked  bool
	running bool // the handler is being called
	closed  bool
	events  int
}

func (d *Domain) newChannel(peer transport.Domain) (*Channel, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, transport.ErrClosed
	}
	c := &Channel{owner: d, port: d.nextPort, peer: peer, masked: true}
	c.idle.L = &c.mu
	d.nextPort++
	d.ports[c.port] = c
	return c, nil
}

// Listen implements transport.Transport.
func (d *Domain) Listen(peer transport.Domain) (transport.Channel, error) {
	c, err := d.newChannel(peer)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Bind implements transport.Transport. The new end begins with an event pending,
// as the real hypervisor has it, so that one sent before the binding is not lost.
func (d *Domain) Bind(peer transport.Domain, port transport.Port) (transport.Channel, error) {
	bad := fmt.Errorf("xen: domain %d does not listen on port %d for domain %d", peer, port, d.id)
	from := d.hv.find(peer)
	if from == nil {
		return nil, bad
	}
	from.mu.Lock()
	far := from.ports[port]
	from.mu.Unlock()
	if far == nil {
		return nil, bad
	}
	c, err := d.newChannel(peer)
	if err != nil {
		return nil, err
	}
	c.pending = true
	c.other = far
	far.mu.Lock()
	ok := !far.closed && far.other == nil && far.peer == d.id
	if ok {
		far.other = c
	}
	far.mu.Unlock()
	if !ok {
		c.mu.Lock()
		c.other = nil
		c.mu.Unlock()
		c.Close()
		return nil, bad
	}
	return c, nil
}

// Port implements transport.Channel.
func (c *Channel) Port() transport.Port { return c.port }

// Events returns how often the handler was called.
func (c *Channel) Events() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events
}

// Notify implements transport.Channel.
func (c *Channel) Notify() error {
	c.mu.Lock()
	far, closed := c.other, c.closed
	c.mu.Unlock()
	if closed {
		return transport.ErrClosed
	}
	if far == nil {
		return nil
	}
	if p := c.owner.hv.delivery.Load(); p != nil {
		(*p)(far.owner.id, far.port, far.Raise)
		return nil
	}
	far.Raise()
	return nil
}

// Raise makes an event at this end, as the other end's Notify would, and as a
// spurious one does.
func (c *Channel) Raise() {
	c.mu.Lock()
	c.pending = true
	c.deliver()
}

// deliver calls the handler while there is something to deliver. It is entered
// with the lock held and returns without.
func (c *Channel) deliver() {
	for !c.running && c.pending && !c.masked && !c.closed && c.handler != nil {
		c.pending, c.running = false, true
		c.events++
		h := c.handler
		c.mu.Unlock()
		h()
		c.mu.Lock()
		c.running = false
		c.idle.Broadcast()
	}
	c.mu.Unlock()
}

// Handle implements transport.Channel.
func (c *Channel) Handle(h func()) {
	c.mu.Lock()
	if c.handler != nil {
		c.mu.Unlock()
		panic("memory: a channel has one handler")
	}
	c.handler, c.masked = h, false
	c.deliver()
}

// Mask holds events back: they stay pending until Unmask.
func (c *Channel) Mask() {
	c.mu.Lock()
	c.masked = true
	c.mu.Unlock()
}

// Unmask lets events in again and delivers one that is pending.
func (c *Channel) Unmask() {
	c.mu.Lock()
	c.masked = false
	c.deliver()
}

// Close implements transport.Channel.
func (c *Channel) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	for c.running {
		c.idle.Wait()
	}
	far := c.other
	c.other = nil
	c.mu.Unlock()
	if far != nil {
		far.mu.Lock()
		// The far end is as it was before it was bound, but nobody can bind it again:
		// its owner has told the number to one domain for one connection.
		if far.other == c {
			far.other = nil
			far.peer = c.owner.id
		}
		far.mu.Unlock()
	}
	c.owner.mu.Lock()
	delete(c.owner.ports, c.port)
	c.owner.mu.Unlock()
	return nil
}
