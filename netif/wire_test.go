package netif_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/netif"
)

func newWire(t testing.TB, cfg netif.WireConfig) (a, b *netif.Port) {
	t.Helper()
	a, b, err := netif.NewWire(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// udpFrame is an Ethernet frame of an IPv4 UDP datagram with the given ports, its
// checksums left zero, and payload bytes that count up.
func udpFrame(src, dst byte, sport, dport uint16, payload int) []byte {
	f := make([]byte, 14+20+8+payload)
	f[12], f[13] = 8, 0
	ip := f[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], []byte{10, 0, 0, src})
	copy(ip[16:], []byte{10, 0, 0, dst})
	binary.BigEndian.PutUint16(ip[20:], sport)
	binary.BigEndian.PutUint16(ip[22:], dport)
	binary.BigEndian.PutUint16(ip[24:], uint16(8+payload))
	for i := range payload {
		ip[28+i] = byte(i)
	}
	return f
}

func TestWireWaitInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newWire(t, netif.WireConfig{})
		q := b.Queues()[0]
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		if err := q.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Hour {
			t.Fatalf("Wait returned %v after %v", err, time.Since(start))
		}
		woken := make(chan error)
		go func() {
			// What the first Wait left behind may wake this one once for nothing.
			for {
				if err := q.Wait(context.Background()); err != nil {
					woken <- err
					return
				}
				var bufs [4]*netif.Buf
				if n, _ := q.Read(bufs[:]); n > 0 {
					woken <- nil
					return
				}
			}
		}()
		synctest.Wait()
		select {
		case err := <-woken:
			t.Fatalf("Wait returned (%v) before anything was written", err)
		default:
		}
		a.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{make([]byte, 60)}}})
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		go func() { woken <- q.Wait(context.Background()) }()
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-woken; err != net.ErrClosed {
			t.Fatalf("Wait after Close: %v", err)
		}
	})
}

func TestWireSteersFlowsBothWaysToOneQueue(t *testing.T) {
	a, b := newWire(t, netif.WireConfig{Queues: 4})
	used := make(map[int]int)
	arrived := func(p *netif.Port) int {
		t.Helper()
		at := -1
		for i, q := range p.Queues() {
			var bufs [4]*netif.Buf
			n, err := q.Read(bufs[:])
			if err != nil || n > 1 {
				t.Fatal(n, err)
			}
			if n == 1 {
				bufs[0].Release()
				at = i
			}
		}
		return at
	}
	for port := uint16(1000); port < 1256; port++ {
		a.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{udpFrame(1, 2, port, 7, 10)}}})
		there := arrived(b)
		b.Queues()[3].Write([]netif.Frame{{Fragments: [][]byte{udpFrame(2, 1, 7, port, 10)}}})
		if back := arrived(a); back != there || there < 0 {
			t.Fatalf("port %d: queue %d there, queue %d back", port, there, back)
		}
		used[there]++
	}
	for i := range 4 {
		if used[i] < 32 {
			t.Errorf("queue %d got %d of 256 flows", i, used[i])
		}
	}
}

func TestWireShortWriteResumes(t *testing.T) {
	for _, queues := range []int{1, 3} {
		a, b := newWire(t, netif.WireConfig{Ring: 10, Queues: queues})
		const total = 5000
		var wg sync.WaitGroup
		wg.Go(func() {
			q := a.Queues()[0]
			var frames []netif.Frame
			for i := range total {
				frames = append(frames, netif.Frame{Fragments: [][]byte{udpFrame(1, 2, uint16(i), 7, i%100)}})
			}
			short := 0
			for len(frames) > 0 {
				n, err := q.Write(frames[:min(len(frames), 37)])
				if err != nil {
					t.Error(err)
					return
				}
				if frames = frames[n:]; len(frames) > 0 && n < 37 {
					short++
					<-q.Writable()
				}
			}
			if short == 0 {
				t.Error("no Write was short")
			}
		})
		var got sync.Map
		var all sync.WaitGroup
		all.Add(total)
		for _, q := range b.Queues() {
			wg.Go(func() {
				var bufs [8]*netif.Buf
				for {
					n, err := q.Read(bufs[:])
					if err != nil {
						return
					}
					for _, f := range bufs[:n] {
						if _, twice := got.LoadOrStore(binary.BigEndian.Uint16(f.Data[34:]), true); twice {
							t.Error("a frame arrived twice")
						}
						f.Release()
						all.Done()
					}
					if n == 0 {
						q.Wait(context.Background())
					}
				}
			})
		}
		all.Wait()
		b.Close()
		wg.Wait()
	}
}

