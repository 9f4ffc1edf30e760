package fdqueue

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/netduet/netduet/netif"
)

// ErrDry is what a Receiver returns when nothing has arrived.
var ErrDry = errors.New("nothing to read")

// ErrFull is what a Sender returns when the kernel has no room.
var ErrFull = errors.New("no room")

// Receiver reads frames. It belongs to the goroutine that reads the queue.
type Receiver interface {
	// Receive fills bufs, of which there is at least one, from the front. It returns
	// n > 0 frames and no error, or none and ErrDry, or none and why there will never
	// be one again. It may stop before bufs is full and there is more.
	Receive(fd int, bufs []*netif.Buf) (n int, err error)
}

// Sender writes frames. One call uses it at a time; a queue has as many as there
// are calls at once.
type Sender interface {
	// Send sends the frames in order and returns how many were taken, by the kernel
	// or into the void because they can never be sent. The error says why the rest
	// was not: ErrFull, or why the device is no more.
	Send(fd int, frames []netif.Frame) (n int, err error)
}

// Queue is one descriptor.
//
// The file is non-blocking and registered with the runtime's poller. Read and
// Write call the kernel through RawConn.Control, which keeps the descriptor open
// for the call and looks at no deadline; only Wait goes through RawConn.Read, so
// a read deadline serves to cancel Wait and disturbs nothing else.
type Queue struct {
	file   *os.File
	conn   syscall.RawConn
	closed atomic.Bool
	free   chan struct{} // closed: what Writable returns while there is room

	reader  reader
	cancel  canceler
	writers sync.Pool // *writer
	room    room
}

// reader is the state of the goroutine that reads. The callbacks are made once,
// since a closure made per call would be an allocation per call.
type reader struct {
	from   Receiver
	onRead func(fd uintptr)
	onWait func(fd uintptr) bool

	into []*netif.Buf  // where onRead puts frames
	n    int           // how many it put there
	held [1]*netif.Buf // read by Wait and owed to the next Read
	gone error         // why the device will never have a frame again

	tries int  // how often the Wait under way looked
	burst int  // frames read since a Wait last slept
	alone bool // held came after a sleep, and so did each of the last frames
}

// New takes fd over, which is non-blocking already and ready for epoll: a tap must
// be attached. newSender is called from any goroutine.
func New(fd int, name string, from Receiver, newSender func() Sender) *Queue {
	q := &Queue{free: make(chan struct{})}
	close(q.free)
	q.file = os.NewFile(uintptr(fd), name)
	q.conn, _ = q.file.SyscallConn() // fails for a nil file only
	q.reader.from = from
	q.reader.onRead = q.readAll
	q.reader.onWait = q.readOrWait
	q.writers.New = func() any {
		w := &writer{to: newSender()}
		w.onWrite = w.writeAll
		return w
	}
	return q
}

// Close ends the queue: Wait, Read and Write return net.ErrClosed from then on.
// When it has returned, the descriptor is closed and no goroutine is left. It is
// called once.
func (q *Queue) Close() {
	q.closed.Store(true)
	q.cancel.disarm()
	q.file.Close()
	q.room.end()
}

// Wake ends every Wait, now and later: for a Receiver that has learned elsewhere why
// there will be no frame any more, and answers so from then on.
func (q *Queue) Wake() { q.cancel.wake(q.file) }

// Control calls f with the descriptor, which stays open during the call.
func (q *Queue) Control(f func(fd uintptr)) error { return q.conn.Control(f) }

// Read implements netif.Queue.
func (q *Queue) Read(bufs []*netif.Buf) (int, error) {
	r := &q.reader
	n := 0
	if len(bufs) > 0 && r.held[0] != nil {
		bufs[0], r.held[0] = r.held[0], nil
		n = 1
		if r.alone {
			return 1, nil
		}
	}
	if n < len(bufs) && r.gone == nil {
		r.into, r.n = bufs[n:], 0
		err := q.conn.Control(r.onRead)
		n += r.n
		r.burst += r.n
		r.into = nil
		if err != nil && n == 0 {
			return 0, net.ErrClosed
		}
	}
	if n == 0 && len(bufs) > 0 {
		if q.closed.Load() {
			return 0, net.ErrClosed
		}
		return 0, r.gone
	}
	return n, nil
}

// readAll fills r.into as far as the receiver does.
func (q *Queue) readAll(fd uintptr) {
	r := &q.reader
	n, err := r.from.Receive(int(fd), r.into)
	r.n = n
	if err != nil && err != ErrDry {
		r.gone = err
	}
}

// readOrWait is called when the poller may have something, and before.
func (q *Queue) readOrWait(fd uintptr) bool {
	r := &q.reader
	r.tries++
	_, err := r.from.Receive(int(fd), r.held[:])
	if err == ErrDry {
		return false
	}
	r.gone = err
	return true
}

// Wait implements netif.Queue. It reads the first frame itself, because the
// poller tells of changes only: whoever slept without having found the queue dry
// might sleep on a full one.
//
// Where frames come one at a time, question and answer, the Read that follows does
// not look for another, because the Wait after that looks anyway: one system call
// less for each. If another had come, that Wait does not sleep, and from then on
// Read reads on until one does after a single frame.
func (q *Queue) Wait(ctx context.Context) error {
	r := &q.reader
	if q.closed.Load() {
		return net.ErrClosed
	}
	if r.held[0] != nil || r.gone != nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !q.cancel.arm(ctx, q.file) {
		return net.ErrClosed
	}
	r.tries = 0
	if err := q.conn.Read(r.onWait); err != nil {
		if q.closed.Load() {
			return net.ErrClosed
		}
		return ctx.Err()
	}
	if slept := r.tries > 1; slept {
		r.alone, r.burst = r.burst == 1, 0
	} else {
		r.alone = false
	}
	r.burst++
	return nil
}
