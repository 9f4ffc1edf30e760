package direct

import (
	"slices"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/conformance/player"
	"github.com/netduet/netduet/direct"
)

// Events of poll(2), which are those of epoll(7) too.
const (
	pollIn     = 1
	pollPri    = 2
	pollOut    = 4
	pollErr    = 8
	pollHup    = 0x10
	pollNval   = 0x20
	pollRdNorm = 0x40
	pollWrNorm = 0x100
	pollRdHup  = 0x2000

	epollOneShot = 1 << 30
	epollEdge    = 1 << 31
)

// timeout is until when a wait of so many milliseconds lasts; negative: without end.
func (s *sockets) timeout(ms int) clock.Time {
	if ms < 0 {
		return clock.Never
	}
	return s.clk.Now().Add(time.Duration(ms) * time.Millisecond)
}

func (s *sockets) Poll(fds []player.PollFD, timeout int) (int, error) {
	n := 0
	err := s.block(s.timeout(timeout), func() error {
		n = 0
		for i := range fds {
			p := &fds[i]
			p.Revents = 0
			if p.FD < 0 {
				continue
			}
			if f := s.files[p.FD]; f == nil {
				p.Revents = pollNval
			} else {
				p.Revents = int16(f.ready()) & (p.Events | pollErr | pollHup)
			}
			if p.Revents != 0 {
				n++
			}
		}
		if n == 0 {
			return errAgain
		}
		return nil
	})
	if err == errAgain {
		return 0, nil
	}
	return n, err
}

// ready returns the events that are true of a file, whoever asks.
func (f *file) ready() int {
	if f.epoll != nil {
		return f.epoll.ready()
	}
	r, events := f.socket.Ready(), 0
	for _, e := range [...]struct {
		ready  direct.Readiness
		events int
	}{
		{direct.ReadyIn, pollIn | pollRdNorm}, {direct.ReadyOut, pollOut | pollWrNorm},
		{direct.ReadyPri, pollPri}, {direct.ReadyErr, pollErr}, {direct.ReadyHup, pollHup}, {direct.ReadyRdHup, pollRdHup},
	} {
		if r&e.ready != 0 {
			events |= e.events
		}
	}
	return events
}

// epoll is an instance of epoll(7). Its list is in the order in which events are
// reported: who was reported goes to the end.
type epoll struct{ list []*interest }

// interest is a file in an epoll.
type interest struct {
	file   *file
	fd     int
	event  player.EpollEvent
	off    bool // EPOLLONESHOT has fired
	change bool // something happened since it was reported last
}

// touch notes that something happened to the file.
func (f *file) touch() {
	for _, i := range f.watchers {
		i.change = true
	}
}

// ready returns the events that are true of the interest.
func (i *interest) ready() uint32 {
	if i.off || i.event.Events&epollEdge != 0 && !i.change {
		return 0
	}
	return uint32(i.file.ready()) & (i.event.Events | pollErr | pollHup)
}

func (e *epoll) ready() int {
	for _, i := range e.list {
		if i.ready() != 0 {
			return pollIn | pollRdNorm
		}
	}
	return 0
}

func (s *sockets) EpollCreate(flags int) (int, error) {
	if flags&^sockCloexec != 0 {
		return -1, errInvalid
	}
	return s.add(&file{epoll: new(epoll), cloexec: flags&sockCloexec != 0}), nil
}

// Operations of epoll_ctl(2).
const (
	epollAdd = 1
	epollDel = 2
	epollMod = 3
)

func (s *sockets) EpollCtl(ep, op, fd int, ev player.EpollEvent) error {
	e, err := s.file(ep)
	if err != nil {
		return err
	}
	f, err := s.file(fd)
	if err != nil {
		return err
	}
	if e.epoll == nil || e == f {
		return errInvalid
	}
	at := slices.IndexFunc(e.epoll.list, func(i *interest) bool { return i.fd == fd })
	switch {
	case op == epollAdd && at >= 0:
		return player.Errno("EEXIST")
	case op != epollAdd && at < 0:
		return player.Errno("ENOENT")
	}
	switch op {
	case epollAdd:
		i := &interest{file: f, fd: fd, event: ev, change: true}
		e.epoll.list = append(e.epoll.list, i)
		f.watchers = append(f.watchers, i)
	case epollMod:
		i := e.epoll.list[at]
		i.event, i.off, i.change = ev, false, true
	case epollDel:
		e.epoll.drop(e.epoll.list[at])
	default:
		return errInvalid
	}
	return nil
}

// drop ends an interest.
func (e *epoll) drop(i *interest) {
	same := func(o *interest) bool { return o == i }
	e.list = slices.DeleteFunc(e.list, same)
	i.file.watchers = slices.DeleteFunc(i.file.watchers, same)
}

// forget takes a closed file out of every epoll.
func (s *sockets) forget(f *file) {
	for _, e := range s.files {
		if e.epoll == nil {
			continue
		}
		for _, i := range slices.Clone(e.epoll.list) {
			if i.file == f {
				e.epoll.drop(i)
			}
		}
	}
	if f.epoll != nil {
		for _, i := range slices.Clone(f.epoll.list) {
			f.epoll.drop(i)
		}
	}
}

func (s *sockets) EpollWait(ep, most, timeout int) ([]player.EpollEvent, error) {
	f, err := s.file(ep)
	if err != nil {
		return nil, err
	}
	if f.epoll == nil || most <= 0 {
		return nil, errInvalid
	}
	var got []player.EpollEvent
	err = s.block(s.timeout(timeout), func() error {
		for _, i := range slices.Clone(f.epoll.list) {
			ev := i.ready()
			if ev == 0 || len(got) == most {
				continue
			}
			got = append(got, player.EpollEvent{Events: ev, Data: i.event.Data})
			i.change = false
			i.off = i.event.Events&epollOneShot != 0
			e := f.epoll
			e.list = append(slices.DeleteFunc(e.list, func(o *interest) bool { return o == i }), i)
		}
		if len(got) == 0 {
			return errAgain
		}
		return nil
	})
	if err == errAgain {
		err = nil
	}
	return got, err
}
