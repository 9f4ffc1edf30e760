package direct

import (
	"errors"
	"syscall"

	"github.com/netduet/netduet/conformance/player"
)

// errnoNames are the errors that our sockets fail with, by the names that scripts
// give them.
var errnoNames = [...]struct {
	errno syscall.Errno
	name  player.Errno
}{
	{syscall.EAGAIN, "EAGAIN"}, {syscall.EINPROGRESS, "EINPROGRESS"}, {syscall.EALREADY, "EALREADY"}, {syscall.EISCONN, "EISCONN"},
	{syscall.ENOTCONN, "ENOTCONN"}, {syscall.ECONNREFUSED, "ECONNREFUSED"}, {syscall.ECONNRESET, "ECONNRESET"},
	{syscall.ECONNABORTED, "ECONNABORTED"}, {syscall.ETIMEDOUT, "ETIMEDOUT"}, {syscall.EPIPE, "EPIPE"}, {syscall.EINVAL, "EINVAL"},
	{syscall.EADDRINUSE, "EADDRINUSE"}, {syscall.EADDRNOTAVAIL, "EADDRNOTAVAIL"}, {syscall.EAFNOSUPPORT, "EAFNOSUPPORT"},
	{syscall.EBADF, "EBADF"}, {syscall.EDESTADDRREQ, "EDESTADDRREQ"}, {syscall.EMSGSIZE, "EMSGSIZE"}, {syscall.ENOBUFS, "ENOBUFS"},
	{syscall.ENOMEM, "ENOMEM"}, {syscall.ENOPROTOOPT, "ENOPROTOOPT"}, {syscall.EOPNOTSUPP, "EOPNOTSUPP"},
	{syscall.EPROTONOSUPPORT, "EPROTONOSUPPORT"}, {syscall.EPROTOTYPE, "EPROTOTYPE"}, {syscall.ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT"},
	{syscall.EHOSTUNREACH, "EHOSTUNREACH"}, {syscall.ENETUNREACH, "ENETUNREACH"}, {syscall.ENETDOWN, "ENETDOWN"},
	{syscall.EHOSTDOWN, "EHOSTDOWN"}, {syscall.ENOENT, "ENOENT"}, {syscall.EACCES, "EACCES"}, {syscall.EPERM, "EPERM"},
	{syscall.EPROTO, "EPROTO"}, {syscall.EDOM, "EDOM"}, {syscall.EFAULT, "EFAULT"}, {syscall.EEXIST, "EEXIST"}, {syscall.EINTR, "EINTR"},
}

// errno turns an error of our sockets into a player.Errno.
func errno(err error) error {
	if err == nil {
		return nil
	}
	for _, e := range errnoNames {
		if errors.Is(err, e.errno) {
			return e.name
		}
	}
	return err
}

const (
	errAgain   = player.Errno("EAGAIN")
	errBadFD   = player.Errno("EBADF")
	errInvalid = player.Errno("EINVAL")
	errNotSock = player.Errno("ENOTSOCK")
	errNoSupp  = player.Errno("EOPNOTSUPP")
)
