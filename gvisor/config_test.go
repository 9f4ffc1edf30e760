package gvisor_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/netif"
)

// What can't work is refused with a reason, and the device stays the caller's.
func TestConfigRefused(t *testing.T) {
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p, ip := netip.MustParsePrefix, netip.MustParseAddr
	for _, tt := range []struct {
		want   string
		ifaces []gvisor.Interface
	}{
		{"no device", []gvisor.Interface{{}}},
		{"two interfaces are named x", []gvisor.Interface{{Name: "x", Device: a}, {Name: "x", Device: a, VLAN: 1}}},
		{"two interfaces are named lo", []gvisor.Interface{{Name: "lo", Device: a}}},
		{"the same device and VLAN", []gvisor.Interface{{Device: a}, {Device: a}}},
		{"VLAN 4095", []gvisor.Interface{{Device: a, VLAN: 4095}}},
		{"MTU 60", []gvisor.Interface{{Device: a, MTU: 60}}},
		{"MTU 1501", []gvisor.Interface{{Device: a, MTU: 1501}}},
		{"broadcast", []gvisor.Interface{{Device: a, Addrs: []netip.Prefix{p("10.0.0.255/24")}}}},
		{"only IPv4", []gvisor.Interface{{Device: a, Addrs: []netip.Prefix{p("2001:db8::1/64")}}}},
		{"already that of eth0", []gvisor.Interface{{Device: a, Addrs: []netip.Prefix{p("10.0.0.1/24")}}, {Device: a, VLAN: 1, Addrs: []netip.Prefix{p("10.0.0.1/8")}}}},
		{"not on the link", []gvisor.Interface{{Device: a, Addrs: []netip.Prefix{p("10.0.0.1/24")}, Routes: []gvisor.Route{{Dst: p("0.0.0.0/0"), Gateway: ip("10.0.1.1")}}}}},
		{"our own address", []gvisor.Interface{{Device: a, Addrs: []netip.Prefix{p("10.0.0.1/24")}, Routes: []gvisor.Route{{Dst: p("0.0.0.0/0"), Gateway: ip("10.0.0.1")}}}}},
	} {
		s, err := gvisor.New(&gvisor.Config{Interfaces: tt.ifaces, Logger: quiet()})
		if err == nil {
			s.Close()
			t.Fatalf("accepted, want %q", tt.want)
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q, want %q", err, tt.want)
		}
	}
	if _, err := gvisor.New(&gvisor.Config{Rand: strings.NewReader("too short")}); err == nil {
		t.Error("a source of randomness that ends was accepted")
	}
	if err := a.Close(); err != nil {
		t.Errorf("the device was closed: %v", err)
	}
}

// What has no effect is said in one line.
func TestConfigIgnored(t *testing.T) {
	var log bytes.Buffer
	s, err := gvisor.New(&gvisor.Config{MemoryLimit: 1 << 20, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "MemoryLimit") {
		t.Errorf("the log reads %q", got)
	}
}

// quick is a clock on which a second passes in a thousandth of one.
type quick struct {
	start  time.Time
	timers atomic.Int64
}

const quickness = 1000

func (c *quick) Now() clock.Time { return clock.Time(1 + quickness*time.Since(c.start)) }

func (c *quick) NewTimer(f func()) clock.Timer {
	c.timers.Add(1)
	t := time.AfterFunc(time.Hour, f)
	t.Stop()
	return &quickTimer{c, t}
}

type quickTimer struct {
	c *quick
	t *time.Timer
}

func (t *quickTimer) Reset(at clock.Time) { t.t.Reset(max(0, at.Sub(t.c.Now())/quickness)) }
func (t *quickTimer) Stop()               { t.t.Stop() }

// The engine's timers are those of Config.Clock: neighbour discovery and the
// retransmissions of a SYN give up by it.
func TestClock(t *testing.T) {
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	clk := &quick{start: time.Now()}
	s, err := gvisor.New(&gvisor.Config{
		Interfaces: []gvisor.Interface{{Device: a, Addrs: []netip.Prefix{prefixA}}},
		Clock:      clk,
		Logger:     quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.DialContext(context.Background(), "tcp", "10.0.0.77:9"); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("dialling somebody absent: %v", err)
	}
	if clk.timers.Load() == 0 {
		t.Error("the clock was asked for no timer")
	}
	// A link without neighbours to resolve, and nobody at its end.
	c, d, err := netif.NewWire(netif.WireConfig{Link: netif.LinkIP})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	lone, err := gvisor.New(&gvisor.Config{
		Interfaces: []gvisor.Interface{{Device: c, Addrs: []netip.Prefix{prefixA}}},
		Clock:      clk,
		Logger:     quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer lone.Close()
	if _, err := lone.DialContext(context.Background(), "tcp", "10.0.0.2:9"); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("dialling somebody silent: %v", err)
	}
}

// A device that takes nothing and gives nothing holds nobody up: what it is to send
// is bounded, dropped and counted, and the stack closes.
func TestStalledDevice(t *testing.T) {
	a, b, err := netif.NewWire(netif.WireConfig{Link: netif.LinkIP, Ring: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, err := gvisor.New(&gvisor.Config{
		Interfaces:   []gvisor.Interface{{Device: a, Addrs: []netip.Prefix{prefixA}}},
		CloseTimeout: -1,
		Logger:       quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.DialContext(context.Background(), "udp", "10.0.0.2:9")
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	for range 3000 {
		if _, err := c.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if s.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after the stack's end: %v", err)
	}
	if err := s.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}
