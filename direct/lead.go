package direct

import (
	"context"
	"sync"
	"time"
)

// Waking a goroutine on a machine with an idle processor wakes that as well, which
// costs more than all of the protocol. Where one connection has a queue to itself, with
// questions that come one by one or with a stream, the goroutine that waits in Read
// therefore polls the device itself: the leader. What it reads is still in its
// processor's cache, and goes to its own buffer. Nobody polls while it handles what it
// read; the queue's own goroutine looks now and then whether it comes back, and takes
// over when it does not, or when anything else happens on the queue.

const (
	// leadRounds is after how many rounds with frames for one connection alone its
	// reader becomes the leader.
	leadRounds = 32
	// leadTick is how often the queue's goroutine looks. A queue is without anybody
	// who polls it for two of them at most.
	leadTick = time.Millisecond
	// leadShun is for how many rounds a queue is not left to anybody after a leader's
	// wait was interrupted.
	leadShun = 1000
)

// lead is who polls a queue. Its lock comes after a connection's.
type lead struct {
	mu     sync.Mutex
	state  leadState
	visits int  // how often a leader has come
	asleep bool // run has stopped looking, and wants to be woken when the leader leaves
	ending bool // run wants the queue back for good

	// See enter.
	ctx    context.Context
	cancel context.CancelFunc

	back chan struct{} // gives the queue back to run; holds one
}

type leadState uint8

const (
	leadRun    leadState = iota // run polls
	leadVacant                  // nobody does
	leadReader                  // a Read does
)

// note keeps count of rounds in which all frames were for one connection and woke its
// reader: c's. Rounds with data for a reader that is still busy with what came before
// do not count, and end nothing.
func (rx *receiver) note(c *TCPConn, woken bool) {
	alone := rx.mine == rx.frames
	switch {
	case alone && woken && c == rx.soloist:
		rx.solo++
	case alone && woken:
		rx.solo, rx.soloist = 1, c
	case alone && c != nil && c == rx.soloist && c.tc.ReadableBytes() > 0:
	default:
		rx.solo, rx.soloist = 0, nil
	}
}

// vacate leaves the queue to the reader of the connection that all frames are for. It
// returns once the queue is run's again, and reports whether it was left at all.
func (q *queue) vacate(root context.Context) bool {
	rx, l := &q.rx, &q.lead
	if rx.shun > 0 {
		rx.shun--
		return false
	}
	c := rx.soloist
	if rx.solo < leadRounds || len(rx.held) > 0 {
		return false
	}
	c.mu.Lock()
	if c.left || c.closed || !c.mayLead() {
		rx.shun = leadShun
		c.mu.Unlock()
		return false
	}
	l.mu.Lock()
	l.state, l.asleep = leadVacant, false
	l.mu.Unlock()
	q.port.st.vacant.Add(1)
	// If it waits already it comes again, and waits as the leader; if it leads another
	// queue, that is what wakeReader needs c.leads for.
	c.wakeReader()
	c.leads = q
	c.mu.Unlock()

	tick := time.NewTimer(leadTick)
	defer tick.Stop()
	done, visits := root.Done(), -1
	for {
		select {
		case <-l.back:
			rx.solo, rx.soloist = 0, nil
			return true
		case <-done:
			done = nil
			l.mu.Lock()
			l.ending = true
			if l.cancel != nil {
				l.cancel()
			}
			l.takeVacant(q)
			l.mu.Unlock()
		case <-tick.C:
			l.mu.Lock()
			switch {
			case l.visits != visits:
				visits = l.visits
				tick.Reset(leadTick)
			case l.state == leadVacant:
				l.takeVacant(q)
			default:
				l.asleep = true
			}
			l.mu.Unlock()
		}
	}
}

// reclaim gives a vacant queue back to run, and reports whether it was vacant.
func (l *lead) reclaim(q *queue) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeVacant(q)
}

// takeVacant is reclaim for those who hold l.mu.
func (l *lead) takeVacant(q *queue) bool {
	if l.state != leadVacant {
		return false
	}
	l.giveBack(q)
	return true
}

// giveBack gives the queue back to run. l.mu is held.
func (l *lead) giveBack(q *queue) {
	l.state = leadRun
	q.port.st.vacant.Add(-1)
	l.back <- struct{}{}
}

// recall ends all vacancies, because somebody is about to wait for what may come
// from a device.
func (s *Stack) recall() {
	if s.vacant.Load() == 0 {
		return
	}
	for _, p := range s.devices {
		for _, q := range p.queues {
			q.lead.reclaim(q)
		}
	}
}

// wakeReader wakes the goroutine that waits in Read, wherever it does. c.mu is held.
func (c *TCPConn) wakeReader() {
	c.readable.wake()
	if c.parked {
		c.parked = false
		l := &c.leads.lead
		l.mu.Lock()
		l.cancel()
		l.mu.Unlock()
	}
}

// waitOrLead waits until there is something to read, and polls the queue meanwhile if
// that was left to us. c.mu is held, and released meanwhile.
func (c *TCPConn) waitOrLead() {
	q, ctx := c.leads, context.Context(nil)
	if q != nil && c.mayLead() {
		ctx = q.lead.enter()
	}
	if ctx == nil {
		c.leads = nil
		c.wait(&c.readable, c.readDeadline)
		return
	}
	rx := &q.rx
	c.readable.look(c.st)
	rx.led = c
	stay := true
	for stay && c.readable.waiting() {
		var err error
		if rx.dry {
			c.parked = true
			c.unlock()
			err = q.q.Wait(ctx)
			c.mu.Lock()
			c.parked = false
			if !c.readable.waiting() {
				// It was not a frame that woke us. Those who do that may do it often, as
				// net/http does to end its reading ahead.
				rx.shun, stay = leadShun, false
				break
			}
		}
		c.unlock()
		if err == nil {
			rx.dry, err = rx.poll(c.st.clk.Now())
		}
		c.mu.Lock()
		stay = err == nil && (rx.frames == 0 || rx.solo > 0 && rx.soloist == c)
	}
	rx.led = nil
	if len(rx.held) > 0 {
		c.unlock()
		rx.flush()
		c.mu.Lock()
	}
	if !q.lead.leave(q, stay) {
		c.leads = nil
	}
	if c.readable.waiting() { // the queue is run's, and we wait like everybody
		c.wait(&c.readable, nil)
	}
}

// mayLead reports whether a Read may poll a device: nothing would end that at a
// deadline. c.mu is held.
func (c *TCPConn) mayLead() bool { return c.readDeadline == nil || c.readDeadline.None() }

// enter makes a vacant queue the caller's, and returns what to wait for frames under:
// whoever cancels it ends the wait. It returns nil if the queue is not vacant.
func (l *lead) enter() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != leadVacant {
		return nil
	}
	l.state = leadReader
	l.visits++
	if l.ctx == nil || l.ctx.Err() != nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
		if l.ending {
			l.cancel()
		}
	}
	return l.ctx
}

// leave ends that. With stay the queue is left vacant for our return, if run looks
// whether that comes; otherwise it is given back, and leave returns false.
func (l *lead) leave(q *queue, stay bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stay && !l.asleep && !l.ending {
		l.state = leadVacant
		return true
	}
	l.giveBack(q)
	return false
}

// sated reports whether the reader that polls has all that its buffer can hold.
func (c *TCPConn) sated() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.into) == 0
}
