package netif

import (
	"testing"

	"github.com/netduet/netduet/internal/checksum"
)

// Marking changes the codepoint of capable packets only, and keeps the header's
// checksum right (RFC 3168, section 5; RFC 1624).
func TestMarkCongestion(t *testing.T) {
	for tos := range 256 {
		p := []byte{0x45, byte(tos), 0, 20, 1, 2, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, byte(tos)}
		sum := checksum.Sum(p, 0).Checksum()
		p[10], p[11] = byte(sum>>8), byte(sum)
		want := byte(tos)
		capable := tos&3 == 1 || tos&3 == 2
		if capable {
			want |= 3
		}
		if got := markCongestion(p); got != capable || p[1] != want {
			t.Errorf("TOS %#x: marked %v, now %#x", tos, got, p[1])
		}
		if checksum.Sum(p, 0).Fold() != checksum.Valid {
			t.Errorf("TOS %#x: the checksum is wrong", tos)
		}
	}
	p := make([]byte, 40)
	p[0], p[1] = 0x60, 0x20
	if !markCongestion(p) || p[1] != 0x30 || markCongestion(p) || markCongestion(p[:10]) {
		t.Error("IPv6")
	}
}
