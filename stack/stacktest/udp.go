package stacktest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

func udpTests() []test {
	return []test{
		{name: "Echo", run: testUDPEcho},
		{name: "Sizes", run: testUDPSizes},
		{name: "ZeroLength", run: testUDPZero},
		{name: "Truncation", run: testUDPTruncation},
		{name: "Methods", run: testUDPMethods},
		{name: "ConnectedFilters", run: testUDPFilter},
		{name: "Refused", run: testUDPRefused},
		{name: "UnconnectedNotRefused", run: testUDPNotRefused},
		{name: "Close", run: testUDPClose},
		{name: "QueueIsBounded", run: testUDPFlood},
		{name: "Concurrent", run: testUDPConcurrent},
	}
}

func testUDPEcho(h *harness) {
	u := h.listenUDP(h.b)
	c := h.dialUDP(h.a, u.LocalAddr())
	if la, ok := c.LocalAddr().(*net.UDPAddr); !ok || la.Port == 0 || la.AddrPort().Addr().Unmap() != h.a.Addr {
		h.Errorf("dialled socket's local address is %T %v", c.LocalAddr(), c.LocalAddr())
	}
	if c.RemoteAddr().String() != u.LocalAddr().String() || u.RemoteAddr() != nil {
		h.Errorf("remote addresses are %v and %v", c.RemoteAddr(), u.RemoteAddr())
	}
	buf := make([]byte, 2048)
	for i := range 20 {
		msg := random(1+i*50, byte(i))
		h.check(send(c, msg))
		n, from, err := u.ReadFrom(buf)
		h.check(err)
		if _, ok := from.(*net.UDPAddr); !ok || from.String() != c.LocalAddr().String() || !bytes.Equal(buf[:n], msg) {
			h.Fatalf("received %d bytes from %T %v, sent %d from %v", n, from, from, len(msg), c.LocalAddr())
		}
		if n, err := u.WriteTo(msg, from); err != nil || n != len(msg) {
			h.Fatalf("WriteTo: %d, %v", n, err)
		}
		n, err = c.Read(buf)
		if err != nil || !bytes.Equal(buf[:n], msg) {
			h.Fatalf("Read: %d, %v", n, err)
		}
	}
}

// testUDPSizes sends up to the largest datagram that IPv4 has (RFC 791, section
// 3.1: 65,535 bytes with both headers), through fragments if the link needs them.
func testUDPSizes(h *harness) {
	u := h.listenUDP(h.b)
	c := h.dialUDP(h.a, u.LocalAddr())
	buf := make([]byte, 65536)
	for _, n := range []int{1, 1472, 1473, 3000, 9000, 30_000, 65_507} {
		msg := random(n, byte(n))
		h.check(send(c, msg))
		got, _, err := u.ReadFrom(buf)
		if err != nil || !bytes.Equal(buf[:got], msg) {
			h.Errorf("datagram of %d bytes: %d received, %v", n, got, err)
		}
	}
	if n, err := c.Write(make([]byte, 65_508)); n != 0 || !errors.Is(err, syscall.EMSGSIZE) {
		h.Errorf("datagram of 65,508 bytes: %d, %v", n, err)
	}
}

func testUDPZero(h *harness) {
	u := h.listenUDP(h.b)
	c := h.dialUDP(h.a, u.LocalAddr())
	buf := make([]byte, 16)
	if n, err := c.Write(nil); n != 0 || err != nil {
		h.Fatalf("Write of nothing: %d, %v", n, err)
	}
	n, from, err := u.ReadFrom(buf)
	if n != 0 || err != nil || from.String() != c.LocalAddr().String() {
		h.Fatalf("ReadFrom: %d, %v, %v", n, from, err)
	}
	if n, err := u.WriteTo([]byte{}, from); n != 0 || err != nil {
		h.Fatalf("WriteTo of nothing: %d, %v", n, err)
	}
	// An empty datagram is one, and no end of anything.
	if n, err := c.Read(buf); n != 0 || err != nil {
		h.Fatalf("Read: %d, %v", n, err)
	}
	h.check(send(c, []byte("x")))
	if n, _, err := u.ReadFrom(buf); n != 1 || err != nil {
		h.Fatalf("ReadFrom: %d, %v", n, err)
	}
}

