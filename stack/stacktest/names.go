package stacktest

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

func nameTests() []test {
	return []test{
		{name: "Dial", run: testDialName, dns: true},
		{name: "SeveralAddresses", run: testSeveralAddresses, dns: true, need: needUnreachable},
		{name: "Lookup", run: testLookup, dns: true},
		{name: "Unknown", run: testUnknownName, dns: true},
		{name: "UDP", run: testDialNameUDP, dns: true},
		{name: "Localhost", run: testLocalhost, dns: true},
		{name: "Listen", run: testListenName, dns: true},
	}
}

// dnsServer answers A's questions on B, so that no test depends on the host's
// names. It knows "host.test" (B), "two.test" (an address without a route, then
// B) and no other name.
type dnsServer struct {
	addr netip.AddrPort
	env  *Env
	b    Host
	conn net.PacketConn
	wg   sync.WaitGroup
}

func newDNSServer(h *harness, b Host) *dnsServer {
	h.Helper()
	p, err := b.Stack.ListenPacket(h.ctx, "udp", at(b, 0))
	h.check(err)
	s := &dnsServer{addr: netip.AddrPortFrom(b.Addr, portOf(p.LocalAddr())), env: h.env, b: b, conn: p}
	s.wg.Go(s.serve)
	return s
}

// wait waits for the server to end, which the end of its stack makes it do.
func (s *dnsServer) wait() { s.conn.Close(); s.wg.Wait() }

func (s *dnsServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 || q.Response {
			continue
		}
		a := s.answer(q)
		if out, err := a.Pack(); err == nil {
			s.conn.WriteTo(out, from)
		}
	}
}

func (s *dnsServer) answer(q dnsmessage.Message) dnsmessage.Message {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true, RecursionDesired: q.RecursionDesired, RecursionAvailable: true},
		Questions: q.Questions,
	}
	var addrs []netip.Addr
	switch strings.ToLower(q.Questions[0].Name.String()) {
	case "host.test.":
		addrs = []netip.Addr{s.b.Addr}
	case "two.test.":
		addrs = []netip.Addr{s.env.Unreachable, s.b.Addr}
	default:
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addrs {
		var body dnsmessage.ResourceBody
		switch {
		case a.Is4() && q.Questions[0].Type == dnsmessage.TypeA:
			body = &dnsmessage.AResource{A: a.As4()}
		case a.Is6() && q.Questions[0].Type == dnsmessage.TypeAAAA:
			body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		default:
			continue
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   body,
		})
	}
	return m
}

// named replaces the host of an address by a name.
func named(name string, a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return net.JoinHostPort(name, port)
}

func testDialName(h *harness) {
	l := h.listen(h.b)
	for _, name := range []string{"host.test", "host.test.", "HOST.Test"} {
		c, err := h.a.Stack.DialContext(h.ctx, "tcp", named(name, l.Addr()))
		h.check(err)
		a, b := h.adopt(c), h.accept(l)
		if a.RemoteAddr().String() != l.Addr().String() {
			h.Errorf("%s: remote address is %v, want %v", name, a.RemoteAddr(), l.Addr())
		}
		h.check(send(a, []byte(name)))
		h.check(expect(b, []byte(name)))
	}
}

// testSeveralAddresses dials a name whose first address does not work.
func testSeveralAddresses(h *harness) {
	l := h.listen(h.b)
	for range 5 {
		c, err := h.a.Stack.DialContext(h.ctx, "tcp", named("two.test", l.Addr()))
		h.check(err)
		a, b := h.adopt(c), h.accept(l)
		h.check(send(b, []byte("here")))
		h.check(expect(a, []byte("here")))
	}
}

func testLookup(h *harness) {
	r := h.a.Stack.Resolver()
	got, err := r.LookupHost(h.ctx, "host.test")
	if err != nil || len(got) != 1 || got[0] != h.b.Addr.String() {
		h.Errorf("LookupHost: %v, %v; want %v", got, err, h.b.Addr)
	}
	network := "ip4"
	if h.b.Addr.Is6() {
		network = "ip6"
	}
	ips, err := r.LookupNetIP(h.ctx, network, "host.test")
	if err != nil || len(ips) != 1 || ips[0].Unmap() != h.b.Addr {
		h.Errorf("LookupNetIP: %v, %v; want %v", ips, err, h.b.Addr)
	}
	if port, err := r.LookupPort(h.ctx, "tcp", "https"); port != 443 || err != nil {
		h.Errorf("LookupPort: %d, %v", port, err)
	}
}

func testUnknownName(h *harness) {
	_, err := h.a.Stack.Resolver().LookupHost(h.ctx, "nobody.test")
	var de *net.DNSError
	if !errors.As(err, &de) || !de.IsNotFound || de.Name != "nobody.test" || de.Timeout() {
		h.Errorf("LookupHost: %#v", err)
	}
}

func testDialNameUDP(h *harness) {
	u := h.listenUDP(h.b)
	c, err := h.a.Stack.DialContext(h.ctx, "udp", named("host.test", u.LocalAddr()))
	h.check(err)
	d := h.adoptUDP(c)
	h.check(send(d, []byte("by name")))
	buf := make([]byte, 16)
	n, _, err := u.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "by name" {
		h.Errorf("ReadFrom: %q, %v", buf[:n], err)
	}
}

// testLocalhost dials the name that needs no server (RFC 6761, section 6.3).
func testLocalhost(h *harness) {
	l := h.listenAt(h.a, "tcp", "127.0.0.1:0")
	c, err := h.a.Stack.DialContext(h.ctx, "tcp4", named("localhost", l.Addr()))
	h.check(err)
	a, b := h.adopt(c), h.accept(l)
	h.check(send(a, []byte("home")))
	h.check(expect(b, []byte("home")))
}

// testListenName announces on a name that is an address of the stack.
func testListenName(h *harness) {
	l := h.listenAt(h.a, "tcp", "localhost:0")
	la, ok := l.Addr().(*net.TCPAddr)
	if !ok || !la.IP.IsLoopback() {
		h.Errorf("listener on localhost is %v", l.Addr())
	}
}
