//go:build !race

package packet_test

import (
	"context"
	"testing"

	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/packet"
)

// The race detector makes sync.Pool forget, and so allocate.

// A frame costs no allocation in either direction, large or small, and waiting none
// either.
func TestNoAllocations(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	veth(t, "va", "vb")
	d, far := open(t, packet.Config{Name: "va"}), open(t, packet.Config{Name: "vb"})
	settle(t, d, far)
	to, from := d.Info().MAC, far.Info().MAC
	small := frame(to, from, experimental, make([]byte, 900))
	large := tcpFrame(to, from, 40000)
	frames := []netif.Frame{
		{Fragments: [][]byte{small[:60], small[60:]}},
		{Fragments: [][]byte{large[:54], large[54:30000], large[30000:]}, Meta: netif.Meta{
			Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16, GSO: netif.GSOTCP4, HeaderLen: 54, SegmentSize: 1400,
		}},
		{Fragments: [][]byte{small[:60], small[60:]}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	q := d.Queues()[0]
	bufs := make([]*netif.Buf, 8)
	allocs := testing.AllocsPerRun(200, func() {
		send(t, far, frames...)
		for got := 0; got < len(frames); {
			if err := q.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			n, err := q.Read(bufs)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range bufs[:n] {
				b.Release()
			}
			got += n
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
