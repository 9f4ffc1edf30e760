package direct

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
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// Defaults of Config.
const (
	DefaultCloseTimeout = 5 * time.Second
	// DefaultMemoryLimit bounds what all buffers and records of a stack hold.
	DefaultMemoryLimit = 1 << 30
)

// Config describes a stack. The zero value is a stack with nothing but its
// loopback interface. New reads it and does not keep it.
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
	// MemoryLimit bounds, in bytes, what buffers, connections and the records of
	// half-open and ended ones hold together; 0 means DefaultMemoryLimit. Work
	// beyond it is refused and counted. The frames that devices lend are theirs and
	// don't count.
	MemoryLimit int64

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
	// Clock is the stack's time; nil means package time. Deadlines of connections
	// are the application's time and always package time.
	Clock clock.Clock
	// Rand is where unpredictable numbers come from; nil means crypto/rand. It is
	// read in New only.
	Rand io.Reader

	// TCP is what connections begin with: buffers, retries, the options offered, the
	// congestion control, in tcp.Config's defaults where it says nothing. What the
	// path decides (ports, MSS, MaxGSO, Memory) and what sockets have defaults of
	// their own for (NoDelay, KeepAlive) is not taken from it.
	TCP tcp.Config

	// Manual leaves receiving to the caller, who calls Poll: for main loops on bare
	// metal. Without it the stack runs a goroutine for each queue of its devices.
	Manual bool
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
	// means the latter, less 4 bytes if VLAN is set and the device can't carry more.
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

// withDefaults returns a valid copy of cfg with nothing left open.
func (cfg *Config) withDefaults() (*Config, error) {
	c := Config{}
	if cfg != nil {
		c = *cfg
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
	if c.MemoryLimit < 0 {
		return nil, fmt.Errorf("direct: memory limit %d: must not be negative; 0 means %d", c.MemoryLimit, int64(DefaultMemoryLimit))
	}
	if c.MemoryLimit == 0 {
		c.MemoryLimit = DefaultMemoryLimit
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = newSystemClock()
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	for _, d := range c.DNS {
		if !d.IsValid() {
			return nil, errors.New("direct: a DNS server without an address: give address and port, such as 192.0.2.53:53")
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
			return nil, fmt.Errorf("direct: two interfaces are named %s: give each its own name", ifc.Name)
		}
		names[ifc.Name] = true
		if err := ifc.validate(ours); err != nil {
			return nil, fmt.Errorf("direct: interface %s: %w", ifc.Name, err)
		}
		for j := range i {
			if c.Interfaces[j].Device == ifc.Device && c.Interfaces[j].VLAN == ifc.VLAN {
				return nil, fmt.Errorf("direct: interfaces %s and %s have the same device and VLAN: make them one interface with several addresses", c.Interfaces[j].Name, ifc.Name)
			}
		}
	}
	return &c, nil
}

// validate checks one interface and completes its MTU; ours collects the
// addresses of all.
func (ifc *Interface) validate(ours map[netip.Addr]string) error {
	if ifc.Device == nil {
		return errors.New("no device: set Device")
	}
	if !reflect.TypeOf(ifc.Device).Comparable() {
		return fmt.Errorf("the device's type %T can't be compared: pass a pointer", ifc.Device)
	}
	if len(ifc.Device.Queues()) == 0 {
		return errors.New("the device has no queues")
	}
	info := ifc.Device.Info()
	switch {
	case ifc.VLAN > maxVLAN:
		return fmt.Errorf("VLAN %d: must be 1 to %d, or 0 for untagged frames", ifc.VLAN, maxVLAN)
	case ifc.VLAN != 0 && info.Link != netif.LinkEthernet:
		return errors.New("a VLAN needs an Ethernet device")
	case info.MTU < minMTU || info.MTU > 65535:
		return fmt.Errorf("the device's MTU is %d: must be %d to 65535", info.MTU, minMTU)
	case ifc.MTU != 0 && (ifc.MTU < minMTU || ifc.MTU > info.MTU):
		return fmt.Errorf("MTU %d: must be %d to the device's %d", ifc.MTU, minMTU, info.MTU)
	}
	if ifc.MTU == 0 {
		ifc.MTU = info.MTU
	}
	for _, p := range ifc.Addrs {
		a := p.Addr()
		switch {
		case !p.IsValid():
			return errors.New("an address without a prefix length: write it as 192.0.2.1/24")
		case !a.Is4():
			return fmt.Errorf("address %v: only IPv4 is spoken", p)
		case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == broadcastAddr:
			return fmt.Errorf("address %v: must be a unicast address that is not a loopback one", p)
		case p.Bits() < 31 && (a == p.Masked().Addr() || a == directedBroadcast(p)):
			return fmt.Errorf("address %v is its network's own or its broadcast address: pick a host address within %v", p, p.Masked())
		case ours[a] != "":
			return fmt.Errorf("address %v is already that of %s", a, ours[a])
		}
		ours[a] = ifc.Name
	}
	for _, r := range ifc.Routes {
		if err := ifc.validateRoute(r); err != nil {
			return err
		}
	}
	return nil
}

func (ifc *Interface) validateRoute(r Route) error {
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
	for _, p := range ifc.Addrs {
		if p.Addr() == r.Gateway {
			return fmt.Errorf("gateway %v is our own address", r.Gateway)
		}
	}
	for _, p := range ifc.Addrs {
		if p.Contains(r.Gateway) {
			return nil
		}
	}
	return fmt.Errorf("gateway %v is not on the link: it must lie in the prefix of one of our addresses (%v)", r.Gateway, ifc.Addrs)
}
