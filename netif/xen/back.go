package xen

import (
	"context"
	"net"
	"sync"

	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/netif"
)

// Backend is the serving end of a vif: a netif.Device, to be joined to other
// devices by whatever switches, routes or filters.
//
// It is there before its guest and stays when that restarts: while no guest is
// connected its link is down.
type Backend struct {
	core
	cfg    BackendConfig
	dir    string
	queues []*backQueue
	list   []netif.Queue

	mon     monitor
	session *backSession // of the control goroutine
	done    chan struct{}
	up      chan struct{} // closed with the first connection

	// filter is what a guest with multicast control wants to see.
	filter struct {
		mu   sync.RWMutex
		on   bool
		want map[ethernet.Addr]struct{}
	}
}

// maxMulticast bounds the addresses that a guest may ask for, as Linux does.
const maxMulticast = 64

// Info implements netif.Device.
func (b *Backend) Info() netif.Info { return b.info }

// Queues implements netif.Device.
func (b *Backend) Queues() []netif.Queue { return b.list }

// Stats returns the counters.
func (b *Backend) Stats() Stats { return b.count.stats() }

// Connected waits until a guest is connected for the first time.
func (b *Backend) Connected(ctx context.Context) error {
	select {
	case <-b.up:
		return nil
	case <-b.ended:
		if b.closed.Load() {
			return net.ErrClosed
		}
		return b.goneErr()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close implements netif.Device. It tells the guest, waits for it no longer than the
// configured timeout, and lets go of its pages.
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return net.ErrClosed
	}
	close(b.closing)
	b.end()
	for _, q := range b.queues {
		q.tx.wake()
	}
	<-b.done
	return nil
}

func (b *Backend) kick() {
	select {
	case b.mon.kick <- struct{}{}:
	default:
	}
}

// multicast takes one request of the guest's.
func (b *Backend) multicast(add bool, a ethernet.Addr) bool {
	b.filter.mu.Lock()
	defer b.filter.mu.Unlock()
	if !a.IsMulticast() || !b.filter.on {
		return false
	}
	if !add {
		delete(b.filter.want, a)
		return true
	}
	if _, ok := b.filter.want[a]; !ok && len(b.filter.want) >= maxMulticast {
		return false
	}
	b.filter.want[a] = struct{}{}
	return true
}

// unwanted reports whether the guest does not want to see a frame: it is for a
// group that the guest has not asked for. Broadcasts always pass.
func (b *Backend) unwanted(f *netif.Frame) bool {
	if len(f.Fragments) == 0 || len(f.Fragments[0]) < 6 || f.Fragments[0][0]&1 == 0 {
		return false
	}
	b.filter.mu.RLock()
	defer b.filter.mu.RUnlock()
	if !b.filter.on {
		return false
	}
	a := ethernet.Addr(f.Fragments[0][:6])
	_, ok := b.filter.want[a]
	return !ok && !a.IsBroadcast()
}

// backQueue is a netif.Queue.
type backQueue struct {
	dev *Backend
	tx  backTx
	rx  backRx
}

// Read implements netif.Queue.
func (q *backQueue) Read(bufs []*netif.Buf) (int, error) { return q.rx.read(bufs) }

// Wait implements netif.Queue.
func (q *backQueue) Wait(ctx context.Context) error {
	return q.rx.wait(ctx)
}

// Write implements netif.Queue.
func (q *backQueue) Write(frames []netif.Frame) (int, error) {
	b := q.dev
	if b.closed.Load() {
		return 0, net.ErrClosed
	}
	if err := b.goneErr(); err != nil {
		return 0, err
	}
	return q.tx.target().write(frames), nil
}

// Writable implements netif.Queue.
func (q *backQueue) Writable() <-chan struct{} {
	b := q.dev
	if b.closed.Load() || b.gone.Load() != nil {
		return b.open
	}
	return q.tx.target().writable()
}
