package main

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// transactor is the client of all modes that ask and wait for an answer: one thread,
// one epoll, sockets that do not block, no allocation once it runs.
type transactor struct {
	order *clientOrder
	ep    int
	slots []slot
	done  uint64
	fails int
	hist  histogram
	base  time.Time

	port    int
	request []byte
	want    int    // bytes of an answer, or
	suffix  []byte // its end
	again   bool   // a connection serves once
	toEOF   bool   // and ends by the server's hand

	// Of a crowd: the connections are made first, so many at a time, and then asked in
	// turn, so many at a time; see askCrowd.
	turns           bool
	opening, asking int
	opened, next    int
}

// slot is one connection, socket or worker.
type slot struct {
	fd    int
	asked bool
	got   int
	start time.Duration // of the transaction
	tail  []byte        // what was received last
	ready bool          // connected; of a crowd
}

// maxFails is how many connections may fail before the run does.
const maxFails = 100

// transact runs the order's mode.
func transact(o *clientOrder, begin func() error) (r clientReport, err error) {
	if o.Mode.Kind == crowd {
		return askCrowd(o, begin)
	}
	t := &transactor{order: o, base: time.Now(), port: echoPort, request: make([]byte, o.Mode.Size), want: o.Mode.Size}
	network := unix.SOCK_STREAM
	switch o.Mode.Kind {
	case connect:
		t.again = true
	case serverCloses:
		t.again, t.toEOF, t.port = true, true, closePort
	case httpKeepAlive:
		t.port, t.request, t.want, t.suffix = httpPort, []byte(httpRequest), 0, []byte(httpBody)
	case udpPingPong:
		network = unix.SOCK_DGRAM
	}
	if t.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return r, err
	}
	defer unix.Close(t.ep)
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t.slots = make([]slot, o.Mode.Conns)
	defer func() {
		for i := range t.slots {
			unix.Close(t.slots[i].fd)
		}
	}()
	for i := range t.slots {
		t.slots[i] = slot{fd: -1, tail: make([]byte, 4096)}
		if err := t.open(i, network); err != nil {
			return r, err
		}
	}
	return t.run(begin)
}

func (t *transactor) now() time.Duration { return time.Since(t.base) }

// open begins a connection of slot i.
func (t *transactor) open(i, network int) error {
	s := &t.slots[i]
	fd, err := unix.Socket(unix.AF_INET, network|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	s.fd, s.asked, s.got, s.start = fd, false, 0, t.now()
	if network == unix.SOCK_STREAM {
		if err := unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1); err != nil {
			return err
		}
	}
	if err := bindSource(fd, t.order.Source); err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: t.port, Addr: t.order.Server.As4()}); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	return unix.EpollCtl(t.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET&0xffffffff, Fd: int32(i),
	})
}

// run serves events through the warm-up and the measured time.
func (t *transactor) run(begin func() error) (r clientReport, err error) {
	events := make([]unix.EpollEvent, 128)
	warmed := false
	edge := t.now() + t.order.Warm
	var start time.Duration
	for {
		n, err := unix.EpollWait(t.ep, events, 20)
		if err != nil && err != unix.EINTR {
			return r, err
		}
		now := t.now()
		for i := range max(n, 0) {
			if err := t.event(int(events[i].Fd), events[i].Events, now); err != nil {
				return r, err
			}
		}
		if now < edge || t.turns && warmed && t.done < uint64(len(t.slots)) && now < edge+crowdPatience {
			continue
		}
		if !warmed {
			warmed = true
			if err := begin(); err != nil {
				return r, err
			}
			t.hist.reset()
			t.done = 0
			start = t.now()
			edge = start + t.order.Time
			continue
		}
		r.Count, r.Elapsed = t.done, t.now()-start
		r.P50, r.P99, r.P999 = t.hist.quantile(0.5), t.hist.quantile(0.99), t.hist.quantile(0.999)
		if t.fails > 0 {
			return r, fmt.Errorf("%d connections failed", t.fails)
		}
		return r, nil
	}
}

// event moves a slot on as far as it goes.
func (t *transactor) event(i int, events uint32, now time.Duration) error {
	s := &t.slots[i]
	if t.turns && !s.asked && s.ready {
		return nil // nobody has asked it anything
	}
	if !s.asked {
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			return t.failed(i)
		}
		if events&unix.EPOLLOUT == 0 {
			return nil
		}
		if t.turns {
			s.ready = true
			t.opened++
			return nil
		}
		return t.ask(i, now)
	}
	for {
		n, errno := rawRead(s.fd, s.tail)
		if errno == unix.EAGAIN || errno == unix.EINTR {
			return nil
		}
		if errno != 0 {
			return t.failed(i)
		}
		s.got += n
		var over bool
		switch {
		case t.toEOF:
			over = n == 0
			if over && s.got < t.want {
				return t.failed(i)
			}
		case n == 0:
			return t.failed(i)
		case t.suffix != nil:
			over = bytes.HasSuffix(s.tail[:n], t.suffix)
		default:
			over = s.got >= t.want
		}
		if !over {
			if n == len(s.tail) || t.toEOF {
				continue
			}
			return nil // drained: the next event is an edge
		}
		t.done++
		t.hist.add(now - s.start)
		if t.turns {
			s.asked = false
			return t.askNext(now)
		}
		if !t.again {
			return t.ask(i, now)
		}
		unix.Close(s.fd)
		s.fd = -1
		return t.open(i, unix.SOCK_STREAM)
	}
}

// ask sends a request.
func (t *transactor) ask(i int, now time.Duration) error {
	s := &t.slots[i]
	if !t.again {
		s.start = now
	}
	s.asked, s.got = true, 0
	if n, errno := rawWrite(s.fd, t.request); errno != 0 || n != len(t.request) {
		return t.failed(i)
	}
	return nil
}

// failed counts a connection that came to a bad end, and opens the next.
func (t *transactor) failed(i int) error {
	s := &t.slots[i]
	code, _ := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	unix.Close(s.fd)
	s.fd = -1
	if t.fails++; t.fails > maxFails || !t.again {
		return fmt.Errorf("a connection failed after %d transactions: %w", t.done, unix.Errno(code))
	}
	return t.open(i, unix.SOCK_STREAM)
}

// rawRead and rawWrite do not tell the scheduler: the descriptors don't block.
func rawRead(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func rawWrite(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}
