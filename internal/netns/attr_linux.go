package netns

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Attr returns the attributes that start a child in a network namespace of its
// own, with all capabilities over it: as a process with CAP_SYS_ADMIN by a new
// network namespace alone (so that device files stay accessible as they are), else
// by a new user namespace around it in which the user is root. The child dies with
// the caller.
//
// To become that child, a program starts /proc/self/exe with these attributes.
func Attr() *syscall.SysProcAttr {
	if hasCapability(unix.CAP_SYS_ADMIN) {
		return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	}
	return UserAttr()
}

// UserAttr is Attr with a user namespace even for a privileged caller: what an
// ordinary user gets.
func UserAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
}

// Forbidden reports whether err, from starting a command with [Attr], means that
// the machine does not let this user make namespaces, and not that the command is
// at fault.
func Forbidden(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSPC) ||
		errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS)
}

func hasCapability(c int) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[c/32].Effective&(1<<(c%32)) != 0
}
