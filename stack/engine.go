//go:build (netdirect && !netsocket && !netgvisor) || (netgvisor && !netsocket && !netdirect) || (!netdirect && !netsocket && !netgvisor && (js || wasip1 || tamago))

package stack

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/netduet/netduet/ifconf"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/devices"
)

// openDevices opens what the interfaces of cfg name, for the engines that need
// devices: those that name the same device string are VLANs of one device. abandon
// closes what was opened here, and not the Drivers of the configuration.
func openDevices(ctx context.Context, cfg *Config) (interfaces []ifconf.Interface, abandon func(), err error) {
	opened := make(map[string]netif.Device)
	abandon = func() {
		for _, d := range opened {
			d.Close()
		}
	}
	fail := func(err error) ([]ifconf.Interface, func(), error) {
		abandon()
		return nil, nil, err
	}
	list := cfg.interfaces()
	if len(list) == 0 {
		return fail(fmt.Errorf("stack: no network device: the %s backend needs one, such as -dev tap:tap0 (NETDUET_DEVICE, Config.Device)", Backend))
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
			if dev, err = devices.Open(ctx, ic.Device, devices.Options{MAC: ic.MAC, MTU: ic.MTU, Addrs: addrsOn(list, ic.Device)}); err != nil {
				return fail(fmt.Errorf("stack: %w", err))
			}
			opened[ic.Device] = dev
		}
		interfaces = append(interfaces, ifconf.Interface{
			Name: ic.Name, Device: dev, VLAN: ic.VLAN, MTU: ic.MTU, Addrs: ic.Addrs, Routes: ic.Routes,
		})
	}
	return interfaces, abandon, nil
}

// addrsOn returns our addresses on all interfaces of a device.
func addrsOn(list []InterfaceConfig, device string) []netip.Addr {
	var addrs []netip.Addr
	for _, ic := range list {
		if ic.Driver != nil || ic.Device != device {
			continue
		}
		for _, p := range ic.Addrs {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}
