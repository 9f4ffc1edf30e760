package tap_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/tap"
)

const tcpOffloads = netif.TxChecksum | netif.TxTSO4 | netif.TxTSO6 | netif.RxChecksum | netif.RxGSO

// Who opens a tap decides about its offloads, whatever came before and however the
// tap was made.
func TestOffloadSettings(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	for name, kind := range map[string]netns.Tap{
		"plain": {Owner: -1}, "vnet": {Owner: -1, VNetHdr: true}, "multi": {Owner: -1, MultiQueue: true},
	} {
		if err := netns.AddTap(name, kind); err != nil {
			t.Fatal(err)
		}
		for _, want := range []tap.Offload{tap.OffloadAuto, tap.OffloadOff, tap.OffloadOn, tap.OffloadOff} {
			d := open(t, tap.Config{Name: name, Offload: want})
			on := want != tap.OffloadOff
			if got := offloadsOf(t, name); got != on {
				t.Errorf("%s, %d: the kernel has offloads: %v", name, want, got)
			}
			if got := d.Info().Offloads; on != got.Has(tcpOffloads) || !on && got != 0 {
				t.Errorf("%s, %d: announced %b", name, want, got)
			}
			d.Close()
		}
	}
	const base = unix.IFF_TAP | unix.IFF_NO_PI
	for _, want := range []tap.Offload{tap.OffloadAuto, tap.OffloadOff, tap.OffloadOn} {
		fd := rawTap(t, "inherited", base|unix.IFF_VNET_HDR)
		d := open(t, tap.Config{FDs: []int{fd}, Offload: want})
		if got, on := offloadsOf(t, "inherited"), want != tap.OffloadOff; got != on || on != d.Info().Offloads.Has(tcpOffloads) {
			t.Errorf("inherited, %d: %v, %+v", want, got, d.Info())
		}
		d.Close()
	}
	fd := rawTap(t, "bare", base)
	if d, err := tap.Open(context.Background(), tap.Config{FDs: []int{fd}, Offload: tap.OffloadOn}); err == nil {
		d.Close()
		t.Error("offloads without the header")
	} else if !strings.Contains(err.Error(), "IFF_VNET_HDR") {
		t.Error(err)
	}
	d := open(t, tap.Config{FDs: []int{fd}})
	if d.Info().Offloads != 0 {
		t.Errorf("info %+v", d.Info())
	}
}

// A frame that fits the MTU never occupies a large buffer.
func TestBufferSizes(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	d := open(t, tap.Config{Name: "t0"})
	p := newPeerOf(t, "t0", true)
	q := d.Queues()[0]
	for _, size := range []int{1, 1446, 1460, 1600, 20000, 65000, 700} {
		seg := tcpSegment(d.Info().MAC, p.info.MAC, size)
		f := netif.Frame{Fragments: [][]byte{seg}, Meta: netif.Meta{
			Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16,
		}}
		if size > 1460 {
			f.Meta.GSO, f.Meta.HeaderLen, f.Meta.SegmentSize = netif.GSOTCP4, 54, 1460
		}
		if n, err := p.Write([]netif.Frame{f}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		b := recvType(t, q, 0x0800)
		if string(b.Data) != string(seg) {
			t.Fatalf("%d bytes: %d arrived, %+v", len(seg), len(b.Data), b.Meta)
		}
		if large := len(b.Store()) > 4096; large != (size > 1460) {
			t.Errorf("a frame of %d bytes in a buffer of %d", len(seg), len(b.Store()))
		}
		if size > 1460 && (b.Meta.GSO != netif.GSOTCP4 || b.Meta.SegmentSize != 1460) {
			t.Errorf("%d bytes: %+v", size, b.Meta)
		}
		b.Release()
	}
	if s := d.Stats(); s != (tap.Stats{}) {
		t.Errorf("stats %+v", s)
	}
}

// The kernel sends a flow to the queue that spoke last in it, so an answer on the
// queue of the question keeps a flow where it is.
func TestFlowAffinity(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	const queues = 4
	d := open(t, tap.Config{Name: "mq", Queues: queues})
	mac := d.Info().MAC
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(netns.LinkUp("mq"))
	must(netns.AddAddr("mq", netip.MustParsePrefix("10.0.0.1/24")))
	must(netns.AddNeigh("mq", netip.MustParseAddr("10.0.0.2"), mac))
	kernel, err := net.InterfaceByName("mq")
	must(err)
	// Where the frame of a flow arrives, and the frame.
	where := func() (int, []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		type arrival struct {
			queue int
			data  []byte
		}
		got := make(chan arrival, queues)
		done := make(chan struct{}, queues)
		for i, q := range d.Queues() {
			go func() {
				defer func() { done <- struct{}{} }()
				var bufs [1]*netif.Buf
				for q.Wait(ctx) == nil {
					if n, _ := q.Read(bufs[:]); n == 1 && bufs[0].Data[12] == 8 && bufs[0].Data[13] == 0 {
						got <- arrival{i, bufs[0].Data}
						return
					}
				}
			}()
		}
		a := <-got
		cancel()
		for range queues {
			<-done
		}
		return a.queue, a.data
	}
	moved := 0
	for range 8 {
		c, err := net.Dial("udp", "10.0.0.2:9")
		must(err)
		defer c.Close()
		c.Write([]byte("question"))
		at, ask := where()
		for to := range queues {
			// The answer from the queue of our choice: addresses and ports the other way.
			reply := append([]byte{}, ask...)
			copy(reply, kernel.HardwareAddr)
			copy(reply[6:], mac[:])
			copy(reply[26:], ask[30:34])
			copy(reply[30:], ask[26:30])
			copy(reply[34:], ask[36:38])
			copy(reply[36:], ask[34:36])
			f := netif.Frame{Fragments: [][]byte{reply}, Meta: netif.Meta{
				Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 6,
			}}
			if n, err := d.Queues()[to].Write([]netif.Frame{f}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			var answer [16]byte
			if n, err := c.Read(answer[:]); err != nil || string(answer[:n]) != "question" {
				t.Fatal(n, err)
			}
			c.Write([]byte("again"))
			got, again := where()
			if string(again[42:47]) != "again" {
				t.Fatalf("got % x", again)
			}
			if got != to {
				t.Errorf("answered on queue %d, the next question came by %d", to, got)
			}
			if to != at {
				moved++
			}
			c.Write([]byte("question"))
			_, ask = where()
		}
	}
	if moved == 0 {
		t.Error("no flow ever moved: the test shows nothing")
	}
}
