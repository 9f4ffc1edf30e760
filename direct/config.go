package direct

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ifconf"
	"github.com/netduet/netduet/tcp"
)

// Defaults of Config.
const (
	DefaultCloseTimeout = 5 * time.Second
	// DefaultMemoryLimit bounds what all buffers and records of a stack hold.
	DefaultMemoryLimit = 1 << 30
)

// Config describes a stack. The zero value is a stack with nothing but its
// loopback interface. New reads it and does not keep it.
type Config struct {
	// Interfaces are the stack's, in this order; a loopback interface named "lo"
	// with 127.0.0.1/8 is always there beside them.
	Interfaces []Interface

	// DNS lists the servers that names are looked up with, in this order. Without
	// any, only Hosts and localhost resolve.
	DNS []netip.AddrPort
	// Hosts maps names to addresses, ahead of DNS.
	Hosts map[string][]netip.Addr

	// CloseTimeout is how long Close lets connections that the application has
	// closed deliver what was written: 0 means DefaultCloseTimeout, negative not at
	// all.
	CloseTimeout time.Duration
	// MemoryLimit bounds, in bytes, what buffers, connections and the records of
	// half-open and ended ones hold together; 0 means DefaultMemoryLimit. Work
	// beyond it is refused and counted. The frames that devices lend are theirs and
	// don't count.
	MemoryLimit int64

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
	// Clock is the stack's time; nil means package time. Deadlines of connections
	// are the application's time and always package time.
	Clock clock.Clock
	// Rand is where unpredictable numbers come from; nil means crypto/rand. It is
	// read in New only.
	Rand io.Reader

	// TCP is what connections begin with: buffers, retries, the options offered, the
	// congestion control, in tcp.Config's defaults where it says nothing. What the
	// path decides (ports, MSS, MaxGSO, Memory) and what sockets have defaults of
	// their own for (NoDelay, KeepAlive) is not taken from it.
	TCP tcp.Config

	// NoKeepAlive has connections begin without keep-alive probes, which otherwise leave
	// after 15 s of silence, as package net has it: a million idle connections send 67
	// thousand a second, and get as many answers. SetKeepAlive overrides it.
	NoKeepAlive bool

	// Manual leaves receiving to the caller, who calls Poll: for main loops on bare
	// metal. Without it the stack runs a goroutine for each queue of its devices.
	Manual bool
}

// Interface and Route describe the interfaces; every engine takes the same ones.
type (
	Interface = ifconf.Interface
	Route     = ifconf.Route
)

// withDefaults returns a valid copy of cfg with nothing left open.
func (cfg *Config) withDefaults() (*Config, error) {
	c := Config{}
	if cfg != nil {
		c = *cfg
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
	if c.MemoryLimit < 0 {
		return nil, fmt.Errorf("direct: memory limit %d: must not be negative; 0 means %d", c.MemoryLimit, int64(DefaultMemoryLimit))
	}
	if c.MemoryLimit == 0 {
		c.MemoryLimit = DefaultMemoryLimit
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = newSystemClock()
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	for _, d := range c.DNS {
		if !d.IsValid() {
			return nil, errors.New("direct: a DNS server without an address: give address and port, such as 192.0.2.53:53")
		}
	}
	list, err := ifconf.Complete(c.Interfaces)
	if err != nil {
		return nil, fmt.Errorf("direct: %w", err)
	}
	c.Interfaces = list
	return &c, nil
}
