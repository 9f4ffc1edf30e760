package player

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/netduet/netduet/conformance/script"
)

// Numbers the player itself looks at.
const (
	afINET, afINET6   = 2, 10
	sockStream        = 1
	sockDgram         = 2
	sockTypeMask      = 0xf
	solTCP, optInfo   = 6, 11
	defaultBacklogLen = 1
)

// arity fails if the call has not between lo and hi arguments.
func (r *run) arity(s *script.Syscall, lo, hi int) []script.Expr {
	if n := len(s.Args); n < lo || n > hi {
		r.fail(BadScript, "%s takes %d arguments, not %d", s.Name, lo, n)
	}
	return s.Args
}

func nothing(err error) (int64, error) { return 0, err }

// prepare reads the arguments of a call.
func (r *run) prepare(s *script.Syscall) *prepared {
	switch s.Name {
	case "socket":
		return r.socket(s)
	case "bind":
		return r.bind(s)
	case "listen":
		return r.listen(s)
	case "accept", "accept4":
		return r.accept(s)
	case "connect":
		return r.connect(s)
	case "read", "recv", "recvfrom", "readv", "recvmsg":
		return r.receive(s)
	case "write", "send", "sendto", "writev", "sendmsg":
		return r.send(s)
	case "close":
		return r.closeFD(s)
	case "shutdown":
		a := r.arity(s, 2, 2)
		fd, how := r.fd(a[0]).live, r.small(a[1])
		return &prepared{exec: func() (int64, error) { return nothing(r.b.Shutdown(fd, how)) }}
	case "setsockopt":
		a := r.arity(s, 5, 5)
		fd, level, name := r.fd(a[0]).live, r.small(a[1]), r.small(a[2])
		n := 4
		if !ignored(a[4]) {
			n = r.size(a[4])
		}
		value := r.option(a[3], n)
		if n < len(value) {
			value = value[:n]
		}
		return &prepared{exec: func() (int64, error) { return nothing(r.b.Setsockopt(fd, level, name, value)) }}
	case "getsockopt":
		return r.getsockopt(s)
	case "fcntl":
		a := r.arity(s, 2, 3)
		fd, cmd, arg := r.fd(a[0]).live, r.small(a[1]), 0
		if len(a) == 3 && !ignored(a[2]) {
			arg = r.small(a[2])
		}
		return &prepared{exec: func() (int64, error) {
			n, err := r.b.Fcntl(fd, cmd, arg)
			return int64(n), err
		}}
	case "ioctl":
		a := r.arity(s, 3, 3)
		fd, req := r.fd(a[0]).live, r.small(a[1])
		got := 0
		return &prepared{
			exec: func() (_ int64, err error) {
				got, err = r.b.Ioctl(fd, req)
				return 0, err
			},
			finish: func(int64) { r.same("the value", a[2], int64(got)) },
		}
	case "poll":
		return r.poll(s)
	case "epoll_create", "epoll_create1":
		a := r.arity(s, 1, 1)
		flags := r.small(a[0])
		if s.Name == "epoll_create" {
			flags = 0 // the argument is a size, long without meaning
		}
		return &prepared{
			exec: func() (int64, error) {
				fd, err := r.b.EpollCreate(flags)
				return int64(fd), err
			},
			finish: func(v int64) { r.open(s, &sock{live: int(v), epoll: true}) },
		}
	case "epoll_ctl":
		a := r.arity(s, 4, 4)
		ep, op, fd := r.fd(a[0]).live, r.small(a[1]), r.fd(a[2]).live
		var ev EpollEvent
		if !ignored(a[3]) {
			ev = r.epollEvent(a[3])
		}
		return &prepared{exec: func() (int64, error) { return nothing(r.b.EpollCtl(ep, op, fd, ev)) }}
	case "epoll_wait":
		return r.epollWait(s)
	}
	panic("a system call that is in callNames and nowhere else: " + s.Name)
}

// callNames are the calls that prepare knows.
var callNames = [...]string{
	"socket", "bind", "listen", "accept", "accept4", "connect",
	"read", "readv", "recv", "recvfrom", "recvmsg", "write", "writev", "send", "sendto", "sendmsg",
	"close", "shutdown", "setsockopt", "getsockopt", "fcntl", "ioctl",
	"poll", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
}

