package direct

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

const (
	// rxBatch is how many frames one Read takes at most, rxRounds how many Reads
	// one round of Poll does: a flood must not keep what it touched from being
	// answered, nor timers of a single-threaded machine from running.
	rxBatch  = 64
	rxRounds = 4
	// ledBatch is the same of a reader that polls: it takes not much more than it has
	// room for, as the rest would be copied once more. It is not one frame, since a Read
	// that is not filled tells that the queue is dry.
	ledBatch = 2

	// heldRounds is for how many rounds the ACKs of a burst are held back at most
	// while the queue is not empty.
	heldRounds = 4

	// A round with its yield that took longer than yieldLimit is followed by
	// yieldPause rounds without one.
	yieldLimit = time.Millisecond
	yieldPause = 100
)

// queue is one queue of a device with its receiver and the transmitters that wait
// for room in it.
type queue struct {
	port  *port
	index int
	q     netif.Queue
	rx    receiver
	stall stall
	lead  lead
	dead  atomic.Bool // the device is gone
}

// receiver takes the frames of one queue. It belongs to the goroutine that polls
// the queue.
type receiver struct {
	st   *Stack
	q    *queue
	bufs [rxBatch]*netif.Buf

	// Of the round under way.
	now     clock.Time
	touched []*TCPConn // to be driven at its end, each once

	// ACKs that later rounds may merge with theirs.
	held   []*TCPConn // those that owe one, each once
	rounds int        // since the first of them
	acker  *acker     // sends them where they are many; nil: the receiver does

	busy int // rounds for which yield does nothing

	budget *windowBudget // nil if there is no need

	led *TCPConn // whose reader polls: nobody else waits for what it reads

	// What vacate goes by: of the last round …
	dry    bool // what poll returned
	frames uint64
	mine   uint64 // of these, how many were for connections
	// … and of those before.
	solo    int      // rounds in a row whose frames woke the same reader: …
	soloist *TCPConn // … this one's
	shun    int      // rounds for which the queue is not left to a reader

	// Of the frame under way.
	ifc   *iface
	group bool // it was sent to a group address of the link
	meta  netif.Meta
	seg   tcp.Segment
}

// run receives until the device is closed.
func (q *queue) run(ctx context.Context) {
	for {
		var err error
		q.rx.dry, err = q.rx.poll(q.port.st.clk.Now())
		if err == nil && q.rx.dry {
			if q.vacate(ctx) {
				continue
			}
			err = q.q.Wait(ctx)
		}
		if err != nil {
			q.fail(err)
			return
		}
	}
}

// fail notes that the queue gives no more frames.
func (q *queue) fail(err error) {
	if q.dead.Swap(true) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
		return
	}
	q.port.st.log.Error("device failed: nothing is received on this queue any more",
		"device", q.port.info.Name, "queue", q.index, "error", err)
}

// poll does one round: it reads what there is, for rxRounds at most, and then drives
// what was touched. It reports false when it is to be called again before the queue
// is waited for, because there may be more, or ACKs wait for what there may be.
func (rx *receiver) poll(now clock.Time) (dry bool, err error) {
	rx.now, rx.mine = now, 0
	var frames, bytes uint64
	bufs, rounds := rx.bufs[:], rxRounds
	if rx.led != nil {
		bufs, rounds = rx.bufs[:ledBatch], rxBatch
	}
	for range rounds {
		var n int
		n, err = rx.q.q.Read(bufs)
		for i, b := range bufs[:n] {
			bytes += uint64(len(b.Data))
			rx.frame(b)
			b.Release()
			bufs[i] = nil
		}
		frames += uint64(n)
		if n < len(bufs) {
			dry = true
			break
		}
		if rx.led != nil && rx.led.sated() {
			break
		}
	}
	if rx.frames = frames; frames == 0 {
		rx.flush()
		return true, err
	}
	rx.st.count.link.rxFrames.Add(frames)
	rx.st.count.link.rxBytes.Add(bytes)
	rx.drive()
	if len(rx.held) == 0 {
		return dry, err
	}
	if rx.rounds++; rx.rounds >= heldRounds {
		rx.flush()
		return dry, err
	}
	return false, err
}

