package xen_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/ring"
	"github.com/netduet/netduet/netif/xen/transport"
	"github.com/netduet/netduet/netif/xen/transport/memory"
)

// fakeBackend does the handshake of a back end, and then what the test says. It
// shares no code with Backend but the ring.
type fakeBackend struct {
	d              *memory.Domain
	tx, rx         *ring.Back
	txPage, rxPage []byte
	ch             transport.Channel
}

// fakeBack serves each connection of the guest once; it never looks at its states
// again.
func fakeBack(t testing.TB, h *memory.Hypervisor, v xen.Vif, keys map[string]string) *fakeBackend {
	t.Helper()
	b := &fakeBackend{d: h.Domain(v.Backend)}
	s := b.d.Store()
	for k, val := range keys {
		s.Write(v.BackendPath()+"/"+k, val)
	}
	s.Write(v.BackendPath()+"/state", "2")
	go func() {
		for n := 0; ; n++ {
			if st, _ := s.Read(v.FrontendPath() + "/state"); st == "4" {
				break
			}
			if n > 10000 {
				return
			}
			time.Sleep(time.Millisecond)
		}
		num := func(k string) uint64 {
			val, _ := s.Read(v.FrontendPath() + "/" + k)
			n, _ := strconv.ParseUint(val, 10, 32)
			return n
		}
		tx, err1 := b.d.Map(v.Frontend, transport.Ref(num("tx-ring-ref")))
		rx, err2 := b.d.Map(v.Frontend, transport.Ref(num("rx-ring-ref")))
		ch, err3 := b.d.Bind(v.Frontend, transport.Port(num("event-channel")))
		if err1 != nil || err2 != nil || err3 != nil {
			t.Error(err1, err2, err3)
			return
		}
		b.txPage, b.rxPage, b.ch = tx.Bytes(), rx.Bytes(), ch
		b.tx, _ = ring.NewBack(b.txPage, 3)
		b.rx, _ = ring.NewBack(b.rxPage, 2)
		b.rx.Requests()
		b.tx.Requests()
		s.Write(v.BackendPath()+"/state", "4")
	}()
	return b
}

var allFeatures = map[string]string{
	"feature-sg": "1", "feature-gso-tcpv4": "1", "feature-gso-tcpv6": "1", "feature-ipv6-csum-offload": "1", "feature-rx-copy": "1",
}

// tcpFrame is a TCP segment of n bytes with a GSO type.
func tcpFrame(n, mss int) netif.Frame {
	f := make([]byte, 54+n)
	f[12] = 8
	f[14], f[23] = 0x45, 6
	binary.BigEndian.PutUint16(f[16:], uint16(40+n))
	f[46] = 5 << 4
	m := netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16}
	if mss > 0 {
		m.GSO, m.HeaderLen, m.SegmentSize = netif.GSOTCP4, 54, uint16(mss)
	}
	return netif.Frame{Fragments: [][]byte{f[:54], f[54:]}, Meta: m}
}

// sane holds what is promised about a received frame, whoever sent it.
func sane(t testing.TB, d netif.Device, b *netif.Buf) {
	t.Helper()
	info, m := d.Info(), b.Meta
	if len(b.Data) < 14 || m.GSO == netif.GSONone && len(b.Data) > info.MTU+18 || len(b.Data) > 65535+18 {
		t.Fatalf("a frame of %d bytes with %+v", len(b.Data), m)
	}
	if m.Flags&netif.NeedsChecksum != 0 && int(m.ChecksumStart)+int(m.ChecksumOffset)+2 > len(b.Data) {
		t.Fatalf("a checksum field outside the frame of %d bytes: %+v", len(b.Data), m)
	}
	if m.GSO != netif.GSONone && (m.SegmentSize == 0 || int(m.HeaderLen) >= len(b.Data) || m.Flags&netif.NeedsChecksum == 0) {
		t.Fatalf("%d bytes with %+v", len(b.Data), m)
	}
}

