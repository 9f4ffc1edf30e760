package dnsclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/netduet/netduet/internal/netapi"
)

// Defaults, which are those of resolv.conf(5).
const (
	DefaultTimeout  = 5 * time.Second
	DefaultAttempts = 2
	DefaultNdots    = 1
)

// Config says whom to ask and how. Dial is required if there are Servers; the
// rest may be zero.
type Config struct {
	// Servers are tried in this order, each as often as Attempts says. A zero port
	// means 53.
	Servers []netip.AddrPort

	// Dial connects to a server through the stack; network is "udp" or "tcp". The
	// connection's local port should be unpredictable (RFC 5452, section 9.2).
	Dial func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error)

	// Families are the versions of IP that lookups return; none means both.
	Families netapi.Families

	// Hosts answers names without asking anybody, as /etc/hosts does. Case and a
	// trailing dot do not matter.
	Hosts map[string][]netip.Addr

	// Search holds domains that are appended to names without a trailing dot. Names
	// with at least Ndots dots are tried as they are first, others last.
	Search []string
	Ndots  int // 0 means DefaultNdots

	Timeout  time.Duration // for one exchange with one server; 0 means DefaultTimeout
	Attempts int           // rounds over the servers; 0 means DefaultAttempts

	// Sort orders the addresses of a name in place, best first; nil leaves the
	// server's order, IPv4 before IPv6.
	Sort func([]netip.Addr)

	// Rand is the source of query identifiers; nil means crypto/rand. Reads are
	// serialized.
	Rand io.Reader
}

// Client is a stub resolver; its methods are safe for concurrent use. It holds
// no resource while no lookup runs.
type Client struct {
	cfg    Config
	hosts  map[string][]netip.Addr
	search []string

	randMu sync.Mutex
}

// New checks cfg and returns a client that keeps its own copy of it.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, hosts: make(map[string][]netip.Addr, len(cfg.Hosts))}
	c.cfg.Hosts = nil
	c.cfg.Servers = nil
	for _, s := range cfg.Servers {
		if !s.Addr().IsValid() || s.Addr().IsUnspecified() || s.Addr().IsMulticast() {
			return nil, fmt.Errorf("dns server %v: give the address of one host, for example 192.0.2.53:53", s)
		}
		port := s.Port()
		if port == 0 {
			port = 53
		}
		c.cfg.Servers = append(c.cfg.Servers, netip.AddrPortFrom(s.Addr().Unmap(), port))
	}
	if len(cfg.Servers) > 0 && cfg.Dial == nil {
		return nil, errors.New("dns: servers without a Dial function to reach them by")
	}
	for name, addrs := range cfg.Hosts {
		if !validName(name) {
			return nil, fmt.Errorf("dns host %q: not a domain name", name)
		}
		own := make([]netip.Addr, 0, len(addrs))
		for _, a := range addrs {
			if !a.IsValid() {
				return nil, fmt.Errorf("dns host %q: an address that is not valid", name)
			}
			own = append(own, a.Unmap())
		}
		c.hosts[foldName(name)] = own
	}
	for _, domain := range cfg.Search {
		if !validName(domain) || domain == "." {
			return nil, fmt.Errorf("dns search domain %q: not a domain name", domain)
		}
		c.search = append(c.search, strings.TrimSuffix(domain, ".")+".")
	}
	if cfg.Timeout < 0 || cfg.Attempts < 0 || cfg.Ndots < 0 {
		return nil, errors.New("dns: Timeout, Attempts and Ndots must not be negative; 0 is the default")
	}
	if c.cfg.Timeout == 0 {
		c.cfg.Timeout = DefaultTimeout
	}
	if c.cfg.Attempts == 0 {
		c.cfg.Attempts = DefaultAttempts
	}
	if c.cfg.Ndots == 0 {
		c.cfg.Ndots = DefaultNdots
	}
	if c.cfg.Families == (netapi.Families{}) {
		c.cfg.Families = netapi.Families{IPv4: true, IPv6: true}
	}
	if c.cfg.Rand == nil {
		c.cfg.Rand = rand.Reader
	}
	return c, nil
}

// LookupNetIP returns the addresses of host, at least one if err is nil, of the
// versions that network ("ip", "ip4" or "ip6") and Config.Families both admit.
// It has the shape of net.Resolver.LookupNetIP and is a netapi.LookupFunc.
//
// IP literals are returned as they are. Names under localhost and names in
// Config.Hosts are answered without a server, names under onion and invalid
// never asked (RFC 6761, section 6; RFC 7686). Errors are *net.DNSError:
// IsNotFound if the name or its addresses do not exist, IsTimeout and
// IsTemporary if servers did not answer or failed; net.UnknownNetworkError for
// any other network.
func (c *Client) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	want := c.cfg.Families
	switch network {
	case "ip":
	case "ip4":
		want.IPv6 = false
	case "ip6":
		want.IPv4 = false
	default:
		return nil, net.UnknownNetworkError(network)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		if network == "ip4" && !ip.Is4() || network == "ip6" && !ip.Is6() {
			return nil, &net.AddrError{Err: "no suitable address found", Addr: host}
		}
		return []netip.Addr{ip}, nil
	}
	if !validName(host) {
		return nil, notFound(host, "")
	}
	if addrs, ok := c.local(host, true); ok {
		var kept []netip.Addr
		for _, a := range addrs {
			if want.Has(a) {
				kept = append(kept, a)
			}
		}
		if len(kept) == 0 {
			return nil, notFound(host, "")
		}
		return kept, nil
	}
	addrs, err := c.lookup(ctx, host, want)
	if err != nil {
		if ctx.Err() != nil {
			// As in net, the end of the context hides what the servers did.
			return nil, netapi.DNSError(ctx.Err(), host, "")
		}
		err.Name = host // not the name with a search domain
		return nil, err
	}
	if c.cfg.Sort != nil {
		c.cfg.Sort(addrs)
	}
	return addrs, nil
}

