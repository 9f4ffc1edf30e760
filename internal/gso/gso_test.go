package gso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/netduet/netduet/internal/checksum"
)

var (
	v4src, v4dst = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	v6src, v6dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// frame builds an Ethernet frame around a transport segment whose checksum field
// gets the sum of the pseudo-header, as a stack leaves it to a device. options are
// IPv4 options or IPv6 destination options, a multiple of 8 bytes.
func frame(v6 bool, proto byte, options int, seg []byte) []byte {
	f := make([]byte, 14)
	src, dst := v4src, v4dst
	if v6 {
		src, dst = v6src, v6dst
		f[12], f[13] = 0x86, 0xdd
		ip := make([]byte, 40+options)
		ip[0] = 0x60
		binary.BigEndian.PutUint16(ip[4:], uint16(options+len(seg)))
		ip[6], ip[7] = proto, 64
		if options > 0 {
			ip[6], ip[40], ip[41] = 60, proto, byte(options/8-1)
			ip[42], ip[43] = 1, byte(options-4) // PadN
		}
		copy(ip[8:], src.AsSlice())
		copy(ip[24:], dst.AsSlice())
		f = append(f, ip...)
	} else {
		f[12] = 8
		ip := make([]byte, 20+options)
		ip[0] = 0x40 | byte(5+options/4)
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(seg)))
		binary.BigEndian.PutUint16(ip[4:], 0xfffe) // wraps with the third segment
		ip[6], ip[8], ip[9] = 0x40, 64, proto
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		for i := range options {
			ip[20+i] = 1
		}
		f = append(f, ip...)
	}
	at := 16
	if proto == protoUDP {
		at = 6
	}
	binary.BigEndian.PutUint16(seg[at:], checksum.PseudoHeader(src, dst, proto, len(seg)).Fold())
	return append(f, seg...)
}

func tcpSegment(flags byte, options int, payload []byte) []byte {
	h := make([]byte, 20+options)
	binary.BigEndian.PutUint16(h, 4000)
	binary.BigEndian.PutUint16(h[2:], 80)
	binary.BigEndian.PutUint32(h[4:], 0xfffffff0) // wraps inside
	h[12], h[13] = byte(len(h)/4)<<4, flags
	binary.BigEndian.PutUint16(h[14:], 1000)
	for i := range options {
		h[20+i] = 1
	}
	return append(h, payload...)
}

func udpDatagram(payload []byte) []byte {
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h, 4000)
	binary.BigEndian.PutUint16(h[2:], 53)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(payload)))
	return append(h, payload...)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// valid checks everything that a receiver would: lengths, header checksum and
// transport checksum. It shares no code with the package but the summing itself.
func valid(t *testing.T, f []byte) (transport []byte, proto byte) {
	t.Helper()
	ip := f[14:]
	var src, dst netip.Addr
	if ip[0]>>4 == 4 {
		n := int(ip[0]&15) * 4
		if int(binary.BigEndian.Uint16(ip[2:])) != len(ip) {
			t.Fatalf("total length %d of a packet of %d", binary.BigEndian.Uint16(ip[2:]), len(ip))
		}
		if checksum.Sum(ip[:n], 0).Fold() != checksum.Valid {
			t.Fatal("bad header checksum")
		}
		proto, transport = ip[9], ip[n:]
		src, dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	} else {
		if int(binary.BigEndian.Uint16(ip[4:])) != len(ip)-40 {
			t.Fatalf("payload length %d of a packet of %d", binary.BigEndian.Uint16(ip[4:]), len(ip))
		}
		proto, transport = ip[6], ip[40:]
		if proto == 60 {
			proto, transport = transport[0], transport[8+8*int(transport[1]):]
		}
		src, dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
	}
	if proto == protoUDP {
		if int(binary.BigEndian.Uint16(transport[4:])) != len(transport) {
			t.Fatal("bad UDP length")
		}
		if src.Is4() && transport[6] == 0 && transport[7] == 0 {
			return transport, proto
		}
	}
	if checksum.Sum(transport, checksum.PseudoHeader(src, dst, proto, len(transport))).Fold() != checksum.Valid {
		t.Fatal("bad transport checksum")
	}
	return transport, proto
}

