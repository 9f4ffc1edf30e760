package xen

import (
	"context"
	"net"

	"github.com/netduet/netduet/netif"
)

// Bounds of the pages granted for each direction of a queue. The fewest must hold
// the largest frame cut into segments of an ordinary MTU.
const (
	minPages = 64
	maxPages = 256
)

// Frontend is a guest's end of a vif: a netif.Device.
type Frontend struct {
	core
	cfg    FrontendConfig
	dir    string
	queues []*frontQueue
	list   []netif.Queue

	mon     monitor
	session *frontSession // of the control goroutine, and of Close after it
	done    chan struct{} // the control goroutine has ended
	resume  chan struct{} // one token: Resume was called
}

// Info implements netif.Device.
func (f *Frontend) Info() netif.Info { return f.info }

// Queues implements netif.Device.
func (f *Frontend) Queues() []netif.Queue { return f.list }

// Stats returns the counters.
func (f *Frontend) Stats() Stats { return f.count.stats() }

// Close implements netif.Device. It tells the back end, waits for it no longer than
// the configured timeout, and takes the granted pages back.
func (f *Frontend) Close() error {
	if f.closed.Swap(true) {
		return net.ErrClosed
	}
	close(f.closing)
	f.end()
	for _, q := range f.queues {
		q.tx.wake()
	}
	<-f.done
	return nil
}

// Resume makes the Frontend connect anew, as after a migration, of which a program
// in a guest is not told by its kernel. Grants and event channels of before are
// taken as void.
func (f *Frontend) Resume() {
	select {
	case f.resume <- struct{}{}:
	default:
	}
	select {
	case f.mon.kick <- struct{}{}:
	default:
	}
}

// kick makes the control goroutine look again.
func (f *Frontend) kick() {
	select {
	case f.mon.kick <- struct{}{}:
	default:
	}
}

// frontQueue is a netif.Queue.
type frontQueue struct {
	dev *Frontend
	tx  frontTx
	rx  frontRx
}

// Read implements netif.Queue.
func (q *frontQueue) Read(bufs []*netif.Buf) (int, error) { return q.rx.read(bufs) }

// Wait implements netif.Queue.
func (q *frontQueue) Wait(ctx context.Context) error {
	return q.rx.wait(ctx)
}

// Write implements netif.Queue.
func (q *frontQueue) Write(frames []netif.Frame) (int, error) {
	f := q.dev
	if f.closed.Load() {
		return 0, net.ErrClosed
	}
	if err := f.goneErr(); err != nil {
		return 0, err
	}
	return q.tx.target().write(frames), nil
}

// Writable implements netif.Queue.
func (q *frontQueue) Writable() <-chan struct{} {
	f := q.dev
	if f.closed.Load() || f.gone.Load() != nil {
		return f.open
	}
	return q.tx.target().writable()
}
