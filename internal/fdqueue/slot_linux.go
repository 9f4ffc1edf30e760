package fdqueue

import (
	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif"
)

// Budget is how many bytes of frames one Receive takes about: enough large ones to
// make the work around a batch small, few enough that what was read is still in
// the cache when it is parsed.
const Budget = 256 << 10

// maxFrame is the largest frame with a GSO type: an IP packet of the largest size
// behind an Ethernet header with a tag.
const maxFrame = 65535 + 14 + 4

// Pools are what a device's queues read into. Frames that fit the MTU get a small
// buffer, larger ones a slab.
type Pools struct {
	small *netif.Pool
	slab  *netif.Pool // nil if there cannot be large frames
}

// NewPools makes the pools of a device with so many queues, whose plain frames are
// of at most size bytes, the header of the driver's included, which is of header
// bytes. With large there are frames with a GSO type as well.
func NewPools(header, size, queues int, large bool) *Pools {
	// One byte more than the largest frame: a read that fills the buffer was cut.
	round := func(n int) int { return (n + 1 + 511) &^ 511 }
	small, slab := round(size), round(header+maxFrame)
	if large && small >= slab {
		large, small = false, slab
	}
	p := &Pools{small: netif.NewPool(small, 1024)}
	if large {
		// In use at once are those of a Receive, of the slots and of what Wait read; a
		// slab is too large to be allocated, and cleared, every so often.
		p.slab = netif.NewPool(slab, max(queues, 1)*4*Budget/slab)
	}
	return p
}

// Slot is room for one frame to be read.
//
// Whether the next frame is a large one is known when it was read, and a slab for
// each that might be would be 64 KiB for every ACK. So a read is scattered over a
// small buffer and the rest of a slab: a frame that fits the small one is handed
// over in it, and the start of one that does not is copied to where the slab has
// room for it. What was not needed is there for the next read.
type Slot struct {
	small, slab *netif.Buf
	iov         [2]unix.Iovec
}

// Iov returns where to read to. It stays valid until Take.
func (s *Slot) Iov(p *Pools) []unix.Iovec {
	if s.small == nil {
		s.small = p.small.Get()
		setIovec(&s.iov[0], s.small.Store())
	}
	if p.slab == nil {
		return s.iov[:1]
	}
	if s.slab == nil {
		s.slab = p.slab.Get()
		setIovec(&s.iov[1], s.slab.Store()[p.small.Size():])
	}
	return s.iov[:]
}

func setIovec(v *unix.Iovec, b []byte) {
	v.Base = &b[0]
	v.SetLen(len(b))
}

// Filled returns the memory that holds the n bytes that were read and whether that
// is a slab. It is the slot's until Take.
func (s *Slot) Filled(n int) (store []byte, large bool) {
	store = s.small.Store()
	if n <= len(store) || s.slab == nil {
		return store[:n], false
	}
	copy(s.slab.Store(), store)
	return s.slab.Store()[:n], true
}

// Full reports whether n bytes fill the slot, so that the frame may have been cut.
func (s *Slot) Full(n int) bool {
	if s.slab != nil {
		return n >= len(s.slab.Store())
	}
	return n >= len(s.small.Store())
}

// Take hands the buffer over that Filled told of.
func (s *Slot) Take(large bool) (b *netif.Buf) {
	if large {
		b, s.slab = s.slab, nil
	} else {
		b, s.small = s.small, nil
	}
	return b
}
