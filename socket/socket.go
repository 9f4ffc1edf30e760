package socket

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/netduet/netduet/ifaddr"
)

// Config configures a Stack. The zero value is useful.
type Config struct {
	// DNS lists the servers to look names up with, tried in this order: one that fails is
	// left for the next. When empty, the host decides.
	DNS []netip.AddrPort
}

// Stack is the host's network. Its methods are safe for concurrent use.
type Stack struct {
	resolver *net.Resolver
	open     registry
	// ctx ends with Close, which cancels dials under way.
	ctx    context.Context
	cancel context.CancelFunc
}

// New returns a stack over the host's sockets; it opens nothing yet. A nil cfg
// stands for the zero Config.
func New(cfg *Config) (*Stack, error) {
	s := &Stack{resolver: &net.Resolver{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if cfg != nil && len(cfg.DNS) > 0 {
		for _, a := range cfg.DNS {
			if !a.IsValid() || a.Port() == 0 {
				return nil, errors.New("socket: a DNS server needs an address and a port, such as 10.0.0.1:53")
			}
		}
		s.resolver = resolverFor(slices.Clone(cfg.DNS))
	}
	return s, nil
}

// DialContext connects as net.Dialer.DialContext does. It returns a *net.TCPConn
// or a *net.UDPConn.
func (s *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := s.check("dial", network); err != nil {
		return nil, err
	}
	dialCtx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.ctx, stop)()
	d := net.Dialer{Resolver: s.resolver}
	c, err := d.DialContext(dialCtx, network, address)
	if err != nil {
		if s.open.isClosed() && ctx.Err() == nil {
			return nil, closedError("dial", network)
		}
		return nil, err
	}
	tracked := true
	switch c := c.(type) {
	case *net.TCPConn:
		tracked = track(&s.open, c, func(c *net.TCPConn) { c.SetLinger(0); c.Close() })
	case *net.UDPConn:
		tracked = track(&s.open, c, func(c *net.UDPConn) { c.Close() })
	}
	if !tracked {
		return nil, closedError("dial", network)
	}
	return c, nil
}

// Listen announces as net.ListenConfig.Listen does. It returns a
// *net.TCPListener.
func (s *Stack) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if err := s.check("listen", network); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if tl, ok := l.(*net.TCPListener); ok && !track(&s.open, tl, func(l *net.TCPListener) { l.Close() }) {
		return nil, closedError("listen", network)
	}
	return l, nil
}

// ListenPacket announces as net.ListenConfig.ListenPacket does. It returns a
// *net.UDPConn.
func (s *Stack) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if err := s.check("listen", network); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	p, err := lc.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if c, ok := p.(*net.UDPConn); ok && !track(&s.open, c, func(c *net.UDPConn) { c.Close() }) {
		return nil, closedError("listen", network)
	}
	return p, nil
}

// Resolver returns the resolver that DialContext uses: the host's, or one that
// asks Config.DNS.
func (s *Stack) Resolver() *net.Resolver { return s.resolver }

// Interfaces returns the host's interfaces. One that goes away while it is asked
// for its addresses is left out.
func (s *Stack) Interfaces() ([]ifaddr.Interface, error) {
	if s.open.isClosed() {
		return nil, closedError("route", "ip+net")
	}
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	out := make([]ifaddr.Interface, 0, len(list))
	for i := range list {
		addrs, err := list[i].Addrs()
		if err != nil {
			continue
		}
		out = append(out, ifaddr.Interface{
			Index:        list[i].Index,
			Name:         list[i].Name,
			MTU:          list[i].MTU,
			HardwareAddr: list[i].HardwareAddr,
			Flags:        list[i].Flags,
			Addrs:        prefixes(addrs),
		})
	}
	return out, nil
}

func prefixes(addrs []net.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		// IPNet may hold an IPv4 address in 16 bytes beside a mask of 4.
		ip = ip.Unmap()
		if bits, size := n.Mask.Size(); size == ip.BitLen() {
			out = append(out, netip.PrefixFrom(ip, bits))
		}
	}
	return out
}

// Close stops the stack's listeners and UDP sockets, cancels its dials, and
// resets the connections dialled through it that are still open. What was
// written to connections that were closed before is delivered by the kernel,
// which takes its own time: Close waits for nothing. A second Close returns
// net.ErrClosed.
func (s *Stack) Close() error {
	first := s.open.close() // before the dials end, so that they know why
	s.cancel()
	if !first {
		return net.ErrClosed
	}
	return nil
}

// check refuses what the common interface does not hold, in the words package
// net has for it, and everything once the stack is closed.
func (s *Stack) check(op, network string) error {
	if s.open.isClosed() {
		return closedError(op, network)
	}
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return nil
	}
	return &net.OpError{Op: op, Net: network, Err: net.UnknownNetworkError(network)}
}

func closedError(op, network string) error {
	return &net.OpError{Op: op, Net: network, Err: net.ErrClosed}
}
