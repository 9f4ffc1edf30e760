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
	interfaces, abandon, err := openDevices(ctx, cfg)
	if err != nil {
		return nil, err
	}
	dc := &direct.Config{
		Interfaces:   interfaces,
		DNS:          cfg.DNS,
		Hosts:        cfg.Hosts,
		CloseTimeout: cfg.CloseTimeout,
		MemoryLimit:  cfg.MemoryLimit,
		Logger:       cfg.Logger,
		Clock:        cfg.Clock,
		Rand:         cfg.Rand,
	}
	s, err := direct.New(dc)
	if err != nil {
		abandon()
		return nil, fmt.Errorf("stack: %w", err)
	}
	return s, nil
}
