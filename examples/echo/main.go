// Echo sends back what it receives, over TCP (RFC 862) and UDP. The source is the
// same on every backend; the build chooses:
//
//	go run ./examples/echo -listen :7007
//	go build -tags netdirect ./examples/echo && ./echo -dev tap:tap0 -addr 10.0.0.2/24
//
// It stops on SIGINT or SIGTERM and prints what it has done.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/netduet/netduet/stack"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(2)
	}
}

func run() error {
	listen := flag.String("listen", ":7", "TCP and UDP `address` to serve on")
	cfg := stack.ConfigFromEnv()
	cfg.RegisterFlags(flag.CommandLine)
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: see -help", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	s, err := stack.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	tcp, err := s.Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	udp, err := s.ListenPacket(ctx, "udp", *listen)
	if err != nil {
		return err
	}
	if err := introduce(s, cfg.Device); err != nil {
		return err
	}
	fmt.Printf("echo: listening on tcp %v and udp %v\n", tcp.Addr(), udp.LocalAddr())

	var e echo
	var servers sync.WaitGroup
	servers.Go(func() { e.serve(tcp) })
	servers.Go(func() { e.servePackets(udp) })
	<-ctx.Done()
	err = errors.Join(tcp.Close(), udp.Close(), s.Close()) // ends the connections too
	servers.Wait()
	fmt.Printf("echo: %d connections, %d bytes, %d datagrams\n",
		e.connections.Load(), e.bytes.Load(), e.datagrams.Load())
	return err
}

// introduce says who plays, and on which addresses.
func introduce(s stack.Stack, device string) error {
	if device == "" {
		device = "the host's network"
	}
	fmt.Printf("echo: backend %s on %s\n", stack.Backend, device)
	list, err := s.Interfaces()
	for _, i := range list {
		if len(i.Addrs) > 0 {
			fmt.Printf("echo: %s %v mtu %d: %v\n", i.Name, i.HardwareAddr, i.MTU, i.Addrs)
		}
	}
	return err
}

// echo counts what it has sent back.
type echo struct {
	connections, bytes, datagrams atomic.Int64
}

func (e *echo) serve(l net.Listener) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "echo:", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors, say: some may be closed
			continue
		}
		e.connections.Add(1)
		conns.Go(func() {
			defer c.Close()
			n, _ := io.Copy(c, c) // until the client closes its side
			e.bytes.Add(n)
		})
	}
}

func (e *echo) servePackets(p net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := p.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an earlier answer was refused
		}
		if _, err := p.WriteTo(buf[:n], from); err == nil {
			e.datagrams.Add(1)
		}
	}
}
