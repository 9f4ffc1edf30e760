package gvisor_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/stack"
)

// patience is how long what should take milliseconds may take.
const patience = 60 * time.Second

// network is one interface as both engines are told about it.
type network struct {
	dev   netif.Device
	addr  netip.Prefix
	vlan  uint16
	close time.Duration // Config.CloseTimeout
}

func (n network) gvisor(t testing.TB) stack.Stack {
	t.Helper()
	s, err := gvisor.New(&gvisor.Config{
		Interfaces:   []gvisor.Interface{{Device: n.dev, VLAN: n.vlan, Addrs: []netip.Prefix{n.addr}}},
		CloseTimeout: n.close,
		Logger:       quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (n network) direct(t testing.TB) stack.Stack {
	t.Helper()
	s, err := direct.New(&direct.Config{
		Interfaces:   []direct.Interface{{Device: n.dev, VLAN: n.vlan, Addrs: []netip.Prefix{n.addr}}},
		CloseTimeout: n.close,
		Logger:       quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	prefixA = netip.MustParsePrefix("10.0.0.1/24")
	prefixB = netip.MustParsePrefix("10.0.0.2/24")
)

// links are the wires that behaviour must not depend on.
var links = []struct {
	name string
	wire netif.WireConfig
	vlan uint16
}{
	{"ethernet", netif.WireConfig{}, 0},
	{"vlan", netif.WireConfig{}, 7},
	{"ip", netif.WireConfig{Link: netif.LinkIP}, 0},
	{"small", netif.WireConfig{MTU: 576}, 0},
	{"jumbo", netif.WireConfig{MTU: 9000}, 0},
	{"queues", netif.WireConfig{Queues: 3}, 0},
	{"tiny ring", netif.WireConfig{Ring: 4}, 0},
	{"checksums", netif.WireConfig{Offloads: netif.TxChecksum}, 0},
	{"offloads", netif.WireConfig{Offloads: netif.TxChecksum | netif.TxTSO4, Queues: 2}, 0},
	{"offloads on a vlan", netif.WireConfig{Offloads: netif.TxChecksum | netif.TxTSO4}, 9},
	{"offloads without ethernet", netif.WireConfig{Offloads: netif.TxChecksum | netif.TxTSO4, Link: netif.LinkIP}, 0},
}

// Bytes and datagrams go both ways at once as they were written, over every kind of
// link, to the same engine and to the other.
func TestLinks(t *testing.T) {
	for _, l := range links {
		for _, peer := range []string{"gvisor", "direct"} {
			t.Run(l.name+"/"+peer, func(t *testing.T) {
				a, b, err := netif.NewWire(l.wire)
				if err != nil {
					t.Fatal(err)
				}
				near := network{dev: a, addr: prefixA, vlan: l.vlan}.gvisor(t)
				far := network{dev: b, addr: prefixB, vlan: l.vlan}.gvisor
				if peer == "direct" {
					far = network{dev: b, addr: prefixB, vlan: l.vlan}.direct
				}
				exchange(t, near, far(t), 2<<20)
			})
		}
	}
}

// exchange lets two stacks talk, and closes them: datagrams, and a connection by
// either, over which size bytes go each way.
func exchange(t *testing.T, a, b stack.Stack, size int) {
	t.Helper()
	datagrams(t, a, b)
	for _, dial := range []struct {
		from, to stack.Stack
		at       netip.Addr
	}{{a, b, prefixB.Addr()}, {b, a, prefixA.Addr()}} {
		c, d := connect(t, dial.from, dial.to, dial.at)
		swap(t, c, d, size)
		c.Close()
		d.Close()
	}
	for _, s := range []stack.Stack{a, b} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func connect(t *testing.T, from, to stack.Stack, at netip.Addr) (c, d net.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, err := to.Listen(ctx, "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if c, err = from.DialContext(ctx, "tcp", net.JoinHostPort(at.String(), fmt.Sprint(port))); err == nil {
		d, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	d.SetDeadline(time.Now().Add(patience))
	return c, d
}

// swap sends size bytes each way at once.
func swap(t *testing.T, c, d net.Conn, size int) {
	t.Helper()
	data := [2][]byte{pattern(size, 1), pattern(size, 2)}
	errs := make(chan error, 4)
	for i, end := range []net.Conn{c, d} {
		go func() {
			_, err := end.Write(data[i])
			end.(interface{ CloseWrite() error }).CloseWrite()
			errs <- err
		}()
		go func() {
			got, err := io.ReadAll(struct{ io.Reader }{end})
			if err == nil && !bytes.Equal(got, data[1-i]) {
				err = fmt.Errorf("%d bytes arrived that are not the %d sent", len(got), len(data[1-i]))
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// datagrams exchanges small and fragmented datagrams.
func datagrams(t *testing.T, a, b stack.Stack) {
	t.Helper()
	ctx := context.Background()
	p, err := b.ListenPacket(ctx, "udp", prefixB.Addr().String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := a.DialContext(ctx, "udp", p.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 65536)
	for _, size := range []int{0, 1, 500, 3000} {
		want := pattern(size, byte(size))
		// A short ring loses fragments; the application asks again.
		for try := 0; ; try++ {
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			p.SetReadDeadline(time.Now().Add(time.Second))
			n, from, err := p.ReadFrom(buf)
			if err != nil && try < 30 {
				continue
			}
			if err != nil || !bytes.Equal(buf[:n], want) || from.String() != c.LocalAddr().String() {
				t.Fatalf("%d bytes of %d from %v, %v", n, size, from, err)
			}
			break
		}
	}
}

func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	x := uint32(seed) + 1
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}

// Two VLANs of one device are two interfaces, and neither hears the other.
func TestVLANsOfOneDevice(t *testing.T) {
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	first, second := netip.MustParsePrefix("10.0.1.1/24"), netip.MustParsePrefix("10.0.2.1/24")
	s, err := gvisor.New(&gvisor.Config{
		Interfaces: []gvisor.Interface{
			{Name: "one", Device: a, VLAN: 1, Addrs: []netip.Prefix{first}},
			{Name: "two", Device: a, VLAN: 2, Addrs: []netip.Prefix{second}},
		},
		Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := direct.New(&direct.Config{
		Interfaces: []direct.Interface{
			{Name: "one", Device: b, VLAN: 1, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.1.2/24")}},
			{Name: "two", Device: b, VLAN: 2, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.2.2/24")}},
		},
		Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []netip.Prefix{first, second} {
		c, e := connect(t, d, s, at.Addr())
		if got := e.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); got != at.Addr() {
			t.Errorf("a connection to %v arrived at %v", at.Addr(), got)
		}
		swap(t, c, e, 1<<20)
		c.Close()
		e.Close()
	}
	if list, err := s.Interfaces(); err != nil || len(list) != 3 || list[1].Name != "one" || list[2].Addrs[0] != second {
		t.Errorf("interfaces: %+v, %v", list, err)
	}
	d.Close()
	s.Close()
}

// spy notes what is written to a device.
type spy struct {
	netif.Device
	queues  []netif.Queue
	largest atomic.Int64
	partial atomic.Int64 // frames with NeedsChecksum
	badly   atomic.Int64 // GSO frames whose headers are not in the first fragment
}

func newSpy(d netif.Device) *spy {
	s := &spy{Device: d}
	for _, q := range d.Queues() {
		s.queues = append(s.queues, &spyQueue{q, s})
	}
	return s
}

func (s *spy) Queues() []netif.Queue { return s.queues }

type spyQueue struct {
	netif.Queue
	s *spy
}

func (q *spyQueue) Write(frames []netif.Frame) (int, error) {
	for i := range frames {
		f := &frames[i]
		if n := int64(f.Len()); n > q.s.largest.Load() {
			q.s.largest.Store(n)
		}
		if f.Meta.Flags&netif.NeedsChecksum != 0 {
			q.s.partial.Add(1)
		}
		if f.Meta.GSO != netif.GSONone && len(f.Fragments[0]) < int(f.Meta.HeaderLen) {
			q.s.badly.Add(1)
		}
	}
	return q.Queue.Write(frames)
}

// What a device offers is used, and what it does not offer is not.
func TestOffloadsAreUsed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		offloads netif.Offloads
		large    bool
	}{
		{"none", 0, false},
		{"checksums only", netif.TxChecksum, false},
		{"segmentation", netif.TxChecksum | netif.TxTSO4, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b, err := netif.NewWire(netif.WireConfig{Offloads: tt.offloads})
			if err != nil {
				t.Fatal(err)
			}
			s := newSpy(a)
			exchange(t, network{dev: s, addr: prefixA}.gvisor(t), network{dev: b, addr: prefixB}.gvisor(t), 1<<20)
			if large := s.largest.Load() > 1514; large != tt.large {
				t.Errorf("the largest frame has %d bytes", s.largest.Load())
			}
			if partial := s.partial.Load() > 0; partial != tt.large {
				t.Errorf("%d frames leave their checksum to the device", s.partial.Load())
			}
			if s.badly.Load() > 0 {
				t.Errorf("%d large frames have headers in several fragments", s.badly.Load())
			}
		})
	}
}
