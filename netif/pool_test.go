package netif_test

import (
	"sync"
	"testing"

	"github.com/netduet/netduet/netif"
)

func TestPool(t *testing.T) {
	p := netif.NewPool(100, 3)
	var bufs [5]*netif.Buf
	p.GetBatch(bufs[:])
	for i, b := range bufs {
		if len(b.Store()) != 100 || len(b.Data) != 0 || b.Meta != (netif.Meta{}) {
			t.Fatalf("buffer %d: %+v", i, b)
		}
		b.Data = b.Store()[:10]
		b.Meta.GSO = netif.GSOUDP
	}
	for _, b := range bufs {
		b.Release()
		b.Release() // a bug of the caller's that must not double the buffer
	}
	if n := p.Idle(); n != 3 {
		t.Fatalf("%d idle buffers, want 3", n)
	}
	seen := make(map[*netif.Buf]bool)
	for range 3 {
		b := p.Get()
		if seen[b] || len(b.Data) != 0 || b.Meta != (netif.Meta{}) {
			t.Fatalf("not a fresh buffer: %+v", b)
		}
		seen[b] = true
	}
	if p.Idle() != 0 || seen[p.Get()] {
		t.Error("a buffer was given out twice")
	}
}

func TestPoolConcurrently(t *testing.T) {
	p := netif.NewPool(8, 16)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var bufs [7]*netif.Buf
			for range 1000 {
				p.GetBatch(bufs[:])
				for i, b := range bufs {
					b.Data = append(b.Data, byte(g), byte(i))
				}
				for i, b := range bufs {
					if b.Data[0] != byte(g) || b.Data[1] != byte(i) {
						t.Error("a buffer has two owners")
						return
					}
					b.Release()
				}
			}
		})
	}
	wg.Wait()
}
