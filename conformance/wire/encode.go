package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/netduet/netduet/conformance/script"
)

// Protocol numbers (IANA).
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// TCP option kinds (IANA, RFC 9293 section 3.1 and the RFC of each).
const (
	kindEOL     = 0
	kindNOP     = 1
	kindMSS     = 2
	kindWScale  = 3
	kindSACKOK  = 4
	kindSACK    = 5
	kindTS      = 8
	kindMD5     = 19
	kindFO      = 34
	kindAccECN0 = 172
	kindAccECN1 = 174
	kindExp     = 254
	magicFO     = 0xF989 // RFC 7413, appendix A
)

// Tuple is the pair of addresses a packet goes between.
type Tuple struct{ Src, Dst netip.AddrPort }

// Reverse is the tuple of the answer.
func (t Tuple) Reverse() Tuple { return Tuple{t.Dst, t.Src} }

// Encode builds the IP packet that p describes, from t.Src to t.Dst. What the script
// leaves unsaid is zero, with a TTL of 255. The payload's bytes are zero. For an ICMP
// error, t is the error's own tuple, and the packet in it goes the other way.
func Encode(p *script.Packet, t Tuple) ([]byte, error) {
	var body []byte
	var err error
	proto := byte(protoTCP)
	v6 := t.Src.Addr().Is6()
	switch {
	case p.TCP != nil:
		body, err = encodeTCP(p.TCP, t)
	case p.UDP != nil:
		proto = protoUDP
		body = encodeUDP(p.UDP, t)
	case p.ICMP != nil:
		proto = protoICMP
		if v6 {
			proto = protoICMPv6
		}
		if p.ICMP.V6 != v6 {
			return nil, errors.New("ICMP and ICMPv6 go with IPv4 and IPv6")
		}
		body, err = encodeICMP(p.ICMP, t)
	default:
		return nil, errors.New("a packet of no protocol")
	}
	if err != nil {
		return nil, err
	}
	return encodeIP(p.IP, t, proto, body)
}

func encodeIP(info script.IPInfo, t Tuple, proto byte, body []byte) ([]byte, error) {
	tos := byte(0)
	if info.TOS >= 0 {
		tos = byte(info.TOS)
	}
	switch info.ECN {
	case script.NoECN:
		tos &^= 3
	case script.ECT1:
		tos = tos&^3 | 1
	case script.ECT0:
		tos = tos&^3 | 2
	case script.CE:
		tos |= 3
	}
	ttl := byte(255)
	if info.TTL >= 0 {
		ttl = byte(info.TTL)
	}
	if t.Src.Addr().Is4() {
		if len(body)+20 > 65535 {
			return nil, fmt.Errorf("%d bytes do not fit an IPv4 packet", len(body))
		}
		h := make([]byte, 20, 20+len(body))
		h[0], h[1] = 0x45, tos
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(body)))
		binary.BigEndian.PutUint16(h[6:], 0x4000) // DF
		h[8], h[9] = ttl, proto
		copy(h[12:], t.Src.Addr().AsSlice())
		copy(h[16:], t.Dst.Addr().AsSlice())
		binary.BigEndian.PutUint16(h[10:], checksum(0, h))
		return append(h, body...), nil
	}
	if len(body) > 65535 {
		return nil, fmt.Errorf("%d bytes do not fit an IPv6 packet", len(body))
	}
	h := make([]byte, 40, 40+len(body))
	word := uint32(6)<<28 | uint32(tos)<<20
	if info.FlowLabel >= 0 {
		word |= uint32(info.FlowLabel)
	}
	binary.BigEndian.PutUint32(h, word)
	binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
	h[6], h[7] = proto, ttl
	copy(h[8:], t.Src.Addr().AsSlice())
	copy(h[24:], t.Dst.Addr().AsSlice())
	return append(h, body...), nil
}

func encodeTCP(k *script.TCP, t Tuple) ([]byte, error) {
	var opts []byte
	for _, o := range k.Opts {
		b, err := encodeOption(o)
		if err != nil {
			return nil, err
		}
		opts = append(opts, b...)
	}
	for len(opts)%4 != 0 {
		opts = append(opts, kindEOL)
	}
	if len(opts) > 40 {
		return nil, fmt.Errorf("%d bytes of options: a header holds 40", len(opts))
	}
	n := 20 + len(opts)
	h := make([]byte, n+k.Len)
	binary.BigEndian.PutUint16(h, t.Src.Port())
	binary.BigEndian.PutUint16(h[2:], t.Dst.Port())
	binary.BigEndian.PutUint32(h[4:], k.Seq)
	if k.Flags&script.ACK != 0 {
		binary.BigEndian.PutUint32(h[8:], k.Ack)
	}
	binary.BigEndian.PutUint16(h[12:], uint16(n/4)<<12|uint16(k.Flags)&0x1ff)
	if k.Win >= 0 {
		binary.BigEndian.PutUint16(h[14:], uint16(k.Win))
	}
	if k.Urg >= 0 {
		binary.BigEndian.PutUint16(h[18:], uint16(k.Urg))
	}
	copy(h[20:], opts)
	binary.BigEndian.PutUint16(h[16:], checksum(pseudo(t, protoTCP, len(h)), h))
	return h, nil
}

