package netns_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
)

func TestLinks(t *testing.T)     { testLinks(t, netnstest.Options{}) }
func TestLinksUser(t *testing.T) { testLinks(t, netnstest.Options{User: true}) }

// testLinks sets a namespace up and has the kernel carry a connection over it.
func testLinks(t *testing.T, o netnstest.Options) {
	if !netnstest.RunWith(t, o) {
		return
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	all, err := net.Interfaces()
	must(err)
	for _, i := range all {
		if i.Name == "eth0" {
			t.Fatal("this is the machine's own namespace")
		}
	}
	mac := [6]byte{2, 0, 0, 0, 0, 7}
	must(netns.AddVeth("va", "vb"))
	must(netns.LinkMTU("va", 1400))
	must(netns.LinkMAC("va", mac))
	must(netns.AddAddr("va", netip.MustParsePrefix("10.1.0.1/24")))
	must(netns.LinkUp("va"))
	must(netns.LinkUp("vb"))
	must(netns.AddNeigh("va", netip.MustParseAddr("10.1.0.9"), mac))
	must(netns.AddRoute("va", netip.MustParsePrefix("10.9.0.0/16"), netip.MustParseAddr("10.1.0.9")))
	must(netns.AddRoute("va", netip.MustParsePrefix("10.8.0.0/16"), netip.Addr{}))
	if up, err := netns.LinkIsUp("va"); err != nil || !up {
		t.Fatalf("LinkIsUp = %v, %v", up, err)
	}
	i, err := net.InterfaceByName("va")
	must(err)
	if i.MTU != 1400 || i.HardwareAddr.String() != "02:00:00:00:00:07" || i.Flags&net.FlagUp == 0 {
		t.Fatalf("va is %+v", i)
	}
	l, err := net.Listen("tcp", "10.1.0.1:7") // below 1024: Quiet opened it
	must(err)
	c, err := net.Dial("tcp", l.Addr().String())
	must(err)
	c.Close()
	l.Close()
	for _, dst := range []string{"10.9.1.1:1", "10.8.1.1:1"} {
		u, err := net.Dial("udp", dst)
		must(err)
		if got := u.LocalAddr().(*net.UDPAddr).IP.String(); got != "10.1.0.1" {
			t.Fatalf("%s leaves from %s", dst, got)
		}
		u.Close()
	}
	must(netns.DelAddr("va", netip.MustParsePrefix("10.1.0.1/24")))
	must(netns.LinkDown("va"))
	must(netns.LinkDel("va"))
	if _, err := net.InterfaceByName("vb"); err == nil {
		t.Fatal("the pair outlived its half")
	}
	if err := netns.LinkUp("va"); err == nil {
		t.Fatal("a removed link came up")
	}
}

func TestAddTap(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	if err := netns.AddTap("tp0", netns.Tap{Owner: os.Getuid(), MultiQueue: true, VNetHdr: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := net.InterfaceByName("tp0"); err != nil {
		t.Fatal(err)
	}
}
