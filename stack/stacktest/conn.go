package stacktest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// runNetTest runs x/net's suite for connections. It makes subtests of its own,
// which a bubble forbids, so that it always takes real time.
func runNetTest(t *testing.T, env *Env) {
	for _, role := range []string{"Dialled", "Accepted"} {
		t.Run(role, func(t *testing.T) {
			checkGoroutines(t)
			h := newHarness(t, env, test{})
			h.ctx = context.Background() // the suite may take longer than one test
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				l, err := h.b.Stack.Listen(h.ctx, "tcp", at(h.b, 0))
				if err != nil {
					return nil, nil, nil, err
				}
				defer l.Close()
				a, err := h.a.Stack.DialContext(h.ctx, "tcp", l.Addr().String())
				if err != nil {
					return nil, nil, nil, err
				}
				b, err := l.Accept()
				if err != nil {
					a.Close()
					return nil, nil, nil, err
				}
				stop = func() { a.Close(); b.Close() }
				if role == "Accepted" {
					a, b = b, a
				}
				return a, b, stop, nil
			})
		})
	}
}

func connTests() []test {
	return []test{
		{name: "Echo", run: testEcho},
		{name: "Bulk", run: testBulk},
		{name: "Addresses", run: testAddresses},
		{name: "EmptyReadAndWrite", run: testEmpty},
		{name: "ReadFromAndWriteTo", run: testCopy},
		{name: "Interfaces", run: testInterfaces},
		{name: "ToItself", run: testToItself},
		{name: "DialBeforeAccept", run: testDialBeforeAccept},
	}
}

func testEcho(h *harness) {
	a, b := h.connect()
	for _, n := range []int{1, 2, 3, 536, 1460, 1461, 4096, 65535, 65536, 100_000} {
		msg := random(n, byte(n))
		wait := h.async(func() error {
			if err := expect(b, msg); err != nil {
				return err
			}
			return send(b, msg)
		})
		h.check(send(a, msg))
		h.check(expect(a, msg))
		wait()
	}
}

// testBulk sends both ways at once, more than any buffer holds.
func testBulk(h *harness) {
	a, b := h.connect()
	up, down := random(16<<20, 1), random(12<<20, 2)
	w1 := h.async(func() error { defer a.CloseWrite(); return send(a, up) })
	w2 := h.async(func() error { defer b.CloseWrite(); return send(b, down) })
	w3 := h.async(func() error { return expectAll(b, up) })
	h.check(expectAll(a, down))
	w3()
	w1()
	w2()
}

// expectAll reads to the end of the stream and compares all of it.
func expectAll(c io.Reader, want []byte) error {
	sum := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{c}, make([]byte, 64<<10))
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, len(want), err)
	}
	if n != int64(len(want)) {
		return fmt.Errorf("received %d bytes, want %d", n, len(want))
	}
	if w := sha256.Sum256(want); !bytes.Equal(sum.Sum(nil), w[:]) {
		return errors.New("the data received differ from the data sent")
	}
	return nil
}

// testAddresses checks that both ends agree about who they are.
func testAddresses(h *harness) {
	l := h.listen(h.b)
	la, ok := l.Addr().(*net.TCPAddr)
	if !ok || la.Port == 0 || la.AddrPort().Addr().Unmap() != h.b.Addr {
		h.Fatalf("listener's address is %T %v, want *net.TCPAddr on %v", l.Addr(), l.Addr(), h.b.Addr)
	}
	if l.Addr().Network() != "tcp" {
		h.Errorf("listener's network is %q", l.Addr().Network())
	}
	a := h.dial(h.a, l.Addr())
	b := h.accept(l)
	for _, addr := range []net.Addr{a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr()} {
		if ta, ok := addr.(*net.TCPAddr); !ok || ta.Port == 0 {
			h.Errorf("address %v is %T, want *net.TCPAddr with a port", addr, addr)
		}
	}
	if a.RemoteAddr().String() != l.Addr().String() || b.LocalAddr().String() != l.Addr().String() {
		h.Errorf("listener is %v; dialled end has remote %v, accepted end local %v", l.Addr(), a.RemoteAddr(), b.LocalAddr())
	}
	if a.LocalAddr().String() != b.RemoteAddr().String() {
		h.Errorf("dialled end's local is %v, accepted end's remote %v", a.LocalAddr(), b.RemoteAddr())
	}
	a.Close()
	if a.LocalAddr() == nil || a.RemoteAddr() == nil {
		h.Error("a closed connection has lost its addresses")
	}
}

