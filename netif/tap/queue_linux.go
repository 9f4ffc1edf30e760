package tap

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/fdqueue"
	"github.com/netduet/netduet/internal/vnethdr"
	"github.com/netduet/netduet/netif"
)

// rxBudget is how many bytes of frames one Read takes about: enough large ones to
// make the work around a batch small, few enough that what was read is still in
// the cache when it is parsed.
const rxBudget = 256 << 10

// slabSize holds any frame with a GSO type and its virtio header; the byte more
// tells one that was cut.
const slabSize = (vnethdr.MaxLen + maxGSOFrame + 1 + 511) &^ 511

// buffers are what a device's queues read into. Frames that fit the MTU get a small
// one. Large frames get a slab; it is nil if there cannot be any.
type buffers struct{ small, slab *netif.Pool }

// newBuffers makes the pools of a device whose plain frames are of at most mtu.
func newBuffers(hdr, mtu, queues int, large bool) buffers {
	// One byte more than the largest frame: a read that fills the buffer was cut.
	size := (hdr + etherLen + vlanLen + mtu + 1 + 511) &^ 511
	if large && size >= slabSize {
		large, size = false, slabSize
	}
	b := buffers{small: netif.NewPool(size, 1024)}
	if large {
		b.slab = netif.NewPool(slabSize, 2*queues*rxBudget/slabSize)
	}
	return b
}

// receiver reads the frames of one descriptor.
//
// Whether the next frame is a large one is known when it was read, and a slab for
// each that might be would be 64 KiB for every ACK. So a read is scattered over a
// small buffer and the rest of a slab: a frame that fits the small one is handed
// over in it, and the start of one that does not is copied to where the slab has
// room for it. What was not needed is there for the next read.
type receiver struct {
	dev   *Device
	hdr   int // bytes of virtio header in front of each frame
	order binary.ByteOrder
	pools buffers

	small, slab *netif.Buf
	iov         [2]unix.Iovec
}

// newQueue takes over fd, which is non-blocking and attached: the poller refuses a
// descriptor that is not yet a tap.
func newQueue(d *Device, fd, hdr int, order binary.ByteOrder, pools buffers) *fdqueue.Queue {
	rx := &receiver{dev: d, hdr: hdr, order: order, pools: pools}
	return fdqueue.New(fd, "tap", rx, func() fdqueue.Sender {
		return &sender{dev: d, hdr: hdr, order: order}
	})
}

// Receive implements fdqueue.Receiver.
func (rx *receiver) Receive(fd int, bufs []*netif.Buf) (n int, err error) {
	for left := rxBudget; n < len(bufs) && left > 0; {
		b, err := rx.readOne(fd)
		if err != nil {
			if n == 0 {
				return 0, err
			}
			break // it comes again
		}
		bufs[n] = b
		n++
		left -= len(b.Data)
	}
	return n, nil
}

// readOne reads the next good frame. The error is fdqueue.ErrDry, or the reason why
// there will be none any more.
func (rx *receiver) readOne(fd int) (*netif.Buf, error) {
	for {
		n, err := rx.read(fd)
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return nil, fdqueue.ErrDry
		default:
			return nil, rx.dev.goneError(err)
		}
		b := &rx.small
		if store := (*b).Store(); rx.slab != nil && n > len(store) {
			copy(rx.slab.Store(), store)
			b = &rx.slab
		}
		store := (*b).Store()
		if n == len(store) {
			rx.dev.count.rxTruncated.Add(1)
			continue
		}
		if n < rx.hdr+etherLen {
			rx.dev.count.rxMalformed.Add(1)
			continue
		}
		if rx.hdr > 0 {
			m, ok := vnethdr.Decode(store[:rx.hdr], rx.order, n-rx.hdr)
			if !ok {
				rx.dev.count.rxMalformed.Add(1)
				continue
			}
			if b == &rx.slab && m.GSO == netif.GSONone {
				rx.dev.count.rxTruncated.Add(1) // somebody raised the MTU
				continue
			}
			(*b).Meta = m
		}
		got := *b
		got.Data = store[rx.hdr:n]
		*b = nil
		return got, nil
	}
}

// read reads one frame into the small buffer and, what does not fit there, the
// slab behind as many bytes.
func (rx *receiver) read(fd int) (int, error) {
	if rx.small == nil {
		rx.small = rx.pools.small.Get()
		small := rx.small.Store()
		rx.iov[0].Base = &small[0]
		rx.iov[0].SetLen(len(small))
	}
	if rx.pools.slab == nil {
		return unix.Read(fd, rx.small.Store())
	}
	if rx.slab == nil {
		rx.slab = rx.pools.slab.Get()
		rest := rx.slab.Store()[rx.pools.small.Size():]
		rx.iov[1].Base = &rest[0]
		rx.iov[1].SetLen(len(rest))
	}
	return readv(fd, rx.iov[:])
}

func (d *Device) goneError(err error) error {
	if err == unix.EBADFD {
		return fmt.Errorf("tap: %s was removed: %w", d.info.Name, err)
	}
	return fmt.Errorf("tap: %s: %w", d.info.Name, err)
}