func segments(t *testing.T, f []byte, size int) [][]byte {
	t.Helper()
	before := bytes.Clone(f)
	var s Segmenter
	if err := s.Start(f, 14, size); err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	count, most := s.Count(), s.Max()
	for {
		b, ok := s.Append([]byte("x"))
		if !ok {
			break
		}
		if b = b[1:]; len(b) > most {
			t.Fatalf("frame of %d bytes, Max said %d", len(b), most)
		}
		out = append(out, b)
		if s.Count() != count-len(out) {
			t.Fatalf("%d to come after %d of %d", s.Count(), len(out), count)
		}
	}
	if !bytes.Equal(f, before) {
		t.Fatal("the large frame was changed")
	}
	return out
}

func TestTCP(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, options := range []int{0, 16} {
			for _, n := range []int{0, 1, 1448, 1449, 10000, 65000} {
				payload := pattern(n)
				f := frame(v6, protoTCP, options, tcpSegment(0x10|flagFIN|flagPSH|flagCWR, 12, payload))
				out := segments(t, f, 1448)
				if want := max(1, (n+1447)/1448); len(out) != want {
					t.Fatalf("%d segments of %d bytes, want %d", len(out), n, want)
				}
				var got []byte
				for i, b := range out {
					seg, _ := valid(t, b)
					if seq := binary.BigEndian.Uint32(seg[4:]); seq != 0xfffffff0+uint32(len(got)) {
						t.Fatalf("segment %d has sequence number %d", i, seq)
					}
					flags := byte(0x10)
					if i == 0 {
						flags |= flagCWR
					}
					if i == len(out)-1 {
						flags |= flagFIN | flagPSH
					}
					if seg[13] != flags {
						t.Fatalf("segment %d of %d has flags %#x, want %#x", i, len(out), seg[13], flags)
					}
					if id := binary.BigEndian.Uint16(b[18:]); !v6 && id != 0xfffe+uint16(i) {
						t.Fatalf("segment %d has ID %#x", i, id)
					}
					if !bytes.Equal(seg[20:32], f[len(f)-n-12:len(f)-n]) {
						t.Fatal("TCP options changed")
					}
					if i < len(out)-1 && len(seg) != 32+1448 {
						t.Fatal("a segment other than the last is not full")
					}
					got = append(got, seg[32:]...)
				}
				if !bytes.Equal(got, payload) {
					t.Fatal("payload changed")
				}
			}
		}
	}
}

func TestUDP(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, n := range []int{0, 1, 1000, 5001} {
			payload := pattern(n)
			var got []byte
			for _, b := range segments(t, frame(v6, protoUDP, 8, udpDatagram(payload)), 1000) {
				d, _ := valid(t, b)
				if d[6] == 0 && d[7] == 0 {
					t.Fatal("no checksum")
				}
				got = append(got, d[8:]...)
			}
			if !bytes.Equal(got, payload) {
				t.Fatal("payload changed")
			}
		}
	}
	f := frame(false, protoUDP, 0, udpDatagram(pattern(3000)))
	f[14+26], f[14+27] = 0, 0
	for _, b := range segments(t, f, 1000) {
		if d, _ := valid(t, b); d[6] != 0 || d[7] != 0 {
			t.Fatal("a datagram without a checksum got one")
		}
	}
}

func TestUrgentPointer(t *testing.T) {
	seg := tcpSegment(0x10|flagURG, 0, pattern(3000))
	binary.BigEndian.PutUint16(seg[18:], 1500)
	want := []uint16{1500, 500, 0}
	for i, b := range segments(t, frame(false, protoTCP, 0, seg), 1000) {
		s, _ := valid(t, b)
		if p := binary.BigEndian.Uint16(s[18:]); p != want[i] || (s[13]&flagURG != 0) != (p != 0) {
			t.Errorf("segment %d: urgent pointer %d, flags %#x", i, p, s[13])
		}
	}
}

func TestEthernetPaddingIsNotPayload(t *testing.T) {
	f := append(frame(false, protoTCP, 0, tcpSegment(0x10, 0, []byte("ab"))), 9, 9, 9)
	out := segments(t, f, 1)
	if len(out) != 2 {
		t.Fatalf("%d segments, want 2", len(out))
	}
}

