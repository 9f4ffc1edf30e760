package devices

import (
	"context"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/tap"
)

func schemes() []scheme {
	return []scheme{
		{"tap", `"tap:tap0"`, prepareTap},
		{"fd", `"fd:3"`, prepareFD},
	}
}

func prepareTap(s *spec, o Options) opener {
	cfg := tap.Config{
		Name:       s.name(),
		MAC:        o.MAC,
		MTU:        o.MTU,
		Persistent: s.flag("persist"),
		VNetHdr:    s.flag("vnet"),
		Queues:     s.number("queues"),
		Driver:     s.text("driver"),
	}
	return openTap(cfg)
}

func prepareFD(s *spec, o Options) opener {
	return openTap(tap.Config{FDs: s.descriptors(), MAC: o.MAC, MTU: o.MTU})
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
