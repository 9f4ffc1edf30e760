package gvisor

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/netduet/netduet/ifaddr"
	"github.com/netduet/netduet/ifconf"
	"github.com/netduet/netduet/internal/dnsclient"
	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/netif"
)

// What every stack is set to.
const (
	ttl = 64
	// Linux's tcp_rmem and tcp_wmem, except that gVisor's default size is the larger
	// one of its own: its buffers count overhead.
	minTCPBuffer     = 4 << 10
	defaultTCPBuffer = 1 << 20
	maxReceiveBuffer = 6 << 20
	maxSendBuffer    = 4 << 20
	// udpBuffer is Linux's rmem_default and wmem_default, maxUDPBuffer what
	// SetReadBuffer may ask for.
	udpBuffer    = 212992
	maxUDPBuffer = 1 << 29
	// loopbackNIC is the number of the interface "lo"; the others follow.
	loopbackNIC tcpip.NICID = 1
)

// Stack is gVisor's netstack over the devices that it was given. Its methods are
// safe for concurrent use.
type Stack struct {
	cfg *Config
	log *slog.Logger
	net *stack.Stack
	dns *dnsclient.Client

	// Immutable once New has returned.
	ifaces []*link // those with a device
	ports  []*port // one for each device

	random  *random
	batches batches

	mu        sync.Mutex
	ending    bool
	conns     map[*TCPConn]struct{} // not closed by the application
	udp       map[*UDPConn]struct{}
	listeners map[*TCPListener]struct{}

	closing    chan struct{}  // closed when Close is called
	closed     chan struct{}  // closed when Close is done
	silent     chan struct{}  // closed when nothing is sent any more
	calls      sync.WaitGroup // those that must end before Close does
	background sync.WaitGroup // our goroutines
	cancel     context.CancelFunc
}

// New returns a stack that is already receiving. It takes the devices over: Close
// closes them. When New fails, they are still the caller's.
func New(cfg *Config) (*Stack, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	opts := stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC, udp.NewProtocol, icmp.NewProtocol4},
		HandleLocal:        true,
	}
	rng, err := newRandom(cfg.Rand)
	if err != nil {
		return nil, err
	}
	opts.SecureRNG = rng
	if cfg.Clock != nil {
		opts.Clock = newEngineClock(cfg.Clock)
	}
	s := &Stack{
		cfg: cfg, log: cfg.Logger, random: rng,
		conns:     make(map[*TCPConn]struct{}),
		udp:       make(map[*UDPConn]struct{}),
		listeners: make(map[*TCPListener]struct{}),
		closing:   make(chan struct{}),
		closed:    make(chan struct{}),
		silent:    make(chan struct{}),
	}
	s.dns, err = dnsclient.New(dnsclient.Config{
		Servers: cfg.DNS,
		Hosts:   cfg.Hosts,
		Dial: func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
			return s.Dial(ctx, network, netip.AddrPort{}, server)
		},
		Families: s.families(),
		Rand:     rng,
	})
	if err != nil {
		return nil, fmt.Errorf("gvisor: %w", err)
	}
	s.net = stack.New(opts)
	terr := s.configure()
	if terr == nil {
		terr = s.addInterfaces()
	}
	if terr != nil {
		s.net.Destroy()
		return nil, fmt.Errorf("gvisor: setting up the engine: %s", terr)
	}
	s.start()
	return s, nil
}

// configure sets what all of the engine's sockets share.
func (s *Stack) configure() tcpip.Error {
	sack := tcpip.TCPSACKEnabled(true)
	cubic := tcpip.CongestionControlOption("cubic")
	rack := tcpip.TCPRACKLossDetection
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: minTCPBuffer, Default: defaultTCPBuffer, Max: maxReceiveBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minTCPBuffer, Default: defaultTCPBuffer, Max: maxSendBuffer}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &cubic, &rack, &moderate, &receive, &send} {
		if err := s.net.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return err
		}
	}
	for _, o := range []any{
		tcpip.ReceiveBufferSizeOption{Min: minTCPBuffer, Default: udpBuffer, Max: maxUDPBuffer},
		tcpip.SendBufferSizeOption{Min: minTCPBuffer, Default: udpBuffer, Max: maxUDPBuffer},
	} {
		if err := s.net.SetOption(o); err != nil {
			return err
		}
	}
	hops := tcpip.DefaultTTLOption(ttl)
	return s.net.SetNetworkProtocolOption(ipv4.ProtocolNumber, &hops)
}

