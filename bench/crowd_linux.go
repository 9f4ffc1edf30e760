package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxCrowd is how many connections one address of the client makes to one of the
	// server's: the ports from 1024 on.
	maxCrowd = 64000
	// crowdOpening is how many of them are under way at once while they are made: fewer
	// than a listener's backlog, and than the tap's queue holds frames.
	crowdOpening = 128
	// crowdAsking is how many of them wait for an answer at a time.
	crowdAsking = 256
	// reservedFiles are descriptors of a process that are not a crowd's.
	reservedFiles = 200
	// crowdPatience is how long it may take to make them all, and to ask each once.
	crowdPatience = time.Minute
)

// askCrowd is transact for a crowd, whose connections are made before the first of them
// is asked. A process may have fewer descriptors than that: the limit holds for a table of
// descriptors, so that each of several threads has its own, with its part of the crowd.
func askCrowd(o *clientOrder, begin func() error) (r clientReport, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return r, err
	}
	most := int(min(limit.Cur, maxCrowd+reservedFiles)) - reservedFiles
	if most <= 0 {
		return r, fmt.Errorf("a limit of %d descriptors is too low: raise it (ulimit -n)", limit.Cur)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	parts := (o.Mode.Conns + most - 1) / most
	part := make([]*transactor, parts)
	reports, errs := make([]clientReport, parts), make([]error, parts)
	var gathered, running sync.WaitGroup
	proceed := make(chan struct{})
	for i := range part {
		n := o.Mode.Conns / parts
		if i < o.Mode.Conns%parts {
			n++
		}
		t := &transactor{
			order: o, base: time.Now(), port: idlePort, request: make([]byte, o.Mode.Size), want: o.Mode.Size,
			turns: true, slots: make([]slot, n), opening: max(crowdOpening/parts, 1), asking: max(crowdAsking/parts, 1),
		}
		part[i] = t
		gathered.Add(1)
		running.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread's descriptors end with it
			errs[i] = t.gather()
			gathered.Done()
			if <-proceed; errs[i] != nil {
				return
			}
			own := func() error { return nil }
			if i == 0 {
				own = begin // the measured time is that of the first
			}
			reports[i], errs[i] = t.answer(own)
		})
	}
	gathered.Wait()
	opening := time.Since(part[0].base)
	if errors.Join(errs...) == nil {
		errs[0] = begin()
	}
	close(proceed)
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return r, err
	}
	r = clientReport{Elapsed: reports[0].Elapsed, Opening: opening}
	var all histogram
	for i, t := range part {
		if reports[i].Count < uint64(len(t.slots)) {
			return r, fmt.Errorf("only %d answers on %d connections", reports[i].Count, len(t.slots))
		}
		r.Count += uint64(float64(reports[i].Count) * float64(r.Elapsed) / float64(reports[i].Elapsed))
		all.merge(&t.hist)
	}
	r.P50, r.P99, r.P999 = all.quantile(0.5), all.quantile(0.99), all.quantile(0.999)
	return r, nil
}

// answer asks in turn until the measured time is over.
func (t *transactor) answer(begin func() error) (clientReport, error) {
	for range min(t.asking, len(t.slots)) {
		if err := t.askNext(t.now()); err != nil {
			return clientReport{}, err
		}
	}
	return t.run(begin)
}

// gather gives the thread its own descriptors, and makes its connections.
func (t *transactor) gather() (err error) {
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return fmt.Errorf("a table of descriptors for a thread: %w", err)
	}
	if t.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 128)
	begun := 0
	for t.opened < len(t.slots) {
		for begun < len(t.slots) && begun-t.opened < t.opening {
			t.slots[begun] = slot{fd: -1, tail: make([]byte, t.want)}
			if err := t.open(begun, unix.SOCK_STREAM); err != nil {
				return fmt.Errorf("connection %d: %w", begun+1, err)
			}
			begun++
		}
		n, err := unix.EpollWait(t.ep, events, 100)
		if err != nil && err != unix.EINTR {
			return err
		}
		for i := range max(n, 0) {
			if err := t.event(int(events[i].Fd), events[i].Events, t.now()); err != nil {
				return err
			}
		}
		if t.now() > crowdPatience {
			return fmt.Errorf("only %d of %d connections within %v", t.opened, len(t.slots), crowdPatience)
		}
	}
	return nil
}

// askNext asks the connection that has waited longest.
func (t *transactor) askNext(now time.Duration) error {
	i := t.next
	t.next = (t.next + 1) % len(t.slots)
	return t.ask(i, now)
}

// crowd measures many connections with traffic on each: what load does, the time to make
// them, and what they hold while the traffic goes on.
func (co *coordinator) crowd(srv *child, o *clientOrder, device string) (sample, error) {
	base, err := ask(srv, cmdMemory)
	if err != nil {
		return unknown(), err
	}
	w, err := co.window(srv, o, device)
	if err != nil {
		return unknown(), err
	}
	s := evaluate(o.Mode, w)
	s.Memory = float64(w.held.Memory-base.Memory) / float64(o.Mode.Conns)
	s.Opening = w.client.Opening.Seconds()
	return s, nil
}
