package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/netif"
)

// A pair is two stacks of one engine in this process.
type pair struct {
	name string
	open func() (near, far listenDialer, err error)
}

type listenDialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	Close() error
}

// pairs are what the benchmarks compare, at MTU 1500: the engines over our in-memory
// wire, and gVisor's netstack over its own, the pipe.
func pairs() []pair {
	plain, offloads := netif.WireConfig{}, netif.WireConfig{Offloads: netif.TxChecksum | netif.TxTSO4}
	return []pair{
		{"direct/plain", overWire(openDirect, plain)},
		{"direct/offloads", overWire(openDirect, offloads)},
		{"gvisor/plain", overWire(openGvisor, plain)},
		{"gvisor/offloads", overWire(openGvisor, offloads)},
		{"gvisor/pipe", openPipe},
	}
}

// pairPrefix is the address of an end.
func pairPrefix(host byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, host}), 24)
}

// overWire opens an engine at both ends of a wire.
func overWire(open func(netif.Device, netip.Prefix) (listenDialer, error), cfg netif.WireConfig) func() (near, far listenDialer, err error) {
	return func() (near, far listenDialer, err error) {
		one, two, err := netif.NewWire(cfg)
		if err != nil {
			return nil, nil, err
		}
		if near, err = open(one, pairPrefix(1)); err != nil {
			return nil, nil, err
		}
		if far, err = open(two, pairPrefix(2)); err != nil {
			near.Close()
			return nil, nil, err
		}
		return near, far, nil
	}
}

func openDirect(dev netif.Device, addr netip.Prefix) (listenDialer, error) {
	return direct.New(&direct.Config{
		Logger: slog.New(slog.DiscardHandler), CloseTimeout: -1, NoKeepAlive: true, MemoryLimit: 16 << 30,
		Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{addr}}},
	})
}

func openGvisor(dev netif.Device, addr netip.Prefix) (listenDialer, error) {
	return gvisor.New(&gvisor.Config{
		Logger: slog.New(slog.DiscardHandler), CloseTimeout: -1,
		Interfaces: []gvisor.Interface{{Device: dev, Addrs: []netip.Prefix{addr}}},
	})
}

// openPipe opens gVisor's netstack at both ends of its own pipe.
func openPipe() (near, far listenDialer, err error) {
	one, two := pipe.New("\x02\x67\x76\x00\x00\x01", "\x02\x67\x76\x00\x00\x02", 1500+header.EthernetMinimumSize)
	if near, err = newNetstack(ethernet.New(one), pairPrefix(1)); err != nil {
		return nil, nil, err
	}
	if far, err = newNetstack(ethernet.New(two), pairPrefix(2)); err != nil {
		near.Close()
		return nil, nil, err
	}
	return near, far, nil
}

// eachPair runs f for every pair, with what makes connections and what accepts them.
func eachPair(b *testing.B, f func(b *testing.B, dial func() net.Conn, l net.Listener)) {
	eachPairOn(b, runtime.GOMAXPROCS(0), f)
}

// eachPairOn runs f on so many processors. They are set within the innermost benchmark, and
// before the stacks are opened: package testing sets them for each anew.
func eachPairOn(b *testing.B, procs int, f func(b *testing.B, dial func() net.Conn, l net.Listener)) {
	for _, p := range pairs() {
		b.Run(p.name, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			near, far, err := p.open()
			if err != nil {
				b.Fatal(err)
			}
			defer near.Close()
			defer far.Close()
			l, err := far.Listen(b.Context(), "tcp", "10.0.0.2:7")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			f(b, func() net.Conn {
				c, err := near.DialContext(b.Context(), "tcp", "10.0.0.2:7")
				if err != nil {
					b.Fatal(err)
				}
				return c
			}, l)
		})
	}
}

// BenchmarkPairThroughput moves data one way within the process.
func BenchmarkPairThroughput(b *testing.B) {
	eachPair(b, func(b *testing.B, dial func() net.Conn, l net.Listener) {
		c := dial()
		s, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		const piece = 64 << 10
		done := make(chan int64)
		go func() {
			n, buf := int64(0), make([]byte, piece)
			for {
				m, err := s.Read(buf)
				n += int64(m)
				if err != nil {
					done <- n
					return
				}
			}
		}()
		buf := make([]byte, piece)
		b.SetBytes(piece)
		b.ReportAllocs()
		sent := int64(0)
		for b.Loop() {
			if _, err := c.Write(buf); err != nil {
				b.Fatal(err)
			}
			sent += piece
		}
		c.Close()
		if got := <-done; got != sent {
			b.Fatalf("%d of %d bytes arrived", got, sent)
		}
		s.Close()
	})
}

// BenchmarkPairRoundTrip is one byte there and back within the process.
func BenchmarkPairRoundTrip(b *testing.B) {
	eachPair(b, func(b *testing.B, dial func() net.Conn, l net.Listener) {
		c := dial()
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		go echoAll(s)
		one := make([]byte, 1)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Write(one); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, one); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPairConnect is a connection with one exchange within the process.
func BenchmarkPairConnect(b *testing.B) {
	eachPair(b, func(b *testing.B, dial func() net.Conn, l net.Listener) {
		go func() {
			for {
				s, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer s.Close(); echoAll(s) }()
			}
		}()
		one := make([]byte, 1)
		b.ReportAllocs()
		for b.Loop() {
			c := dial()
			if _, err := c.Write(one); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, one); err != nil {
				b.Fatal(err)
			}
			// A reset leaves no TIME-WAIT: ports would run out.
			if s, ok := c.(interface{ SetLinger(int) error }); ok {
				s.SetLinger(0)
			} else {
				b.Skip("its connections cannot be reset")
			}
			c.Close()
		}
	})
}

func echoAll(c net.Conn) {
	buf := make([]byte, 1)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}
