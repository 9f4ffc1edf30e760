package netiftest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netduet/netduet/netif"
)

// recorder is a testing.TB whose failures are recorded and no failures of the test.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	cleanups []func()
}

func (r *recorder) record(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, s)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *recorder) Helper()                   {}
func (r *recorder) Log(...any)                {}
func (r *recorder) Logf(string, ...any)       {}
func (r *recorder) Fail()                     { r.record("failed") }
func (r *recorder) FailNow()                  { r.record("failed"); runtime.Goexit() }
func (r *recorder) Error(a ...any)            { r.record(fmt.Sprint(a...)) }
func (r *recorder) Errorf(f string, a ...any) { r.record(fmt.Sprintf(f, a...)) }
func (r *recorder) Fatal(a ...any)            { r.Error(a...); runtime.Goexit() }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...); runtime.Goexit() }
func (r *recorder) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }

// failuresOf runs one check of the suite and returns how it failed.
func failuresOf(t *testing.T, name string, cfg Config) []string {
	t.Helper()
	i := slices.IndexFunc(checks[:], func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("no check is called %s", name)
	}
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(r.cleanups) {
				f()
			}
		}()
		checks[i].start(r, cfg)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures
}

// broken is a device that differs from a good one where a hook is set.
type broken struct {
	netif.Device
	info     func(netif.Info) netif.Info
	read     func(q netif.Queue, bufs []*netif.Buf) (int, error)
	write    func(q netif.Queue, frames []netif.Frame) (int, error)
	wait     func(q netif.Queue, ctx context.Context) error
	writable func(q netif.Queue) <-chan struct{}
	close    func(d netif.Device) error
}

func (d *broken) Info() netif.Info {
	if d.info != nil {
		return d.info(d.Device.Info())
	}
	return d.Device.Info()
}

func (d *broken) Close() error {
	if d.close != nil {
		return d.close(d.Device)
	}
	return d.Device.Close()
}

func (d *broken) Queues() []netif.Queue {
	var out []netif.Queue
	for _, q := range d.Device.Queues() {
		out = append(out, brokenQueue{q, d})
	}
	return out
}

type brokenQueue struct {
	netif.Queue
	d *broken
}

func (q brokenQueue) Read(bufs []*netif.Buf) (int, error) {
	if q.d.read != nil {
		return q.d.read(q.Queue, bufs)
	}
	return q.Queue.Read(bufs)
}

func (q brokenQueue) Write(frames []netif.Frame) (int, error) {
	if q.d.write != nil {
		return q.d.write(q.Queue, frames)
	}
	return q.Queue.Write(frames)
}

func (q brokenQueue) Wait(ctx context.Context) error {
	if q.d.wait != nil {
		return q.d.wait(q.Queue, ctx)
	}
	return q.Queue.Wait(ctx)
}

func (q brokenQueue) Writable() <-chan struct{} {
	if q.d.writable != nil {
		return q.d.writable(q.Queue)
	}
	return q.Queue.Writable()
}

// flat returns a frame in one fragment of memory of its own.
func flat(f netif.Frame) netif.Frame {
	return netif.Frame{Fragments: [][]byte{bytes.Join(f.Fragments, nil)}, Meta: f.Meta}
}

// each makes a write hook that passes every frame through f, which may drop it by
// returning false; n counts frames.
func each(f func(n int, fr *netif.Frame) bool) func(*broken) {
	return func(d *broken) {
		var mu sync.Mutex
		n := 0
		d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			for i := range frames {
				fr := flat(frames[i])
				n++
				if f(n, &fr) {
					if k, err := q.Write([]netif.Frame{fr}); k == 0 {
						return i, err
					}
				}
			}
			return len(frames), nil
		}
	}
}

// received makes a read hook that passes every frame through f.
func received(f func(b *netif.Buf)) func(*broken) {
	return func(d *broken) {
		d.read = func(q netif.Queue, bufs []*netif.Buf) (int, error) {
			n, err := q.Read(bufs)
			for _, b := range bufs[:n] {
				f(b)
			}
			return n, err
		}
	}
}

