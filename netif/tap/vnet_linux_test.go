package tap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/tap"
)

// rawTap opens a queue of the tap by hand, as a parent process would.
func rawTap(t *testing.T, name string, flags uint16) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ifr, _ := unix.NewIfreq(name)
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Fatal(err)
	}
	return fd
}

// offloadsOf reports whether the kernel hands unsegmented frames to the tap.
func offloadsOf(t *testing.T, name string) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GTSO}
	var r struct {
		name [16]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(r.name[:], name)
	r.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); errno != 0 {
		t.Fatal(errno)
	}
	return value.data != 0
}

func TestInherited(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	const base = unix.IFF_TAP | unix.IFF_NO_PI
	t.Run("plain", func(t *testing.T) {
		d := open(t, tap.Config{FDs: []int{rawTap(t, "in0", base)}})
		p := newPeer(t, "in0")
		exchange(t, d, p, 0)
	})
	t.Run("queues", func(t *testing.T) {
		a, b := rawTap(t, "in1", base|unix.IFF_MULTI_QUEUE), rawTap(t, "in1", base|unix.IFF_MULTI_QUEUE)
		d := open(t, tap.Config{FDs: []int{a, b}})
		if len(d.Queues()) != 2 {
			t.Fatalf("%d queues", len(d.Queues()))
		}
		exchange(t, d, newPeer(t, "in1"), 1)
	})
	t.Run("secret header", func(t *testing.T) {
		// The header belongs to the device: the second descriptor did not ask for one.
		a, b := rawTap(t, "in2", base|unix.IFF_MULTI_QUEUE|unix.IFF_VNET_HDR), rawTap(t, "in2", base|unix.IFF_MULTI_QUEUE)
		defer unix.Close(a)
		d := open(t, tap.Config{FDs: []int{b}})
		if !d.Info().Offloads.Has(netif.TxChecksum) {
			t.Fatal("the header went unnoticed")
		}
		exchange(t, d, newPeer(t, "in2"), 0)
	})
	t.Run("packet information", func(t *testing.T) {
		fd := rawTap(t, "in3", unix.IFF_TAP)
		if d, err := tap.Open(context.Background(), tap.Config{FDs: []int{fd}}); err == nil {
			d.Close()
			t.Fatal("it opened")
		}
		if err := unix.Close(fd); err != nil {
			t.Fatalf("a failed Open took the descriptor: %v", err)
		}
	})
	t.Run("two taps", func(t *testing.T) {
		a, b := rawTap(t, "in4", base), rawTap(t, "in5", base)
		if d, err := tap.Open(context.Background(), tap.Config{FDs: []int{a, b}}); err == nil {
			d.Close()
			t.Fatal("it opened")
		}
		unix.Close(a)
		unix.Close(b)
	})
	t.Run("tun", func(t *testing.T) {
		fd := rawTap(t, "in6", unix.IFF_TUN|unix.IFF_NO_PI)
		defer unix.Close(fd)
		if d, err := tap.Open(context.Background(), tap.Config{FDs: []int{fd}}); err == nil {
			d.Close()
			t.Fatal("it opened")
		}
	})
}

// exchange sends a frame each way; which queue receives is the kernel's choice
// among several, so queue is where to send only if there are.
func exchange(t *testing.T, d *tap.Device, p *peer, queue int) {
	t.Helper()
	q := d.Queues()[queue]
	out := frame(p.info.MAC, d.Info().MAC, "out")
	if n, err := q.Write(one(out)); n != 1 || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	if b := recv(t, p); !bytes.Equal(b.Data, out) {
		t.Fatalf("peer got %x", b.Data)
	}
	if len(d.Queues()) > 1 {
		return
	}
	in := frame(d.Info().MAC, p.info.MAC, "in")
	if n, err := p.Write(one(in)); n != 1 || err != nil {
		t.Fatalf("peer's Write = %d, %v", n, err)
	}
	if b := recv(t, q); !bytes.Equal(b.Data, in) {
		t.Fatalf("got %x", b.Data)
	}
}

func TestVNetHeader(t *testing.T) {
	if !netnstest.RunWith(t, inNamespace) {
		return
	}
	for _, size := range []int{10, 12, 20} {
		fd := rawTap(t, "v0", unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR)
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, size); err != nil {
			t.Fatal(err)
		}
		d := open(t, tap.Config{FDs: []int{fd}})
		p := newPeer(t, "v0")
		q := d.Queues()[0]
		exchange(t, d, p, 0)

		// A segment of 20,000 bytes whose checksum is left to the kernel: it arrives on
		// the kernel's side in one piece, as on any path with segmentation offload.
		seg := tcpSegment(p.info.MAC, d.Info().MAC, 20000)
		f := netif.Frame{Fragments: [][]byte{seg[:54], seg[54:]}, Meta: netif.Meta{
			Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16,
			GSO: netif.GSOTCP4, HeaderLen: 54, SegmentSize: 1460,
		}}
		if n, err := q.Write([]netif.Frame{f}); n != 1 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		if b := recvType(t, p, 0x0800); len(b.Data) != len(seg) {
			t.Fatalf("header of %d bytes: %d of %d arrived", size, len(b.Data), len(seg))
		}
		// A checksum field outside the frame is refused by the kernel, and counted.
		f.Meta = netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: 60000, ChecksumOffset: 16}
		f.Fragments = [][]byte{seg[:100]}
		if n, err := q.Write([]netif.Frame{f}); n != 1 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		if s := d.Stats(); s.TxRefused != 1 || s.TxUnsendable != 0 {
			t.Errorf("stats %+v", s)
		}
		d.Close()
	}
	d := open(t, tap.Config{Name: "v1", VNetHdr: true, Offload: tap.OffloadOff})
	if d.Info().Offloads != 0 {
		t.Errorf("info %+v", d.Info())
	}
	if offloadsOf(t, "v1") {
		t.Error("the kernel hands over unsegmented frames unasked")
	}
	exchange(t, d, newPeer(t, "v1"), 0)
}

