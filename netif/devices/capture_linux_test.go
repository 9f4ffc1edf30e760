package devices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif"
)

func TestOpen(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	mac := netif.MAC{2, 0, 0, 0, 0, 9}
	for _, device := range []string{"tap:tap%d", "tap:a0?driver=water", "tap:a1?vnet=1&queues=2", "tap:a2?persist=1", "tap:a3?vnet=0", "tap:a4?offload=0", "tap:a5?offload=1"} {
		d, err := Open(context.Background(), device, Options{MAC: mac, MTU: 1400})
		if err != nil {
			t.Fatalf("%s: %v", device, err)
		}
		i := d.Info()
		if i.MAC != mac || i.MTU != 1400 {
			t.Errorf("%s: %+v", device, i)
		}
		if two := strings.Contains(device, "queues"); two != (len(d.Queues()) == 2) || regexp.MustCompile("water|=0").MatchString(device) == i.Offloads.Has(netif.TxChecksum|netif.RxGSO) {
			t.Errorf("%s: %d queues, %+v", device, len(d.Queues()), i)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if _, err := net.InterfaceByName(i.Name); (err == nil) != strings.Contains(device, "persist") {
			t.Errorf("%s: %v", device, err)
		}
	}
}

func TestOpenPacket(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	if err := netns.AddVeth("va", "vb"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"va", "vb"} {
		if err := netns.LinkUp(name); err != nil {
			t.Fatal(err)
		}
	}
	host, err := net.InterfaceByName("va")
	if err != nil {
		t.Fatal(err)
	}
	for device, mac := range map[string]netif.MAC{
		"packet:va": netif.MAC(host.HardwareAddr), "packet:va?queues=2&promisc=1&addr=10.0.0.2,fd00::2": {2, 0, 0, 0, 0, 9},
	} {
		d, err := Open(context.Background(), device, Options{MAC: mac, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}})
		if err != nil {
			t.Fatal(err)
		}
		if i := d.Info(); i.MAC != mac || i.MTU != 1500 || !i.Offloads.Has(netif.RxGSO) || (len(d.Queues()) == 2) != strings.Contains(device, "queues") {
			t.Errorf("%s: %+v", device, i)
		}
		d.Close()
	}
}

func TestCapture(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "frames.pcapng")
	payload := []byte("a frame to be found again in the file, whole")
	send := func(device string) {
		t.Helper()
		d, err := Open(context.Background(), device, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := netns.LinkUp(d.Info().Name); err != nil {
			t.Fatal(err)
		}
		f := append(make([]byte, 12), 0x88, 0xb5)
		if n, err := d.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{f, payload}}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	}
	send("tap:c0?pcap=" + file)
	b, err := os.ReadFile(file)
	if err != nil || bytes.Count(b, payload) != 1 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	// Two programs in turn, one file.
	shared, err := os.Create(filepath.Join(dir, "shared"))
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	for range 2 {
		dup, err := dupFD(shared)
		if err != nil {
			t.Fatal(err)
		}
		send(fmt.Sprintf("tap:c0?pcap=fd:%d", dup))
	}
	if b, err = os.ReadFile(shared.Name()); err != nil || bytes.Count(b, payload) != 2 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	// What fails leaves neither a device nor a file.
	for device, want := range map[string]string{
		"tap:c0?pcap=" + dir + "/none/x":       "no such file",
		"tap:c0?pcap=fd:x":                     "not an inherited descriptor",
		"tap:c0?pcap=fd:999":                   "not open",
		"tap:lo?pcap=" + dir + "/never.pcapng": "no tap",
	} {
		if d, err := Open(context.Background(), device, Options{}); err == nil {
			d.Close()
			t.Errorf("%s opened", device)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", device, err)
		}
	}
	if _, err := net.InterfaceByName("c0"); err == nil {
		t.Error("the tap is still there")
	}
	if _, err := os.Stat(dir + "/never.pcapng"); err == nil {
		t.Error("a file was made for a device that is none")
	}
}

// dupFD returns a descriptor that shares the file's position.
func dupFD(f *os.File) (int, error) { return unix.Dup(int(f.Fd())) }
