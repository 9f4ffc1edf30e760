package stack

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netduet/netduet/netif"
)

// setting is one thing that flags and the environment can set.
type setting struct {
	flag, env string
	usage     string // the back-quoted word is the placeholder that package flag prints
	list      bool   // set appends; clear empties
	set       func(c *Config, text string) error
	clear     func(c *Config)
	get       func(c *Config) string
}

func settings() []setting {
	return []setting{
		{
			flag: "dev", env: "NETDUET_DEVICE",
			usage: "network `device`: tap:tap0, or fd:3 for an inherited one",
			set:   func(c *Config, s string) error { c.Device = s; return nil },
			clear: func(c *Config) { c.Device = "" },
			get:   func(c *Config) string { return c.Device },
		}, {
			flag: "addr", env: "NETDUET_ADDR",
			usage: "our `address` with its prefix length, such as 10.0.0.2/24",
			set: func(c *Config, s string) (err error) {
				c.Addr, err = parsePrefix(s)
				return err
			},
			clear: func(c *Config) { c.Addr = netip.Prefix{} },
			get:   func(c *Config) string { return text(c.Addr, c.Addr.IsValid()) },
		}, {
			flag: "gw", env: "NETDUET_GATEWAY",
			usage: "`address` of the default gateway",
			set: func(c *Config, s string) (err error) {
				c.Gateway, err = parseAddr("gateway", s)
				return err
			},
			clear: func(c *Config) { c.Gateway = netip.Addr{} },
			get:   func(c *Config) string { return text(c.Gateway, c.Gateway.IsValid()) },
		}, {
			flag: "dns", env: "NETDUET_DNS", list: true,
			usage: "DNS `servers`, separated by commas; port 53 unless given",
			set: func(c *Config, s string) error {
				a, err := parseServer(s)
				if err == nil {
					c.DNS = append(slices.Clip(c.DNS), a)
				}
				return err
			},
			clear: func(c *Config) { c.DNS = nil },
			get: func(c *Config) string {
				var out []string
				for _, a := range c.DNS {
					out = append(out, a.String())
				}
				return strings.Join(out, ",")
			},
		}, {
			flag: "host", env: "NETDUET_HOSTS", list: true,
			usage: "static `name=address` pairs, separated by commas",
			set:   setHost,
			clear: func(c *Config) { c.Hosts = nil },
			get: func(c *Config) string {
				var out []string
				for _, name := range slices.Sorted(maps.Keys(c.Hosts)) {
					for _, a := range c.Hosts[name] {
						out = append(out, name+"="+a.String())
					}
				}
				return strings.Join(out, ",")
			},
		}, {
			flag: "mac", env: "NETDUET_MAC",
			usage: "our hardware `address`, such as 02:00:00:00:00:07",
			set: func(c *Config, s string) (err error) {
				c.MAC, err = parseMAC(s)
				return err
			},
			clear: func(c *Config) { c.MAC = netif.MAC{} },
			get: func(c *Config) string {
				m := c.MAC
				if m == (netif.MAC{}) {
					return ""
				}
				return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
			},
		}, {
			flag: "mtu", env: "NETDUET_MTU",
			usage: "largest IP packet in `bytes`; the device's unless given",
			set: func(c *Config, s string) (err error) {
				c.MTU, err = parseNumber("MTU", s, minMTU, maxMTU)
				return err
			},
			clear: func(c *Config) { c.MTU = 0 },
			get:   func(c *Config) string { return text(c.MTU, c.MTU != 0) },
		}, {
			flag: "vlan", env: "NETDUET_VLAN",
			usage: "802.1Q `tag` of our frames, 1 to 4094",
			set: func(c *Config, s string) error {
				n, err := parseNumber("VLAN", s, 1, maxVLAN)
				c.VLAN = uint16(n)
				return err
			},
			clear: func(c *Config) { c.VLAN = 0 },
			get:   func(c *Config) string { return text(c.VLAN, c.VLAN != 0) },
		}, {
			flag: "memory", env: "NETDUET_MEMORY",
			usage: "`bytes` that all buffers may hold, such as 64M",
			set: func(c *Config, s string) (err error) {
				c.MemoryLimit, err = parseSize(s)
				return err
			},
			clear: func(c *Config) { c.MemoryLimit = 0 },
			get:   func(c *Config) string { return text(c.MemoryLimit, c.MemoryLimit != 0) },
		}, {
			flag: "close-timeout", env: "NETDUET_CLOSE_TIMEOUT",
			usage: "`time` that closed connections get to deliver what was written when the stack ends, such as 5s",
			set: func(c *Config, s string) error {
				d, err := time.ParseDuration(s)
				if err != nil {
					return fmt.Errorf("close timeout %q is not a duration: write it as 5s or 500ms", s)
				}
				c.CloseTimeout = d
				return nil
			},
			clear: func(c *Config) { c.CloseTimeout = 0 },
			get:   func(c *Config) string { return text(c.CloseTimeout, c.CloseTimeout != 0) },
		},
	}
}

