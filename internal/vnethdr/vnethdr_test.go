package vnethdr

import (
	"encoding/binary"
	"testing"

	"github.com/netduet/netduet/netif"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte{1, 1, 54, 0, 168, 5, 34, 0, 16, 0}, 1514)
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 60)
	f.Fuzz(func(t *testing.T, h []byte, frameLen int) {
		if len(h) < Len || frameLen < 0 || frameLen > 1<<17 {
			return
		}
		m, ok := Decode(h[:Len], binary.LittleEndian, frameLen)
		if !ok {
			return
		}
		if m.Flags&netif.NeedsChecksum != 0 && int(m.ChecksumStart)+int(m.ChecksumOffset)+2 > frameLen {
			t.Fatalf("checksum outside the frame: %+v", m)
		}
		if m.GSO != netif.GSONone && (m.SegmentSize == 0 || int(m.HeaderLen) > frameLen) {
			t.Fatalf("segments that cannot be cut: %+v", m)
		}
		again := make([]byte, Len)
		Encode(again, binary.LittleEndian, &m)
		m2, ok := Decode(again, binary.LittleEndian, frameLen)
		if m.Flags&netif.ChecksumValid != 0 {
			m.Flags &^= netif.ChecksumValid // a sender has no use for it
		}
		if !ok || m2 != m {
			t.Fatalf("%+v became %+v, %v", m, m2, ok)
		}
	})
}
