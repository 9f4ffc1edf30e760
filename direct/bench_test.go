package direct

import (
	"net"
	"testing"

	"github.com/netduet/netduet/netif"
)

// benchPair returns both ends of a connection between two stacks.
func benchPair(b testing.TB, wire netif.WireConfig) (p pair, client, server net.Conn) {
	b.Helper()
	p = newPair(b, wire)
	l, err := p.b.Listen(background, "tcp", ":7")
	if err != nil {
		b.Fatal(err)
	}
	client, err = p.a.DialContext(background, "tcp", "10.0.0.2:7")
	if err != nil {
		b.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	l.Close()
	return p, client, server
}

func benchWires() map[string]netif.WireConfig {
	return map[string]netif.WireConfig{
		"plain":    {},
		"offloads": {Offloads: netif.TxChecksum | netif.TxTSO4},
	}
}

// BenchmarkPingPong is one byte there and back.
func BenchmarkPingPong(b *testing.B) {
	for name, wire := range benchWires() {
		b.Run(name, func(b *testing.B) {
			p, c, s := benchPair(b, wire)
			defer p.close(b)
			go func() {
				buf := make([]byte, 1)
				for {
					if _, err := s.Read(buf); err != nil {
						return
					}
					s.Write(buf)
				}
			}()
			one := make([]byte, 1)
			b.ReportAllocs()
			for b.Loop() {
				c.Write(one)
				if _, err := c.Read(one); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
			s.Close()
		})
	}
}

// BenchmarkBulk moves data one way.
func BenchmarkBulk(b *testing.B) {
	for name, wire := range benchWires() {
		b.Run(name, func(b *testing.B) {
			p, c, s := benchPair(b, wire)
			defer p.close(b)
			const n = 256 << 10
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, n)
				for {
					if _, err := s.Read(buf); err != nil {
						return
					}
				}
			}()
			buf := make([]byte, n)
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
			<-done
			s.Close()
		})
	}
}

// BenchmarkConnect is a connection with one exchange.
func BenchmarkConnect(b *testing.B) {
	p := newPair(b, netif.WireConfig{})
	defer p.close(b)
	l := echoServer(b, p.b, ":7")
	defer l.Close()
	one := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		c, err := p.a.DialContext(background, "tcp", "10.0.0.2:7")
		if err != nil {
			b.Fatal(err)
		}
		c.Write(one)
		c.Read(one)
		c.(*TCPConn).SetLinger(0)
		c.Close()
	}
}
