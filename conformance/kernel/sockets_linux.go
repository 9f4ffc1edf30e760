//go:build linux && (amd64 || arm64)

package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/conformance/player"
)

// errno turns an error of a system call into a player.Errno.
func errno(err error) error {
	var e unix.Errno
	if err == nil || !errors.As(err, &e) {
		return err
	}
	switch e {
	case unix.EOPNOTSUPP:
		return player.Errno("EOPNOTSUPP")
	case unix.EAGAIN:
		return player.Errno("EAGAIN")
	}
	if name := unix.ErrnoName(e); name != "" {
		return player.Errno(name)
	}
	return err
}

// retry calls f until a signal has not interrupted it: the Go runtime sends signals
// to its own threads, which are none of the script's.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return errno(err)
		}
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	switch {
	case !a.IsValid():
		return nil
	case a.Addr().Is4():
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch a := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func (b *backend) keep(fd int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fds[fd] = struct{}{}
}

func (b *backend) Socket(family, typ, proto int) (int, error) {
	fd, err := unix.Socket(family, typ, proto)
	if err != nil {
		return -1, errno(err)
	}
	b.keep(fd)
	if b.cc != "" && typ&0xf == unix.SOCK_STREAM {
		// What a listener has been given, the connections it accepts have too.
		unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, b.cc)
	}
	return fd, nil
}

func (b *backend) Bind(fd int, a netip.AddrPort) error {
	if !a.IsValid() {
		return player.Errno("EINVAL")
	}
	return errno(unix.Bind(fd, sockaddr(a)))
}

func (b *backend) Listen(fd, backlog int) error { return errno(unix.Listen(fd, backlog)) }

func (b *backend) Accept(fd, flags int) (int, netip.AddrPort, error) {
	n := -1
	var from unix.Sockaddr
	err := retry(func() (err error) {
		n, from, err = unix.Accept4(fd, flags)
		return err
	})
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	b.keep(n)
	return n, addrPort(from), nil
}

func (b *backend) Connect(fd int, a netip.AddrPort) error {
	if a.IsValid() {
		return retry(func() error { return unix.Connect(fd, sockaddr(a)) })
	}
	return retry(func() error { // AF_UNSPEC dissolves an association
		var unspec [16]byte
		if _, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec)); e != 0 {
			return e
		}
		return nil
	})
}

func (b *backend) Send(fd int, p [][]byte, to netip.AddrPort, control []player.Control, flags int) (n int, err error) {
	var oob []byte
	for _, c := range control {
		h := make([]byte, unix.CmsgSpace(len(c.Data)))
		k := (*unix.Cmsghdr)(unsafe.Pointer(&h[0]))
		k.Level, k.Type = int32(c.Level), int32(c.Type)
		k.SetLen(unix.CmsgLen(len(c.Data)))
		copy(h[unix.CmsgLen(0):], c.Data)
		oob = append(oob, h...)
	}
	err = retry(func() (err error) {
		if flags == 0 && len(oob) == 0 && !to.IsValid() {
			n, err = unix.Writev(fd, p)
		} else {
			n, err = unix.SendmsgBuffers(fd, p, oob, sockaddr(to), flags)
		}
		return err
	})
	return n, err
}

func (b *backend) Recv(fd int, p [][]byte, controlLen, flags int) (r player.Received, err error) {
	oob := make([]byte, controlLen)
	var oobn int
	var from unix.Sockaddr
	err = retry(func() (err error) {
		r.N, oobn, r.Flags, from, err = unix.RecvmsgBuffers(fd, p, oob, flags)
		return err
	})
	if err != nil {
		return r, err
	}
	r.From = addrPort(from)
	r.Flags &^= unix.MSG_CMSG_CLOEXEC
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return r, errno(err)
	}
	for _, m := range msgs {
		b.fromStart(&m)
		r.Control = append(r.Control, player.Control{Level: int(m.Header.Level), Type: int(m.Header.Type), Data: m.Data})
	}
	return r, nil
}

