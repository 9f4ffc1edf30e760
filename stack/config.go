package stack

import (
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ifconf"
	"github.com/netduet/netduet/netif"
)

// Config says which network a stack plays on. The zero value is useful: the
// socket backend needs nothing, and the direct backend says what it is missing.
// Open reads it and does not keep it.
//
// Device, Driver, MAC, MTU, VLAN, Addr and Gateway describe one interface and are
// the short form of an entry in Interfaces; the two forms exclude each other.
type Config struct {
	// Device names the device to open, as scheme and argument: "tap:tap0",
	// "tap:tap0?driver=water", or inherited descriptors, one a queue: "fd:3",
	// "fd:3,4".
	Device string
	// Driver is a device that is already open, used instead of Device. It belongs to
	// the stack once Open succeeded, and is closed with it; a backend without devices
	// leaves it to the caller.
	Driver netif.Device
	// MAC is our hardware address; zero leaves the choice to the driver, which is
	// stable across restarts. It has a meaning with Device only.
	MAC netif.MAC
	// MTU is the largest IP packet in bytes to send, at least 68 (RFC 791); 0 takes
	// the device's.
	MTU int
	// VLAN is the IEEE 802.1Q tag of our frames, 1 to 4094; 0 means untagged.
	VLAN uint16
	// Addr is our address and the length of the prefix that is on the link.
	Addr netip.Prefix
	// Gateway is where packets go that no prefix covers; it lies in Addr's prefix.
	Gateway netip.Addr

	// Interfaces describes several interfaces, or one in full.
	Interfaces []InterfaceConfig

	// DNS lists the servers that names are looked up with, tried in this order. When
	// empty, direct resolves no name but Hosts and localhost, and socket does what
	// the host does.
	DNS []netip.AddrPort
	// Hosts maps names to addresses, ahead of DNS. The socket backend has the host's
	// table and ignores this one.
	Hosts map[string][]netip.Addr

	// CloseTimeout is how long Close lets connections that the application has closed
	// deliver what was written: 0 means 5 s, negative not at all. Sockets deliver in
	// the kernel, also after the process ended.
	CloseTimeout time.Duration
	// MemoryLimit bounds the bytes that all buffers of the stack hold together; 0
	// takes the backend's default.
	MemoryLimit int64
	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
	// Clock is the stack's time; nil means package time.
	Clock clock.Clock
	// Rand is where unpredictable numbers come from (ports, sequence numbers); nil
	// means crypto/rand.
	Rand io.Reader

	// bad holds the text of flags and variables that could not be parsed, by
	// setting; Validate reports them.
	bad map[string]error
}

// InterfaceConfig describes one interface. Entries with the same Device, or the
// same Driver, share that device and differ in VLAN.
type InterfaceConfig struct {
	// Name identifies the interface and is the zone of its link-local addresses;
	// empty means eth0, eth1, … by position.
	Name string
	// Device, Driver, MAC, MTU and VLAN are as in Config.
	Device string
	Driver netif.Device
	MAC    netif.MAC
	MTU    int
	VLAN   uint16
	// Addrs are our addresses, each with the length of its on-link prefix.
	Addrs []netip.Prefix
	// Routes lead to what is not on the link.
	Routes []Route
}

// Route is a way to what is not on the link.
type Route = ifconf.Route

// short reports whether the short form describes an interface.
func (c *Config) short() bool {
	return c.Device != "" || c.Driver != nil || c.MAC != (netif.MAC{}) || c.MTU != 0 ||
		c.VLAN != 0 || c.Addr.IsValid() || c.Gateway.IsValid()
}

// interfaces returns the interfaces in full form, every one with a name. The
// configuration must be valid.
func (c *Config) interfaces() []InterfaceConfig {
	list := append([]InterfaceConfig(nil), c.Interfaces...)
	if c.short() {
		ic := InterfaceConfig{Device: c.Device, Driver: c.Driver, MAC: c.MAC, MTU: c.MTU, VLAN: c.VLAN}
		if c.Addr.IsValid() {
			ic.Addrs = []netip.Prefix{c.Addr}
		}
		if c.Gateway.IsValid() {
			ic.Routes = []Route{{Dst: defaultDst(c.Gateway), Gateway: c.Gateway}}
		}
		list = append(list, ic)
	}
	for i := range list {
		if list[i].Name == "" {
			list[i].Name = interfaceName(i)
		}
	}
	return list
}

// defaultDst is the prefix that covers everything of the gateway's family.
func defaultDst(gateway netip.Addr) netip.Prefix {
	if gateway.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
