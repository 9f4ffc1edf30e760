package tcp

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// RFC 6528, section 3: numbers of one pair of ends rise with the clock, those of
// different pairs, or of different secrets, have nothing to do with each other.
func TestISS(t *testing.T) {
	s, err := NewSecret(bytes.NewReader(bytes.Repeat([]byte{1, 2, 3, 4}, 16)))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := NewSecret(bytes.NewReader(bytes.Repeat([]byte{9, 2, 3, 4}, 16)))
	a, b := netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:80")
	b2 := netip.MustParseAddrPort("10.0.0.2:81")
	now := clock.Time(time.Hour)
	iss := s.ISS(now, a, b)
	if got := s.ISS(now.Add(time.Second), a, b).Sub(iss); got < 240000 || got > 250000 {
		t.Errorf("%d numbers in a second", got)
	}
	seen := map[Seq]bool{iss: true}
	for _, n := range []Seq{s.ISS(now, b, a), s.ISS(now, a, b2), other.ISS(now, a, b)} {
		if seen[n] {
			t.Error("the same number for different pairs")
		}
		seen[n] = true
	}
	// Offsets of timestamps: one for each pair of hosts (RFC 7323, section 5.4).
	if s.TSOffset(a, b) != s.TSOffset(a, b2) || s.TSOffset(a, b) == s.TSOffset(b, a) || s.TSOffset(a, b) == other.TSOffset(a, b) {
		t.Error("offsets")
	}
	if _, err := NewSecret(strings.NewReader("short")); err == nil {
		t.Error("a secret from nothing")
	}
}

func TestSeq(t *testing.T) {
	for _, c := range []struct {
		a, b Seq
		less bool
	}{{1, 2, true}, {2, 1, false}, {1, 1, false}, {0xffffffff, 0, true}, {0, 0xffffffff, false}, {0x7fffffff, 0x80000000, true}} {
		if c.a.Less(c.b) != c.less || c.b.LessEq(c.a) == c.less || c.less != (c.b.Sub(c.a) > 0) {
			t.Errorf("%d < %d", c.a, c.b)
		}
		if c.a.Add(c.b.Sub(c.a)) != c.b || maxSeq(c.a, c.b) != maxSeq(c.b, c.a) || minSeq(c.a, c.b) == maxSeq(c.a, c.b) && c.a != c.b {
			t.Errorf("%d and %d", c.a, c.b)
		}
	}
	if !Seq(1).inRange(0xfffffff0, 2) || Seq(2).inRange(0xfffffff0, 2) || Seq(5).inRange(5, 5) {
		t.Error("inRange")
	}
}

func TestNames(t *testing.T) {
	if s := (SYN | ACK).String(); s != "S." {
		t.Error(s)
	}
	if s := (FIN | PSH | ACK | ECE).String(); s != "FPE." {
		t.Error(s)
	}
	if StateFinWait1.String() != "FIN-WAIT-1" || State(0).String() != "CLOSED" || State(99).String() != "CLOSED" {
		t.Error("names of states")
	}
}
