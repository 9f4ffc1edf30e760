package stack

import (
	"context"
	"errors"
	"flag"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/netif"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestValidateGood(t *testing.T) {
	for name, c := range map[string]Config{
		"zero":              {},
		"one":               {Device: "tap:tap0", Addr: prefix("10.0.0.2/24"), Gateway: netip.MustParseAddr("10.0.0.1")},
		"kernel's name":     {Device: "tap:"},
		"descriptors":       {Device: "fd:3,4", Addr: prefix("10.0.0.2/24")},
		"point to point":    {Addr: prefix("10.0.0.0/31"), Gateway: netip.MustParseAddr("10.0.0.1")},
		"host":              {Addr: prefix("10.0.0.2/32")},
		"IPv6":              {Addr: prefix("fd00::2/64"), Gateway: netip.MustParseAddr("fe80::1")},
		"DNS":               {DNS: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:53")}},
		"hosts":             {Hosts: map[string][]netip.Addr{"db": {netip.MustParseAddr("10.0.0.7")}}},
		"no wait":           {CloseTimeout: -1},
		"two VLANs one tap": {Interfaces: []InterfaceConfig{{Device: "tap:t", VLAN: 1}, {Device: "tap:t", VLAN: 2}}},
		"on-link route": {Interfaces: []InterfaceConfig{{Device: "tap:t", Addrs: []netip.Prefix{prefix("10.0.0.2/24")},
			Routes: []Route{{Dst: prefix("10.9.0.0/16")}}}}},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every message is one line, names the value, and says what to write.
func TestValidateBad(t *testing.T) {
	one := func(ic InterfaceConfig) Config { return Config{Interfaces: []InterfaceConfig{ic}} }
	two := func(a, b InterfaceConfig) Config { return Config{Interfaces: []InterfaceConfig{a, b}} }
	addrs := func(s ...string) (out []netip.Prefix) {
		for _, a := range s {
			out = append(out, prefix(a))
		}
		return out
	}
	gw := netip.MustParseAddr
	for name, tt := range map[string]struct {
		c    Config
		want string
	}{
		"no scheme":         {Config{Device: "tap0"}, "write it as tap:tap0"},
		"unknown scheme":    {Config{Device: "tup:tap0"}, `unknown scheme "tup" (schemes: tap, fd, packet, xen)`},
		"no descriptor":     {Config{Device: "fd:"}, "write it as fd:3"},
		"gateway alone":     {Config{Gateway: gw("10.0.0.1")}, "-addr, NETDUET_ADDR"},
		"gateway off-link":  {Config{Addr: prefix("10.0.0.2/24"), Gateway: gw("10.0.1.1")}, "must lie in 10.0.0.0/24"},
		"gateway is us":     {Config{Addr: prefix("10.0.0.2/24"), Gateway: gw("10.0.0.2")}, "our own address"},
		"gateway nobody":    {Config{Addr: prefix("10.0.0.2/24"), Gateway: gw("0.0.0.0")}, "not the address of a neighbour"},
		"families":          {one(InterfaceConfig{Addrs: addrs("10.0.0.2/24"), Routes: []Route{{Dst: prefix("::/0"), Gateway: gw("10.0.0.1")}}}), "one IP version"},
		"network address":   {Config{Addr: prefix("10.0.0.0/24")}, "such as 10.0.0.1/24"},
		"broadcast address": {Config{Addr: prefix("10.0.0.255/24")}, "broadcast"},
		"wildcard address":  {Config{Addr: prefix("0.0.0.0/24")}, "10.0.0.2/24"},
		"multicast address": {Config{Addr: prefix("224.0.0.1/24")}, "10.0.0.2/24"},
		"loopback address":  {Config{Addr: prefix("127.0.0.1/8")}, "loopback"},
		"mapped address":    {Config{Addr: netip.PrefixFrom(gw("::ffff:10.0.0.2"), 120)}, "write it as 10.0.0.2"},
		"invalid prefix":    {one(InterfaceConfig{Addrs: []netip.Prefix{{}}}), "10.0.0.2/24"},
		"address twice":     {one(InterfaceConfig{Addrs: addrs("10.0.0.2/24", "10.0.0.2/16")}), "twice"},
		"VLAN":              {Config{VLAN: 4095}, "1 to 4094"},
		"MTU small":         {Config{MTU: 67}, "68 to 65535"},
		"MTU large":         {Config{MTU: 65536}, "68 to 65535"},
		"MTU for IPv6":      {Config{MTU: 1000, Addr: prefix("fd00::2/64")}, "1280"},
		"group MAC":         {Config{MAC: netif.MAC{1}}, "even"},
		"both forms":        {Config{Device: "tap:t", Interfaces: []InterfaceConfig{{Device: "tap:u"}}}, "either Interfaces"},
		"device and driver": {Config{Device: "tap:t", Driver: &netif.Port{}}, "one of them"},
		"interface name":    {one(InterfaceConfig{Name: "a b"}), "spaces"},
		"names equal":       {two(InterfaceConfig{Name: "a"}, InterfaceConfig{Name: "a"}), "must differ"},
		"device twice":      {two(InterfaceConfig{Device: "tap:t"}, InterfaceConfig{Device: "tap:t"}), "different VLANs"},
		"driver twice":      {two(InterfaceConfig{Driver: samePort}, InterfaceConfig{Driver: samePort}), "different VLANs"},
		"two MACs":          {two(InterfaceConfig{Device: "tap:t", VLAN: 1}, InterfaceConfig{Device: "tap:t", MAC: netif.MAC{2}}), "differ in MAC"},
		"address on both":   {two(InterfaceConfig{Addrs: addrs("10.0.0.2/24")}, InterfaceConfig{Addrs: addrs("10.0.0.2/8")}), "same address"},
		"route without dst": {one(InterfaceConfig{Routes: []Route{{}}}), "0.0.0.0/0"},
		"route with bits":   {one(InterfaceConfig{Routes: []Route{{Dst: prefix("10.1.2.3/16")}}}), "write it as 10.1.0.0/16"},
		"route, no address": {one(InterfaceConfig{Routes: []Route{{Dst: prefix("0.0.0.0/0"), Gateway: gw("10.0.0.1")}}}), "no address"},
		"DNS without port":  {Config{DNS: []netip.AddrPort{netip.AddrPortFrom(gw("10.0.0.1"), 0)}}, "10.0.0.1:53"},
		"host without addr": {Config{Hosts: map[string][]netip.Addr{"db": nil}}, "db=10.0.0.7"},
		"host name":         {Config{Hosts: map[string][]netip.Addr{"d b": {gw("10.0.0.7")}}}, "db=10.0.0.7"},
		"host bad addr":     {Config{Hosts: map[string][]netip.Addr{"db": {{}}}}, "db=10.0.0.7"},
		"memory":            {Config{MemoryLimit: -1}, "negative"},
	} {
		err := tt.c.Validate()
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "stack: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want one line with %q", name, err, tt.want)
		}
		if _, err := Open(t.Context(), &tt.c); err == nil {
			t.Errorf("%s: Open took it", name)
		}
	}
}

var samePort = &netif.Port{}

func env(kv ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == key {
				return kv[i+1]
			}
		}
		return ""
	}
}

