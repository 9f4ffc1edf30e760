package xen

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/netif"
)

// tcp4 makes a TCP segment over IPv4 with n bytes of payload, its checksum left to
// the device. tag puts an 802.1Q tag in front.
func tcp4(n int, tag bool) []byte {
	f := make([]byte, 12, 80+n)
	if tag {
		f = append(f, 0x81, 0, 0, 5)
	}
	f = append(f, 8, 0)
	at := len(f)
	f = append(f, make([]byte, 40+n)...)
	p := f[at:]
	p[0], p[8], p[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(p[10:], checksum.Sum(p[:20], 0).Checksum())
	p[32] = 5 << 4
	for i := range n {
		p[40+i] = byte(i * 7)
	}
	l, _ := locate(f)
	binary.BigEndian.PutUint16(p[36:], pseudo(f, l, 20+n))
	return f
}

// whole verifies the checksum of a complete segment.
func whole(t *testing.T, f []byte) {
	t.Helper()
	l, ok := locate(f)
	if !ok {
		t.Fatal("no TCP segment")
	}
	n, ok := segmentLen(f, l)
	if !ok {
		t.Fatal("the IP header's length is wrong")
	}
	if checksum.Sum(f[l.transport:l.transport+n], checksum.Sum(nil, checksum.Partial(pseudo(f, l, n)))).Fold() != checksum.Valid {
		t.Error("wrong checksum")
	}
}

func collect(o outgoing) (f []byte) {
	w := walker{parts: o.parts}
	for b := w.next(100); b != nil; b = w.next(100) {
		f = append(f, b...)
	}
	return f
}

func TestPlan(t *testing.T) {
	all := caps{sg: true, tcp4: true, tcp6: true, checksum4: true, checksum6: true}
	const mss = 1448
	for name, c := range map[string]struct {
		caps      caps
		n         int
		tag, gso  bool
		frames    int // 0: cannot be sent
		blank     bool
		carriesGS bool
	}{
		"plain":                   {all, 1000, false, false, 1, true, false},
		"checksum here":           {caps{sg: true}, 1000, false, false, 1, false, false},
		"tagged":                  {all, 1000, true, false, 1, false, false},
		"one segment":             {all, mss, false, true, 1, true, false},
		"large":                   {all, 10 * mss, false, true, 1, true, true},
		"largest of one":          {all, 65535 - 54, false, true, 1, true, true},
		"over the size field":     {all, 65535 - 40, false, true, 2, false, false}, // mixed: looked at below
		"cut here":                {caps{sg: true, checksum4: true}, 10*mss + 1, false, true, 11, false, false},
		"cut here, tagged":        {all, 10 * mss, true, true, 10, false, false},
		"cut here, one slot each": {caps{checksum4: true}, 10 * mss, false, true, 10, false, false},
		"over the MTU":            {all, 1461, false, false, 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := planner{caps: c.caps, mtu: 1500, most: 256}
			f := tcp4(c.n, c.tag)
			l, _ := locate(f)
			m := netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: uint16(l.transport), ChecksumOffset: 16}
			if c.gso {
				m.GSO, m.HeaderLen, m.SegmentSize = netif.GSOTCP4, uint16(l.payload), mss
			}
			outs, slots, data, ok := p.plan(&netif.Frame{Fragments: [][]byte{f[:l.payload], f[l.payload:]}, Meta: m})
			if ok != (c.frames > 0) {
				t.Fatalf("ok is %v", ok)
			}
			if !ok {
				return
			}
			if len(outs) != c.frames {
				t.Fatalf("%d frames, want %d", len(outs), c.frames)
			}
			var payload []byte
			s, d := 0, 0
			for _, o := range outs {
				g := collect(o)
				if len(g) != o.length || o.length > maxWire {
					t.Fatalf("%d bytes, %d said", len(g), o.length)
				}
				if len(outs) == 1 && (o.blank != c.blank || (o.gso != 0) != c.carriesGS) {
					t.Errorf("blank %v, gso %d", o.blank, o.gso)
				}
				if o.gso != 0 && (!o.blank || o.size != mss) {
					t.Errorf("a large frame: %+v", o)
				}
				if o.blank {
					k, _ := segmentLen(g, l)
					if binary.BigEndian.Uint16(g[l.transport+16:]) != pseudo(g, l, k) {
						t.Error("the checksum left to the far end is not that of the pseudo-header")
					}
				} else {
					whole(t, g)
				}
				payload = append(payload, g[l.payload:]...)
				a, b := o.slots()
				s, d = s+a, d+b
			}
			if !bytes.Equal(payload, f[l.payload:]) {
				t.Error("the payload changed")
			}
			if s != slots || d != data {
				t.Errorf("%d slots, %d pages were said, want %d, %d", slots, data, s, d)
			}
		})
	}
	// More segments than the ring can ever hold.
	p := planner{caps: caps{}, mtu: 1500, most: 256}
	f := tcp4(60000, false)
	if _, _, _, ok := p.plan(&netif.Frame{Fragments: [][]byte{f}, Meta: netif.Meta{
		Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16, GSO: netif.GSOTCP4, HeaderLen: 54, SegmentSize: 100}}); ok {
		t.Error("600 segments are to go into 256 slots")
	}
}

