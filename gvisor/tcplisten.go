package gvisor

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/netduet/netduet/internal/netapi"
)

// listenBacklog bounds the connections that wait for Accept: Linux's somaxconn.
const listenBacklog = 4096

// TCPListener is a listening TCP socket. It has the methods of *net.TCPListener
// except SyscallConn and File, and is safe for concurrent use.
type TCPListener struct {
	socket
	addr netip.AddrPort
}

func (s *Stack) listenTCP(network string, b netapi.Bind) (*TCPListener, error) {
	if !s.enter() {
		return nil, net.ErrClosed
	}
	defer s.leave()
	ep, wq, err := s.newEndpoint(tcp.ProtocolNumber, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*TCPListener, error) {
		ep.Close()
		return nil, err
	}
	// As package net: connections that are still there, or in TIME-WAIT, do not keep
	// a server from its port. Listeners do, but gVisor would let the wildcard and an
	// address share one, so that this is looked up here, under the lock that also
	// enters the new one.
	ep.SocketOptions().SetReuseAddress(true)
	l := &TCPListener{socket: socket{st: s, ep: ep, wq: wq}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.listeners {
		if overlap(other.addr, b.Addr) {
			return fail(netapi.Syscall(netapi.CallBind, syscall.EADDRINUSE))
		}
	}
	if terr := ep.Bind(fullAddress(b.Addr)); terr != nil {
		return fail(failed(netapi.CallBind, terr))
	}
	if terr := ep.Listen(listenBacklog); terr != nil {
		return fail(failed(netapi.CallBind, terr))
	}
	at, terr := ep.GetLocalAddress()
	if terr != nil {
		return fail(failed(netapi.CallBind, terr))
	}
	l.addr = netip.AddrPortFrom(b.Addr.Addr(), at.Port)
	l.name = netapi.Endpoint{Network: network, Local: netapi.Addr("tcp", l.addr)}
	s.listeners[l] = struct{}{}
	return l, nil
}

// overlap reports whether two listeners would be given the same connection.
func overlap(a, b netip.AddrPort) bool {
	return a.Port() == b.Port() && (a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified())
}

// Accept implements net.Listener; the connection is a *TCPConn.
func (l *TCPListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptTCP is Accept with the connection's own type.
func (l *TCPListener) AcceptTCP() (*TCPConn, error) {
	l.read.turn.Lock()
	defer l.read.turn.Unlock()
	for {
		if err := l.gone(); err != nil {
			return nil, l.name.Accept(err)
		}
		if l.read.deadline.Expired() {
			return nil, l.name.Accept(os.ErrDeadlineExceeded)
		}
		ep, wq, terr := l.ep.Accept(nil)
		if terr == nil {
			if !l.st.enter() {
				ep.Close()
				return nil, l.name.Accept(net.ErrClosed)
			}
			c := l.st.newConn(ep, wq, l.name.Network)
			l.st.leave()
			return c, nil
		}
		if _, ended := terr.(*tcpip.ErrInvalidEndpointState); ended {
			return nil, l.name.Accept(net.ErrClosed)
		}
		if !again(terr) {
			return nil, l.name.Accept(failed(netapi.CallAccept, terr))
		}
		l.wait(&l.read, readable)
	}
}

// SetDeadline bounds Accept; the zero time removes the bound.
func (l *TCPListener) SetDeadline(t time.Time) error {
	if err := l.gone(); err != nil {
		return err // bare, as net has it
	}
	l.read.deadline.Set(t)
	return nil
}

// Addr implements net.Listener; the result is a *net.TCPAddr.
func (l *TCPListener) Addr() net.Addr { return l.name.Local }

// Close implements net.Listener. Connections that nobody accepted are reset.
func (l *TCPListener) Close() error {
	if !l.end(false) {
		return l.name.CloseListener(net.ErrClosed)
	}
	half := l.st.halfOpen(l)
	l.ep.Close()
	for _, id := range half {
		l.st.ask(id)
	}
	l.st.mu.Lock()
	delete(l.st.listeners, l)
	l.st.mu.Unlock()
	return nil
}
