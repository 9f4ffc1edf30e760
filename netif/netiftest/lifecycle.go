package netiftest

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/netduet/netduet/netif"
)

// waitError waits until Wait returns an error, which it must within the timeout.
// Returning early is allowed, but not all the time: a receiver would spin.
func (l *link) waitError(q netif.Queue, ctx context.Context) error {
	limit, cancel := l.timeout()
	defer cancel()
	result := make(chan error, 1)
	go func() {
		bufs := make([]*netif.Buf, 16)
		idle := 0
		for {
			err := q.Wait(ctx)
			if err != nil {
				result <- err
				return
			}
			n, err := q.Read(bufs)
			for _, b := range bufs[:n] {
				b.Release()
			}
			if err != nil {
				result <- err
				return
			}
			if n > 0 {
				idle = 0
			} else if idle++; idle == 1000 {
				result <- errors.New("Wait returned 1000 times in a row with nothing to read")
				return
			}
		}
	}()
	select {
	case err := <-result:
		return err
	case <-limit.Done():
		return errors.New("Wait has not returned in time")
	}
}

func checkWait(l *link) {
	for _, d := range []netif.Device{l.a, l.b} {
		for _, q := range d.Queues() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := l.waitError(q, ctx); !errors.Is(err, context.Canceled) {
				l.Fatalf("Wait with a cancelled context: %v", err)
			}
			ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
			if err := l.waitError(q, ctx); !errors.Is(err, context.DeadlineExceeded) {
				l.Fatalf("Wait past its deadline: %v", err)
			}
			cancel()
			ctx, cancel = context.WithCancel(context.Background())
			result := make(chan error)
			go func() { result <- l.waitError(q, ctx) }()
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				l.Fatalf("Wait while its context is cancelled: %v", err)
			}
		}
	}
	// A frame ends a Wait that is under way, and one that begins after it came.
	l.both(func(from, to netif.Device) {
		for i := range 100 {
			f := frame(from, to, uint32(i), 80)
			ctx, cancel := l.timeout()
			type result struct {
				b   *netif.Buf
				err error
			}
			got := make(chan result, 1)
			r := l.reader(to)
			go func() {
				b, err := r.next(ctx)
				got <- result{b, err}
			}()
			if i%2 == 0 {
				runtime.Gosched()
			}
			if err := l.send(from.Queues()[i%len(from.Queues())], []netif.Frame{one(f)}); err != nil {
				l.Fatal(err)
			}
			var res result
			select {
			case res = <-got:
			case <-ctx.Done():
				res.err = ctx.Err()
			}
			cancel()
			if res.err != nil {
				l.Fatalf("a frame did not end a Wait: %v", res.err)
			}
			res.b.Release()
		}
	})
	l.alive()
}

// checkClosed asserts what every call on a closed device returns.
func (l *link) checkClosed(d netif.Device) {
	l.Helper()
	if err := d.Close(); !closed(err) {
		l.Errorf("second Close: %v, want net.ErrClosed", err)
	}
	for i, q := range d.Queues() {
		ctx, cancel := l.timeout()
		result := make(chan error, 1)
		go func() { result <- q.Wait(context.Background()) }()
		select {
		case err := <-result:
			if !closed(err) {
				l.Errorf("queue %d: Wait after Close: %v, want net.ErrClosed", i, err)
			}
		case <-ctx.Done():
			l.Fatalf("queue %d: Wait after Close has not returned in time", i)
		}
		l.readClosed(q, nil)
		if n, err := q.Write([]netif.Frame{one(frame(l.a, l.b, 1, 100))}); n != 0 || !closed(err) {
			l.Errorf("queue %d: Write after Close: %d, %v, want 0, net.ErrClosed", i, n, err)
		}
		select {
		case <-q.Writable():
		case <-ctx.Done():
			l.Errorf("queue %d: Writable after Close is not closed", i)
		}
		cancel()
	}
}

// readClosed reads from a closed device what had arrived, until net.ErrClosed.
func (l *link) readClosed(q netif.Queue, f func(*netif.Buf)) {
	l.Helper()
	bufs := make([]*netif.Buf, 16)
	for range 1 << 17 {
		n, err := q.Read(bufs)
		if err != nil {
			if !closed(err) || n != 0 {
				l.Errorf("Read after Close: %d, %v, want 0, net.ErrClosed", n, err)
			}
			return
		}
		if n == 0 {
			l.Error("Read after Close found nothing to read, and no error")
			return
		}
		for _, b := range bufs[:n] {
			if f != nil {
				f(b)
			}
			b.Release()
		}
	}
	l.Error("Read after Close never ends")
}

func checkClose(l *link) {
	l.alive()
	var wg sync.WaitGroup
	results := make(chan error, 8)
	for range cap(results) {
		wg.Go(func() { results <- l.a.Close() })
	}
	wg.Wait()
	good := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			good++
		case !closed(err):
			l.Errorf("Close: %v", err)
		}
	}
	if good != 1 {
		l.Errorf("%d of %d concurrent calls of Close returned nil, want 1", good, cap(results))
	}
	l.checkClosed(l.a)
	// The far end notices in its own way, but it can be closed.
	if err := l.b.Close(); err != nil {
		l.Errorf("Close of the far end: %v", err)
	}
	l.checkClosed(l.b)
}

