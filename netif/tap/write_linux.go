package tap

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/fdqueue"
	"github.com/netduet/netduet/internal/vnethdr"
	"github.com/netduet/netduet/netif"
)

// maxFragments is Info.MaxFragments: 64 KiB in pieces of 1 KiB. The kernel takes
// up to 1024 (UIO_MAXIOV).
const maxFragments = 64

// sender writes frames to one descriptor: one writev(2) a frame.
type sender struct {
	dev   *Device
	hdr   int // bytes of virtio header in front of each frame
	order binary.ByteOrder

	head [vnethdr.MaxLen]byte
	iov  [1 + maxFragments]unix.Iovec
}

// Send implements fdqueue.Sender.
func (s *sender) Send(fd int, frames []netif.Frame) (n int, err error) {
	for n < len(frames) {
		switch err := s.writeOne(fd, &frames[n]); err {
		case nil:
		case unix.EIO:
			// The link is down: a frame into an unplugged cable.
			s.dev.count.txDown.Add(1)
		case unix.EAGAIN:
			return n, fdqueue.ErrFull
		case unix.EBADFD, unix.EBADF, unix.ENODEV, unix.ENXIO:
			return n, s.dev.goneError(err)
		default:
			s.dev.count.txRefused.Add(1)
		}
		n++
	}
	return n, nil
}

// writeOne sends one frame. One that could never be sent counts as sent.
func (s *sender) writeOne(fd int, f *netif.Frame) error {
	d := s.dev
	if len(f.Fragments) > maxFragments || !d.sendable(f, f.Len()) {
		d.count.txUnsendable.Add(1)
		return nil
	}
	n := 0
	if s.hdr > 0 {
		h := s.head[:s.hdr]
		vnethdr.Encode(h, s.order, &f.Meta)
		s.iov[0].Base = &h[0]
		s.iov[0].SetLen(len(h))
		n = 1
	}
	for _, p := range f.Fragments {
		if len(p) > 0 {
			s.iov[n].Base = &p[0]
			s.iov[n].SetLen(len(p))
			n++
		}
	}
	err := writev(fd, s.iov[:n])
	clear(s.iov[:n]) // nothing of the caller's is kept
	return err
}

// readv and writev are those of package unix without its conversions, which
// allocate. Neither system call blocks: the descriptors are non-blocking. They go
// through Syscall all the same, since a frame takes microseconds.

func readv(fd int, iov []unix.Iovec) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func writev(fd int, iov []unix.Iovec) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}
