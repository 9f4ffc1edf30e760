//go:build (netdirect && !netsocket && !netgvisor) || (!netdirect && !netsocket && !netgvisor && (js || wasip1 || tamago))

package stack

import (
	"context"
	"errors"
	"fmt"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/devices"
)

// Backend names the implementation that this build links.
const Backend = "direct"

func open(ctx context.Context, cfg *Config) (Stack, error) {
	list := cfg.interfaces()
	if len(list) == 0 {
		return nil, errors.New("stack: no network device: the direct backend needs one, such as -dev tap:tap0 (NETDUET_DEVICE, Config.Device)")
	}
	dc := &direct.Config{
		DNS:          cfg.DNS,
		Hosts:        cfg.Hosts,
		CloseTimeout: cfg.CloseTimeout,
		MemoryLimit:  cfg.MemoryLimit,
		Logger:       cfg.Logger,
		Clock:        cfg.Clock,
		Rand:         cfg.Rand,
	}
	// Interfaces that name the same device string are VLANs of one device.
	opened := make(map[string]netif.Device)
	fail := func(err error) (Stack, error) {
		for _, d := range opened {
			d.Close()
		}
		return nil, err
	}
	for i := range list {
		ic := &list[i]
		dev := ic.Driver
		if dev == nil {
			if ic.Device == "" {
				return fail(fmt.Errorf("stack: interface %s has no device: name one, such as -dev tap:tap0 (NETDUET_DEVICE, Device)", ic.Name))
			}
			dev = opened[ic.Device]
		}
		if dev == nil {
			var err error
			dev, err = devices.Open(ctx, ic.Device, devices.Options{MAC: ic.MAC, MTU: ic.MTU})
			if err != nil {
				return fail(fmt.Errorf("stack: %w", err))
			}
			opened[ic.Device] = dev
		}
		di := direct.Interface{Name: ic.Name, Device: dev, VLAN: ic.VLAN, MTU: ic.MTU, Addrs: ic.Addrs}
		for _, r := range ic.Routes {
			di.Routes = append(di.Routes, direct.Route{Dst: r.Dst, Gateway: r.Gateway})
		}
		dc.Interfaces = append(dc.Interfaces, di)
	}
	s, err := direct.New(dc)
	if err != nil {
		return fail(fmt.Errorf("stack: %w", err))
	}
	return s, nil
}
