package tap

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/netif"
)

// watered is a tap that water opened.
type watered struct {
	conn   io.ReadWriteCloser
	name   string
	mtu    int
	kernel netif.MAC
}

func newWater(cfg *Config) (*watered, error) {
	if err := validName(cfg.Name); err != nil {
		return nil, err
	}
	// water leaks its descriptor when it fails, and its errors say only "ioctl": find
	// out with the native driver's calls whether it will succeed.
	fds, err := attach(&Config{Name: cfg.Name, Offload: OffloadOff})
	if err != nil {
		return nil, err
	}
	k, err := examine(fds[0])
	closeAll(fds)
	if err != nil {
		return nil, err
	}
	conf := water.Config{DeviceType: water.TAP}
	conf.Name = cfg.Name
	// water clears the persistence of a tap unless told to keep it, and would so
	// remove somebody's interface; one that outlived the descriptor above has it.
	conf.Persist = cfg.Persistent || exists(cfg.Name)
	conf.MultiQueue = k.flags&unix.IFF_MULTI_QUEUE != 0
	ifce, err := water.New(conf)
	if err != nil {
		return nil, fmt.Errorf("tap: water: %w", err)
	}
	f, ok := ifce.ReadWriteCloser.(*os.File)
	if !ok {
		ifce.Close()
		return nil, fmt.Errorf("tap: water gave a %T where a file was expected", ifce.ReadWriteCloser)
	}
	w := &watered{conn: reasoned{f}, name: ifce.Name()}
	if err := w.settle(f); err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// settle does what water leaves undone.
func (w *watered) settle(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = conn.Control(func(fd uintptr) {
		unix.CloseOnExec(int(fd))
		var k kernelTap
		if k, inner = examine(int(fd)); inner != nil {
			return
		}
		if k.hdr > 0 {
			inner = fmt.Errorf("tap: %s puts a virtio header in front of frames, for which water has no use: open it with the native driver", k.name)
			return
		}
		if inner = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, 0); inner != nil {
			return
		}
		w.kernel = k.mac
		if w.mtu, _ = linkMTU(&k); w.mtu == 0 {
			w.mtu = 1500
		}
	})
	if err != nil {
		return err
	}
	return inner
}

// reasoned is the file of a tap whose errors say why. When an interface is taken away
// while a Read waits, the runtime's poller may see it first, and all it has to say is
// that the file is "not pollable"; the system call knows more.
type reasoned struct{ *os.File }

func (f reasoned) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if err == nil || errors.Is(err, os.ErrClosed) {
		return n, err
	}
	if conn, e := f.SyscallConn(); e == nil {
		var reason error
		e = conn.Control(func(fd uintptr) { _, reason = unix.Read(int(fd), p[:1]) })
		if e == nil && reason != nil && reason != unix.EAGAIN {
			err = reason
		}
	}
	return n, err
}
