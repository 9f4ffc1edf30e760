package gvisor_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/netif"
)

// datagram is a UDP datagram from 10.0.0.2 port 9 to 10.0.0.1 port 7 that a test
// damages.
type datagram struct {
	payload  string
	udpXOR   uint16 // changes the checksum
	partial  bool   // only the pseudo-header is summed
	ipXOR    uint16
	dst      netif.MAC
	vlan     int // -1 for none
	fragment bool
}

// frames encodes the datagram, as two fragments if so asked.
func (d datagram) frames() [][]byte {
	src, dst := prefixB.Addr(), prefixA.Addr()
	u := make([]byte, 8, 8+len(d.payload))
	binary.BigEndian.PutUint16(u[0:], 9)
	binary.BigEndian.PutUint16(u[2:], 7)
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(d.payload)))
	u = append(u, d.payload...)
	sum := checksum.PseudoHeader(src, dst, 17, len(u))
	check := sum.Fold()
	if !d.partial {
		check = checksum.Sum(u, sum).Checksum()
	}
	binary.BigEndian.PutUint16(u[6:], check^d.udpXOR)
	parts := [][]byte{u}
	if d.fragment {
		parts = [][]byte{u[:16], u[16:]}
	}
	var list [][]byte
	offset := 0
	for i, p := range parts {
		h := make([]byte, 20)
		h[0], h[8], h[9] = 0x45, 64, 17
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(p)))
		binary.BigEndian.PutUint16(h[4:], 77)
		field := uint16(offset / 8)
		if i < len(parts)-1 {
			field |= 0x2000 // RFC 791, section 3.1: more fragments
		}
		binary.BigEndian.PutUint16(h[6:], field)
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(h[10:], checksum.Sum(h, 0).Checksum()^d.ipXOR)
		f := append([]byte{}, d.dst[:]...)
		f = append(f, 2, 0, 0, 0, 0, 2)
		if d.vlan >= 0 {
			f = append(f, 0x81, 0, byte(d.vlan>>8), byte(d.vlan))
		}
		f = append(f, 8, 0)
		list = append(list, append(append(f, h...), p...))
		offset += len(p)
	}
	return list
}

// voucher is a device that has verified the transport checksum of all it gives.
type voucher struct {
	netif.Device
	queues []netif.Queue
}

func newVoucher(d netif.Device) *voucher {
	v := &voucher{Device: d}
	for _, q := range d.Queues() {
		v.queues = append(v.queues, voucherQueue{q})
	}
	return v
}

func (v *voucher) Queues() []netif.Queue { return v.queues }

type voucherQueue struct{ netif.Queue }

func (q voucherQueue) Read(bufs []*netif.Buf) (int, error) {
	n, err := q.Queue.Read(bufs)
	for _, b := range bufs[:n] {
		b.Meta.Flags |= netif.ChecksumValid
	}
	return n, err
}

