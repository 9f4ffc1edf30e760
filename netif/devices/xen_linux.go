package devices

import (
	"context"
	"strconv"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/xen"
	"github.com/netduet/netduet/netif/xen/transport/devxen"
)

// prepareXen reads "xen:0", the vif of that number in this domain, with queues=N.
func prepareXen(s *spec, o Options) opener {
	index, err := strconv.ParseUint(s.argument, 10, 16)
	if err != nil {
		s.fail("device %q: %q is not the number of a vif: write \"xen:0\"", s.whole, s.argument)
	}
	cfg := xen.FrontendConfig{Index: int(index), OwnTransport: true, Queues: s.number("queues"), MAC: o.MAC, MTU: o.MTU}
	return func(ctx context.Context) (netif.Device, error) {
		if err := devxen.Held(cfg.Index); err != nil {
			return nil, err
		}
		var err error
		if cfg.Transport, err = devxen.Open(); err != nil {
			return nil, err
		}
		d, err := xen.OpenFrontend(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
}
