package tcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/netduet/netduet/internal/siphash"
)

// FastOption says in which form a segment has the Fast Open option.
type FastOption uint8

const (
	FastOpenNone FastOption = iota
	// FastOpenStandard is kind 34 (RFC 7413, section 4.1.1).
	FastOpenStandard
	// FastOpenExperimental is kind 254 with the number 0xF989 (RFC 6994), as
	// implementations had it before the RFC.
	FastOpenExperimental
)

// Lengths of a cookie (RFC 7413, section 4.1.1); an empty one asks for one.
const (
	minCookie = 4
	maxCookie = 16
)

// FastCookie is a Fast Open cookie. The zero value is the empty one.
type FastCookie struct {
	b [maxCookie]byte
	n uint8
}

// MakeFastCookie returns the cookie b. It is not ok if b has a length that no cookie has:
// 4 to 16 bytes, an even number.
func MakeFastCookie(b []byte) (cookie FastCookie, ok bool) {
	if len(b) < minCookie || len(b) > maxCookie || len(b)%2 != 0 {
		return FastCookie{}, false
	}
	cookie.n = uint8(copy(cookie.b[:], b))
	return cookie, true
}

// Bytes returns the cookie's bytes, which stay the cookie's.
func (k *FastCookie) Bytes() []byte { return k.b[:k.n] }

// Len returns the cookie's length.
func (k FastCookie) Len() int { return int(k.n) }

// Cookie returns the cookie of the Fast Open option; the empty one if there is no
// option, or if it asks for a cookie.
func (o *Options) Cookie() (k FastCookie) {
	if o.FastOpen == FastOpenNone {
		return k
	}
	k.n = o.cookieLen
	for i := range maxCookie / 8 {
		binary.BigEndian.PutUint32(k.b[8*i:], uint32(o.SACK[i].Left))
		binary.BigEndian.PutUint32(k.b[8*i+4:], uint32(o.SACK[i].Right))
	}
	clear(k.b[k.n:])
	return k
}

// SetFastOpen gives a SYN's options a Fast Open option.
func (o *Options) SetFastOpen(form FastOption, k FastCookie) {
	if form == FastOpenNone {
		return
	}
	o.FastOpen, o.cookieLen = form, k.n
	for i := range maxCookie / 8 {
		o.SACK[i] = SACKBlock{Seq(binary.BigEndian.Uint32(k.b[8*i:])), Seq(binary.BigEndian.Uint32(k.b[8*i+4:]))}
	}
}

// parseCookie takes a Fast Open option with the cookie v. One whose length is no
// cookie's counts as absent.
func (o *Options) parseCookie(form FastOption, v []byte) {
	k, ok := MakeFastCookie(v)
	if !ok && len(v) > 0 {
		return
	}
	o.SetFastOpen(form, k)
}

func (o *Options) appendCookie(b []byte) []byte {
	k := o.Cookie()
	end := len(b) + (int(k.n)+2+3)&^3
	if o.FastOpen == FastOpenExperimental {
		end = len(b) + (int(k.n)+4+3)&^3
		b = append(b, optExp, 4+k.n, magicFastOpen>>8, magicFastOpen&0xff)
	} else {
		b = append(b, optFastOpen, 2+k.n)
	}
	b = append(b, k.b[:k.n]...)
	for len(b) < end {
		b = append(b, optNOP)
	}
	return b
}

// FastOpenKey is the secret that cookies are made with. Servers that share an address
// share it (RFC 7413, section 6.3.4), Linux's with ours if they like: the cookies are the
// same.
type FastOpenKey [16]byte

// cookieLength is that of our cookies, Linux's.
const cookieLength = 8

// Cookie returns the cookie of a client for a server: a keyed hash of both addresses,
// as far as it goes unpredictable to anybody without the key (RFC 7413, section 4.1.2).
func (k *FastOpenKey) Cookie(server, client netip.Addr) (cookie FastCookie) {
	key := siphash.Key{K0: binary.LittleEndian.Uint64(k[:8]), K1: binary.LittleEndian.Uint64(k[8:])}
	var b [32]byte
	n := copy(b[:], client.AsSlice())
	n += copy(b[n:], server.AsSlice())
	binary.LittleEndian.PutUint64(cookie.b[:], key.Sum64(b[:n]))
	cookie.n = cookieLength
	return cookie
}

// ParseFastOpenKeys reads keys as the sysctl tcp_fastopen_key has them: four groups of
// hexadecimal digits joined by dashes for one, a comma between two.
func ParseFastOpenKeys(s string) ([]FastOpenKey, error) {
	var keys []FastOpenKey
	for _, one := range strings.Split(strings.TrimSpace(s), ",") {
		var k FastOpenKey
		groups := strings.Split(one, "-")
		if len(groups) != 4 || len(keys) == maxFastOpenKeys {
			return nil, fmt.Errorf("tcp: Fast Open keys %q: give one or two of the form 01234567-89abcdef-01234567-89abcdef, with a comma between", s)
		}
		for i, g := range groups {
			n, err := strconv.ParseUint(g, 16, 32)
			if err != nil {
				return nil, fmt.Errorf("tcp: Fast Open keys %q: %q is no hexadecimal number of 32 bits", s, g)
			}
			binary.LittleEndian.PutUint32(k[4*i:], uint32(n))
		}
		keys = append(keys, k)
	}
	return keys, nil
}

const maxFastOpenKeys = 2
