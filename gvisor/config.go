package gvisor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
)

// DefaultCloseTimeout is that of Config.
const DefaultCloseTimeout = 5 * time.Second

// Config describes a stack; it has the shape of direct.Config. The zero value is a
// stack with nothing but its loopback interface. New reads it and does not keep it.
type Config struct {
	// Interfaces are the stack's, in this order; a loopback interface named "lo"
	// with 127.0.0.1/8 is always there beside them.
	Interfaces []Interface

	// DNS lists the servers that names are looked up with, in this order. Without
	// any, only Hosts and localhost resolve.
	DNS []netip.AddrPort
	// Hosts maps names to addresses, ahead of DNS.
	Hosts map[string][]netip.Addr

	// CloseTimeout is how long Close lets connections that the application has
	// closed deliver what was written: 0 means DefaultCloseTimeout, negative not at
	// all.
	CloseTimeout time.Duration
	// MemoryLimit has no effect: gVisor bounds each socket, not all together. New
	// logs that it is ignored.
	MemoryLimit int64

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
	// Clock is the stack's time; nil means package time. Deadlines of connections
	// are the application's time and always package time.
	Clock clock.Clock
	// Rand is where unpredictable numbers come from; nil means crypto/rand. It is
	// read in New only.
	Rand io.Reader
}

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

const (
	minMTU       = 68 // RFC 791, section 3.2
	loopbackName = "lo"
	maxVLAN      = 4094 // IEEE 802.1Q: 0 is priority-tagged, 4095 reserved
)

// withDefaults returns a valid copy of cfg with nothing left open but Clock.
func (cfg *Config) withDefaults() (*Config, error) {
	c := Config{}
	if cfg != nil {
		c = *cfg
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
	if c.MemoryLimit < 0 {
		return nil, fmt.Errorf("gvisor: memory limit %d: must not be negative", c.MemoryLimit)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	for _, d := range c.DNS {
		if !d.IsValid() {
			return nil, errors.New("gvisor: a DNS server without an address: give address and port, such as 192.0.2.53:53")
		}
	}
	c.Interfaces = append([]Interface(nil), c.Interfaces...)
	names := map[string]bool{loopbackName: true}
	ours := map[netip.Addr]string{}
	for i := range c.Interfaces {
		ifc := &c.Interfaces[i]
		if ifc.Name == "" {
			ifc.Name = fmt.Sprint("eth", i)
		}
		if names[ifc.Name] {
			return nil, fmt.Errorf("gvisor: two interfaces are named %s: give each its own name", ifc.Name)
		}
		names[ifc.Name] = true
		if err := ifc.complete(); err != nil {
			return nil, fmt.Errorf("gvisor: interface %s: %w", ifc.Name, err)
		}
		for _, p := range ifc.Addrs {
			if other, taken := ours[p.Addr()]; taken {
				return nil, fmt.Errorf("gvisor: interface %s: address %v is already that of %s", ifc.Name, p.Addr(), other)
			}
			ours[p.Addr()] = ifc.Name
		}
		for _, other := range c.Interfaces[:i] {
			if other.Device == ifc.Device && other.VLAN == ifc.VLAN {
				return nil, fmt.Errorf("gvisor: interfaces %s and %s have the same device and VLAN: make them one interface with several addresses", other.Name, ifc.Name)
			}
		}
	}
	return &c, nil
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
	case p.Bits() < 31 && (a == p.Masked().Addr() || a == broadcastOf(p)):
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

// broadcastOf returns the last address of p.
func broadcastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
