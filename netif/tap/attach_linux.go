package tap

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attach opens one descriptor a queue and binds each to the interface.
func attach(cfg *Config) ([]int, error) {
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if cfg.VNetHdr || cfg.Offload == OffloadOn || cfg.Offload == OffloadAuto && hasHeader() {
		flags |= unix.IFF_VNET_HDR
	}
	queues := max(cfg.Queues, 1)
	if queues > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	name := cfg.Name
	var fds []int
	for len(fds) < queues {
		fd, got, err := setIff(name, flags)
		if errors.Is(err, unix.EINVAL) && queues == 1 && exists(name) {
			// One queue of a tap that was made for several will do.
			fd, got, err = setIff(name, flags|unix.IFF_MULTI_QUEUE)
		}
		if err != nil {
			closeAll(fds)
			return nil, explain(cfg, queues, err)
		}
		fds = append(fds, fd)
		name = got // the kernel's choice, for the queues that follow
	}
	return fds, nil
}

// setIff opens a descriptor and makes it a queue of the interface.
func setIff(name string, flags uint16) (fd int, got string, err error) {
	if fd, err = openTun(); err != nil {
		return -1, "", &openError{err}
	}
	var r ifreq
	copy(r.name[:15], name)
	binary.NativeEndian.PutUint16(r.data[:], flags)
	if err := ioctl(fd, unix.TUNSETIFF, unsafe.Pointer(&r)); err != nil {
		unix.Close(fd)
		return -1, "", err
	}
	return fd, r.nameString(), nil
}

// openError is an error of openTun, which says all there is to say.
type openError struct{ error }

func (e *openError) Unwrap() error { return e.error }

// explain turns the kernel's verdict on TUNSETIFF into what to do.
func explain(cfg *Config, queues int, err error) error {
	var o *openError
	if errors.As(err, &o) {
		return o.error
	}
	name := cmp.Or(cfg.Name, "tap0")
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if exists(name) {
			return fmt.Errorf("tap: %s belongs to another user: give it to this one, `sudo ip tuntap del dev %s mode tap && sudo ip tuntap add dev %s mode tap user $USER`, or start the program by `sudo netduet run --dev %s`: %w", name, name, name, name, err)
		}
		return fmt.Errorf("tap: no permission to make %s: make it once for this user, `sudo ip tuntap add dev %s mode tap user $USER`, or start the program by `sudo netduet run --dev %s`: %w", name, name, name, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("tap: %s is in use by another process: stop that one, or choose another name: %w", name, err)
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("tap: %s has no room for %d more queues: %w", name, queues, err)
	case errors.Is(err, unix.EINVAL) && exists(name):
		return fmt.Errorf("tap: %s %s: %w", name, kindOf(name, queues), err)
	}
	return fmt.Errorf("tap: opening %s: %w", name, err)
}

// kindOf finds out why an existing interface cannot be joined.
func kindOf(name string, queues int) string {
	is := func(flags uint16) bool {
		fd, _, err := setIff(name, flags|unix.IFF_NO_PI)
		if err == nil {
			unix.Close(fd)
		}
		return !errors.Is(err, unix.EINVAL)
	}
	switch {
	case is(unix.IFF_TUN) || is(unix.IFF_TUN|unix.IFF_MULTI_QUEUE):
		return "is a tun, without Ethernet: choose another name, or make it a tap, `sudo ip tuntap add dev " + name + " mode tap`"
	case queues > 1 && is(unix.IFF_TAP):
		return "has one queue only: make it with several, `sudo ip tuntap add dev " + name + " mode tap multi_queue user $USER`"
	}
	return "is no tap but another interface of this machine: choose another name"
}
