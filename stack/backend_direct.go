//go:build (netdirect && !netsocket && !netgvisor) || (!netdirect && !netsocket && !netgvisor && (js || wasip1 || tamago))

package stack

import (
	"context"
	"fmt"

	"github.com/netduet/netduet/direct"
)

// Backend names the implementation that this build links.
const Backend = "direct"

func open(ctx context.Context, cfg *Config) (Stack, error) {
	list, devs, abandon, err := openDevices(ctx, cfg)
	if err != nil {
		return nil, err
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
	for i, ic := range list {
		di := direct.Interface{Name: ic.Name, Device: devs[i], VLAN: ic.VLAN, MTU: ic.MTU, Addrs: ic.Addrs}
		for _, r := range ic.Routes {
			di.Routes = append(di.Routes, direct.Route{Dst: r.Dst, Gateway: r.Gateway})
		}
		dc.Interfaces = append(dc.Interfaces, di)
	}
	s, err := direct.New(dc)
	if err != nil {
		abandon()
		return nil, fmt.Errorf("stack: %w", err)
	}
	return s, nil
}