// FuzzHostileBackend lets a back end answer with anything while frames are sent and
// received.
func FuzzHostileBackend(f *testing.F) {
	f.Add([]byte{0, 10, 1, 60, 2, 1, 8, 0, 3, 0, 9, 0})
	f.Add([]byte{4, 200, 0, 1, 5, 3, 6, 77, 2, 0, 7, 255, 3, 0, 9, 9, 0, 1})
	f.Add([]byte{1, 12, 1, 12, 1, 0, 2, 0, 3, 0, 8, 1, 8, 4, 8, 9})
	// A large frame in two slots and extra information, as it should be.
	f.Add([]byte{11, 8, 12, 1, 11, 0, 2, 0, 3, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			h := plug(t, vif)
			back := fakeBack(t, h, vif, allFeatures)
			dev, err := xen.OpenFrontend(context.Background(), xen.FrontendConfig{Transport: h.Domain(1), Queues: 1, Timeout: time.Second, Pages: 64})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			granted := h.Domain(1).Grants()
			q := dev.Queues()[0]
			var held []ring.Slot
			id := uint32(0)
			for len(script) >= 2 && dev.Stats().Broken == 0 {
				op, arg := script[0], script[1]
				script = script[2:]
				switch op & 15 {
				case 0:
					q.Write([]netif.Frame{frame(dev, dev, arg, 15+int(arg)*6)})
				case 1: // a response with flags, length and offset of the script's
					if v, ok := back.rx.Take(); ok {
						id = v[0]
						back.rx.Put(ring.Slot{id&0xffff | uint32(op&0x40)<<20, uint32(arg) | uint32(op&0xf0)<<20})
					}
				case 2:
					back.rx.Push()
					back.rx.Requests()
				case 3:
					var bufs [4]*netif.Buf
					n, err := q.Read(bufs[:])
					if err != nil {
						t.Fatal(err)
					}
					for _, b := range bufs[:n] {
						sane(t, dev, b)
						b.Release()
					}
				case 4: // scribble over a ring
					back.rxPage[int(op>>4)*16+int(arg&15)] ^= arg
				case 5:
					back.txPage[int(op>>4)*16+int(arg&15)] ^= arg
				case 6: // take requests of the transmitter
					back.tx.Requests()
					if v, ok := back.tx.Take(); ok {
						held = append(held, v)
					}
				case 7: // and answer them, perhaps with another id
					if len(held) > 0 {
						back.tx.Put(ring.Slot{held[0][2]&0xffff ^ uint32(op>>4) | uint32(arg)<<16})
						held = held[1:]
					}
					back.tx.Push()
				case 8:
					q.Write([]netif.Frame{tcpFrame(int(arg)*250, 1+int(op>>4)*100)})
				case 9:
					back.ch.Notify()
				case 10:
					<-time.After(time.Millisecond)
				case 11: // a good response
					if v, ok := back.rx.Take(); ok {
						back.rx.Put(ring.Slot{v[0], uint32(arg&15) | 4096<<16})
					}
				case 12: // extra information
					if _, ok := back.rx.Take(); ok {
						back.rx.Put(ring.Slot{uint32(arg&1) | uint32(op>>4)<<8 | 1000<<16, uint32(arg >> 1)})
					}
				case 13:
					select {
					case <-q.Writable():
					default:
					}
				default: // a page that the guest posted
					if n := len(back.rxPage); n > 0 {
						back.d.Copy(1, []transport.CopyOp{{Ref: transport.Ref(id), Local: []byte{arg}, Write: true}})
					}
				}
				if n := h.Domain(1).Grants(); dev.Stats().Broken == 0 && dev.Stats().Connects == 1 && n != granted && n != 0 {
					t.Fatalf("%d pages are granted, there were %d", n, granted)
				}
			}
			dev.Close()
			back.ch.Close()
			if h.Domain(1).Grants() != 0 || h.Domain(1).Ports() != 0 {
				t.Fatalf("%d pages and %d channels are left", h.Domain(1).Grants(), h.Domain(1).Ports())
			}
		})
	})
}

