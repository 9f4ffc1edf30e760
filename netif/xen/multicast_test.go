package xen_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/ring"
	"github.com/netduet/netduet/netif/xen/transport/memory"
)

// Extra information of a guest's (xen/io/netif.h).
const (
	groupAdd = 2
	groupDel = 3
)

// control sends one request of multicast control and returns its status.
func (f *fakeFrontend) control(t testing.TB, q netif.Queue, kind uint32, group netif.MAC) int16 {
	t.Helper()
	const id, hasExtra = 7, 8
	at, ok := f.tx.Reserve(2)
	if !ok {
		t.Fatal("the ring is full")
	}
	f.tx.Put(at, ring.Slot{uint32(f.mem.Refs()[0]), hasExtra << 16, id})
	f.tx.Put(at+1, ring.Slot{
		kind | uint32(group[0])<<16 | uint32(group[1])<<24,
		uint32(group[2]) | uint32(group[3])<<8 | uint32(group[4])<<16 | uint32(group[5])<<24,
	})
	f.tx.Push()
	f.ch.Notify()
	var bufs [4]*netif.Buf
	if n, err := q.Read(bufs[:]); n != 0 || err != nil {
		t.Fatalf("Read: %d frames, %v", n, err)
	}
	if n, err := f.tx.Responses(); n != 2 || err != nil {
		t.Fatalf("%d responses, %v", n, err)
	}
	_, answer, _ := f.tx.Take()
	_, null, _ := f.tx.Take()
	if answer[0]&0xffff != id || null[0]>>16 != 1 {
		t.Fatalf("answered %x, %x", answer[0], null[0])
	}
	return int16(answer[0] >> 16)
}

// reaches reports whether a frame to the address comes to the guest.
func (f *fakeFrontend) reaches(t testing.TB, dev *xen.Backend, to netif.MAC) bool {
	t.Helper()
	b := make([]byte, 60)
	copy(b, to[:])
	b[12], b[13] = 0x88, 0xb5
	if n, err := dev.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{b}}}); n != 1 || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	synctest.Wait()
	n, err := f.rx.Responses()
	if err != nil || n > 1 {
		t.Fatalf("%d frames came, %v", n, err)
	}
	for range n {
		f.rx.Take()
		f.post(t)
	}
	return n == 1
}

// post gives the back end one page for a frame.
func (f *fakeFrontend) post(t testing.TB) {
	t.Helper()
	at, ok := f.rx.Reserve(1)
	if !ok {
		t.Fatal("the ring is full")
	}
	f.rx.Put(at, ring.Slot{uint32(at & 31), uint32(f.mem.Refs()[1+at&31])})
	f.rx.Push()
	f.ch.Notify()
}

// A guest that asked for multicast control sees the groups that it added and no
// others, and cannot make the list of them longer than it may be.
func TestMulticastControl(t *testing.T) {
	group := func(n byte) netif.MAC { return netif.MAC{0x33, 0x33, 0xff, 0, 1, n} }
	const ok, refused = 0, -1
	with := func(t *testing.T, requested bool, run func(t *testing.T, b *xen.Backend, f *fakeFrontend)) {
		synctest.Test(t, func(t *testing.T) {
			h := plug(t, vif)
			b, err := xen.OpenBackend(context.Background(), xen.BackendConfig{Transport: h.Domain(0), Domain: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if v, err := h.Domain(0).Store().Read(vif.BackendPath() + "/feature-multicast-control"); v != "1" || err != nil {
				t.Fatalf("offered: %q, %v", v, err)
			}
			f := fakeFront(t, h, vif, requested)
			defer f.ch.Close()
			synctest.Wait()
			for range 8 {
				f.post(t)
			}
			synctest.Wait()
			run(t, b, f)
			for _, to := range []netif.MAC{vif.MAC, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
				if !f.reaches(t, b, to) {
					t.Errorf("a frame to %v did not come", to)
				}
			}
			if s := b.Stats(); s.Broken != 0 || s.Connects != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("add and del", func(t *testing.T) {
		with(t, true, func(t *testing.T, b *xen.Backend, f *fakeFrontend) {
			q := b.Queues()[0]
			for i, step := range []struct {
				kind   uint32
				group  netif.MAC
				status int16
				one    bool // group 1 is heard afterwards
				two    bool
			}{
				{groupDel, group(1), ok, false, false},
				{groupAdd, group(1), ok, true, false},
				{groupAdd, group(1), ok, true, false},
				{groupAdd, group(2), ok, true, true},
				{groupDel, group(1), ok, false, true},
				{groupDel, group(1), ok, false, true},
				{groupAdd, netif.MAC{2, 0, 0, 0, 0, 1}, refused, false, true}, // no group
				{groupAdd, group(1), ok, true, true},
			} {
				if s := f.control(t, q, step.kind, step.group); s != step.status {
					t.Errorf("step %d: status %d, want %d", i, s, step.status)
				}
				for n, want := range map[byte]bool{1: step.one, 2: step.two, 3: false} {
					if got := f.reaches(t, b, group(n)); got != want {
						t.Errorf("step %d: group %d is heard: %v", i, n, got)
					}
				}
			}
		})
	})
	t.Run("bounded", func(t *testing.T) {
		with(t, true, func(t *testing.T, b *xen.Backend, f *fakeFrontend) {
			q := b.Queues()[0]
			for n := range byte(80) {
				want := int16(ok)
				if n >= 64 {
					want = refused
				}
				if s := f.control(t, q, groupAdd, group(n)); s != want {
					t.Errorf("group %d: status %d, want %d", n, s, want)
				}
			}
			if s := f.control(t, q, groupAdd, group(5)); s != ok {
				t.Errorf("a group that is there already: status %d", s)
			}
			if f.reaches(t, b, group(70)) || !f.reaches(t, b, group(63)) {
				t.Error("what is heard is not what was granted")
			}
			if f.control(t, q, groupDel, group(63)) != ok || f.control(t, q, groupAdd, group(70)) != ok || !f.reaches(t, b, group(70)) {
				t.Error("a place that became free is not free")
			}
		})
	})
	t.Run("not requested", func(t *testing.T) {
		with(t, false, func(t *testing.T, b *xen.Backend, f *fakeFrontend) {
			if s := f.control(t, b.Queues()[0], groupAdd, group(1)); s != refused {
				t.Errorf("status %d", s)
			}
			if !f.reaches(t, b, group(1)) || !f.reaches(t, b, group(2)) {
				t.Error("a group is not heard")
			}
		})
	})
}

// Our front end hears every group and does not ask for less.
func TestFrontendHearsGroups(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		b := backend(t, h, 2)
		f := frontend(t, h)
		synctest.Wait()
		if on, err := h.Domain(1).Store().Read(v.FrontendPath() + "/request-multicast-control"); err == nil && on != "0" {
			t.Errorf("it requests multicast control: %q", on)
		}
		to := frame(b, f, 3, 100)
		copy(to.Fragments[0], []byte{0x33, 0x33, 0xff, 1, 2, 3})
		if n, err := b.Queues()[0].Write([]netif.Frame{to}); n != 1 || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
		synctest.Wait()
		var bufs [2]*netif.Buf
		n, err := f.Queues()[0].Read(bufs[:])
		if n != 1 || err != nil || bufs[0].Data[0] != 0x33 {
			t.Fatalf("Read: %d, %v", n, err)
		}
		bufs[0].Release()
	})
}
