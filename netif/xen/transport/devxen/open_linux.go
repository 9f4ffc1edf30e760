package devxen

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif/xen/transport"
)

// ioctl calls through the runtime's descriptor, which stays open meanwhile and on
// the poller.
func ioctl(c syscall.RawConn, cmd uintptr, arg unsafe.Pointer) (ret uintptr, err error) {
	var e unix.Errno
	if cerr := c.Control(func(fd uintptr) {
		ret, _, e = unix.Syscall(unix.SYS_IOCTL, fd, cmd, uintptr(arg))
	}); cerr != nil {
		return 0, transport.ErrClosed
	}
	if e != 0 {
		return 0, e
	}
	return ret, nil
}

// device opens one of Xen's devices and says what to do if that fails.
func device(name, module string) (*os.File, error) {
	f, err := os.OpenFile("/dev/xen/"+name, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("xen: no permission for /dev/xen/%s: run as root, or give the user access to /dev/xen/*", name)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		if _, e := os.Stat("/proc/xen"); e != nil {
			return nil, fmt.Errorf("xen: no /dev/xen/%s: this machine is no Xen domain", name)
		}
		return nil, fmt.Errorf("xen: no /dev/xen/%s: load the kernel's module: modprobe %s", name, module)
	}
	return nil, fmt.Errorf("xen: %w", err)
}

// Check opens and closes what a front end needs: xenbus, evtchn and gntalloc. Its
// error says what is missing, and what to do.
func Check() error {
	for _, d := range [...][2]string{{"xenbus", "xenfs"}, {"evtchn", "xen-evtchn"}, {"gntalloc", "xen-gntalloc"}} {
		f, err := device(d[0], d[1])
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// Transport is an open connection to the kernel.
type Transport struct {
	store *store

	mu       sync.Mutex
	closed   bool
	gntalloc *os.File
	gntdev   *os.File
	open     map[closer]struct{}

	copiers sync.Pool // scratch memory of Copy
}

type closer interface{ Close() error }

// Open connects to the xenstore. The other devices are opened when they are needed.
func Open() (transport.Transport, error) {
	s, err := openStore()
	if err != nil {
		return nil, err
	}
	t := &Transport{store: s, open: make(map[closer]struct{})}
	t.copiers.New = func() any { return new(copier) }
	return t, nil
}

// Store implements transport.Transport.
func (t *Transport) Store() transport.Store { return t.store }

// Close implements transport.Transport.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	var left []closer
	for c := range t.open {
		left = append(left, c)
	}
	t.mu.Unlock()
	for _, c := range left {
		c.Close()
	}
	for _, f := range []*os.File{t.gntalloc, t.gntdev} {
		if f != nil {
			f.Close()
		}
	}
	return t.store.close()
}

// keep remembers what must be closed with the transport; false if that is closed.
func (t *Transport) keep(c closer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.open[c] = struct{}{}
	return true
}

func (t *Transport) forget(c closer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
}

// file returns a device that is opened with its first use.
func (t *Transport) file(at **os.File, name, module string) (syscall.RawConn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, transport.ErrClosed
	}
	if *at == nil {
		f, err := device(name, module)
		if err != nil {
			return nil, err
		}
		*at = f
	}
	return (*at).SyscallConn()
}

// Held returns an error that says what to do if the kernel's own driver has the vif
// of that number, which two cannot drive.
func Held(index int) error {
	link, err := os.Readlink(fmt.Sprintf("/sys/bus/xen/devices/vif-%d/driver", index))
	if err != nil {
		return nil // no such vif, or no driver
	}
	name := link[strings.LastIndexByte(link, '/')+1:]
	return fmt.Errorf("xen: vif %d belongs to the kernel: take it away with echo vif-%d > /sys/bus/xen/drivers/%s/unbind", index, index, name)
}
