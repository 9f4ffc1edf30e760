package gvisor_test

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/stack"
	"github.com/netduet/netduet/stack/stacktest"
)

// opener makes a stack with one address on a device.
type opener func(dev netif.Device, addr netip.Prefix, route netip.Prefix, gateway netip.Addr, dns []netip.AddrPort) (stack.Stack, error)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func openGvisor(dev netif.Device, addr netip.Prefix, route netip.Prefix, gateway netip.Addr, dns []netip.AddrPort) (stack.Stack, error) {
	ifc := gvisor.Interface{Device: dev, Addrs: []netip.Prefix{addr}}
	if route.IsValid() {
		ifc.Routes = []gvisor.Route{{Dst: route, Gateway: gateway}}
	}
	return gvisor.New(&gvisor.Config{Interfaces: []gvisor.Interface{ifc}, DNS: dns, Logger: quiet()})
}

func openDirect(dev netif.Device, addr netip.Prefix, route netip.Prefix, gateway netip.Addr, dns []netip.AddrPort) (stack.Stack, error) {
	ifc := direct.Interface{Device: dev, Addrs: []netip.Prefix{addr}}
	if route.IsValid() {
		ifc.Routes = []direct.Route{{Dst: route, Gateway: gateway}}
	}
	return direct.New(&direct.Config{Interfaces: []direct.Interface{ifc}, DNS: dns, Logger: quiet()})
}

// TestStack runs the conformance suite of every backend with this one at both ends
// of a wire, and with direct at the other end, in either role.
func TestStack(t *testing.T) {
	// Neighbour discovery gives up after three seconds, which is for one run to wait.
	absent := netip.MustParseAddr("192.0.2.77")
	for _, run := range []struct {
		name   string
		wire   netif.WireConfig
		a, b   opener
		absent netip.Addr
	}{
		{"gvisor", netif.WireConfig{}, openGvisor, openGvisor, absent},
		{"offloads", netif.WireConfig{Offloads: netif.TxChecksum | netif.TxTSO4, Queues: 2}, openGvisor, openGvisor, netip.Addr{}},
		{"to direct", netif.WireConfig{}, openGvisor, openDirect, netip.Addr{}},
		{"from direct", netif.WireConfig{Offloads: netif.TxChecksum | netif.TxTSO4}, openDirect, openGvisor, netip.Addr{}},
	} {
		t.Run(run.name, func(t *testing.T) {
			stacktest.Run(t, stacktest.Env{
				New: func(t testing.TB, o stacktest.Options) *stacktest.Pair {
					return pair(t, run.wire, run.a, run.b, o)
				},
				// The far end is no router: what it is sent for others it drops.
				Blackhole: func(testing.TB, *stacktest.Pair) netip.AddrPort {
					return netip.MustParseAddrPort("198.51.100.1:9")
				},
				Unreachable: netip.MustParseAddr("203.0.113.1"),
				Absent:      run.absent,
			})
		})
	}
}

func pair(t testing.TB, wire netif.WireConfig, a, b opener, o stacktest.Options) *stacktest.Pair {
	t.Helper()
	near, far, err := netif.NewWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	open := func(f opener, dev netif.Device, addr string, route netip.Prefix, gateway netip.Addr, dns []netip.AddrPort) stacktest.Host {
		p := netip.MustParsePrefix(addr)
		s, err := f(dev, p, route, gateway, dns)
		if err != nil {
			t.Fatal(err)
		}
		return stacktest.Host{Stack: s, Addr: p.Addr()}
	}
	hb := open(b, far, "192.0.2.2/24", netip.Prefix{}, netip.Addr{}, nil)
	var dns []netip.AddrPort
	if o.DNS != nil {
		dns = o.DNS(hb)
	}
	ha := open(a, near, "192.0.2.1/24", netip.MustParsePrefix("198.51.100.0/24"), hb.Addr, dns)
	return &stacktest.Pair{A: ha, B: hb}
}