func TestFromEnv(t *testing.T) {
	got := FromEnv(env(
		"NETDUET_DEVICE", "tap:tap0?driver=water",
		"NETDUET_ADDR", "10.0.0.2/24",
		"NETDUET_GATEWAY", "10.0.0.1",
		"NETDUET_DNS", "10.0.0.1, 10.0.0.3:5353,[fd00::1]:53",
		"NETDUET_HOSTS", "db=10.0.0.7,web=10.0.0.8,db=10.0.0.9",
		"NETDUET_MAC", "02-00-00-00-00-07",
		"NETDUET_MTU", "1400",
		"NETDUET_VLAN", "42",
		"NETDUET_MEMORY", "64M",
		"NETDUET_CLOSE_TIMEOUT", "250ms",
	))
	want := &Config{
		Device:  "tap:tap0?driver=water",
		Addr:    prefix("10.0.0.2/24"),
		Gateway: netip.MustParseAddr("10.0.0.1"),
		DNS: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:53"),
			netip.MustParseAddrPort("10.0.0.3:5353"), netip.MustParseAddrPort("[fd00::1]:53")},
		Hosts: map[string][]netip.Addr{
			"db":  {netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.0.9")},
			"web": {netip.MustParseAddr("10.0.0.8")},
		},
		MAC:          netif.MAC{2, 0, 0, 0, 0, 7},
		MTU:          1400,
		VLAN:         42,
		MemoryLimit:  64 << 20,
		CloseTimeout: 250 * time.Millisecond,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if c := FromEnv(env()); !reflect.DeepEqual(c, &Config{}) {
		t.Errorf("an empty environment gives %+v", c)
	}
}

// What can't be parsed waits for Validate, so that a flag may still put it right.
func TestBadText(t *testing.T) {
	for _, tt := range []struct{ key, flag, bad, good, want string }{
		{"NETDUET_ADDR", "addr", "10.0.0.2", "10.0.0.2/24", "write it as 10.0.0.2/24"},
		{"NETDUET_ADDR", "addr", "fd00::2", "fd00::2/64", "write it as fd00::2/64"},
		{"NETDUET_ADDR", "addr", "ten/24", "10.0.0.2/24", "write it as 10.0.0.2/24"},
		{"NETDUET_GATEWAY", "gw", "router", "", "write it as 10.0.0.1"},
		{"NETDUET_DNS", "dns", "10.0.0.1,dns.example", "10.0.0.1", "10.0.0.1:53"},
		{"NETDUET_DNS", "dns", "10.0.0.1:0", "10.0.0.1", "10.0.0.1:53"},
		{"NETDUET_HOSTS", "host", "db", "db=10.0.0.7", "db=10.0.0.7"},
		{"NETDUET_HOSTS", "host", "db=x", "db=10.0.0.7", "10.0.0.1"},
		{"NETDUET_MAC", "mac", "02:00:00", "02:00:00:00:00:07", "02:00:00:00:00:07"},
		{"NETDUET_MAC", "mac", "01:00:00:00:00:07", "02:00:00:00:00:07", "even"},
		{"NETDUET_MTU", "mtu", "big", "1500", "68 to 65535"},
		{"NETDUET_VLAN", "vlan", "0", "7", "1 to 4094"},
		{"NETDUET_MEMORY", "memory", "64X", "64M", "64M"},
		{"NETDUET_MEMORY", "memory", "99999999999G", "1G", "64M"},
		{"NETDUET_CLOSE_TIMEOUT", "close-timeout", "5", "5s", "5s or 500ms"},
	} {
		check := func(c *Config, from string) {
			t.Helper()
			err := c.Validate()
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.key) ||
				!strings.Contains(err.Error(), "-"+tt.flag) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s=%s from %s: %v; want %q", tt.key, tt.bad, from, err, tt.want)
			}
		}
		c := FromEnv(env(tt.key, tt.bad))
		check(c, "the environment")
		if err := parse(c, "-"+tt.flag+"="+tt.good); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("-%s=%s after a bad %s: %v", tt.flag, tt.good, tt.key, err)
		}
		c = &Config{}
		if err := parse(c, "-"+tt.flag, tt.bad); err != nil {
			t.Errorf("-%s %s ended the parsing: %v", tt.flag, tt.bad, err)
		}
		check(c, "a flag")
	}
}

