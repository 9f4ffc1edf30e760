package direct

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/icmp"
	"github.com/netduet/netduet/ifaddr"
	"github.com/netduet/netduet/ifconf"
	"github.com/netduet/netduet/internal/dnsclient"
	"github.com/netduet/netduet/internal/siphash"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/route"
	"github.com/netduet/netduet/tcp"
)

// Stack is a network stack over the devices that it was given. Its methods are safe
// for concurrent use.
type Stack struct {
	cfg *Config
	clk clock.Clock
	log *slog.Logger
	mem *memory

	// Immutable once New has returned.
	ifaces  []*iface // by index-1; the first is loopback
	lo      *iface
	devices []*port // one for each device
	local   map[netip.Addr]int
	routes  *route.Table
	secret  tcp.Secret
	fastKey [1]tcp.FastOpenKey // of Fast Open's cookies, unless Config.TCP has one
	dns     *dnsclient.Client

	tcp atomic.Pointer[tcp.Config] // see SetTCP; what it points at is never written

	table      table
	conns      connList
	listeners  listeners
	udpSockets udpTable
	ports      portTable
	pings      pings
	pathMTU    pathMTUCache
	fast       fastOpens
	fragments  fragments
	timers     timers
	errors     errorLimit
	echoLimit  rateLimit
	resetLimit rateLimit
	count      counters

	idMu sync.Mutex
	ids  *ipv4.IDs

	rand randomness

	polling sync.Mutex // Poll is running; no lock is held when it is taken

	batches sync.Pool     // *txBatch
	cores   sync.Pool     // *tcp.Conn; see TCPConn.lock
	waiters sync.Pool     // chan struct{}; see waiter
	looking chan struct{} // stands for that of a waiter who only looks; nobody sends to it
	// netOptions are those of connections that nobody has changed; never written.
	netOptions *tcpOptions
	outgoing   sync.Pool // *outgoing

	vacant atomic.Int32 // queues that a reader may poll; see lead

	background gate // goroutines of ours, and calls that must end before Close does
	cancel     context.CancelFunc
	ending     atomic.Bool   // Close was called
	closing    chan struct{} // closed when Close was called
	closed     chan struct{} // closed when Close is done
}

// New returns a stack that is already receiving. It takes the devices over: Close
// closes them. When New fails, they are still the caller's.
func New(cfg *Config) (*Stack, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Stack{
		cfg: cfg, clk: cfg.Clock, log: cfg.Logger,
		mem:        newMemory(cfg.MemoryLimit),
		local:      make(map[netip.Addr]int),
		closing:    make(chan struct{}),
		looking:    make(chan struct{}),
		closed:     make(chan struct{}),
		netOptions: netOptions(),
		echoLimit:  rateLimit{interval: echoInterval, burst: echoBurst},
		resetLimit: rateLimit{interval: resetInterval, burst: resetBurst},
	}
	s.netOptions.keepAlive.Enable = !cfg.NoKeepAlive
	s.outgoing.New = func() any { return new(outgoing) }
	s.SetTCP(cfg.TCP)
	if err := s.drawSecrets(); err != nil {
		return nil, err
	}
	s.timers.init(s.clk)
	s.fragments.init(s)
	s.listeners.init()
	s.udpSockets.init(s)
	list := append([]Interface{{Name: ifconf.LoopbackName, Device: newLoopback(s.mem), MTU: loopbackMTU, Addrs: loopbackAddrs()}}, cfg.Interfaces...)
	if err := s.addInterfaces(list); err != nil {
		return nil, err
	}
	if err := s.initDNS(); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

// SetTCP changes what connections begin with: cfg takes the place of Config.TCP, as a
// whole, for those that are opened or whose SYN arrives from now on. It may be called
// at any time and from any goroutine; connections that exist keep what they began with.
func (s *Stack) SetTCP(cfg tcp.Config) { s.tcp.Store(&cfg) }

// drawSecrets reads all the randomness that the stack ever takes from its source.
func (s *Stack) drawSecrets() error {
	r := s.cfg.Rand
	var err error
	if s.secret, err = tcp.NewSecret(r); err != nil {
		return fmt.Errorf("direct: %w", err)
	}
	var ids, draw, limit siphash.Key
	for _, k := range []*siphash.Key{&s.table.key, &s.ports.key, &ids, &draw, &limit} {
		if *k, err = siphash.NewKey(r); err != nil {
			return fmt.Errorf("direct: drawing secrets: %w", err)
		}
	}
	if _, err = io.ReadFull(r, s.fastKey[0][:]); err != nil {
		return fmt.Errorf("direct: drawing secrets: %w", err)
	}
	s.ids = ipv4.NewIDs(ids)
	s.rand.key = draw
	s.errors.l = icmp.NewLimiter(icmp.LimitConfig{Key: limit, Rand: s.random})
	return nil
}

// randomness is a generator of unpredictable numbers: a keyed hash of a counter.
type randomness struct {
	key siphash.Key
	n   atomic.Uint64
}

// random returns an unpredictable number.
func (s *Stack) random() uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], s.rand.n.Add(1))
	return s.rand.key.Sum64(b[:])
}

