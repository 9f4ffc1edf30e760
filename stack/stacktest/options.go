package stacktest

import (
	"errors"
	"io"
	"net"
	"time"
)

func optionTests() []test {
	setD, setA := both(testOptions)
	return []test{
		{name: "Set/Dialled", run: setD},
		{name: "Set/Accepted", run: setA},
		{name: "SmallBuffers", run: testSmallBuffers},
		{name: "Linger", run: testLinger},
		{name: "AfterClose", run: testOptionsClosed},
		{name: "UDPBuffers", run: testUDPBuffers},
	}
}

// testOptions sets everything to everything that package net takes, and the
// connection still works.
func testOptions(h *harness, c, peer tcpConn) {
	h.check(c.SetNoDelay(false))
	h.check(c.SetNoDelay(true))
	for _, k := range []net.KeepAliveConfig{
		{Enable: true},
		{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3},
		{Enable: true, Idle: -1, Interval: -1, Count: -1}, // negative: leave as it is
		{Enable: false},
	} {
		if err := c.SetKeepAliveConfig(k); err != nil {
			h.Errorf("SetKeepAliveConfig %+v: %v", k, err)
		}
	}
	h.check(c.SetLinger(0))
	h.check(c.SetLinger(3))
	h.check(c.SetLinger(-1))
	h.check(c.SetReadBuffer(64 << 10))
	h.check(c.SetWriteBuffer(64 << 10))
	data := random(300_000, 10)
	wait := h.async(func() error { return send(c, data) })
	h.check(expect(peer, data))
	wait()
	wait = h.async(func() error { return send(peer, data) })
	h.check(expect(c, data))
	wait()
}

// testSmallBuffers moves much through little.
func testSmallBuffers(h *harness) {
	a, b := h.connect()
	h.check(a.SetWriteBuffer(16 << 10))
	h.check(b.SetReadBuffer(16 << 10))
	data := random(200_000, 11)
	wait := h.async(func() error {
		if err := send(a, data); err != nil {
			return err
		}
		return a.Close()
	})
	h.check(expectAll(b, data))
	wait()
}

// testLinger closes with time to linger: what was written arrives, then the end.
func testLinger(h *harness) {
	a, b := h.connect()
	h.check(a.SetLinger(30))
	data := random(100_000, 12)
	wait := h.async(func() error {
		if err := send(a, data); err != nil {
			return err
		}
		return a.Close()
	})
	h.check(expectAll(b, data))
	h.check(b.Close())
	wait()
}

func testOptionsClosed(h *harness) {
	a, _ := h.connect()
	h.check(a.Close())
	for name, err := range map[string]error{
		"SetNoDelay":         a.SetNoDelay(true),
		"SetLinger":          a.SetLinger(0),
		"SetKeepAliveConfig": a.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true}),
		"SetReadBuffer":      a.SetReadBuffer(8192),
		"SetWriteBuffer":     a.SetWriteBuffer(8192),
		"CloseRead":          a.CloseRead(),
		"CloseWrite":         a.CloseWrite(),
		"SetReadDeadline":    a.SetReadDeadline(time.Time{}),
		"SetWriteDeadline":   a.SetWriteDeadline(time.Time{}),
	} {
		if err := closed(name, err); err != nil {
			h.Error(err)
		}
	}
	if _, err := a.WriteTo(io.Discard); !errors.Is(err, net.ErrClosed) {
		h.Errorf("WriteTo: %v", err)
	}
	if _, err := a.ReadFrom(io.LimitReader(errReader{io.EOF}, 1)); err != nil && !errors.Is(err, net.ErrClosed) {
		h.Errorf("ReadFrom: %v", err)
	}
}

func testUDPBuffers(h *harness) {
	u := h.listenUDP(h.b)
	h.check(u.SetReadBuffer(128 << 10))
	h.check(u.SetWriteBuffer(128 << 10))
	c := h.dialUDP(h.a, u.LocalAddr())
	h.check(c.SetReadBuffer(64 << 10))
	h.check(c.SetWriteBuffer(64 << 10))
	h.check(send(c, random(1200, 13)))
	buf := make([]byte, 2000)
	n, _, err := u.ReadFrom(buf)
	if err != nil || n != 1200 {
		h.Errorf("ReadFrom: %d, %v", n, err)
	}
}
