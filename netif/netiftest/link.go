package netiftest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/netif"
)

// link is a pair of devices and the test that uses them.
type link struct {
	testing.TB
	cfg  Config
	a, b netif.Device
}

// open makes the devices and sees to it that they are closed.
func (l *link) open() {
	l.Helper()
	l.a, l.b = l.cfg.New(l.TB)
	a, b := l.a, l.b
	l.Cleanup(func() {
		a.Close()
		b.Close()
	})
}

// timeout returns a context that ends when what must happen has not.
func (l *link) timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), l.cfg.Timeout)
}

const (
	etherHeaderLen = 14
	ipHeaderLen    = 20
	etherType      = 0x88b5
	protocol       = 253
)

// headerLen is the number of bytes that come before a test frame's payload.
func headerLen(i netif.Info) int {
	if i.Link == netif.LinkIP {
		return ipHeaderLen
	}
	return etherHeaderLen
}

// maxLen is the size of the largest plain frame.
func maxLen(i netif.Info) int {
	if i.Link == netif.LinkIP {
		return i.MTU
	}
	return i.MTU + etherHeaderLen
}

// frame makes a frame of n bytes, header included, from one device to another. Its
// payload begins with id, as far as there is room, and depends on id throughout.
func frame(from, to netif.Device, id uint32, n int) []byte {
	src, dst := from.Info(), to.Info()
	h := headerLen(src)
	f := make([]byte, max(n, h))
	if src.Link == netif.LinkIP {
		f[0], f[8], f[9] = 0x45, 64, protocol
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		copy(f[12:], []byte{192, 0, 2, 1})
		copy(f[16:], []byte{192, 0, 2, 2})
		binary.BigEndian.PutUint16(f[10:], checksum.Sum(f[:h], 0).Checksum())
	} else {
		copy(f, dst.MAC[:])
		copy(f[6:], src.MAC[:])
		binary.BigEndian.PutUint16(f[12:], etherType)
	}
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], id)
	p := f[h:]
	r := rand.NewPCG(uint64(id), uint64(len(p)))
	for i := range p {
		p[i] = byte(r.Uint64())
	}
	// Low byte first: the shortest frames have room for no more.
	p = p[:min(len(p), 4)]
	for i := range p {
		p[i] = head[3-i]
	}
	return f[:n]
}

// id returns the number of a frame with at least four bytes of payload.
func (l *link) id(f []byte) uint32 {
	return binary.LittleEndian.Uint32(f[headerLen(l.a.Info()):])
}

// ours reports whether a frame is one of the suite's.
func (l *link) ours(f []byte) bool {
	if l.a.Info().Link == netif.LinkIP {
		return len(f) >= ipHeaderLen && f[0]>>4 == 4 && f[9] == protocol
	}
	return len(f) >= etherHeaderLen && binary.BigEndian.Uint16(f[12:]) == etherType
}

// one makes a Frame of one fragment.
func one(f []byte) netif.Frame { return netif.Frame{Fragments: [][]byte{f}} }

// send writes frames to a queue, waiting for room as long as it takes.
func (l *link) send(q netif.Queue, frames []netif.Frame) error {
	ctx, cancel := l.timeout()
	defer cancel()
	for {
		n, err := q.Write(frames)
		switch {
		case n < 0 || n > len(frames):
			return fmt.Errorf("Write took %d of %d frames", n, len(frames))
		case err != nil:
			return fmt.Errorf("Write: %w", err)
		case n == len(frames):
			return nil
		}
		frames = frames[n:]
		select {
		case <-q.Writable():
		case <-ctx.Done():
			return errors.New("not writable again in time")
		}
	}
}

// reader reads what arrives at a device, on one queue after another.
type reader struct {
	link  *link
	dev   netif.Device
	ours  func([]byte) bool // other frames are ignored if the link is noisy
	batch int
	ready []*netif.Buf // read, not returned yet
}

func (l *link) reader(dev netif.Device) *reader {
	return &reader{link: l, dev: dev, ours: l.ours, batch: 32}
}

// poll returns a frame that has arrived, or nil. Frames of others are skipped.
func (r *reader) poll() (*netif.Buf, error) {
	for {
		for len(r.ready) > 0 {
			b := r.ready[0]
			r.ready = r.ready[1:]
			if r.link.cfg.Noisy && !r.ours(b.Data) {
				b.Release()
				continue
			}
			return b, nil
		}
		if err := r.fill(); err != nil || len(r.ready) == 0 {
			return nil, err
		}
	}
}

