package stacktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what should take milliseconds. A test
// that runs into it failed; none needs it to pass.
const patience = 60 * time.Second

// blip is a time that passes on purpose: long enough for a deadline to be in the
// future when it is set.
const blip = 20 * time.Millisecond

// tcpConn is what every backend's TCP connections can do.
type tcpConn interface {
	net.Conn
	io.ReaderFrom
	io.WriterTo
	CloseRead() error
	CloseWrite() error
	SetNoDelay(bool) error
	SetLinger(int) error
	SetKeepAliveConfig(net.KeepAliveConfig) error
	SetReadBuffer(int) error
	SetWriteBuffer(int) error
}

// tcpListener is what every backend's listeners can do.
type tcpListener interface {
	net.Listener
	SetDeadline(time.Time) error
}

// udpConn is what every backend's UDP sockets can do, dialled or not.
type udpConn interface {
	net.Conn
	net.PacketConn
	ReadFromUDP([]byte) (int, *net.UDPAddr, error)
	ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error)
	ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
	WriteToUDP([]byte, *net.UDPAddr) (int, error)
	WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error)
	WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
	SetReadBuffer(int) error
	SetWriteBuffer(int) error
}

// harness is one test's pair of stacks and what the test does with it. Its
// methods belong to the test's goroutine unless they say otherwise.
type harness struct {
	*testing.T
	env  *Env
	pair *Pair
	a, b Host
	ctx  context.Context
	dns  *dnsServer
	hole netip.AddrPort // the blackhole, once asked for
}

func newHarness(t *testing.T, env *Env, tt test) *harness {
	h := &harness{T: t, env: env}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	h.ctx = ctx
	var o Options
	if tt.dns {
		o.DNS = func(b Host) []netip.AddrPort {
			h.dns = newDNSServer(h, b)
			return []netip.AddrPort{h.dns.addr}
		}
	}
	h.pair = env.New(t, o)
	h.a, h.b = h.pair.A, h.pair.B
	t.Cleanup(func() {
		for _, s := range []Host{h.a, h.b} {
			if err := s.Stack.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("closing the stack at the end: %v", err)
			}
		}
		if h.dns != nil {
			h.dns.wait()
		}
	})
	return h
}

// at returns "address:port" of a host.
func at(host Host, port uint16) string { return netip.AddrPortFrom(host.Addr, port).String() }

// check fails the test if err is not nil.
func (h *harness) check(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// listen announces on a free port of the host's address.
func (h *harness) listen(on Host) tcpListener { h.Helper(); return h.listenAt(on, "tcp", at(on, 0)) }

func (h *harness) listenAt(on Host, network, address string) tcpListener {
	h.Helper()
	l, err := on.Stack.Listen(h.ctx, network, address)
	h.check(err)
	h.Cleanup(func() { l.Close() })
	tl, ok := l.(tcpListener)
	if !ok {
		h.Fatalf("listener %T lacks SetDeadline", l)
	}
	h.check(tl.SetDeadline(time.Now().Add(patience)))
	return tl
}

// dial connects from a host to addr.
func (h *harness) dial(from Host, addr net.Addr) tcpConn {
	h.Helper()
	c, err := from.Stack.DialContext(h.ctx, addr.Network(), addr.String())
	h.check(err)
	return h.adopt(c)
}

func (h *harness) accept(l net.Listener) tcpConn {
	h.Helper()
	c, err := l.Accept()
	h.check(err)
	return h.adopt(c)
}

// adopt makes the test's end close c, and c's calls end in time.
func (h *harness) adopt(c net.Conn) tcpConn {
	h.Helper()
	h.Cleanup(func() { c.Close() })
	h.check(c.SetDeadline(time.Now().Add(patience)))
	tc, ok := c.(tcpConn)
	if !ok {
		h.Fatalf("connection %T lacks a method of TCP connections", c)
	}
	return tc
}

// connect returns both ends of a connection, dialled by A and accepted by B.
func (h *harness) connect() (a, b tcpConn) {
	h.Helper()
	l := h.listen(h.b)
	defer l.Close()
	a = h.dial(h.a, l.Addr())
	return a, h.accept(l)
}

// both runs f for a connection in either role: c is the end under test.
func both(f func(h *harness, c, peer tcpConn)) (dialled, accepted func(h *harness)) {
	return func(h *harness) { c, peer := h.connect(); f(h, c, peer) },
		func(h *harness) { peer, c := h.connect(); f(h, c, peer) }
}

// listenUDP announces on a free port of the host's address.
func (h *harness) listenUDP(on Host) udpConn {
	h.Helper()
	p, err := on.Stack.ListenPacket(h.ctx, "udp", at(on, 0))
	h.check(err)
	return h.adoptUDP(p)
}

func (h *harness) dialUDP(from Host, addr net.Addr) udpConn {
	h.Helper()
	c, err := from.Stack.DialContext(h.ctx, "udp", addr.String())
	h.check(err)
	return h.adoptUDP(c)
}

func (h *harness) adoptUDP(c interface {
	io.Closer
	SetDeadline(time.Time) error
}) udpConn {
	h.Helper()
	h.Cleanup(func() { c.Close() })
	h.check(c.SetDeadline(time.Now().Add(patience)))
	u, ok := c.(udpConn)
	if !ok {
		h.Fatalf("UDP socket %T lacks a method of UDP sockets", c)
	}
	return u
}

// blackhole returns an address that swallows connection attempts.
func (h *harness) blackhole() netip.AddrPort {
	h.Helper()
	h.hole = h.env.Blackhole(h, h.pair)
	return h.hole
}

// async runs f beside the test and returns a function that waits for it and
// fails the test with its error. f must not end the test itself.
func (h *harness) async(f func() error) (wait func()) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() {
		h.Helper()
		select {
		case err := <-done:
			h.check(err)
		case <-time.After(2 * patience):
			h.Fatal("an operation did not end")
		}
	}
}

// settle lets a goroutine that the test has just started reach the call it is to
// block in. Nothing may depend on whether it did: it makes the interesting order
// of events the likely one.
func settle() {
	for range 20 {
		runtime.Gosched()
	}
	time.Sleep(time.Millisecond)
}

// random returns n bytes that depend on seed only.
func random(n int, seed byte) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// send writes all of p.
func send(c net.Conn, p []byte) error {
	n, err := c.Write(p)
	if err == nil && n != len(p) {
		return io.ErrShortWrite
	}
	return err
}

// expect reads len(want) bytes and compares.
func expect(c net.Conn, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("the data received differ from the data sent")
	}
	return nil
}

// expectEOF reads the end of the stream, and nothing before it.
func expectEOF(c net.Conn) error {
	n, err := c.Read(make([]byte, 1))
	if n != 0 || err != io.EOF {
		return errors.New("Read did not report the end of the stream: " + errText(err))
	}
	return nil
}

func errText(err error) string {
	if err == nil {
		return "it returned data"
	}
	return err.Error()
}

// checkGoroutines fails the test if, at its end and after all other clean-up,
// goroutines remain that were not there at its beginning.
func checkGoroutines(t *testing.T) {
	before := goroutines()
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for {
			left := goroutines()
			for id := range before {
				delete(left, id)
			}
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				for _, stack := range left {
					t.Errorf("a goroutine is left behind:\n%s", stack)
				}
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// goroutines returns the stacks of all goroutines but this one, by number.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := make(map[string]string)
	for i, stack := range strings.Split(string(buf), "\n\n") {
		// "goroutine 18 [select]:"
		if id, _, ok := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " "); ok && i > 0 {
			all[id] = stack
		}
	}
	return all
}