// testEmpty checks that no bytes are neither sent nor waited for.
func testEmpty(h *harness) {
	a, b := h.connect()
	for _, p := range [][]byte{nil, {}} {
		if n, err := a.Read(p); n != 0 || err != nil {
			h.Errorf("Read into nothing: %d, %v", n, err)
		}
		if n, err := a.Write(p); n != 0 || err != nil {
			h.Errorf("Write of nothing: %d, %v", n, err)
		}
	}
	h.check(send(a, []byte("x")))
	h.check(expect(b, []byte("x")))
}

// testCopy moves a stream through io.Copy's shortcuts: file to connection,
// connection to connection, connection to buffer.
func testCopy(h *harness) {
	data := random(3<<20+17, 3)
	a, b := h.connect()
	c, d := h.connect()
	w1 := h.async(func() error {
		n, err := a.ReadFrom(bytes.NewReader(data))
		if err != nil || n != int64(len(data)) {
			return fmt.Errorf("ReadFrom: %d, %v", n, err)
		}
		return a.CloseWrite()
	})
	w2 := h.async(func() error {
		if _, err := io.Copy(c, b); err != nil {
			return fmt.Errorf("connection to connection: %w", err)
		}
		return c.CloseWrite()
	})
	var got bytes.Buffer
	n, err := d.WriteTo(&got)
	if err != nil || n != int64(len(data)) || !bytes.Equal(got.Bytes(), data) {
		h.Errorf("WriteTo: %d of %d bytes, %v", n, len(data), err)
	}
	w1()
	w2()

	// A limited reader must leave what lies beyond the limit.
	e, f := h.connect()
	src := bytes.NewReader([]byte("0123456789"))
	if n, err := e.ReadFrom(io.LimitReader(src, 4)); n != 4 || err != nil || src.Len() != 6 {
		h.Errorf("ReadFrom of a limited reader: %d, %v, %d bytes left", n, err, src.Len())
	}
	h.check(expect(f, []byte("0123")))

	// The error of the source comes back as it is.
	broken := errors.New("broken source")
	if _, err := e.ReadFrom(errReader{broken}); !errors.Is(err, broken) {
		h.Errorf("ReadFrom of a broken source: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func testInterfaces(h *harness) {
	for _, host := range []Host{h.a, h.b} {
		list, err := host.Stack.Interfaces()
		h.check(err)
		names, indexes, found := map[string]bool{}, map[int]bool{}, false
		for _, ifi := range list {
			if ifi.Index <= 0 || indexes[ifi.Index] || ifi.Name == "" || names[ifi.Name] {
				h.Errorf("interface %d %q: index or name is missing or not unique", ifi.Index, ifi.Name)
			}
			names[ifi.Name], indexes[ifi.Index] = true, true
			for _, p := range ifi.Addrs {
				if p.Addr() != host.Addr {
					continue
				}
				found = true
				if ifi.MTU < 68 || ifi.Flags&net.FlagUp == 0 {
					h.Errorf("interface %s has MTU %d and flags %v", ifi.Name, ifi.MTU, ifi.Flags)
				}
			}
		}
		if !found {
			h.Errorf("no interface of %+v has %v", list, host.Addr)
		}
	}
}

// testToItself connects a stack with itself: by its own address, and by the
// loopback address that every host has.
func testToItself(h *harness) {
	for _, address := range []string{at(h.b, 0), "127.0.0.1:0"} {
		l := h.listenAt(h.b, "tcp", address)
		a := h.dial(h.b, l.Addr())
		b := h.accept(l)
		wait := h.async(func() error { return send(a, random(200_000, 4)) })
		h.check(expect(b, random(200_000, 4)))
		wait()
	}
}

// testDialBeforeAccept checks that the stack, not Accept, answers a connection,
// and keeps the data that arrive before Accept.
func testDialBeforeAccept(h *harness) {
	l := h.listen(h.b)
	var conns []tcpConn
	for i := range 5 {
		c := h.dial(h.a, l.Addr())
		h.check(send(c, random(1000, byte(i))))
		h.check(c.CloseWrite())
		conns = append(conns, c)
	}
	seen := make(map[string]tcpConn)
	for range conns {
		b := h.accept(l)
		seen[b.RemoteAddr().String()] = b
	}
	for i, c := range conns {
		b := seen[c.LocalAddr().String()]
		if b == nil {
			h.Fatalf("connection %d was not accepted", i)
		}
		h.check(b.SetDeadline(time.Now().Add(patience)))
		h.check(expectAll(b, random(1000, byte(i))))
	}
}
