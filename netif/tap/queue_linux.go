package tap

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/fdqueue"
	"github.com/netduet/netduet/internal/vnethdr"
	"github.com/netduet/netduet/netif"
)

// receiver reads the frames of one descriptor.
type receiver struct {
	dev   *Device
	hdr   int // bytes of virtio header in front of each frame
	order binary.ByteOrder
	pools *fdqueue.Pools
	slot  fdqueue.Slot
}

// newQueue takes over fd, which is non-blocking and attached: the poller refuses a
// descriptor that is not yet a tap.
func newQueue(d *Device, fd, hdr int, order binary.ByteOrder, pools *fdqueue.Pools) *fdqueue.Queue {
	rx := &receiver{dev: d, hdr: hdr, order: order, pools: pools}
	return fdqueue.New(fd, "tap", rx, func() fdqueue.Sender {
		return &sender{dev: d, hdr: hdr, order: order}
	})
}

// Receive implements fdqueue.Receiver.
func (rx *receiver) Receive(fd int, bufs []*netif.Buf) (n int, err error) {
	for left := fdqueue.Budget; n < len(bufs) && left > 0; {
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
		n, err := readv(fd, rx.slot.Iov(rx.pools))
		switch err {
		case nil:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return nil, fdqueue.ErrDry
		default:
			return nil, rx.dev.goneError(err)
		}
		if rx.slot.Full(n) {
			rx.dev.count.rxTruncated.Add(1)
			continue
		}
		if n < rx.hdr+etherLen {
			rx.dev.count.rxMalformed.Add(1)
			continue
		}
		store, large := rx.slot.Filled(n)
		var m netif.Meta
		if rx.hdr > 0 {
			var ok bool
			if m, ok = vnethdr.Decode(store[:rx.hdr], rx.order, n-rx.hdr); !ok {
				rx.dev.count.rxMalformed.Add(1)
				continue
			}
			if large && m.GSO == netif.GSONone {
				rx.dev.count.rxTruncated.Add(1) // somebody raised the MTU
				continue
			}
		}
		b := rx.slot.Take(large)
		b.Data, b.Meta = store[rx.hdr:], m
		return b, nil
	}
}

func (d *Device) goneError(err error) error {
	if err == unix.EBADFD {
		return fmt.Errorf("tap: %s was removed: %w", d.info.Name, err)
	}
	return fmt.Errorf("tap: %s: %w", d.info.Name, err)
}
