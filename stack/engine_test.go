//go:build (netdirect && !netsocket && !netgvisor) || (netgvisor && !netsocket && !netdirect)

package stack

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/netduet/netduet/netif"
)

// The same program text runs on whichever engine the tags chose.
func TestEngineOverDrivers(t *testing.T) {
	ctx := context.Background()
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	open := func(dev netif.Device, addr string) Stack {
		s, err := Open(ctx, &Config{Driver: dev, Addr: netip.MustParsePrefix(addr), Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	near, far := open(a, "192.0.2.1/24"), open(b, "192.0.2.2/24")
	l, err := far.Listen(ctx, "tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	echoed := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.Copy(c, c)
			c.Close()
		}
		echoed <- err
	}()
	c, err := near.DialContext(ctx, "tcp", "192.0.2.2:7")
	if err != nil {
		t.Fatal(err)
	}
	const text = "one interface, two players"
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != text {
		t.Errorf("the echo is %q, %v", got, err)
	}
	if err := <-echoed; err != nil {
		t.Error(err)
	}
	c.Close()
	for _, s := range []Stack{near, far} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, d := range []netif.Device{a, b} {
		if !errors.Is(d.Close(), net.ErrClosed) {
			t.Error("a device outlived its stack")
		}
	}
}

// A driver stays the caller's when the stack can't be opened.
func TestEngineLeavesDriver(t *testing.T) {
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, err := Open(context.Background(), &Config{Driver: a, Addr: netip.MustParsePrefix("192.0.2.255/24")})
	if err == nil {
		s.Close()
		t.Fatal("a broadcast address of ours was accepted")
	}
	if err := a.Close(); err != nil {
		t.Errorf("the driver was closed: %v", err)
	}
}

func TestEngineNeedsDevice(t *testing.T) {
	if _, err := Open(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "the "+Backend+" backend needs one") {
		t.Errorf("without a device: %v", err)
	}
}
