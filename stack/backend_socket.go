//go:build (netsocket && !netdirect && !netgvisor) || (!netsocket && !netdirect && !netgvisor && !js && !wasip1 && !tamago)

package stack

import (
	"context"
	"log/slog"
	"strings"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/socket"
)

// Backend names the implementation that this build links.
const Backend = "socket"

func open(_ context.Context, cfg *Config) (Stack, error) {
	if ignored := ignoredBySocket(cfg); len(ignored) > 0 {
		log := cfg.Logger
		if log == nil {
			log = slog.Default()
		}
		log.Info("the socket backend uses the host's network; settings without effect: " +
			strings.Join(ignored, ", "))
	}
	s, err := socket.New(&socket.Config{DNS: cfg.DNS})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ignoredBySocket lists the settings of cfg that have no meaning for sockets.
func ignoredBySocket(cfg *Config) []string {
	var names []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"Device", cfg.Device != ""},
		{"Driver", cfg.Driver != nil},
		{"Addr", cfg.Addr.IsValid()},
		{"Gateway", cfg.Gateway.IsValid()},
		{"MAC", cfg.MAC != (netif.MAC{})},
		{"MTU", cfg.MTU != 0},
		{"VLAN", cfg.VLAN != 0},
		{"Interfaces", len(cfg.Interfaces) > 0},
		{"Hosts", len(cfg.Hosts) > 0},
		{"CloseTimeout", cfg.CloseTimeout != 0},
		{"MemoryLimit", cfg.MemoryLimit != 0},
		{"Clock", cfg.Clock != nil},
		{"Rand", cfg.Rand != nil},
	} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return names
}