// TestSuiteBites runs checks on devices that break one promise each.
func TestSuiteBites(t *testing.T) {
	never := make(chan struct{})
	always := make(chan struct{})
	close(always)
	for _, c := range []struct {
		what  string
		check string
		lossy bool
		spoil func(d *broken)
	}{
		{"truncates large frames", "Sizes", true, each(func(_ int, f *netif.Frame) bool {
			f.Fragments[0] = f.Fragments[0][:min(1513, len(f.Fragments[0]))]
			return true
		})},
		{"pads small frames", "Sizes", true, each(func(_ int, f *netif.Frame) bool {
			for f.Len() < 60 {
				f.Fragments[0] = append(f.Fragments[0], 0)
			}
			return true
		})},
		{"loses a frame now and then", "Sizes", true, each(func(n int, _ *netif.Frame) bool { return n%500 != 0 })},
		{"flips a bit now and then", "Sizes", true, each(func(n int, f *netif.Frame) bool {
			if n%500 == 0 {
				f.Fragments[0][f.Len()-1] ^= 1
			}
			return true
		})},
		{"strips the link header's source", "Sizes", false, each(func(_ int, f *netif.Frame) bool {
			clear(f.Fragments[0][6:12])
			return true
		})},
		{"reverses batches", "Batches", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				frames = slices.Clone(frames)
				slices.Reverse(frames)
				return q.Write(frames)
			}
		}},
		{"delivers the last frame of a batch twice", "Batches", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				n, err := q.Write(frames)
				if n > 0 {
					q.Write(frames[n-1 : n])
				}
				return n, err
			}
		}},
		{"claims more than it was offered", "Batches", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				n, err := q.Write(frames)
				return n + 1, err
			}
		}},
		{"sends two fragments at most", "Fragments", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				frames = slices.Clone(frames)
				for i, f := range frames {
					frames[i].Fragments = f.Fragments[:min(2, len(f.Fragments))]
				}
				return q.Write(frames)
			}
		}},
		{"stops at an empty fragment", "Fragments", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				frames = slices.Clone(frames)
				for i, f := range frames {
					if k := slices.IndexFunc(f.Fragments, func(p []byte) bool { return len(p) == 0 }); k >= 0 {
						frames[i].Fragments = f.Fragments[:k]
					}
				}
				return q.Write(frames)
			}
		}},
		{"cuts oversized frames instead of dropping them", "BadSizes", true, each(func(_ int, f *netif.Frame) bool {
			f.Fragments[0] = f.Fragments[0][:min(1514, len(f.Fragments[0]))]
			return true
		})},
		{"does not take oversized frames", "BadSizes", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				for i := range frames {
					if frames[i].Len() > 1514 {
						return q.Write(frames[:i])
					}
				}
				return q.Write(frames)
			}
		}},
		{"fails on undersized frames", "BadSizes", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				for i := range frames {
					if frames[i].Len() < 14 {
						return 0, errors.New("invalid argument")
					}
				}
				return q.Write(frames)
			}
		}},
		{"keeps frames past Write", "Borrowing", true, func(d *broken) {
			var mu sync.Mutex
			var kept []netif.Frame
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				q.Write(kept)
				kept = nil
				for _, f := range frames {
					kept = append(kept, netif.Frame{Fragments: slices.Clone(f.Fragments), Meta: f.Meta})
				}
				return len(frames), nil
			}
		}},
		{"writes into borrowed frames", "Borrowing", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				n, err := q.Write(frames)
				for _, f := range frames[:n] {
					f.Fragments[0][0]++
				}
				return n, err
			}
		}},
		{"reads into the same memory again", "Ownership", true, func(d *broken) {
			var same [2048]byte
			d.read = func(q netif.Queue, bufs []*netif.Buf) (int, error) {
				n, err := q.Read(bufs[:min(1, len(bufs))])
				for _, b := range bufs[:n] {
					b.Data = same[:copy(same[:], b.Data)]
				}
				return n, err
			}
		}},
		{"takes memory back at once", "Ownership", true, received(func(b *netif.Buf) { b.Release() })},
		{"clears frames on Close", "ReleaseAfterClose", true, func(d *broken) {
			var out []*netif.Buf
			d.read = func(q netif.Queue, bufs []*netif.Buf) (int, error) {
				n, err := q.Read(bufs)
				out = append(out, bufs[:n]...)
				return n, err
			}
			d.close = func(d netif.Device) error {
				for _, b := range out {
					clear(b.Store())
				}
				return d.Close()
			}
		}},
		{"says it took what it had no room for", "ShortWrite", false, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				_, err := q.Write(frames)
				return len(frames), err
			}
		}},
		{"says it took less than it did", "ShortWrite", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				n, err := q.Write(frames)
				if n > 1 && n == len(frames) {
					n--
				}
				return n, err
			}
		}},
		{"is never writable again", "ShortWrite", false, func(d *broken) {
			d.writable = func(netif.Queue) <-chan struct{} { return never }
		}},
		{"is always writable", "ShortWrite", false, func(d *broken) {
			d.writable = func(netif.Queue) <-chan struct{} { return always }
		}},
		{"is full although it is not", "ShortWrite", false, func(d *broken) {
			turn := 0
			d.writable = func(netif.Queue) <-chan struct{} { return always }
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				if turn++; turn%4 == 0 {
					return 0, nil
				}
				return q.Write(frames)
			}
		}},
		{"mixes up the fragments of two writers", "ConcurrentWriters", true, func(d *broken) {
			var mu sync.Mutex
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				for i, f := range frames {
					parts := make([][]byte, 0, 2)
					for _, p := range f.Fragments {
						mu.Lock()
						parts = append(parts, p)
						mu.Unlock()
					}
					mu.Lock()
					n, err := q.Write([]netif.Frame{{Fragments: parts[:1]}})
					mu.Unlock()
					if n == 0 {
						return i, err
					}
					mu.Lock()
					q.Write([]netif.Frame{{Fragments: parts[1:]}})
					mu.Unlock()
				}
				return len(frames), nil
			}
		}},
		{"shares scratch space between writers", "ConcurrentWriters", true, func(d *broken) {
			var mu sync.Mutex
			var scratch [2048]byte
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				for i, f := range frames {
					mu.Lock()
					n := 0
					for _, p := range f.Fragments {
						n += copy(scratch[n:], p)
						mu.Unlock()
						runtime.Gosched()
						mu.Lock()
					}
					k, err := q.Write([]netif.Frame{one(scratch[:n])})
					mu.Unlock()
					if k == 0 {
						return i, err
					}
				}
				return len(frames), nil
			}
		}},
		{"does not look at the context", "Wait", true, func(d *broken) {
			d.wait = func(q netif.Queue, _ context.Context) error { return q.Wait(context.Background()) }
		}},
		{"does not return the context's error", "Wait", true, func(d *broken) {
			d.wait = func(q netif.Queue, ctx context.Context) error {
				if err := q.Wait(ctx); err != nil {
					return errors.New("interrupted")
				}
				return nil
			}
		}},
		{"never waits", "Wait", true, func(d *broken) {
			d.wait = func(q netif.Queue, ctx context.Context) error { return ctx.Err() }
		}},
		{"is not woken by frames", "Wait", true, func(d *broken) {
			d.wait = func(q netif.Queue, ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}},
		{"closes twice", "Close", true, func(d *broken) {
			d.close = func(d netif.Device) error { d.Close(); return nil }
		}},
		{"forgets that Read is closed", "Close", true, func(d *broken) {
			d.read = func(q netif.Queue, bufs []*netif.Buf) (int, error) { n, _ := q.Read(bufs); return n, nil }
		}},
		{"forgets that Write is closed", "Close", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				n, err := q.Write(frames)
				if err != nil {
					return len(frames), nil
				}
				return n, nil
			}
		}},
		{"reports another error when closed", "Close", true, func(d *broken) {
			d.wait = func(q netif.Queue, ctx context.Context) error {
				if err := q.Wait(ctx); err != nil {
					return errors.New("file already closed")
				}
				return nil
			}
		}},
		{"is not writable when closed", "Close", true, func(d *broken) {
			d.writable = func(netif.Queue) <-chan struct{} { return never }
		}},
		{"leaves a Wait behind", "CloseUnblocks", true, func(d *broken) {
			stuck := make(chan struct{})
			d.wait = func(q netif.Queue, ctx context.Context) error {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-stuck:
					return nil
				}
			}
		}},
		{"leaves a writer behind", "CloseUnblocks", false, func(d *broken) {
			d.writable = func(netif.Queue) <-chan struct{} { return never }
		}},
		{"ends with another error while busy", "CloseWhileBusy", true, func(d *broken) {
			d.write = func(q netif.Queue, frames []netif.Frame) (int, error) {
				n, err := q.Write(frames)
				if err != nil {
					err = errors.New("bad file descriptor")
				}
				return n, err
			}
		}},
		{"reads garbage after Close", "ReadAfterClose", true, func(d *broken) {
			closed := false
			d.close = func(d netif.Device) error { closed = true; return d.Close() }
			d.read = func(q netif.Queue, bufs []*netif.Buf) (int, error) {
				n, err := q.Read(bufs)
				for _, b := range bufs[:n] {
					if closed {
						b.Data[30] ^= 1
					}
				}
				return n, err
			}
		}},
		{"returns frames and an error at once", "ReadAfterClose", true, func(d *broken) {
			closed := false
			d.close = func(d netif.Device) error { closed = true; return d.Close() }
			d.read = func(q netif.Queue, bufs []*netif.Buf) (int, error) {
				n, err := q.Read(bufs)
				if closed && err == nil {
					err = errors.New("closed")
				}
				return n, err
			}
		}},
		{"forgets what is to be computed", "Checksum", false, received(func(b *netif.Buf) { b.Meta = netif.Meta{} })},
		{"believes every checksum", "Checksum", false, received(func(b *netif.Buf) {
			b.Meta = netif.Meta{Flags: netif.ChecksumValid}
		})},
		{"does not announce what it delivers", "Checksum", false, func(d *broken) {
			d.info = func(i netif.Info) netif.Info { i.Offloads &^= netif.RxChecksum; return i }
		}},
		{"forgets the segments' size", "Segmentation", false, received(func(b *netif.Buf) { b.Meta.GSO = netif.GSONone })},
		{"delivers large frames unannounced", "Segmentation", false, func(d *broken) {
			d.info = func(i netif.Info) netif.Info { i.Offloads &^= netif.RxGSO; return i }
		}},
		{"drops large frames it announced", "Segmentation", false, each(func(_ int, f *netif.Frame) bool { return f.Len() <= 1514 })},
		{"changes its description", "Info", true, func(d *broken) {
			n := 0
			d.info = func(i netif.Info) netif.Info { n++; i.Name = fmt.Sprint("net", n); return i }
		}},
		{"has no address", "Info", true, func(d *broken) {
			d.info = func(i netif.Info) netif.Info { i.MAC = netif.MAC{}; return i }
		}},
		{"has no MTU", "Info", true, func(d *broken) {
			d.info = func(i netif.Info) netif.Info { i.MTU = 0; return i }
		}},
		{"leaves a goroutine", "Goroutines", true, func(d *broken) {
			stuck := make(chan struct{})
			go func() { <-stuck }()
			t.Cleanup(func() { close(stuck) })
		}},
	} {
		t.Run(c.check+"/"+c.what, func(t *testing.T) {
			cfg := Config{Lossy: c.lossy, Window: 64, Timeout: 150 * time.Millisecond}
			cfg.New = func(tb testing.TB) (netif.Device, netif.Device) {
				a, b := wireOf(netif.WireConfig{Offloads: allOffloads, Ring: 256})(tb)
				d := &broken{Device: a}
				c.spoil(d)
				return d, b
			}
			failures := failuresOf(t, c.check, cfg)
			if len(failures) == 0 {
				t.Errorf("a device that %s passes %s", c.what, c.check)
				return
			}
			t.Logf("%.300s", failures[0])
		})
	}
}
