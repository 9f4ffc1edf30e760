package xen_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/netiftest"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/transport"
	"github.com/netduet/netduet/netif/xen/transport/memory"
)

// The suite of every device, over the front end and the back end: each is the
// device under test once and stands at the far end once.

func suite(t *testing.T, v xen.Vif, fc xen.FrontendConfig, bc xen.BackendConfig, each func(testing.TB, *memory.Hypervisor)) {
	netiftest.TestDevice(t, netiftest.Config{New: func(t testing.TB) (a, b netif.Device) {
		h := plug(t, v)
		if each != nil {
			each(t, h)
		}
		f, k := open(t, h, fc, bc)
		t.Cleanup(func() {
			f.Close()
			k.Close()
			released(t, h)
		})
		return f, k
	}})
}

// released holds that nothing of a closed connection is left.
func released(t testing.TB, h *memory.Hypervisor) {
	t.Helper()
	for _, id := range []transport.Domain{0, 1} {
		d := h.Domain(id)
		if d.Grants() != 0 || d.Mapped() != 0 || d.Ports() != 0 {
			t.Errorf("domain %d still has %d pages granted, %d mapped and %d event channels", id, d.Grants(), d.Mapped(), d.Ports())
		}
	}
}

func TestDevice(t *testing.T) {
	for _, queues := range []int{1, 4} {
		t.Run(fmt.Sprint(queues, " queues"), func(t *testing.T) {
			suite(t, vif, xen.FrontendConfig{Queues: queues}, xen.BackendConfig{Queues: queues}, nil)
		})
	}
	t.Run("fewer queues in the guest", func(t *testing.T) {
		suite(t, vif, xen.FrontendConfig{Queues: 2}, xen.BackendConfig{Queues: 4}, nil)
	})
	t.Run("large MTU", func(t *testing.T) {
		v := vif
		v.MTU = 9000
		suite(t, v, xen.FrontendConfig{Queues: 1}, xen.BackendConfig{}, nil)
	})
	t.Run("few grants", func(t *testing.T) {
		suite(t, vif, xen.FrontendConfig{Queues: 2}, xen.BackendConfig{Queues: 2}, func(_ testing.TB, h *memory.Hypervisor) {
			h.SetGrantLimit(300)
		})
	})
}

// Every subset of the features, refused by one end, by the other, or by both.
func TestDeviceFeatures(t *testing.T) {
	const last = xen.FeatureQueues
	for without := xen.Features(0); without < 2*last; without++ {
		// All of them take half a minute, and minutes under the race detector.
		if (testing.Short() || race) && without%11 != 0 {
			continue
		}
		queues := 2
		configs := [...]struct{ front, back xen.Features }{{without, 0}, {0, without}, {without, without ^ (2*last - 1)}}
		c := configs[without%3]
		t.Run(fmt.Sprintf("%07b and %07b", c.front, c.back), func(t *testing.T) {
			suite(t, vif, xen.FrontendConfig{Queues: queues, Without: c.front}, xen.BackendConfig{Queues: queues, Without: c.back}, nil)
		})
	}
}

// unreliable makes a hypervisor deliver events late, twice, from other goroutines,
// or, if lose is set, sometimes not at all.
func unreliable(t testing.TB, h *memory.Hypervisor, seed uint64, lose bool) {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 2))
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	h.SetDelivery(func(_ transport.Domain, _ transport.Port, deliver func()) {
		mu.Lock()
		n := r.IntN(100)
		mu.Unlock()
		switch {
		case lose && n < 30:
		case n < 50:
			wg.Go(deliver)
		case n < 60:
			wg.Go(deliver)
			wg.Go(deliver)
		case n < 70:
			deliver()
			deliver()
		default:
			deliver()
		}
	})
}

func TestDeviceEvents(t *testing.T) {
	for name, lose := range map[string]bool{"late and doubled": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			seed := uint64(11)
			t.Logf("seed %d", seed)
			// Recovery is what gets us over lost events; without any loss it must not be
			// needed.
			recovery := time.Duration(-1)
			if lose {
				recovery = time.Millisecond
			}
			suite(t, vif, xen.FrontendConfig{Queues: 2, Recovery: recovery}, xen.BackendConfig{Queues: 2, Recovery: recovery},
				func(t testing.TB, h *memory.Hypervisor) {
					seed++
					unreliable(t, h, seed, lose)
				})
		})
	}
}
