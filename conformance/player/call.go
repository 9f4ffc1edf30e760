package player

import (
	"errors"
	"fmt"
	"time"

	"github.com/netduet/netduet/conformance/script"
)

// prepared is a system call whose arguments are known. exec makes it, on any
// goroutine; finish looks at what it left in its arguments, on the player's.
type prepared struct {
	mayBlock bool
	exec     func() (int64, error)
	finish   func(v int64)
}

// pending is a call that is being made on another goroutine.
type pending struct {
	event *script.Event
	call  *prepared
	done  chan struct{}
	until time.Duration // script time at which it must return
	tol   time.Duration

	// Written before done is closed.
	at  time.Duration
	val int64
	err error
}

// make makes the call.
func (p *pending) make(r *run) {
	p.val, p.err = p.call.exec()
	p.at = r.now()
	close(p.done)
}

// call makes the system call of an event that is due at the given script time.
func (r *run) call(e *script.Event, from time.Duration) {
	c := r.prepare(e.Syscall)
	p := &pending{event: e, call: c, done: make(chan struct{})}
	if e.Time.Blocks {
		r.b.Go(func() { p.make(r) })
		p.until = from + e.Time.Until - e.Time.Start
		p.tol = r.tolerance(p.until - r.prev)
		r.pending = p
		return
	}
	tol := r.tolerance(from - r.prev)
	if !c.mayBlock {
		v, err := c.exec()
		r.returned(e.Syscall, c, v, err)
		return
	}
	if !r.b.Do(func() { p.make(r) }, r.b.Now()+tol+grace) {
		r.failWith(Call, e.Syscall.String(), "", "the call blocks: it has not returned after %v", tol+grace)
	}
	if took := p.at - from; took > tol+tooSlow {
		r.failWith(Slow, e.Syscall.String(), "", "the call returned after %v", took.Round(time.Microsecond))
	}
	r.returned(e.Syscall, c, p.val, p.err)
}

// collect takes the result of the blocking call, if it has returned or must have
// before an event at the given time.
func (r *run) collect(e *script.Event, from time.Duration) {
	p := r.pending
	if p == nil {
		return
	}
	select {
	case <-p.done:
	default:
		if e.Packet != nil || e.Command != nil || p.until > from {
			if e.Syscall != nil && e.Time.Blocks {
				r.fail(BadScript, "one call blocks already, since line %d", p.event.Pos.Line)
			}
			return
		}
	}
	now := r.event
	r.event = p.event
	r.await(p)
	r.event = now
}

// await waits for a blocking call and compares when it returned and what.
func (r *run) await(p *pending) {
	r.pending = nil
	s := p.event.Syscall
	if !r.b.Await(p.done, r.start+p.until+p.tol+grace) {
		panic(&Failure{
			Pos: r.event.Pos, Kind: Call, Expected: s.String(), Late: true,
			Text: fmt.Sprintf("the call has not returned at %v", r.now().Round(time.Microsecond)),
		})
	}
	r.returned(s, p.call, p.val, p.err)
	if d := p.at - p.until; d.Abs() > p.tol {
		r.failWith(Timing, s.String(), "", "the call returned at %v instead of %v", p.at.Round(time.Microsecond), p.until)
	}
}

// returned compares the result of a call.
func (r *run) returned(s *script.Syscall, c *prepared, v int64, err error) {
	var errno Errno
	if err != nil {
		v = -1
		if !errors.As(err, &errno) {
			r.fail(Call, "%s: %v", s.Name, err)
		}
	}
	actual := *s
	actual.Result = script.Result{Value: &script.Int{Value: v}, Errno: string(errno)}
	r.log(r.now(), &actual)
	if _, ok := s.Result.Value.(*script.Ellipsis); !ok {
		want := r.int(s.Result.Value)
		ok := v == want
		if want >= 0 && err == nil && c.finish != nil && makesFD(s.Name) {
			ok = true // the script numbers file descriptors as it likes
		}
		if !ok || s.Result.Errno != "" && canonical(s.Result.Errno) != string(errno) {
			if text := "the call returned " + resultText(v, errno); !r.tolerated(Call, text) {
				r.failWith(Call, s.String(), actual.String(), "%s", text)
			}
		}
	}
	if err == nil && c.finish != nil {
		c.finish(v)
	}
}

func makesFD(name string) bool {
	switch name {
	case "socket", "accept", "accept4", "epoll_create", "epoll_create1":
		return true
	}
	return false
}

// canonical is the one name of an errno that has two.
func canonical(name string) string {
	switch name {
	case "EWOULDBLOCK":
		return "EAGAIN"
	case "ENOTSUP":
		return "EOPNOTSUPP"
	case "EDEADLOCK":
		return "EDEADLK"
	}
	return name
}

func resultText(v int64, e Errno) string {
	if e != "" {
		return fmt.Sprintf("%d %s", v, string(e))
	}
	return fmt.Sprint(v)
}