// testUDPTruncation reads datagrams into too little: the rest is gone, and the
// next datagram is not disturbed.
func testUDPTruncation(h *harness) {
	u := h.listenUDP(h.b)
	c := h.dialUDP(h.a, u.LocalAddr())
	buf := make([]byte, 4)
	// Nobody promises an order among datagrams that wait for the neighbour's address.
	h.check(send(c, []byte("hi")))
	if n, _, err := u.ReadFrom(buf); n != 2 || err != nil {
		h.Fatalf("ReadFrom: %d bytes, %v", n, err)
	}
	for range 2 {
		h.check(send(c, []byte("too long")))
	}
	h.check(send(c, []byte("next")))
	n, _, err := u.ReadFrom(buf)
	if n != 4 || err != nil || string(buf) != "too " {
		h.Errorf("ReadFrom: %q, %v", buf[:n], err)
	}
	n, _, flags, _, err := u.ReadMsgUDPAddrPort(buf, nil)
	if n != 4 || err != nil || flags == 0 {
		h.Errorf("ReadMsgUDPAddrPort: %d bytes, flags %#x, %v; want MSG_TRUNC", n, flags, err)
	}
	n, _, flags, _, err = u.ReadMsgUDPAddrPort(buf, nil)
	if n != 4 || err != nil || flags != 0 || string(buf) != "next" {
		h.Errorf("ReadMsgUDPAddrPort: %q, flags %#x, %v", buf[:n], flags, err)
	}
}

// testUDPMethods sends with each of the methods, and receives with each.
func testUDPMethods(h *harness) {
	u, v := h.listenUDP(h.a), h.listenUDP(h.b)
	to := v.LocalAddr().(*net.UDPAddr)
	from := u.LocalAddr().(*net.UDPAddr).AddrPort()
	msg, buf := []byte("datagram"), make([]byte, 32)
	ap := netip.AddrPortFrom(h.b.Addr, uint16(to.Port))
	writes := map[string]func() (int, error){
		"WriteTo":            func() (int, error) { return u.WriteTo(msg, to) },
		"WriteToUDP":         func() (int, error) { return u.WriteToUDP(msg, to) },
		"WriteToUDPAddrPort": func() (int, error) { return u.WriteToUDPAddrPort(msg, ap) },
		"WriteMsgUDP":        func() (int, error) { n, _, err := u.WriteMsgUDP(msg, nil, to); return n, err },
		"WriteMsgUDPAddrPort": func() (int, error) {
			n, _, err := u.WriteMsgUDPAddrPort(msg, nil, ap)
			return n, err
		},
	}
	std := func(n int, a *net.UDPAddr, err error) (int, netip.AddrPort, error) {
		if err != nil || a == nil {
			return n, netip.AddrPort{}, err
		}
		return n, a.AddrPort(), nil
	}
	reads := map[string]func() (int, netip.AddrPort, error){
		"ReadFromUDP":         func() (int, netip.AddrPort, error) { return std(v.ReadFromUDP(buf)) },
		"ReadFromUDPAddrPort": func() (int, netip.AddrPort, error) { return v.ReadFromUDPAddrPort(buf) },
		"ReadMsgUDP": func() (int, netip.AddrPort, error) {
			n, _, _, a, err := v.ReadMsgUDP(buf, nil)
			return std(n, a, err)
		},
		"ReadMsgUDPAddrPort": func() (int, netip.AddrPort, error) {
			n, _, _, a, err := v.ReadMsgUDPAddrPort(buf, nil)
			return n, a, err
		},
	}
	for wname, write := range writes {
		for rname, read := range reads {
			if n, err := write(); n != len(msg) || err != nil {
				h.Fatalf("%s: %d, %v", wname, n, err)
			}
			n, a, err := read()
			if err != nil || !bytes.Equal(buf[:n], msg) || a.Port() != from.Port() || a.Addr().Unmap() != from.Addr().Unmap() {
				h.Fatalf("%s then %s: %q from %v, %v; sent from %v", wname, rname, buf[:n], a, err, from)
			}
		}
	}
}

// testUDPFilter checks that a connected socket hears its peer only.
func testUDPFilter(h *harness) {
	u := h.listenUDP(h.b)
	c := h.dialUDP(h.a, u.LocalAddr())
	stranger := h.listenUDP(h.b)
	_, err := stranger.WriteTo([]byte("stranger"), c.LocalAddr())
	h.check(err)
	_, err = u.WriteTo([]byte("friend"), c.LocalAddr())
	h.check(err)
	buf := make([]byte, 16)
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != "friend" {
		h.Errorf("Read: %q, %v", buf[:n], err)
	}
}

// closedUDP returns the address of a UDP port of B that nobody has.
func (h *harness) closedUDP() net.Addr {
	h.Helper()
	u := h.listenUDP(h.b)
	h.check(u.Close())
	return u.LocalAddr()
}

// testUDPRefused: port unreachable (RFC 1122, section 4.1.3.3) comes back as the
// error of a connected socket's next call, once.
func testUDPRefused(h *harness) {
	c := h.dialUDP(h.a, h.closedUDP())
	h.check(send(c, []byte("anybody?")))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		h.Errorf("Read: %v, want %v", err, syscall.ECONNREFUSED)
	}
	h.check(c.SetReadDeadline(time.Now().Add(blip)))
	_, err := c.Read(make([]byte, 1))
	h.check(timedOut("Read after the error was reported", err))
}

