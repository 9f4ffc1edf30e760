package trial

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif/devices"
	"github.com/netduet/netduet/socket"
	"github.com/netduet/netduet/stack/stacktest"
)

// The conformance suite with our stack at one end of a tap and the kernel at the
// other, in either role.
func TestSuiteDirectToKernel(t *testing.T) { suite(t, "tap:tap0", true) }

func TestSuiteKernelToDirect(t *testing.T) { suite(t, "tap:tap0", false) }

// suite runs in a namespace whose kernel has the tap's other end. ours says that
// the suite's first stack is ours.
func suite(t *testing.T, device string, ours bool) {
	if !netnstest.Run(t) {
		return
	}
	kernelAddr, ourAddr := netip.MustParsePrefix(kernelSide), netip.MustParsePrefix(ourSide)
	for _, err := range []error{
		netns.Quiet(),
		netns.AddTap("tap0", netns.Tap{Owner: -1}),
		netns.AddAddr("tap0", kernelAddr),
		netns.LinkUp("tap0"),
		// What takes a kernel minutes shall take seconds.
		netns.Sysctl("net.ipv4.tcp_syn_retries", "1"),
		netns.Sysctl("net.ipv4.neigh.tap0.retrans_time_ms", "100"),
		// Either side is a router that drops what it is sent for others.
		netns.Sysctl("net.ipv4.ip_forward", "0"),
		netns.AddRoute("tap0", netip.MustParsePrefix("198.51.100.0/24"), ourAddr.Addr()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	openOurs := func(t testing.TB, dns []netip.AddrPort) stacktest.Host {
		dev, err := devices.Open(t.Context(), device, devices.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := direct.New(&direct.Config{
			Interfaces: []direct.Interface{{
				Device: dev, Addrs: []netip.Prefix{ourAddr},
				Routes: []direct.Route{{Dst: netip.MustParsePrefix("198.51.100.0/24"), Gateway: kernelAddr.Addr()}},
			}},
			DNS:    dns,
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return stacktest.Host{Stack: s, Addr: ourAddr.Addr()}
	}
	openKernel := func(t testing.TB, dns []netip.AddrPort) stacktest.Host {
		s, err := socket.New(&socket.Config{DNS: dns})
		if err != nil {
			t.Fatal(err)
		}
		return stacktest.Host{Stack: s, Addr: kernelAddr.Addr()}
	}
	first, second := openKernel, openOurs
	if ours {
		first, second = openOurs, openKernel
	}
	stacktest.Run(t, stacktest.Env{
		New: func(t testing.TB, o stacktest.Options) *stacktest.Pair {
			b := second(t, nil)
			var dns []netip.AddrPort
			if o.DNS != nil {
				dns = o.DNS(b)
			}
			return &stacktest.Pair{A: first(t, dns), B: b}
		},
		GivesUp: !ours,
		Blackhole: func(testing.TB, *stacktest.Pair) netip.AddrPort {
			return netip.MustParseAddrPort("198.51.100.1:9")
		},
		Unreachable: netip.MustParseAddr("203.0.113.1"),
		Absent:      netip.MustParseAddr("10.77.0.77"),
	})
}
