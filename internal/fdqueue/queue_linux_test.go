package fdqueue

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif"
)

// counting reads one message of a socket for each buffer, and counts how often it
// looked.
type counting struct {
	pools *Pools
	slot  Slot
	looks int
	gone  atomic.Pointer[error]
}

func (c *counting) Receive(fd int, bufs []*netif.Buf) (n int, err error) {
	for n < len(bufs) {
		c.looks++
		if gone := c.gone.Load(); gone != nil {
			return 0, *gone
		}
		size, err := unix.Read(fd, buf(&c.slot, c.pools))
		if err == unix.EAGAIN && n > 0 {
			break
		}
		if err == unix.EAGAIN {
			return 0, ErrDry
		}
		if err != nil {
			return 0, err
		}
		store, large := c.slot.Filled(size)
		b := c.slot.Take(large)
		b.Data = store
		bufs[n] = b
		n++
	}
	return n, nil
}

// buf returns the memory that the slot reads to first.
func buf(s *Slot, p *Pools) []byte {
	v := s.Iov(p)[0]
	return unsafe.Slice(v.Base, v.Len)
}

// Send is not what these tests are about.
func (c *counting) Send(int, []netif.Frame) (int, error) { return 0, ErrFull }

func newPair(t *testing.T) (q *Queue, c *counting, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c = &counting{pools: NewPools(0, 100, 1, false)}
	q = New(fds[0], "pair", c, func() Sender { return c })
	t.Cleanup(func() { unix.Close(fds[1]) })
	return q, c, fds[1]
}

// A Wait that slept and got one frame, time after time, costs two looks a frame.
func TestQuestionAndAnswer(t *testing.T) {
	q, c, far := newPair(t)
	defer q.Close()
	bufs := make([]*netif.Buf, 8)
	read := func() int {
		t.Helper()
		n, err := q.Read(bufs)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bufs[:n] {
			b.Release()
		}
		return n
	}
	for round := range 20 {
		c.looks = 0
		errs := make(chan error, 1)
		go func() { errs <- q.Wait(context.Background()) }()
		waitAsleep(t)
		unix.Write(far, []byte("question"))
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		if n := read(); n != 1 {
			t.Fatalf("round %d: %d frames", round, n)
		}
		// Once before sleeping, once after; and once more until it is clear that they
		// come alone.
		if want := 2; round > 1 && c.looks != want {
			t.Errorf("round %d: looked %d times, want %d", round, c.looks, want)
		}
	}
	// Several at once: the first Read may give one of them only, but no Wait sleeps on
	// the rest, and then they come together.
	errs := make(chan error, 1)
	go func() { errs <- q.Wait(context.Background()) }()
	waitAsleep(t)
	for range 5 {
		unix.Write(far, []byte("one of five"))
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	got, reads := 0, 0
	for got < 5 {
		n := read()
		reads++
		if got += n; got < 5 {
			if err := q.Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got != 5 || reads > 2 {
		t.Errorf("%d frames in %d reads", got, reads)
	}
}

// waitAsleep returns when the Wait under way sleeps in the poller, by what its
// goroutine's stack says.
func waitAsleep(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for range 1 << 20 {
		n := runtime.Stack(buf, true)
		if bytes.Contains(buf[:n], []byte("[IO wait")) {
			return
		}
		runtime.Gosched()
	}
	t.Fatal("Wait does not sleep")
}

// Wake ends the Wait under way and all later ones, and the receiver's answer is then
// what Read returns.
func TestWake(t *testing.T) {
	q, c, _ := newPair(t)
	errs := make(chan error, 1)
	go func() { errs <- q.Wait(context.Background()) }()
	waitAsleep(t)
	gone := errors.New("gone")
	c.gone.Store(&gone)
	q.Wake()
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := q.Wait(ctx); err != nil { // another context does not undo it
		t.Fatal(err)
	}
	if n, err := q.Read(make([]*netif.Buf, 1)); n != 0 || err != gone {
		t.Errorf("Read = %d, %v", n, err)
	}
	q.Close()
	q.Wake()
	if err := q.Wait(ctx); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
}