// fakeFrontend connects to a Backend and then does what the test says.
type fakeFrontend struct {
	d              *memory.Domain
	tx, rx         *ring.Front
	txPage, rxPage []byte
	mem            transport.Region
	ch             transport.Channel
}

// fakeFront connects, with a request for multicast control or without.
func fakeFront(t testing.TB, h *memory.Hypervisor, v xen.Vif, multicast bool) *fakeFrontend {
	t.Helper()
	f := &fakeFrontend{d: h.Domain(v.Frontend)}
	must := func(r transport.Region, err error) transport.Region {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	tx, rx := must(f.d.Grant(v.Backend, 1, true)), must(f.d.Grant(v.Backend, 1, true))
	f.mem = must(f.d.Grant(v.Backend, 64, true))
	f.txPage, f.rxPage = tx.Bytes(), rx.Bytes()
	f.tx, _ = ring.NewFront(f.txPage, 3)
	f.rx, _ = ring.NewFront(f.rxPage, 2)
	var err error
	if f.ch, err = f.d.Listen(v.Backend); err != nil {
		t.Fatal(err)
	}
	s := f.d.Store()
	for k, val := range map[string]string{
		"tx-ring-ref": fmt.Sprint(tx.Refs()[0]), "rx-ring-ref": fmt.Sprint(rx.Refs()[0]), "event-channel": fmt.Sprint(f.ch.Port()),
		"request-rx-copy": "1", "feature-sg": "1", "feature-gso-tcpv4": "1", "feature-rx-notify": "1",
		"request-multicast-control": map[bool]string{false: "0", true: "1"}[multicast],
	} {
		s.Write(v.FrontendPath()+"/"+k, val)
	}
	s.Write(v.FrontendPath()+"/state", "4")
	return f
}

// FuzzHostileFrontend lets a guest ask for anything.
func FuzzHostileFrontend(f *testing.F) {
	f.Add([]byte{0, 10, 1, 60, 2, 1, 8, 0, 3, 0, 9, 0})
	f.Add([]byte{0x20, 0, 0x30, 4, 0x40, 0, 1, 0, 2, 0, 3, 3, 4, 1, 5, 5, 2, 0})
	f.Add([]byte{0x10, 8, 6, 1, 0x10, 0, 1, 0, 2, 0, 9, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			h := plug(t, vif)
			dev, err := xen.OpenBackend(context.Background(), xen.BackendConfig{Transport: h.Domain(0), Domain: 1, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			front := fakeFront(t, h, vif, true)
			synctest.Wait()
			if dev.Stats().Connects != 1 {
				t.Fatal("not connected")
			}
			q := dev.Queues()[0]
			refs := front.mem.Refs()
			for len(script) >= 2 {
				op, arg := script[0], script[1]
				script = script[2:]
				switch op & 15 {
				case 0: // a request: flags, page, offset and size of the script's
					if at, ok := front.tx.Reserve(1); ok {
						size := uint32(op>>4)*300 + uint32(arg)
						front.tx.Put(at, ring.Slot{uint32(refs[arg%64]), uint32(arg)<<4 | uint32(arg&15)<<16, size<<16 | uint32(arg)})
					}
				case 1:
					front.tx.Push()
				case 2:
					var bufs [4]*netif.Buf
					n, err := q.Read(bufs[:])
					if err != nil {
						t.Fatal(err)
					}
					for _, b := range bufs[:n] {
						sane(t, dev, b)
						b.Release()
					}
				case 3:
					q.Write([]netif.Frame{frame(dev, dev, arg, 15+int(arg)*6)})
				case 4: // post a page, perhaps one that does not exist
					if at, ok := front.rx.Reserve(1); ok {
						front.rx.Put(at, ring.Slot{uint32(arg), uint32(refs[arg%64]) + uint32(op>>7)})
					}
					front.rx.Push()
				case 5:
					front.txPage[int(op>>4)*16+int(arg&15)] ^= arg
				case 6: // extra information of any kind
					if at, ok := front.tx.Reserve(1); ok {
						front.tx.Put(at, ring.Slot{uint32(arg&7) | uint32(op>>4&1)<<8 | uint32(arg)<<16, uint32(arg >> 3)})
					}
				case 7:
					front.rxPage[int(op>>4)*16+int(arg&15)] ^= arg
				case 8:
					q.Write([]netif.Frame{tcpFrame(int(arg)*250, 1+int(op>>4)*100)})
				case 9:
					front.ch.Notify()
				case 10:
					time.Sleep(time.Millisecond)
				case 11:
					n, _ := front.tx.Responses()
					for range n {
						front.tx.Take()
					}
					n, _ = front.rx.Responses()
					for range n {
						front.rx.Take()
					}
				case 12:
					front.d.Store().Write(vif.FrontendPath()+"/state", strconv.Itoa(int(arg&7)))
				case 13:
					select {
					case <-q.Writable():
					default:
					}
				default: // headers that almost are some
					b := front.mem.Bytes()
					copy(b[int(arg%64)*4096:], tcpFrame(100, 0).Fragments[0])
					b[int(arg%64)*4096+int(op>>4)*4] ^= arg
				}
			}
			front.ch.Close()
			dev.Close()
			if h.Domain(0).Mapped() != 0 || h.Domain(0).Ports() != 0 {
				t.Fatalf("%d pages are mapped, %d channels are left", h.Domain(0).Mapped(), h.Domain(0).Ports())
			}
		})
	})
}

// Linux's netback answers in any order, a request and its extra information
// together, wherever in the ring that is then.
func TestAnswersOutOfOrder(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		fake := fakeBack(t, h, v, allFeatures)
		f, err := xen.OpenFrontend(context.Background(), xen.FrontendConfig{Transport: h.Domain(1), Queues: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		synctest.Wait()
		q := f.Queues()[0]
		sent := 0
		for round := range 500 {
			var frames []netif.Frame
			for i := range 12 {
				frames = append(frames, frame(f, f, 1, 100), tcpFrame(1500+i*997, 1448))
			}
			n, err := q.Write(frames)
			if err != nil || n < len(frames)/2 {
				t.Fatalf("round %d: %d frames, %v: slots or pages were lost", round, n, err)
			}
			sent += n
			// What was taken, by id, with what belongs to it, last first.
			var done [][]ring.Slot
			k, err := fake.tx.Requests()
			if err != nil {
				t.Fatal(err)
			}
			for k > 0 {
				r, _ := fake.tx.Take()
				k--
				answer := []ring.Slot{{r[2] & 0xffff}}
				if r[1]>>16&8 != 0 {
					fake.tx.Take()
					k--
					answer = append(answer, ring.Slot{1<<16 | 0xbeef})
				}
				done = append(done, answer)
			}
			for i := len(done) - 1; i >= 0; i-- {
				for _, a := range done[i] {
					fake.tx.Put(a)
				}
			}
			fake.tx.Push()
		}
		if s := f.Stats(); s.Broken+s.TxRefused+s.TxUnsendable > 0 || s.Connects != 1 {
			t.Errorf("after %d frames: %+v", sent, s)
		}
		fake.ch.Close()
	})
}

// After a back end broke the protocol the front end leaves it alone for a while,
// and then works with one that behaves.
func TestBrokenBackend(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		fake := fakeBack(t, h, v, allFeatures)
		f, err := xen.OpenFrontend(context.Background(), xen.FrontendConfig{Transport: h.Domain(1), Queues: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		synctest.Wait()
		fake.tx.Requests()
		fake.rx.Take()
		binary.LittleEndian.PutUint32(fake.rxPage[8:], 1000) // 1000 responses to 256 requests
		q := f.Queues()[0]
		var bufs [4]*netif.Buf
		if n, err := q.Read(bufs[:]); n != 0 || err != nil {
			t.Errorf("Read: %d, %v", n, err)
		}
		synctest.Wait()
		fake.ch.Close()
		h.Domain(2).Close()
		b := backend(t, h, 2)
		settle(t, f, 2)
		if n := f.Stats().Broken; n != 1 {
			t.Errorf("%d connections were counted as broken, want 1", n)
		}
		synctest.Wait()
		both(t, f, b)
	})
}

// A guest that breaks the protocol is disconnected, and served again when it begins
// anew.
func TestBrokenFrontend(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		b := backend(t, h, 2)
		fake := fakeFront(t, h, v, true)
		synctest.Wait()
		fake.tx.Reserve(1)
		fake.tx.Put(0, ring.Slot{uint32(fake.mem.Refs()[0]), 4 << 16, 5000 << 16}) // more follows, but does not
		fake.tx.Push()
		var bufs [4]*netif.Buf
		if n, err := b.Queues()[0].Read(bufs[:]); n != 0 || err != nil {
			t.Errorf("Read: %d, %v", n, err)
		}
		synctest.Wait()
		if n := b.Stats().Broken; n != 1 {
			t.Errorf("%d connections were counted as broken, want 1", n)
		}
		if st, _ := h.Domain(1).Store().Read(v.BackendPath() + "/state"); st != "5" {
			t.Errorf("the back end's state is %s, want 5", st)
		}
		if h.Domain(2).Mapped() != 0 {
			t.Error("pages of the guest are still mapped")
		}
		fake.ch.Close()
		h.Domain(1).Close()
		f := frontend(t, h)
		synctest.Wait()
		both(t, f, b)
	})
}

