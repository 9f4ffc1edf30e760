package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/netduet/netduet/conformance/script"
)

// Decoded is a packet off the wire.
type Decoded struct {
	Tuple
	// Packet has every field said, in the numbers of the wire; its direction is
	// Outbound.
	Packet *script.Packet
	// Inner is the tuple of the packet inside an ICMP error.
	Inner Tuple
}

// ErrOther is returned for packets that no script speaks of: other protocols,
// fragments, neighbour discovery.
var ErrOther = errors.New("not a packet of TCP, UDP or ICMP")

// Decode reads one IP packet. With partial set, the transport checksum was left to
// hardware and is not looked at.
func Decode(b []byte, partial bool) (*Decoded, error) {
	if len(b) < 1 {
		return nil, errors.New("an empty packet")
	}
	d := &Decoded{Packet: &script.Packet{Dir: script.Outbound, IP: script.Unsaid()}}
	proto, body, err := decodeIP(b, d, true)
	if err != nil {
		return nil, err
	}
	src, dst := d.Src.Addr(), d.Dst.Addr()
	sum := func(p byte) error {
		s := uint32(0)
		if p != protoICMP {
			s = pseudo(d.Tuple, p, len(body))
		}
		if !partial && checksum(s, body) != 0 {
			return errors.New("a wrong checksum")
		}
		return nil
	}
	switch proto {
	case protoTCP:
		if len(body) < 20 {
			return nil, fmt.Errorf("%d bytes for a TCP header", len(body))
		}
		d.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(body))
		d.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(body[2:]))
		if err := sum(protoTCP); err != nil {
			return d, err
		}
		if d.Packet.TCP, err = decodeTCP(body); err != nil {
			return d, err
		}
	case protoUDP:
		if len(body) < 8 || int(binary.BigEndian.Uint16(body[4:])) != len(body) {
			return nil, errors.New("a UDP length that is not the packet's")
		}
		d.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(body))
		d.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(body[2:]))
		if binary.BigEndian.Uint16(body[6:]) != 0 {
			if err := sum(protoUDP); err != nil {
				return d, err
			}
		}
		d.Packet.UDP = &script.UDP{Len: len(body) - 8}
	case protoICMP, protoICMPv6:
		if len(body) < 8 {
			return nil, fmt.Errorf("%d bytes for an ICMP header", len(body))
		}
		partial = false
		if err := sum(proto); err != nil {
			return d, err
		}
		return d, d.decodeICMP(body, proto == protoICMPv6)
	default:
		return nil, ErrOther
	}
	return d, nil
}

// decodeIP reads the IP header. whole says that the packet is, and must be, complete.
func decodeIP(b []byte, d *Decoded, whole bool) (proto byte, body []byte, err error) {
	tos := 0
	switch b[0] >> 4 {
	case 4:
		n := int(b[0]&15) * 4
		if len(b) < 20 || n < 20 || len(b) < n {
			return 0, nil, errors.New("a short IPv4 header")
		}
		if whole && (int(binary.BigEndian.Uint16(b[2:])) != len(b) || checksum(0, b[:n]) != 0) {
			return 0, nil, errors.New("a wrong IPv4 length or checksum")
		}
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return 0, nil, ErrOther
		}
		src, _ := netip.AddrFromSlice(b[12:16])
		dst, _ := netip.AddrFromSlice(b[16:20])
		d.Tuple = Tuple{netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)}
		tos, d.Packet.IP.TTL = int(b[1]), int(b[8])
		proto, body = b[9], b[n:]
	case 6:
		if len(b) < 40 {
			return 0, nil, errors.New("a short IPv6 header")
		}
		if whole && int(binary.BigEndian.Uint16(b[4:]))+40 != len(b) {
			return 0, nil, errors.New("a wrong IPv6 length")
		}
		src, _ := netip.AddrFromSlice(b[8:24])
		dst, _ := netip.AddrFromSlice(b[24:40])
		d.Tuple = Tuple{netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)}
		word := binary.BigEndian.Uint32(b)
		tos, d.Packet.IP.TTL, d.Packet.IP.FlowLabel = int(word>>20&0xff), int(b[7]), int(word&0xfffff)
		proto, body = b[6], b[40:]
	default:
		return 0, nil, fmt.Errorf("IP version %d", b[0]>>4)
	}
	d.Packet.IP.TOS = tos
	d.Packet.IP.ECN = [...]script.ECN{script.NoECN, script.ECT1, script.ECT0, script.CE}[tos&3]
	return proto, body, nil
}

func decodeTCP(b []byte) (*script.TCP, error) {
	n := int(b[12]>>4) * 4
	if n < 20 || n > len(b) {
		return nil, fmt.Errorf("a TCP header of %d bytes in %d", n, len(b))
	}
	k := &script.TCP{
		Flags: script.Flags(binary.BigEndian.Uint16(b[12:]) & 0x1ff),
		Seq:   binary.BigEndian.Uint32(b[4:]),
		Len:   len(b) - n,
		Win:   int(binary.BigEndian.Uint16(b[14:])),
		Urg:   -1,
	}
	if k.Flags&script.ACK != 0 {
		k.Ack = binary.BigEndian.Uint32(b[8:])
	}
	if k.Flags&script.URG != 0 {
		k.Urg = int(binary.BigEndian.Uint16(b[18:]))
	}
	k.End = k.Seq + uint32(k.Len)
	for o := b[20:n]; len(o) > 0; {
		size := 1
		if o[0] != kindEOL && o[0] != kindNOP {
			if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
				return k, fmt.Errorf("the TCP option %d has no valid length", o[0])
			}
			size = int(o[1])
		}
		opt, err := decodeOption(o[:size])
		if err != nil {
			return k, err
		}
		k.Opts = append(k.Opts, opt)
		if o[0] == kindEOL {
			break // what follows is padding
		}
		o = o[size:]
	}
	return k, nil
}

