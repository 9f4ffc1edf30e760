package stack

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"github.com/netduet/netduet/netif"
)

// Limits of settings.
const (
	minMTU  = 68    // RFC 791, section 3.2: what every module must forward whole
	maxMTU  = 65535 // RFC 791, section 3.1: the total length field
	minMTU6 = 1280  // RFC 8200, section 5
	maxVLAN = 0xffe // IEEE 802.1Q: 0xfff is reserved
	maxName = 63    // of an interface; no system has longer ones
	maxHost = 253   // RFC 1035, section 2.3.4, in text
)

// deviceSchemes lists what may stand in front of a device string's colon. It is
// repeated here from netif/devices, which a socket build does not link; a test
// compares the two.
func deviceSchemes() []string { return []string{"tap", "fd", "packet", "xen"} }

func interfaceName(i int) string { return "eth" + strconv.Itoa(i) }

// Validate reports the first setting that can't be meant so, in one line that
// says what to write instead. Open calls it; it opens nothing and gives the same
// answer on every backend.
func (c *Config) Validate() error {
	for _, s := range settings() {
		if err := c.bad[s.flag]; err != nil {
			return fmt.Errorf("stack: %w (-%s, %s)", err, s.flag, s.env)
		}
	}
	if c.short() && len(c.Interfaces) > 0 {
		return errors.New("stack: Config describes an interface twice: give either Interfaces or the short form (Device, Driver, MAC, MTU, VLAN, Addr, Gateway; flags and NETDUET_ variables set these)")
	}
	if c.Gateway.IsValid() && !c.Addr.IsValid() {
		return fmt.Errorf("stack: gateway %v is given without an address: add one such as 10.0.0.2/24 (-addr, NETDUET_ADDR)", c.Gateway)
	}
	list := c.interfaces()
	for i := range list {
		if err := list[i].validate(); err != nil {
			return fmt.Errorf("stack: interface %s: %w", list[i].Name, err)
		}
	}
	if err := validateTogether(list); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	for _, a := range c.DNS {
		if !a.IsValid() || a.Port() == 0 || a.Addr().IsMulticast() {
			return fmt.Errorf("stack: DNS server %v is not an address with a port: write it as 10.0.0.1:53", a)
		}
	}
	for name, addrs := range c.Hosts {
		if err := validateHost(name, addrs); err != nil {
			return fmt.Errorf("stack: %w", err)
		}
	}
	if c.MemoryLimit < 0 {
		return fmt.Errorf("stack: memory limit %d is negative: give bytes, or 0 for the default", c.MemoryLimit)
	}
	return nil
}

// validate checks what can be said about one interface alone.
func (ic *InterfaceConfig) validate() error {
	if len(ic.Name) > maxName || strings.ContainsAny(ic.Name, "%/ \t\r\n") {
		return fmt.Errorf("name %q may not hold spaces, %% or /, nor more than %d bytes", ic.Name, maxName)
	}
	if ic.Device != "" && ic.Driver != nil {
		return fmt.Errorf("both a device string (%s) and an open device are given: give one of them", ic.Device)
	}
	if ic.Device != "" {
		if err := validateDevice(ic.Device); err != nil {
			return err
		}
	}
	if ic.MAC[0]&1 != 0 {
		return fmt.Errorf("MAC %x is a group address: the first byte of ours must be even, such as 02:00:00:00:00:07", ic.MAC[:])
	}
	if ic.VLAN > maxVLAN {
		return fmt.Errorf("VLAN %d is out of range: give 1 to %d, or 0 for untagged", ic.VLAN, maxVLAN)
	}
	if ic.MTU != 0 && (ic.MTU < minMTU || ic.MTU > maxMTU) {
		return fmt.Errorf("MTU %d is out of range: give %d to %d, or 0 for the device's", ic.MTU, minMTU, maxMTU)
	}
	seen := make(map[netip.Addr]bool, len(ic.Addrs))
	for _, p := range ic.Addrs {
		if err := validatePrefix(p); err != nil {
			return err
		}
		if seen[p.Addr()] {
			return fmt.Errorf("address %v is given twice", p.Addr())
		}
		seen[p.Addr()] = true
		if p.Addr().Is6() && ic.MTU != 0 && ic.MTU < minMTU6 {
			return fmt.Errorf("MTU %d is too small for %v: IPv6 needs %d", ic.MTU, p, minMTU6)
		}
	}
	for _, r := range ic.Routes {
		if err := ic.validateRoute(r); err != nil {
			return err
		}
	}
	return nil
}

// validateDevice checks the shape of a device string; whether the device exists
// is its driver's to say.
func validateDevice(spec string) error {
	scheme, rest, ok := strings.Cut(spec, ":")
	known := strings.Join(deviceSchemes(), ", ")
	if !ok {
		return fmt.Errorf("device %q has no scheme: write it as tap:%s (schemes: %s)", spec, spec, known)
	}
	for _, s := range deviceSchemes() {
		if s != scheme {
			continue
		}
		if scheme == "fd" && rest == "" {
			return fmt.Errorf("device %q names no descriptor: write it as fd:3", spec)
		}
		return nil
	}
	return fmt.Errorf("device %q has the unknown scheme %q (schemes: %s)", spec, scheme, known)
}

