package gvisor_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/netif"
)

// benchPair returns the ends of a connection between two stacks on a wire.
func benchPair(b *testing.B, wire netif.WireConfig) (c, d net.Conn) {
	b.Helper()
	da, db, err := netif.NewWire(wire)
	if err != nil {
		b.Fatal(err)
	}
	near := network{dev: da, addr: prefixA}.gvisor(b)
	far := network{dev: db, addr: prefixB}.gvisor(b)
	b.Cleanup(func() {
		b.ReportMetric(float64(near.(*gvisor.Stack).Stats().TCP.Retransmits.Value())/float64(b.N), "retransmits/op")
		near.Close()
		far.Close()
	})
	l, err := far.Listen(context.Background(), "tcp", ":7")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if c, err = near.DialContext(context.Background(), "tcp", "10.0.0.2:7"); err == nil {
		d, err = l.Accept()
	}
	if err != nil {
		b.Fatal(err)
	}
	return c, d
}

var benchWires = []struct {
	name string
	wire netif.WireConfig
}{
	{"mtu1500", netif.WireConfig{}},
	{"offloads", netif.WireConfig{Offloads: netif.TxChecksum | netif.TxTSO4}},
}

func BenchmarkThroughput(b *testing.B) {
	for _, w := range benchWires {
		b.Run(w.name, func(b *testing.B) {
			c, d := benchPair(b, w.wire)
			done := make(chan error, 1)
			go func() { _, err := io.Copy(io.Discard, d); done <- err }()
			buf := make([]byte, 64<<10)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, w := range benchWires {
		b.Run(w.name, func(b *testing.B) {
			c, d := benchPair(b, w.wire)
			done := make(chan error, 1)
			go func() { _, err := io.Copy(d, d); done <- err }()
			buf := make([]byte, 1)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, buf); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}
