package stacktest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

func deadlineTests() []test {
	readD, readA := both(testReadDeadline)
	return []test{
		{name: "Read/Dialled", run: readD},
		{name: "Read/Accepted", run: readA},
		{name: "Past", run: testPastDeadline},
		{name: "MovedWhileReading", run: testDeadlineMoved},
		{name: "ExtendedWhileReading", run: testDeadlineExtended},
		{name: "Write", run: testWriteDeadline},
		{name: "WriteWhileBlocked", run: testWriteDeadlineMoved},
		{name: "Accept", run: testAcceptDeadline},
		{name: "UDP", run: testUDPDeadline},
		{name: "Dial", run: testDialDeadline, need: needBlackhole},
		{name: "CancelDial", run: testDialCancel, need: needBlackhole},
	}
}

// past is a deadline that has passed, in bubbles too.
func past() time.Time { return time.Now().Add(-time.Hour) }

// timedOut reports an error unless err is what a deadline gives.
func timedOut(what string, err error) error {
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		return fmt.Errorf("%s: %v, want a timeout", what, err)
	}
	return nil
}

func testReadDeadline(h *harness, c, peer tcpConn) {
	deadline := time.Now().Add(blip)
	h.check(c.SetReadDeadline(deadline))
	_, err := c.Read(make([]byte, 1))
	h.check(timedOut("Read", err))
	if time.Now().Before(deadline) {
		h.Error("Read gave up before its deadline")
	}
	// The deadline stays, for data that have arrived as well.
	h.check(send(peer, []byte("abc")))
	_, err = c.Read(make([]byte, 1))
	h.check(timedOut("second Read", err))
	// The other direction has its own.
	h.check(send(c, []byte("def")))
	h.check(expect(peer, []byte("def")))
	// Without it the connection is as before, and nothing was lost.
	h.check(c.SetReadDeadline(time.Time{}))
	h.check(expect(c, []byte("abc")))
}

func testPastDeadline(h *harness) {
	a, b := h.connect()
	h.check(send(b, []byte("waiting")))
	h.check(a.SetDeadline(past()))
	_, err := a.Read(make([]byte, 8))
	h.check(timedOut("Read", err))
	n, err := a.Write([]byte("x"))
	h.check(timedOut("Write", err))
	if n != 0 {
		h.Errorf("Write after the deadline wrote %d bytes", n)
	}
	h.check(a.SetDeadline(time.Now().Add(patience)))
	h.check(expect(a, []byte("waiting")))
	h.check(send(a, []byte("y")))
	h.check(expect(b, []byte("y")))
}

func testDeadlineMoved(h *harness) {
	a, b := h.connect()
	for _, to := range []func() time.Time{time.Now, past, func() time.Time { return time.Now().Add(blip) }} {
		h.check(a.SetReadDeadline(time.Time{}))
		wait := h.async(func() error {
			_, err := a.Read(make([]byte, 1))
			return timedOut("Read", err)
		})
		settle()
		h.check(a.SetReadDeadline(to()))
		wait()
	}
	h.check(a.SetReadDeadline(time.Now().Add(patience)))
	h.check(send(b, []byte("z")))
	h.check(expect(a, []byte("z")))
}

// testDeadlineExtended moves a deadline back before it fires: it must not.
func testDeadlineExtended(h *harness) {
	a, b := h.connect()
	for try := 0; ; try++ {
		first := time.Now().Add(blip << min(try, 8))
		h.check(a.SetReadDeadline(first))
		read := make(chan error, 1)
		go func() { read <- expect(a, []byte("k")) }()
		settle()
		h.check(a.SetReadDeadline(time.Now().Add(patience)))
		if !time.Now().Before(first) {
			// The machine took its time, and the first deadline may have fired rightly:
			// once more, with a later one.
			h.check(send(b, []byte("k")))
			if err := <-read; err != nil {
				h.check(a.SetReadDeadline(time.Now().Add(patience)))
				h.check(expect(a, []byte("k")))
			}
			if try == 20 {
				h.Fatal("the machine is too slow to set two deadlines in a row")
			}
			continue
		}
		time.Sleep(time.Until(first) + blip/2)
		h.check(send(b, []byte("k")))
		h.check(<-read)
		return
	}
}

// fullAfter is how many Writes in a row must take nothing before buffers are full.
const fullAfter = 3

// fill writes until nothing more fits, and returns how much did. A Write whose time
// is over before it begins takes nothing either, so that it takes a few in a row to
// call the buffers full.
func fill(c tcpConn) (int, error) {
	total, p := 0, make([]byte, 64<<10)
	for idle := 0; ; {
		if err := c.SetWriteDeadline(time.Now().Add(blip << idle)); err != nil {
			return total, err
		}
		n, err := c.Write(p)
		total += n
		if n > 0 {
			idle = 0
		} else {
			idle++
		}
		if err != nil {
			if err := timedOut("Write into full buffers", err); err != nil || idle == fullAfter {
				return total, err
			}
		}
		if total > 1<<30 {
			return total, errors.New("1 GiB fitted into the buffers of an idle connection")
		}
	}
}

