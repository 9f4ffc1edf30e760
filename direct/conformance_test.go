package direct_test

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
	"github.com/netduet/netduet/stack/stacktest"
)

// TestStack runs the conformance suite of every backend on two stacks at the ends
// of a wire, in real and in virtual time.
func TestStack(t *testing.T) {
	// Package net makes a channel when it first reads its configuration; made in a
	// bubble, it would be of no use in the next.
	none := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	none.LookupHost(context.Background(), "name.invalid")
	for _, run := range []struct {
		name    string
		wire    netif.WireConfig
		virtual bool
	}{
		{"virtual", netif.WireConfig{}, true},
		{"real", netif.WireConfig{}, false},
		{"offloads", netif.WireConfig{Offloads: netif.TxChecksum | netif.TxTSO4, Queues: 2}, true},
	} {
		t.Run(run.name, func(t *testing.T) {
			stacktest.Run(t, stacktest.Env{
				New: func(t testing.TB, o stacktest.Options) *stacktest.Pair {
					return conformancePair(t, run.wire, run.virtual, o)
				},
				Virtual: run.virtual,
				// The far end is no router: what it is sent for others it drops.
				Blackhole: func(testing.TB, *stacktest.Pair) netip.AddrPort {
					return netip.MustParseAddrPort("198.51.100.1:9")
				},
				Unreachable: netip.MustParseAddr("203.0.113.1"),
				Absent:      netip.MustParseAddr("192.0.2.77"),
			})
		})
	}
}

func conformancePair(t testing.TB, wire netif.WireConfig, virtual bool, o stacktest.Options) *stacktest.Pair {
	var ends [2]netif.Device
	a, b, err := netif.NewWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	ends[0], ends[1] = a, b
	if virtual {
		// Without a delay, time would never pass while two programs keep each other
		// busy.
		if ends[1], err = netif.Impair(b, netif.Impairment{Delay: 100 * time.Microsecond}); err != nil {
			t.Fatal(err)
		}
	}
	open := func(dev netif.Device, addr string, routes []direct.Route, dns []netip.AddrPort) stacktest.Host {
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
	far := open(ends[1], "192.0.2.2/24", nil, nil)
	var dns []netip.AddrPort
	if o.DNS != nil {
		dns = o.DNS(far)
	}
	near := open(ends[0], "192.0.2.1/24", []direct.Route{{Dst: netip.MustParsePrefix("198.51.100.0/24"), Gateway: far.Addr}}, dns)
	return &stacktest.Pair{A: near, B: far}
}
