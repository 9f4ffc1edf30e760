//go:build linux && (amd64 || arm64 || arm || riscv64 || loong64)

package sockopt

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hostSocket is a socket of the kernel's.
type hostSocket struct{ raw syscall.RawConn }

func host(c syscall.Conn) (Socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	return hostSocket{raw}, nil
}

func hostRaw(raw syscall.RawConn) (Socket, error) { return hostSocket{raw}, nil }

func (h hostSocket) SetSockopt(level, name int, value []byte) error {
	var err error
	if e := h.raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), level, name, string(value)) }); e != nil {
		return e
	}
	return os.NewSyscallError("setsockopt", err)
}

func (h hostSocket) GetSockopt(level, name int, value []byte) (int, error) {
	n := uint32(len(value))
	if n == 0 {
		return 0, os.NewSyscallError("getsockopt", unix.EINVAL)
	}
	var errno syscall.Errno
	e := h.raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), uintptr(name),
			uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&n)), 0)
	})
	switch {
	case e != nil:
		return 0, e
	case errno != 0:
		return 0, os.NewSyscallError("getsockopt", errno)
	}
	return min(int(n), len(value)), nil
}
