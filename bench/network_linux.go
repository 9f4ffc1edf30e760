package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/netif/tap"
)

// network is what all engines but null are to the server.
type network interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	// retransmits returns how many segments were sent again, or -1 if it is not told.
	retransmits() int64
	io.Closer
}

// openNetwork starts the engine of a setup.
func openNetwork(s *serverSetup) (network, error) {
	quiet := slog.New(slog.DiscardHandler)
	switch s.Engine {
	case engineDirect, engineDirectPlain:
		dev, err := openTap(s)
		if err != nil {
			return nil, err
		}
		st, err := direct.New(&direct.Config{
			Logger:     quiet,
			Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{s.Addr}}},
		})
		if err != nil {
			return nil, err
		}
		return directNetwork{st}, nil
	case engineGvisor:
		dev, err := openTap(s)
		if err != nil {
			return nil, err
		}
		st, err := gvisor.New(&gvisor.Config{
			Logger:     quiet,
			Interfaces: []gvisor.Interface{{Device: dev, Addrs: []netip.Prefix{s.Addr}}},
		})
		if err != nil {
			return nil, err
		}
		return gvisorNetwork{st}, nil
	case engineGvisorOwn:
		return openFDBased(s)
	case engineKernel:
		if err := errors.Join(netns.LinkUp("lo"), netns.AddAddr(s.Device, s.Addr), netns.LinkUp(s.Device)); err != nil {
			return nil, err
		}
		return kernelNetwork{}, nil
	}
	return nil, fmt.Errorf("unknown engine %q", s.Engine)
}

// openTap opens the setup's tap through our driver.
func openTap(s *serverSetup) (*tap.Device, error) {
	cfg := tap.Config{Name: s.Device, Offload: tap.OffloadOn}
	if s.Engine == engineDirectPlain {
		cfg.Offload = tap.OffloadOff
	}
	return tap.Open(context.Background(), cfg)
}

type directNetwork struct{ *direct.Stack }

// retransmits is not told: direct counts them in each connection, and they end
// with it.
func (directNetwork) retransmits() int64 { return -1 }

type gvisorNetwork struct{ *gvisor.Stack }

func (n gvisorNetwork) retransmits() int64 { return int64(n.Stats().TCP.Retransmits.Value()) }

// kernelNetwork is the host's sockets.
type kernelNetwork struct{ net.ListenConfig }

func (kernelNetwork) Close() error { return nil }

func (n kernelNetwork) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return n.ListenConfig.Listen(ctx, network, address)
}

func (n kernelNetwork) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	return n.ListenConfig.ListenPacket(ctx, network, address)
}

func (kernelNetwork) retransmits() int64 { return kernelRetransmits() }

// kernelRetransmits is what the kernel of our namespace sent again; -1 if it does
// not say.
func kernelRetransmits() int64 {
	b, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		return -1
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, name := range names {
			if name == "RetransSegs" && i < len(f) {
				if n, err := strconv.ParseInt(f[i], 10, 64); err == nil {
					return n
				}
			}
		}
	}
	return -1
}

// linkFrames returns how many frames the interface has received and sent, those
// larger than the MTU counting as one.
func linkFrames(name string) uint64 {
	b, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		dev, counters, ok := strings.Cut(line, ":")
		f := strings.Fields(counters)
		if !ok || strings.TrimSpace(dev) != name || len(f) < 10 {
			continue
		}
		received, _ := strconv.ParseUint(f[1], 10, 64) // column order: proc_pid_net_dev
		sent, _ := strconv.ParseUint(f[9], 10, 64)
		return received + sent
	}
	return 0
}
