package packet_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/netiftest"
	"github.com/netduet/netduet/netif/packet"
)

// veth makes a pair of interfaces, both up.
func veth(tb testing.TB, a, b string) {
	tb.Helper()
	if err := netns.AddVeth(a, b); err != nil {
		tb.Fatal(err)
	}
	up(tb, a, b)
}

// up sets interfaces up.
func up(tb testing.TB, names ...string) {
	tb.Helper()
	for _, name := range names {
		if err := netns.LinkUp(name); err != nil {
			tb.Fatal(err)
		}
	}
}

// settle waits until frames pass between the devices, which the kernel has them do
// a moment after the interfaces came up.
func settle(tb testing.TB, a, b *packet.Device) {
	tb.Helper()
	for _, way := range [][2]*packet.Device{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		end := time.Now().Add(time.Minute)
		sent, got := -1, -1
		var bufs [8]*netif.Buf
		// Until the last one sent has passed. The next is sent only if that takes a while:
		// a flood of them could fill what lies in between.
		var next time.Time
		for pause := time.Millisecond; got < sent || got < 0; {
			if now := time.Now(); now.After(next) {
				next, pause = now.Add(pause), min(2*pause, time.Second)
				sent++
				f := frame(to.Info().MAC, from.Info().MAC, experimental, binary.BigEndian.AppendUint32([]byte("settled?"), uint32(sent)))
				if _, err := from.Queues()[0].Write([]netif.Frame{plain(f)}); err != nil {
					tb.Fatal(err)
				}
			}
			for _, q := range to.Queues() {
				n, err := q.Read(bufs[:])
				if err != nil {
					tb.Fatal(err)
				}
				for _, b := range bufs[:n] {
					if len(b.Data) >= 26 && string(b.Data[14:22]) == "settled?" {
						got = int(binary.BigEndian.Uint32(b.Data[22:]))
					}
					b.Release()
				}
			}
			if time.Now().After(end) {
				tb.Fatal("no frames pass")
			}
			runtime.Gosched()
		}
	}
}

func open(tb testing.TB, cfg packet.Config) *packet.Device {
	tb.Helper()
	d, err := packet.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.Close() })
	return d
}

// The suite of every device over a pair of Ethernet interfaces.

func TestDevice(t *testing.T)       { testDevice(t, packet.Config{}) }
func TestDeviceMAC(t *testing.T)    { testDevice(t, packet.Config{MAC: netif.MAC{2, 0, 0, 0, 7, 7}}) }
func TestDeviceQueues(t *testing.T) { testDevice(t, packet.Config{Queues: 3}) }
func TestDevicePromiscuous(t *testing.T) {
	testDevice(t, packet.Config{Promiscuous: true, Addrs: []netip.Addr{
		netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"),
		netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"),
	}})
}

func testDevice(t *testing.T, cfg packet.Config) {
	if !netnstest.Run(t) {
		return
	}
	made := 0
	netiftest.TestDevice(t, netiftest.Config{
		Lossy: true, // the sockets' buffers are finite
		Noisy: true,
		New: func(tb testing.TB) (a, b netif.Device) {
			tb.Helper()
			near, far := fmt.Sprint("va", made), fmt.Sprint("vb", made)
			made++
			veth(tb, near, far)
			cfg := cfg
			cfg.Name = near
			d, peer := open(tb, cfg), open(tb, packet.Config{Name: far})
			settle(tb, d, peer)
			return d, peer
		},
	})
}

const experimental = 0x88b5 // IEEE 802: the kernel has no part in it

