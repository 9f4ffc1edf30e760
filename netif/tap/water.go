//go:build linux || darwin || windows

package tap

import (
	"errors"
	"fmt"

	"github.com/netduet/netduet/netif"
)

// openWater opens the tap with songgao/water and puts a stream between its
// blocking calls and the queue.
func openWater(cfg *Config) (*Device, error) {
	switch {
	case len(cfg.FDs) > 0:
		return nil, errors.New("tap: the driver water opens its own descriptor: leave driver=water out to use an inherited one")
	case cfg.VNetHdr || cfg.Offload == OffloadOn:
		return nil, errors.New("tap: the driver water has no virtio header: leave vnet, offload or driver=water out")
	case cfg.Queues > 1:
		return nil, errors.New("tap: the driver water has one queue: leave queues or driver=water out")
	}
	w, err := newWater(cfg)
	if err != nil {
		return nil, err
	}
	mac, err := settleMAC(cfg.MAC, w.name, w.kernel)
	if err == nil && cfg.MTU > w.mtu {
		err = fmt.Errorf("tap: %s has an MTU of %d: set it there first, or ask for less than %d", w.name, w.mtu, cfg.MTU)
	}
	if err != nil {
		w.conn.Close()
		return nil, err
	}
	mtu := w.mtu
	if cfg.MTU > 0 {
		mtu = cfg.MTU
	}
	d := newDevice(netif.Info{Name: w.name, Link: netif.LinkEthernet, MAC: mac, MTU: mtu})
	s := newStream(d, w.conn, etherLen+vlanLen+w.mtu)
	d.queues = []netif.Queue{s}
	d.shutdown = s.close
	return d, nil
}