// same compares a number a call has left with what the script says, if it does.
func (r *run) same(what string, want script.Expr, got int64) {
	want = r.resolve(want)
	if ignored(want) {
		return
	}
	if l, ok := want.(*script.List); ok && len(l.Items) == 1 && ignored(l.Items[0]) {
		return
	}
	if w := r.int(want); w != got {
		r.failWith(Call, fmt.Sprint(w), fmt.Sprint(got), "%s is %d", what, got)
	}
}

// open gives a new socket the number that the script calls it by.
func (r *run) open(s *script.Syscall, k *sock) {
	n := int64(k.live)
	if !ignored(s.Result.Value) {
		n = r.int(s.Result.Value)
	}
	r.fds[n] = k
}

func (r *run) socket(s *script.Syscall) *prepared {
	a := r.arity(s, 3, 3)
	family := afINET
	if r.plan.IPv6 || r.plan.Mapped {
		family = afINET6
	}
	if !ignored(a[0]) {
		family = r.small(a[0])
	}
	typ, proto := r.small(a[1]), r.small(a[2])
	return &prepared{
		exec: func() (int64, error) {
			fd, err := r.b.Socket(family, typ, proto)
			return int64(fd), err
		},
		finish: func(v int64) {
			k := &sock{live: int(v), udp: typ&sockTypeMask == sockDgram, v6: family == afINET6}
			r.open(s, k)
			if !k.udp {
				r.newest = k
			}
		},
	}
}

// localAddr is where bind(…, ..., ...) binds.
func (r *run) localAddr(k *sock) netip.AddrPort {
	return netip.AddrPortFrom(r.family(k, r.plan.Local.Addr()), r.plan.BindPort)
}

// family turns an IPv4 address into a mapped one for an IPv6 socket.
func (r *run) family(k *sock, a netip.Addr) netip.Addr {
	if k.v6 && a.Is4() {
		return netip.AddrFrom16(a.As16())
	}
	return a
}

func (r *run) bind(s *script.Syscall) *prepared {
	a := r.arity(s, 3, 3)
	k := r.fd(a[0])
	to := r.addr(a[1])
	if ignored(r.resolve(a[1])) {
		to = r.localAddr(k)
	}
	return &prepared{
		exec: func() (int64, error) { return nothing(r.b.Bind(k.live, to)) },
		finish: func(int64) {
			k.bound = to
			if to.Port() != 0 {
				r.lastBound = to.Port()
			}
			if k.udp {
				r.udpConn(k, netip.AddrPortFrom(r.plan.Remote, r.plan.ConnPort))
			}
		},
	}
}

// udpConn makes the pair of ports of a UDP socket.
func (r *run) udpConn(k *sock, remote netip.AddrPort) {
	if c := k.conn; c != nil {
		c.remote = remote
		r.cur = c
		return
	}
	local := k.bound
	if !local.IsValid() || local.Addr().Unmap().IsUnspecified() {
		local = netip.AddrPortFrom(r.plan.Local.Addr(), local.Port())
	}
	c := &conn{udp: true, sock: k, local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), remote: remote}
	k.conn = c
	r.conns = append(r.conns, c)
	r.cur = c
}

func (r *run) listen(s *script.Syscall) *prepared {
	a := r.arity(s, 2, 2)
	k := r.fd(a[0])
	n := defaultBacklogLen
	if !ignored(a[1]) {
		n = r.small(a[1])
	}
	return &prepared{
		exec: func() (int64, error) { return nothing(r.b.Listen(k.live, n)) },
		finish: func(int64) {
			if !k.listening {
				k.listening = true
				r.cur = nil
			}
			r.listener = k
		},
	}
}

func (r *run) accept(s *script.Syscall) *prepared {
	a := r.arity(s, 3, 4)
	k := r.fd(a[0])
	flags := 0
	if len(a) == 4 {
		flags = r.small(a[3])
	}
	var peer netip.AddrPort
	return &prepared{
		mayBlock: true,
		exec: func() (int64, error) {
			fd, from, err := r.b.Accept(k.live, flags)
			peer = from
			return int64(fd), err
		},
		finish: func(v int64) {
			n := &sock{live: int(v), v6: k.v6}
			r.open(s, n)
			r.newest = n
			peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
			for _, c := range r.conns {
				if c.passive && c.remote == peer && c.sock == nil {
					c.sock, n.conn = n, c
				}
			}
		},
	}
}

