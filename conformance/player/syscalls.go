package player

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

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

func (r *run) receive(s *script.Syscall) *prepared {
	var bufs [][]byte
	var exprs []script.Expr
	var name, ctl, mflags script.Expr
	flags, ctlLen := 0, 0
	a := s.Args
	if len(a) == 0 {
		r.arity(s, 3, 3)
	}
	k := r.fd(a[0])
	switch s.Name {
	case "read", "recv", "recvfrom":
		n := map[string]int{"read": 3, "recv": 4, "recvfrom": 6}[s.Name]
		r.arity(s, n, n)
		bufs, exprs = [][]byte{r.buffer(&script.Ellipsis{}, r.size(a[2]))}, a[1:2]
		if n > 3 {
			flags = r.small(a[3])
		}
		if n > 4 {
			name = a[4]
		}
	case "readv":
		r.arity(s, 2, 3)
		bufs, exprs = r.iov(a[1])
	case "recvmsg":
		r.arity(s, 3, 3)
		m := r.structure(a[1])
		if v := field(m, "msg_iov"); v != nil && !ignored(v) {
			bufs, exprs = r.iov(v)
		}
		name, ctl, mflags = field(m, "msg_name"), field(m, "msg_control"), field(m, "msg_flags")
		if ctl != nil {
			ctlLen = 512
		}
		flags = r.small(a[2])
	}
	for _, b := range bufs {
		clear(b) // of what the script expects there
	}
	var got Received
	return &prepared{
		mayBlock: true,
		exec: func() (_ int64, err error) {
			got, err = r.b.Recv(k.live, bufs, ctlLen, flags)
			return int64(got.N), err
		},
		finish: func(v int64) {
			r.checkIOV(bufs, exprs, int(v))
			if name != nil && !ignored(name) {
				if want := r.addr(name); want.IsValid() && want != got.From {
					r.failWith(Call, want.String(), got.From.String(), "the sender is %v", got.From)
				}
			}
			if ctl != nil && !ignored(ctl) {
				r.checkControl(r.list(ctl), got.Control)
			}
			if mflags != nil && !ignored(mflags) {
				r.same("msg_flags", mflags, int64(got.Flags))
			}
		},
	}
}

func (r *run) checkControl(want []script.Expr, got []Control) {
	if len(want) != len(got) {
		r.fail(Call, "there are %d control messages instead of %d", len(got), len(want))
	}
	for i, e := range want {
		s := r.structure(e)
		if f := field(s, "cmsg_level"); f != nil {
			r.same("cmsg_level", f, int64(got[i].Level))
		}
		if f := field(s, "cmsg_type"); f != nil {
			r.same("cmsg_type", f, int64(got[i].Type))
		}
		f := field(s, "cmsg_data")
		if f == nil || ignored(f) {
			continue
		}
		if d, ok := r.resolve(f).(*script.Struct); ok {
			if d.Field("scm_sec") != nil || d.Field("scm_nsec") != nil {
				r.checkTimestamp(d, got[i].Data)
			} else {
				r.checkExtendedError(d, got[i].Data)
			}
		} else {
			r.same("cmsg_data", f, littleInt(got[i].Data))
		}
	}
}

// checkTimestamp compares the first stamp of a struct scm_timestamping
// (linux/errqueue.h) with a time of the script, within the tolerance.
func (r *run) checkTimestamp(want *script.Struct, b []byte) {
	if len(b) < 16 {
		r.fail(Call, "the control message has %d bytes and no timestamp", len(b))
	}
	var at time.Duration
	for _, m := range [...]struct {
		name string
		unit time.Duration
	}{{"scm_sec", time.Second}, {"scm_nsec", time.Nanosecond}} {
		if f := want.Field(m.name); f != nil && !ignored(f) {
			at += time.Duration(r.int(f)) * m.unit
		}
	}
	got := time.Duration(littleInt(b[:8]))*time.Second + time.Duration(littleInt(b[8:16])) - r.start
	if tol := r.tolerance(at); (got - at).Abs() > tol {
		r.failWith(Call, at.String(), got.String(), "the timestamp is %v instead of %v (tolerance %v)", got.Round(time.Microsecond), at, tol)
	}
}

// checkExtendedError compares a struct sock_extended_err (linux/errqueue.h).
func (r *run) checkExtendedError(want *script.Struct, b []byte) {
	for _, m := range [...]struct {
		name     string
		off, len int
	}{{"ee_errno", 0, 4}, {"ee_origin", 4, 1}, {"ee_type", 5, 1}, {"ee_code", 6, 1}, {"ee_info", 8, 4}, {"ee_data", 12, 4}} {
		f := want.Field(m.name)
		if f == nil || ignored(f) {
			continue
		}
		if len(b) < m.off+m.len {
			r.fail(Call, "the control message has %d bytes and no %s", len(b), m.name)
		}
		r.same(m.name, f, littleInt(b[m.off:m.off+m.len]))
	}
}

