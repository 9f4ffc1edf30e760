//go:build linux || darwin || windows

package tap

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/netduet/netduet/netif"
)

const (
	streamRing = 256 // frames held in each direction
	// closePatience is how long Close waits for the system to take the last frames,
	// and for a blocked Read to come back: a driver that never lets go must not keep
	// the program.
	closePatience = time.Second
)

// stream is a queue over a file whose Read and Write block and move one frame
// each. One goroutine reads into a ring, one writes from another; when the first
// ring is full the goroutine stops reading, and the kernel's own queue fills and
// drops.
type stream struct {
	dev  *Device
	conn io.ReadWriteCloser
	pool *netif.Pool
	done chan struct{} // closed by close

	rx   chan *netif.Buf
	held *netif.Buf // taken by Wait and owed to the next Read
	lost chan struct{}
	gone error // why reading ended; readable once lost is closed

	tx     chan *netif.Buf
	mu     sync.Mutex    // orders writers among themselves and with close
	ended  bool          // nothing is put into tx any more
	room   chan struct{} // closed when a full tx has room, nil when nobody waits
	reader sync.WaitGroup
	writer sync.WaitGroup
}

func newStream(d *Device, conn io.ReadWriteCloser, maxFrame int) *stream {
	s := &stream{
		dev:  d,
		conn: conn,
		// One byte more than a frame has: a read that fills the buffer was cut.
		pool: netif.NewPool((maxFrame+1+511)&^511, 2*streamRing),
		done: make(chan struct{}),
		rx:   make(chan *netif.Buf, streamRing),
		lost: make(chan struct{}),
		tx:   make(chan *netif.Buf, streamRing),
	}
	s.reader.Go(s.readLoop)
	s.writer.Go(s.writeLoop)
	return s
}

func (s *stream) readLoop() {
	for {
		b := s.pool.Get()
		n, err := s.conn.Read(b.Store())
		switch {
		case err != nil:
			b.Release()
			s.gone = fmt.Errorf("tap: %s: %w", s.dev.info.Name, err)
			close(s.lost)
			return
		case n == len(b.Store()):
			s.dev.count.rxTruncated.Add(1)
			b.Release()
			continue
		case n < etherLen:
			s.dev.count.rxMalformed.Add(1)
			b.Release()
			continue
		}
		b.Data = b.Store()[:n]
		select {
		case s.rx <- b:
		case <-s.done:
			b.Release()
			return
		}
	}
}

func (s *stream) writeLoop() {
	for {
		select {
		case b := <-s.tx:
			s.writeOne(b)
		case <-s.done:
			// What was taken before Close is still sent.
			for {
				select {
				case b := <-s.tx:
					s.writeOne(b)
				default:
					return
				}
			}
		}
	}
}

func (s *stream) writeOne(b *netif.Buf) {
	s.mu.Lock()
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	s.mu.Unlock()
	if _, err := s.conn.Write(b.Data); err != nil {
		if isDown(err) {
			s.dev.count.txDown.Add(1)
		} else {
			s.dev.count.txRefused.Add(1)
		}
	}
	b.Release()
}

// Read implements netif.Queue.
func (s *stream) Read(bufs []*netif.Buf) (int, error) {
	n := 0
	if len(bufs) > 0 && s.held != nil {
		bufs[0], s.held = s.held, nil
		n = 1
	}
	for n < len(bufs) {
		select {
		case b := <-s.rx:
			bufs[n] = b
			n++
			continue
		default:
		}
		if n > 0 {
			break
		}
		select {
		case <-s.done:
			return 0, net.ErrClosed
		default:
		}
		select {
		case <-s.lost:
			// The last frame may have come between the two looks.
			select {
			case b := <-s.rx:
				bufs[0] = b
				return 1, nil
			default:
				return 0, s.gone
			}
		default:
			return 0, nil
		}
	}
	return n, nil
}

// Wait implements netif.Queue.
func (s *stream) Wait(ctx context.Context) error {
	select {
	case <-s.done:
		return net.ErrClosed
	default:
	}
	if s.held != nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.held = <-s.rx:
		return nil
	case <-s.lost:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return net.ErrClosed
	}
}

// Write implements netif.Queue: frames are copied into the ring.
func (s *stream) Write(frames []netif.Frame) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, net.ErrClosed
	}
	for i := range frames {
		f := &frames[i]
		size := f.Len()
		if !s.dev.sendable(f, size) || size > s.pool.Size() {
			s.dev.count.txUnsendable.Add(1)
			continue
		}
		if len(s.tx) == cap(s.tx) { // only writers add, and they hold the lock
			if s.room == nil {
				s.room = make(chan struct{})
			}
			return i, nil
		}
		b := s.pool.Get()
		data := b.Store()[:0]
		for _, p := range f.Fragments {
			data = append(data, p...)
		}
		b.Data = data
		s.tx <- b
	}
	return len(frames), nil
}

// Writable implements netif.Queue.
func (s *stream) Writable() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room == nil || s.ended {
		return s.dev.free
	}
	return s.room
}

func (s *stream) close() {
	s.mu.Lock()
	s.ended = true
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	s.mu.Unlock()
	close(s.done)
	within(closePatience, &s.writer)
	s.conn.Close()
	within(closePatience, &s.writer, &s.reader)
}

// within waits for the groups, but no longer than d.
func within(d time.Duration, groups ...*sync.WaitGroup) {
	over := make(chan struct{})
	go func() {
		for _, g := range groups {
			g.Wait()
		}
		close(over)
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-over:
	case <-t.C:
	}
}
