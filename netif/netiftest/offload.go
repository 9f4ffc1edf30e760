package netiftest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/netif"
)

const (
	tcp, udp     = 6, 17
	offloadPort  = 0xb5b5
	firstNumber  = 0xffffff00 // so that sequence numbers wrap
	gsoPayload   = 40000
	offloadWords = "ask for the rest, the device will see to it"
)

// offloadFrame makes a TCP or UDP frame whose checksum is left to the device. Its
// segments carry mss bytes each.
func offloadFrame(from, to netif.Device, v6 bool, proto byte, payload []byte, mss int) netif.Frame {
	info := from.Info()
	var f []byte
	if info.Link == netif.LinkEthernet {
		mac := to.Info().MAC
		f = append(append(f, mac[:]...), info.MAC[:]...)
		if v6 {
			f = append(f, 0x86, 0xdd)
		} else {
			f = append(f, 8, 0)
		}
	}
	header, field, offload := 20, 16, netif.GSOTCP4
	switch {
	case proto == udp:
		header, field, offload = 8, 6, netif.GSOUDP
	case v6:
		offload = netif.GSOTCP6
	}
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if v6 {
		src, dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		ip := make([]byte, 40)
		ip[0], ip[6], ip[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(header+len(payload)))
		copy(ip[8:], src.AsSlice())
		copy(ip[24:], dst.AsSlice())
		f = append(f, ip...)
	} else {
		ip := make([]byte, 20)
		ip[0], ip[6], ip[8], ip[9] = 0x45, 0x40, 64, proto
		binary.BigEndian.PutUint16(ip[2:], uint16(20+header+len(payload)))
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], checksum.Sum(ip, 0).Checksum())
		f = append(f, ip...)
	}
	start := len(f)
	seg := make([]byte, header)
	binary.BigEndian.PutUint16(seg, offloadPort)
	binary.BigEndian.PutUint16(seg[2:], offloadPort)
	if proto == tcp {
		binary.BigEndian.PutUint32(seg[4:], firstNumber)
		seg[12], seg[13] = 5<<4, 0x18
		binary.BigEndian.PutUint16(seg[14:], 1000)
	} else {
		binary.BigEndian.PutUint16(seg[4:], uint16(8+len(payload)))
	}
	binary.BigEndian.PutUint16(seg[field:], checksum.PseudoHeader(src, dst, proto, header+len(payload)).Fold())
	f = append(f, seg...)
	m := netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: uint16(start), ChecksumOffset: uint16(field)}
	if mss > 0 {
		m.GSO, m.HeaderLen, m.SegmentSize = offload, uint16(len(f)), uint16(mss)
	}
	if info.MaxFragments == 1 {
		return netif.Frame{Fragments: [][]byte{append(f, payload...)}, Meta: m}
	}
	return netif.Frame{Fragments: [][]byte{f, payload}, Meta: m}
}

// offloaded finds the transport segment in a frame of offloadFrame's kind.
func (l *link) offloaded(f []byte) (seg []byte, src, dst netip.Addr, proto byte, ok bool) {
	v6 := false
	if l.a.Info().Link == netif.LinkEthernet {
		if len(f) < etherHeaderLen {
			return
		}
		switch binary.BigEndian.Uint16(f[12:]) {
		case 0x0800:
		case 0x86dd:
			v6 = true
		default:
			return
		}
		f = f[etherHeaderLen:]
	} else if len(f) > 0 {
		v6 = f[0]>>4 == 6
	}
	if v6 {
		if len(f) < 48 {
			return
		}
		n := int(binary.BigEndian.Uint16(f[4:]))
		if n > len(f)-40 {
			return
		}
		src, dst, proto = netip.AddrFrom16([16]byte(f[8:])), netip.AddrFrom16([16]byte(f[24:])), f[6]
		seg = f[40 : 40+n]
	} else {
		if len(f) < 28 || f[0] != 0x45 {
			return
		}
		n := int(binary.BigEndian.Uint16(f[2:]))
		if n < 28 || n > len(f) {
			return
		}
		src, dst, proto = netip.AddrFrom4([4]byte(f[12:])), netip.AddrFrom4([4]byte(f[16:])), f[9]
		seg = f[20:n]
	}
	ok = len(seg) >= 8 && binary.BigEndian.Uint16(seg) == offloadPort && binary.BigEndian.Uint16(seg[2:]) == offloadPort &&
		(proto == udp || proto == tcp && len(seg) >= 20)
	return
}

// verify checks the checksums of a received frame, or that it was said that they
// are still to be computed.
func (l *link) verify(b *netif.Buf, offloads netif.Offloads, seg []byte, src, dst netip.Addr, proto byte) {
	l.Helper()
	if src.Is4() {
		at := headerLen(l.a.Info()) % ipHeaderLen // the IP header is first on an IP link
		if checksum.Sum(b.Data[at:at+ipHeaderLen], 0).Fold() != checksum.Valid {
			l.Error("a frame arrived with a wrong IPv4 header checksum")
		}
	}
	pseudo := checksum.PseudoHeader(src, dst, proto, len(seg))
	if b.Meta.Flags&netif.NeedsChecksum == 0 {
		if checksum.Sum(seg, pseudo).Fold() != checksum.Valid {
			l.Errorf("a frame arrived with a wrong transport checksum, and %+v", b.Meta)
		}
		return
	}
	if !offloads.Has(netif.RxChecksum) {
		l.Errorf("a frame needs a checksum, but the device does not announce that: %+v", b.Meta)
	}
	start, offset := int(b.Meta.ChecksumStart), int(b.Meta.ChecksumOffset)
	field := map[byte]int{tcp: 16, udp: 6}[proto]
	if start >= len(b.Data) || &b.Data[start] != &seg[0] || offset != field {
		l.Errorf("a frame needs a checksum somewhere else: %+v", b.Meta)
		return
	}
	if binary.BigEndian.Uint16(seg[field:]) != pseudo.Fold() {
		l.Error("the field of a checksum that is still to be computed does not hold the pseudo-header's sum")
	}
}

