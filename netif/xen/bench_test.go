package xen_test

import (
	"fmt"
	"testing"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
)

// turn sends frames one way and reads them all.
func turn(t testing.TB, from, to netif.Device, frames []netif.Frame, bufs []*netif.Buf) {
	left := frames
	for got := 0; got < len(frames); {
		n, err := from.Queues()[0].Write(left)
		if err != nil {
			t.Fatal(err)
		}
		left = left[n:]
		n, err = to.Queues()[0].Read(bufs)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bufs[:n] {
			b.Release()
		}
		got += n
	}
}

func batchOf(from, to netif.Device, n, size int) (frames []netif.Frame) {
	for range n {
		f := frame(from, to, 1, size)
		b := f.Fragments[0]
		frames = append(frames, netif.Frame{Fragments: [][]byte{b[:14], b[14:]}})
	}
	return frames
}

// A frame costs no allocation, on either end.
func TestNoAllocations(t *testing.T) {
	f, b := open(t, plug(t, vif), xen.FrontendConfig{Queues: 1}, xen.BackendConfig{})
	bufs := make([]*netif.Buf, 64)
	for _, dir := range [][2]netif.Device{{f, b}, {b, f}} {
		from, to := dir[0], dir[1]
		plain := batchOf(from, to, 32, 1514)
		var large []netif.Frame
		for range 8 {
			large = append(large, tcpFrame(60000, 1448))
		}
		for name, frames := range map[string][]netif.Frame{"plain": plain, "large": large} {
			for range 20 {
				turn(t, from, to, frames, bufs)
			}
			if n := testing.AllocsPerRun(200, func() { turn(t, from, to, frames, bufs) }); n > 0.5 {
				t.Errorf("%s from %s: %v allocations for %d frames, want 0", name, from.Info().Name, n, len(frames))
			}
		}
	}
}

func BenchmarkFrames(b *testing.B) {
	f, k := open(b, plug(b, vif), xen.FrontendConfig{Queues: 1}, xen.BackendConfig{})
	bufs := make([]*netif.Buf, 64)
	for _, dir := range [][2]netif.Device{{f, k}, {k, f}} {
		from, to := dir[0], dir[1]
		for _, size := range []int{60, 1514} {
			frames := batchOf(from, to, 32, size)
			b.Run(fmt.Sprintf("from %s/%d", from.Info().Name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for i := 0; i < b.N; i += len(frames) {
					turn(b, from, to, frames, bufs)
				}
			})
		}
		large := []netif.Frame{tcpFrame(65000, 1448), tcpFrame(65000, 1448), tcpFrame(65000, 1448), tcpFrame(65000, 1448)}
		b.Run(fmt.Sprintf("from %s/GSO", from.Info().Name), func(b *testing.B) {
			b.SetBytes(65054)
			b.ReportAllocs()
			for i := 0; i < b.N; i += len(large) {
				turn(b, from, to, large, bufs)
			}
		})
	}
}
