package direct

import (
	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// drive follows every call of the state machine: it sends what there is to send,
// passes events on and arms the timer. c.mu is held, and released while the device
// writes.
func (c *TCPConn) drive(now clock.Time, mode tcp.OutputMode) {
	growStack(false)
	now = c.at(now)
	c.output(now, mode)
	c.settle(now, mode)
}

// output is the transmitter: see the package documentation.
func (c *TCPConn) output(now clock.Time, mode tcp.OutputMode) {
	if c.sending {
		c.again = true
		return
	}
	if c.way.ifc.port.queue(int(c.queue)).crowded(c) {
		c.sending = true
		return
	}
	tb := c.st.getBatch()
	for more := true; more; {
		c.way.ip = c.options().ip
		c.tc.Output(now, tb.segs, mode)
		if len(tb.segs.Segments) == 0 {
			break
		}
		c.sending, c.again = true, false
		progress := c.progress
		c.progress = false
		tb.conn = c
		q := c.way.ifc.port.queue(int(c.queue))
		c.mu.Unlock()
		p := c.path()
		taken := c.st.transmit(tb, &p, now, &c.hop, progress, q)
		c.lock()
		if !taken {
			return // tb is the stall's, and resumed goes on, or has done so already
		}
		c.way.id = tb.id
		c.tc.Sent(now)
		c.sending = false
		more = tb.segs.Full() || c.again
		tb.reset(c.st)
		if c.again {
			// What others left may not be held back.
			now, mode = c.at(c.st.clk.Now()), tcp.OutputAll
		}
	}
	c.st.putBatch(tb)
}

// admitted goes on after the connection has waited for its turn. No lock is held.
func (c *TCPConn) admitted() {
	c.lock()
	defer c.unlock()
	c.sending = false
	c.drive(c.st.clk.Now(), tcp.OutputAll)
}

// path is the way of the connection's packets with its ends.
func (c *TCPConn) path() path { return path{way: c.way, src: c.local, dst: c.remote} }

// resumed goes on after the device has taken the rest of tb. No lock is held.
func (c *TCPConn) resumed(tb *txBatch) {
	c.lock()
	defer c.unlock()
	now := c.at(c.st.clk.Now())
	c.way.id = tb.id
	c.tc.Sent(now)
	c.sending = false
	tb.reset(c.st)
	c.st.putBatch(tb)
	c.drive(now, tcp.OutputAll)
}

// settle passes on what happened, and ends the connection if it has ended. The
// latter waits for the last Output: until then the transmitter is at work, or ACKs
// are held back, and whoever does that Output comes here again. c.mu is held.
func (c *TCPConn) settle(now clock.Time, mode tcp.OutputMode) {
	ev := c.tc.Events()
	if ev != 0 {
		c.changed = true
	}
	if ev&(tcp.EventReadable|tcp.EventError|tcp.EventClosed) != 0 {
		c.wakeReader()
	}
	if ev&(tcp.EventWritable|tcp.EventEstablished|tcp.EventError|tcp.EventClosed) != 0 {
		c.writable.wake()
	}
	if ev&tcp.EventFastOpen != 0 {
		c.fastNews(now)
	}
	c.over |= ev & (tcp.EventClosed | tcp.EventTimeWait)
	if !c.sending && (mode == tcp.OutputAll || !c.tc.AckOwed()) {
		c.conclude(now)
	}
	if !c.left {
		c.arm(now)
	}
}
