package gvisor

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
)

// DefaultCloseTimeout is that of Config.
const DefaultCloseTimeout = 5 * time.Second

// Config describes a stack; it has the shape of direct.Config. The zero value is a
// stack with nothing but its loopback interface. New reads it and does not keep it.
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
	// MemoryLimit has no effect: gVisor bounds each socket, not all together. New
	// logs that it is ignored.
	MemoryLimit int64

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
	// Clock is the stack's time; nil means package time. Deadlines of connections
	// are the application's time and always package time.
	Clock clock.Clock
	// Rand is where unpredictable numbers come from; nil means crypto/rand. It is
	// read in New only.
	Rand io.Reader
}

// Interface and Route describe the interfaces; every engine takes the same ones.
type (
	Interface = ifconf.Interface
	Route     = ifconf.Route
)

// withDefaults returns a valid copy of cfg with nothing left open but Clock.
func (cfg *Config) withDefaults() (*Config, error) {
	c := Config{}
	if cfg != nil {
		c = *cfg
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
	if c.MemoryLimit < 0 {
		return nil, fmt.Errorf("gvisor: memory limit %d: must not be negative", c.MemoryLimit)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	for _, d := range c.DNS {
		if !d.IsValid() {
			return nil, errors.New("gvisor: a DNS server without an address: give address and port, such as 192.0.2.53:53")
		}
	}
	list, err := ifconf.Complete(c.Interfaces)
	if err != nil {
		return nil, fmt.Errorf("gvisor: %w", err)
	}
	c.Interfaces = list
	return &c, nil
}
