//go:build !netdirect && !netgvisor && !js && !wasip1 && !tamago

package stack

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/netduet/netduet/netif"
)

// One line says what had no effect, and nothing is said when all had.
func TestSocketSaysWhatItIgnores(t *testing.T) {
	var log bytes.Buffer
	cfg := &Config{
		Device: "tap:tap0", Addr: prefix("10.0.0.2/24"), Gateway: netip.MustParseAddr("10.0.0.1"),
		MTU: 1400, DNS: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "Device, Addr, Gateway, MTU\"") {
		t.Errorf("the log reads %q", got)
	}
	log.Reset()
	s, err = Open(context.Background(), &Config{DNS: cfg.DNS, Logger: cfg.Logger})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if log.Len() != 0 {
		t.Errorf("the log reads %q", log.String())
	}
}

// A device that the backend has no use for stays the caller's.
func TestSocketLeavesDriver(t *testing.T) {
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var log bytes.Buffer
	s, err := Open(context.Background(), &Config{Driver: a, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := a.Close(); err != nil {
		t.Errorf("the driver was closed: %v", err)
	}
	if !strings.Contains(log.String(), "Driver") {
		t.Errorf("the log reads %q", log.String())
	}
}
