package gvisor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif/tap"
	"github.com/netduet/netduet/socket"
	"github.com/netduet/netduet/stack/stacktest"
)

// The kernel's sockets at the far end of a tap, in the namespace of the test.
const (
	kernelPrefix = "10.0.0.1/24"
	enginePrefix = "10.0.0.2/24"
)

// TestKernel runs the conformance suite of every backend with the kernel at the
// other end of a tap, in either role.
func TestKernel(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	if err := netns.LinkUp("lo"); err != nil {
		t.Fatal(err)
	}
	taps := 0
	for _, run := range []struct {
		name    string
		cfg     tap.Config
		engineA bool
	}{
		{"to kernel", tap.Config{Offload: tap.OffloadOn}, true},
		{"from kernel", tap.Config{Offload: tap.OffloadOff}, false},
	} {
		t.Run(run.name, func(t *testing.T) {
			env := stacktest.Env{
				New: func(t testing.TB, o stacktest.Options) *stacktest.Pair {
					taps++
					return kernelPair(t, fmt.Sprint("k", taps), run.cfg, run.engineA, o)
				},
				Unreachable: netip.MustParseAddr("203.0.113.1"),
				Conns:       50,
			}
			if run.engineA {
				// The kernel is no router: what it is sent for others it drops.
				env.Blackhole = func(testing.TB, *stacktest.Pair) netip.AddrPort {
					return netip.MustParseAddrPort("198.51.100.1:9")
				}
			}
			stacktest.Run(t, env)
		})
	}
}

func kernelPair(t testing.TB, name string, cfg tap.Config, engineA bool, o stacktest.Options) *stacktest.Pair {
	t.Helper()
	cfg.Name = name
	dev, err := tap.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the device outlived its stack: %v", err)
		}
	})
	for _, err := range []error{netns.LinkUp(name), netns.AddAddr(name, netip.MustParsePrefix(kernelPrefix))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	engine := stacktest.Host{Addr: netip.MustParsePrefix(enginePrefix).Addr()}
	kernel := stacktest.Host{Addr: netip.MustParsePrefix(kernelPrefix).Addr()}
	openEngine := func(dns []netip.AddrPort) {
		s, err := openGvisor(dev, netip.MustParsePrefix(enginePrefix), netip.MustParsePrefix("198.51.100.0/24"), kernel.Addr, dns)
		if err != nil {
			t.Fatal(err)
		}
		engine.Stack = s
	}
	openKernel := func(dns []netip.AddrPort) {
		s, err := socket.New(&socket.Config{DNS: dns})
		if err != nil {
			t.Fatal(err)
		}
		kernel.Stack = s
	}
	// B, which answers A's questions, is there first.
	var dns []netip.AddrPort
	if engineA {
		openKernel(nil)
		if o.DNS != nil {
			dns = o.DNS(kernel)
		}
		openEngine(dns)
		return &stacktest.Pair{A: engine, B: kernel}
	}
	openEngine(nil)
	if o.DNS != nil {
		dns = o.DNS(engine)
	}
	openKernel(dns)
	return &stacktest.Pair{A: kernel, B: engine}
}