func TestReceived(t *testing.T) {
	large := tcp4(10000, false)
	for name, c := range map[string]struct {
		frame        []byte
		blank, valid bool
		gso          byte
		size         uint16
		want         netif.Meta
		ok           bool
	}{
		"nothing":         {frame: tcp4(10, false), ok: true},
		"valid":           {frame: tcp4(10, false), valid: true, want: netif.Meta{Flags: netif.ChecksumValid}, ok: true},
		"blank":           {frame: tcp4(10, false), blank: true, valid: true, want: netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16}, ok: true},
		"blank, tagged":   {frame: tcp4(10, true), blank: true, want: netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: 38, ChecksumOffset: 16}, ok: true},
		"blank ARP":       {frame: append(make([]byte, 12), 8, 6, 0, 1, 8, 0, 6, 4, 0, 1), blank: true, valid: true, ok: true},
		"large":           {frame: large, blank: true, gso: gsoTCP4, size: 1448, want: netif.Meta{Flags: netif.NeedsChecksum, GSO: netif.GSOTCP4, ChecksumStart: 34, ChecksumOffset: 16, HeaderLen: 54, SegmentSize: 1448}, ok: true},
		"large, complete": {frame: large, gso: gsoTCP4, size: 1448, want: netif.Meta{Flags: netif.NeedsChecksum, GSO: netif.GSOTCP4, ChecksumStart: 34, ChecksumOffset: 16, HeaderLen: 54, SegmentSize: 1448}, ok: true},
		"not so large":    {frame: tcp4(100, false), blank: true, gso: gsoTCP4, size: 1448, want: netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: 34, ChecksumOffset: 16}, ok: true},
		"of version 6":    {frame: large, blank: true, gso: gsoTCP6, size: 1448},
		"of no version":   {frame: large, blank: true, gso: 3, size: 1448},
		"no size":         {frame: large, blank: true, gso: gsoTCP4},
		"large ARP":       {frame: append(make([]byte, 12), 8, 6, 0, 1, 8, 0, 6, 4, 0, 1), gso: gsoTCP4, size: 1448},
		"cut off":         {frame: large[:5000], blank: true, gso: gsoTCP4, size: 1448},
	} {
		m, ok := received(c.frame, c.blank, c.valid, c.gso, c.size)
		if ok != c.ok || ok && m != c.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", name, m, ok, c.want, c.ok)
		}
	}
}

func FuzzReceived(f *testing.F) {
	f.Add(tcp4(100, false), byte(3), uint16(1448))
	f.Add(tcp4(3000, true), byte(7), uint16(1))
	f.Add([]byte{13: 0xdd, 12: 0x86, 14: 0x60, 60: 60}, byte(9), uint16(9))
	f.Fuzz(func(t *testing.T, b []byte, flags byte, size uint16) {
		if len(b) < etherLen {
			return
		}
		m, ok := received(b, flags&1 != 0, flags&2 != 0, flags>>2&3, size)
		if !ok {
			return
		}
		if m.Flags&netif.NeedsChecksum != 0 && int(m.ChecksumStart)+int(m.ChecksumOffset)+2 > len(b) {
			t.Fatalf("%d bytes, %+v", len(b), m)
		}
		if m.GSO != netif.GSONone && (int(m.HeaderLen) >= len(b) || m.SegmentSize == 0) {
			t.Fatalf("%d bytes, %+v", len(b), m)
		}
		// What was received can be planned, or not, for any far end.
		p := planner{mtu: 1500, most: 256, caps: caps{sg: flags&16 != 0, tcp4: flags&32 != 0, tcp6: flags&64 != 0, checksum4: flags&128 != 0, checksum6: flags&1 != 0}}
		outs, slots, _, ok := p.plan(&netif.Frame{Fragments: [][]byte{b}, Meta: m})
		if ok && (slots < 1 || slots > 256 || len(outs) == 0) {
			t.Fatalf("%d slots, %d frames", slots, len(outs))
		}
	})
}

func TestWire(t *testing.T) {
	r := txRequest{ref: 0x11223344, offset: 0x5566, flags: 0x7788, id: 0x99aa, size: 0xbbcc}
	if got := txRequestOf(r.slot()); got != r {
		t.Errorf("%+v", got)
	}
	// In memory: little-endian, in the order of the header file.
	if s := r.slot(); s[0] != 0x11223344 || s[1] != 0x77885566 || s[2] != 0xbbcc99aa {
		t.Errorf("%08x", s)
	}
	q := rxResponse{id: 0x1122, offset: 0x3344, flags: 0x5566, status: -2}
	if got := rxResponseOf(q.slot()); got != q {
		t.Errorf("%+v", got)
	}
	if id, st := txResponseOf(txResponse(77, -1)); id != 77 || st != -1 {
		t.Error(id, st)
	}
	e := extraOf(extra{kind: extraGSO, flags: extraMore, size: 0x1234, gso: 2}.slot())
	if e.kind != extraGSO || e.flags != extraMore || e.size != 0x1234 || e.gso != 2 || e.addr != [6]byte{0x34, 0x12, 2} {
		t.Errorf("%+v", e)
	}
}
