package fdqueue

import (
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif"
)

// writer is the state of one Write call; several may be under way at once.
type writer struct {
	to      Sender
	onWrite func(fd uintptr)
	frames  []netif.Frame
	n       int
	err     error
}

func (w *writer) writeAll(fd uintptr) { w.n, w.err = w.to.Send(int(fd), w.frames) }

// Write implements netif.Queue.
func (q *Queue) Write(frames []netif.Frame) (int, error) {
	w := q.writers.Get().(*writer)
	w.frames = frames
	closed := q.conn.Control(w.onWrite)
	n, err := w.n, w.err
	w.frames, w.n, w.err = nil, 0, nil
	q.writers.Put(w)
	switch {
	case closed != nil || q.closed.Load() && n < len(frames):
		return n, net.ErrClosed
	case err == ErrFull:
		q.room.await(q.conn)
		return n, nil
	}
	return n, err
}

// room is what a short Write waits for. A goroutine exists only while one does.
type room struct {
	mu    sync.Mutex
	wake  chan struct{} // closed when there is room, nil while there is
	group sync.WaitGroup
	over  bool // the device was closed: nobody is to be started any more
}

// await has the poller tell when conn takes frames again.
func (r *room) await(conn syscall.RawConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wake != nil || r.over {
		return
	}
	r.wake = make(chan struct{})
	r.group.Go(func() {
		conn.Write(func(fd uintptr) bool {
			// Asked after the poller was readied, or room that came before would be missed.
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			n, err := unix.Poll(p, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		close(r.wake)
		r.wake = nil
	})
}

// Writable implements netif.Queue.
func (q *Queue) Writable() <-chan struct{} {
	q.room.mu.Lock()
	defer q.room.mu.Unlock()
	if q.room.wake == nil {
		return q.free
	}
	return q.room.wake
}

// end waits for the goroutine, which ends because the file was closed.
func (r *room) end() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.group.Wait()
}
