package stacktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

func closeTests() []test {
	unreadD, unreadA := both(testCloseUnread)
	blockedD, blockedA := both(testCloseBlocked)
	unsentD, unsentA := both(testCloseUnsent)
	lingerD, lingerA := both(testLingerZero)
	return []test{
		{name: "Unread/Dialled", run: unreadD},
		{name: "Unread/Accepted", run: unreadA},
		{name: "Blocked/Dialled", run: blockedD},
		{name: "Blocked/Accepted", run: blockedA},
		{name: "Unsent/Dialled", run: unsentD},
		{name: "Unsent/Accepted", run: unsentA},
		{name: "LingerZero/Dialled", run: lingerD},
		{name: "LingerZero/Accepted", run: lingerA},
		{name: "UnsentThenStack/Dialled", run: testStackCloseUnsentDialled},
		{name: "UnsentThenStack/Accepted", run: testStackCloseUnsentAccepted},
		{name: "StackResets", run: testStackCloseResets},
		{name: "StackUnblocks", run: testStackCloseUnblocks},
		{name: "StackUnblocksDial", run: testStackCloseDial, need: needBlackhole},
		{name: "StackTwice", run: testStackCloseTwice},
		{name: "Twice", run: testCloseTwice},
		{name: "Listener", run: testCloseListener},
		{name: "ListenerKeepsConnections", run: testCloseListenerKeeps},
		{name: "Backlog", run: testCloseBacklog},
	}
}

// reset reports an error unless err is what a reset by the peer gives.
func reset(what string, err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%s: %v, want a reset by the peer", what, err)
	}
	return nil
}

// closed reports an error unless err says that this side has closed.
func closed(what string, err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || !errors.Is(err, net.ErrClosed) || op.Timeout() {
		return fmt.Errorf("%s: %v, want %v", what, err, net.ErrClosed)
	}
	return nil
}

// testCloseUnread closes with data unread: the peer must not take them for
// delivered, and learns so by a reset (RFC 9293, section 3.6.1).
func testCloseUnread(h *harness, c, peer tcpConn) {
	h.check(send(peer, random(2000, 6)))
	h.check(expect(c, random(2000, 6)[:1]))
	h.check(c.Close())
	_, err := peer.Read(make([]byte, 1))
	h.check(reset("the peer's Read", err))
}

// testCloseBlocked closes under a Read and a Write that wait.
func testCloseBlocked(h *harness, c, peer tcpConn) {
	_, err := fill(c)
	h.check(err)
	h.check(c.SetWriteDeadline(time.Now().Add(patience)))
	w1 := h.async(func() error { _, err := c.Read(make([]byte, 1)); return closed("Read", err) })
	w2 := h.async(func() error { _, err := c.Write(make([]byte, 64<<20)); return closed("Write", err) })
	settle()
	h.check(c.Close())
	w1()
	w2()
	// What fitted before is still delivered, or the peer is told that it was not.
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{peer}); err != nil {
		h.check(reset("the peer's Read", err))
	}
}

// testCloseUnsent closes with much unsent: all of it arrives, then the end.
func testCloseUnsent(h *harness, c, peer tcpConn) {
	n, err := fill(c)
	h.check(err)
	h.check(c.Close())
	settle()
	h.check(expectAll(peer, make([]byte, n)))
}

func testLingerZero(h *harness, c, peer tcpConn) {
	h.check(send(c, []byte("x")))
	h.check(expect(peer, []byte("x")))
	h.check(c.SetLinger(0))
	h.check(c.Close())
	_, err := peer.Read(make([]byte, 1))
	h.check(reset("the peer's Read", err))
}

// stackCloseUnsent writes 10 MiB to c, which belongs to host, closes c and then
// the stack while the peer still has data to take: it gets all of them.
func stackCloseUnsent(h *harness, host Host, c, peer tcpConn) {
	const tail = 32 << 10 // what the peer leaves in the buffers until c is closed
	data := random(10<<20, 7)
	cClosed := make(chan struct{})
	wait := h.async(func() error {
		if err := expect(peer, data[:len(data)-tail]); err != nil {
			return err
		}
		<-cClosed
		if err := expect(peer, data[len(data)-tail:]); err != nil {
			return err
		}
		return expectEOF(peer)
	})
	err := send(c, data)
	if err == nil {
		err = c.Close()
	}
	close(cClosed)
	h.check(err)
	h.check(host.Stack.Close())
	wait()
	// Nobody is left to acknowledge the end of the other direction.
	h.check(peer.SetLinger(0))
}

func testStackCloseUnsentDialled(h *harness) {
	a, b := h.connect()
	stackCloseUnsent(h, h.a, a, b)
}

func testStackCloseUnsentAccepted(h *harness) {
	a, b := h.connect()
	stackCloseUnsent(h, h.b, b, a)
}

