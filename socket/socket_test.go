package socket

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func newStack(t *testing.T) *Stack {
	t.Helper()
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func remembered(s *Stack) int {
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	return len(s.open.closers)
}

// The promise of the package: libraries that look for the host's types find them.
func TestHostTypes(t *testing.T) {
	s := newStack(t)
	ctx := context.Background()
	l, err := s.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := l.(*net.TCPListener); !ok {
		t.Errorf("Listen returned %T, not *net.TCPListener", l)
	}
	c, err := s.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.(*net.TCPConn); !ok {
		t.Errorf("DialContext tcp returned %T, not *net.TCPConn", c)
	}
	p, err := s.ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.(*net.UDPConn); !ok {
		t.Errorf("ListenPacket returned %T, not *net.UDPConn", p)
	}
	u, err := s.DialContext(ctx, "udp", p.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := u.(*net.UDPConn); !ok {
		t.Errorf("DialContext udp returned %T, not *net.UDPConn", u)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := a.(*net.TCPConn); !ok {
		t.Errorf("Accept returned %T, not *net.TCPConn", a)
	}
	a.Close()
}

// Only what the interface names is there, also where package net could do more.
func TestOtherNetworks(t *testing.T) {
	s := newStack(t)
	ctx := context.Background()
	var unknown net.UnknownNetworkError
	for _, network := range []string{"unix", "ip4:icmp", "unixgram", ""} {
		if _, err := s.DialContext(ctx, network, "127.0.0.1:1"); !errors.As(err, &unknown) {
			t.Errorf("DialContext %q: %v", network, err)
		}
		if _, err := s.Listen(ctx, network, "127.0.0.1:0"); !errors.As(err, &unknown) {
			t.Errorf("Listen %q: %v", network, err)
		}
		if _, err := s.ListenPacket(ctx, network, "127.0.0.1:0"); !errors.As(err, &unknown) {
			t.Errorf("ListenPacket %q: %v", network, err)
		}
	}
}

// The registry must let go of what the application let go of.
func TestRegistryForgets(t *testing.T) {
	s := newStack(t)
	ctx := context.Background()
	func() {
		for range 50 {
			l, err := s.Listen(ctx, "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.DialContext(ctx, "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			l.Close()
		}
	}()
	if n := remembered(s); n == 0 {
		t.Fatal("nothing was remembered: the test would prove nothing")
	}
	deadline := time.Now().Add(30 * time.Second)
	for remembered(s) > 1 { // a stale pointer in a register may hold the last one
		if time.Now().After(deadline) {
			t.Fatalf("%d objects are still remembered after they became garbage", remembered(s))
		}
		runtime.GC()
		runtime.Gosched()
	}
}

// Close resets what is open; the peer can tell it from an orderly end.
func TestCloseResetsDialled(t *testing.T) {
	s, other := newStack(t), newStack(t)
	ctx := context.Background()
	l, err := other.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	peer.SetDeadline(time.Now().Add(30 * time.Second))
	var op *net.OpError
	if _, err := peer.Read(make([]byte, 1)); !errors.As(err, &op) || op.Timeout() {
		t.Errorf("peer's Read after Close: %v, want a reset", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
}

// A dead DNS server hands over to the next one, and stays out of the way.
func TestDNSServers(t *testing.T) {
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close() // its port answers with "unreachable"
	live, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); answer(live) }()
	t.Cleanup(func() { live.Close(); <-done })

	addr := func(a net.Addr) netip.AddrPort { return a.(*net.UDPAddr).AddrPort() }
	s, err := New(&Config{DNS: []netip.AddrPort{addr(dead.LocalAddr()), addr(live.LocalAddr())}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for range 3 {
		got, err := s.Resolver().LookupNetIP(ctx, "ip4", "printer.test.")
		if err != nil || len(got) != 1 || got[0].Unmap() != netip.MustParseAddr("192.0.2.77") {
			t.Fatalf("LookupNetIP: %v, %v", got, err)
		}
	}
	if _, err := New(&Config{DNS: []netip.AddrPort{{}}}); err == nil {
		t.Error("New took a DNS server without address")
	}
}

// answer says 192.0.2.77 to every question for an IPv4 address.
func answer(p net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		m = dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 77}},
			}}
		}
		if out, err := m.Pack(); err == nil {
			p.WriteTo(out, from)
		}
	}
}