func parse(c *Config, args ...string) error {
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	c.RegisterFlags(fs)
	return fs.Parse(args)
}

func TestFlags(t *testing.T) {
	c := FromEnv(env("NETDUET_DEVICE", "tap:tap0", "NETDUET_ADDR", "10.0.0.2/24", "NETDUET_GATEWAY", "10.0.0.1",
		"NETDUET_DNS", "10.0.0.1,10.0.0.3", "NETDUET_HOSTS", "a=10.0.0.4"))
	if err := parse(c, "-dev", "tap:tap1", "-gw=", "-dns", "10.0.0.5", "-dns", "10.0.0.6,10.0.0.7:99", "-host", "b=10.0.0.8"); err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Device: "tap:tap1",
		Addr:   prefix("10.0.0.2/24"),
		DNS: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:53"),
			netip.MustParseAddrPort("10.0.0.6:53"), netip.MustParseAddrPort("10.0.0.7:99")},
		Hosts: map[string][]netip.Addr{"b": {netip.MustParseAddr("10.0.0.8")}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// The help shows what the environment has set, and parses back to the same.
func TestFlagDefaults(t *testing.T) {
	c := FromEnv(env("NETDUET_DEVICE", "fd:3", "NETDUET_ADDR", "10.0.0.2/24", "NETDUET_DNS", "10.0.0.1,[fd00::1]:99",
		"NETDUET_HOSTS", "b=10.0.0.8,a=10.0.0.7", "NETDUET_MAC", "02:00:00:00:00:07", "NETDUET_MTU", "1400",
		"NETDUET_VLAN", "7", "NETDUET_MEMORY", "1K", "NETDUET_CLOSE_TIMEOUT", "3s"))
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	c.RegisterFlags(fs)
	again := &Config{}
	var args []string
	fs.VisitAll(func(f *flag.Flag) {
		if f.Usage == "" || !strings.Contains(f.Usage, "`") {
			t.Errorf("-%s has no usage with a placeholder", f.Name)
		}
		if f.DefValue != "" {
			args = append(args, "-"+f.Name+"="+f.DefValue)
		}
	})
	if err := parse(again, args...); err != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("%v parses to %+v (%v), want %+v", args, again, err, c)
	}
	var help strings.Builder
	fs.SetOutput(&help)
	fs.PrintDefaults()
	if !strings.Contains(help.String(), "tap:tap0") || strings.Contains(help.String(), "panic") {
		t.Errorf("help reads\n%s", help.String())
	}
}

// Copies of a Config do not write into each other.
func TestConfigCopies(t *testing.T) {
	c := FromEnv(env("NETDUET_DNS", "10.0.0.1", "NETDUET_HOSTS", "a=10.0.0.4", "NETDUET_MTU", "x"))
	d := *c
	if err := parse(&d, "-dns=10.0.0.9", "-host=z=10.0.0.9", "-mtu=1500", "-mac=zz"); err != nil {
		t.Fatal(err)
	}
	if len(c.DNS) != 1 || c.DNS[0].Port() != 53 || len(c.Hosts) != 1 || len(c.Hosts["z"]) != 0 {
		t.Errorf("the original changed: %+v", c)
	}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "NETDUET_MTU") {
		t.Errorf("the original's error is %v", err)
	}
}

func TestOpenCancelled(t *testing.T) {
	ctx, cancel := cancelled(t)
	defer cancel()
	if _, err := Open(ctx, nil); !errors.Is(err, ctx.Err()) {
		t.Errorf("Open: %v", err)
	}
}

func cancelled(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}
