//go:build netgvisor && !netdirect && !netsocket

package stack

import (
	"context"
	"fmt"

	"github.com/netduet/netduet/gvisor"
)

// Backend names the implementation that this build links.
const Backend = "gvisor"

func open(ctx context.Context, cfg *Config) (Stack, error) {
	list, devs, abandon, err := openDevices(ctx, cfg)
	if err != nil {
		return nil, err
	}
	gc := &gvisor.Config{
		DNS:          cfg.DNS,
		Hosts:        cfg.Hosts,
		CloseTimeout: cfg.CloseTimeout,
		MemoryLimit:  cfg.MemoryLimit,
		Logger:       cfg.Logger,
		Clock:        cfg.Clock,
		Rand:         cfg.Rand,
	}
	for i, ic := range list {
		gi := gvisor.Interface{Name: ic.Name, Device: devs[i], VLAN: ic.VLAN, MTU: ic.MTU, Addrs: ic.Addrs}
		for _, r := range ic.Routes {
			gi.Routes = append(gi.Routes, gvisor.Route{Dst: r.Dst, Gateway: r.Gateway})
		}
		gc.Interfaces = append(gc.Interfaces, gi)
	}
	s, err := gvisor.New(gc)
	if err != nil {
		abandon()
		return nil, fmt.Errorf("stack: %w", err)
	}
	return s, nil
}
