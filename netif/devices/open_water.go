//go:build darwin || windows

package devices

import (
	"context"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/tap"
)

func schemes() []scheme {
	return []scheme{{"tap", `"tap:tap0"`, prepareTap}}
}

func prepareTap(s *spec, o Options) opener {
	cfg := tap.Config{Name: s.name(), MAC: o.MAC, MTU: o.MTU, Driver: s.text("driver")}
	return func(ctx context.Context) (netif.Device, error) {
		d, err := tap.Open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
}
