package player

import (
	"net/netip"
	"time"
)

// Backend is a stack under test: a clock, a wire and sockets. One goroutine drives
// it; only the functions given to Go, and perhaps Do, run elsewhere, and they use nothing but Now
// and the methods of Sockets.
type Backend interface {
	Sockets

	// Now is the time since the backend was made. It may be called from any
	// goroutine.
	Now() time.Duration
	// SleepUntil returns at the given time, or at once if that has passed, with
	// everything that the stack sent meanwhile ready for Outbound.
	SleepUntil(t time.Duration)
	// Outbound returns the next packet that the stack has sent; it waits for one
	// until the given time.
	Outbound(until time.Duration) (Sent, bool)
	// Inject makes the stack receive an IP packet, and returns when it has done with
	// it what takes no time.
	Inject(packet []byte) error
	// Do runs f, which makes a system call that is expected to return at once. It
	// reports false if f has not returned at the given time; f may then be running
	// still.
	Do(f func(), until time.Duration) bool
	// Go runs f on its own goroutine, where f may block in a system call.
	Go(f func())
	// Await waits until done is closed or the time has come, and reports which: true
	// if it is closed.
	Await(done <-chan struct{}, until time.Duration) bool
	// Sysctl changes the configuration of the running stack. An error is noted, not
	// fatal.
	Sysctl(name, value string) error
	// Close aborts all connections, makes blocked calls return, and frees everything.
	Close() error
}

// Sent is a packet the stack has sent.
type Sent struct {
	At     time.Duration
	Packet []byte
	// Partial says that the transport checksum was left to hardware.
	Partial bool
}

// Sockets are the system calls. Numbers (families, options, flags, ioctls) and the
// layout of option values are Linux's on a little-endian 64-bit machine. File
// descriptors are the backend's own; -1 is never valid. A failure is an Errno. All
// methods may be called from several goroutines, and block as the calls do.
type Sockets interface {
	Socket(family, typ, proto int) (int, error)
	Bind(fd int, a netip.AddrPort) error
	Listen(fd, backlog int) error
	Accept(fd, flags int) (int, netip.AddrPort, error)
	Connect(fd int, a netip.AddrPort) error
	// Send sends the buffers as one message; to may be invalid.
	Send(fd int, p [][]byte, to netip.AddrPort, control []Control, flags int) (int, error)
	// Recv fills the buffers; controlLen is the room for control messages.
	Recv(fd int, p [][]byte, controlLen, flags int) (Received, error)
	Shutdown(fd, how int) error
	CloseFD(fd int) error
	Setsockopt(fd, level, name int, value []byte) error
	// Getsockopt returns at most n bytes.
	Getsockopt(fd, level, name, n int) ([]byte, error)
	Fcntl(fd, cmd, arg int) (int, error)
	// Ioctl is for requests that give an int, such as SIOCINQ.
	Ioctl(fd, req int) (int, error)
	// Poll fills Revents; the timeout is in milliseconds, negative for none.
	Poll(fds []PollFD, timeout int) (int, error)
	EpollCreate(flags int) (int, error)
	EpollCtl(ep, op, fd int, e EpollEvent) error
	EpollWait(ep, max, timeout int) ([]EpollEvent, error)
	// TCPInfo returns the members of struct tcp_info by name, "tcpi_state" and so on,
	// in Linux's units.
	TCPInfo(fd int) (map[string]int64, error)
}

// Control is a control message. The times in one that is received count from when the
// backend was made, as Now does.
type Control struct {
	Level, Type int
	Data        []byte
}

// Received is what a receiving call got.
type Received struct {
	N       int
	From    netip.AddrPort
	Flags   int
	Control []Control
}

// PollFD is a struct pollfd.
type PollFD struct {
	FD              int
	Events, Revents int16
}

// EpollEvent is a struct epoll_event.
type EpollEvent struct {
	Events uint32
	Data   uint64
}

// Errno is the name of an error as scripts write it: "EAGAIN".
type Errno string

func (e Errno) Error() string { return string(e) }
