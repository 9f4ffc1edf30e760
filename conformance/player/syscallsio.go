package player

import (
	"net/netip"
	"time"

	"github.com/netduet/netduet/conformance/script"
)

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
