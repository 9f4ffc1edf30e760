package netns

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Tap says what kind of tap [AddTap] makes.
type Tap struct {
	// Owner is the user who may open the tap without privilege; -1 means nobody in
	// particular, and then the kernel asks for CAP_NET_ADMIN.
	Owner int
	// MultiQueue and VNetHdr are the kernel's IFF_MULTI_QUEUE and IFF_VNET_HDR; TUN
	// makes a device without Ethernet instead.
	MultiQueue, VNetHdr, TUN bool
}

// AddTap makes a persistent tap called name, as `ip tuntap add` does.
func AddTap(name string, kind Tap) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("interface name %q: %w", name, err)
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if kind.TUN {
		flags = unix.IFF_TUN | unix.IFF_NO_PI
	}
	if kind.MultiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	if kind.VNetHdr {
		flags |= unix.IFF_VNET_HDR
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return fmt.Errorf("making the tap %s: %w", name, err)
	}
	if kind.Owner >= 0 {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, kind.Owner); err != nil {
			return fmt.Errorf("giving the tap %s to user %d: %w", name, kind.Owner, err)
		}
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("making the tap %s persistent: %w", name, err)
	}
	return nil
}
