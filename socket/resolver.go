package socket

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
)

// servers is the list of DNS servers of a stack's resolver.
//
// Package net dials once per attempt and names a server of the host's
// configuration, which says nothing about ours. So one server is current for all
// queries, and one that fails hands over to the next.
type servers struct {
	addrs   []netip.AddrPort
	current atomic.Uint32
}

// resolverFor returns a resolver that asks addrs, whatever the host names.
func resolverFor(addrs []netip.AddrPort) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: (&servers{addrs: addrs}).dial}
}

func (s *servers) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	i := s.current.Load()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, s.addrs[int(i)%len(s.addrs)].String())
	if err != nil {
		s.failed(i)
		return nil, err
	}
	// The resolver speaks datagrams with what is a net.PacketConn, hence two types.
	switch c := c.(type) {
	case *net.UDPConn:
		return &udpQuery{c, s, i}, nil
	case *net.TCPConn:
		return &tcpQuery{c, s, i}, nil
	}
	return c, nil
}

// failed makes the server after the i-th current, unless another query did so.
func (s *servers) failed(i uint32) { s.current.CompareAndSwap(i, i+1) }

type udpQuery struct {
	*net.UDPConn
	servers *servers
	i       uint32
}

func (q *udpQuery) Read(p []byte) (int, error) {
	n, err := q.UDPConn.Read(p)
	if err != nil {
		q.servers.failed(q.i)
	}
	return n, err
}

type tcpQuery struct {
	*net.TCPConn
	servers *servers
	i       uint32
}

func (q *tcpQuery) Read(p []byte) (int, error) {
	n, err := q.TCPConn.Read(p)
	if err != nil {
		q.servers.failed(q.i)
	}
	return n, err
}
