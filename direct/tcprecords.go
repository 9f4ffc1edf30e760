package direct

import (
	"sync"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// halfOpen is a connection between SYN and ACK on the listening side. Its lock
// comes before those of the listener and of the connection that it becomes.
type halfOpen struct {
	entry
	st       *Stack
	listener *TCPListener
	path     path
	born     clock.Time

	mu    sync.Mutex
	queue int // on which its peer was heard last
	p     tcp.Passive
	timer timer
	dead  bool

	prev, next *halfOpen // guarded by the listener, as is listed
	listed     bool
}

// input implements tcpEndpoint.
func (h *halfOpen) input(rx *receiver, seg *tcp.Segment) bool {
	h.mu.Lock()
	if h.dead {
		h.mu.Unlock()
		return false
	}
	h.queue = rx.q.index
	switch verdict := h.p.Input(rx.now, seg); verdict {
	case tcp.PassiveResend:
		h.mu.Unlock()
		h.synAck(rx.now, fastVerdict{})
	case tcp.PassiveAck:
		r := h.p.AckReply(rx.now)
		h.mu.Unlock()
		h.st.sendReply(rx.now, &h.path, &h.flow, &r, rx.q.index)
	case tcp.PassiveReset, tcp.PassiveRefuse:
		if verdict == tcp.PassiveRefuse {
			h.remove()
		}
		h.mu.Unlock()
		if r, ok := tcp.ResetFor(seg); ok {
			h.st.count.tcp.resetsSent.Add(1)
			h.st.sendReply(rx.now, &h.path, &h.flow, &r, rx.q.index)
		}
	case tcp.PassiveRemove:
		h.remove()
		h.mu.Unlock()
	case tcp.PassiveEstablish:
		c := h.establish(rx, seg)
		h.mu.Unlock()
		if c != nil && !h.listener.push(c) {
			c.abort()
		}
	default:
		h.mu.Unlock()
	}
	return true
}

// establish makes the connection, or returns nil and leaves the record as it is,
// so that the peer's ACK is as good as lost, when there is no room. h.mu is held.
func (h *halfOpen) establish(rx *receiver, seg *tcp.Segment) *TCPConn {
	st := h.st
	if !h.listener.room() {
		st.count.tcp.acceptOverflow.Add(1)
		return nil
	}
	c, ok := st.newConn()
	if !ok {
		return nil
	}
	c.lock()
	defer c.mu.Unlock()
	c.flow, c.sum = h.flow, h.sum
	cfg := h.listener.found(c, &h.path, h.queue)
	c.tc.Accept(c.at(rx.now), &cfg, &h.p, seg)
	c.opt.start(c.tc)
	st.table.swap(&h.entry, &c.entry)
	h.gone()
	st.count.tcp.passiveOpens.Add(1)
	rx.touch(c)
	return c
}

// synAck sends the SYN-ACK, with the cookie that fast has. No lock is held.
func (h *halfOpen) synAck(now clock.Time, fast fastVerdict) {
	tb := h.st.getBatch()
	h.mu.Lock()
	h.p.OutputCookie(now, tb.segs, fast.form, fast.cookie)
	queue := h.queue
	h.mu.Unlock()
	h.st.sendSynAck(now, tb, &h.path, queue)
}

// sendSynAck sends the segment in tb, which it gives back.
func (s *Stack) sendSynAck(now clock.Time, tb *txBatch, p *path, queue int) {
	s.count.tcp.sent.Add(uint64(len(tb.segs.Segments)))
	for i := range tb.segs.Segments {
		seg := &tb.segs.Segments[i]
		o := s.getOutgoing()
		n := copy(o.head[headroom:], seg.Packet[headroom:])
		opt := sendOptions{protocol: protocolTCP, df: true, hint: queue}
		s.finishTCP(p, o.transport(n), &opt)
		s.send(now, p, o, n, nil, &opt)
		s.putOutgoing(o)
	}
	tb.reset(s)
	s.putBatch(tb)
}

// icmpError implements tcpEndpoint: the peer that sent the SYN can't be reached. That it
// refuses our answer says nothing of the sort, as Linux sees it.
func (h *halfOpen) icmpError(now clock.Time, seq tcp.Seq, e icmpError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	lo, hi := h.p.SentSeq()
	if !h.dead && e.mtu == 0 && !e.hard && lo.LessEq(seq) && seq.Less(hi) {
		h.remove()
	}
}

// expired implements expirer.
func (h *halfOpen) expired(now clock.Time) {
	h.mu.Lock()
	h.timer.armed = 0
	if h.dead {
		h.mu.Unlock()
		return
	}
	resend, over := h.p.Timeout(now)
	if over {
		h.st.count.tcp.synExpired.Add(1)
		h.remove()
	} else {
		h.timer.want(h.p.Deadline())
	}
	h.mu.Unlock()
	if resend {
		h.synAck(now, fastVerdict{})
	}
}

// end removes the record from outside. No lock is held.
func (h *halfOpen) end() {
	h.mu.Lock()
	if !h.dead {
		h.remove()
	}
	h.mu.Unlock()
}

// remove takes the record out of the table. h.mu is held.
func (h *halfOpen) remove() {
	h.st.table.remove(&h.entry)
	h.gone()
}

// gone does what remains once the table has it no more. h.mu is held.
func (h *halfOpen) gone() {
	h.dead = true
	h.timer.stop()
	h.listener.forget(h)
	h.st.mem.credit(passiveCharge)
	h.st.count.tcp.halfOpen.Add(-1)
}

// maxTimeWait bounds the records of ended connections.
const maxTimeWait = 1 << 16

// timeWait is a connection in TIME-WAIT. Of the connection's path it keeps what the
// application has set; the way is found again for the few that must answer.
type timeWait struct {
	entry
	st *Stack

	mu    sync.Mutex
	tw    tcp.TimeWait
	timer timer
	ip    ipOptions
	dead  bool
}

// issHint bounds the initial sequence number of a connection that takes the place
// of one in TIME-WAIT.
type issHint struct {
	iss   tcp.Seq
	valid bool
}

// newTimeWait returns the record that takes c's place, or nil when there are too
// many. c.mu is held.
func (s *Stack) newTimeWait(c *TCPConn, now clock.Time) *timeWait {
	if s.count.tcp.timeWait.Load() >= maxTimeWait || s.ending.Load() || !s.mem.charge(timeWaitCharge, false) {
		s.count.tcp.timeWaitDropped.Add(1)
		return nil
	}
	t := &timeWait{st: s, ip: c.way.ip, tw: c.tc.TimeWait(now)}
	t.flow, t.sum, t.kind = c.flow, c.sum, t
	s.timers.bind(&t.timer, t, t.sum)
	s.count.tcp.timeWait.Add(1)
	return t
}

// start arms the record's timer once it is in the table.
func (t *timeWait) start() {
	t.mu.Lock()
	if !t.dead {
		t.timer.want(t.tw.Expires)
	}
	t.mu.Unlock()
}

// input implements tcpEndpoint.
func (t *timeWait) input(rx *receiver, seg *tcp.Segment) bool {
	t.mu.Lock()
	if t.dead {
		t.mu.Unlock()
		return false
	}
	verdict, r := t.tw.Input(rx.now, seg)
	switch verdict {
	case tcp.TimeWaitRemove, tcp.TimeWaitReopen:
		t.remove()
	}
	t.mu.Unlock()
	if verdict == tcp.TimeWaitReply {
		if p, errno := t.st.pathTo(t.local, t.remote); errno == 0 {
			p.ip = t.ip
			t.st.sendReply(rx.now, &p, &t.flow, &r, rx.q.index)
		}
	}
	return verdict != tcp.TimeWaitReopen
}

func (t *timeWait) hint() issHint {
	t.mu.Lock()
	defer t.mu.Unlock()
	return issHint{t.tw.NextISS(), true}
}

// icmpError implements tcpEndpoint: nothing is outstanding.
func (t *timeWait) icmpError(clock.Time, tcp.Seq, icmpError) {}

// expired implements expirer.
func (t *timeWait) expired(now clock.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer.armed = 0
	switch {
	case t.dead:
	case t.tw.Expires <= now:
		t.remove()
	default:
		t.timer.want(t.tw.Expires)
	}
}

// remove forgets the record. t.mu is held.
func (t *timeWait) remove() {
	t.dead = true
	t.timer.stop()
	t.st.table.remove(&t.entry)
	t.st.listeners.vacate(&t.flow)
	t.st.mem.credit(timeWaitCharge)
	t.st.count.tcp.timeWait.Add(-1)
}