func encodeOption(o script.TCPOption) ([]byte, error) {
	u32 := binary.BigEndian.AppendUint32
	switch o.Kind {
	case script.OptEOL:
		return []byte{kindEOL}, nil
	case script.OptNOP:
		return []byte{kindNOP}, nil
	case script.OptMSS:
		return []byte{kindMSS, 4, byte(o.Num >> 8), byte(o.Num)}, nil
	case script.OptWScale:
		return []byte{kindWScale, 3, byte(o.Num)}, nil
	case script.OptSACKOK:
		return []byte{kindSACKOK, 2}, nil
	case script.OptSACK:
		b := []byte{kindSACK, byte(2 + 8*len(o.Blocks))}
		for _, k := range o.Blocks {
			b = u32(u32(b, k.Left), k.Right)
		}
		return b, nil
	case script.OptTS:
		return u32(u32([]byte{kindTS, 10}, o.Val), o.Ecr), nil
	case script.OptFO:
		return append([]byte{kindFO, byte(2 + len(o.Data))}, o.Data...), nil
	case script.OptFOExp:
		return append([]byte{kindExp, byte(4 + len(o.Data)), magicFO >> 8, magicFO & 0xff}, o.Data...), nil
	case script.OptMD5:
		return append([]byte{kindMD5, byte(2 + len(o.Data))}, o.Data...), nil
	case script.OptAccECN:
		return encodeAccECN(o)
	}
	return append([]byte{byte(o.Num), byte(2 + len(o.Data))}, o.Data...), nil
}

// accECNOrder is the order of the counters in the two kinds (RFC 9768, section
// 3.2.3).
func accECNOrder(kind byte) [3]string {
	if kind == kindAccECN0 {
		return [3]string{"e0b", "ceb", "e1b"}
	}
	return [3]string{"e1b", "ceb", "e0b"}
}

func encodeAccECN(o script.TCPOption) ([]byte, error) {
	kind := byte(kindAccECN0)
	if len(o.Counters) > 0 && o.Counters[0].Name == "e1b" {
		kind = kindAccECN1
	}
	b := []byte{kind, byte(2 + 3*len(o.Counters))}
	order := accECNOrder(kind)
	for i, c := range o.Counters {
		if i >= 3 || c.Name != order[i] {
			return nil, errors.New("the counters of ECN come as e0b ceb e1b or as e1b ceb e0b")
		}
		b = append(b, byte(c.Value>>16), byte(c.Value>>8), byte(c.Value))
	}
	return b, nil
}

func encodeUDP(u *script.UDP, t Tuple) []byte {
	h := make([]byte, 8+u.Len)
	binary.BigEndian.PutUint16(h, t.Src.Port())
	binary.BigEndian.PutUint16(h[2:], t.Dst.Port())
	binary.BigEndian.PutUint16(h[4:], uint16(len(h)))
	c := checksum(pseudo(t, protoUDP, len(h)), h)
	if c == 0 {
		c = 0xffff // RFC 768: zero would say that there is none
	}
	binary.BigEndian.PutUint16(h[6:], c)
	return h
}

// echoed is how much of a packet's payload an ICMP error carries here: the headers
// are what matters, and the full length stands in the IP header.
const echoed = 8

func encodeICMP(m *script.ICMP, t Tuple) ([]byte, error) {
	typ, ok1 := script.ICMPType(m.V6, m.Type)
	code, ok2 := script.ICMPCode(m.V6, m.Type, m.Code)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("no ICMP message %s %s", m.Type, m.Code)
	}
	b := make([]byte, 8)
	b[0], b[1] = typ, code
	if m.MTU >= 0 {
		if m.V6 {
			binary.BigEndian.PutUint32(b[4:], uint32(m.MTU)) // RFC 4443, section 3.2
		} else {
			binary.BigEndian.PutUint16(b[6:], uint16(m.MTU)) // RFC 1191, section 4
		}
	}
	if e := m.Echo; e != nil {
		in := t.Reverse()
		var body []byte
		proto := byte(protoTCP)
		if e.UDP {
			proto = protoUDP
			body = encodeUDP(&script.UDP{Len: e.Len}, in)
		} else {
			var err error
			body, err = encodeTCP(&script.TCP{Flags: script.ACK, Seq: e.Seq, Len: e.Len, Win: -1, Urg: -1}, in)
			if err != nil {
				return nil, err
			}
		}
		inner, err := encodeIP(script.Unsaid(), in, proto, body)
		if err != nil {
			return nil, err
		}
		if keep := len(inner) - len(body) + 20 + echoed; len(inner) > keep {
			inner = inner[:keep]
		}
		b = append(b, inner...)
	}
	sum := uint32(0)
	if m.V6 {
		sum = pseudo(t, protoICMPv6, len(b))
	}
	binary.BigEndian.PutUint16(b[2:], checksum(sum, b))
	return b, nil
}

// pseudo sums the pseudo header (RFC 9293, section 3.1; RFC 8200, section 8.1).
func pseudo(t Tuple, proto byte, length int) uint32 {
	sum := add(add(0, t.Src.Addr().AsSlice()), t.Dst.Addr().AsSlice())
	return sum + uint32(proto) + uint32(length>>16) + uint32(length&0xffff)
}

func add(sum uint32, b []byte) uint32 {
	for len(b) >= 2 {
		sum += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
		sum = sum>>16 + sum&0xffff
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// checksum is the Internet checksum of RFC 1071, continued from sum.
func checksum(sum uint32, b []byte) uint16 {
	sum = add(sum, b)
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
