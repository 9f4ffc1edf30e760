package direct

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/netduet/netduet/netif"
)

// pair is two stacks at the ends of a wire: 10.0.0.1 and 10.0.0.2.
type pair struct{ a, b *Stack }

var (
	addrA = netip.MustParseAddr("10.0.0.1")
	addrB = netip.MustParseAddr("10.0.0.2")
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newStack(t testing.TB, dev netif.Device, addr string, change func(*Config)) *Stack {
	t.Helper()
	cfg := &Config{
		Interfaces: []Interface{{Device: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}},
		Logger:     quiet(),
	}
	if change != nil {
		change(cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newPair(t testing.TB, wire netif.WireConfig) pair {
	t.Helper()
	a, b, err := netif.NewWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	return pair{newStack(t, a, "10.0.0.1/24", nil), newStack(t, b, "10.0.0.2/24", nil)}
}

// close ends both stacks and checks that nothing is left of their accounts.
func (p pair) close(t testing.TB) {
	t.Helper()
	for _, s := range []*Stack{p.a, p.b} {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// bubble runs f in a synctest bubble of a subtest.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// wires are the links that behaviour must not depend on.
func wires() map[string]netif.WireConfig {
	return map[string]netif.WireConfig{
		"ethernet": {},
		"ip":       {Link: netif.LinkIP},
		"offloads": {Offloads: netif.TxChecksum | netif.TxTSO4},
		"queues":   {Queues: 3},
		"tinyring": {Ring: 4},
	}
}

var background = context.Background()
