package stacktest

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

func portTests() []test {
	return []test{
		{name: "Ephemeral", run: testEphemeral},
		{name: "EphemeralClients", run: testEphemeralClients},
		{name: "Wildcard", run: testWildcard},
		{name: "WildcardUDP", run: testWildcardUDP},
		{name: "InUse", run: testInUse},
		{name: "SeparateProtocols", run: testSeparateProtocols},
		{name: "ServiceNames", run: testServiceNames},
	}
}

// portOf returns the port of an address of package net.
func portOf(a net.Addr) uint16 {
	switch a := a.(type) {
	case *net.TCPAddr:
		return uint16(a.Port)
	case *net.UDPAddr:
		return uint16(a.Port)
	}
	return 0
}

func testEphemeral(h *harness) {
	seen := make(map[uint16]bool)
	for range 20 {
		p := portOf(h.listen(h.b).Addr())
		// RFC 6335, section 6: nothing below is for automatic use.
		if p < 1024 || seen[p] {
			h.Errorf("port %d is privileged or was given twice", p)
		}
		seen[p] = true
	}
	clear(seen)
	for range 20 {
		p := portOf(h.listenUDP(h.b).LocalAddr())
		if p < 1024 || seen[p] {
			h.Errorf("UDP port %d is privileged or was given twice", p)
		}
		seen[p] = true
	}
}

// testEphemeralClients checks that connections to one place differ in port.
func testEphemeralClients(h *harness) {
	l := h.listen(h.b)
	seen := make(map[uint16]bool)
	for range 30 {
		a := h.dial(h.a, l.Addr())
		h.accept(l)
		p := portOf(a.LocalAddr())
		if p < 1024 || seen[p] {
			h.Errorf("port %d is privileged or was given twice", p)
		}
		seen[p] = true
	}
}

func testWildcard(h *harness) {
	for _, tt := range []struct{ network, address string }{
		{"tcp", ":0"}, {"tcp4", ":0"}, {"tcp4", "0.0.0.0:0"}, {"tcp", ""}, {"tcp", "0.0.0.0:0"},
	} {
		l := h.listenAt(h.b, tt.network, tt.address)
		la, ok := l.Addr().(*net.TCPAddr)
		if !ok || la.Port == 0 || !la.IP.IsUnspecified() {
			h.Fatalf("Listen %s %q: address is %T %v", tt.network, tt.address, l.Addr(), l.Addr())
		}
		if tt.network == "tcp4" && la.IP.To4() == nil {
			h.Errorf("Listen %s %q: %v is no IPv4 address", tt.network, tt.address, la)
		}
		c, err := h.a.Stack.DialContext(h.ctx, "tcp", at(h.b, uint16(la.Port)))
		h.check(err)
		a, b := h.adopt(c), h.accept(l)
		// An accepted connection has the address that was dialled, not the wildcard.
		if got := b.LocalAddr().String(); got != a.RemoteAddr().String() {
			h.Errorf("accepted end is %s, dialled was %v", got, a.RemoteAddr())
		}
		// An empty host means this host: a stack reaches its own listener.
		c, err = h.b.Stack.DialContext(h.ctx, "tcp", ":"+strconv.Itoa(la.Port))
		h.check(err)
		h.check(send(h.adopt(c), []byte("self")))
		h.check(expect(h.accept(l), []byte("self")))
	}
}

