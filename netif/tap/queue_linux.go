package tap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif"
)

// queue is one descriptor of a tap.
//
// The file is non-blocking and registered with the runtime's poller. Read and
// Write call the kernel through RawConn.Control, which keeps the descriptor open
// for the call and looks at no deadline; only Wait goes through RawConn.Read, so
// a read deadline serves to cancel Wait and disturbs nothing else.
type queue struct {
	dev   *Device
	hdr   int // bytes of virtio header in front of each frame
	order binary.ByteOrder
	pool  *netif.Pool

	file *os.File
	conn syscall.RawConn

	reader  reader
	cancel  canceler
	writers sync.Pool // *writer
	room    room
}

// reader is the state of the goroutine that reads. The callbacks are made once,
// since a closure made per call would be an allocation per call.
type reader struct {
	onRead func(fd uintptr)
	onWait func(fd uintptr) bool

	into  []*netif.Buf // where onRead puts frames
	n     int          // how many it put there
	spare *netif.Buf   // being read into, and kept when there was nothing to read
	held  *netif.Buf   // read by Wait and owed to the next Read
	gone  error        // why the device will never have a frame again
}

var errDry = errors.New("nothing to read")

// newQueue takes over fd, which is non-blocking and attached: the poller refuses a
// descriptor that is not yet a tap.
func newQueue(d *Device, fd, hdr int, order binary.ByteOrder, pool *netif.Pool) *queue {
	q := &queue{dev: d, hdr: hdr, order: order, pool: pool}
	q.file = os.NewFile(uintptr(fd), "tap")
	q.conn, _ = q.file.SyscallConn() // fails for a nil file only
	q.reader.onRead = q.readAll
	q.reader.onWait = q.readOrWait
	q.writers.New = func() any {
		w := &writer{q: q}
		w.onWrite = w.writeAll
		return w
	}
	return q
}

func (q *queue) close() {
	q.cancel.disarm()
	q.file.Close()
	q.room.end()
}

// Read implements netif.Queue.
func (q *queue) Read(bufs []*netif.Buf) (int, error) {
	r := &q.reader
	n := 0
	if len(bufs) > 0 && r.held != nil {
		bufs[0], r.held = r.held, nil
		n = 1
	}
	if n < len(bufs) && r.gone == nil {
		r.into, r.n = bufs[n:], 0
		err := q.conn.Control(r.onRead)
		n += r.n
		r.into = nil
		if err != nil && n == 0 {
			return 0, net.ErrClosed
		}
	}
	if n == 0 && len(bufs) > 0 {
		if q.dev.closed.Load() {
			return 0, net.ErrClosed
		}
		return 0, r.gone
	}
	return n, nil
}

// readAll fills r.into until the queue is dry.
func (q *queue) readAll(fd uintptr) {
	r := &q.reader
	for r.n < len(r.into) {
		b, err := q.readOne(int(fd))
		if err != nil {
			return
		}
		r.into[r.n] = b
		r.n++
	}
}

// readOrWait is called when the poller may have something, and before.
func (q *queue) readOrWait(fd uintptr) bool {
	b, err := q.readOne(int(fd))
	q.reader.held = b
	return err != errDry
}

// readOne reads the next good frame. The error is errDry, or the reason why there
// will be none any more, which stands in r.gone.
func (q *queue) readOne(fd int) (*netif.Buf, error) {
	r := &q.reader
	for {
		if r.spare == nil {
			r.spare = q.pool.Get()
		}
		store := r.spare.Store()
		n, err := unix.Read(fd, store)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return nil, errDry
		default:
			r.gone = q.goneError(err)
			return nil, r.gone
		}
		if n == len(store) {
			q.dev.count.rxTruncated.Add(1)
			continue
		}
		if n < q.hdr+etherLen {
			q.dev.count.rxMalformed.Add(1)
			continue
		}
		b := r.spare
		if q.hdr > 0 {
			m, ok := decodeVNet(store[:q.hdr], q.order, n-q.hdr)
			if !ok {
				q.dev.count.rxMalformed.Add(1)
				continue
			}
			b.Meta = m
		}
		b.Data = store[q.hdr:n]
		r.spare = nil
		return b, nil
	}
}

func (q *queue) goneError(err error) error {
	if err == unix.EBADFD {
		return fmt.Errorf("tap: %s was removed: %w", q.dev.info.Name, err)
	}
	return fmt.Errorf("tap: %s: %w", q.dev.info.Name, err)
}

// Wait implements netif.Queue. It reads the first frame itself, because the
// poller tells of changes only: whoever slept without having found the queue dry
// might sleep on a full one.
func (q *queue) Wait(ctx context.Context) error {
	r := &q.reader
	if q.dev.closed.Load() {
		return net.ErrClosed
	}
	if r.held != nil || r.gone != nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !q.cancel.arm(ctx, q.file) {
		return net.ErrClosed
	}
	if err := q.conn.Read(r.onWait); err != nil {
		if q.dev.closed.Load() {
			return net.ErrClosed
		}
		return ctx.Err()
	}
	return nil
}

// canceler makes a context's end wake the Wait under way, and no later one.
//
// It stays registered from one Wait to the next while the context is the same, so
// the loop of a receiver registers once and not per wake-up.
type canceler struct {
	mu       sync.Mutex
	armed    uint64          // counts registrations; an old one that fires late does nothing
	done     <-chan struct{} // of the context registered, nil with none
	stop     func() bool
	deadline bool // the file's deadline may be set
	over     bool
}

// arm registers ctx, whose end moves file's read deadline into the past. It
// reports false when the queue was closed.
func (c *canceler) arm(ctx context.Context, file *os.File) bool {
	done := ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	if done == c.done {
		return true
	}
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
	c.armed++
	if c.deadline {
		file.SetReadDeadline(time.Time{})
		c.deadline = false
	}
	if c.done = done; done == nil {
		return true
	}
	mine := c.armed
	c.stop = context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.armed == mine && !c.over {
			c.deadline = true
			file.SetReadDeadline(time.Unix(1, 0))
		}
	})
	return true
}

// disarm ends it for good.
func (c *canceler) disarm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.stop != nil {
		c.stop()
	}
}
