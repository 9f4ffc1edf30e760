package tap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/fdqueue"
	"github.com/netduet/netduet/internal/vnethdr"
	"github.com/netduet/netduet/netif"
)

const tunPath = "/dev/net/tun"

// kernelTap is what the kernel says about one descriptor of a tap.
type kernelTap struct {
	name  string
	flags uint16
	hdr   int // bytes of the virtio header, 0 without
	order binary.ByteOrder
	mac   netif.MAC // the kernel's end's
}

func openNative(cfg *Config) (*Device, error) {
	fds := slices.Clone(cfg.FDs)
	own := len(fds) == 0
	if own {
		if err := validName(cfg.Name); err != nil {
			return nil, err
		}
		var err error
		if fds, err = attach(cfg); err != nil {
			return nil, err
		}
	}
	d, err := newNative(cfg, fds, own)
	if err != nil && own {
		closeAll(fds)
	}
	return d, err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// newNative makes a device of attached descriptors. When it fails, they are the
// caller's.
func newNative(cfg *Config, fds []int, own bool) (*Device, error) {
	var first kernelTap
	for i, fd := range fds {
		k, err := examine(fd)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = k
		} else if k.name != first.name {
			return nil, fmt.Errorf("tap: descriptor %d is a queue of %s and descriptor %d of %s: one device takes the queues of one tap", fds[0], first.name, fd, k.name)
		} else if k.hdr != first.hdr {
			return nil, fmt.Errorf("tap: another process changed the header of %s while it was opened", k.name)
		}
	}
	offloads, err := settleOffloads(fds[0], &first, cfg.Offload)
	if err != nil {
		return nil, err
	}
	if own && cfg.Persistent {
		if err := unix.IoctlSetInt(fds[0], unix.TUNSETPERSIST, 1); err != nil {
			return nil, fmt.Errorf("tap: making %s persistent: %w", first.name, err)
		}
	}
	mtu, bufMTU, err := settleMTU(cfg.MTU, &first)
	if err != nil {
		return nil, err
	}
	mac, err := settleMAC(cfg.MAC, first.name, first.mac)
	if err != nil {
		return nil, err
	}

	d := newDevice(netif.Info{
		Name: first.name, Link: netif.LinkEthernet, MAC: mac, MTU: mtu, MaxFragments: maxFragments, Offloads: offloads,
		QueueLen: queueLen(&first),
	})
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("tap: %s: %w", first.name, err)
		}
		unix.CloseOnExec(fd)
	}
	pools := fdqueue.NewPools(first.hdr, first.hdr+etherLen+vlanLen+bufMTU, len(fds), offloads.Has(netif.RxGSO))
	var list []*fdqueue.Queue
	for _, fd := range fds {
		q := newQueue(d, fd, first.hdr, first.order, pools)
		list = append(list, q)
		d.queues = append(d.queues, q)
	}
	d.shutdown = func() {
		for _, q := range list {
			q.Close()
		}
	}
	return d, nil
}

// examine asks the kernel what the descriptor is.
func examine(fd int) (kernelTap, error) {
	var k kernelTap
	var r ifreq
	if err := ioctl(fd, unix.TUNGETIFF, unsafe.Pointer(&r)); err != nil {
		if errors.Is(err, unix.EBADF) {
			return k, fmt.Errorf("tap: descriptor %d is not open: the parent passes it on, as `netduet run` does: %w", fd, err)
		}
		return k, fmt.Errorf("tap: descriptor %d is not an attached tap: %w", fd, err)
	}
	k.name = r.nameString()
	k.flags = binary.NativeEndian.Uint16(r.data[:])
	if k.flags&unix.IFF_TAP == 0 {
		return k, fmt.Errorf("tap: %s is a tun, without Ethernet: make a tap instead, `ip tuntap add dev %s mode tap`", k.name, k.name)
	}
	if pi, err := packetInfo(fd, k.flags); err != nil {
		return k, fmt.Errorf("tap: asking about the frames of %s: %w", k.name, err)
	} else if pi {
		return k, fmt.Errorf("tap: %s was opened with packet information in front of each frame: open it with IFF_NO_PI", k.name)
	}
	k.order = binary.NativeEndian
	if k.flags&unix.IFF_VNET_HDR != 0 {
		n, err := unix.IoctlGetInt(fd, unix.TUNGETVNETHDRSZ)
		if err != nil {
			return k, fmt.Errorf("tap: reading the header size of %s: %w", k.name, err)
		}
		if n < vnethdr.Len || n > vnethdr.MaxLen {
			return k, fmt.Errorf("tap: %s has a virtio header of %d bytes: %d to %d are supported", k.name, n, vnethdr.Len, vnethdr.MaxLen)
		}
		k.hdr = n
		// The header is in the machine's order unless somebody chose another.
		if v, err := unix.IoctlGetInt(fd, unix.TUNGETVNETLE); err == nil && v != 0 {
			k.order = binary.LittleEndian
		} else if v, err := unix.IoctlGetInt(fd, unix.TUNGETVNETBE); err == nil && v != 0 {
			k.order = binary.BigEndian
		}
	}
	var hw ifreq
	if err := ioctl(fd, unix.SIOCGIFHWADDR, unsafe.Pointer(&hw)); err != nil {
		return k, fmt.Errorf("tap: reading the address of %s: %w", k.name, err)
	}
	copy(k.mac[:], hw.data[2:8])
	return k, nil
}

