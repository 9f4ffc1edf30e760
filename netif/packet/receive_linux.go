package packet

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/fdqueue"
	"github.com/netduet/netduet/internal/vnethdr"
	"github.com/netduet/netduet/netif"
)

// rxMessages is how many frames one system call reads at most. Each has a slab
// waiting, of which only what is used becomes memory.
const rxMessages = 8

// receiver reads the frames of one socket.
type receiver struct {
	dev   *Device
	pools *fdqueue.Pools
	slots [rxMessages]fdqueue.Slot
	msgs  [rxMessages]mmsghdr
	aux   [rxMessages]auxSpace
}

// mmsghdr is struct mmsghdr (recvmmsg(2)).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// auxSpace holds a control message with struct tpacket_auxdata.
type auxSpace struct {
	_   [0]uint64 // aligned as the kernel has it
	buf [64]byte
}

func newReceiver(d *Device, pools *fdqueue.Pools) *receiver {
	rx := &receiver{dev: d, pools: pools}
	for i := range rx.msgs {
		rx.msgs[i].hdr.Control = &rx.aux[i].buf[0]
	}
	return rx
}

// Receive implements fdqueue.Receiver.
func (rx *receiver) Receive(fd int, bufs []*netif.Buf) (n int, err error) {
	for left := fdqueue.Budget; n < len(bufs) && left > 0; {
		want := min(len(bufs)-n, rxMessages)
		got, err := rx.read(fd, want)
		if err != nil {
			if n > 0 {
				break // it comes again
			}
			return 0, err
		}
		for i := range got {
			if b := rx.take(i); b != nil {
				bufs[n] = b
				n++
				left -= len(b.Data)
			}
		}
		if got < want && n > 0 {
			break // dry: Wait finds out what came since
		}
	}
	return n, nil
}

// read reads up to n frames into the slots. The error is fdqueue.ErrDry, or why
// there will never be one again.
func (rx *receiver) read(fd, n int) (int, error) {
	for i := range n {
		iov := rx.slots[i].Iov(rx.pools)
		h := &rx.msgs[i].hdr
		h.Iov = &iov[0]
		h.SetIovlen(len(iov))
		h.SetControllen(len(rx.aux[i].buf))
	}
	for {
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&rx.msgs[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(got), nil
		case unix.EINTR:
		case unix.EAGAIN:
			if rx.dev.lost.Load() {
				return 0, rx.dev.goneError(unix.ENETDOWN)
			}
			return 0, fdqueue.ErrDry
		case unix.EINVAL:
			// A frame whose offloads the header cannot express; it is gone.
			rx.dev.count.rxMalformed.Add(1)
		case unix.ENETDOWN:
			// Said once each time the interface goes down, or for good.
			if !rx.dev.exists() {
				return 0, rx.dev.goneError(errno)
			}
		case unix.ENOBUFS, unix.ENOMEM:
			rx.dev.count.rxDropped.Add(1)
		default:
			return 0, rx.dev.goneError(errno)
		}
	}
}

// take returns the frame that was read into slot i, or nil if it is none.
func (rx *receiver) take(i int) *netif.Buf {
	m, s := &rx.msgs[i], &rx.slots[i]
	n := int(m.len)
	if m.hdr.Flags&unix.MSG_TRUNC != 0 || s.Full(n) {
		rx.dev.count.rxTruncated.Add(1)
		return nil
	}
	if n < vnethdr.Len+etherLen {
		rx.dev.count.rxMalformed.Add(1)
		return nil
	}
	store, large := s.Filled(n)
	meta, ok := vnethdr.Decode(store[:vnethdr.Len], binary.NativeEndian, n-vnethdr.Len)
	if !ok {
		rx.dev.count.rxMalformed.Add(1)
		return nil
	}
	if large && meta.GSO == netif.GSONone {
		rx.dev.count.rxTruncated.Add(1) // somebody raised the MTU
		return nil
	}
	data := store[vnethdr.Len:]
	if tag, ok := rx.tag(i); ok {
		// Between the addresses and the type; the header in front has room to spare.
		data = store[vnethdr.Len-vlanLen:]
		copy(data[:12], store[vnethdr.Len:])
		copy(data[12:], tag[:])
		if meta.Flags&netif.NeedsChecksum != 0 {
			meta.ChecksumStart += vlanLen
		}
		if meta.GSO != netif.GSONone {
			meta.HeaderLen += vlanLen
		}
	}
	b := s.Take(large)
	b.Data, b.Meta = data, meta
	return b
}

// tag returns the 802.1Q tag that the kernel took out of the frame in slot i.
func (rx *receiver) tag(i int) (tag [vlanLen]byte, ok bool) {
	const (
		// struct tpacket_auxdata, linux/if_packet.h
		offStatus, offTCI, offTPID, auxLen = 0, 16, 18, 20
	)
	b := rx.aux[i].buf[:min(int(rx.msgs[i].hdr.Controllen), len(rx.aux[i].buf))]
	if len(b) < unix.SizeofCmsghdr {
		return tag, false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	if h.Level != unix.SOL_PACKET || h.Type != unix.PACKET_AUXDATA || len(b) < unix.CmsgLen(auxLen) {
		return tag, false
	}
	aux := b[unix.CmsgLen(0):]
	status := binary.NativeEndian.Uint32(aux[offStatus:])
	if status&unix.TP_STATUS_VLAN_VALID == 0 {
		return tag, false
	}
	tpid := uint16(0x8100)
	if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = binary.NativeEndian.Uint16(aux[offTPID:])
	}
	binary.BigEndian.PutUint16(tag[:], tpid)
	binary.BigEndian.PutUint16(tag[2:], binary.NativeEndian.Uint16(aux[offTCI:]))
	return tag, true
}

func (d *Device) goneError(err error) error {
	if !d.exists() {
		return fmt.Errorf("packet: %s was removed: %w", d.info.Name, err)
	}
	return fmt.Errorf("packet: %s: %w", d.info.Name, err)
}

// lose tells those who wait for frames that there won't be any: the kernel says it
// to one of sender and receiver only.
func (d *Device) lose() {
	if !d.lost.Swap(true) {
		d.wake()
	}
}

// countDrops asks a socket how many frames it had no room for since the last time.
func (d *Device) countDrops(fd uintptr) {
	if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		d.count.rxDropped.Add(uint64(s.Drops))
	}
}
