package packet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/fdqueue"
	"github.com/netduet/netduet/internal/vnethdr"
	"github.com/netduet/netduet/netif"
)

// What the kernel may hold for a socket. Received frames wait in the first until
// they are read; a short Write comes of the second being full, before the queue of
// the interface is and drops.
const (
	rxBuffer = 8 << 20
	txBuffer = 1 << 20
)

// target is the interface as the kernel has it.
type target struct {
	index, mtu int
	mac        netif.MAC
}

func open(cfg *Config) (*Device, error) {
	on, err := examine(cfg.Name)
	if err != nil {
		return nil, err
	}
	if cfg.MTU > on.mtu {
		return nil, fmt.Errorf("packet: %s has an MTU of %d: set it, `sudo ip link set dev %s mtu %d`, or ask for less", cfg.Name, on.mtu, cfg.Name, cfg.MTU)
	}
	d := &Device{index: on.index, info: netif.Info{
		Name: cfg.Name, Link: netif.LinkEthernet, MAC: on.mac, MTU: on.mtu, MaxFragments: maxFragments,
		Offloads: netif.TxChecksum | netif.TxTSO4 | netif.TxTSO6 | netif.RxChecksum | netif.RxGSO,
	}}
	if cfg.MTU != 0 {
		d.info.MTU = cfg.MTU
	}
	if cfg.MAC != (netif.MAC{}) {
		d.info.MAC = cfg.MAC
	}
	if segmentsUDP() {
		d.info.Offloads |= netif.TxUSO
	}
	fds, err := sockets(cfg, &on, d.info.MAC)
	if err != nil {
		return nil, err
	}
	pools := fdqueue.NewPools(vnethdr.Len, vnethdr.Len+etherLen+vlanLen+on.mtu, len(fds), true)
	var list []*fdqueue.Queue
	for _, fd := range fds {
		q := fdqueue.New(fd, "packet", newReceiver(d, pools), func() fdqueue.Sender { return newSender(d) })
		list = append(list, q)
		d.queues = append(d.queues, q)
	}
	d.drops = func() {
		for _, q := range list {
			q.Control(d.countDrops)
		}
	}
	d.wake = func() {
		for _, q := range list {
			q.Wake()
		}
	}
	d.shutdown = func() {
		for _, q := range list {
			q.Close()
		}
	}
	return d, nil
}

// examine asks the kernel about the interface.
func examine(name string) (on target, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return on, fmt.Errorf("packet: %w", err)
	}
	defer unix.Close(fd)
	var r ifreq
	copy(r.name[:15], name)
	ask := func(req uint) error {
		clear(r.data[:])
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(&r))); errno != 0 {
			return errno
		}
		return nil
	}
	if err = ask(unix.SIOCGIFINDEX); err == nil {
		on.index = int(r.int32())
		if err = ask(unix.SIOCGIFMTU); err == nil {
			on.mtu = min(int(r.int32()), maxMTU)
			err = ask(unix.SIOCGIFHWADDR)
		}
	}
	switch {
	case errors.Is(err, unix.ENODEV):
		return on, fmt.Errorf("packet: there is no interface %s on this machine: `ip link` lists them: %w", name, err)
	case err != nil:
		return on, fmt.Errorf("packet: asking about %s: %w", name, err)
	case r.uint16() != unix.ARPHRD_ETHER:
		return on, fmt.Errorf("packet: %s is not an Ethernet interface: choose another, or use a tap", name)
	case on.mtu < minMTU:
		return on, fmt.Errorf("packet: %s has an MTU of %d, less than IPv4 needs", name, on.mtu)
	}
	on.mac = netif.MAC(r.data[2:8])
	return on, nil
}

