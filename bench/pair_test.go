package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/netif"
)

// engineOf opens an engine on a device, for the pairs below.
type engineOf func(dev netif.Device, addr netip.Prefix) (listenDialer, error)

type listenDialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	Close() error
}

func pairEngines() map[string]engineOf {
	quiet := slog.New(slog.DiscardHandler)
	return map[string]engineOf{
		"direct": func(dev netif.Device, addr netip.Prefix) (listenDialer, error) {
			return direct.New(&direct.Config{Logger: quiet, CloseTimeout: -1, NoKeepAlive: true, MemoryLimit: 16 << 30,
				Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{addr}}}})
		},
		"gvisor": func(dev netif.Device, addr netip.Prefix) (listenDialer, error) {
			return gvisor.New(&gvisor.Config{Logger: quiet, CloseTimeout: -1,
				Interfaces: []gvisor.Interface{{Device: dev, Addrs: []netip.Prefix{addr}}}})
		},
	}
}

// pairPrefix is the address of an end of the wire.
func pairPrefix(host byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, host}), 24)
}

func pairWires() map[string]netif.WireConfig {
	return map[string]netif.WireConfig{
		"plain":    {},
		"offloads": {Offloads: netif.TxChecksum | netif.TxTSO4},
	}
}

// eachPair runs f with a connection between two stacks of the same engine on an
// in-memory wire of MTU 1500, and what makes more of them.
func eachPair(b *testing.B, f func(b *testing.B, dial func() net.Conn, l net.Listener)) {
	for _, engine := range []string{"direct", "gvisor"} {
		for _, wire := range []string{"plain", "offloads"} {
			b.Run(engine+"/"+wire, func(b *testing.B) {
				one, two, err := netif.NewWire(pairWires()[wire])
				if err != nil {
					b.Fatal(err)
				}
				open := pairEngines()[engine]
				near, err := open(one, netip.MustParsePrefix("10.0.0.1/24"))
				if err != nil {
					b.Fatal(err)
				}
				defer near.Close()
				far, err := open(two, netip.MustParsePrefix("10.0.0.2/24"))
				if err != nil {
					b.Fatal(err)
				}
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
			c.(interface{ SetLinger(int) error }).SetLinger(0)
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
