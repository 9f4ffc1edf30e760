package packet

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"

	"github.com/netduet/netduet/netif"
)

// Offsets in a frame as the filter sees it: the kernel has taken a tag out.
const (
	offType    = 12
	offIPv4Dst = etherLen + 16
	offIPv6Dst = etherLen + 24
)

const (
	outgoing = 4       // PACKET_OUTGOING, linux/if_packet.h
	whole    = 1 << 18 // more bytes than any frame has
)

// filter returns the program that lets a frame through if it is for mac or a group
// and, where addrs are given, is not a unicast frame with an IP packet for anybody
// else. Frames that go out are never let through.
//
// Jumps are relative and reach 255 instructions, so each address is tested by a
// piece that ends in its own verdict.
func filter(mac netif.MAC, addrs []netip.Addr) []bpf.Instruction {
	high, low := binary.BigEndian.Uint16(mac[:]), binary.BigEndian.Uint32(mac[2:])
	accept, refuse := bpf.RetConstant{Val: whole}, bpf.RetConstant{Val: 0}
	p := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: outgoing, SkipTrue: 1},
		refuse,
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 1, SkipTrue: 1},
		accept, // a group
		bpf.LoadAbsolute{Off: 2, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: low, SkipTrue: 1},
		refuse,
		bpf.LoadAbsolute{Off: 0, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(high), SkipTrue: 1},
		refuse,
	}
	if len(addrs) == 0 {
		return append(p, accept)
	}
	var v4, v6 []bpf.Instruction
	for _, a := range addrs {
		if a.Is4() {
			b := a.As4()
			v4 = append(v4,
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(b[:]), SkipTrue: 1},
				accept)
			continue
		}
		b := a.As16()
		for i := range 4 {
			v6 = append(v6,
				bpf.LoadAbsolute{Off: offIPv6Dst + 4*uint32(i), Size: 4},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(b[4*i:]), SkipTrue: uint8(7 - 2*i)})
		}
		v6 = append(v6, accept)
	}
	p = append(p,
		bpf.LoadAbsolute{Off: offType, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x86dd, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0800, SkipTrue: 2},
		accept,                              // ARP and what else there is
		bpf.Jump{Skip: uint32(len(v4) + 2)}) // to IPv6
	p = append(p, bpf.LoadAbsolute{Off: offIPv4Dst, Size: 4})
	p = append(append(p, v4...), refuse)
	return append(append(p, v6...), refuse)
}
