//go:build darwin || windows

package tap

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/songgao/water"

	"github.com/netduet/netduet/netif"
)

// watered is a tap that water opened.
type watered struct {
	conn   io.ReadWriteCloser
	name   string
	mtu    int
	kernel netif.MAC
}

func newWater(cfg *Config) (*watered, error) {
	if cfg.Persistent {
		return nil, errors.New("tap: whether a tap persists is up to its driver on this system: leave persist out")
	}
	params, hint := waterParams(cfg.Name)
	ifce, err := water.New(water.Config{DeviceType: water.TAP, PlatformSpecificParams: params})
	if err != nil {
		return nil, fmt.Errorf("tap: opening %q: %w (%s)", cfg.Name, err, hint)
	}
	w := &watered{conn: ifce.ReadWriteCloser, name: ifce.Name(), mtu: 1500}
	if i, err := net.InterfaceByName(w.name); err == nil {
		if i.MTU >= minMTU {
			w.mtu = min(i.MTU, maxMTU)
		}
		copy(w.kernel[:], i.HardwareAddr)
	}
	return w, nil
}
