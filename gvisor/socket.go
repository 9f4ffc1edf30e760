package gvisor

import (
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/netduet/netduet/internal/netapi"
)

// socket is what TCPConn, TCPListener and UDPConn have in common: an endpoint of
// gVisor's, how to wait for it, and the two ways in which it ends.
type socket struct {
	st *Stack
	ep tcpip.Endpoint
	wq *waiter.Queue
	// name is how errors call the socket.
	name netapi.Endpoint

	read, write side

	mu          sync.Mutex
	closed      bool // by the application
	stackClosed bool // with the stack
}

// side is one direction of a socket.
type side struct {
	deadline netapi.Deadline
	// turn orders concurrent calls; it is held while a call waits, as in package net.
	turn sync.Mutex
	// ready holds a token when the endpoint may be ready, or the socket was closed.
	// It is nil until something waits for the first time, and from then on the entry
	// stays registered: registering anew for each wait would cost an allocation and
	// two locks.
	ready chan struct{}
	entry waiter.Entry
}

const (
	readable = waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp
	writable = waiter.WritableEvents | waiter.EventErr | waiter.EventHUp
)

// gone returns net.ErrClosed once the socket has ended.
func (s *socket) gone() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.stackClosed {
		return net.ErrClosed
	}
	return nil
}

// wait returns when the endpoint may be ready for what mask says, or the deadline
// has passed, or the socket was closed; the caller finds out which. d.turn is held.
func (s *socket) wait(d *side, mask waiter.EventMask) {
	s.mu.Lock()
	if d.ready == nil {
		d.entry, d.ready = waiter.NewChannelEntry(mask)
		s.mu.Unlock()
		s.wq.EventRegister(&d.entry)
		return // what happened before went unnoticed
	}
	s.mu.Unlock()
	select {
	case <-d.ready:
	case <-d.deadline.Wait():
	}
}

// end notes that the application or the stack has closed the socket, and wakes
// what waits. It reports false when that was so before.
func (s *socket) end(byStack bool) bool {
	s.mu.Lock()
	first := !s.closed
	if byStack {
		first = first && !s.stackClosed
		s.stackClosed = true
	} else {
		s.closed = true
	}
	s.mu.Unlock()
	s.wake()
	s.read.deadline.Stop()
	s.write.deadline.Stop()
	return first
}

// wake lets what waits look again.
func (s *socket) wake() {
	s.mu.Lock()
	ready := [2]chan struct{}{s.read.ready, s.write.ready}
	s.mu.Unlock()
	for _, c := range ready {
		if c != nil {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}

// fullAddress is ap as gVisor writes it; an unspecified address is none.
func fullAddress(ap netip.AddrPort) tcpip.FullAddress {
	f := tcpip.FullAddress{Port: ap.Port()}
	if a := ap.Addr(); a.IsValid() && !a.IsUnspecified() {
		f.Addr = tcpip.AddrFrom4(a.As4())
	}
	return f
}

// addrPort is the inverse; no address becomes 0.0.0.0.
func addrPort(f tcpip.FullAddress) netip.AddrPort {
	a := netip.IPv4Unspecified()
	if f.Addr.Len() == 4 {
		a = netip.AddrFrom4(f.Addr.As4())
	}
	return netip.AddrPortFrom(a, f.Port)
}