func TestErrors(t *testing.T) {
	good := frame(false, protoTCP, 0, tcpSegment(0x10, 0, pattern(100)))
	six := frame(true, protoTCP, 0, tcpSegment(0x10, 0, pattern(100)))
	with := func(f []byte, at int, v byte) []byte {
		f = bytes.Clone(f)
		f[at] = v
		return f
	}
	for i, c := range []struct {
		frame    []byte
		ip, size int
		want     error
	}{
		{good, 14, 0, ErrSize},
		{good, 14, 65536, ErrSize},
		{good, -1, 10, ErrNotIP},
		{good, len(good), 10, ErrNotIP},
		{good[:33], 14, 10, ErrNotIP},
		{good[:len(good)-1], 14, 10, ErrNotIP},
		{with(good, 14, 0x44), 14, 10, ErrNotIP},
		{with(good, 14, 0x55), 14, 10, ErrNotIP},
		{with(good, 20, 0x20), 14, 10, ErrFragment},
		{with(good, 21, 1), 14, 10, ErrFragment},
		{with(good, 23, 1), 14, 10, ErrTransport},
		{with(good, 46, 0x40), 14, 10, ErrTransport},
		{with(with(good, 46, 0xf0), 17, 41), 14, 10, ErrTransport},
		{with(good, 47, 0x12), 14, 10, ErrSYN},
		{with(six, 20, 44), 14, 10, ErrFragment},
		{with(six, 20, 43), 14, 10, ErrTransport},
		{with(with(six, 20, 60), 55, 255), 14, 10, ErrTransport},
		{six[:60], 14, 10, ErrNotIP},
		{six[:53], 14, 10, ErrNotIP},
	} {
		var s Segmenter
		if err := s.Start(c.frame, c.ip, c.size); !errors.Is(err, c.want) {
			t.Errorf("case %d: %v, want %v", i, err, c.want)
		}
		if _, ok := s.Append(nil); ok {
			t.Errorf("case %d: a segment after an error", i)
		}
	}
}

func TestFillChecksum(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		f := frame(v6, protoTCP, 0, tcpSegment(0x10, 4, pattern(333)))
		start := 34
		if v6 {
			start = 54
		}
		if err := FillChecksum(f, start, 16); err != nil {
			t.Fatal(err)
		}
		if !v6 {
			binary.BigEndian.PutUint16(f[24:], checksum.Sum(f[14:34], 0).Checksum())
		}
		valid(t, f)
	}
	// A sum that comes out as zero is sent as all ones: RFC 768.
	if f := []byte{0xff, 0xff, 0, 0}; FillChecksum(f, 0, 2) != nil || !bytes.Equal(f, []byte{0xff, 0xff, 0xff, 0xff}) {
		t.Errorf("got % x", f)
	}
	for _, c := range [][2]int{{-1, 0}, {0, -1}, {0, 99}, {100, 0}, {101, 0}, {98, 1}, {99, math.MaxInt}} {
		if FillChecksum(make([]byte, 100), c[0], c[1]) == nil {
			t.Errorf("start %d offset %d was accepted", c[0], c[1])
		}
	}
}

func TestNoAllocation(t *testing.T) {
	f := frame(false, protoTCP, 0, tcpSegment(0x10, 0, pattern(60000)))
	dst := make([]byte, 0, 2000)
	if n := testing.AllocsPerRun(10, func() {
		var s Segmenter
		if s.Start(f, 14, 1448) != nil {
			t.Fatal("not segmented")
		}
		for ok := true; ok; {
			_, ok = s.Append(dst)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzSegment holds that whatever can be segmented comes out as valid packets of
// at most the size asked for, with the payload unchanged.
func FuzzSegment(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		f.Add(frame(v6, protoTCP, 16, tcpSegment(0x39, 12, pattern(100))), uint16(30))
		f.Add(frame(v6, protoUDP, 8, udpDatagram(pattern(100))), uint16(1))
	}
	f.Fuzz(func(t *testing.T, frame []byte, size uint16) {
		var s Segmenter
		if s.Start(frame, 14, int(size)) != nil {
			return
		}
		header := s.payload
		want := frame[s.payload:len(s.frame)]
		var got []byte
		n := s.Count()
		for {
			b, ok := s.Append(nil)
			if !ok {
				break
			}
			n--
			// Only one destination options header is known to valid.
			if b[14]>>4 == 4 || b[20] == protoTCP || b[20] == protoUDP {
				valid(t, b)
			}
			if len(b) > header+int(size) {
				t.Fatal("segment too large")
			}
			got = append(got, b[header:]...)
		}
		if !bytes.Equal(got, want) || n != 0 {
			t.Fatalf("payload changed, or the count was off by %d", n)
		}
	})
}

func BenchmarkSegment(b *testing.B) {
	f := frame(false, protoTCP, 0, tcpSegment(0x10, 0, pattern(62000)))
	dst := make([]byte, 0, 2000)
	b.SetBytes(int64(len(f)))
	for b.Loop() {
		var s Segmenter
		s.Start(f, 14, 1448)
		for ok := true; ok; {
			_, ok = s.Append(dst)
		}
	}
}
