package devices

import (
	"context"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/packet"
	"github.com/netduet/netduet/netif/tap"
)

func schemes() []scheme {
	return []scheme{
		{"tap", `"tap:tap0"`, prepareTap},
		{"fd", `"fd:3"`, prepareFD},
		{"packet", `"packet:eth0"`, preparePacket},
		{"xen", `"xen:0"`, prepareXen},
	}
}

func prepareTap(s *spec, o Options) opener {
	cfg := tap.Config{
		Name:       s.name(),
		MAC:        o.MAC,
		MTU:        o.MTU,
		Persistent: s.flag("persist"),
		Offload:    offload(s),
		Queues:     s.number("queues"),
		Driver:     s.text("driver"),
	}
	switch vnet := s.choice("vnet"); {
	case vnet == yes:
		cfg.VNetHdr = true
		if cfg.Offload == tap.OffloadAuto {
			cfg.Offload = tap.OffloadOn
		}
	case vnet == no && cfg.Offload == tap.OffloadOn:
		s.fail("device %q: offload=1 needs the header that vnet=0 leaves out", s.whole)
	case vnet == no:
		cfg.Offload = tap.OffloadOff
	}
	return openTap(cfg)
}

func prepareFD(s *spec, o Options) opener {
	return openTap(tap.Config{FDs: s.descriptors(), MAC: o.MAC, MTU: o.MTU, Offload: offload(s)})
}

func offload(s *spec) tap.Offload {
	switch s.choice("offload") {
	case yes:
		return tap.OffloadOn
	case no:
		return tap.OffloadOff
	}
	return tap.OffloadAuto
}

func preparePacket(s *spec, o Options) opener {
	cfg := packet.Config{
		Name:        s.argument,
		MAC:         o.MAC,
		MTU:         o.MTU,
		Addrs:       s.addresses("addr"),
		Promiscuous: s.flag("promisc"),
		Queues:      s.number("queues"),
	}
	if len(cfg.Addrs) == 0 {
		cfg.Addrs = o.Addrs
	}
	if cfg.Name == "" {
		s.fail("device %q names nothing: write \"packet:eth0\"", s.whole)
	}
	return func(ctx context.Context) (netif.Device, error) {
		d, err := packet.Open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
}

// openTap keeps a nil *tap.Device from becoming a device that is not nil.
func openTap(cfg tap.Config) opener {
	return func(ctx context.Context) (netif.Device, error) {
		d, err := tap.Open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
}
