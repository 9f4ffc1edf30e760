package xen_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
)

// stuck is how long nothing may move. A test of rings without recovery that runs into
// it has lost an event; none needs it to pass.
const stuck = 3 * time.Minute

// stream sends frames as fast as they are taken.
func stream(q netif.Queue, next func() (netif.Frame, bool)) error {
	f, more := next()
	for more {
		n, err := q.Write([]netif.Frame{f})
		if err != nil {
			return err
		}
		if n == 0 {
			select {
			case <-q.Writable():
			case <-time.After(stuck):
				return fmt.Errorf("the ring was full for %v", stuck)
			}
			continue
		}
		f, more = next()
	}
	return nil
}

// Streams in both directions through rings that are full all the time, with
// readers that take one frame at a time: of the smallest frames, which once made
// deadlocks when slots were short, of the largest, of which three fit, and mixed.
func TestFullRings(t *testing.T) {
	for name, c := range map[string]struct {
		frames int
		size   func(*rand.Rand) int
	}{
		"one byte each": {20_000, func(*rand.Rand) int { return 1 }},
		"large":         {1000, func(*rand.Rand) int { return 65000 }},
		"mixed":         {3000, func(r *rand.Rand) int { return []int{1, 1448, 4096, 30000, 65000}[r.IntN(5)] }},
	} {
		t.Run(name, func(t *testing.T) {
			// No recovery: events alone keep it going.
			f, b := open(t, plug(t, vif), xen.FrontendConfig{Queues: 1, Pages: 64, Recovery: -1}, xen.BackendConfig{Recovery: -1})
			var wg sync.WaitGroup
			for i, dir := range [][2]netif.Device{{f, b}, {b, f}} {
				from, to := dir[0], dir[1]
				sizes := func() *rand.Rand { return rand.New(rand.NewPCG(uint64(i), 9)) }
				wg.Go(func() {
					r, n := sizes(), 0
					if err := stream(from.Queues()[0], func() (netif.Frame, bool) {
						n++
						f := tcpFrame(c.size(r), 1448)
						for i := range f.Fragments[1] {
							f.Fragments[1][i] = byte(n)
						}
						return f, n <= c.frames
					}); err != nil {
						t.Error(err)
					}
				})
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), stuck)
					defer cancel()
					r := sizes()
					q := to.Queues()[0]
					var bufs [1]*netif.Buf
					for n := 1; n <= c.frames; {
						k, err := q.Read(bufs[:])
						if k == 0 && err == nil {
							err = q.Wait(ctx)
						}
						if err != nil {
							t.Errorf("frame %d of %d: %v", n, c.frames, err)
							return
						}
						if k == 0 {
							continue
						}
						want := c.size(r)
						data := bufs[0].Data
						if len(data) != 54+want || bytes.Count(data[54:], []byte{byte(n)}) != want {
							t.Errorf("frame %d has %d bytes, or other ones, want %d", n, len(data), 54+want)
							return
						}
						bufs[0].Release()
						n++
					}
				})
			}
			wg.Wait()
			for _, s := range []xen.Stats{f.Stats(), b.Stats()} {
				if s != (xen.Stats{Connects: 1}) {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}
