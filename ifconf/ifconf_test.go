package ifconf_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/netduet/netduet/ifconf"
	"github.com/netduet/netduet/netif"
)

func TestComplete(t *testing.T) {
	dev, far, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	defer far.Close()
	prefix := netip.MustParsePrefix
	addrs := func(s ...string) (list []netip.Prefix) {
		for _, a := range s {
			list = append(list, prefix(a))
		}
		return list
	}
	via := func(dst, gw string) []ifconf.Route {
		return []ifconf.Route{{Dst: prefix(dst), Gateway: netip.MustParseAddr(gw)}}
	}
	for _, c := range []struct {
		name string
		list []ifconf.Interface
		want string // in the error; "" if there is none
	}{
		{"good", []ifconf.Interface{{Device: dev, Addrs: addrs("192.0.2.1/24", "198.51.100.1/32"), Routes: via("0.0.0.0/0", "192.0.2.254")}}, ""},
		{"two VLANs", []ifconf.Interface{{Device: dev, VLAN: 1}, {Device: dev, VLAN: 2}}, ""},
		{"point to point", []ifconf.Interface{{Device: dev, Addrs: addrs("192.0.2.0/31")}}, ""},
		{"no device", []ifconf.Interface{{}}, "set Device"},
		{"same name", []ifconf.Interface{{Device: dev, Name: "a"}, {Device: far, Name: "a"}}, "its own name"},
		{"lo", []ifconf.Interface{{Device: dev, Name: "lo"}}, "its own name"},
		{"same device", []ifconf.Interface{{Device: dev}, {Device: dev}}, "one interface with several addresses"},
		{"VLAN", []ifconf.Interface{{Device: dev, VLAN: 4095}}, "1 to 4094"},
		{"MTU", []ifconf.Interface{{Device: dev, MTU: 9000}}, "to the device's 1500"},
		{"IPv6", []ifconf.Interface{{Device: dev, Addrs: addrs("2001:db8::1/64")}}, "only IPv4"},
		{"network", []ifconf.Interface{{Device: dev, Addrs: addrs("192.0.2.0/24")}}, "pick a host address"},
		{"broadcast", []ifconf.Interface{{Device: dev, Addrs: addrs("192.0.2.255/24")}}, "pick a host address"},
		{"loopback", []ifconf.Interface{{Device: dev, Addrs: addrs("127.0.0.1/8")}}, "not a loopback one"},
		{"taken", []ifconf.Interface{{Device: dev, Addrs: addrs("192.0.2.1/24")}, {Device: far, Addrs: addrs("192.0.2.1/24")}}, "already that of eth0"},
		{"gateway off the link", []ifconf.Interface{{Device: dev, Addrs: addrs("192.0.2.1/24"), Routes: via("0.0.0.0/0", "198.51.100.1")}}, "not on the link"},
		{"gateway ours", []ifconf.Interface{{Device: dev, Addrs: addrs("192.0.2.1/24"), Routes: via("0.0.0.0/0", "192.0.2.1")}}, "our own address"},
	} {
		list, err := ifconf.Complete(c.list)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "" && (list[0].Name != "eth0" || list[0].MTU != 1500 || c.list[0].Name != ""):
			t.Errorf("%s: completed to %+v, from %+v", c.name, list[0], c.list[0])
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
