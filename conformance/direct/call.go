package direct

import (
	"iter"
	"slices"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/conformance/player"
)

// call is a system call that may block: a coroutine that is suspended while it would.
type call struct {
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	until  clock.Time // when it wants to be resumed whatever happens; clock.Never if not
	done   bool
}

// calls are the system calls under way. One thing runs at a time: the player, or one
// of the calls.
type calls struct {
	list    []*call
	current *call      // the one that runs, or nil for the player
	alarm   clock.Time // the earliest until of those that are suspended
	clk     *virtualClock
	// progress says that a suspended call has done a part of its work, so that the
	// stack may have something to do.
	progress bool
}

// start runs f until it returns or would block.
func (cs *calls) start(f func()) *call {
	c := &call{until: clock.Never}
	c.resume, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		f()
	})
	cs.list = append(cs.list, c)
	cs.run(c)
	return c
}

// run lets c go on until it returns or would block again.
func (cs *calls) run(c *call) {
	before := cs.current
	cs.current = c
	c.until = clock.Never
	if _, more := c.resume(); !more {
		c.done = true
		cs.list = slices.DeleteFunc(cs.list, func(o *call) bool { return o == c })
	}
	cs.current = before
	cs.alarm = clock.Never
	for _, o := range cs.list {
		cs.alarm = min(cs.alarm, o.until)
	}
}

// wake lets all suspended calls look again, and reports whether one has done
// anything.
func (cs *calls) wake() bool {
	cs.progress = false
	returned := false
	for _, c := range slices.Clone(cs.list) {
		cs.run(c)
		returned = returned || c.done
	}
	return returned || cs.progress
}

// abandon ends the calls that are still suspended.
func (cs *calls) abandon() {
	for _, c := range cs.list {
		c.stop()
	}
	cs.list = nil
}

// block calls try until it does not fail with EAGAIN, or the time has come. The time
// passes in between, because the call is suspended.
func (cs *calls) block(until clock.Time, try func() error) error {
	for {
		err := try()
		if err != player.Errno("EAGAIN") {
			return err
		}
		c := cs.current
		if c == nil || cs.clk.Now() >= until {
			return err // a call that the player cannot suspend does not block
		}
		c.until = until
		if !c.yield(struct{}{}) {
			return player.Errno("EINTR") // the run is over
		}
	}
}
