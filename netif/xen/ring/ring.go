// Package ring is the shared-ring protocol of Xen's paravirtual devices
// (xen/io/ring.h): one page that two domains map, in which a front end puts
// requests and a back end answers each with a response in a slot of the same
// ring. A Front is the end that asks, a Back the end that answers.
//
// It knows slots of words and counts of them; not what a request means, not where
// pages come from, and not how the other end is notified: Push and Arm tell the
// caller whether to notify and whether there is more to do.
//
// The page is laid out as
//
//	 0  req_prod   requests published by the front end
//	 4  req_event  the back end wants an event when req_prod passes this
//	 8  rsp_prod   responses published by the back end
//	12  rsp_event  the front end wants an event when rsp_prod passes this
//	64  slots, a power of two of them
//
// with free-running 32-bit counts that wrap at 2³²; all arithmetic is modulo that.
//
// # Invariants
//
//   - Requests and responses share the slots: a slot is free again only when its
//     response was reaped (taken by the front end), not when it was written.
//     Reserve counts from what was reaped, takes all slots of a frame or none, and
//     what was reserved is not published before Push.
//   - Everything in the page may change under us. A peer's count is read once and
//     checked against what was asked before it is believed, a slot is copied out
//     once, and our own counts are kept in private memory and never read back. A
//     count that cannot be is ErrPeer, and the ring stays broken: the peer can stall
//     us, and nothing else.
//   - No wake-up is lost: an end that finds nothing to do asks for an event and
//     looks once more (Arm) before it sleeps, and an end that publishes looks after
//     that at what was asked for (Push). One of the two sees the other.
//
// A ring end has no lock: its owner serialises all calls. The two ends synchronise
// through the page alone.
package ring

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// PageSize is the size of the shared page and of every granted page.
const PageSize = 4096

const (
	headerSize = 64

	offReqProd  = 0
	offReqEvent = 4
	offRspProd  = 8
	offRspEvent = 12
)

// ErrPeer says that the other end's counts cannot be: it published more than there
// was to publish. The ring is unusable from then on.
var ErrPeer = errors.New("xen ring: the other end published more than the ring allows")

// Words is the most 32-bit words a slot has.
const Words = 3

// Slot is a request or response, as the words of its slot. A slot of fewer words
// leaves the others zero. Xen exists on little-endian machines only, so the fields
// of a request are parts of words from the low end up.
type Slot [Words]uint32

// shared is the page.
type shared struct {
	page  []byte // at least PageSize, so that every access below is inside
	words int    // per slot
	size  uint32 // slots
}

// Size returns the number of slots of words 32-bit words each in one page.
func Size(words int) int {
	n := (PageSize - headerSize) / (4 * words)
	return 1 << (bits.Len(uint(n)) - 1)
}

func newShared(page []byte, words int) (shared, error) {
	if len(page) != PageSize {
		return shared{}, fmt.Errorf("xen ring: a page of %d bytes, must be %d", len(page), PageSize)
	}
	if uintptr(unsafe.Pointer(&page[0]))%4 != 0 {
		return shared{}, errors.New("xen ring: the page is not aligned")
	}
	if words < 1 || words > Words {
		return shared{}, fmt.Errorf("xen ring: slots of %d words, must be 1 to %d", words, Words)
	}
	return shared{page: page, words: words, size: uint32(Size(words))}, nil
}

func (s *shared) word(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&s.page[off])) }

func (s *shared) load(off uint32) uint32     { return atomic.LoadUint32(s.word(off)) }
func (s *shared) store(off uint32, v uint32) { atomic.StoreUint32(s.word(off), v) }

func (s *shared) slot(i uint32) uint32 { return headerSize + i&(s.size-1)*uint32(s.words)*4 }

// read copies a slot out, each word exactly once.
func (s *shared) read(i uint32) (v Slot) {
	at := s.slot(i)
	for w := range s.words {
		v[w] = atomic.LoadUint32(s.word(at + uint32(w)*4))
	}
	return v
}

// write fills a slot that the peer does not look at before the count is published.
func (s *shared) write(i uint32, v *Slot) {
	at := s.slot(i)
	for w := range s.words {
		*s.word(at + uint32(w)*4) = v[w]
	}
}

// passed reports whether a count that went from old to now passed event, which is
// when the other end wants to be notified.
func passed(old, now, event uint32) bool { return now-event < now-old }

// distance returns how far an event threshold lies ahead when n more are wanted:
// never beyond what can still come, or the event would not come either.
func distance(n int, pending uint32) uint32 {
	return max(1, min(uint32(max(n, 1)), pending))
}