func decodeOption(b []byte) (o script.TCPOption, err error) {
	want := -1
	switch b[0] {
	case kindEOL:
		return script.TCPOption{Kind: script.OptEOL}, nil
	case kindNOP:
		return script.TCPOption{Kind: script.OptNOP}, nil
	case kindMSS:
		want = 4
	case kindWScale:
		want = 3
	case kindSACKOK:
		want = 2
	case kindTS:
		want = 10
	}
	if want >= 0 && len(b) != want {
		return o, fmt.Errorf("the TCP option %d has %d bytes instead of %d", b[0], len(b), want)
	}
	data := b[2:]
	switch b[0] {
	case kindMSS:
		return script.TCPOption{Kind: script.OptMSS, Num: uint32(binary.BigEndian.Uint16(data))}, nil
	case kindWScale:
		return script.TCPOption{Kind: script.OptWScale, Num: uint32(data[0])}, nil
	case kindSACKOK:
		return script.TCPOption{Kind: script.OptSACKOK}, nil
	case kindSACK:
		if len(data) == 0 || len(data)%8 != 0 {
			return o, fmt.Errorf("a SACK option of %d bytes", len(b))
		}
		o.Kind = script.OptSACK
		for ; len(data) > 0; data = data[8:] {
			o.Blocks = append(o.Blocks, script.Block{Left: binary.BigEndian.Uint32(data), Right: binary.BigEndian.Uint32(data[4:])})
		}
		return o, nil
	case kindTS:
		return script.TCPOption{Kind: script.OptTS, Val: binary.BigEndian.Uint32(data), Ecr: binary.BigEndian.Uint32(data[4:])}, nil
	case kindFO:
		return script.TCPOption{Kind: script.OptFO, Data: keep(data)}, nil
	case kindMD5:
		return script.TCPOption{Kind: script.OptMD5, Data: keep(data)}, nil
	case kindExp:
		if len(data) >= 2 && binary.BigEndian.Uint16(data) == magicFO {
			return script.TCPOption{Kind: script.OptFOExp, Data: keep(data[2:])}, nil
		}
	case kindAccECN0, kindAccECN1:
		if len(data)%3 != 0 || len(data) > 9 {
			return o, fmt.Errorf("an AccECN option of %d bytes", len(b))
		}
		o.Kind = script.OptAccECN
		for i, name := range accECNOrder(b[0]) {
			if len(data) < 3*i+3 {
				break
			}
			o.Counters = append(o.Counters, script.Counter{Name: name, Value: uint32(data[3*i])<<16 | uint32(data[3*i+1])<<8 | uint32(data[3*i+2])})
		}
		return o, nil
	}
	return script.TCPOption{Kind: script.OptOther, Num: uint32(b[0]), Data: keep(data)}, nil
}

func keep(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

func (d *Decoded) decodeICMP(b []byte, v6 bool) error {
	typ, code, ok := script.ICMPNames(v6, b[0], b[1])
	if !ok {
		d.Packet = nil
		return ErrOther
	}
	m := &script.ICMP{V6: v6, Type: typ, Code: code, MTU: -1}
	d.Packet.ICMP = m
	switch {
	case v6 && typ == "packet_too_big":
		m.MTU = int(binary.BigEndian.Uint32(b[4:]))
	case !v6 && code == "frag_needed":
		m.MTU = int(binary.BigEndian.Uint16(b[6:]))
	}
	if typ == "echo_request" || typ == "echo_reply" || len(b) == 8 {
		return nil
	}
	in := &Decoded{Packet: &script.Packet{IP: script.Unsaid()}}
	proto, body, err := decodeIP(b[8:], in, false)
	if err != nil || len(body) < 8 {
		return nil // an error about something else
	}
	length := int(binary.BigEndian.Uint16(b[8+2:])) - (len(b) - 8 - len(body))
	if v6 {
		length = int(binary.BigEndian.Uint16(b[8+4:]))
	}
	d.Inner = Tuple{netip.AddrPortFrom(in.Src.Addr(), binary.BigEndian.Uint16(body)), netip.AddrPortFrom(in.Dst.Addr(), binary.BigEndian.Uint16(body[2:]))}
	switch proto {
	case protoTCP:
		e := &script.Echo{Seq: binary.BigEndian.Uint32(body[4:])}
		if len(body) > 12 {
			e.Len = max(0, length-int(body[12]>>4)*4)
		}
		e.End = e.Seq + uint32(e.Len)
		m.Echo = e
	case protoUDP:
		m.Echo = &script.Echo{UDP: true, Len: max(0, length-8)}
	}
	return nil
}