func recvType(t *testing.T, q netif.Queue, etherType uint16) *netif.Buf {
	t.Helper()
	var bufs [1]*netif.Buf
	for {
		if n, err := q.Read(bufs[:]); err != nil {
			t.Fatal(err)
		} else if n == 1 && binary.BigEndian.Uint16(bufs[0].Data[12:]) == etherType {
			return bufs[0]
		} else if n == 0 {
			if err := q.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// tcpSegment builds an IPv4 TCP segment whose checksum field holds the sum of the
// pseudo-header.
func tcpSegment(dst, src netif.MAC, payload int) []byte {
	b := append(append([]byte{}, dst[:]...), src[:]...)
	b = append(b, 8, 0)
	ip := []byte{0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1}
	binary.BigEndian.PutUint16(ip[2:], uint16(40+payload))
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	tcp := make([]byte, 20+payload)
	binary.BigEndian.PutUint16(tcp, 7)
	binary.BigEndian.PutUint16(tcp[2:], 7)
	tcp[12], tcp[13] = 5<<4, 0x10
	pseudo := append(append([]byte{}, ip[12:20]...), 0, 6, 0, 0)
	binary.BigEndian.PutUint16(pseudo[10:], uint16(len(tcp)))
	binary.BigEndian.PutUint16(tcp[16:], sum(pseudo))
	return append(append(b, ip...), tcp...)
}

func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// An ordinary user: with the tap's device file at the mode that distributions give
// it, a tap of his own opens, and what he may not do is said in one line.
func TestUnprivileged(t *testing.T) {
	if os.Getenv("TAP_TEST_USER") != "" {
		testAsUser(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("netns: becoming an ordinary user takes root")
	}
	if !netnstest.RunWith(t, netnstest.Options{Tun: true, Mount: true}) {
		return
	}
	if err := netns.AddTap("mine", netns.Tap{Owner: 65534}); err != nil {
		t.Fatal(err)
	}
	if err := netns.AddTap("other", netns.Tap{Owner: 12345}); err != nil {
		t.Fatal(err)
	}
	if err := netns.LinkUp("mine"); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []uint32{0o666, 0o600, 0} {
		netnstest.MountTun(t, mode)
		netnstest.AsNobody(t, "TestUnprivileged", "TAP_TEST_USER="+map[uint32]string{0o666: "open", 0o600: "shut", 0: "none"}[mode])
	}
}

func testAsUser(t *testing.T) {
	type attempt struct {
		cfg  tap.Config
		want string
	}
	var attempts []attempt
	switch os.Getenv("TAP_TEST_USER") {
	case "open":
		for _, driver := range []string{tap.DriverNative, tap.DriverWater} {
			d := open(t, tap.Config{Name: "mine", Driver: driver})
			if n, err := d.Queues()[0].Write(one(frame(netif.MAC{2}, d.Info().MAC, "hello"))); n != 1 || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
			d.Close()
		}
		attempts = []attempt{
			{tap.Config{Name: "new0"}, "sudo ip tuntap add dev new0 mode tap user $USER"},
			{tap.Config{Name: "other"}, "belongs to another user"},
			{tap.Config{Name: "mine", MTU: 2000}, "sudo ip link set dev mine mtu 2000"},
			{tap.Config{Name: "new0", Driver: tap.DriverWater}, "no permission to make new0"},
		}
	case "shut":
		attempts = []attempt{{tap.Config{Name: "mine"}, "sudo chmod 0666 /dev/net/tun"}}
	case "none":
		attempts = []attempt{{tap.Config{Name: "mine"}, "sudo modprobe tun"}}
	}
	for _, a := range attempts {
		d, err := tap.Open(context.Background(), a.cfg)
		if err == nil {
			d.Close()
			t.Errorf("%+v opened", a.cfg)
		} else if !bytes.Contains([]byte(err.Error()), []byte(a.want)) {
			t.Errorf("%+v: %v", a.cfg, err)
		}
	}
	if n := openFiles(t); n != 0 {
		t.Errorf("%d descriptors left open", n)
	}
}
