package player

import (
	"fmt"

	"github.com/netduet/netduet/conformance/script"
)

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
