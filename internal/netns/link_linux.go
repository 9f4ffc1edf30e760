package netns

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// LinkIndex returns the index of the interface called name.
func LinkIndex(name string) (int, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("interface name %q: %w", name, err)
	}
	if err := ioctlIfreq(unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return int(ifr.Uint32()), nil
}

// LinkIsUp reports whether the interface is administratively up.
func LinkIsUp(name string) (bool, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return false, fmt.Errorf("interface name %q: %w", name, err)
	}
	if err := ioctlIfreq(unix.SIOCGIFFLAGS, ifr); err != nil {
		return false, fmt.Errorf("interface %s: %w", name, err)
	}
	return ifr.Uint16()&unix.IFF_UP != 0, nil
}

func ioctlIfreq(req uint, ifr *unix.Ifreq) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlIfreq(fd, req, ifr)
}

// LinkUp sets the interface up.
func LinkUp(name string) error { return setLink("up", name, unix.IFF_UP) }

// LinkDown sets the interface down.
func LinkDown(name string) error { return setLink("down", name, 0) }

// LinkMTU sets the interface's MTU in bytes.
func LinkMTU(name string, mtu int) error {
	return editLink(fmt.Sprintf("mtu %d", mtu), name, func(r *request) { r.uint32(unix.IFLA_MTU, uint32(mtu)) })
}

// LinkMAC sets the interface's hardware address.
func LinkMAC(name string, mac [6]byte) error {
	return editLink("address", name, func(r *request) { r.attr(unix.IFLA_ADDRESS, mac[:]) })
}

// LinkMove moves the interface into the network namespace of the process pid.
func LinkMove(name string, pid int) error {
	return editLink(fmt.Sprintf("netns %d", pid), name, func(r *request) { r.uint32(unix.IFLA_NET_NS_PID, uint32(pid)) })
}

func editLink(what, name string, edit func(*request)) error {
	index, err := LinkIndex(name)
	if err != nil {
		return err
	}
	r := newRequest(unix.RTM_NEWLINK, 0)
	r.link(unix.IfInfomsg{Index: int32(index)})
	edit(r)
	if err := r.do(); err != nil {
		return fmt.Errorf("setting %s %s: %w", name, what, err)
	}
	return nil
}

func setLink(what, name string, flags uint32) error {
	index, err := LinkIndex(name)
	if err != nil {
		return err
	}
	r := newRequest(unix.RTM_NEWLINK, 0)
	r.link(unix.IfInfomsg{Index: int32(index), Flags: flags, Change: unix.IFF_UP})
	if err := r.do(); err != nil {
		return fmt.Errorf("setting %s %s: %w", name, what, err)
	}
	return nil
}

// LinkDel removes the interface.
func LinkDel(name string) error {
	index, err := LinkIndex(name)
	if err != nil {
		return err
	}
	r := newRequest(unix.RTM_DELLINK, 0)
	r.link(unix.IfInfomsg{Index: int32(index)})
	if err := r.do(); err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	return nil
}

// AddVeth makes a pair of interfaces that are each other's wire.
func AddVeth(a, b string) error {
	const vethInfoPeer = 1 // VETH_INFO_PEER, linux/veth.h
	r := newRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.link(unix.IfInfomsg{})
	r.string(unix.IFLA_IFNAME, a)
	info := r.begin(unix.IFLA_LINKINFO)
	r.string(unix.IFLA_INFO_KIND, "veth")
	data := r.begin(unix.IFLA_INFO_DATA)
	peer := r.begin(vethInfoPeer)
	r.link(unix.IfInfomsg{})
	r.string(unix.IFLA_IFNAME, b)
	peer()
	data()
	info()
	if err := r.do(); err != nil {
		return fmt.Errorf("making the veth pair %s, %s: %w", a, b, err)
	}
	return nil
}

// AddAddr gives the interface an address; the prefix is its own address with the
// length of the on-link prefix. It is usable at once: duplicate address detection
// is left out.
func AddAddr(name string, p netip.Prefix) error {
	return editAddr(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, "adding", name, p)
}

// DelAddr takes the address away again.
func DelAddr(name string, p netip.Prefix) error {
	return editAddr(unix.RTM_DELADDR, 0, "removing", name, p)
}