func testWildcardUDP(h *harness) {
	for _, tt := range []struct{ network, address string }{{"udp", ":0"}, {"udp4", ":0"}, {"udp", ""}, {"udp4", "0.0.0.0:0"}} {
		p, err := h.b.Stack.ListenPacket(h.ctx, tt.network, tt.address)
		h.check(err)
		u := h.adoptUDP(p)
		la, ok := u.LocalAddr().(*net.UDPAddr)
		if !ok || la.Port == 0 || !la.IP.IsUnspecified() {
			h.Fatalf("ListenPacket %s %q: address is %T %v", tt.network, tt.address, u.LocalAddr(), u.LocalAddr())
		}
		d := h.listenUDP(h.a)
		_, err = d.WriteToUDPAddrPort([]byte("to any"), netip.AddrPortFrom(h.b.Addr, uint16(la.Port)))
		h.check(err)
		buf := make([]byte, 16)
		n, from, err := u.ReadFromUDPAddrPort(buf)
		h.check(err)
		if string(buf[:n]) != "to any" || from.Addr().Unmap() != h.a.Addr || from.Port() != portOf(d.LocalAddr()) {
			h.Errorf("received %q from %v, sent by %v", buf[:n], from, d.LocalAddr())
		}
		// Which of its addresses a host with several answers from is its route's choice.
		if _, err := u.WriteToUDPAddrPort([]byte("back"), from); err != nil {
			h.Fatal(err)
		}
		n, from, err = d.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != "back" || from.Port() != uint16(la.Port) {
			h.Errorf("answer: %q from %v, %v", buf[:n], from, err)
		}
	}
}

// testInUse checks what excludes what: equal addresses do, and the wildcard
// excludes every address and is excluded by each.
func testInUse(h *harness) {
	inUse := func(address string) {
		h.Helper()
		if l, err := h.b.Stack.Listen(h.ctx, "tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
			h.Errorf("Listen %s: %v, want %v", address, err, syscall.EADDRINUSE)
			if err == nil {
				l.Close()
			}
		}
	}
	l := h.listen(h.b)
	port := portOf(l.Addr())
	inUse(at(h.b, port))
	inUse(":" + strconv.Itoa(int(port)))
	// A client's port is no listener's: connections do not keep others from it.
	w := h.listenAt(h.b, "tcp", ":0")
	inUse(at(h.b, portOf(w.Addr())))
	inUse(w.Addr().String())

	u := h.listenUDP(h.b)
	for _, address := range []string{u.LocalAddr().String(), ":" + strconv.Itoa(int(portOf(u.LocalAddr())))} {
		if _, err := h.b.Stack.ListenPacket(h.ctx, "udp", address); !errors.Is(err, syscall.EADDRINUSE) {
			h.Errorf("ListenPacket %s: %v, want %v", address, err, syscall.EADDRINUSE)
		}
	}
	h.check(u.Close())
	p, err := h.b.Stack.ListenPacket(h.ctx, "udp", u.LocalAddr().String())
	h.check(err)
	h.adoptUDP(p)
}

// testSeparateProtocols uses one port number for TCP and UDP.
func testSeparateProtocols(h *harness) {
	for try := 0; ; try++ {
		l := h.listen(h.b)
		p, err := h.b.Stack.ListenPacket(h.ctx, "udp", l.Addr().String())
		if errors.Is(err, syscall.EADDRINUSE) && try < 20 {
			continue // somebody else on this host has it
		}
		h.check(err)
		u := h.adoptUDP(p)
		h.check(send(h.dial(h.a, l.Addr()), []byte("tcp")))
		h.check(send(h.dialUDP(h.a, u.LocalAddr()), []byte("udp")))
		h.check(expect(h.accept(l), []byte("tcp")))
		buf := make([]byte, 8)
		n, _, err := u.ReadFrom(buf)
		if err != nil || string(buf[:n]) != "udp" {
			h.Errorf("ReadFrom: %q, %v", buf[:n], err)
		}
		return
	}
}

// testServiceNames dials ports by name. Nothing may be listening there, so the
// address in the error tells.
func testServiceNames(h *harness) {
	for name, port := range map[string]string{"http": "80", "domain": "53", "ssh": "22"} {
		c, err := h.a.Stack.DialContext(h.ctx, "tcp", net.JoinHostPort(h.b.Addr.String(), name))
		got := ""
		var op *net.OpError
		switch {
		case err == nil:
			got = c.RemoteAddr().String()
			c.Close()
		case errors.As(err, &op) && op.Addr != nil:
			got = op.Addr.String()
		}
		if !strings.HasSuffix(got, ":"+port) {
			h.Errorf("dial to port %q: %q, %v", name, got, err)
		}
	}
}
