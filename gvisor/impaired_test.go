package gvisor_test

import (
	"testing"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/stack"
)

// What is sent arrives whole over links that lose, double, damage and reorder
// frames in both directions, with either engine at either end.
func TestImpaired(t *testing.T) {
	type maker func(network, testing.TB) stack.Stack
	engines := []struct {
		name string
		make maker
	}{
		{"gvisor", func(n network, t testing.TB) stack.Stack { return n.gvisor(t) }},
		{"direct", func(n network, t testing.TB) stack.Stack { return n.direct(t) }},
	}
	for _, link := range []struct {
		name   string
		impair netif.Impairment
	}{
		{"loss", netif.Impairment{Loss: 0.01}},
		{"reordering", netif.Impairment{Reorder: 0.05, ReorderDelay: 2 * time.Millisecond, Duplicate: 0.02}},
		{"damage", netif.Impairment{Corrupt: 0.01}},
		{"slow", netif.Impairment{Rate: 100_000_000, QueuePackets: 4000, Delay: time.Millisecond}},
	} {
		for _, peer := range engines {
			for _, wire := range []netif.WireConfig{{}, {Offloads: netif.TxChecksum | netif.TxTSO4}} {
				name := link.name + "/" + peer.name
				if wire.Offloads != 0 {
					name += "/offloads"
				}
				t.Run(name, func(t *testing.T) {
					var ends [2]netif.Device
					a, b, err := netif.NewWire(wire)
					if err != nil {
						t.Fatal(err)
					}
					for i, end := range []netif.Device{a, b} {
						im := link.impair
						im.Seed = uint64(i + 1)
						if ends[i], err = netif.Impair(end, im); err != nil {
							t.Fatal(err)
						}
					}
					// The last acknowledgement may be lost with the stack that sent it.
					const wait = 100 * time.Millisecond
					near := network{dev: ends[0], addr: prefixA, close: wait}.gvisor(t)
					exchange(t, near, peer.make(network{dev: ends[1], addr: prefixB, close: wait}, t), 300_000)
				})
			}
		}
	}
}