func editAddr(typ, flags uint16, what, name string, p netip.Prefix) error {
	index, err := LinkIndex(name)
	if err != nil {
		return err
	}
	family := uint8(unix.AF_INET)
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	r := newRequest(typ, flags)
	r.addr(unix.IfAddrmsg{Family: family, Prefixlen: uint8(p.Bits()), Flags: unix.IFA_F_NODAD, Index: uint32(index)})
	r.attr(unix.IFA_LOCAL, p.Addr().AsSlice())
	r.attr(unix.IFA_ADDRESS, p.Addr().AsSlice())
	if err := r.do(); err != nil {
		return fmt.Errorf("%s the address %v on %s: %w", what, p, name, err)
	}
	return nil
}

// AddRoute sends dst out of the interface called name, through the gateway via if
// that is valid.
func AddRoute(name string, dst netip.Prefix, via netip.Addr) error {
	index, err := LinkIndex(name)
	if err != nil {
		return err
	}
	m := unix.RtMsg{
		Family:   unix.AF_INET,
		Dst_len:  uint8(dst.Bits()),
		Table:    unix.RT_TABLE_MAIN,
		Protocol: unix.RTPROT_STATIC,
		Scope:    unix.RT_SCOPE_UNIVERSE,
		Type:     unix.RTN_UNICAST,
	}
	if dst.Addr().Is6() {
		m.Family = unix.AF_INET6
	}
	if !via.IsValid() {
		m.Scope = unix.RT_SCOPE_LINK
	}
	r := newRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.route(m)
	r.attr(unix.RTA_DST, dst.Masked().Addr().AsSlice())
	if via.IsValid() {
		r.attr(unix.RTA_GATEWAY, via.AsSlice())
	}
	r.uint32(unix.RTA_OIF, uint32(index))
	if err := r.do(); err != nil {
		return fmt.Errorf("adding the route to %v through %s: %w", dst, name, err)
	}
	return nil
}

// AddNeigh makes a permanent neighbour entry, so that no resolution takes place.
func AddNeigh(name string, ip netip.Addr, mac [6]byte) error {
	index, err := LinkIndex(name)
	if err != nil {
		return err
	}
	family := uint8(unix.AF_INET)
	if ip.Is6() {
		family = unix.AF_INET6
	}
	r := newRequest(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	r.neigh(family, int32(index), unix.NUD_PERMANENT)
	r.attr(unix.NDA_DST, ip.AsSlice())
	r.attr(unix.NDA_LLADDR, mac[:])
	if err := r.do(); err != nil {
		return fmt.Errorf("adding the neighbour %v on %s: %w", ip, name, err)
	}
	return nil
}

// Sysctl writes a value, named with dots ("net.ipv4.ip_forward") or, when a part
// of the name holds a dot itself, with slashes.
func Sysctl(name, value string) error {
	if !strings.Contains(name, "/") {
		name = strings.ReplaceAll(name, ".", "/")
	}
	return os.WriteFile(filepath.Join("/proc/sys", filepath.Clean("/"+name)), []byte(value), 0)
}

// Quiet brings the loopback interface up and keeps the kernel from speaking
// before it is asked: no IPv6, so no neighbour discovery and no multicast reports
// on links made later. Unprivileged ICMP sockets and ports below 1024 are open to
// everybody in the namespace. Sysctls that the machine does not have, or does not
// let us write, are left as they are.
func Quiet() error {
	for _, kv := range [][2]string{
		{"net.ipv6.conf.all.disable_ipv6", "1"},
		{"net.ipv6.conf.default.disable_ipv6", "1"},
		{"net.ipv4.ping_group_range", "0 2147483647"},
		{"net.ipv4.ip_unprivileged_port_start", "0"},
		{"net.ipv4.icmp_ratelimit", "0"},
	} {
		if err := Sysctl(kv[0], kv[1]); err != nil && kv[0] == "net.ipv4.ping_group_range" {
			// A user namespace with one group mapped refuses groups it cannot name.
			Sysctl(kv[0], fmt.Sprintf("%d %d", os.Getegid(), os.Getegid()))
		}
	}
	return LinkUp("lo")
}