// addInterfaces makes the interfaces and the ports behind them.
func (s *Stack) addInterfaces(list []Interface) error {
	var routes []route.Route
	for i := range list {
		ic := &list[i]
		p := s.portOf(ic.Device)
		ifc := &iface{
			st: s, port: p, index: i + 1, name: ic.Name, mtu: ic.MTU, vlan: ic.VLAN,
			addrs: append([]netip.Prefix(nil), ic.Addrs...),
			link:  newLink(p.info, ic.VLAN),
		}
		p.ifaces = append(p.ifaces, ifc)
		s.ifaces = append(s.ifaces, ifc)
		for _, a := range ifc.addrs {
			s.local[a.Addr()] = ifc.index
			if i == 0 {
				continue // the way to ourselves needs no route
			}
			// Routes that were configured come first among those of equal length.
			routes = append(routes, route.Route{Prefix: a, Source: a.Addr(), Interface: ifc.index, Metric: 1})
		}
		for _, r := range ic.Routes {
			if !r.Gateway.IsValid() {
				ifc.onLink = append(ifc.onLink, r.Dst)
			}
			routes = append(routes, route.Route{Prefix: r.Dst, Gateway: r.Gateway, Interface: ifc.index})
		}
	}
	s.lo = s.ifaces[0]
	s.lo.port.loopback = true
	var err error
	if s.routes, err = route.New(routes); err != nil {
		return fmt.Errorf("direct: %w", err)
	}
	return nil
}

// portOf returns the port of dev, which it makes when it is new.
func (s *Stack) portOf(dev netif.Device) *port {
	for _, p := range s.devices {
		if p.dev == dev {
			return p
		}
	}
	p := &port{st: s, dev: dev, info: dev.Info()}
	for i, q := range dev.Queues() {
		pq := &queue{port: p, index: i, q: q}
		pq.rx.st, pq.rx.q = s, pq
		pq.rx.budget = newWindowBudget(&p.info)
		pq.lead.back = make(chan struct{}, 1)
		p.queues = append(p.queues, pq)
	}
	s.devices = append(s.devices, p)
	return p
}

func (s *Stack) initDNS() error {
	var err error
	s.dns, err = dnsclient.New(dnsclient.Config{
		Servers: s.cfg.DNS,
		Hosts:   s.cfg.Hosts,
		Dial: func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
			return s.Dial(ctx, network, netip.AddrPort{}, server)
		},
		Families: s.families(),
		Rand:     (*stackReader)(s),
	})
	if err != nil {
		return fmt.Errorf("direct: %w", err)
	}
	return nil
}

// start begins to receive, and announces our addresses.
func (s *Stack) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	now := s.clk.Now()
	for _, ifc := range s.ifaces {
		ifc.initNeighbors(now)
	}
	for _, p := range s.devices {
		for _, q := range p.queues {
			if s.cfg.Manual {
				continue
			}
			if runtime.GOMAXPROCS(0) > 1 {
				a := newAcker(s.clk)
				q.rx.acker = a
				s.inBackground(func() { a.run(ctx) })
			}
			s.inBackground(func() { q.run(ctx) })
		}
	}
	for _, ifc := range s.ifaces {
		ifc.expired(now)
		if !ifc.loopback() {
			s.log.Info("interface up", "interface", ifc.name, "device", ifc.port.info.Name,
				"mac", ifc.link.mac, "mtu", ifc.mtu, "addresses", ifc.addrs)
		}
	}
}

// inBackground runs f in a goroutine that Close waits for.
func (s *Stack) inBackground(f func()) {
	s.background.enter()
	go func() {
		defer s.background.leave()
		f()
	}()
}

// Poll does one round over all queues and timers and returns when it wants to be
// called again at the latest, even if no frame arrives: clock.Never if only frames
// matter. The instant now itself means that it is to be called again before frames
// are waited for: there may be more, and ACKs may wait for what there may be. It is
// for stacks with Config.Manual; on others it does nothing. Concurrent
// calls take turns.
//
// Timers run in goroutines of the clock's as well, so that a caller which is late
// delays nothing but frames.
func (s *Stack) Poll(now clock.Time) clock.Time {
	if !s.cfg.Manual {
		return clock.Never
	}
	s.polling.Lock()
	defer s.polling.Unlock()
	next := clock.Never
	for _, p := range s.devices {
		for _, q := range p.queues {
			if q.dead.Load() {
				continue
			}
			dry, err := q.rx.poll(now)
			if err != nil {
				q.fail(err)
			} else if !dry {
				next = now
			}
		}
	}
	return min(next, s.timers.poll(now))
}

// Interfaces returns the stack's interfaces. After Close it fails with
// net.ErrClosed.
func (s *Stack) Interfaces() ([]ifaddr.Interface, error) {
	if s.ending.Load() {
		return nil, errClosed
	}
	list := make([]ifaddr.Interface, len(s.ifaces))
	for i, ifc := range s.ifaces {
		list[i] = ifc.describe()
	}
	return list, nil
}

// stackReader is the stack's randomness as an io.Reader.
type stackReader Stack

func (r *stackReader) Read(p []byte) (int, error) {
	var b [8]byte
	for i := range p {
		if i%8 == 0 {
			binary.LittleEndian.PutUint64(b[:], (*Stack)(r).random())
		}
		p[i] = b[i%8]
	}
	return len(p), nil
}