// ConfigFromEnv is FromEnv over the process's environment.
func ConfigFromEnv() *Config { return FromEnv(os.Getenv) }

// FromEnv returns a Config with what the NETDUET_ variables say; an empty
// variable says nothing. What can't be parsed is reported by Validate and Open.
func FromEnv(getenv func(string) string) *Config {
	c := &Config{}
	for _, s := range settings() {
		if v := getenv(s.env); v != "" {
			c.apply(&s, v)
		}
	}
	return c
}

// RegisterFlags defines a flag in fs for each setting. A flag that is given
// overrides what c holds at that time, lists included; repeated, it adds to a
// list and replaces anything else. An empty value clears the setting. What can't
// be parsed is reported by Validate and Open, after all flags were seen.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	for _, s := range settings() {
		fs.Var(&flagValue{c: c, s: s}, s.flag, s.usage)
	}
}

// apply sets s from text, which holds one or more values if s is a list.
func (c *Config) apply(s *setting, text string) {
	if c.bad[s.flag] != nil {
		c.bad = maps.Clone(c.bad) // a copy of the Config may share it
		delete(c.bad, s.flag)
	}
	values := []string{text}
	if s.list {
		values = strings.Split(text, ",")
	}
	for _, v := range values {
		v = strings.TrimSpace(v)
		if v == "" {
			continue
		}
		if err := s.set(c, v); err != nil {
			c.bad = maps.Clone(c.bad)
			if c.bad == nil {
				c.bad = make(map[string]error)
			}
			c.bad[s.flag] = err
			return
		}
	}
}

// flagValue is one setting as a flag.
type flagValue struct {
	c     *Config
	s     setting
	given bool
}

func (v *flagValue) String() string {
	if v.c == nil { // package flag asks a zero value what the default looks like
		return ""
	}
	return v.s.get(v.c)
}

func (v *flagValue) Set(text string) error {
	if !v.given || !v.s.list || text == "" {
		v.s.clear(v.c)
	}
	v.given = true
	v.c.apply(&v.s, text)
	return nil
}

func text(v any, set bool) string {
	if !set {
		return ""
	}
	return fmt.Sprint(v)
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err == nil {
		return p, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		bits := 24
		if a.Is6() {
			bits = 64
		}
		return p, fmt.Errorf("address %q lacks its prefix length: write it as %s/%d", s, s, bits)
	}
	return p, fmt.Errorf("address %q is not an address with a prefix length: write it as 10.0.0.2/24", s)
}

func parseAddr(what, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s %q is not an IP address: write it as 10.0.0.1", what, s)
	}
	return a, nil
}

func parseServer(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("DNS server %q is not an IP address: write it as 10.0.0.1 or 10.0.0.1:53", s)
	}
	return ap, nil
}

func setHost(c *Config, s string) error {
	name, addr, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("host %q has no address: write it as %s=10.0.0.7", s, s)
	}
	a, err := parseAddr("address of host "+name, addr)
	if err != nil {
		return err
	}
	hosts := maps.Clone(c.Hosts)
	if hosts == nil {
		hosts = make(map[string][]netip.Addr)
	}
	hosts[name] = append(slices.Clip(hosts[name]), a)
	c.Hosts = hosts
	return nil
}

func parseMAC(s string) (netif.MAC, error) {
	var m netif.MAC
	parts := strings.Split(strings.ReplaceAll(s, "-", ":"), ":")
	ok := len(parts) == len(m)
	for i := 0; ok && i < len(m); i++ {
		n, err := strconv.ParseUint(parts[i], 16, 8)
		ok = err == nil && len(parts[i]) == 2
		m[i] = byte(n)
	}
	if !ok {
		return netif.MAC{}, fmt.Errorf("MAC %q is not a hardware address: write it as 02:00:00:00:00:07", s)
	}
	if m[0]&1 != 0 || m == (netif.MAC{}) {
		return netif.MAC{}, fmt.Errorf("MAC %q can't be an interface's own: write it as 02:00:00:00:00:07 (first byte even)", s)
	}
	return m, nil
}

func parseNumber(what, s string, lo, hi int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%s %q is not a number from %d to %d", what, s, lo, hi)
	}
	return n, nil
}

// parseSize reads a number of bytes with an optional unit, a power of 1024.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "kKMGiB")
	shift, ok := map[string]uint{
		"": 0, "B": 0,
		"k": 10, "K": 10, "KB": 10, "KiB": 10,
		"M": 20, "MB": 20, "MiB": 20,
		"G": 30, "GB": 30, "GiB": 30,
	}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 || n > int64(1)<<(62-shift) {
		return 0, fmt.Errorf("memory limit %q is not a number of bytes: write it as 64M", s)
	}
	return n << shift, nil
}
