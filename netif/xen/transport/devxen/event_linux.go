package devxen

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif/xen/transport"
)

// Numbers of evtchn (linux: include/uapi/xen/evtchn.h).
const (
	evtchnBindInterdomain = 8<<16 | 'E'<<8 | 1
	evtchnBindUnbound     = 4<<16 | 'E'<<8 | 2
	evtchnNotify          = 4<<16 | 'E'<<8 | 4
)

// channel is an event channel with a descriptor of its own, so that closing that
// unbinds it, and nobody else can read its events.
type channel struct {
	t    *Transport
	file *os.File
	conn syscall.RawConn
	port transport.Port

	arg    uint32           // what notify hands to the kernel; never changes
	notify func(fd uintptr) // kept, since making it anew would allocate
	closed atomic.Bool
	once   sync.Once
	reader chan struct{} // closed when the reading goroutine has ended; nil without one
	mu     sync.Mutex    // of reader
}

func (t *Transport) newChannel(cmd uintptr, arg unsafe.Pointer) (transport.Channel, error) {
	f, err := device("evtchn", "xen-evtchn")
	if err != nil {
		return nil, err
	}
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	port, err := ioctl(conn, cmd, arg)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("xen: binding an event channel: %w", err)
	}
	c := &channel{t: t, file: f, conn: conn, port: transport.Port(port), arg: uint32(port)}
	c.notify = func(fd uintptr) { unix.Syscall(unix.SYS_IOCTL, fd, evtchnNotify, uintptr(unsafe.Pointer(&c.arg))) }
	if !t.keep(c) {
		f.Close()
		return nil, transport.ErrClosed
	}
	return c, nil
}

// Listen implements transport.Transport.
func (t *Transport) Listen(peer transport.Domain) (transport.Channel, error) {
	arg := uint32(peer)
	return t.newChannel(evtchnBindUnbound, unsafe.Pointer(&arg))
}

// Bind implements transport.Transport.
func (t *Transport) Bind(peer transport.Domain, port transport.Port) (transport.Channel, error) {
	arg := [2]uint32{uint32(peer), uint32(port)}
	return t.newChannel(evtchnBindInterdomain, unsafe.Pointer(&arg[0]))
}

func (c *channel) Port() transport.Port { return c.port }

// Notify implements transport.Channel. What the kernel says to it is of no use: the
// other end may be gone, which others notice.
func (c *channel) Notify() error {
	if c.conn.Control(c.notify) != nil {
		return transport.ErrClosed
	}
	return nil
}

// Handle implements transport.Channel.
func (c *channel) Handle(h func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reader != nil || c.closed.Load() {
		return
	}
	c.reader = make(chan struct{})
	go c.read(h, c.reader)
}

func (c *channel) read(h func(), done chan struct{}) {
	defer close(done)
	var ports [64]byte
	for {
		n, err := c.file.Read(ports[:])
		if err != nil || c.closed.Load() {
			return
		}
		if n < 4 || binary.LittleEndian.Uint32(ports[:]) != c.arg {
			continue
		}
		// Unmask first: what comes from here on is another event.
		if _, err := c.file.Write(ports[:n&^3]); err != nil {
			return
		}
		h()
	}
}

// Close implements transport.Channel.
func (c *channel) Close() error {
	c.once.Do(func() {
		c.t.forget(c)
		c.closed.Store(true)
		c.file.Close()
		c.mu.Lock()
		done := c.reader
		c.mu.Unlock()
		if done != nil {
			<-done
		}
	})
	return nil
}
