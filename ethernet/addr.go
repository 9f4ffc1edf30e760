package ethernet

import (
	"errors"
	"fmt"
	"net/netip"
)

// Addr is a 48-bit hardware address (IEEE 802). The zero value is no station's
// address and means "unknown".
type Addr [6]byte

// Broadcast is the address of every station on the link.
func Broadcast() Addr { return Addr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// IsZero reports whether a is the zero address.
func (a Addr) IsZero() bool { return a == Addr{} }

// IsBroadcast reports whether a is the broadcast address.
func (a Addr) IsBroadcast() bool { return a == Broadcast() }

// IsMulticast reports whether a is a group address; the broadcast address is one.
func (a Addr) IsMulticast() bool { return a[0]&1 != 0 }

// IsUnicast reports whether a can be the address of one station: neither a group
// address nor zero. A frame whose source is anything else is bogus (IEEE 802.3,
// 3.2.3).
func (a Addr) IsUnicast() bool { return a[0]&1 == 0 && a != Addr{} }

// IsLocal reports whether a is locally administered, not from a vendor's range.
func (a Addr) IsLocal() bool { return a[0]&2 != 0 }

// String returns the form 02:00:5e:10:00:ff.
func (a Addr) String() string {
	b, _ := a.AppendText(make([]byte, 0, 17))
	return string(b)
}

// AppendText appends what String returns; it implements
// [encoding.TextAppender].
func (a Addr) AppendText(b []byte) ([]byte, error) {
	const hex = "0123456789abcdef"
	for i, v := range a {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hex[v>>4], hex[v&15])
	}
	return b, nil
}

// MarshalText implements [encoding.TextMarshaler].
func (a Addr) MarshalText() ([]byte, error) { return a.AppendText(nil) }

// UnmarshalText implements [encoding.TextUnmarshaler] by ParseAddr.
func (a *Addr) UnmarshalText(b []byte) error {
	p, err := ParseAddr(string(b))
	if err == nil {
		*a = p
	}
	return err
}

var errAddr = errors.New("want six pairs of hexadecimal digits, as in 02:00:5e:10:00:ff")

// ParseAddr reads six pairs of hexadecimal digits separated by colons or by
// hyphens, one kind throughout.
func ParseAddr(s string) (a Addr, err error) {
	if len(s) != 17 || s[2] != ':' && s[2] != '-' {
		return Addr{}, fmt.Errorf("hardware address %q: %w", s, errAddr)
	}
	for i := range a {
		hi, ok1 := unhex(s[3*i])
		lo, ok2 := unhex(s[3*i+1])
		if !ok1 || !ok2 || i < 5 && s[3*i+2] != s[2] {
			return Addr{}, fmt.Errorf("hardware address %q: %w", s, errAddr)
		}
		a[i] = hi<<4 | lo
	}
	return a, nil
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Multicast returns the group address that frames to the IP multicast address ip
// go to: RFC 1112, section 6.4 for IPv4 (23 bits of the group survive, so 32 groups
// share an address), RFC 2464, section 7 for IPv6. ok is false when ip is not
// multicast.
func Multicast(ip netip.Addr) (a Addr, ok bool) {
	if !ip.IsMulticast() || ip.Is4In6() {
		return Addr{}, false
	}
	if ip.Is4() {
		b := ip.As4()
		return Addr{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}, true
	}
	b := ip.As16()
	return Addr{0x33, 0x33, b[12], b[13], b[14], b[15]}, true
}
