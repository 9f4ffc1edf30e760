package xen_test

import (
	"context"
	"testing"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/transport/memory"
)

var vif = xen.Vif{Frontend: 1, Backend: 0, Index: 0, MAC: netif.MAC{0, 0x16, 0x3e, 9, 0, 2}}

// plug sets up a hypervisor with a vif.
func plug(t testing.TB, v xen.Vif) *memory.Hypervisor {
	t.Helper()
	h := memory.New()
	if err := v.Plug(h.Domain(0).Store()); err != nil {
		t.Fatal(err)
	}
	return h
}

// open connects the two ends of a vif.
func open(t testing.TB, h *memory.Hypervisor, fc xen.FrontendConfig, bc xen.BackendConfig) (*xen.Frontend, *xen.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	bc.Transport, bc.Domain = h.Domain(0), 1
	b, err := xen.OpenBackend(ctx, bc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	fc.Transport = h.Domain(1)
	f, err := xen.OpenFrontend(ctx, fc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := b.Connected(ctx); err != nil {
		t.Fatal(err)
	}
	return f, b
}