func checkCloseUnblocks(l *link) {
	l.both(func(d, _ netif.Device) {
		other := l.b
		if d == l.b {
			other = l.a
		}
		results := make(chan error)
		calls := 0
		for _, q := range d.Queues() {
			calls++
			go func() { results <- l.waitError(q, context.Background()) }()
		}
		// Fill the device, if that can be done, and wait for room.
		f := []netif.Frame{one(frame(d, other, 1, 100))}
		q := d.Queues()[0]
		for range 1 << 14 {
			n, err := q.Write(f)
			if err != nil {
				l.Fatal(err)
			}
			if n == 0 {
				w := q.Writable()
				calls++
				go func() {
					limit, cancel := l.timeout()
					defer cancel()
					for {
						select {
						case <-w:
						case <-limit.Done():
							results <- errors.New("Writable has not been closed in time")
							return
						}
						// It may be worth repeating for another reason than Close.
						if n, err := q.Write(f); n == 0 && err != nil {
							results <- err
							return
						}
						w = q.Writable()
					}
				}()
				break
			}
		}
		if err := d.Close(); err != nil {
			l.Errorf("Close: %v", err)
		}
		for range calls {
			if err := <-results; !closed(err) {
				l.Errorf("a call under way during Close: %v, want net.ErrClosed", err)
			}
		}
		l.checkClosed(d)
		other.Close()
		l.open()
	})
}

func checkCloseWhileBusy(l *link) {
	for range 5 {
		var wg sync.WaitGroup
		results := make(chan error, 64)
		for _, p := range [][2]netif.Device{{l.a, l.b}, {l.b, l.a}} {
			from, to := p[0], p[1]
			for w := range 2 {
				f := []netif.Frame{one(frame(from, to, uint32(w), 100)), one(frame(from, to, uint32(w), 200))}
				wg.Go(func() {
					q := from.Queues()[0]
					for {
						n, err := q.Write(f)
						if err != nil {
							results <- err
							return
						}
						if n < len(f) {
							<-q.Writable()
						}
					}
				})
			}
			for _, q := range to.Queues() {
				wg.Go(func() {
					bufs := make([]*netif.Buf, 8)
					for {
						n, err := q.Read(bufs)
						for _, b := range bufs[:n] {
							b.Release()
						}
						if err == nil && n == 0 {
							err = q.Wait(context.Background())
						}
						if err != nil {
							results <- err
							return
						}
					}
				})
			}
		}
		// Busy writers make each of these a time slice.
		for range 3 {
			runtime.Gosched()
		}
		var err [2]error
		wg.Go(func() { err[0] = l.a.Close() })
		wg.Go(func() { err[1] = l.b.Close() })
		ended := make(chan struct{})
		go func() { wg.Wait(); close(ended) }()
		ctx, cancel := l.timeout()
		select {
		case <-ended:
		case <-ctx.Done():
			l.Fatal("Close did not end all calls in time")
		}
		cancel()
		if err[0] != nil || err[1] != nil {
			l.Errorf("Close: %v, %v", err[0], err[1])
		}
		close(results)
		for err := range results {
			if !closed(err) {
				l.Errorf("a call during Close: %v, want net.ErrClosed", err)
			}
		}
		l.open()
	}
}

func checkReadAfterClose(l *link) {
	l.both(func(from, to netif.Device) {
		n := 10
		if l.cfg.Lossy {
			n = min(n, l.cfg.Window)
		}
		var want [][]byte
		var frames []netif.Frame
		for i := range n {
			want = append(want, frame(from, to, uint32(i), 100))
			frames = append(frames, one(want[i]))
		}
		taken, err := from.Queues()[0].Write(frames)
		if err != nil || taken == 0 {
			l.Fatal(taken, err)
		}
		n = taken
		r := l.reader(to)
		r.batch = 1
		l.expect(r, want[:1], false)
		to.Close()
		at := 1
		for _, q := range to.Queues() {
			l.readClosed(q, func(b *netif.Buf) {
				if l.cfg.Noisy && !l.ours(b.Data) {
					return
				}
				if at == n || string(b.Data) != string(want[at]) {
					l.Errorf("after Close: %s", brief(b.Data))
					return
				}
				at++
			})
		}
		from.Close()
		l.open()
	})
}

func checkGoroutines(l *link) {
	l.a.Close()
	l.b.Close()
	// By name and not by number: those that are just ending would hide a new one.
	before := goroutines()
	l.open()
	l.alive()
	results := make(chan error)
	calls := 0
	for _, d := range []netif.Device{l.a, l.b} {
		for _, q := range d.Queues() {
			calls++
			go func() { results <- l.waitError(q, context.Background()) }()
		}
	}
	l.a.Close()
	l.b.Close()
	for range calls {
		if err := <-results; !closed(err) {
			l.Error(err)
		}
	}
	// A goroutine that ends is seen for a moment longer.
	for deadline := time.Now().Add(l.cfg.Timeout); ; time.Sleep(time.Millisecond) {
		after := goroutines()
		for id := range before {
			delete(after, id)
		}
		if len(after) == 0 {
			return
		}
		if time.Now().After(deadline) {
			stacks := slices.Collect(maps.Values(after))
			l.Fatalf("%d goroutines are left after Close of both devices:\n%s", len(after), strings.Join(stacks, "\n\n"))
		}
	}
}

// goroutines returns the stack of each goroutine by its number.
func goroutines() map[string]string {
	stacks := make([]byte, 1<<16)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			stacks = stacks[:n]
			break
		}
		stacks = make([]byte, 2*len(stacks))
	}
	all := make(map[string]string)
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		all[id] = stack
	}
	return all
}