func (r *run) connect(s *script.Syscall) *prepared {
	a := r.arity(s, 3, 3)
	k := r.fd(a[0])
	to := r.addr(a[1])
	if ignored(r.resolve(a[1])) {
		to = netip.AddrPortFrom(r.family(k, r.plan.Remote), r.plan.ConnPort)
	}
	remote := netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	switch {
	case k.live < 0 || !to.IsValid():
	case k.udp:
		r.udpConn(k, remote)
	case s.Result.Errno == "EALREADY" || s.Result.Errno == "EISCONN": // the connection that there is
	case k.conn == nil || k.conn.remote != remote || k.conn.over():
		r.active(k, remote)
	}
	return &prepared{mayBlock: true, exec: func() (int64, error) { return nothing(r.b.Connect(k.live, to)) }}
}

// active makes the connection that a socket opens.
func (r *run) active(k *sock, remote netip.AddrPort) {
	c := &conn{sock: k, remote: remote}
	if k.bound.Port() != 0 {
		local := k.bound.Addr().Unmap()
		if local.IsUnspecified() {
			local = r.plan.Local.Addr()
		}
		c.local = netip.AddrPortFrom(local, k.bound.Port())
	}
	k.conn = c
	r.conns = append(r.conns, c)
	r.cur = c
}

func (r *run) closeFD(s *script.Syscall) *prepared {
	a := r.arity(s, 1, 1)
	n := r.int(a[0])
	k := r.fd(a[0])
	return &prepared{
		mayBlock: true, // SO_LINGER
		exec:     func() (int64, error) { return nothing(r.b.CloseFD(k.live)) },
		finish: func(int64) {
			k.closed = true
			delete(r.fds, n)
			if r.listener == k {
				r.listener = nil
			}
		},
	}
}

func (r *run) getsockopt(s *script.Syscall) *prepared {
	a := r.arity(s, 5, 5)
	fd, level, name := r.fd(a[0]).live, r.small(a[1]), r.small(a[2])
	n := 4
	if !ignored(a[4]) {
		if l, ok := r.resolve(a[4]).(*script.List); !ok || len(l.Items) != 1 || !ignored(l.Items[0]) {
			n = r.size(a[4])
		}
	}
	want := r.resolve(a[3])
	var st *script.Struct
	switch x := want.(type) {
	case *script.Struct:
		st = x
	case *script.List:
		if len(x.Items) == 1 {
			st, _ = r.resolve(x.Items[0]).(*script.Struct)
		}
	case *script.String:
		n = max(n, len(x.Value)+1)
	}
	if st != nil && n < 16 {
		n = 16
	}
	var got []byte
	var info map[string]int64
	return &prepared{
		exec: func() (_ int64, err error) {
			if st != nil && level == solTCP && name == optInfo {
				info, err = r.b.TCPInfo(fd)
				return 0, err
			}
			got, err = r.b.Getsockopt(fd, level, name, n)
			return 0, err
		},
		finish: func(int64) {
			switch {
			case ignored(want):
			case info != nil:
				for _, f := range st.Fields {
					v, ok := info[f.Name]
					if !ok {
						r.fail(BadScript, "struct tcp_info has no member %q", f.Name)
					}
					r.same(f.Name, f.Value, v)
				}
			case st != nil:
				w := r.option(st, n)
				if !bytes.HasPrefix(got, w) {
					r.failWith(Call, script.ExprString(st), fmt.Sprintf("%x", got), "the option is %x", got)
				}
			default:
				if x, ok := want.(*script.String); ok {
					text, _, _ := bytes.Cut(got, []byte{0})
					if string(text) != x.Value {
						r.failWith(Call, script.ExprString(x), fmt.Sprintf("%q", text), "the option is %q", text)
					}
					return
				}
				r.same("the option", want, littleInt(got))
			}
		},
	}
}
