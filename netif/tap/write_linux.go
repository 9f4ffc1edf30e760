package tap

import (
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif"
)

// maxFragments is Info.MaxFragments: 64 KiB in pieces of 1 KiB. The kernel takes
// up to 1024 (UIO_MAXIOV).
const maxFragments = 64

// writer is the state of one Write call; several may be under way at once.
type writer struct {
	q       *queue
	onWrite func(fd uintptr)
	frames  []netif.Frame
	n       int   // frames taken
	full    bool  // the kernel had no room for frames[n]
	gone    error // the device is no more

	hdr [maxVNetHdrLen]byte
	iov [1 + maxFragments]unix.Iovec
}

// Write implements netif.Queue: one writev(2) a frame.
func (q *queue) Write(frames []netif.Frame) (int, error) {
	w := q.writers.Get().(*writer)
	w.frames = frames
	err := q.conn.Control(w.onWrite)
	n, full, gone := w.n, w.full, w.gone
	w.frames, w.n, w.full, w.gone = nil, 0, false, nil
	q.writers.Put(w)
	switch {
	case err != nil || q.dev.closed.Load() && n < len(frames):
		return n, net.ErrClosed
	case gone != nil:
		return n, gone
	case full:
		q.room.await(q.conn)
	}
	return n, nil
}

// writeAll sends until all is sent or the kernel has no room.
func (w *writer) writeAll(fd uintptr) {
	for w.n < len(w.frames) {
		switch err := w.writeOne(fd, &w.frames[w.n]); err {
		case nil:
		case unix.EIO:
			// The link is down: a frame into an unplugged cable.
			w.q.dev.count.txDown.Add(1)
		case unix.EAGAIN:
			w.full = true
			return
		case unix.EBADFD, unix.EBADF, unix.ENODEV, unix.ENXIO:
			w.gone = w.q.goneError(err)
			return
		default:
			w.q.dev.count.txRefused.Add(1)
		}
		w.n++
	}
}

// writeOne sends one frame. One that could never be sent counts as sent.
func (w *writer) writeOne(fd uintptr, f *netif.Frame) error {
	d := w.q.dev
	if len(f.Fragments) > maxFragments || !d.sendable(f, f.Len()) {
		d.count.txUnsendable.Add(1)
		return nil
	}
	n := 0
	if w.q.hdr > 0 {
		h := w.hdr[:w.q.hdr]
		encodeVNet(h, w.q.order, &f.Meta)
		w.iov[0].Base = &h[0]
		w.iov[0].SetLen(len(h))
		n = 1
	}
	for _, p := range f.Fragments {
		if len(p) > 0 {
			w.iov[n].Base = &p[0]
			w.iov[n].SetLen(len(p))
			n++
		}
	}
	var errno syscall.Errno
	for {
		_, _, errno = unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iov[0])), uintptr(n))
		if errno != unix.EINTR {
			break
		}
	}
	clear(w.iov[:n]) // nothing of the caller's is kept
	if errno != 0 {
		return errno
	}
	return nil
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
func (q *queue) Writable() <-chan struct{} {
	q.room.mu.Lock()
	defer q.room.mu.Unlock()
	if q.room.wake == nil {
		return q.dev.free
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
