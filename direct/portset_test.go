package direct

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/netduet/netduet/internal/siphash"
)

// portStack is as much of a stack as choosing ports needs.
func portStack() *Stack {
	s := &Stack{}
	s.table.key, _ = siphash.NewKey(rand.NewChaCha8([32]byte{1}))
	s.ports.key, _ = siphash.NewKey(rand.NewChaCha8([32]byte{2}))
	s.listeners.init()
	return s
}

func (s *Stack) dialPort(remotePort uint16) (*TCPConn, syscall.Errno) {
	c := &TCPConn{st: s}
	c.flow = flow{local: addrA, remote: addrB, remotePort: remotePort}
	return c, s.dial(c, nil)
}

// TestAllPorts uses every ephemeral port towards one server, and then the ones that
// become free, however they do.
func TestAllPorts(t *testing.T) {
	s := portStack()
	var held []*TCPConn
	for range ephemeralCount {
		c, errno := s.dialPort(7)
		if errno != 0 {
			t.Fatalf("connection %d: %v", len(held), errno)
		}
		held = append(held, c)
	}
	if _, errno := s.dialPort(7); errno != syscall.EADDRNOTAVAIL {
		t.Fatalf("one too many: %v", errno)
	}
	if _, errno := s.dialPort(8); errno != 0 {
		t.Fatalf("another server: %v", errno)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		i := random.IntN(len(held))
		c := held[i]
		s.table.remove(&c.entry)
		s.listeners.vacate(&c.flow)
		s.listeners.releaseDialed(c.localAddr())
		again, errno := s.dialPort(7)
		if errno != 0 || again.localPort != c.localPort {
			t.Fatalf("port %d is free, and the next connection gets %d: %v", c.localPort, again.localPort, errno)
		}
		held[i] = again
	}
	// What the set does not know of is found by the table.
	c := held[0]
	s.listeners.vacate(&c.flow)
	if _, errno := s.dialPort(7); errno != syscall.EADDRNOTAVAIL {
		t.Errorf("a port in use: %v", errno)
	}
	for _, c := range held {
		s.table.remove(&c.entry)
		s.listeners.vacate(&c.flow)
	}
	if n := s.listeners.crowded.n.Load(); n != 0 || len(s.listeners.crowded.m) != 0 {
		t.Errorf("%d sets are left", n)
	}
}

func TestPortSet(t *testing.T) {
	var s portSet
	for i := range ephemeralCount {
		if got := s.free(i); got != i {
			t.Fatalf("free(%d) is %d of an empty set", i, got)
		}
	}
	for i := range ephemeralCount {
		s.set(i)
		s.set(i)
	}
	if s.n != ephemeralCount || s.free(0) != ephemeralCount || s.free(ephemeralCount-1) != ephemeralCount {
		t.Fatalf("%d of a full set, free %d", s.n, s.free(0))
	}
	for _, i := range []int{0, 63, 64, 1000, ephemeralCount - 1} {
		s.clear(i)
		if s.free(0) != i || s.free(i) != i {
			t.Errorf("free is %d and %d, want %d", s.free(0), s.free(i), i)
		}
		if i < ephemeralCount-1 && s.free(i+1) != ephemeralCount {
			t.Errorf("behind %d: %d", i, s.free(i+1))
		}
		s.set(i)
	}
}
