package xen_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/transport"
	"github.com/netduet/netduet/netif/xen/transport/memory"
)

// frame is a frame between the two ends with a number in it.
func frame(from, to netif.Device, id byte, n int) netif.Frame {
	b := make([]byte, n)
	dst, src := to.Info().MAC, from.Info().MAC
	copy(b, dst[:])
	copy(b[6:], src[:])
	b[12], b[13] = 0x88, 0xb5
	b[14] = id
	return netif.Frame{Fragments: [][]byte{b}}
}

// pass sends a frame and expects it at the other end.
func pass(t testing.TB, from, to netif.Device, id byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if n, err := from.Queues()[0].Write([]netif.Frame{frame(from, to, id, 100)}); n != 1 || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	var bufs [1]*netif.Buf
	for {
		n, err := to.Queues()[0].Read(bufs[:])
		if err == nil && n == 0 {
			err = to.Queues()[0].Wait(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			got := bufs[0].Data[14]
			bufs[0].Release()
			if got != id {
				t.Fatalf("frame %d arrived, want %d", got, id)
			}
			return
		}
	}
}

func both(t testing.TB, a, b netif.Device) {
	t.Helper()
	pass(t, a, b, 1)
	pass(t, b, a, 2)
}

// settle waits, in virtual time, until the front end has connected n times.
func settle(t testing.TB, f *xen.Frontend, n uint64) {
	t.Helper()
	for range 1000 {
		synctest.Wait()
		if f.Stats().Connects == n {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("connected %d times, want %d", f.Stats().Connects, n)
}

// wait waits until there is an error or something to read; that it may return for
// nothing does not mean that it may do so all the time.
func wait(t testing.TB, q netif.Queue) error {
	for range 10 {
		if err := q.Wait(context.Background()); err != nil {
			return err
		}
	}
	t.Error("Wait returned 10 times for nothing")
	return nil
}

// drain releases what has arrived.
func drain(t testing.TB, d netif.Device) (n int) {
	t.Helper()
	for _, q := range d.Queues() {
		var bufs [64]*netif.Buf
		for {
			k, err := q.Read(bufs[:])
			if err != nil {
				t.Fatal(err)
			}
			if k == 0 {
				break
			}
			for _, b := range bufs[:k] {
				b.Release()
			}
			n += k
		}
	}
	return n
}

// bubble runs a test in virtual time, with domain 2 serving domain 1.
func bubble(t *testing.T, run func(t *testing.T, h *memory.Hypervisor, v xen.Vif)) {
	synctest.Test(t, func(t *testing.T) {
		v := vif
		v.Backend = 2
		run(t, plug(t, v), v)
	})
}

func backend(t testing.TB, h *memory.Hypervisor, d transport.Domain) *xen.Backend {
	t.Helper()
	b, err := xen.OpenBackend(context.Background(), xen.BackendConfig{Transport: h.Domain(d), Domain: 1, Queues: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func frontend(t testing.TB, h *memory.Hypervisor) *xen.Frontend {
	t.Helper()
	f, err := xen.OpenFrontend(context.Background(), xen.FrontendConfig{Transport: h.Domain(1), Queues: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestFrontendCrash(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		b := backend(t, h, 2)
		for range 3 {
			f := frontend(t, h)
			synctest.Wait()
			both(t, f, b)
			h.Domain(1).Close() // without a word
		}
		f := frontend(t, h)
		synctest.Wait()
		both(t, f, b)
		if n := b.Stats().Connects; n != 4 {
			t.Errorf("the back end connected %d times, want 4", n)
		}
		f.Close()
		released(t, h)
	})
}

func TestBackendRestart(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		b := backend(t, h, 2)
		f := frontend(t, h)
		synctest.Wait()
		both(t, f, b)
		// What was received before stays, what is written meanwhile is dropped.
		b.Queues()[0].Write([]netif.Frame{frame(b, f, 9, 60)})
		b.Close()
		synctest.Wait()
		if n, err := f.Queues()[0].Write([]netif.Frame{frame(f, b, 1, 60)}); n != 1 || err != nil {
			t.Errorf("Write without a back end: %d, %v, want it taken and dropped", n, err)
		}
		select {
		case <-f.Queues()[0].Writable():
		default:
			t.Error("without a back end nothing is writable, but everything is dropped")
		}
		if n := f.Stats().TxDown; n != 1 {
			t.Errorf("%d frames were counted as dropped, want 1", n)
		}
		var bufs [2]*netif.Buf
		if n, err := f.Queues()[0].Read(bufs[:]); n != 1 || err != nil || bufs[0].Data[14] != 9 {
			t.Errorf("what had arrived before: %d frames, %v", n, err)
		}
		time.Sleep(time.Hour)
		b = backend(t, h, 2)
		settle(t, f, 2)
		synctest.Wait()
		both(t, f, b)
		f.Close()
		b.Close()
		released(t, h)
	})
}

func TestBackendCrash(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		b := backend(t, h, 2)
		f := frontend(t, h)
		synctest.Wait()
		both(t, f, b)
		h.Domain(2).Close()
		time.Sleep(time.Minute)
		// Nothing tells the guest: the ring fills up, and that is all.
		q := f.Queues()[0]
		taken := 0
		for range 1000 {
			n, err := q.Write([]netif.Frame{frame(f, b, 1, 60)})
			if err != nil {
				t.Fatal(err)
			}
			taken += n
		}
		if taken == 0 || taken > 256 {
			t.Errorf("%d frames were taken by a ring that nobody serves", taken)
		}
		blocked := q.Writable()
		// The next one takes up the rings where they are, or has the guest begin anew,
		// whichever of the two sees the other first.
		b = backend(t, h, 2)
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		drain(t, b)
		<-blocked
		both(t, f, b)
		f.Close()
		b.Close()
		released(t, h)
	})
}

func TestUnplug(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		b := backend(t, h, 2)
		f := frontend(t, h)
		synctest.Wait()
		both(t, f, b)
		waited := make(chan error, 2)
		go func() { waited <- wait(t, f.Queues()[1]) }()
		go func() { waited <- wait(t, b.Queues()[0]) }()
		// In order, as xl network-detach does it.
		s := h.Domain(0).Store()
		s.Write(v.BackendPath()+"/online", "0")
		s.Write(v.BackendPath()+"/state", "5")
		time.Sleep(time.Minute)
		if err := v.Unplug(s); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 2 {
			if err := <-waited; !errors.Is(err, xen.ErrGone) {
				t.Errorf("Wait: %v, want ErrGone", err)
			}
		}
		for _, d := range []netif.Device{f, b} {
			q := d.Queues()[0]
			if n, err := q.Write([]netif.Frame{frame(f, b, 1, 60)}); n != 0 || !errors.Is(err, xen.ErrGone) {
				t.Errorf("Write: %d, %v, want ErrGone", n, err)
			}
			var bufs [1]*netif.Buf
			if n, err := q.Read(bufs[:]); n != 0 || !errors.Is(err, xen.ErrGone) {
				t.Errorf("Read: %d, %v, want ErrGone", n, err)
			}
			<-q.Writable()
			if err := d.Close(); err != nil {
				t.Errorf("Close of a device that is gone: %v", err)
			}
			if err := q.Wait(context.Background()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Wait after Close: %v", err)
			}
		}
		released(t, h)
		if _, err := s.List(v.FrontendPath()); !errors.Is(err, transport.ErrNotExist) {
			t.Errorf("the guest made its directory again: %v", err)
		}
	})
}

func TestMigration(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		b := backend(t, h, 2)
		f := frontend(t, h)
		synctest.Wait()
		both(t, f, b)
		// The other machine's toolstack sets the vif up anew, with another back end.
		moved := v
		moved.Backend = 3
		if err := moved.Plug(h.Domain(0).Store()); err != nil {
			t.Fatal(err)
		}
		there := backend(t, h, 3)
		settle(t, f, 2)
		synctest.Wait()
		both(t, f, there)
		b.Close()
		both(t, f, there)
		// Resume without a change that could be seen.
		f.Resume()
		settle(t, f, 3)
		synctest.Wait()
		both(t, f, there)
		f.Close()
		there.Close()
		for id := range transport.Domain(4) {
			if d := h.Domain(id); d.Grants()+d.Mapped()+d.Ports() != 0 {
				t.Errorf("domain %d has %d, %d, %d left", id, d.Grants(), d.Mapped(), d.Ports())
			}
		}
	})
}