// sockets opens one socket a queue.
//
// Until all have joined the group each would get every frame: they begin with a
// filter that lets nothing through.
func sockets(cfg *Config, on *target, mac netif.MAC) (fds []int, err error) {
	defer func() {
		if err != nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
	}()
	n := max(cfg.Queues, 1)
	group := 0
	for i := range n {
		fd, err := socket(cfg.Name, on.index)
		if err != nil {
			return fds, err
		}
		fds = append(fds, fd)
		if n > 1 {
			if group, err = join(fd, i, group); err != nil {
				return fds, fmt.Errorf("packet: making queue %d of %s: %w", i, cfg.Name, err)
			}
		}
	}
	if err := listen(fds[0], cfg, on, mac); err != nil {
		return fds, fmt.Errorf("packet: having %s listen: %w", cfg.Name, err)
	}
	prog := filter(mac, cfg.Addrs)
	for _, fd := range fds {
		if err := attach(fd, prog); err != nil {
			return fds, fmt.Errorf("packet: filtering %s: %w", cfg.Name, err)
		}
	}
	return fds, nil
}

// socket opens one that lets nothing through yet.
func socket(name string, index int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return -1, fmt.Errorf("packet: no permission for a packet socket on %s: start the program by sudo, or allow it once, `sudo setcap cap_net_raw+ep PROGRAM`: %w", name, err)
	case err != nil:
		return -1, fmt.Errorf("packet: opening a packet socket: %w", err)
	}
	set := func(level, option, value int) {
		if err == nil {
			err = unix.SetsockoptInt(fd, level, option, value)
		}
	}
	err = attach(fd, []bpf.Instruction{bpf.RetConstant{Val: 0}})
	set(unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1)
	set(unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
	// Linux 4.20 has it; the filter does the same, later.
	unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, rxBuffer)
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, txBuffer)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index})
		if err == unix.ENETDOWN { // bound all the same, and heard once it is up
			err = nil
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet: a socket on %s: %w", name, err)
	}
	return fd, nil
}

// setBuffer sets a socket's buffer, beyond the system's limit with CAP_NET_ADMIN
// and up to it without. The kernel doubles what is asked.
func setBuffer(fd, force, plain, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size/2) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size/2)
	}
}

// join makes the socket a member of a fanout group: the first of one of its own,
// whose number is returned, the others of that.
func join(fd, i, group int) (int, error) {
	kind := unix.PACKET_FANOUT_HASH
	if i == 0 {
		kind |= unix.PACKET_FANOUT_FLAG_UNIQUEID
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, int(uint32(group)|uint32(kind)<<16)); err != nil {
		return 0, err
	}
	v, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	return v & 0xffff, err
}

// listen has the interface take frames that it would not on its own account, for as
// long as the socket is open.
func listen(fd int, cfg *Config, on *target, mac netif.MAC) error {
	member := func(kind uint16, mac netif.MAC) error {
		m := unix.PacketMreq{Ifindex: int32(on.index), Type: kind, Alen: 6}
		copy(m.Address[:], mac[:])
		return unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m)
	}
	if cfg.Promiscuous {
		if err := member(unix.PACKET_MR_PROMISC, mac); err != nil {
			return err
		}
	}
	if mac != on.mac {
		if err := member(unix.PACKET_MR_UNICAST, mac); err != nil {
			return err
		}
	}
	for _, a := range cfg.Addrs {
		if a.Is6() {
			if err := member(unix.PACKET_MR_MULTICAST, solicited(a)); err != nil {
				return err
			}
		}
	}
	return nil
}

// solicited returns where neighbours ask for the address: its solicited-node group
// (RFC 4291, section 2.7.1) on Ethernet (RFC 2464, section 7).
func solicited(a netip.Addr) netif.MAC {
	b := a.As16()
	return netif.MAC{0x33, 0x33, 0xff, b[13], b[14], b[15]}
}

// attach makes prog the socket's filter.
func attach(fd int, prog []bpf.Instruction) error {
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

// segmentsUDP reports whether the kernel cuts large UDP frames of ours, which it
// does from Linux 6.2 on and has no other way to tell.
func segmentsUDP() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return slices.Compare([]int{major, minor}, []int{6, 2}) >= 0
}

// exists reports whether the interface is still there, up or not.
func (d *Device) exists() bool {
	_, err := net.InterfaceByIndex(d.index)
	return err == nil
}
