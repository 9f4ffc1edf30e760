package tcp

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// dialRTT is a connection whose handshake took rtt, and whose segments hold 1000
// bytes.
func dialRTT(t *testing.T, cfg Config, synack string, rtt time.Duration) *wire {
	t.Helper()
	w := newWire(t)
	w.tlp = true
	w.connect(cfg)
	w.skip()
	w.now = w.now.Add(rtt)
	w.recv(synack)
	w.expect(". 1:1 ack 1")
	return w
}

// pass lets time go by in which nothing may be sent.
func (w *wire) pass(d time.Duration) {
	w.t.Helper()
	w.advance(d)
	w.none()
}

// RFC 8985, section 6.2: one report is enough, after a reordering window of a
// quarter of the least round trip.
func TestRACKTimer(t *testing.T) {
	w := dialRTT(t, plain(), synAck, 40*ms)
	w.write(3000)
	w.skip()
	w.pass(40 * ms)
	w.recv(". 1:1 ack 1 win 65535 <sack 2001:3001>")
	w.none()
	w.advance(12 * ms) // 40 ms and a quarter after it was sent, and what Linux adds
	w.expect(". 1:1001 ack 1")
	w.recv(". 1:1 ack 1001 win 65535 <sack 2001:3001>")
	w.expect(". 1001:2001 ack 1")
	if in := w.c.Info(); in.FastRecoveries != 1 || in.Timeouts != 0 {
		t.Errorf("%+v", in)
	}
}

// What arrives within the window was only overtaken, and changes nothing.
func TestRACKReordered(t *testing.T) {
	w := dialRTT(t, plain(), synAck, 40*ms)
	w.write(3000)
	w.skip()
	w.pass(40 * ms)
	w.recv(". 1:1 ack 1 win 65535 <sack 2001:3001>")
	w.pass(9 * ms)
	w.recv(". 1:1 ack 3001 win 65535")
	w.pass(time.Second)
	if in := w.c.Info(); in.Retransmits != 0 || w.c.stats.reordered == 0 {
		t.Errorf("%+v", in)
	}
	// Now that reordering was seen, three reports are no proof any more, either.
	w.write(10000)
	w.skip()
	w.pass(40 * ms)
	w.recv(". 1:1 ack 3001 win 65535 <sack 4001:13001>")
	w.pass(9 * ms)
	w.recv(". 1:1 ack 13001 win 65535")
	if in := w.c.Info(); in.Retransmits != 0 {
		t.Errorf("%+v", in)
	}
}

// A retransmission that is lost, too, is found without a timeout: what was sent
// after it has arrived (RFC 8985, section 3).
func TestRACKLostRetransmission(t *testing.T) {
	w := dialRTT(t, plain(), synAck, 40*ms)
	w.write(30000)
	w.skip()
	w.pass(40 * ms)
	w.recv(". 1:1 ack 1 win 65535 <sack 1001:9001>")
	if len(w.sent) < 2 || w.match(". 1:1001", w.lines()[0]) != nil || w.match(". 10001:11001", w.lines()[1]) != nil {
		t.Fatalf("%v", w.lines())
	}
	w.skip()
	w.pass(50 * ms)
	w.recv(". 1:1 ack 1 win 65535 <sack 1001:11001>")
	if len(w.sent) == 0 || w.match(". 1:1001", w.lines()[0]) != nil {
		t.Fatalf("not repeated again: %v", w.lines())
	}
	if in := w.c.Info(); in.FastRecoveries != 1 || in.Timeouts != 0 {
		t.Errorf("%+v", in)
	}
	w.skip()
}

// With a clock that does not move within a round trip, the window is a tick of it,
// or every overtaken segment would be taken for lost at once.
func TestRACKCoarseClock(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(3000)
	w.skip()
	w.recv(". 1:1 ack 1 win 65535 <sack 2001:3001>")
	w.pass(ms - 1)
	w.recv(". 1:1 ack 3001 win 65535")
	if in := w.c.Info(); in.Retransmits != 0 {
		t.Errorf("%+v", in)
	}
}

// A driver that comes back after minutes repairs what the cheap timer would have:
// no timeout, no window of one segment.
func TestRACKLateTimer(t *testing.T) {
	w := dialRTT(t, plain(), synAck, 40*ms)
	w.write(10000)
	w.skip()
	w.pass(40 * ms)
	w.recv(". 1:1 ack 1 win 65535 <sack 1001:3001>")
	w.now = w.now.Add(3 * time.Minute)
	w.do(func(c *Conn) { c.Timeout(w.now) })
	if in := w.c.Info(); in.Timeouts != 0 || in.FastRecoveries != 1 {
		t.Errorf("%+v", in)
	}
	w.skip()
}

// D-SACKs widen the window up to SRTT, and recoveries without narrow it again.
func TestRACKWidens(t *testing.T) {
	w := dialRTT(t, plain(), synAck, 40*ms)
	c := &w.c
	c.stats.reordered = 1
	for range 1000 {
		c.rack.dsack, c.rate.found = true, true
		c.rate.priorDelivered = c.delivered // each is a round of its own
		c.rackDSACK()
	}
	if c.rack.mult != rackMaxSteps {
		t.Errorf("%d quarters", c.rack.mult)
	}
	if got := c.rackWidth(); got > 40*ms {
		t.Errorf("a window of %v", got)
	}
	for range rackPersist {
		c.rackRecovered()
	}
	c.rackDSACK()
	if got := c.rackWidth(); got != 10*ms {
		t.Errorf("a window of %v after %d recoveries", got, rackPersist)
	}
}