// Checksums are trusted frame by frame, as the device says of each; everything else
// is verified; and what is not for the interface is not heard.
func TestReceive(t *testing.T) {
	ours := netif.MAC{2, 0, 0, 0, 0, 1}
	sum := netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 6}
	valid := netif.Meta{Flags: netif.ChecksumValid}
	for _, tt := range []struct {
		name string
		d    datagram
		meta netif.Meta
		want bool
	}{
		{"good", datagram{dst: ours, vlan: -1}, netif.Meta{}, true},
		{"broadcast", datagram{dst: netif.MAC{255, 255, 255, 255, 255, 255}, vlan: -1}, netif.Meta{}, true},
		{"priority tag", datagram{dst: ours, vlan: 0}, netif.Meta{}, true},
		{"fragments", datagram{dst: ours, vlan: -1, fragment: true}, netif.Meta{}, true},
		{"partial", datagram{dst: ours, vlan: -1, partial: true}, sum, true},
		{"vouched for", datagram{dst: ours, vlan: -1, udpXOR: 0x5a5a}, valid, true},
		{"wrong checksum", datagram{dst: ours, vlan: -1, udpXOR: 0x5a5a}, netif.Meta{}, false},
		{"partial without a word", datagram{dst: ours, vlan: -1, partial: true}, netif.Meta{}, false},
		{"fragments with a wrong checksum", datagram{dst: ours, vlan: -1, fragment: true, udpXOR: 1}, netif.Meta{}, false},
		{"wrong header checksum", datagram{dst: ours, vlan: -1, ipXOR: 0x0101}, netif.Meta{}, false},
		{"wrong header checksum, transport vouched for", datagram{dst: ours, vlan: -1, ipXOR: 0x0101}, valid, false},
		{"another's", datagram{dst: netif.MAC{2, 0, 0, 0, 0, 9}, vlan: -1}, netif.Meta{}, false},
		{"another VLAN", datagram{dst: ours, vlan: 5}, netif.Meta{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b, err := netif.NewWire(netif.WireConfig{MACs: []netif.MAC{ours}, Offloads: netif.TxChecksum})
			if err != nil {
				t.Fatal(err)
			}
			var dev netif.Device = a
			if tt.meta.Flags&netif.ChecksumValid != 0 {
				dev = newVoucher(a) // a wire passes on no more than the sender can know
			}
			s := network{dev: dev, addr: prefixA}.gvisor(t)
			defer s.Close()
			defer b.Close()
			u, err := s.(*gvisor.Stack).ListenUDP("udp", netip.AddrPortFrom(netip.IPv4Unspecified(), 7))
			if err != nil {
				t.Fatal(err)
			}
			u.SetReadDeadline(time.Now().Add(patience))
			tt.d.payload = "the one in question"
			last := datagram{payload: "the last", dst: ours, vlan: -1}
			for _, d := range []datagram{tt.d, last} {
				meta := tt.meta
				if d == last {
					meta = netif.Meta{}
				}
				for _, f := range d.frames() {
					if n, err := b.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{f}, Meta: meta}}); n != 1 || err != nil {
						t.Fatal(n, err)
					}
				}
			}
			buf := make([]byte, 100)
			n, from, err := u.ReadFromUDPAddrPort(buf)
			if err != nil || from != netip.AddrPortFrom(prefixB.Addr(), 9) {
				t.Fatal(from, err)
			}
			if got := string(buf[:n]) == tt.d.payload; got != tt.want {
				t.Errorf("it arrives: %t, want %t", got, tt.want)
			}
		})
	}
}

// Nothing that arrives makes the engine fail: it still answers afterwards.
func FuzzFrames(f *testing.F) {
	ours := netif.MAC{2, 0, 0, 0, 0, 1}
	for _, d := range []datagram{{payload: "x", dst: ours, vlan: -1}, {payload: "tagged", dst: ours, vlan: 0}, {payload: "in pieces, this one", dst: ours, vlan: -1, fragment: true}} {
		for _, frame := range d.frames() {
			f.Add(frame, uint8(0), uint8(0))
			f.Add(frame, uint8(netif.NeedsChecksum|netif.ChecksumValid), uint8(netif.GSOTCP4))
			f.Add(frame[:len(frame)/2], uint8(netif.ChecksumValid), uint8(0))
		}
	}
	f.Add([]byte{}, uint8(0), uint8(0))
	a, b, err := netif.NewWire(netif.WireConfig{MACs: []netif.MAC{ours}, Offloads: netif.TxChecksum})
	if err != nil {
		f.Fatal(err)
	}
	s := network{dev: a, addr: prefixA}.gvisor(f)
	f.Cleanup(func() { s.Close(); b.Close() })
	u, err := s.(*gvisor.Stack).ListenUDP("udp", netip.AddrPortFrom(netip.IPv4Unspecified(), 7))
	if err != nil {
		f.Fatal(err)
	}
	if _, err := s.(*gvisor.Stack).ListenTCP("tcp", netip.AddrPortFrom(netip.IPv4Unspecified(), 7)); err != nil {
		f.Fatal(err)
	}
	last := datagram{payload: "are you there?", dst: ours, vlan: -1}
	bufs := make([]*netif.Buf, 16)
	f.Fuzz(func(t *testing.T, frame []byte, flags, gso uint8) {
		q := b.Queues()[0]
		meta := netif.Meta{Flags: netif.MetaFlags(flags), GSO: netif.GSO(gso), SegmentSize: 100}
		q.Write([]netif.Frame{{Fragments: [][]byte{frame}, Meta: meta}, {Fragments: last.frames()}})
		for n := 1; n > 0; {
			n, _ = q.Read(bufs)
			for _, b := range bufs[:n] {
				b.Release()
			}
		}
		u.SetReadDeadline(time.Now().Add(patience))
		buf := make([]byte, 65536)
		for {
			n, _, err := u.ReadFromUDPAddrPort(buf)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(buf[:n], []byte(last.payload)) {
				return
			}
		}
	})
}
