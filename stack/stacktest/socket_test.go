package stacktest_test

import (
	"net/netip"
	"testing"

	"github.com/netduet/netduet/socket"
	"github.com/netduet/netduet/stack/stacktest"
)

// socketEnv is two socket stacks of this host, which meet at one of its
// addresses.
func socketEnv(addr netip.Addr) stacktest.Env {
	return stacktest.Env{
		New: func(t testing.TB, o stacktest.Options) *stacktest.Pair {
			b, err := socket.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			hb := stacktest.Host{Stack: b, Addr: addr}
			cfg := &socket.Config{}
			if o.DNS != nil {
				cfg.DNS = o.DNS(hb)
			}
			a, err := socket.New(cfg)
			if err != nil {
				b.Close()
				t.Fatal(err)
			}
			return &stacktest.Pair{A: stacktest.Host{Stack: a, Addr: addr}, B: hb}
		},
		Blackhole: blackhole(),
		// Connecting to the loopback network's broadcast address fails before
		// anything is sent.
		Unreachable: netip.AddrFrom4([4]byte{127, 255, 255, 255}),
	}
}

func TestSocket(t *testing.T) { stacktest.Run(t, socketEnv(netip.AddrFrom4([4]byte{127, 0, 0, 1}))) }