// local answers the names that no server is asked for, in every family.
// Config.Hosts holds addresses alone: questions for other types go past it.
func (c *Client) local(host string, addresses bool) ([]netip.Addr, bool) {
	folded := foldName(host)
	if addrs, ok := c.hosts[folded]; ok && addresses {
		return addrs, true
	}
	if netapi.IsLocalhost(host) {
		return c.cfg.Families.Localhost(), true
	}
	return nil, neverAsk(folded)
}

// lookup tries the names that host may stand for until one has addresses.
func (c *Client) lookup(ctx context.Context, host string, want netapi.Families) ([]netip.Addr, *net.DNSError) {
	if len(c.cfg.Servers) == 0 {
		return nil, &net.DNSError{Err: "no such host (no DNS server is configured)", Name: host, IsNotFound: true}
	}
	var types []dnsmessage.Type
	if want.IPv4 {
		types = append(types, dnsmessage.TypeA)
	}
	if want.IPv6 {
		types = append(types, dnsmessage.TypeAAAA)
	}
	names := c.candidates(host)
	if len(types) == 0 || len(names) == 0 {
		return nil, notFound(host, "")
	}
	var failed *net.DNSError
	for _, fqdn := range names {
		addrs, err := c.lookupTypes(ctx, fqdn, types)
		if err == nil {
			return addrs, nil
		}
		// A server's failure outlasts the absence of another candidate: the name
		// may exist.
		if failed == nil || failed.IsNotFound && (!err.IsNotFound || strings.EqualFold(fqdn, host+".")) {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// lookupTypes asks for all types of one name at the same time.
func (c *Client) lookupTypes(ctx context.Context, fqdn string, types []dnsmessage.Type) ([]netip.Addr, *net.DNSError) {
	type result struct {
		addrs []netip.Addr
		err   *net.DNSError
	}
	results := make([]result, len(types))
	var wg sync.WaitGroup
	for i, qtype := range types[1:] {
		wg.Go(func() {
			results[i+1].addrs, results[i+1].err = c.lookupType(ctx, fqdn, qtype)
		})
	}
	results[0].addrs, results[0].err = c.lookupType(ctx, fqdn, types[0])
	wg.Wait()

	var addrs []netip.Addr
	var failed *net.DNSError
	for _, r := range results {
		addrs = append(addrs, r.addrs...)
		if r.err != nil && (failed == nil || failed.IsNotFound && !r.err.IsNotFound) {
			failed = r.err
		}
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	return nil, failed
}

// lookupType asks the servers in turn until one gives an answer that counts.
func (c *Client) lookupType(ctx context.Context, fqdn string, qtype dnsmessage.Type) ([]netip.Addr, *net.DNSError) {
	name, err := dnsmessage.NewName(fqdn)
	if err != nil {
		return nil, notFound(fqdn, "")
	}
	q := dnsmessage.Question{Name: name, Type: qtype, Class: dnsmessage.ClassINET}
	var failed *net.DNSError
	for range c.cfg.Attempts {
		for _, server := range c.cfg.Servers {
			addrs, err := c.ask(ctx, server, q)
			if err == nil {
				return addrs, nil
			}
			failed = toDNSError(err, fqdn, server.String())
			// What does not exist here exists at no other server, and nobody waits
			// after the context.
			if failed.IsNotFound || ctx.Err() != nil {
				return nil, failed
			}
		}
	}
	return nil, failed
}

// ask puts one question to one server and reads the addresses out of the answer.
func (c *Client) ask(ctx context.Context, server netip.AddrPort, q dnsmessage.Question) ([]netip.Addr, error) {
	query, err := newQuery(q, true)
	if err != nil {
		return nil, err
	}
	msg, err := c.exchange(ctx, server, query, q, c.cfg.Timeout)
	if err != nil {
		return nil, err
	}
	r, err := readReply(msg, q)
	if err == nil && (r.rcode == dnsmessage.RCodeFormatError || r.rcode == dnsmessage.RCodeNotImplemented) {
		// A server from before EDNS0 may refuse it: RFC 6891, section 6.2.2.
		if query, err = newQuery(q, false); err != nil {
			return nil, err
		}
		if msg, err = c.exchange(ctx, server, query, q, c.cfg.Timeout); err != nil {
			return nil, err
		}
		r, err = readReply(msg, q)
	}
	if err != nil {
		return nil, err
	}
	return r.addrs, r.verdict()
}
