package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
)

// demoMemory does in one process what needs neither namespace nor tap: one stack
// serves, another plays the kernel, and a wire in memory joins them.
func demoMemory(ctx context.Context, c *demoConfig, r *report, pcap *os.File) error {
	near, farEnd, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		return err
	}
	serverEnd, err := record(farEnd, pcap)
	if err != nil {
		return err
	}
	var stacks [2]*direct.Stack
	for i, d := range []netif.Device{near, serverEnd} {
		addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 24)
		stacks[i], err = direct.New(&direct.Config{
			Interfaces: []direct.Interface{{Device: d, Addrs: []netip.Prefix{addr}}},
			Logger:     slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return err
		}
		defer stacks[i].Close()
	}
	client, srv := stacks[0], stacks[1]
	server := netip.MustParseAddr("10.0.0.2")
	echo := netip.AddrPortFrom(server, 7).String()
	web := netip.AddrPortFrom(server, 80).String()
	return probeAll(ctx, c, r, func(name string) (*far, func() error, error) {
		stop, err := serveMemory(ctx, srv, name, echo, web)
		if err != nil {
			return nil, nil, err
		}
		return &far{
			dial: client.DialContext,
			ping: func(ctx context.Context, size int) (time.Duration, error) { return client.Ping(ctx, server, size) },
			tcp:  echo, udp: echo, http: web,
		}, stop, nil
	})
}

// serveMemory starts the servers that the examples are, within this process.
func serveMemory(ctx context.Context, s *direct.Stack, name, echo, web string) (stop func() error, err error) {
	var all sync.WaitGroup
	if name == "httpd" {
		l, err := s.Listen(ctx, "tcp", web)
		if err != nil {
			return nil, err
		}
		h := &http.Server{Handler: http.HandlerFunc(serveDemo)}
		all.Go(func() { h.Serve(l) })
		return func() error { err := h.Close(); all.Wait(); return err }, nil
	}
	l, err := s.Listen(ctx, "tcp", echo)
	if err != nil {
		return nil, err
	}
	p, err := s.ListenPacket(ctx, "udp", echo)
	if err != nil {
		l.Close()
		return nil, err
	}
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); io.Copy(c, c) })
		}
	})
	all.Go(func() { echoPackets(p) })
	return func() error {
		l.Close()
		p.Close()
		all.Wait()
		return nil
	}, nil
}

func echoPackets(p net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		p.WriteTo(buf[:n], from)
	}
}

// serveDemo serves a page, and random bytes with their digest, as examples/httpd.
func serveDemo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/bytes" {
		fmt.Fprintf(w, "Hello %s, this is net/http on the backend direct.\n", r.RemoteAddr)
		return
	}
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil || n < 0 || n > 1<<30 {
		http.Error(w, "n is a number of bytes", http.StatusBadRequest)
		return
	}
	content := func(w io.Writer) {
		io.CopyN(w, rand.NewChaCha8([32]byte([]byte("a body that does not compress....."))), int64(n))
	}
	h := sha256.New()
	content(h)
	w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(h.Sum(nil))+":")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	content(w)
}
