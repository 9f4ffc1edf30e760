package interop

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/socket"
	"github.com/netduet/netduet/stack"
)

// each runs test once for every backend, with a listener on one stack and the
// other stack to dial it from.
func each(t *testing.T, test func(t *testing.T, l net.Listener, dialer stack.Stack)) {
	for _, backend := range []struct {
		name string
		pair func(t *testing.T) (server, client stack.Stack, address string)
	}{
		{"direct", directPair},
		{"socket", socketPair},
	} {
		t.Run(backend.name, func(t *testing.T) {
			server, client, address := backend.pair(t)
			l, err := server.Listen(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			test(t, l, client)
		})
	}
}

func directPair(t *testing.T) (server, client stack.Stack, address string) {
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	open := func(dev netif.Device, addr string) stack.Stack {
		s, err := direct.New(&direct.Config{Interfaces: []direct.Interface{
			{Device: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	return open(a, "192.0.2.1/24"), open(b, "192.0.2.2/24"), "192.0.2.1:0"
}

func socketPair(t *testing.T) (server, client stack.Stack, address string) {
	open := func() stack.Stack {
		s, err := socket.New(&socket.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	return open(), open(), "127.0.0.1:0"
}

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
