package netiftest

import (
	"io"
	"testing"

	"github.com/netduet/netduet/netif"
)

func wireOf(cfg netif.WireConfig) func(testing.TB) (a, b netif.Device) {
	return func(t testing.TB) (netif.Device, netif.Device) {
		a, b, err := netif.NewWire(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
}

const allOffloads = netif.TxTSO4 | netif.TxTSO6 | netif.TxUSO

func TestWire(t *testing.T) {
	for name, cfg := range map[string]netif.WireConfig{
		"plain":    {},
		"offloads": {Offloads: allOffloads},
		"ip":       {Link: netif.LinkIP, Offloads: allOffloads, MTU: 1280},
		"queues":   {Queues: 4, Ring: 100, Offloads: allOffloads},
		"tiny":     {MTU: 576, Ring: 1},
		"jumbo":    {MTU: 9000, Ring: 3},
	} {
		t.Run(name, func(t *testing.T) { TestDevice(t, Config{New: wireOf(cfg)}) })
	}
}

func TestImpaired(t *testing.T) {
	for name, cfg := range map[string]netif.WireConfig{
		"plain":    {},
		"offloads": {Offloads: allOffloads, Queues: 2},
	} {
		t.Run(name, func(t *testing.T) {
			TestDevice(t, Config{Lossy: true, Window: 64, New: func(t testing.TB) (netif.Device, netif.Device) {
				a, b := wireOf(cfg)(t)
				x, err := netif.Impair(a, netif.Impairment{})
				if err != nil {
					t.Fatal(err)
				}
				y, err := netif.Impair(b, netif.Impairment{})
				if err != nil {
					t.Fatal(err)
				}
				return x, y
			}})
		})
	}
}

func TestCaptured(t *testing.T) {
	TestDevice(t, Config{New: func(t testing.TB) (netif.Device, netif.Device) {
		a, b := wireOf(netif.WireConfig{Offloads: allOffloads})(t)
		c, err := netif.Capture(a, io.Discard, netif.CaptureOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return c, b
	}})
}

func TestSwitch(t *testing.T) {
	TestDevice(t, Config{Lossy: true, Window: 64, New: func(t testing.TB) (netif.Device, netif.Device) {
		ports, err := netif.NewSwitch(3, netif.WireConfig{Offloads: allOffloads, Queues: 2})
		if err != nil {
			t.Fatal(err)
		}
		return ports[0], ports[2]
	}})
}