// fromStart makes the stamps of a struct scm_timestamping count from the backend's
// start.
func (b *backend) fromStart(m *unix.SocketControlMessage) {
	if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_TIMESTAMPING && m.Header.Type != unix.SCM_TIMESTAMPNS {
		return
	}
	const stamp = 16 // a struct timespec
	for d := m.Data; len(d) >= stamp; d = d[stamp:] {
		sec, nsec := binary.LittleEndian.Uint64(d), binary.LittleEndian.Uint64(d[8:])
		if sec == 0 && nsec == 0 {
			continue // not there
		}
		at := time.Unix(int64(sec), int64(nsec)).Sub(b.started)
		binary.LittleEndian.PutUint64(d, uint64(at/time.Second))
		binary.LittleEndian.PutUint64(d[8:], uint64(at%time.Second))
	}
}

func (b *backend) Shutdown(fd, how int) error { return errno(unix.Shutdown(fd, how)) }

func (b *backend) CloseFD(fd int) error {
	b.mu.Lock()
	delete(b.fds, fd)
	b.mu.Unlock()
	return errno(unix.Close(fd))
}

func (b *backend) Setsockopt(fd, level, name int, value []byte) error {
	return errno(unix.SetsockoptString(fd, level, name, string(value)))
}

func (b *backend) Getsockopt(fd, level, name, n int) ([]byte, error) {
	buf := make([]byte, max(n, 1))
	size := uint32(n)
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return nil, errno(e)
	}
	return buf[:min(int(size), len(buf))], nil
}

func (b *backend) Fcntl(fd, cmd, arg int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), cmd, arg)
	return n, errno(err)
}

func (b *backend) Ioctl(fd, req int) (int, error) {
	n, err := unix.IoctlGetInt(fd, uint(req))
	return n, errno(err)
}

// slice is how long poll and epoll_wait sleep at a time, so that Close ends a wait
// without end.
const slice = 50 * time.Millisecond

// waitFor calls f with timeouts in milliseconds until it finds something or the
// caller's timeout is over.
func (b *backend) waitFor(timeout int, f func(ms int) (int, error)) (int, error) {
	end := time.Now().Add(time.Duration(timeout) * time.Millisecond)
	for {
		ms := int(slice / time.Millisecond)
		last := false
		if timeout >= 0 {
			left := time.Until(end)
			if left <= slice {
				// Rounded up: a wait that ends early would find nothing.
				ms, last = int((max(left, 0)+time.Millisecond-1)/time.Millisecond), true
			}
		}
		n, err := f(ms)
		switch {
		case err == unix.EINTR:
			continue
		case n != 0 || err != nil || last || b.closed.Load() || b.stuck.Load():
			return n, errno(err)
		}
	}
}

func (b *backend) Poll(fds []player.PollFD, timeout int) (int, error) {
	p := make([]unix.PollFd, len(fds))
	for i, f := range fds {
		p[i] = unix.PollFd{Fd: int32(f.FD), Events: f.Events}
	}
	n, err := b.waitFor(timeout, func(ms int) (int, error) { return unix.Poll(p, ms) })
	for i := range fds {
		fds[i].Revents = p[i].Revents
	}
	return n, err
}

func (b *backend) EpollCreate(flags int) (int, error) {
	fd, err := unix.EpollCreate1(flags)
	if err != nil {
		return -1, errno(err)
	}
	b.keep(fd)
	return fd, nil
}

func (b *backend) EpollCtl(ep, op, fd int, e player.EpollEvent) error {
	ev := unix.EpollEvent{Events: e.Events, Fd: int32(e.Data), Pad: int32(e.Data >> 32)}
	return errno(unix.EpollCtl(ep, op, fd, &ev))
}

func (b *backend) EpollWait(ep, most, timeout int) ([]player.EpollEvent, error) {
	evs := make([]unix.EpollEvent, max(most, 1))
	n, err := b.waitFor(timeout, func(ms int) (int, error) { return unix.EpollWait(ep, evs, ms) })
	if err != nil {
		return nil, err
	}
	var got []player.EpollEvent
	for _, e := range evs[:max(n, 0)] {
		got = append(got, player.EpollEvent{Events: e.Events, Data: uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32})
	}
	return got, nil
}

func (b *backend) TCPInfo(fd int) (map[string]int64, error) {
	raw, err := b.Getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, 512)
	if err != nil {
		return nil, err
	}
	return player.DecodeTCPInfo(raw)
}
