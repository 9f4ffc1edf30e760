package netapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// Operations of *net.OpError, as package net names them.
const (
	OpDial   = "dial"
	OpListen = "listen"
	OpAccept = "accept"
	OpRead   = "read"
	OpWrite  = "write"
	OpClose  = "close" // also CloseRead and CloseWrite
	OpSet    = "set"   // deadlines and socket options
)

// System calls that package net names in *os.SyscallError. An engine has none
// of them; programs match on the errno beneath and people read the name.
const (
	CallSocket     = "socket"     // EAFNOSUPPORT: the stack lacks the address family
	CallBind       = "bind"       // EADDRINUSE, EADDRNOTAVAIL, EACCES
	CallListen     = "listen"     // EADDRINUSE
	CallConnect    = "connect"    // ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL
	CallAccept     = "accept4"    // ECONNABORTED, EMFILE
	CallRead       = "read"       // stream: ECONNRESET, ETIMEDOUT; connected datagram: ECONNREFUSED
	CallWrite      = "write"      // EPIPE, ECONNRESET, ETIMEDOUT, EMSGSIZE, EDESTADDRREQ
	CallRecvfrom   = "recvfrom"   // ReadFrom and its kin
	CallRecvmsg    = "recvmsg"    // ReadMsgUDP and its kin
	CallSendto     = "sendto"     // WriteTo and its kin: EMSGSIZE, ENETUNREACH, EACCES
	CallSendmsg    = "sendmsg"    // WriteMsgUDP and its kin
	CallShutdown   = "shutdown"   // CloseRead, CloseWrite: ENOTCONN
	CallSetsockopt = "setsockopt" // SetNoDelay, SetLinger, …: EINVAL
)

// Syscall returns the cause that package net reports when the system call named
// call fails with errno: an *os.SyscallError.
//
// What net wraps so, and what not: every errno of the calls above is wrapped.
// Bare are net.ErrClosed, os.ErrDeadlineExceeded, the outcomes of a context
// ([MapContext]), net.ErrWriteToConnected, [ErrMissingAddress], *net.AddrError,
// *net.DNSError, net.UnknownNetworkError, and syscall.EINVAL where a PacketConn
// is given an address of another network.
func Syscall(call string, errno syscall.Errno) error {
	return os.NewSyscallError(call, errno)
}

// ErrMissingAddress is the cause of a dial to the empty address, and of a write
// to no address on a datagram socket that is not connected.
var ErrMissingAddress = errors.New("missing address")

// timeoutError is what a context's deadline becomes. Package net's own has
// these three answers and this text, and matches context.DeadlineExceeded.
type timeoutError struct{}

func (timeoutError) Error() string        { return "i/o timeout" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// canceledError is what a context's cancellation becomes.
type canceledError struct{}

func (canceledError) Error() string        { return "operation was canceled" }
func (canceledError) Is(target error) bool { return target == context.Canceled }

// MapContext turns the errors of a context into the ones that net reports for
// them: "i/o timeout", a timeout that errors.Is context.DeadlineExceeded, and
// "operation was canceled", which errors.Is context.Canceled. Other errors are
// returned as they are.
func MapContext(err error) error {
	switch err {
	case context.Canceled:
		return canceledError{}
	case context.DeadlineExceeded:
		return timeoutError{}
	}
	return err
}

// Cause returns what stands beneath the *net.OpError in err, or err if there is
// none; it lets an engine report again, under other addresses, what a lower call
// already wrapped.
func Cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// OpError wraps err as package net does for operation op: nil stays nil, io.EOF
// of reading stays bare, the errors of a context are mapped, and anything else
// becomes a *net.OpError. A nil pointer in source or addr counts as absent.
func OpError(op, network string, source, addr net.Addr, err error) error {
	if err == nil {
		return nil
	}
	if err == io.EOF && (op == OpRead || op == "readfrom" || op == "writeto") {
		return io.EOF
	}
	return &net.OpError{Op: op, Net: network, Source: present(source), Addr: present(addr), Err: MapContext(err)}
}

// DialError wraps the cause of a failed dial. A zero laddr or raddr is absent.
func DialError(network string, laddr, raddr netip.AddrPort, err error) error {
	return OpError(OpDial, network, optAddr(network, laddr), optAddr(network, raddr), err)
}

// ListenError wraps the cause of a failed Listen or ListenPacket at laddr, the
// address that was asked for; its Addr may be invalid, which prints as ":80".
func ListenError(network string, laddr netip.AddrPort, err error) error {
	return OpError(OpListen, network, nil, Addr(network, laddr), err)
}

// Endpoint names a socket in errors: Network as the program gave it ("tcp",
// "udp4"), its own address, and its peer's or nil. The zero Remote of a listener
// or an unconnected datagram socket must be a nil interface. Its methods return
// nil for nil and are safe for concurrent use.
type Endpoint struct {
	Network       string
	Local, Remote net.Addr
}

// Read wraps an error of reading; io.EOF stays bare.
func (e Endpoint) Read(err error) error { return OpError(OpRead, e.Network, e.Local, e.Remote, err) }

// Write wraps an error of writing to the peer.
func (e Endpoint) Write(err error) error { return OpError(OpWrite, e.Network, e.Local, e.Remote, err) }

// WriteTo wraps an error of writing a datagram to dst, which replaces the peer.
func (e Endpoint) WriteTo(dst net.Addr, err error) error {
	return OpError(OpWrite, e.Network, e.Local, dst, err)
}

// ReadFrom wraps an error of io.ReaderFrom on a stream. What Write returned
// stays wrapped inside, as in net.
func (e Endpoint) ReadFrom(err error) error {
	return OpError("readfrom", e.Network, e.Local, e.Remote, err)
}

// CopyTo wraps an error of io.WriterTo on a stream ("writeto").
func (e Endpoint) CopyTo(err error) error {
	return OpError("writeto", e.Network, e.Local, e.Remote, err)
}

// Close wraps an error of Close, CloseRead or CloseWrite on a connection.
func (e Endpoint) Close(err error) error { return OpError(OpClose, e.Network, e.Local, e.Remote, err) }

// SetDeadline wraps an error of the deadline and buffer setters of a connection:
// net names only the local address there. A net.TCPListener returns the error of
// SetDeadline bare, so a listener must not wrap it.
func (e Endpoint) SetDeadline(err error) error { return OpError(OpSet, e.Network, nil, e.Local, err) }

// SetOption wraps an error of SetNoDelay, SetLinger, SetKeepAlive and their kin.
func (e Endpoint) SetOption(err error) error {
	return OpError(OpSet, e.Network, e.Local, e.Remote, err)
}

// Accept wraps an error of a listener's Accept.
func (e Endpoint) Accept(err error) error { return OpError(OpAccept, e.Network, nil, e.Local, err) }

// CloseListener wraps an error of a listener's Close.
func (e Endpoint) CloseListener(err error) error {
	return OpError(OpClose, e.Network, nil, e.Local, err)
}

// present turns the nil pointers that package net's resolvers return into
// absence: printed within an OpError they would read "<nil>".
func present(a net.Addr) net.Addr {
	switch p := a.(type) {
	case *net.TCPAddr:
		if p == nil {
			return nil
		}
	case *net.UDPAddr:
		if p == nil {
			return nil
		}
	}
	return a
}