func (r *run) send(s *script.Syscall) *prepared {
	var bufs [][]byte
	var control []Control
	var to netip.AddrPort
	flags := 0
	a := s.Args
	if len(a) == 0 {
		r.arity(s, 3, 3)
	}
	k := r.fd(a[0])
	dest := func(e script.Expr) {
		if to = r.addr(e); ignored(r.resolve(e)) && (k.udp || flags&msgFastOpen != 0) {
			to = netip.AddrPortFrom(r.family(k, r.plan.Remote), r.plan.ConnPort)
		}
	}
	switch s.Name {
	case "write", "send", "sendto":
		n := map[string]int{"write": 3, "send": 4, "sendto": 6}[s.Name]
		r.arity(s, n, n)
		bufs = [][]byte{r.buffer(a[1], r.size(a[2]))}
		if n > 3 {
			flags = r.small(a[3])
		}
		if n > 4 {
			dest(a[4])
		}
	case "writev":
		r.arity(s, 2, 3)
		bufs, _ = r.iov(a[1])
	case "sendmsg":
		r.arity(s, 3, 3)
		m := r.structure(a[1])
		flags = r.small(a[2])
		if v := field(m, "msg_iov"); v != nil && !ignored(v) {
			bufs, _ = r.iov(v)
		}
		if v := field(m, "msg_name"); v != nil {
			dest(v)
		}
		if v := field(m, "msg_control"); v != nil && !ignored(v) {
			for _, e := range r.list(v) {
				c := r.structure(e)
				level, typ, data := field(c, "cmsg_level"), field(c, "cmsg_type"), field(c, "cmsg_data")
				if level == nil || typ == nil || data == nil {
					r.fail(BadScript, "a control message has cmsg_level, cmsg_type and cmsg_data")
				}
				control = append(control, Control{r.small(level), r.small(typ), r.option(data, 4)})
			}
		}
	}
	if to.IsValid() {
		remote := netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		if k.udp {
			r.udpConn(k, remote)
		} else if flags&msgFastOpen != 0 && k.conn == nil {
			r.active(k, remote)
		}
	}
	return &prepared{mayBlock: true, exec: func() (int64, error) {
		n, err := r.b.Send(k.live, bufs, to, control, flags)
		return int64(n), err
	}}
}

const msgFastOpen = 0x20000000

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

func (r *run) poll(s *script.Syscall) *prepared {
	a := r.arity(s, 3, 3)
	var fds []PollFD
	items := r.list(a[0])
	for _, e := range items {
		st := r.structure(e)
		f, ev := field(st, "fd"), field(st, "events")
		if f == nil || ev == nil {
			r.fail(BadScript, "expected {fd=…, events=…, revents=…}, found %s", script.ExprString(e))
		}
		fds = append(fds, PollFD{FD: r.fd(f).live, Events: int16(r.int(ev))})
	}
	timeout := r.small(a[2])
	return &prepared{
		mayBlock: true,
		exec: func() (int64, error) {
			n, err := r.b.Poll(fds, timeout)
			return int64(n), err
		},
		finish: func(int64) {
			for i, e := range items {
				if rev := field(r.structure(e), "revents"); rev != nil {
					r.same(fmt.Sprintf("revents of entry %d", i), rev, int64(fds[i].Revents))
				}
			}
		},
	}
}

// epollEvent reads a struct epoll_event; the data may be called fd, ptr, u32 or u64,
// alone or within data.
func (r *run) epollEvent(e script.Expr) (ev EpollEvent) {
	s := r.structure(e)
	if f := field(s, "events"); f != nil {
		ev.Events = uint32(r.int(f))
	}
	for _, f := range s.Fields {
		if in, ok := f.Value.(*script.Struct); ok && (f.Name == "" || f.Name == "data") {
			s = in
		}
	}
	if f := field(s, "fd", "ptr", "u32", "u64", "data"); f != nil && !ignored(f) {
		ev.Data = uint64(r.int(f))
	}
	return ev
}

func (r *run) epollWait(s *script.Syscall) *prepared {
	a := r.arity(s, 4, 4)
	ep, most, timeout := r.fd(a[0]).live, r.small(a[2]), r.small(a[3])
	if most < 0 || most > 1024 {
		r.fail(BadScript, "%d events at most", most)
	}
	var got []EpollEvent
	return &prepared{
		mayBlock: true,
		exec: func() (_ int64, err error) {
			got, err = r.b.EpollWait(ep, most, timeout)
			return int64(len(got)), err
		},
		finish: func(int64) {
			want := r.resolve(a[1])
			if ignored(want) {
				return
			}
			items := []script.Expr{want}
			if l, ok := want.(*script.List); ok {
				items = l.Items
			}
			for i, e := range items {
				if i >= len(got) {
					break // the script's array may be larger than what was ready
				}
				if w := r.epollEvent(e); w != got[i] {
					r.failWith(Call, script.ExprString(e), fmt.Sprintf("{events=0x%x, data=%d}", got[i].Events, got[i].Data), "event %d differs", i)
				}
			}
		},
	}
}
