package sockopt

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/netduet/netduet/internal/linuxopt"
)

// Socket is what has options by itself. Level and name are Linux's numbers on most
// architectures, and values are laid out as there on a little-endian machine: an int
// has 4 bytes. GetSockopt returns how many bytes it has put into value.
type Socket interface {
	SetSockopt(level, name int, value []byte) error
	GetSockopt(level, name int, value []byte) (int, error)
}

// maxWraps bounds how many connections may lie around the one that is meant.
const maxWraps = 16

// Of returns the socket beneath v, which is a net.Conn, a net.Listener or a
// net.PacketConn of any backend, or wraps one; or the syscall.RawConn that a net.Dialer or
// net.ListenConfig shows its Control function, for what must be set before a SYN leaves.
func Of(v any) (Socket, error) {
	for range maxWraps {
		switch c := v.(type) {
		case nil:
			return nil, errors.New("sockopt: no connection")
		case Socket:
			return c, nil
		case interface{ NetConn() net.Conn }:
			v = c.NetConn()
		case syscall.RawConn:
			return hostRaw(c)
		case syscall.Conn:
			return host(c)
		default:
			return nil, fmt.Errorf("sockopt: a %T has no socket options: it has neither SetSockopt, NetConn nor SyscallConn: %w", v, errors.ErrUnsupported)
		}
	}
	return nil, fmt.Errorf("sockopt: a %T is wrapped too often: %w", v, errors.ErrUnsupported)
}

// SetInt sets an option whose value is an int; see [Socket] for the numbers.
func SetInt(v any, level, name, value int) error {
	s, err := Of(v)
	if err != nil {
		return err
	}
	return s.SetSockopt(level, name, linuxopt.Int(value))
}

// Int returns the value of an option that is an int.
func Int(v any, level, name int) (int, error) {
	s, err := Of(v)
	if err != nil {
		return 0, err
	}
	var b [4]byte
	if n, err := s.GetSockopt(level, name, b[:]); err != nil {
		return 0, err
	} else if n < 1 {
		return 0, fmt.Errorf("sockopt: option %d of level %d has no value", name, level)
	}
	return linuxopt.GetInt(b[:]), nil
}

func setBool(v any, level, name int, on bool) error {
	if on {
		return SetInt(v, level, name, 1)
	}
	return SetInt(v, level, name, 0)
}

func getBool(v any, level, name int) (bool, error) {
	n, err := Int(v, level, name)
	return n != 0, err
}

// inUnits returns d in whole units, rounded up, so that no time becomes none.
func inUnits(d, unit time.Duration) int {
	if d < 0 {
		return -1
	}
	return int((d + unit - 1) / unit)
}

func setDuration(v any, name int, d, unit time.Duration) error {
	return SetInt(v, linuxopt.IPPROTO_TCP, name, inUnits(d, unit))
}

func duration(v any, name int, unit time.Duration) (time.Duration, error) {
	n, err := Int(v, linuxopt.IPPROTO_TCP, name)
	return time.Duration(n) * unit, err
}
