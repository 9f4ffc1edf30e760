//go:build !race

package tap

import (
	"context"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif"
)

// The race detector makes sync.Pool forget, and so allocate.

// A frame costs no allocation in either direction, and waiting none either.
func TestNoAllocations(t *testing.T) {
	for _, hdr := range []int{0, 12} {
		_, q, far := pairQueue(t, hdr, binary.NativeEndian)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		head, body := make([]byte, 54), make([]byte, 900)
		frames := []netif.Frame{{Fragments: [][]byte{head, body}}}
		bufs := make([]*netif.Buf, 4)
		buf := make([]byte, 2048)
		n := testing.AllocsPerRun(200, func() {
			if n, err := q.Write(frames); n != 1 || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
			n, err := unix.Read(far, buf)
			if err != nil {
				t.Fatal(err)
			}
			unix.Write(far, buf[:n])
			if err := q.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			if n, err := q.Read(bufs); n != 1 || err != nil {
				t.Fatalf("Read = %d, %v", n, err)
			}
			bufs[0].Release()
		})
		if n != 0 {
			t.Errorf("header of %d: %v allocations a frame", hdr, n)
		}
	}
}

// Large frames cost no allocation either, nor do the small ones between them.
func TestNoAllocationsLarge(t *testing.T) {
	_, q, far := pairQueue(t, 10, binary.NativeEndian)
	unix.SetsockoptInt(far, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	bufs := make([]*netif.Buf, 64)
	frame := make([]byte, 10+40000)
	frame[1], frame[4], frame[5] = 1, 5, 5 // TCP, segments of 1285 bytes
	n := testing.AllocsPerRun(200, func() {
		for i, size := range []int{100, len(frame), 100, 2000} {
			if _, err := unix.Write(far, frame[:size]); err != nil {
				t.Fatal(i, err)
			}
		}
		n, err := q.Read(bufs)
		if n != 4 || err != nil {
			t.Fatalf("Read = %d, %v", n, err)
		}
		for i, b := range bufs[:n] {
			if large := len(b.Store()) > 4096; large != (i%2 == 1) {
				t.Fatalf("frame %d in a buffer of %d", i, len(b.Store()))
			}
			b.Release()
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
