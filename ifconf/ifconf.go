// Package ifconf is how the interfaces of an engine are configured: which device
// carries them and what their addresses and routes are. It is a leaf that the
// engines share, so that one description means the same to each, with the same
// checks and the same words when something can't be meant so.
//
// It opens nothing and knows no engine; what an interface looks like while a stack
// runs is package ifaddr's.
package ifconf

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"

	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
)

// Interface describes one interface. Interfaces with the same Device share it and
// differ in VLAN.
type Interface struct {
	// Name is unique within the stack; empty means eth0, eth1, … by position.
	Name string
	// Device carries the frames. The stack owns it once New succeeded.
	Device netif.Device
	// VLAN is the IEEE 802.1Q tag of our frames, 1 to 4094; 0 means untagged.
	VLAN uint16
	// MTU is the largest IP packet in bytes to send, from 68 to the device's MTU; 0
	// means the latter.
	MTU int
	// Addrs are our addresses, each with the length of its on-link prefix.
	Addrs []netip.Prefix
	// Routes lead to what is not on the link.
	Routes []Route
}

// Route sends packets for Dst to Gateway, or straight onto the link when Gateway
// is the zero Addr.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr
}

// LoopbackName is the name of the interface that every engine has beside those
// configured.
const LoopbackName = "lo"

const (
	minMTU  = 68   // RFC 791, section 3.2
	maxVLAN = 4094 // IEEE 802.1Q: 0 is priority-tagged, 4095 reserved
)

// Complete returns a valid copy of list with nothing left open.
func Complete(list []Interface) ([]Interface, error) {
	list = append([]Interface(nil), list...)
	names := map[string]bool{LoopbackName: true}
	ours := map[netip.Addr]string{}
	for i := range list {
		ifc := &list[i]
		if ifc.Name == "" {
			ifc.Name = fmt.Sprint("eth", i)
		}
		if names[ifc.Name] {
			return nil, fmt.Errorf("two interfaces are named %s: give each its own name", ifc.Name)
		}
		names[ifc.Name] = true
		if err := ifc.complete(); err != nil {
			return nil, fmt.Errorf("interface %s: %w", ifc.Name, err)
		}
		for _, p := range ifc.Addrs {
			if other, taken := ours[p.Addr()]; taken {
				return nil, fmt.Errorf("interface %s: address %v is already that of %s", ifc.Name, p.Addr(), other)
			}
			ours[p.Addr()] = ifc.Name
		}
		for _, other := range list[:i] {
			if other.Device == ifc.Device && other.VLAN == ifc.VLAN {
				return nil, fmt.Errorf("interfaces %s and %s have the same device and VLAN: make them one interface with several addresses", other.Name, ifc.Name)
			}
		}
	}
	return list, nil
}

// complete validates the interface and fills in its MTU.
func (ifc *Interface) complete() error {
	switch {
	case ifc.Device == nil:
		return errors.New("no device: set Device")
	case !reflect.TypeOf(ifc.Device).Comparable():
		return fmt.Errorf("the device's type %T can't be compared: pass a pointer", ifc.Device)
	case len(ifc.Device.Queues()) == 0:
		return errors.New("the device has no queues")
	case ifc.VLAN > maxVLAN:
		return fmt.Errorf("VLAN %d: must be 1 to %d, or 0 for untagged frames", ifc.VLAN, maxVLAN)
	}
	info := ifc.Device.Info()
	switch {
	case ifc.VLAN != 0 && info.Link != netif.LinkEthernet:
		return errors.New("a VLAN needs an Ethernet device")
	case info.MTU < minMTU || info.MTU > ipv4.MaxLen:
		return fmt.Errorf("the device's MTU is %d: must be %d to %d", info.MTU, minMTU, ipv4.MaxLen)
	case ifc.MTU != 0 && (ifc.MTU < minMTU || ifc.MTU > info.MTU):
		return fmt.Errorf("MTU %d: must be %d to the device's %d", ifc.MTU, minMTU, info.MTU)
	}
	if ifc.MTU == 0 {
		ifc.MTU = info.MTU
	}
	for _, p := range ifc.Addrs {
		if err := checkAddr(p); err != nil {
			return err
		}
	}
	for _, r := range ifc.Routes {
		if err := ifc.checkRoute(r); err != nil {
			return err
		}
	}
	return nil
}

func checkAddr(p netip.Prefix) error {
	a := p.Addr()
	switch {
	case !p.IsValid():
		return errors.New("an address without a prefix length: write it as 192.0.2.1/24")
	case !a.Is4():
		return fmt.Errorf("address %v: only IPv4 is spoken", p)
	case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == ipv4.Broadcast():
		return fmt.Errorf("address %v: must be a unicast address that is not a loopback one", p)
	case p.Bits() < 31 && (a == p.Masked().Addr() || a == DirectedBroadcast(p)):
		return fmt.Errorf("address %v is its network's own or its broadcast address: pick a host address within %v", p, p.Masked())
	}
	return nil
}

func (ifc *Interface) checkRoute(r Route) error {
	switch {
	case !r.Dst.IsValid():
		return errors.New("a route without a destination: use 0.0.0.0/0 for the default route")
	case !r.Dst.Addr().Is4():
		return fmt.Errorf("route to %v: only IPv4 is spoken", r.Dst)
	case !r.Gateway.IsValid():
		return nil
	case !r.Gateway.Is4():
		return fmt.Errorf("gateway %v: only IPv4 is spoken", r.Gateway)
	}
	onLink := false
	for _, p := range ifc.Addrs {
		if p.Addr() == r.Gateway {
			return fmt.Errorf("gateway %v is our own address", r.Gateway)
		}
		onLink = onLink || p.Contains(r.Gateway)
	}
	if !onLink {
		return fmt.Errorf("gateway %v is not on the link: it must lie in the prefix of one of our addresses (%v)", r.Gateway, ifc.Addrs)
	}
	return nil
}

// DirectedBroadcast returns the last address of an IPv4 prefix.
func DirectedBroadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
