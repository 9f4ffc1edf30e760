package xen_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/transport/memory"
	"github.com/netduet/netduet/stack/stacktest"
)

// The suite of every stack, over the two ends of a vif.
func TestStack(t *testing.T) {
	// Package net makes a channel when it first reads its configuration; made in a
	// bubble, it would be of no use in the next.
	none := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	none.LookupHost(context.Background(), "name.invalid")
	for name, c := range map[string]struct {
		front, back xen.Features
		lost        bool
	}{
		"all features": {},
		"none":         {front: ^xen.Features(0), back: ^xen.Features(0)},
		"lost events":  {lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			seed := uint64(1)
			stacktest.Run(t, stacktest.Env{
				New: func(t testing.TB, o stacktest.Options) *stacktest.Pair {
					h := plug(t, vif)
					if c.lost {
						seed++
						t.Logf("seed %d", seed)
						unreliable(t, h, seed, true)
					}
					return stacks(t, h, c.front, c.back, o)
				},
				Virtual: true,
				Blackhole: func(testing.TB, *stacktest.Pair) netip.AddrPort {
					return netip.MustParseAddrPort("198.51.100.1:9")
				},
				Unreachable: netip.MustParseAddr("203.0.113.1"),
				Absent:      netip.MustParseAddr("192.0.2.77"),
			})
		})
	}
}

func stacks(t testing.TB, h *memory.Hypervisor, front, back xen.Features, o stacktest.Options) *stacktest.Pair {
	f, k := open(t, h, xen.FrontendConfig{Queues: 2, Without: front, Recovery: time.Millisecond},
		xen.BackendConfig{Queues: 2, Without: back, Recovery: time.Millisecond})
	// Without a delay, time would never pass while two programs keep each other busy.
	slow, err := netif.Impair(k, netif.Impairment{Delay: 100 * time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	start := func(dev netif.Device, addr string, routes []direct.Route, dns []netip.AddrPort) stacktest.Host {
		prefix := netip.MustParsePrefix(addr)
		s, err := direct.New(&direct.Config{
			Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{prefix}, Routes: routes}},
			DNS:        dns,
			Logger:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return stacktest.Host{Stack: s, Addr: prefix.Addr()}
	}
	far := start(slow, "192.0.2.2/24", nil, nil)
	var dns []netip.AddrPort
	if o.DNS != nil {
		dns = o.DNS(far)
	}
	near := start(f, "192.0.2.1/24", []direct.Route{
		{Dst: netip.MustParsePrefix("198.51.100.0/24"), Gateway: far.Addr},
	}, dns)
	return &stacktest.Pair{A: near, B: far}
}
