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
	interfaces, abandon, err := openDevices(ctx, cfg)
	if err != nil {
		return nil, err
	}
	gc := &gvisor.Config{
		Interfaces:   interfaces,
		DNS:          cfg.DNS,
		Hosts:        cfg.Hosts,
		CloseTimeout: cfg.CloseTimeout,
		MemoryLimit:  cfg.MemoryLimit,
		Logger:       cfg.Logger,
		Clock:        cfg.Clock,
		Rand:         cfg.Rand,
	}
	s, err := gvisor.New(gc)
	if err != nil {
		abandon()
		return nil, fmt.Errorf("stack: %w", err)
	}
	return s, nil
}
