package direct

import (
	"context"
	"net"
	"sync"

	"github.com/netduet/netduet/netif"
)

// wireDevice is the interface between the stack and the script: whole IP packets,
// kept until the other side takes them. It always has room, so that no transmitter
// ever waits.
type wireDevice struct {
	mtu int

	mu     sync.Mutex
	closed bool
	in     []*netif.Buf
	out    []sent
}

// sent is a packet of the stack.
type sent struct {
	packet  []byte
	partial bool // the transport checksum was left to the device
}

var (
	_ netif.Device = (*wireDevice)(nil)
	_ netif.Queue  = (*wireDevice)(nil)
)

func (d *wireDevice) Info() netif.Info {
	return netif.Info{Name: "tun0", Link: netif.LinkIP, MTU: d.mtu, Offloads: netif.TxChecksum | netif.TxTSO4 | netif.TxTSO6}
}

func (d *wireDevice) Queues() []netif.Queue { return []netif.Queue{d} }

func (d *wireDevice) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	d.closed = true
	return nil
}

// inject makes the stack find a packet when it next looks.
func (d *wireDevice) inject(packet []byte) {
	b := netif.NewBuf(append([]byte(nil), packet...), nil)
	b.Data = b.Store()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.in = append(d.in, b)
}

// take returns what the stack has sent since the last call.
func (d *wireDevice) take() []sent {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.out
	d.out = nil
	return out
}

func (d *wireDevice) Read(bufs []*netif.Buf) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := copy(bufs, d.in)
	d.in = d.in[n:]
	if n == 0 && d.closed {
		return 0, net.ErrClosed
	}
	return n, nil
}

func (d *wireDevice) Wait(ctx context.Context) error {
	<-ctx.Done() // a stack that is polled never waits
	return ctx.Err()
}

func (d *wireDevice) Write(frames []netif.Frame) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, net.ErrClosed
	}
	for i := range frames {
		f := &frames[i]
		p := make([]byte, 0, f.Len())
		for _, part := range f.Fragments {
			p = append(p, part...)
		}
		d.out = append(d.out, sent{p, f.Meta.Flags&netif.NeedsChecksum != 0})
	}
	return len(frames), nil
}

func (d *wireDevice) Writable() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
