package netif

import (
	"bytes"
	"testing"
)

// FuzzImpair holds that no frame, metadata or seed upsets the layer. It takes what
// would be delivered off the delay line itself: with a goroutine in play the fuzzer
// would find new paths in every schedule.
func FuzzImpair(f *testing.F) {
	tcp := make([]byte, 14+20+20+2000)
	copy(tcp[12:], []byte{8, 0, 0x45, 0, 0x07, 0xf8})
	tcp[23], tcp[46] = 6, 0x50
	udp := bytes.Clone(tcp[:14+20+8+10])
	copy(udp[16:], []byte{0, 38})
	udp[23], udp[39], udp[40] = 17, 18, 1
	f.Add([]byte("frame"), uint64(1), uint8(0), uint8(0), uint16(100), uint16(34), uint16(16))
	f.Add(tcp, uint64(2), uint8(1), uint8(1), uint16(1000), uint16(34), uint16(16))
	f.Add(udp, uint64(3), uint8(0), uint8(3), uint16(3), uint16(34), uint16(6))
	f.Fuzz(func(t *testing.T, frame []byte, seed uint64, flags, kind uint8, size, start, offset uint16) {
		for _, link := range []Link{LinkEthernet, LinkIP} {
			for _, mode := range []CorruptMode{CorruptDetectable, CorruptAny} {
				a, _, err := NewWire(WireConfig{Link: link, Ring: 1})
				if err != nil {
					t.Fatal(err)
				}
				d, err := newImpaired(a, Impairment{Seed: seed, Corrupt: 1, CorruptMode: mode, Duplicate: 0.5})
				if err != nil {
					t.Fatal(err)
				}
				before := bytes.Clone(frame)
				cut := min(len(frame), int(seed%64))
				n, err := d.Queues()[0].Write([]Frame{{Fragments: [][]byte{frame[:cut], frame[cut:]},
					Meta: Meta{Flags: MetaFlags(flags), GSO: GSO(kind), SegmentSize: size, ChecksumStart: start, ChecksumOffset: offset}}})
				if n != 1 || err != nil {
					t.Fatal(n, err)
				}
				if !bytes.Equal(frame, before) {
					t.Fatal("the borrowed frame was changed")
				}
				count := uint64(0)
				for {
					p, ok := d.line.pop(1 << 62)
					if !ok {
						break
					}
					count++
					if n := len(p.buf.Data); n == 0 || n > 1500+18+maxExtension {
						t.Fatalf("a frame of %d bytes", n)
					}
				}
				if s := d.Stats(); count != s.Written-s.TooLarge-s.QueueFull+s.Duplicated-s.HoldFull || s.Corrupted+s.Intact > s.Written {
					t.Fatalf("%d frames: %+v", count, s)
				}
			}
		}
	})
}