// What a back end does with single bad requests: an error to each, and no harm.
func TestMalformedRequests(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		b := backend(t, h, 2)
		g := fakeFront(t, h, v, true)
		synctest.Wait()
		ref := uint32(g.mem.Refs()[3])
		one := func(ref, offset, flags, size uint32) []ring.Slot {
			return []ring.Slot{{ref, offset | flags<<16, 7 | size<<16}}
		}
		long := []ring.Slot{{ref, 4 << 16, 60000<<16 | 7}}
		for range 18 {
			long = append(long, ring.Slot{ref, 4 << 16, 100<<16 | 7})
		}
		long = append(long, ring.Slot{ref, 0, 100<<16 | 7})
		for name, c := range map[string]struct {
			slots []ring.Slot
			want  int16
		}{
			"good":               {one(ref, 0, 0, 60), 0},
			"14 bytes":           {one(ref, 0, 0, 14), 0},
			"13 bytes":           {one(ref, 0, 0, 13), -1},
			"nothing":            {one(ref, 0, 0, 0), -1},
			"unknown grant":      {one(1, 0, 0, 60), -1},
			"crosses the page":   {one(ref, 4090, 0, 60), -1},
			"ends with the page": {one(ref, 4036, 0, 60), 0},
			"too long":           {one(ref, 0, 0, 4000), 0}, // taken and dropped: it is over the MTU
			"parts exceed whole": {[]ring.Slot{{ref, 4 << 16, 100<<16 | 7}, {ref, 0, 100<<16 | 7}}, -1},
			"empty second part":  {[]ring.Slot{{ref, 4 << 16, 100<<16 | 7}, {ref, 0, 7}}, -1},
			"20 slots":           {long, -1},
		} {
			at, ok := g.tx.Reserve(len(c.slots))
			if !ok {
				t.Fatal("no room")
			}
			for i, s := range c.slots {
				g.tx.Put(at+uint32(i), s)
			}
			g.tx.Push()
			var bufs [4]*netif.Buf
			n, err := b.Queues()[0].Read(bufs[:])
			if err != nil {
				t.Fatal(err)
			}
			if want := 1; c.want == 0 && name != "too long" && n != want || (c.want != 0 || name == "too long") && n != 0 {
				t.Errorf("%s: %d frames were read", name, n)
			}
			for _, b := range bufs[:n] {
				b.Release()
			}
			k, err := g.tx.Responses()
			if err != nil || k != len(c.slots) {
				t.Fatalf("%s: %d responses, %v, want %d", name, k, err, len(c.slots))
			}
			for range k {
				if _, v, _ := g.tx.Take(); int16(v[0]>>16) != c.want || uint16(v[0]) != 7 {
					t.Errorf("%s: response %x, want status %d", name, v[0], c.want)
				}
			}
		}
		g.ch.Close()
	})
}
