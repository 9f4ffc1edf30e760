package xen

import "github.com/netduet/netduet/netif/xen/ring"

// Slots of the two rings, in 32-bit words (xen/io/netif.h).
const (
	txWords = 3 // request: gref; offset, flags; id, size. response: id, status
	rxWords = 2 // request: id, pad; gref. response: id, offset; flags, status
)

// Flags. Bits 0 and 1 of the two directions are swapped.
const (
	txChecksumBlank = 1
	txValidated     = 2
	rxValidated     = 1
	rxChecksumBlank = 2
	flagMore        = 4 // the frame goes on in the next slot
	flagExtra       = 8 // extra information follows this, the first slot
)

// Extra information takes a slot of its own.
const (
	extraGSO         = 1
	extraMulticastOn = 2
	extraMulticastNo = 3
	extraMore        = 1 // in its flags: more extra information follows

	gsoTCP4 = 1
	gsoTCP6 = 2
)

// Response status of a transmission.
const (
	statusOK    = 0
	statusNull  = 1 // the slot held extra information
	statusError = -1
)

const (
	pageSize = ring.PageSize
	// maxSlots is what every back end takes for one frame, extra information not
	// counted (XEN_NETIF_NR_SLOTS_MIN).
	maxSlots = 18
	// maxExtras bounds the extra information of one frame: one of each kind there is.
	maxExtras = 5
	// maxWire is the largest frame: the first slot's size field has 16 bits and says
	// that of the whole.
	maxWire = 65535
)

type txRequest struct {
	ref                     uint32
	offset, flags, id, size uint16
}

func (r txRequest) slot() ring.Slot {
	return ring.Slot{r.ref, uint32(r.offset) | uint32(r.flags)<<16, uint32(r.id) | uint32(r.size)<<16}
}

func txRequestOf(s ring.Slot) txRequest {
	return txRequest{ref: s[0], offset: uint16(s[1]), flags: uint16(s[1] >> 16), id: uint16(s[2]), size: uint16(s[2] >> 16)}
}

func txResponse(id uint16, status int16) ring.Slot {
	return ring.Slot{uint32(id) | uint32(uint16(status))<<16}
}

func txResponseOf(s ring.Slot) (id uint16, status int16) { return uint16(s[0]), int16(s[0] >> 16) }

func rxRequest(id uint16, ref uint32) ring.Slot { return ring.Slot{uint32(id), ref} }

func rxRequestOf(s ring.Slot) (id uint16, ref uint32) { return uint16(s[0]), s[1] }

type rxResponse struct {
	id, offset, flags uint16
	status            int16 // bytes, or an error
}

func (r rxResponse) slot() ring.Slot {
	return ring.Slot{uint32(r.id) | uint32(r.offset)<<16, uint32(r.flags) | uint32(uint16(r.status))<<16}
}

func rxResponseOf(s ring.Slot) rxResponse {
	return rxResponse{id: uint16(s[0]), offset: uint16(s[0] >> 16), flags: uint16(s[1]), status: int16(s[1] >> 16)}
}

// extra is a slot of extra information.
type extra struct {
	kind, flags byte
	size        uint16 // GSO: payload of each segment
	gso         byte
	addr        [6]byte // multicast
}

func (e extra) slot() ring.Slot {
	return ring.Slot{uint32(e.kind) | uint32(e.flags)<<8 | uint32(e.size)<<16, uint32(e.gso)}
}

func extraOf(s ring.Slot) extra {
	return extra{
		kind: byte(s[0]), flags: byte(s[0] >> 8), size: uint16(s[0] >> 16), gso: byte(s[1]),
		addr: [6]byte{byte(s[0] >> 16), byte(s[0] >> 24), byte(s[1]), byte(s[1] >> 8), byte(s[1] >> 16), byte(s[1] >> 24)},
	}
}

// pages returns how many pages n bytes take.
func pages(n int) int { return (n + pageSize - 1) / pageSize }
