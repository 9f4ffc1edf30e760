package tap_test

import (
	"fmt"
	"testing"

	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/netiftest"
	"github.com/netduet/netduet/netif/tap"
)

// The suite of every device, with the kernel's side of the tap as the far end.

func TestDeviceNative(t *testing.T) {
	testDevice(t, tap.Config{Driver: tap.DriverNative, Offload: tap.OffloadOff}, false)
}

func TestDeviceWater(t *testing.T) {
	testDevice(t, tap.Config{Driver: tap.DriverWater}, false)
}

func TestDeviceOffload(t *testing.T) {
	testDevice(t, tap.Config{Offload: tap.OffloadOn}, true)
}

// The virtio header, and nothing announced that it is for.
func TestDeviceVNet(t *testing.T) {
	testDevice(t, tap.Config{VNetHdr: true, Offload: tap.OffloadOff}, true)
}

func TestDeviceQueues(t *testing.T) {
	testDevice(t, tap.Config{Queues: 3, Offload: tap.OffloadOff}, false)
}

func TestDeviceQueuesOffload(t *testing.T) {
	testDevice(t, tap.Config{Queues: 3}, true)
}

func testDevice(t *testing.T, cfg tap.Config, vnet bool) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	made := 0
	netiftest.TestDevice(t, netiftest.Config{
		Lossy: true, // the kernel's queue holds 1,000 frames and then drops
		Noisy: true,
		New: func(tb testing.TB) (a, b netif.Device) {
			tb.Helper()
			cfg := cfg
			cfg.Name = fmt.Sprint("dev", made)
			made++
			d, err := tap.Open(tb.Context(), cfg)
			if err != nil {
				tb.Fatal(err)
			}
			return d, newPeerOf(tb, d.Info().Name, vnet)
		},
	})
}