func TestCloseAgainstTheDead(t *testing.T) {
	bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
		backend(t, h, 2)
		f := frontend(t, h)
		synctest.Wait()
		h.Domain(2).Close()
		begin := time.Now()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > 11*time.Second {
			t.Errorf("Close with a dead back end took %v", d)
		}
		released(t, h)
	})
}

func TestOpenErrors(t *testing.T) {
	ctx := context.Background()
	check := func(t *testing.T, err error, want ...string) {
		t.Helper()
		if err == nil {
			t.Fatal("no error")
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q does not say %q", err, w)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %q", err)
		}
	}
	open := func(h *memory.Hypervisor, c xen.FrontendConfig) error {
		c.Transport = h.Domain(1)
		_, err := xen.OpenFrontend(ctx, c)
		return err
	}
	t.Run("no vif", func(t *testing.T) {
		check(t, open(memory.New(), xen.FrontendConfig{Index: 3}), "no vif 3", "network-attach")
	})
	t.Run("nobody serves", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
			check(t, open(h, xen.FrontendConfig{}), "did not offer", "10s", "Initialising", "netback")
			released(t, h)
		})
	})
	t.Run("silent", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
			h.Domain(0).Store().Write(v.BackendPath()+"/state", "2")
			check(t, open(h, xen.FrontendConfig{Timeout: time.Second}), "did not connect", "1s", "hotplug")
			released(t, h)
		})
	})
	t.Run("refused", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
			s := h.Domain(0).Store()
			s.Write(v.BackendPath()+"/state", "2")
			go func() {
				time.Sleep(time.Second)
				s.Write(v.BackendPath()+"/error", "no memory")
				s.Write(v.BackendPath()+"/state", "5")
			}()
			check(t, open(h, xen.FrontendConfig{}), "refused", "no memory", "Closing")
			released(t, h)
		})
	})
	t.Run("no grants", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
			backend(t, h, 2)
			h.SetGrantLimit(100)
			err := open(h, xen.FrontendConfig{Queues: 1})
			check(t, err, "grants", "fewer queues", "limit")
			if !errors.Is(err, transport.ErrGrants) {
				t.Error("it is not ErrGrants")
			}
			released(t, h)
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *memory.Hypervisor, v xen.Vif) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := xen.OpenFrontend(ctx, xen.FrontendConfig{Transport: h.Domain(1)})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			released(t, h)
		})
	})
	t.Run("configuration", func(t *testing.T) {
		h := plug(t, vif)
		for _, c := range []xen.FrontendConfig{
			{}, {Transport: h.Domain(1), Index: -1}, {Transport: h.Domain(1), Queues: 65}, {Transport: h.Domain(1), MTU: 67},
			{Transport: h.Domain(1), Pages: 10}, {Transport: h.Domain(1), MAC: netif.MAC{1}}, {Transport: h.Domain(1), Timeout: -1},
		} {
			if _, err := xen.OpenFrontend(ctx, c); err == nil {
				t.Errorf("%+v was taken", c)
			}
		}
		if _, err := xen.OpenBackend(ctx, xen.BackendConfig{Transport: h.Domain(0), Domain: 7}); err == nil {
			t.Error("a back end without a vif was opened")
		} else {
			check(t, err, "domain 7", "set it up")
		}
	})
}
