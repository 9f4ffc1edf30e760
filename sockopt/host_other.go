//go:build !(linux && (amd64 || arm64 || arm || riscv64 || loong64))

package sockopt

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

func hostRaw(syscall.RawConn) (Socket, error) { return host(nil) }

// host fails: the options of this system's sockets have other numbers, units and
// meanings, or none.
func host(syscall.Conn) (Socket, error) {
	return nil, fmt.Errorf("sockopt: the sockets of %s/%s don't have Linux's options: use package direct's connections, or the methods of *net.TCPConn: %w",
		runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
}