func (r *reader) fill() error {
	for _, q := range r.dev.Queues() {
		bufs := make([]*netif.Buf, r.batch)
		n, err := q.Read(bufs)
		switch {
		case n < 0 || n > len(bufs):
			return fmt.Errorf("Read filled %d of %d buffers", n, len(bufs))
		case n > 0 && err != nil:
			return fmt.Errorf("Read returned %d frames with an error: %w", n, err)
		case err != nil:
			return err
		}
		for i, b := range bufs {
			if (b == nil) != (i >= n) {
				return fmt.Errorf("Read returned %d, but buffer %d of them is %v", n, i, b)
			}
		}
		r.ready = append(r.ready, bufs[:n]...)
	}
	return nil
}

// next waits for a frame.
func (r *reader) next(ctx context.Context) (*netif.Buf, error) {
	for {
		b, err := r.poll()
		if b != nil || err != nil {
			return b, err
		}
		if err := waitAny(ctx, r.dev.Queues()); err != nil {
			return nil, err
		}
	}
}

// waitAny waits until one of the queues has something to read.
func waitAny(ctx context.Context, queues []netif.Queue) error {
	if len(queues) == 1 {
		return queues[0].Wait(ctx)
	}
	sub, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, len(queues))
	for _, q := range queues {
		go func() { done <- q.Wait(sub) }()
	}
	err := <-done
	cancel()
	for range len(queues) - 1 {
		if e := <-done; e == nil {
			err = nil
		}
	}
	return err
}

// expect reads until each of want has arrived, intact and in order, each once, and
// then nothing that does not belong. It returns how many were lost, which is an
// error unless loss is allowed.
func (l *link) expect(r *reader, want [][]byte, lossy bool) (lost int) {
	l.Helper()
	ctx, cancel := l.timeout()
	defer cancel()
	at := 0
	for at < len(want) {
		b, err := r.next(ctx)
		if err != nil {
			l.Fatalf("%d of %d frames arrived, then: %v", at, len(want), err)
		}
		if b.Meta.GSO != netif.GSONone || b.Meta.Flags&netif.NeedsChecksum != 0 {
			l.Errorf("a plain frame arrived with %+v", b.Meta)
		}
		skip := 0
		for at+skip < len(want) && !bytes.Equal(b.Data, want[at+skip]) {
			skip++
			if !lossy {
				break
			}
		}
		switch {
		case skip == 0:
		case lossy && at+skip < len(want):
			lost += skip
		default:
			l.Fatalf("frame %d of %d did not arrive as it was sent: want %s, got %s",
				at, len(want), brief(want[at]), brief(b.Data))
		}
		at += skip + 1
		b.Release()
	}
	return lost
}

func brief(f []byte) string {
	return fmt.Sprintf("%d bytes % x…", len(f), f[:min(len(f), 40)])
}

// transfer sends frames from one device to the other and expects them there, no
// more than a window at once if the link is lossy.
func (l *link) transfer(from, to netif.Device, queue int, frames [][]byte) {
	l.Helper()
	r := l.reader(to)
	step := 64
	if l.cfg.Lossy {
		step = min(step, l.cfg.Window)
	}
	for len(frames) > 0 {
		n := min(step, len(frames))
		batch := make([]netif.Frame, n)
		for i := range batch {
			batch[i] = one(frames[i])
		}
		done := make(chan error, 1)
		go func() { done <- l.send(from.Queues()[queue], batch) }()
		l.expect(r, frames[:n], false)
		if err := <-done; err != nil {
			l.Fatal(err)
		}
		frames = frames[n:]
	}
	if b, err := r.poll(); b != nil || err != nil {
		l.Fatalf("after the last frame there came another, or an error: %v", err)
	}
}

// both calls f for both directions.
func (l *link) both(f func(from, to netif.Device)) {
	f(l.a, l.b)
	f(l.b, l.a)
}

// alive sends a few frames both ways, to see that whatever came before did no harm.
func (l *link) alive() {
	l.Helper()
	l.both(func(from, to netif.Device) {
		l.Helper()
		var frames [][]byte
		for i := range 3 {
			frames = append(frames, frame(from, to, 0xa11e0000+uint32(i), 100))
		}
		l.transfer(from, to, 0, frames)
	})
}

// closed reports whether err is what a closed device returns.
func closed(err error) bool { return errors.Is(err, net.ErrClosed) }