// drive gives every touched connection one Output, one look at its timers and one
// wake-up. ACKs that could ride on a reply leave last, when the application had
// its chance to write one; those for a burst that may go on not even then.
func (rx *receiver) drive() {
	if len(rx.touched) != 1 {
		rx.note(nil, false)
	}
	owing := rx.touched[:0]
	for _, c := range rx.touched {
		c.lock()
		c.touched = false
		if rx.budget != nil && c.tc.AckOwed() {
			rx.budget.visit(rx.now, c)
		}
		waiting := c.readable.waiting()
		c.drive(rx.now, tcp.OutputHoldAcks)
		rx.note(c, waiting && !c.readable.waiting())
		if c.tc.AckOwed() {
			owing = append(owing, c)
			c.held = max(c.held, heldNow)
		}
		c.unlock()
	}
	if len(owing) > 0 {
		rx.yield()
	}
	for _, c := range owing {
		c.lock()
		if c.tc.AckOwed() {
			c.drive(rx.now, tcp.OutputHoldBulk)
		}
		switch owed := c.tc.AckOwed(); {
		case owed && c.held != heldOn:
			c.held = heldOn
			rx.held = append(rx.held, c)
		case !owed && c.held == heldNow:
			c.held = heldNot
		}
		c.unlock()
	}
	clear(rx.touched)
	rx.touched = rx.touched[:0]
}

// holding says whether a receiver holds ACKs of a connection back.
type holding uint8

const (
	heldNot holding = iota
	heldNow         // until the end of the round
	heldOn          // until the flush: the connection is in a receiver's list, or its acker's
)

// yield lets the readers that were woken run, on this processor: they take what is
// still in its cache, and wait in Read again when the next frames come, which then
// go straight to their buffers. Where others keep the processors busy, so that our
// turn comes late, it is left out for a while.
func (rx *receiver) yield() {
	if rx.led != nil {
		return
	}
	if rx.busy > 0 {
		rx.busy--
		return
	}
	runtime.Gosched()
	now := rx.st.clk.Now()
	if now.Sub(rx.now) > yieldLimit {
		rx.busy = yieldPause
	}
	rx.now = max(rx.now, now)
}

// flush sends the ACKs that were held, or has the acker do so.
func (rx *receiver) flush() {
	if rx.acker != nil && rx.led == nil && len(rx.held) >= ackerLeast {
		rx.acker.take(rx.held)
	} else {
		for _, c := range rx.held {
			c.lock()
			c.releaseAck(rx.now)
			c.unlock()
		}
	}
	clear(rx.held)
	rx.held, rx.rounds = rx.held[:0], 0
}

// touch notes that c is to be driven at the end of the round. c.mu is held.
func (rx *receiver) touch(c *TCPConn) {
	rx.mine++
	if !c.touched {
		c.touched = true
		rx.touched = append(rx.touched, c)
	}
}

// frame takes one frame apart as far as IP or ARP.
func (rx *receiver) frame(b *netif.Buf) {
	p := rx.q.port
	c := &rx.st.count.link
	rx.meta, rx.group = b.Meta, false
	data := b.Data
	if p.info.Link != netif.LinkEthernet {
		rx.ifc = p.ifaces[0]
		if len(data) > 0 && data[0]>>4 != 4 {
			c.unknownType.Add(1)
			return
		}
		rx.ipv4(data)
		return
	}
	h, data, err := ethernet.Parse(data)
	if err != nil {
		count[ethernet.Error](c.invalid[:], err)
		return
	}
	if h.Dst != p.info.MAC {
		if !h.Dst.IsMulticast() {
			c.otherHost.Add(1)
			return
		}
		rx.group = true
	}
	vlan := uint16(0)
	if h.Type == ethernet.TypeVLAN {
		var t ethernet.Tag
		if t, data, err = ethernet.ParseTag(data); err != nil {
			count[ethernet.Error](c.invalid[:], err)
			return
		}
		vlan, h.Type = t.ID, t.Type
	}
	if rx.ifc = p.byVLAN(vlan); rx.ifc == nil {
		c.unknownVLAN.Add(1)
		return
	}
	switch h.Type {
	case ethernet.TypeIPv4:
		rx.ipv4(data)
	case ethernet.TypeARP:
		rx.ifc.arpInput(rx, data)
	default:
		c.unknownType.Add(1)
	}
}

// stall is the list of transmitters that wait for room in a queue, in the order in
// which they came. One goroutine serves them all while there are any.
type stall struct {
	mu      sync.Mutex
	head    *txBatch
	tail    *txBatch
	n       atomic.Int32
	serving bool
	// waiting is the connections that came when there were maxStalled batches. Each is
	// its own transmitter's, as if it had a batch here, and holds no memory.
	waiting []*TCPConn
}