// testUDPNotRefused: to a socket that talks to many, one that is absent is no
// error.
func testUDPNotRefused(h *harness) {
	gone := h.closedUDP()
	u, v := h.listenUDP(h.a), h.listenUDP(h.b)
	for range 3 {
		_, err := u.WriteTo([]byte("anybody?"), gone)
		h.check(err)
	}
	_, err := v.WriteTo([]byte("I am"), u.LocalAddr())
	h.check(err)
	buf := make([]byte, 8)
	n, _, err := u.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "I am" {
		h.Errorf("ReadFrom: %q, %v", buf[:n], err)
	}
}

func testUDPClose(h *harness) {
	u := h.listenUDP(h.b)
	c := h.dialUDP(h.a, u.LocalAddr())
	w1 := h.async(func() error { _, _, err := u.ReadFrom(make([]byte, 1)); return closed("ReadFrom", err) })
	w2 := h.async(func() error { _, err := c.Read(make([]byte, 1)); return closed("Read", err) })
	settle()
	h.check(u.Close())
	h.check(c.Close())
	w1()
	w2()
	h.check(closed("second Close", u.Close()))
	_, err := u.WriteTo([]byte("x"), c.LocalAddr())
	h.check(closed("WriteTo", err))
	_, err = c.Write([]byte("x"))
	h.check(closed("Write", err))
	h.check(closed("SetDeadline", u.SetDeadline(time.Time{})))
}

// testUDPFlood sends more than anybody would queue: some is lost, what arrives is
// whole and in order of nothing, and the socket works on.
func testUDPFlood(h *harness) {
	u := h.listenUDP(h.b)
	h.check(u.SetReadBuffer(32 << 10))
	c := h.dialUDP(h.a, u.LocalAddr())
	const count, size = 2000, 1000
	for i := range count {
		if _, err := c.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil && !errors.Is(err, syscall.ENOBUFS) {
			h.Fatal(err)
		}
	}
	buf, got := make([]byte, 2*size), 0
	for wait := patience; ; wait = 2 * blip { // the first one is certain to come
		h.check(u.SetReadDeadline(time.Now().Add(wait)))
		n, _, err := u.ReadFrom(buf)
		if err != nil {
			h.check(timedOut("ReadFrom", err))
			break
		}
		if n != size || !bytes.Equal(buf[:n], bytes.Repeat(buf[:1], size)) {
			h.Fatalf("a datagram of %d bytes arrived damaged", n)
		}
		got++
	}
	if got == 0 || got == count {
		h.Errorf("%d of %d datagrams waited in a queue of 32 KiB", got, count)
	}
	// On a busy machine the last of the flood may still be on its way, and fill the
	// queue again.
	for end := time.Now().Add(patience); ; {
		h.check(send(c, []byte("after")))
		h.check(u.SetReadDeadline(time.Now().Add(2 * blip)))
		n, _, err := u.ReadFrom(buf)
		for err == nil && n == size {
			n, _, err = u.ReadFrom(buf)
		}
		if err == nil && string(buf[:n]) == "after" {
			return
		}
		if err == nil || time.Now().After(end) {
			h.Fatalf("ReadFrom after the flood: %.20q, %v", buf[:n], err)
		}
	}
}

// testUDPConcurrent has one server socket answer many clients.
func testUDPConcurrent(h *harness) {
	u := h.listenUDP(h.b)
	var servers, clients group
	for range 3 {
		servers.start(func() error {
			buf := make([]byte, 2048)
			for {
				n, from, err := u.ReadFromUDPAddrPort(buf)
				if errors.Is(err, net.ErrClosed) {
					return nil
				}
				if err != nil {
					return err
				}
				if _, err := u.WriteToUDPAddrPort(buf[:n], from); err != nil {
					return err
				}
			}
		})
	}
	for i := range 20 {
		clients.start(func() error {
			c, err := h.a.Stack.DialContext(h.ctx, "udp", u.LocalAddr().String())
			if err != nil {
				return err
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			buf := make([]byte, 2048)
			for j := range 50 {
				msg := random(500+j, byte(i+j))
				if err := send(c, msg); err != nil {
					return err
				}
				n, err := c.Read(buf)
				if err != nil || !bytes.Equal(buf[:n], msg) {
					return fmt.Errorf("client %d, datagram %d: %d bytes, %w", i, j, n, err)
				}
			}
			return nil
		})
	}
	h.check(clients.wait())
	h.check(u.Close())
	h.check(servers.wait())
}