// packetInfo reports whether frames have four bytes of packet information in front
// (no IFF_NO_PI). TUNGETIFF says "no filter" by the very same bit, so the bit is
// only to be believed while a filter is attached: one that passes everything, for
// the length of the question, unless there is one already.
func packetInfo(fd int, flags uint16) (bool, error) {
	if flags&unix.IFF_NO_PI == 0 {
		return true, nil
	}
	var prog unix.SockFprog
	if err := ioctl(fd, unix.TUNGETFILTER, unsafe.Pointer(&prog)); err == unix.EINVAL {
		return false, nil // a kernel of 64 bits answers no process of 32: the bit is believed
	} else if err != nil {
		return false, err
	}
	if prog.Len > 0 {
		return false, nil
	}
	all := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1}
	prog = unix.SockFprog{Len: 1, Filter: &all}
	if err := ioctl(fd, unix.TUNATTACHFILTER, unsafe.Pointer(&prog)); err != nil {
		return false, err
	}
	var r ifreq
	err := ioctl(fd, unix.TUNGETIFF, unsafe.Pointer(&r))
	if e := ioctl(fd, unix.TUNDETACHFILTER, unsafe.Pointer(&prog)); err == nil {
		err = e
	}
	return binary.NativeEndian.Uint16(r.data[:])&unix.IFF_NO_PI == 0, err
}

// settleMTU returns the MTU to announce and the one that buffers are made for.
func settleMTU(want int, k *kernelTap) (mtu, bufMTU int, err error) {
	have, known := linkMTU(k)
	switch {
	case !known && want == 0:
		return 1500, 1500, nil // an inherited tap of another namespace: Ethernet's
	case !known:
		return want, want, nil
	case want == 0:
		return have, have, nil
	case want > have:
		var r ifreq
		copy(r.name[:15], k.name)
		binary.NativeEndian.PutUint32(r.data[:], uint32(want))
		if err := ioctlSocket(unix.SIOCSIFMTU, &r); err != nil {
			return 0, 0, fmt.Errorf("tap: %s has an MTU of %d: set it, `sudo ip link set dev %s mtu %d`, or ask for less: %w", k.name, have, k.name, want, err)
		}
		return want, want, nil
	}
	return want, have, nil
}

// linkMTU returns the interface's MTU. It is unknown when the interface of that
// name is not the one behind the descriptor: this process may be in another
// network namespace.
func linkMTU(k *kernelTap) (int, bool) {
	var r ifreq
	copy(r.name[:15], k.name)
	if err := ioctlSocket(unix.SIOCGIFHWADDR, &r); err != nil || netif.MAC(r.data[2:8]) != k.mac {
		return 0, false
	}
	r.data = [24]byte{}
	if err := ioctlSocket(unix.SIOCGIFMTU, &r); err != nil {
		return 0, false
	}
	mtu := int(int32(binary.NativeEndian.Uint32(r.data[:])))
	return mtu, mtu >= minMTU
}

// queueLen returns how many frames wait in each queue of the tap (its txqueuelen), or 0
// if that is not known.
func queueLen(k *kernelTap) int {
	if _, known := linkMTU(k); !known {
		return 0 // it is another namespace's
	}
	var r ifreq
	copy(r.name[:15], k.name)
	if err := ioctlSocket(unix.SIOCGIFTXQLEN, &r); err != nil {
		return 0
	}
	return max(int(int32(binary.NativeEndian.Uint32(r.data[:]))), 0)
}

// ifreq is struct ifreq (netdevice(7)), with room for its largest member.
type ifreq struct {
	name [16]byte
	data [24]byte
}

func (r *ifreq) nameString() string { return unix.ByteSliceToString(r.name[:]) }

func ioctl(fd int, req uint, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}

func ioctlSocket(req uint, r *ifreq) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return ioctl(fd, req, unsafe.Pointer(r))
}

// exists reports whether there is an interface of that name.
func exists(name string) bool {
	var r ifreq
	copy(r.name[:15], name)
	return name != "" && ioctlSocket(unix.SIOCGIFINDEX, &r) == nil
}

// openTun opens the clone device, which is not yet any interface.
func openTun() (int, error) {
	for {
		fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		switch {
		case err == nil:
			return fd, nil
		case err == unix.EINTR:
			continue
		case err == unix.EACCES || err == unix.EPERM:
			return -1, fmt.Errorf("tap: %s is not open to user %d: open it to everybody, `sudo chmod 0666 %s`, or start the program by `sudo netduet run`: %w", tunPath, os.Geteuid(), tunPath, err)
		case err == unix.ENOENT || err == unix.ENODEV || err == unix.ENXIO:
			return -1, fmt.Errorf("tap: there is no %s: load the driver, `sudo modprobe tun` (in a container, pass the device in): %w", tunPath, err)
		}
		return -1, fmt.Errorf("tap: opening %s: %w", tunPath, err)
	}
}