// addInterfaces makes the interfaces, their addresses and the routes.
func (s *Stack) addInterfaces() tcpip.Error {
	if err := s.net.CreateNICWithOptions(loopbackNIC, loopback.New(), stack.NICOptions{Name: ifconf.LoopbackName}); err != nil {
		return err
	}
	if err := s.addAddress(loopbackNIC, loopbackPrefix()); err != nil {
		return err
	}
	// Those of equal length are asked in their order: configured ones come first.
	var onLink []tcpip.Route
	s.net.AddRoute(tcpip.Route{Destination: subnet(loopbackPrefix()), NIC: loopbackNIC})
	for i := range s.cfg.Interfaces {
		ic := &s.cfg.Interfaces[i]
		id := loopbackNIC + 1 + tcpip.NICID(i)
		l := newLink(s.portOf(ic.Device), id, ic)
		if err := s.net.CreateNICWithOptions(id, l, stack.NICOptions{Name: ic.Name}); err != nil {
			return err
		}
		if err := l.resolve(s.net); err != nil {
			return err
		}
		s.ifaces = append(s.ifaces, l)
		for _, p := range ic.Addrs {
			if err := s.addAddress(id, p); err != nil {
				return err
			}
			onLink = append(onLink, tcpip.Route{Destination: subnet(p), NIC: id, SourceHint: tcpip.AddrFrom4(p.Addr().As4())})
		}
		for _, r := range ic.Routes {
			route := tcpip.Route{Destination: subnet(r.Dst), NIC: id}
			if r.Gateway.IsValid() {
				route.Gateway = tcpip.AddrFrom4(r.Gateway.As4())
			}
			s.net.AddRoute(route)
		}
	}
	for _, r := range onLink {
		s.net.AddRoute(r)
	}
	return nil
}

func (s *Stack) addAddress(id tcpip.NICID, p netip.Prefix) tcpip.Error {
	return s.net.AddProtocolAddress(id, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(p.Addr().As4()), PrefixLen: p.Bits()},
	}, stack.AddressProperties{})
}

func loopbackPrefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 8)
}

func subnet(p netip.Prefix) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(p.Addr().As4()), PrefixLen: p.Bits()}.Subnet()
}

// portOf returns the port of dev, which it makes when it is new.
func (s *Stack) portOf(dev netif.Device) *port {
	for _, p := range s.ports {
		if p.dev == dev {
			return p
		}
	}
	p := newPort(s, dev)
	s.ports = append(s.ports, p)
	return p
}

// start begins to receive.
func (s *Stack) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, p := range s.ports {
		for _, q := range p.queues {
			s.background.Go(func() { q.receive(ctx) })
		}
	}
	for _, l := range s.ifaces {
		s.log.Info("interface up", "interface", l.name, "device", l.port.info.Name,
			"mac", l.mac, "mtu", l.mtu, "addresses", l.addrs)
	}
	if s.cfg.MemoryLimit > 0 {
		s.log.Info("gVisor bounds each socket and not all together; settings without effect: MemoryLimit")
	}
}

// families are the versions of IP that the stack speaks.
func (s *Stack) families() netapi.Families { return netapi.Families{IPv4: true} }

// enter notes a call that makes a socket, and reports false once the stack is
// being closed. leave must follow.
func (s *Stack) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return false
	}
	s.calls.Add(1)
	return true
}

func (s *Stack) leave() { s.calls.Done() }

// Resolver returns a net.Resolver that asks the servers of Config.DNS, through the
// stack.
func (s *Stack) Resolver() *net.Resolver { return s.dns.Resolver() }

// LookupNetIP finds the addresses of host as net.Resolver.LookupNetIP does.
func (s *Stack) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return s.dns.LookupNetIP(ctx, network, host)
}

// Interfaces returns the stack's interfaces. After Close it fails with
// net.ErrClosed.
func (s *Stack) Interfaces() ([]ifaddr.Interface, error) {
	if !s.enter() {
		return nil, net.ErrClosed
	}
	defer s.leave()
	list := []ifaddr.Interface{{
		Index: int(loopbackNIC), Name: ifconf.LoopbackName, MTU: 65535,
		Flags: net.FlagUp | net.FlagRunning | net.FlagLoopback,
		Addrs: []netip.Prefix{loopbackPrefix()},
	}}
	for _, l := range s.ifaces {
		list = append(list, l.describe())
	}
	return list, nil
}

// Stats returns gVisor's own counters, which are live.
func (s *Stack) Stats() tcpip.Stats { return s.net.Stats() }

// Dropped returns how many frames were given up because a device had no room for
// them for too long, or was closed.
func (s *Stack) Dropped() uint64 {
	var n uint64
	for _, p := range s.ports {
		for _, q := range p.queues {
			n += q.dropped.Load()
		}
	}
	return n
}

// random is a generator of unpredictable numbers that draws on its source once:
// gVisor reads on while it runs, from any goroutine.
type random struct {
	mu sync.Mutex
	g  *rand.ChaCha8
}

func newRandom(r io.Reader) (*random, error) {
	var seed [32]byte
	if _, err := io.ReadFull(r, seed[:]); err != nil {
		return nil, fmt.Errorf("gvisor: drawing secrets: %w", err)
	}
	return &random{g: rand.NewChaCha8(seed)}, nil
}

// Read implements io.Reader.
func (r *random) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.g.Read(p)
}

func (r *random) uint64() uint64 {
	var b [8]byte
	r.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}