// testStackCloseResets ends a stack under a connection that it dialled: the peer
// must see that this was no orderly end.
func testStackCloseResets(h *harness) {
	a, b := h.connect()
	h.check(send(a, []byte("x")))
	h.check(expect(b, []byte("x")))
	h.check(h.a.Stack.Close())
	_, err := b.Read(make([]byte, 1))
	h.check(reset("the peer's Read", err))
	_, err = a.Read(make([]byte, 1))
	h.check(closed("Read", err))
	_, err = a.Write([]byte("x"))
	h.check(closed("Write", err))
}

// testStackCloseUnblocks ends a stack under everything that can wait in it.
func testStackCloseUnblocks(h *harness) {
	l := h.listen(h.a)
	u := h.listenUDP(h.a)
	d := h.dialUDP(h.a, u.LocalAddr())
	a, _ := h.connect()
	_, err := fill(a)
	h.check(err)
	h.check(a.SetDeadline(time.Time{}))
	waits := []func(){
		h.async(func() error { _, err := l.Accept(); return closed("Accept", err) }),
		h.async(func() error { _, _, err := u.ReadFrom(make([]byte, 1)); return closed("ReadFrom", err) }),
		h.async(func() error { _, err := d.Read(make([]byte, 1)); return closed("UDP Read", err) }),
		h.async(func() error { _, err := a.Read(make([]byte, 1)); return closed("Read", err) }),
		h.async(func() error { _, err := a.Write(make([]byte, 64<<20)); return closed("Write", err) }),
	}
	settle()
	h.check(h.a.Stack.Close())
	for _, wait := range waits {
		wait()
	}
}

func testStackCloseDial(h *harness) {
	hole := h.blackhole().String()
	wait := h.async(func() error {
		_, err := h.a.Stack.DialContext(context.Background(), "tcp", hole)
		return closed("dial", err)
	})
	settle()
	h.check(h.a.Stack.Close())
	wait()
}

// testStackCloseTwice checks a closed stack: it does nothing more, and says so.
func testStackCloseTwice(h *harness) {
	h.check(h.a.Stack.Close())
	if err := h.a.Stack.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		h.Errorf("second Close: %v", err)
	}
	_, err := h.a.Stack.DialContext(h.ctx, "tcp", at(h.b, 9))
	h.check(closed("DialContext", err))
	_, err = h.a.Stack.Listen(h.ctx, "tcp", at(h.a, 0))
	h.check(closed("Listen", err))
	_, err = h.a.Stack.ListenPacket(h.ctx, "udp", at(h.a, 0))
	h.check(closed("ListenPacket", err))
	if _, err := h.a.Stack.Interfaces(); !errors.Is(err, net.ErrClosed) {
		h.Errorf("Interfaces: %v", err)
	}
	if h.a.Stack.Resolver() == nil {
		h.Error("Resolver is nil")
	}
}

func testCloseTwice(h *harness) {
	a, b := h.connect()
	h.check(a.Close())
	h.check(closed("second Close", a.Close()))
	_, err := a.Read(make([]byte, 1))
	h.check(closed("Read", err))
	_, err = a.Write([]byte("x"))
	h.check(closed("Write", err))
	h.check(closed("SetDeadline", a.SetDeadline(time.Time{})))
	h.check(expectEOF(b))
}

func testCloseListener(h *harness) {
	l := h.listen(h.b)
	wait := h.async(func() error { _, err := l.Accept(); return closed("Accept", err) })
	settle()
	h.check(l.Close())
	wait()
	_, err := l.Accept()
	h.check(closed("Accept after Close", err))
	h.check(closed("second Close", l.Close()))
	if _, err := h.a.Stack.DialContext(h.ctx, "tcp", l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		h.Errorf("dial to a closed listener: %v", err)
	}
	// The port is free at once.
	l2 := h.listenAt(h.b, "tcp", l.Addr().String())
	h.dial(h.a, l2.Addr())
	h.accept(l2)
}

// testCloseListenerKeeps closes the listener under accepted connections, and
// opens it again beside them, as a server that restarts does.
func testCloseListenerKeeps(h *harness) {
	l := h.listen(h.b)
	a := h.dial(h.a, l.Addr())
	b := h.accept(l)
	h.check(l.Close())
	h.check(send(a, []byte("ping")))
	h.check(expect(b, []byte("ping")))
	l2 := h.listenAt(h.b, "tcp", l.Addr().String())
	c := h.dial(h.a, l2.Addr())
	d := h.accept(l2)
	h.check(send(b, []byte("old")))
	h.check(send(d, []byte("new")))
	h.check(expect(a, []byte("old")))
	h.check(expect(c, []byte("new")))
	// The server closes first, and its side keeps TIME-WAIT.
	h.check(b.Close())
	h.check(d.Close())
	h.check(expectEOF(a))
	h.check(expectEOF(c))
	h.check(a.Close())
	h.check(c.Close())
	h.check(l2.Close())
	h.listenAt(h.b, "tcp", l.Addr().String())
}

// testCloseBacklog closes a listener with a connection that nobody accepted.
func testCloseBacklog(h *harness) {
	l := h.listen(h.b)
	a := h.dial(h.a, l.Addr())
	h.check(l.Close())
	_, err := a.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) || err == io.EOF {
		h.Fatalf("Read: %v", err)
	}
	h.check(reset("Read", err))
}
