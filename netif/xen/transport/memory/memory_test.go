package memory_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/netduet/netduet/netif/xen/transport"
	"github.com/netduet/netduet/netif/xen/transport/memory"
)

func TestGrants(t *testing.T) {
	h := memory.New()
	a, b, c := h.Domain(1), h.Domain(2), h.Domain(3)
	rw, err := a.Grant(2, 3, true)
	if err != nil {
		t.Fatal(err)
	}
	ro, err := a.Grant(2, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	if a.Grants() != 4 || len(rw.Bytes()) != 3*4096 || len(rw.Refs()) != 3 {
		t.Fatalf("%d grants, %d bytes, %d references", a.Grants(), len(rw.Bytes()), len(rw.Refs()))
	}
	m, err := b.Map(1, rw.Refs()[1])
	if err != nil {
		t.Fatal(err)
	}
	rw.Bytes()[4096] = 42
	if m.Bytes()[0] != 42 || len(m.Bytes()) != 4096 || b.Mapped() != 1 {
		t.Error("the mapped page is another")
	}
	for name, err := range map[string]error{
		"for another domain": func() error { _, err := c.Map(1, rw.Refs()[0]); return err }(),
		"read-only":          func() error { _, err := b.Map(1, ro.Refs()[0]); return err }(),
		"never made":         func() error { _, err := b.Map(1, 1); return err }(),
		"no such domain":     func() error { _, err := b.Map(9, rw.Refs()[0]); return err }(),
	} {
		if !errors.Is(err, transport.ErrBadGrant) {
			t.Errorf("mapping a page %s: %v", name, err)
		}
	}
	buf := []byte{1, 2, 3}
	ops := []transport.CopyOp{
		{Ref: rw.Refs()[2], Offset: 4093, Local: buf, Write: true},
		{Ref: rw.Refs()[2], Offset: 4094, Local: buf, Write: true}, // crosses
		{Ref: ro.Refs()[0], Local: buf, Write: true},               // read-only
		{Ref: ro.Refs()[0], Local: make([]byte, 3)},
		{Ref: 1, Local: buf},
	}
	if err := b.Copy(1, ops); err != nil {
		t.Fatal(err)
	}
	for i, bad := range []bool{false, true, true, false, true} {
		if (ops[i].Err != nil) != bad {
			t.Errorf("copy %d: %v", i, ops[i].Err)
		}
	}
	if !slices.Equal(rw.Bytes()[3*4096-3:], buf) {
		t.Error("the copy did not arrive")
	}
	h.SetGrantLimit(5)
	if _, err := a.Grant(2, 2, true); !errors.Is(err, transport.ErrGrants) {
		t.Errorf("over the limit: %v", err)
	}
	old := rw.Refs()[0]
	rw.Close()
	rw.Close()
	if _, err := b.Map(1, old); err == nil || a.Grants() != 1 {
		t.Errorf("a page taken back can be mapped, or is counted: %d", a.Grants())
	}
	if err := b.Copy(1, ops[:1]); err != nil || ops[0].Err == nil {
		t.Error("a page taken back can be copied to")
	}
	m.Bytes()[0] = 1 // what is mapped stays
	m.Close()
	if b.Mapped() != 0 {
		t.Error("still mapped")
	}
	a.Close()
	if _, err := a.Grant(2, 1, true); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("a dead domain grants: %v", err)
	}
	if h.Domain(1) == a {
		t.Error("a dead domain is handed out again")
	}
}

// pairOf makes a channel between domains 1 and 2, as their own types.
func pairOf(t *testing.T, h *memory.Hypervisor) (a, b *memory.Channel) {
	t.Helper()
	x, err := h.Domain(1).Listen(2)
	if err != nil {
		t.Fatal(err)
	}
	y, err := h.Domain(2).Bind(1, x.Port())
	if err != nil {
		t.Fatal(err)
	}
	return x.(*memory.Channel), y.(*memory.Channel)
}

