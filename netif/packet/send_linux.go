package packet

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/fdqueue"
	"github.com/netduet/netduet/internal/vnethdr"
	"github.com/netduet/netduet/netif"
)

const (
	// maxFragments is Info.MaxFragments: 64 KiB in pieces of 1 KiB. The kernel takes
	// up to 1024 (UIO_MAXIOV).
	maxFragments = 64
	// txMessages is how many frames one system call sends at most.
	txMessages = 16
	// maxGSOFrame is an IP packet of the largest size with its link header.
	maxGSOFrame = 65535 + etherLen + vlanLen
)

// sender writes frames to one socket.
type sender struct {
	dev   *Device
	heads [txMessages][vnethdr.Len]byte
	msgs  [txMessages]mmsghdr
	which [txMessages]int // the frame behind each message
	iov   []unix.Iovec
}

func newSender(d *Device) *sender {
	return &sender{dev: d, iov: make([]unix.Iovec, 0, txMessages*4)}
}

// Send implements fdqueue.Sender.
func (s *sender) Send(fd int, frames []netif.Frame) (n int, err error) {
	for n < len(frames) {
		msgs, taken := s.prepare(frames[n:])
		for sent := 0; sent < msgs; {
			got, err := s.write(fd, sent, msgs)
			sent += got
			switch err {
			case nil:
				continue
			case unix.EAGAIN:
				s.forget()
				return n + s.which[sent], fdqueue.ErrFull
			case unix.ENETDOWN:
				// It may be about a time when it was down, kept for whoever asks next.
				if got, err := s.write(fd, sent, msgs); err == nil {
					sent += got
					continue
				}
				s.dev.count.txDown.Add(1)
			case unix.ENOBUFS, unix.ENOMEM:
				s.dev.count.txDropped.Add(1)
			case unix.ENXIO, unix.ENODEV, unix.EBADF:
				at := n + s.which[sent]
				s.forget()
				s.dev.lose()
				return at, s.dev.goneError(err)
			default:
				s.dev.count.txRefused.Add(1)
			}
			sent++ // that one is lost
		}
		n += taken
	}
	s.forget()
	return n, nil
}

// prepare makes messages of the first of frames and returns how many, and how many
// frames those were. One that could never be sent gets none, and ends what comes
// before it: so it is counted once, however little of that the kernel takes.
func (s *sender) prepare(frames []netif.Frame) (msgs, taken int) {
	s.forget()
	for taken < len(frames) && msgs < txMessages {
		f := &frames[taken]
		if len(f.Fragments) > maxFragments || !s.dev.sendable(f, f.Len()) {
			if msgs > 0 {
				break
			}
			s.dev.count.txUnsendable.Add(1)
			taken++
			continue
		}
		head := s.heads[msgs][:]
		vnethdr.Encode(head, binary.NativeEndian, &f.Meta)
		start := len(s.iov)
		s.add(head)
		for _, p := range f.Fragments {
			if len(p) > 0 {
				s.add(p)
			}
		}
		s.msgs[msgs].hdr.SetIovlen(len(s.iov) - start)
		s.which[msgs] = taken
		msgs++
		taken++
	}
	// The list may have moved while it grew.
	at := 0
	for i := range s.msgs[:msgs] {
		s.msgs[i].hdr.Iov = &s.iov[at]
		at += int(s.msgs[i].hdr.Iovlen)
	}
	return msgs, taken
}

func (s *sender) add(b []byte) {
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	s.iov = append(s.iov, v)
}

// forget drops what points at the caller's frames.
func (s *sender) forget() {
	clear(s.iov)
	s.iov = s.iov[:0]
}

// write sends messages from the first'th to before the end'th and returns how many
// were sent, or why not even one was.
func (s *sender) write(fd, first, end int) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.msgs[first])), uintptr(end-first), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// sendable reports whether the device could ever send the frame.
func (d *Device) sendable(f *netif.Frame, length int) bool {
	if length < etherLen {
		return false
	}
	switch f.Meta.GSO {
	case netif.GSONone:
		return length <= etherLen+d.info.MTU || tagged(f) && length <= etherLen+vlanLen+d.info.MTU
	case netif.GSOTCP4, netif.GSOTCP6:
		return length <= maxGSOFrame
	case netif.GSOUDP:
		return d.info.Offloads.Has(netif.TxUSO) && length <= maxGSOFrame
	}
	return false
}

// tagged reports whether the frame has an 802.1Q or 802.1ad tag, which makes it
// four bytes longer than the MTU says.
func tagged(f *netif.Frame) bool {
	h := f.Fragments[0]
	return len(h) >= etherLen && (h[12] == 0x81 && h[13] == 0x00 || h[12] == 0x88 && h[13] == 0xa8)
}