func frame(dst, src netif.MAC, etherType uint16, payload []byte) []byte {
	b := append(append([]byte{}, dst[:]...), src[:]...)
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

func send(t *testing.T, d netif.Device, frames ...netif.Frame) {
	t.Helper()
	for len(frames) > 0 {
		n, err := d.Queues()[0].Write(frames)
		if err != nil {
			t.Fatal(err)
		}
		if frames = frames[n:]; len(frames) > 0 {
			<-d.Queues()[0].Writable()
		}
	}
}

func plain(b []byte) netif.Frame { return netif.Frame{Fragments: [][]byte{b}} }

// next returns the next frame that arrives.
func next(t *testing.T, d netif.Device) *netif.Buf {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var bufs [1]*netif.Buf
	for {
		if n, err := d.Queues()[0].Read(bufs[:]); err != nil {
			t.Fatal(err)
		} else if n == 1 {
			return bufs[0]
		}
		if err := d.Queues()[0].Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// What is for others is not read; what is for us is.
func TestFilter(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	veth(t, "va", "vb")
	far := open(t, packet.Config{Name: "vb"})
	from := far.Info().MAC
	host, err := net.InterfaceByName("va")
	if err != nil {
		t.Fatal(err)
	}
	shared, own, other := netif.MAC(host.HardwareAddr), netif.MAC{2, 0, 0, 0, 0, 9}, netif.MAC{2, 0, 0, 0, 0, 8}
	broadcast := netif.MAC{255, 255, 255, 255, 255, 255}
	v4 := func(dst string) []byte {
		b := make([]byte, 20)
		b[0] = 0x45
		copy(b[16:], netip.MustParseAddr(dst).AsSlice())
		return b
	}
	v6 := func(dst string) []byte {
		b := make([]byte, 40)
		b[0] = 0x60
		copy(b[24:], netip.MustParseAddr(dst).AsSlice())
		return b
	}
	addrs := []netip.Addr{
		netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::1:2:3"),
		netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fd00::1:2:4"),
	}
	type probe struct {
		dst     netif.MAC
		typ     uint16
		payload []byte
		passes  bool
	}
	for name, c := range map[string]struct {
		cfg    packet.Config
		probes []probe
	}{
		"shared": {packet.Config{Promiscuous: true}, []probe{
			{shared, experimental, nil, true}, {other, experimental, nil, false}, {own, experimental, nil, false},
			{broadcast, 0x0806, make([]byte, 28), true}, {shared, 0x0800, v4("10.0.0.9"), true},
		}},
		"own": {packet.Config{MAC: own}, []probe{
			{shared, experimental, nil, false}, {own, experimental, nil, true}, {broadcast, 0x0800, v4("255.255.255.255"), true},
			{netif.MAC{0x33, 0x33, 0, 0, 0, 1}, 0x86dd, v6("ff02::1"), true}, {own, 0x86dd, v6("fd00::9"), true},
			{netif.MAC{2, 0, 0, 0, 1, 9}, experimental, nil, false}, {netif.MAC{2, 1, 0, 0, 0, 9}, experimental, nil, false},
		}},
		"addresses": {packet.Config{Addrs: addrs}, []probe{
			{shared, 0x0800, v4("10.0.0.2"), true}, {shared, 0x0800, v4("10.0.0.3"), true}, {shared, 0x0800, v4("10.0.0.4"), false},
			{shared, 0x86dd, v6("fd00::1:2:3"), true}, {shared, 0x86dd, v6("fd00::1:2:4"), true}, {shared, 0x86dd, v6("fd00::1:2:5"), false},
			{shared, 0x86dd, v6("fd00::1:3:3"), false}, {shared, 0x86dd, v6("fd00::2:2:3"), false}, {shared, 0x86dd, v6("fd01::1:2:3"), false},
			{broadcast, 0x0800, v4("10.0.0.255"), true}, {shared, 0x0806, make([]byte, 28), true}, {other, 0x0800, v4("10.0.0.2"), false},
			{shared, 0x0800, []byte{0x45}, false}, {shared, experimental, nil, true},
		}},
		"one address": {packet.Config{Addrs: addrs[:1]}, []probe{
			{shared, 0x0800, v4("10.0.0.2"), true}, {shared, 0x0800, v4("10.0.0.3"), false}, {shared, 0x86dd, v6("fd00::1:2:3"), false},
		}},
		"IPv6": {packet.Config{Addrs: addrs[1:2]}, []probe{
			{shared, 0x0800, v4("10.0.0.2"), false}, {shared, 0x86dd, v6("fd00::1:2:3"), true}, {shared, 0x86dd, v6("fd00::1:2:4"), false},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Name = "va"
			d := open(t, c.cfg)
			defer d.Close()
			settle(t, d, far)
			for i, p := range c.probes {
				b := frame(p.dst, from, p.typ, append(p.payload, "the probe"...))
				end := frame(broadcast, from, experimental, []byte{byte(i)})
				send(t, far, plain(b), plain(end))
				got := next(t, d)
				passed := bytes.Equal(got.Data, b)
				if passed != p.passes {
					t.Errorf("to %x, type %x: passed %v", p.dst, p.typ, passed)
				}
				if passed {
					got = next(t, d)
				}
				if !bytes.Equal(got.Data, end) {
					t.Fatalf("got %x", got.Data)
				}
			}
		})
	}
}

// Sixty-four addresses of each kind are more than a jump reaches.
func TestManyAddresses(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	veth(t, "va", "vb")
	var addrs []netip.Addr
	for i := range 64 {
		addrs = append(addrs, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), netip.AddrFrom16([16]byte{0xfd, 15: byte(i)}))
	}
	d := open(t, packet.Config{Name: "va", Addrs: addrs})
	far := open(t, packet.Config{Name: "vb"})
	settle(t, d, far)
	for i := range 65 {
		ip4, ip6 := make([]byte, 20), make([]byte, 40)
		copy(ip4[16:], []byte{10, 0, 1, byte(i)})
		ip6[24], ip6[39] = 0xfd, byte(i)
		send(t, far,
			plain(frame(d.Info().MAC, far.Info().MAC, 0x0800, ip4)),
			plain(frame(d.Info().MAC, far.Info().MAC, 0x86dd, ip6)))
		if i == 64 {
			break
		}
		if b := next(t, d); !bytes.Equal(b.Data[14:], ip4) {
			t.Fatalf("%d: %x", i, b.Data)
		}
		if b := next(t, d); !bytes.Equal(b.Data[14:], ip6) {
			t.Fatalf("%d: %x", i, b.Data)
		}
	}
	send(t, far, plain(frame(d.Info().MAC, far.Info().MAC, experimental, []byte("end"))))
	if b := next(t, d); string(b.Data[14:]) != "end" {
		t.Fatalf("got %x", b.Data)
	}
}

// Neither the device that sends nor another queue or device of this machine on the
// same interface hears our frames.
func TestOwnFrames(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	veth(t, "va", "vb")
	a := open(t, packet.Config{Name: "va"})
	b := open(t, packet.Config{Name: "va", Queues: 2})
	far := open(t, packet.Config{Name: "vb"})
	settle(t, a, far)
	settle(t, b, far)
	var none [8]*netif.Buf
	for _, q := range append(a.Queues(), b.Queues()...) { // the other's probes
		q.Read(none[:])
	}
	broadcast := netif.MAC{255, 255, 255, 255, 255, 255}
	for _, d := range []netif.Device{a, b} {
		for range 10 {
			send(t, d, plain(frame(broadcast, d.Info().MAC, experimental, []byte("ours"))))
			if got := next(t, far); string(got.Data[14:]) != "ours" {
				t.Fatalf("got %x", got.Data)
			}
		}
	}
	send(t, far, plain(frame(broadcast, far.Info().MAC, experimental, []byte("theirs"))))
	if got := next(t, a); string(got.Data[14:]) != "theirs" {
		t.Fatalf("got %x", got.Data)
	}
	// Both have a copy of it, the second one perhaps a moment later.
	var bufs [8]*netif.Buf
	n := 0
	for end := time.Now().Add(time.Minute); n == 0 && time.Now().Before(end); runtime.Gosched() {
		for _, q := range b.Queues() {
			got, err := q.Read(bufs[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += got
		}
	}
	if n != 1 || string(bufs[0].Data[14:]) != "theirs" {
		t.Errorf("%d frames arrived at two queues", n)
	}
}

// The kernel takes tags out of frames; they arrive in place all the same.
func TestTags(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	veth(t, "va", "vb")
	d, far := open(t, packet.Config{Name: "va"}), open(t, packet.Config{Name: "vb"})
	settle(t, d, far)
	to, from := d.Info().MAC, far.Info().MAC
	for _, tpid := range []uint16{0x8100, 0x88a8} {
		for _, size := range []int{2, 100, 1496, 1500} { // one shorter the kernel drops
			if size == 1500 && tpid == 0x88a8 {
				continue // the kernel gives room for the other kind only
			}
			inner := append([]byte{0x20, 0x05, 0x88, 0xb5}, bytes.Repeat([]byte("t"), size)...)
			b := frame(to, from, tpid, inner)
			send(t, far, plain(b))
			if got := next(t, d); !bytes.Equal(got.Data, b) || got.Meta != (netif.Meta{}) {
				t.Fatalf("%x, %d bytes: got %d: %x, %+v", tpid, size, len(got.Data), got.Data[:min(40, len(got.Data))], got.Meta)
			}
		}
	}
	// The offsets of what is still to be done move with the tag.
	f := tcpFrame(to, from, 20000)
	tagged := append(append(append([]byte{}, f[:12]...), 0x81, 0, 0, 7), f[12:]...)
	send(t, far, netif.Frame{Fragments: [][]byte{tagged[:58], tagged[58:]}, Meta: netif.Meta{
		Flags: netif.NeedsChecksum, ChecksumStart: 38, ChecksumOffset: 16, GSO: netif.GSOTCP4, HeaderLen: 58, SegmentSize: 1400,
	}})
	got := next(t, d)
	if !bytes.Equal(got.Data, tagged) || got.Meta.ChecksumStart != 38 || got.Meta.GSO != netif.GSOTCP4 || got.Meta.SegmentSize != 1400 {
		t.Fatalf("got %d bytes of %d, %+v", len(got.Data), len(tagged), got.Meta)
	}
}

// tcpFrame makes a frame with a TCP segment whose checksum is left undone. Nothing
// on its way looks at the sum.
func tcpFrame(to, from netif.MAC, payload int) []byte {
	p := make([]byte, 40+payload)
	p[0], p[6], p[8], p[9] = 0x45, 0x40, 64, 6
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	p[32], p[33] = 5<<4, 0x10
	return frame(to, from, 0x0800, p)
}

// What nobody reads is dropped and counted, and then it goes on.
func TestDrops(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	veth(t, "va", "vb")
	d, far := open(t, packet.Config{Name: "va"}), open(t, packet.Config{Name: "vb"})
	settle(t, d, far)
	f := plain(frame(d.Info().MAC, far.Info().MAC, experimental, make([]byte, 1400)))
	sent := 0
	for d.Stats().RxDropped == 0 {
		if sent > 1<<17 {
			t.Fatal("the buffer has no end")
		}
		for range 100 {
			send(t, far, f)
			sent++
		}
	}
	d.Stats() // asking resets the kernel's counter, not ours
	dropped, got := 0, 0
	bufs := make([]*netif.Buf, 64)
	// The last ones may still be on their way.
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
		n, err := d.Queues()[0].Read(bufs)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bufs[:n] {
			b.Release()
		}
		got += n
		dropped = int(d.Stats().RxDropped)
		if n == 0 && (got+dropped >= sent || time.Now().After(end)) {
			break
		}
	}
	if got+dropped != sent {
		t.Errorf("%d arrived and %d were dropped of %d", got, dropped, sent)
	}
	send(t, far, plain(frame(d.Info().MAC, far.Info().MAC, experimental, []byte("next"))))
	if b := next(t, d); string(b.Data[14:]) != "next" {
		t.Fatalf("got %x", b.Data)
	}
	far.Close()
	if st := far.Stats(); st != (packet.Stats{}) {
		t.Errorf("the sender's %+v", st)
	}
}

// An interface that is down loses frames and nothing else, in whichever state it
// was opened; one that is removed ends the device, with a reason.
func TestDown(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	if err := netns.AddVeth("va", "vb"); err != nil {
		t.Fatal(err)
	}
	d, two := open(t, packet.Config{Name: "va"}), open(t, packet.Config{Name: "va", MAC: netif.MAC{2, 2}})
	for i := range 3 {
		up(t, "va", "vb")
		far := open(t, packet.Config{Name: "vb"})
		settle(t, d, far)
		settle(t, two, far)
		for _, d := range []*packet.Device{d, two} {
			send(t, far, plain(frame(d.Info().MAC, far.Info().MAC, experimental, []byte("in"))))
			if b := next(t, d); string(b.Data[14:]) != "in" {
				t.Fatalf("got %x", b.Data)
			}
			send(t, d, plain(frame(far.Info().MAC, d.Info().MAC, experimental, []byte("out"))))
			if b := next(t, far); string(b.Data[14:]) != "out" {
				t.Fatalf("got %x", b.Data)
			}
		}
		far.Close()
		if err := netns.LinkDown("va"); err != nil {
			t.Fatal(err)
		}
		send(t, d, plain(frame(d.Info().MAC, d.Info().MAC, experimental, []byte("lost"))))
		if st := d.Stats(); st != (packet.Stats{TxDown: uint64(i + 1)}) {
			t.Errorf("round %d: %+v", i, st)
		}
		var bufs [1]*netif.Buf
		if n, err := d.Queues()[0].Read(bufs[:]); n != 0 || err != nil {
			t.Fatalf("Read = %d, %v", n, err)
		}
	}
	errs := make(chan error, 1)
	if st := two.Stats(); st != (packet.Stats{}) {
		t.Errorf("the other device: %+v", st)
	}
	go func() {
		for {
			if err := d.Queues()[0].Wait(context.Background()); err != nil {
				errs <- err
				return
			}
			if _, err := d.Queues()[0].Read(make([]*netif.Buf, 8)); err != nil {
				errs <- err
				return
			}
		}
	}()
	up(t, "va")
	if err := netns.LinkDel("va"); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "removed") {
		t.Errorf("got %v", err)
	}
	// Whoever notices first, sender or receiver, both are told.
	if n, err := two.Queues()[0].Write([]netif.Frame{plain(make([]byte, 60))}); n != 0 || err == nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	if err := two.Queues()[0].Wait(context.Background()); err != nil {
		t.Errorf("Wait: %v", err)
	}
	if n, err := two.Queues()[0].Read(make([]*netif.Buf, 8)); n != 0 || err == nil {
		t.Errorf("Read = %d, %v", n, err)
	}
}

func TestMTU(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	veth(t, "va", "vb")
	d := open(t, packet.Config{Name: "va"})
	for _, name := range []string{"va", "vb"} {
		if err := netns.LinkMTU(name, 20000); err != nil {
			t.Fatal(err)
		}
	}
	far := open(t, packet.Config{Name: "vb"})
	settle(t, d, far)
	if d.Info().MTU != 1500 || far.Info().MTU != 20000 {
		t.Fatalf("%+v, %+v", d.Info(), far.Info())
	}
	// The MTU grew behind our back: the frame that does not fit is dropped whole.
	send(t, far,
		plain(frame(d.Info().MAC, far.Info().MAC, experimental, make([]byte, 20000))),
		plain(frame(d.Info().MAC, far.Info().MAC, experimental, []byte("next"))))
	if b := next(t, d); string(b.Data[14:]) != "next" {
		t.Fatalf("%d bytes", len(b.Data))
	}
	send(t, d, plain(make([]byte, 1515)), plain(make([]byte, 13)), plain(nil))
	if st := d.Stats(); st != (packet.Stats{RxTruncated: 1, TxUnsendable: 3}) {
		t.Errorf("stats %+v", st)
	}
}

func TestOpenErrors(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	veth(t, "va", "vb")
	for _, c := range []struct {
		cfg  packet.Config
		want string
		is   error
	}{
		{packet.Config{}, "no interface", nil},
		{packet.Config{Name: "none"}, "ip link", unix.ENODEV},
		{packet.Config{Name: "lo"}, "not an Ethernet interface", nil},
		{packet.Config{Name: "sixteen-letters-"}, "longer than 15", nil},
		{packet.Config{Name: "va", MTU: 1501}, "mtu 1501", nil},
		{packet.Config{Name: "va", MTU: 67}, "outside 68 to", nil},
		{packet.Config{Name: "va", MAC: netif.MAC{1}}, "multicast", nil},
		{packet.Config{Name: "va", Queues: 257}, "queues", nil},
		{packet.Config{Name: "va", Queues: -1}, "queues", nil},
		{packet.Config{Name: "va", Addrs: make([]netip.Addr, 129)}, "leave them out", nil},
		{packet.Config{Name: "va", Addrs: make([]netip.Addr, 1)}, "not an address", nil},
	} {
		d, err := packet.Open(context.Background(), c.cfg)
		if err == nil {
			d.Close()
			t.Errorf("%+v opened", c.cfg)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := packet.Open(ctx, packet.Config{Name: "va"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if n := openSockets(t); n != 0 {
		t.Errorf("%d packet sockets are left open", n)
	}
	d := open(t, packet.Config{Name: "va", Queues: 4})
	if n := openSockets(t); n != 4 {
		t.Errorf("%d sockets for 4 queues", n)
	}
	d.Close()
	if n := openSockets(t); n != 0 {
		t.Errorf("%d packet sockets are left open", n)
	}
}

// openSockets counts the namespace's packet sockets.
func openSockets(t *testing.T) int {
	b, err := os.ReadFile("/proc/net/packet")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n")) - 1
}

// A user without the right is told how to get it.
func TestUnprivileged(t *testing.T) {
	if os.Getenv("PACKET_TEST_USER") != "" {
		_, err := packet.Open(context.Background(), packet.Config{Name: "lo0"})
		if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "cap_net_raw") {
			t.Errorf("got %v", err)
		}
		return
	}
	if os.Getuid() != 0 {
		t.Skip("netns: becoming an ordinary user takes root")
	}
	if !netnstest.Run(t) {
		return
	}
	veth(t, "lo0", "lo1")
	netnstest.AsNobody(t, "TestUnprivileged", "PACKET_TEST_USER=1")
}