// testWriteDeadline checks that a Write that times out says how much it wrote.
func testWriteDeadline(h *harness) {
	a, b := h.connect()
	n, err := fill(a)
	h.check(err)
	if n == 0 {
		h.Fatal("nothing fitted into the buffers")
	}
	h.check(a.CloseWrite())
	h.check(expectAll(b, make([]byte, n)))
}

func testWriteDeadlineMoved(h *harness) {
	a, b := h.connect()
	n, err := fill(a)
	h.check(err)
	h.check(a.SetWriteDeadline(time.Now().Add(patience)))
	more := 0
	wait := h.async(func() error {
		var err error
		more, err = a.Write(make([]byte, 64<<20))
		return timedOut("Write", err)
	})
	settle()
	h.check(a.SetWriteDeadline(past()))
	wait()
	h.check(a.CloseWrite())
	h.check(expectAll(b, make([]byte, n+more)))
}

func testAcceptDeadline(h *harness) {
	l := h.listen(h.b)
	h.check(l.SetDeadline(past()))
	_, err := l.Accept()
	h.check(timedOut("Accept", err))
	h.check(l.SetDeadline(time.Now().Add(blip)))
	_, err = l.Accept()
	h.check(timedOut("Accept", err))
	h.check(l.SetDeadline(time.Time{}))
	wait := h.async(func() error {
		_, err := l.Accept()
		return timedOut("Accept", err)
	})
	settle()
	h.check(l.SetDeadline(time.Now()))
	wait()
	h.check(l.SetDeadline(time.Now().Add(patience)))
	a := h.dial(h.a, l.Addr())
	b := h.accept(l)
	// A listener's deadline is no business of its connections.
	h.check(l.SetDeadline(past()))
	h.check(send(a, []byte("hello")))
	h.check(expect(b, []byte("hello")))
}

func testUDPDeadline(h *harness) {
	u := h.listenUDP(h.b)
	p := make([]byte, 16)
	h.check(u.SetReadDeadline(past()))
	_, _, err := u.ReadFrom(p)
	h.check(timedOut("ReadFrom", err))
	h.check(u.SetReadDeadline(time.Now().Add(blip)))
	_, _, err = u.ReadFromUDPAddrPort(p)
	h.check(timedOut("ReadFromUDPAddrPort", err))
	h.check(u.SetReadDeadline(time.Time{}))
	wait := h.async(func() error {
		_, _, err := u.ReadFrom(p)
		return timedOut("ReadFrom", err)
	})
	settle()
	h.check(u.SetReadDeadline(time.Now()))
	wait()
	h.check(u.SetWriteDeadline(past()))
	_, err = u.WriteTo(p, u.LocalAddr())
	h.check(timedOut("WriteTo", err))
	h.check(u.SetDeadline(time.Now().Add(patience)))
	c := h.dialUDP(h.a, u.LocalAddr())
	h.check(send(c, []byte("late")))
	n, _, err := u.ReadFrom(p)
	if err != nil || string(p[:n]) != "late" {
		h.Errorf("ReadFrom after its deadline was cleared: %q, %v", p[:n], err)
	}
}

// testDialDeadline checks the two times of a dial: one that passes under way, one
// that has passed before.
func testDialDeadline(h *harness) {
	hole := h.blackhole().String()
	deadline := time.Now().Add(blip)
	ctx, cancel := context.WithDeadline(h.ctx, deadline)
	defer cancel()
	_, err := h.a.Stack.DialContext(ctx, "tcp", hole)
	var op *net.OpError
	// Package net reports the context's timeout or the socket's, whichever is first.
	if !errors.As(err, &op) || !op.Timeout() ||
		!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		h.Errorf("dial: %v, want a timeout", err)
	}
	if time.Now().Before(deadline) {
		h.Error("the dial gave up before its deadline")
	}
	if _, err := h.a.Stack.DialContext(ctx, "tcp", hole); err == nil {
		h.Error("a dial whose time had passed succeeded")
	}
}

func testDialCancel(h *harness) {
	hole := h.blackhole().String()
	ctx, cancel := context.WithCancel(h.ctx)
	wait := h.async(func() error {
		_, err := h.a.Stack.DialContext(ctx, "tcp", hole)
		var op *net.OpError
		if !errors.As(err, &op) || op.Timeout() || !errors.Is(err, context.Canceled) {
			return fmt.Errorf("dial: %v, want it cancelled", err)
		}
		return nil
	})
	settle()
	cancel()
	wait()
	// The context has no say over a connection that was made under it.
	l := h.listen(h.b)
	ctx, cancel = context.WithCancel(h.ctx)
	c, err := h.a.Stack.DialContext(ctx, "tcp", l.Addr().String())
	h.check(err)
	a, b := h.adopt(c), h.accept(l)
	cancel()
	settle()
	h.check(send(a, []byte("still here")))
	h.check(expect(b, []byte("still here")))
}
