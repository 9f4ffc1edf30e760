package packet

import "encoding/binary"

// ifreq is struct ifreq (netdevice(7)), with room for its largest member.
type ifreq struct {
	name [16]byte
	data [24]byte
}

func (r *ifreq) int32() int32   { return int32(binary.NativeEndian.Uint32(r.data[:])) }
func (r *ifreq) uint16() uint16 { return binary.NativeEndian.Uint16(r.data[:]) }

// htons returns v in the order of the network, as numbers in socket addresses are.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
