package direct

import (
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/conformance/sysctl"
	"github.com/netduet/netduet/direct"
)

// sockets are the file descriptors of a script and the calls on them.
type sockets struct {
	calls
	stack    *direct.Stack
	settings sysctl.Config // what new sockets begin with
	files    map[int]*file
	lastFD   int
}

// file is what a file descriptor stands for: a socket or an epoll.
type file struct {
	socket *direct.Socket
	epoll  *epoll

	udp               bool
	v6                bool         // addresses are mapped ones
	quiet             map[int]int  // options without an effect on the wire
	set               map[int]bool // the options of TCP that the script has set
	nonblock, cloexec bool
	readable          time.Duration // SO_RCVTIMEO; 0: none
	writable          time.Duration // SO_SNDTIMEO; 0: none
	watchers          []*interest   // of the epolls that it is in
}

// firstFD is the first descriptor: not a number that scripts use themselves.
const firstFD = 1000

func (s *sockets) init(clk *virtualClock, st *direct.Stack, settings sysctl.Config) {
	s.calls = calls{clk: clk, alarm: clock.Never}
	s.stack, s.settings = st, settings
	s.files, s.lastFD = make(map[int]*file), firstFD
}

func (s *sockets) add(f *file) int {
	s.lastFD++
	s.files[s.lastFD] = f
	return s.lastFD
}

func (s *sockets) file(fd int) (*file, error) {
	f := s.files[fd]
	if f == nil {
		return nil, errBadFD
	}
	return f, nil
}

// within is until when a call may block that has d, or 0 for any time, or is not to
// block at all.
func (s *sockets) within(f *file, d time.Duration, now bool) clock.Time {
	switch {
	case now || f.nonblock:
		return s.clk.Now()
	case d > 0:
		return s.clk.Now().Add(d)
	}
	return clock.Never
}
