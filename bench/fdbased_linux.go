package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
)

// openFDBased opens gVisor's netstack on its fdbased link on a plain tap.
func openFDBased(setup *serverSetup) (network, error) {
	fd, err := openPlainTap(setup.Device)
	if err != nil {
		return nil, err
	}
	link, err := fdbased.New(&fdbased.Options{
		FDs:                []int{fd},
		MTU:                1500,
		EthernetHeader:     true,
		Address:            tcpip.LinkAddress("\x02\x67\x76\x00\x00\x02"),
		PacketDispatchMode: fdbased.Readv, // the others are for packet sockets
		GSOMaxSize:         65535,
		GVisorGSOEnabled:   true,
		GRO:                true,
		IsPacketSocket:     []bool{false},
	})
	if err != nil {
		return nil, fmt.Errorf("gVisor's link: %w", err)
	}
	return newNetstack(link, setup.Addr)
}

// openPlainTap opens a tap without the virtio header.
func openPlainTap(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("joining the tap %s: %w", name, err)
	}
	return fd, nil
}