func TestEvents(t *testing.T) {
	h := memory.New()
	a, b := pairOf(t, h)
	n := 0
	// Early: before there is a handler. Several are one.
	b.Notify()
	b.Notify()
	if a.Events() != 0 {
		t.Error("an event without a handler")
	}
	a.Handle(func() { n++ })
	if n != 1 {
		t.Errorf("two early events were %d", n)
	}
	b.Notify()
	b.Notify()
	if n != 3 {
		t.Errorf("%d events, want 3", n)
	}
	// Masked: it stays pending, and is one however often it came.
	a.Mask()
	b.Notify()
	b.Notify()
	b.Notify()
	if n != 3 {
		t.Error("an event came through the mask")
	}
	a.Unmask()
	if n != 4 {
		t.Errorf("%d events after unmasking, want 4", n)
	}
	a.Unmask()
	a.Raise() // spurious
	if n != 5 {
		t.Errorf("%d events after a spurious one, want 5", n)
	}
	// The end that binds begins with an event, since one may have been sent before.
	m := 0
	b.Handle(func() { m++ })
	if m != 1 {
		t.Errorf("%d events after binding, want 1", m)
	}
	a.Close()
	if err := b.Notify(); err != nil {
		t.Errorf("notifying nobody: %v", err)
	}
	if err := a.Notify(); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("notifying through a closed channel: %v", err)
	}
	b.Close()
	b.Close()
	if n != 5 || h.Domain(1).Ports()+h.Domain(2).Ports() != 0 {
		t.Error("events or ports are left")
	}
}

func TestBindPermissions(t *testing.T) {
	h := memory.New()
	a, _ := h.Domain(1).Listen(2)
	if _, err := h.Domain(3).Bind(1, a.Port()); err == nil {
		t.Error("another domain bound the port")
	}
	if _, err := h.Domain(2).Bind(1, a.Port()+1); err == nil {
		t.Error("a port that nobody listens on was bound")
	}
	if _, err := h.Domain(2).Bind(9, a.Port()); err == nil {
		t.Error("a port of no domain was bound")
	}
	b, err := h.Domain(2).Bind(1, a.Port())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Domain(2).Bind(1, a.Port()); err == nil {
		t.Error("a port was bound twice")
	}
	// Its peer may come back.
	b.Close()
	if _, err := h.Domain(2).Bind(1, a.Port()); err != nil {
		t.Errorf("binding again after a restart: %v", err)
	}
	if n := h.Domain(3).Ports(); n != 0 {
		t.Errorf("failed bindings left %d ports", n)
	}
}

// A handler never runs twice at once, an event that comes meanwhile is not lost, and
// none runs after Close.
func TestHandlers(t *testing.T) {
	h := memory.New()
	a, b := pairOf(t, h)
	var sent, seen, running atomic.Int64
	a.Handle(func() {
		if running.Add(1) != 1 {
			t.Error("two handlers at once")
		}
		seen.Store(sent.Load())
		running.Add(-1)
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				sent.Add(1)
				b.Notify()
			}
		})
	}
	wg.Wait()
	if seen.Load() != 4000 {
		t.Errorf("after the last event the handler had seen %d of 4000", seen.Load())
	}
	wg.Go(func() {
		for range 1000 {
			b.Notify()
		}
	})
	a.Close()
	seen.Store(-1)
	wg.Wait()
	if seen.Load() != -1 {
		t.Error("the handler ran after Close")
	}
}

func TestDelivery(t *testing.T) {
	h := memory.New()
	a, b := pairOf(t, h)
	n := 0
	a.Handle(func() { n++ })
	var held []func()
	h.SetDelivery(func(to transport.Domain, port transport.Port, deliver func()) {
		if to != 1 || port != a.Port() {
			t.Errorf("an event for %d, %d", to, port)
		}
		held = append(held, deliver)
	})
	b.Notify()
	b.Notify()
	if n != 0 || len(held) != 2 {
		t.Fatalf("%d events, %d held", n, len(held))
	}
	held[0]()
	held[0]()
	if n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	h.SetDelivery(nil)
	b.Notify()
	if n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}