func TestWireCarriesMetaAndDropsWhatItCannot(t *testing.T) {
	a, b := newWire(t, netif.WireConfig{Offloads: netif.TxTSO4})
	if want := netif.TxTSO4 | netif.TxChecksum | netif.RxChecksum | netif.RxGSO; a.Info().Offloads != want {
		t.Fatalf("offloads %b, want %b", a.Info().Offloads, want)
	}
	big := bytes.Repeat([]byte{0x45}, 60000)
	meta := netif.Meta{GSO: netif.GSOTCP4, Flags: netif.NeedsChecksum | netif.MetaHeadroom | netif.ChecksumValid,
		HeaderLen: 54, SegmentSize: 1460, ChecksumStart: 34, ChecksumOffset: 16}
	wrong := meta
	wrong.SegmentSize = 1461
	six := meta
	six.GSO = netif.GSOTCP6
	q := a.Queues()[0]
	n, err := q.Write([]netif.Frame{
		{Fragments: [][]byte{big[:54], big[54:20000], big[20000:]}, Meta: meta},
		{Fragments: [][]byte{big}, Meta: wrong},
		{Fragments: [][]byte{big}, Meta: six},
		{Fragments: [][]byte{big}},
		{Fragments: [][]byte{big[:1515]}},
		{Fragments: [][]byte{big[:13]}},
		{},
		{Fragments: [][]byte{big[:1514]}},
	})
	if n != 8 || err != nil {
		t.Fatal(n, err)
	}
	var bufs [10]*netif.Buf
	n, _ = b.Queues()[0].Read(bufs[:])
	if n != 2 || len(bufs[0].Data) != 60000 || len(bufs[1].Data) != 1514 {
		t.Fatalf("%d frames arrived", n)
	}
	meta.Flags = netif.NeedsChecksum
	if bufs[0].Meta != meta || bufs[1].Meta != (netif.Meta{}) {
		t.Errorf("meta %+v and %+v", bufs[0].Meta, bufs[1].Meta)
	}
	if d := a.Stats().Dropped; d != 6 {
		t.Errorf("%d frames counted as dropped, want 6", d)
	}
}

func TestWireLinkDown(t *testing.T) {
	a, b := newWire(t, netif.WireConfig{Ring: 1})
	q := a.Queues()[0]
	f := []netif.Frame{{Fragments: [][]byte{make([]byte, 100)}}, {Fragments: [][]byte{make([]byte, 100)}}}
	if n, err := q.Write(f); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	w := q.Writable()
	select {
	case <-w:
		t.Fatal("writable with a full ring")
	default:
	}
	b.Close()
	<-w
	if n, err := q.Write(f); n != 2 || err != nil || a.Stats().Dropped != 2 {
		t.Fatal(n, err, a.Stats())
	}
}

func TestWireConfigErrors(t *testing.T) {
	mac := netif.MAC{2, 1}
	for _, cfg := range []netif.WireConfig{
		{MTU: 67}, {MTU: 65536}, {Queues: -1}, {Ring: -1}, {Ring: 1 << 20}, {Link: 7},
		{MACs: []netif.MAC{mac, mac}}, {MACs: make([]netif.MAC, 3)}, {MACs: []netif.MAC{{1}}},
		{Link: netif.LinkIP, MACs: []netif.MAC{mac}},
	} {
		if _, _, err := netif.NewWire(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func TestWireAllocatesNothingPerFrame(t *testing.T) {
	a, b := newWire(t, netif.WireConfig{Queues: 2})
	frames := make([]netif.Frame, 100)
	for i := range frames {
		f := udpFrame(1, 2, uint16(i), 7, 1000)
		frames[i].Fragments = [][]byte{f[:42], f[42:]}
	}
	bufs := make([]*netif.Buf, 64)
	round := func() {
		if n, _ := a.Queues()[0].Write(frames); n != len(frames) {
			t.Fatal("short write")
		}
		for _, q := range b.Queues() {
			for {
				n, _ := q.Read(bufs)
				if n == 0 {
					break
				}
				for _, f := range bufs[:n] {
					f.Release()
				}
			}
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations for 100 frames", n)
	}
}

// BenchmarkWire moves frames from one goroutine to another.
func BenchmarkWire(b *testing.B) {
	for _, bench := range []struct {
		name string
		size int
	}{{"60", 60}, {"1514", 1514}, {"64K", 65000}} {
		b.Run(bench.name, func(b *testing.B) {
			x, y := newWire(b, netif.WireConfig{Offloads: netif.TxTSO4, Ring: 256})
			frames := make([]netif.Frame, 32)
			for i := range frames {
				frames[i].Fragments = [][]byte{make([]byte, 54), make([]byte, bench.size-54)}
				if bench.size > 1514 {
					frames[i].Meta = netif.Meta{GSO: netif.GSOTCP4, HeaderLen: 54, SegmentSize: 1460}
				}
			}
			b.SetBytes(int64(bench.size))
			b.ReportAllocs()
			done := make(chan struct{})
			go func() {
				defer close(done)
				q := y.Queues()[0]
				bufs := make([]*netif.Buf, 64)
				for got := 0; got < b.N; {
					n, _ := q.Read(bufs)
					for _, f := range bufs[:n] {
						f.Release()
					}
					if got += n; n == 0 {
						q.Wait(context.Background())
					}
				}
			}()
			q := x.Queues()[0]
			for sent := 0; sent < b.N; {
				want := min(len(frames), b.N-sent)
				n, _ := q.Write(frames[:want])
				if sent += n; n < want {
					<-q.Writable()
				}
			}
			<-done
		})
	}
}

func TestWireReadAfterCloseDrains(t *testing.T) {
	a, b := newWire(t, netif.WireConfig{})
	for i := range 5 {
		write(t, a, numbered(i, 100))
	}
	a.Close()
	b.Close()
	var bufs [3]*netif.Buf
	q := b.Queues()[0]
	for _, want := range []int{3, 2, 0} {
		n, err := q.Read(bufs[:])
		if n != want || (err == net.ErrClosed) != (n == 0) {
			t.Fatalf("Read after Close: %d, %v, want %d frames", n, err, want)
		}
	}
}
