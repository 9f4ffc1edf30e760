package stacktest

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

func halfCloseTests() []test {
	writeD, writeA := both(testCloseWrite)
	readD, readA := both(testCloseRead)
	bothD, bothA := both(testCloseWriteBoth)
	return []test{
		{name: "Write/Dialled", run: writeD},
		{name: "Write/Accepted", run: writeA},
		{name: "Read/Dialled", run: readD},
		{name: "Read/Accepted", run: readA},
		{name: "WriteBothSides/Dialled", run: bothD},
		{name: "WriteBothSides/Accepted", run: bothA},
		{name: "WriteWhileBlocked", run: testCloseWriteBlocked},
	}
}

// testCloseWrite ends one direction; the other works on for as long as it likes.
func testCloseWrite(h *harness, c, peer tcpConn) {
	h.check(send(c, []byte("question")))
	h.check(c.CloseWrite())
	h.check(expectAll(peer, []byte("question")))
	h.check(expectEOF(peer)) // the end stays the end
	if _, err := c.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
		h.Errorf("Write after CloseWrite: %v", err)
	}
	answer := random(3<<20, 8)
	wait := h.async(func() error {
		if err := send(peer, answer); err != nil {
			return err
		}
		return peer.Close()
	})
	h.check(expectAll(c, answer))
	wait()
	h.check(c.Close())
}

// testCloseRead ends reading: a Read returns, blocked ones included, and writing
// works on.
func testCloseRead(h *harness, c, peer tcpConn) {
	wait := h.async(func() error { return expectEOF(c) })
	settle()
	h.check(c.CloseRead())
	wait()
	h.check(expectEOF(c))
	data := random(1<<20, 9)
	wait = h.async(func() error {
		if err := send(c, data); err != nil {
			return err
		}
		return c.CloseWrite()
	})
	h.check(expectAll(peer, data))
	wait()
}

// testCloseWriteBoth ends both directions one after the other: that is an
// orderly end, after which Close has nothing to complain about.
func testCloseWriteBoth(h *harness, c, peer tcpConn) {
	h.check(send(c, []byte("1")))
	h.check(c.CloseWrite())
	h.check(expectAll(peer, []byte("1")))
	h.check(send(peer, []byte("2")))
	h.check(peer.CloseWrite())
	h.check(expectAll(c, []byte("2")))
	h.check(c.Close())
	h.check(peer.Close())
}

// testCloseWriteBlocked ends writing under a Write that waits: it returns, and
// what it had taken is delivered.
func testCloseWriteBlocked(h *harness) {
	a, b := h.connect()
	n, err := fill(a)
	h.check(err)
	h.check(a.SetWriteDeadline(time.Now().Add(patience)))
	more := 0
	wait := h.async(func() error {
		var err error
		more, err = a.Write(make([]byte, 64<<20))
		if !errors.Is(err, syscall.EPIPE) {
			return fmt.Errorf("Write: %d, %v, want %v", more, err, syscall.EPIPE)
		}
		return nil
	})
	settle()
	h.check(a.CloseWrite())
	got, err := io.Copy(io.Discard, struct{ io.Reader }{b})
	wait()
	if err != nil || got != int64(n+more) {
		h.Errorf("the peer got %d bytes of %d, %v", got, n+more, err)
	}
}