func TestStore(t *testing.T) {
	h := memory.New()
	s, g := h.Domain(0).Store(), h.Domain(1).Store()
	if _, err := g.Read("x"); !errors.Is(err, transport.ErrNotExist) {
		t.Errorf("reading nothing: %v", err)
	}
	if err := g.Write("a/b", "1"); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Read("/local/domain/1/a/b"); v != "1" || err != nil {
		t.Errorf("a relative path: %q, %v", v, err)
	}
	if v, err := s.Read("/local/domain/1/a"); v != "" || err != nil {
		t.Errorf("a directory: %q, %v", v, err)
	}
	for _, p := range []string{"/local/domain/2/a", "/x", "/local/domain/1", "/local/domain/10/a"} {
		if err := g.Write(p, ""); !errors.Is(err, transport.ErrPermission) {
			t.Errorf("a guest wrote %s: %v", p, err)
		}
	}
	for _, p := range []string{"a//b", "a/", "a b", ""} {
		if err := g.Write(p, ""); err == nil {
			t.Errorf("path %q was taken", p)
		}
	}
	g.Write("a/c", "2")
	if l, err := g.List("a"); err != nil || !slices.Equal(l, []string{"b", "c"}) {
		t.Errorf("%v, %v", l, err)
	}
	w, err := s.Watch("/local/domain/1/a")
	if err != nil {
		t.Fatal(err)
	}
	fired := func(want bool, what string) {
		t.Helper()
		select {
		case <-w.C():
			if !want {
				t.Errorf("the watch fired for %s", what)
			}
		default:
			if want {
				t.Errorf("the watch did not fire for %s", what)
			}
		}
	}
	fired(true, "its registration")
	fired(false, "nothing")
	g.Write("ab", "1")
	fired(false, "another path")
	g.Write("a/b/c/d", "1")
	g.Write("a", "1")
	fired(true, "writes")
	fired(false, "the second of two writes")
	s.Remove("/local/domain/1")
	fired(true, "the removal of what is above")
	if _, err := g.Read("a/b"); !errors.Is(err, transport.ErrNotExist) {
		t.Errorf("what was below is still there: %v", err)
	}
	if err := s.Remove("/local/domain/1"); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
	w.Close()
	g.Write("a", "1")
	fired(false, "a write after its end")
}

func TestTransactions(t *testing.T) {
	h := memory.New()
	s := h.Domain(0).Store()
	s.Write("/a/x", "1")
	tx, _ := s.Begin()
	tx.Write("/a/y", "2")
	tx.Remove("/a/x")
	if _, err := s.Read("/a/y"); err == nil {
		t.Error("a write is seen before Commit")
	}
	if l, _ := tx.List("/a"); !slices.Equal(l, []string{"y"}) {
		t.Errorf("a transaction does not see its own writes: %v", l)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if l, _ := s.List("/a"); !slices.Equal(l, []string{"y"}) {
		t.Errorf("after Commit: %v", l)
	}
	if err := tx.Commit(); err == nil {
		t.Error("a second Commit")
	}
	for name, meddle := range map[string]func(){
		"changed": func() { s.Write("/a/y", "3") },
		"removed": func() { s.Remove("/a/y") },
		"made":    func() { s.Write("/a/z", "1") },
		"listed":  func() { s.Write("/l/new", "1") },
	} {
		s.Write("/a/y", "0")
		s.Remove("/a/z")
		s.Remove("/l")
		s.Write("/l", "")
		tx, _ := s.Begin()
		tx.Read("/a/y")
		tx.Read("/a/z")
		tx.List("/l")
		tx.Write("/a/w", name)
		meddle()
		if err := tx.Commit(); !errors.Is(err, transport.ErrAgain) {
			t.Errorf("%s meanwhile: %v, want ErrAgain", name, err)
		}
		if v, err := s.Read("/a/w"); err == nil {
			t.Errorf("%s: the write %q of a refused transaction is there", name, v)
		}
	}
	tx, _ = s.Begin()
	tx.Read("/a/y")
	s.Write("/unrelated", "1")
	if err := tx.Commit(); err != nil {
		t.Errorf("an unrelated change: %v", err)
	}
	// Many at once: no update is lost.
	s.Write("/n", "0")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if err := transport.Update(s, func(v transport.View) error {
					n, err := transport.ReadUint(v, "/n", 32)
					if err != nil {
						return err
					}
					return v.Write("/n", fmt.Sprint(n+1))
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if v, _ := s.Read("/n"); v != "200" {
		t.Errorf("%s updates of 200", v)
	}
	if err := transport.Update(s, func(transport.View) error { return transport.ErrAgain }); err == nil {
		t.Error("a transaction that is refused for ever succeeded")
	}
}