func checkChecksum(l *link) {
	l.both(func(from, to netif.Device) {
		if !from.Info().Offloads.Has(netif.TxChecksum) {
			l.Logf("%s does not announce it", from.Info().Name)
			return
		}
		ctx, cancel := l.timeout()
		defer cancel()
		for _, v6 := range []bool{false, true} {
			for _, proto := range []byte{tcp, udp} {
				for n := range len(offloadWords) {
					payload := []byte(offloadWords)[:n]
					if err := l.send(from.Queues()[0], []netif.Frame{offloadFrame(from, to, v6, proto, payload, 0)}); err != nil {
						l.Fatal(err)
					}
					r := l.reader(to)
					r.ours = func(f []byte) bool { _, _, _, _, ok := l.offloaded(f); return ok }
					b, err := r.next(ctx)
					if err != nil {
						l.Fatal(err)
					}
					seg, src, dst, proto, ok := l.offloaded(b.Data)
					if !ok || !bytes.HasSuffix(seg, payload) {
						l.Fatalf("a frame changed on its way: %s", brief(b.Data))
					}
					l.verify(b, to.Info().Offloads, seg, src, dst, proto)
					b.Release()
				}
			}
		}
	})
}

func checkSegmentation(l *link) {
	l.both(func(from, to netif.Device) {
		for _, kind := range []struct {
			want  netif.Offloads
			v6    bool
			proto byte
		}{{netif.TxTSO4, false, tcp}, {netif.TxTSO6, true, tcp}, {netif.TxUSO, false, udp}, {netif.TxUSO, true, udp}} {
			if !from.Info().Offloads.Has(kind.want) {
				l.Logf("%s does not announce %b", from.Info().Name, kind.want)
				continue
			}
			headers := 20 + 20
			if kind.v6 {
				headers += 20
			}
			mss := from.Info().MTU - headers
			for _, n := range []int{mss - 1, mss + 1, 2 * mss, gsoPayload} {
				if l.cfg.Lossy {
					n = min(n, mss*l.cfg.Window/2)
				}
				// The kernel sends at most 64 segments of UDP at once, so others may too.
				n = min(n, 60000, 60*mss)
				l.segment(from, to, kind.v6, kind.proto, n, mss)
			}
		}
	})
	l.alive()
}

// segment sends n bytes in one large frame and puts them together again.
func (l *link) segment(from, to netif.Device, v6 bool, proto byte, n, mss int) {
	l.Helper()
	payload := make([]byte, n)
	r := rand.NewPCG(uint64(n), 1)
	for i := range payload {
		payload[i] = byte(r.Uint64())
	}
	if err := l.send(from.Queues()[0], []netif.Frame{offloadFrame(from, to, v6, proto, payload, mss)}); err != nil {
		l.Fatal(err)
	}
	ctx, cancel := l.timeout()
	defer cancel()
	rd := l.reader(to)
	rd.ours = func(f []byte) bool { _, _, _, _, ok := l.offloaded(f); return ok }
	var got []byte
	for len(got) < n {
		b, err := rd.next(ctx)
		if err != nil {
			l.Fatalf("%d of %d bytes arrived, then: %v", len(got), n, err)
		}
		seg, src, dst, p, ok := l.offloaded(b.Data)
		if !ok || p != proto {
			l.Fatalf("a frame changed on its way: %s", brief(b.Data))
		}
		header := 8
		if proto == tcp {
			header = int(seg[12]>>4) * 4
			if seq := binary.BigEndian.Uint32(seg[4:]); seq != firstNumber+uint32(len(got)) {
				l.Fatalf("sequence number %d after %d bytes, want %d", seq, len(got), firstNumber+uint32(len(got)))
			}
		}
		info := to.Info()
		switch large := b.Meta.GSO != netif.GSONone; {
		case large && !info.Offloads.Has(netif.RxGSO):
			l.Errorf("a large frame arrived, but the device does not announce that: %+v", b.Meta)
		case large && int(b.Meta.SegmentSize) != mss:
			l.Errorf("a large frame for segments of %d bytes, sent for %d", b.Meta.SegmentSize, mss)
		case !large && len(b.Data) > maxLen(info):
			l.Errorf("a frame of %d bytes arrived without a GSO type", len(b.Data))
		case !large && len(seg)-header > mss:
			l.Errorf("a segment of %d bytes, more than %d", len(seg)-header, mss)
		}
		l.verify(b, info.Offloads, seg, src, dst, proto)
		got = append(got, seg[header:]...)
		b.Release()
	}
	if !bytes.Equal(got, payload) {
		l.Fatal("the payload of a large frame changed")
	}
}