// validatePrefix checks an address of ours with its prefix length.
func validatePrefix(p netip.Prefix) error {
	if !p.IsValid() {
		return errors.New("an address lacks its prefix length: write it as 10.0.0.2/24")
	}
	a := p.Addr()
	switch {
	case a.Is4In6():
		return fmt.Errorf("address %v is an IPv4 address in IPv6 form: write it as %v", p, a.Unmap())
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("address %v can't be an interface's own: give one such as 10.0.0.2/24", p)
	case a.IsLoopback():
		return fmt.Errorf("address %v is a loopback address, which no link carries: give one such as 10.0.0.2/24", p)
	}
	// RFC 3021: /31 has neither a network nor a broadcast address, nor has /32.
	if a.Is4() && p.Bits() < 31 {
		if a == p.Masked().Addr() {
			return fmt.Errorf("address %v is the network itself: give an address inside it, such as %v/%d", p, a.Next(), p.Bits())
		}
		if a == lastAddr4(p) {
			return fmt.Errorf("address %v is the broadcast address of its network: give another, such as %v/%d", p, p.Masked().Addr().Next(), p.Bits())
		}
	}
	return nil
}

// lastAddr4 returns the highest address of an IPv4 prefix.
func lastAddr4(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// validateRoute checks that a route can be walked: its gateway is a neighbour.
func (ic *InterfaceConfig) validateRoute(r Route) error {
	if !r.Dst.IsValid() {
		return errors.New("a route has no destination: give a prefix such as 10.1.0.0/16, or 0.0.0.0/0 for everything")
	}
	if r.Dst != r.Dst.Masked() {
		return fmt.Errorf("route destination %v has bits beyond its prefix length: write it as %v", r.Dst, r.Dst.Masked())
	}
	g := r.Gateway
	if !g.IsValid() {
		return nil
	}
	if g.Is4() != r.Dst.Addr().Is4() {
		return fmt.Errorf("gateway %v and destination %v are not of one IP version", g, r.Dst)
	}
	if g.IsUnspecified() || g.IsMulticast() || g.IsLoopback() {
		return fmt.Errorf("gateway %v is not the address of a neighbour", g)
	}
	if len(ic.Addrs) == 0 {
		return fmt.Errorf("gateway %v can't be reached: the interface has no address", g)
	}
	onLink := g.Is6() && g.IsLinkLocalUnicast()
	for _, p := range ic.Addrs {
		if p.Addr() == g {
			return fmt.Errorf("gateway %v is our own address: give the neighbour's", g)
		}
		onLink = onLink || p.Contains(g)
	}
	if !onLink {
		return fmt.Errorf("gateway %v is off-link: it must lie in %v, or the address needs a shorter prefix", g, ic.Addrs[0].Masked())
	}
	return nil
}

// validateTogether checks that interfaces do not contradict each other.
func validateTogether(list []InterfaceConfig) error {
	names := make(map[string]bool, len(list))
	for i := range list {
		a := &list[i]
		if names[a.Name] {
			return fmt.Errorf("two interfaces have the name %s: names must differ", a.Name)
		}
		names[a.Name] = true
		for j := range list[:i] {
			b := &list[j]
			if sameDevice(a, b) && a.VLAN == b.VLAN {
				return fmt.Errorf("interfaces %s and %s share a device and VLAN %d: give them different VLANs", b.Name, a.Name, a.VLAN)
			}
			if sameDevice(a, b) && a.MAC != b.MAC {
				return fmt.Errorf("interfaces %s and %s share a device and differ in MAC: a device has one", b.Name, a.Name)
			}
			for _, p := range a.Addrs {
				for _, q := range b.Addrs {
					if p.Addr() == q.Addr() && !p.Addr().IsLinkLocalUnicast() {
						return fmt.Errorf("interfaces %s and %s have the same address %v", b.Name, a.Name, p.Addr())
					}
				}
			}
		}
	}
	return nil
}

func sameDevice(a, b *InterfaceConfig) bool {
	if a.Driver != nil || b.Driver != nil {
		return sameDriver(a.Driver, b.Driver)
	}
	return a.Device != "" && a.Device == b.Device
}

// sameDriver compares two devices; a driver of a type that can't be compared
// equals none.
func sameDriver(a, b netif.Device) bool {
	return a != nil && b != nil && reflect.TypeOf(a).Comparable() && reflect.TypeOf(b).Comparable() && a == b
}

func validateHost(name string, addrs []netip.Addr) error {
	if name == "" || len(name) > maxHost || strings.ContainsAny(name, " \t\r\n/%,=") {
		return fmt.Errorf("host name %q is not a name: write it as db=10.0.0.7 (-host, NETDUET_HOSTS)", name)
	}
	if len(addrs) == 0 {
		return fmt.Errorf("host %s has no address: write it as %s=10.0.0.7 (-host, NETDUET_HOSTS)", name, name)
	}
	for _, a := range addrs {
		if !a.IsValid() {
			return fmt.Errorf("host %s has an invalid address: write it as %s=10.0.0.7 (-host, NETDUET_HOSTS)", name, name)
		}
	}
	return nil
}
