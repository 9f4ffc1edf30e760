package netif

import "encoding/binary"

// EtherTypes and protocol numbers that steering and segmentation must tell apart.
const (
	etherHeaderLen = 14
	vlanTagLen     = 4

	etherTypeIPv4  = 0x0800
	etherTypeIPv6  = 0x86dd
	etherTypeVLAN  = 0x8100
	etherTypeQinQ  = 0x88a8
	protoTCP       = 6
	protoUDP       = 17
	ipv4HeaderLen  = 20
	ipv6HeaderLen  = 40
	fragmentBits   = 0x3fff // more-fragments flag and offset (RFC 791, section 3.1)
	maxSegmentable = 65535  // largest IP packet of a frame with a GSO type
)

// headerLen returns the length of the link header of a frame that begins with h.
func headerLen(link Link, h []byte) int {
	if link == LinkIP {
		return 0
	}
	if len(h) >= etherHeaderLen {
		if t := binary.BigEndian.Uint16(h[12:]); t == etherTypeVLAN || t == etherTypeQinQ {
			return etherHeaderLen + vlanTagLen
		}
	}
	return etherHeaderLen
}

// network returns the IP packet that begins in h and its version, or 0 when h
// holds none.
func network(link Link, h []byte) (packet []byte, version int) {
	n := headerLen(link, h)
	if len(h) <= n {
		return nil, 0
	}
	packet = h[n:]
	version = int(packet[0] >> 4)
	if link == LinkEthernet {
		switch binary.BigEndian.Uint16(h[n-2:]) {
		case etherTypeIPv4:
			if version != 4 {
				return nil, 0
			}
		case etherTypeIPv6:
			if version != 6 {
				return nil, 0
			}
		default:
			return nil, 0
		}
	}
	switch {
	case version == 4 && len(packet) >= ipv4HeaderLen:
		return packet, 4
	case version == 6 && len(packet) >= ipv6HeaderLen:
		return packet, 6
	}
	return nil, 0
}

// flowHash hashes the addresses, protocol and ports of a frame whose headers are
// in h, so that both directions of a flow get the same value, and so do all
// fragments of a datagram (by leaving out the ports of even the first). Whatever
// is not IP gets 0.
func flowHash(link Link, h []byte) uint32 {
	packet, version := network(link, h)
	var sum uint64
	var proto byte
	var ports []byte
	switch version {
	case 4:
		sum = uint64(binary.BigEndian.Uint32(packet[12:]) ^ binary.BigEndian.Uint32(packet[16:]))
		proto = packet[9]
		n := int(packet[0]&15) * 4
		if binary.BigEndian.Uint16(packet[6:])&fragmentBits == 0 && n >= ipv4HeaderLen && len(packet) >= n+4 {
			ports = packet[n:]
		}
	case 6:
		for i := 8; i < ipv6HeaderLen; i += 8 {
			sum ^= binary.BigEndian.Uint64(packet[i:])
		}
		proto = packet[6]
		if len(packet) >= ipv6HeaderLen+4 {
			ports = packet[ipv6HeaderLen:]
		}
	default:
		return 0
	}
	if ports != nil && (proto == protoTCP || proto == protoUDP) {
		sum ^= uint64(binary.BigEndian.Uint16(ports)^binary.BigEndian.Uint16(ports[2:])) << 32
	}
	// One round of a 64-bit finalizer: xor alone would put hosts and ports that
	// count upwards into lockstep.
	sum ^= uint64(proto) << 56
	sum *= 0x9e3779b97f4a7c15
	sum ^= sum >> 32
	sum *= 0xd6e8feb86659fd93
	return uint32(sum >> 32)
}
