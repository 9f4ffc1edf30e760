package netif

import "sync/atomic"

// Buf is one received frame. Its owner may read and change Data, re-slice it, and
// must call Release exactly once.
type Buf struct {
	// Data is the frame, from the first byte of the link header.
	Data []byte
	// Meta is what the device knows about it.
	Meta Meta

	store    []byte
	owner    Recycler
	released atomic.Bool
}

// Recycler takes released buffers back. Its Recycle is called from any goroutine,
// also after the device was closed.
type Recycler interface{ Recycle(*Buf) }

// NewBuf returns a buffer over store that goes back to owner on Release; a nil
// owner leaves it to the garbage collector. Data is empty until a driver sets it.
func NewBuf(store []byte, owner Recycler) *Buf {
	return &Buf{Data: store[:0], store: store, owner: owner}
}

// Store returns the whole memory behind the buffer, for the driver to fill.
func (b *Buf) Store() []byte { return b.store }

// Release gives the buffer back to its device. Releasing twice is a bug of the
// caller's; it is ignored, since the second owner would otherwise see its frame
// change.
func (b *Buf) Release() {
	if b.released.Swap(true) || b.owner == nil {
		return
	}
	b.owner.Recycle(b)
}

// Reuse readies a recycled buffer for the next frame; only its recycler calls it.
func (b *Buf) Reuse() {
	b.Data, b.Meta = b.store[:0], Meta{}
	b.released.Store(false)
}
