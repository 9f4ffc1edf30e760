package tap

import (
	"encoding/binary"

	"github.com/netduet/netduet/netif"
)

// DecodeVNet and EncodeVNet let the far end of a test speak the same header.

func DecodeVNet(h []byte, frameLen int) (netif.Meta, bool) {
	return decodeVNet(h, binary.NativeEndian, frameLen)
}

func EncodeVNet(h []byte, m *netif.Meta) { encodeVNet(h, binary.NativeEndian, m) }
