package gvisor

import (
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/netduet/netduet/internal/netapi"
)

// errnoOf is the table of what an application sees of gVisor's errors: the errno
// that Linux has for the same event.
func errnoOf(err tcpip.Error) syscall.Errno {
	switch err.(type) {
	case *tcpip.ErrAddressFamilyNotSupported:
		return syscall.EAFNOSUPPORT
	case *tcpip.ErrAlreadyBound, *tcpip.ErrBadAddress, *tcpip.ErrInvalidEndpointState,
		*tcpip.ErrInvalidOptionValue, *tcpip.ErrInvalidPortRange, *tcpip.ErrMalformedHeader,
		*tcpip.ErrMissingRequiredFields, *tcpip.ErrMulticastInputCannotBeOutput, *tcpip.ErrQueueSizeNotSupported:
		return syscall.EINVAL
	case *tcpip.ErrAlreadyConnected:
		return syscall.EISCONN
	case *tcpip.ErrAlreadyConnecting:
		return syscall.EALREADY
	case *tcpip.ErrBadBuffer:
		return syscall.EFAULT
	case *tcpip.ErrBadLocalAddress, *tcpip.ErrDuplicateAddress, *tcpip.ErrNoPortAvailable:
		return syscall.EADDRNOTAVAIL
	case *tcpip.ErrBroadcastDisabled, *tcpip.ErrNotPermitted:
		return syscall.EACCES
	case *tcpip.ErrAborted, *tcpip.ErrClosedForSend:
		// A connection that the peer had closed and then reset is aborted.
		return syscall.EPIPE
	case *tcpip.ErrClosedForReceive, *tcpip.ErrNotConnected:
		return syscall.ENOTCONN
	case *tcpip.ErrConnectStarted:
		return syscall.EINPROGRESS
	case *tcpip.ErrConnectionAborted:
		return syscall.ECONNABORTED
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrDestinationRequired:
		return syscall.EDESTADDRREQ
	case *tcpip.ErrMessageTooLong:
		return syscall.EMSGSIZE
	case *tcpip.ErrNetworkUnreachable:
		return syscall.ENETUNREACH
	case *tcpip.ErrNoBufferSpace:
		return syscall.ENOBUFS
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown, *tcpip.ErrNoNet:
		// Linux tells the last two apart on few occasions; Go programs expect one.
		return syscall.EHOSTUNREACH
	case *tcpip.ErrNotSupported:
		return syscall.ENOSYS
	case *tcpip.ErrPortInUse:
		return syscall.EADDRINUSE
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrUnknownDevice, *tcpip.ErrUnknownNICID, *tcpip.ErrInvalidNICID, *tcpip.ErrDuplicateNICID:
		return syscall.EINVAL
	case *tcpip.ErrUnknownProtocol, *tcpip.ErrUnknownProtocolOption, *tcpip.ErrNoSuchFile:
		return syscall.EINVAL
	case *tcpip.ErrWouldBlock, *tcpip.ErrEndpointBusy:
		return syscall.EAGAIN
	}
	return syscall.EIO
}

// failed returns the cause that package net reports when call fails so.
func failed(call string, err tcpip.Error) error { return netapi.Syscall(call, errnoOf(err)) }

// again reports whether the call is to be repeated when the endpoint is ready.
func again(err tcpip.Error) bool {
	_, yes := err.(*tcpip.ErrWouldBlock)
	return yes
}
