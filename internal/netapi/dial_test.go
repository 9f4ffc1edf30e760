package netapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// script is a network in which each address answers after a time, or never.
type script struct {
	mu      sync.Mutex
	answers map[string]answer
	start   time.Time
	log     []string // "192.0.2.1@0s", in the order of the attempts
	open    int      // connections that nobody closed
	dialing int      // attempts under way
}

type answer struct {
	after time.Duration // 0: never
	err   error         // nil: connected
	// stubborn answers do not watch the context, like a dial that has just won.
	stubborn bool
}

type fakeConn struct {
	net.Conn
	s    *script
	addr netip.AddrPort
}

func (c *fakeConn) Close() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.open--
	return nil
}

func (s *script) dial(ctx context.Context, _ string, _, raddr netip.AddrPort) (net.Conn, error) {
	s.mu.Lock()
	s.log = append(s.log, fmt.Sprintf("%v@%v", raddr.Addr(), time.Since(s.start)))
	a := s.answers[raddr.Addr().String()]
	s.dialing++
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.dialing--; s.mu.Unlock() }()
	var timer <-chan time.Time
	if a.after > 0 {
		timer = time.After(a.after)
	}
	done := ctx.Done()
	if a.stubborn {
		done = nil
	}
	select {
	case <-timer:
	case <-done:
		return nil, ctx.Err()
	}
	if a.err != nil {
		return nil, a.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	return &fakeConn{s: s, addr: raddr}, nil
}

const (
	a4, b4 = "192.0.2.1", "192.0.2.2"
	a6, b6 = "2001:db8::1", "2001:db8::2"
)

func TestDialRace(t *testing.T) {
	refused := Syscall(CallConnect, syscall.ECONNREFUSED)
	unreachable := Syscall(CallConnect, syscall.ENETUNREACH)
	ms := time.Millisecond
	for _, tt := range []struct {
		name    string
		addrs   string
		network string // "tcp" if empty
		delay   time.Duration
		timeout time.Duration // of the context; 0: none
		answers map[string]answer
		want    string // address that wins, or the error's text
		after   time.Duration
		log     string
	}{
		{name: "one address", addrs: a4, answers: map[string]answer{a4: {after: 40 * ms}},
			want: a4, after: 40 * ms, log: "192.0.2.1@0s"},
		{name: "the first family wins in time", addrs: a6 + " " + a4,
			answers: map[string]answer{a6: {after: 299 * ms}, a4: {after: ms}},
			want:    a6, after: 299 * ms, log: "2001:db8::1@0s"},
		{name: "the fallback starts after 300 ms and wins", addrs: a6 + " " + a4,
			answers: map[string]answer{a6: {after: time.Hour}, a4: {after: 50 * ms}},
			want:    a4, after: 350 * ms, log: "2001:db8::1@0s 192.0.2.1@300ms"},
		{name: "the first family wins although late", addrs: a6 + " " + a4,
			answers: map[string]answer{a6: {after: 400 * ms}, a4: {after: 200 * ms}},
			want:    a6, after: 400 * ms, log: "2001:db8::1@0s 192.0.2.1@300ms"},
		{name: "IPv4 may lead", addrs: a4 + " " + a6,
			answers: map[string]answer{a6: {after: ms}},
			want:    a6, after: 301 * ms, log: "192.0.2.1@0s 2001:db8::1@300ms"},
		{name: "a failure starts the fallback at once", addrs: a6 + " " + a4,
			answers: map[string]answer{a6: {after: 10 * ms, err: refused}, a4: {after: 10 * ms}},
			want:    a4, after: 20 * ms, log: "2001:db8::1@0s 192.0.2.1@10ms"},
		{name: "all of one family first", addrs: a6 + " " + a4 + " " + b6,
			answers: map[string]answer{a6: {after: 10 * ms, err: refused}, b6: {after: 10 * ms}},
			want:    b6, after: 20 * ms, log: "2001:db8::1@0s 2001:db8::2@10ms"},
		{name: "the first address's error is reported", addrs: a6 + " " + a4 + " " + b6,
			answers: map[string]answer{a6: {after: 10 * ms, err: refused}, b6: {after: 10 * ms, err: unreachable}, a4: {after: ms, err: unreachable}},
			want:    "dial tcp [2001:db8::1]:80: connect: connection refused", after: 21 * ms,
			log: "2001:db8::1@0s 2001:db8::2@10ms 192.0.2.1@20ms"},
		{name: "the fallback fails first", addrs: a6 + " " + a4,
			answers: map[string]answer{a6: {after: 400 * ms, err: refused}, a4: {after: ms, err: unreachable}},
			want:    "dial tcp [2001:db8::1]:80: connect: connection refused", after: 400 * ms,
			log: "2001:db8::1@0s 192.0.2.1@300ms"},
		{name: "a longer delay", addrs: a6 + " " + a4, delay: time.Second,
			answers: map[string]answer{a4: {after: 50 * ms}},
			want:    a4, after: 1050 * ms, log: "2001:db8::1@0s 192.0.2.1@1s"},
		{name: "no race", addrs: a6 + " " + a4, delay: -1,
			answers: map[string]answer{a6: {after: 5 * time.Second, err: refused}, a4: {after: 50 * ms}},
			want:    a4, after: 5050 * ms, log: "2001:db8::1@0s 192.0.2.1@5s"},
		{name: "no race on udp", addrs: a6 + " " + a4, network: "udp",
			answers: map[string]answer{a6: {after: 5 * time.Second}},
			want:    a6, after: 5 * time.Second, log: "2001:db8::1@0s"},
		{name: "tcp4 takes IPv4 alone", addrs: a6 + " " + a4, network: "tcp4",
			answers: map[string]answer{a4: {after: ms}}, want: a4, after: ms, log: "192.0.2.1@0s"},
		{name: "the deadline is shared fairly", addrs: a4 + " " + b4, timeout: 10 * time.Second,
			answers: map[string]answer{b4: {after: ms}},
			want:    b4, after: 5001 * ms, log: "192.0.2.1@0s 192.0.2.2@5s"},
		{name: "but two seconds at least", addrs: a4 + " " + b4, timeout: 3 * time.Second,
			answers: map[string]answer{b4: {after: ms}},
			want:    b4, after: 2001 * ms, log: "192.0.2.1@0s 192.0.2.2@2s"},
		{name: "the deadline ends a race", addrs: a6 + " " + a4, timeout: time.Second,
			want:  "dial tcp [2001:db8::1]:80: i/o timeout",
			after: time.Second, log: "2001:db8::1@0s 192.0.2.1@300ms"},
		{name: "the deadline ends a series", addrs: a4 + " " + b4, timeout: time.Second,
			want:  "dial tcp 192.0.2.2:80: i/o timeout",
			after: time.Second, log: "192.0.2.1@0s"},
		{name: "a late loser is closed", addrs: a6 + " " + a4,
			answers: map[string]answer{a6: {after: 2 * time.Second, stubborn: true}, a4: {after: 50 * ms}},
			want:    a4, after: 350 * ms, log: "2001:db8::1@0s 192.0.2.1@300ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: tt.answers, start: time.Now()}
				d := Dialer{
					DialOne: s.dial, Families: Families{IPv4: true, IPv6: true}, FallbackDelay: tt.delay,
					Lookup: func(context.Context, string, string) ([]netip.Addr, error) {
						var ips []netip.Addr
						for f := range strings.FieldsSeq(tt.addrs) {
							ips = append(ips, netip.MustParseAddr(f))
						}
						return ips, nil
					},
				}
				ctx := context.Background()
				if tt.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				}
				network := tt.network
				if network == "" {
					network = "tcp"
				}
				c, err := d.DialContext(ctx, network, "host.example:80")
				after := time.Since(s.start)
				got := ""
				if err != nil {
					got = err.Error()
				} else {
					got = c.(*fakeConn).addr.Addr().String()
					c.Close()
				}
				if got != tt.want || after != tt.after {
					t.Errorf("got %s after %v, want %s after %v", got, after, tt.want, tt.after)
				}
				time.Sleep(time.Hour) // losers have time to misbehave
				s.mu.Lock()
				defer s.mu.Unlock()
				if log := strings.Join(s.log, " "); log != tt.log {
					t.Errorf("attempts %s, want %s", log, tt.log)
				}
				if s.open != 0 || s.dialing != 0 {
					t.Errorf("%d connections left open, %d dials left running", s.open, s.dialing)
				}
			})
		})
	}
}

func TestDialCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{start: time.Now()}
		d := Dialer{DialOne: s.dial, Families: Families{IPv4: true, IPv6: true},
			Lookup: func(context.Context, string, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr(a6), netip.MustParseAddr(a4)}, nil
			}}
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(700*time.Millisecond, cancel)
		_, err := d.DialContext(ctx, "tcp", "host.example:80")
		if !errors.Is(err, context.Canceled) || err.Error() != "dial tcp [2001:db8::1]:80: operation was canceled" {
			t.Errorf("error %v", err)
		}
		if took := time.Since(s.start); took != 700*time.Millisecond {
			t.Errorf("returned after %v", took)
		}
		synctest.Wait()
		if s.dialing != 0 {
			t.Errorf("%d dials left running", s.dialing)
		}
	})
}

// TestDialFamilies holds what a stack of one version does with the other's
// addresses.
func TestDialFamilies(t *testing.T) {
	var dialed []string
	d := Dialer{Families: Families{IPv4: true},
		DialOne: func(_ context.Context, _ string, _, raddr netip.AddrPort) (net.Conn, error) {
			dialed = append(dialed, raddr.String())
			return &fakeConn{s: new(script), addr: raddr}, nil
		},
		Lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			if host == "six.example" {
				return []netip.Addr{netip.MustParseAddr(a6)}, nil
			}
			return []netip.Addr{netip.MustParseAddr(a6), netip.MustParseAddr("::ffff:192.0.2.1")}, nil
		}}
	for _, tt := range []struct{ address, dialed, err string }{
		{"both.example:80", "192.0.2.1:80", ""},
		{"both.example:https", "192.0.2.1:443", ""},
		{"localhost:80", "127.0.0.1:80", ""},
		{"a.LocalHost.:80", "127.0.0.1:80", ""},
		{":80", "127.0.0.1:80", ""},
		{"0.0.0.0:80", "127.0.0.1:80", ""},
		{"six.example:80", "", "dial tcp: address six.example: no suitable address found"},
		{"[2001:db8::1]:80", "", "dial tcp [2001:db8::1]:80: socket: address family not supported by protocol"},
	} {
		dialed = nil
		_, err := d.DialContext(t.Context(), "tcp", tt.address)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if strings.Join(dialed, " ") != tt.dialed || text != tt.err {
			t.Errorf("%s: dialed %v, error %q, want %q, %q", tt.address, dialed, text, tt.dialed, tt.err)
		}
	}
	d.Lookup = nil
	_, err := d.DialContext(t.Context(), "tcp", "host.example:80")
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("without a lookup: %v", err)
	}
}

func TestResolveListen(t *testing.T) {
	v4, v6, both := Families{IPv4: true}, Families{IPv6: true}, Families{IPv4: true, IPv6: true}
	for _, tt := range []struct {
		network, address string
		stack            Families
		addr             string
		families         Families
	}{
		{"tcp", ":80", both, "[::]:80", both},
		{"tcp", "", both, "[::]:0", both},
		{"tcp", "0.0.0.0:80", both, "[::]:80", both},
		{"tcp", "[::]:80", both, "[::]:80", both},
		{"tcp4", ":80", both, "0.0.0.0:80", v4},
		{"tcp4", "[::]:80", both, "0.0.0.0:80", v4},
		{"tcp6", ":80", both, "[::]:80", v6},
		{"tcp", ":80", v4, "0.0.0.0:80", v4},
		{"tcp", "[::]:http", v4, "0.0.0.0:80", v4},
		{"tcp", ":80", v6, "[::]:80", v6},
		{"tcp", "127.0.0.1:80", both, "127.0.0.1:80", v4},
		{"tcp", "[::ffff:127.0.0.1]:80", both, "127.0.0.1:80", v4},
		{"tcp", "[fe80::1%eth0]:80", both, "[fe80::1%eth0]:80", v6},
		{"tcp", "localhost:80", both, "127.0.0.1:80", v4},
		{"tcp6", "localhost:80", both, "[::1]:80", v6},
		{"tcp", "localhost:80", v6, "[::1]:80", v6},
	} {
		b, err := ResolveListen(t.Context(), tt.network, tt.address, tt.stack, nil)
		if err != nil || b.Addr.String() != tt.addr || b.Families != tt.families {
			t.Errorf("%s %s on %+v: %v %+v, %v", tt.network, tt.address, tt.stack, b.Addr, b.Families, err)
		}
		u, err := ResolveListenPacket(t.Context(), strings.Replace(tt.network, "tcp", "udp", 1), strings.Replace(tt.address, "http", "80", 1), tt.stack, nil)
		if err != nil || u != b {
			t.Errorf("udp differs from %s %s: %+v, %v", tt.network, tt.address, u, err)
		}
	}
	for _, network := range []string{"tcp6", "tcp"} {
		_, err := ResolveListen(t.Context(), network, "[2001:db8::1]:80", v4, nil)
		if !errors.Is(err, syscall.EAFNOSUPPORT) {
			t.Errorf("%s without IPv6: %v", network, err)
		}
	}
	if _, err := ResolveListen(t.Context(), "tcp6", ":80", v4, nil); !errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Errorf("tcp6 without IPv6: %v", err)
	}
}

func TestLookupPort(t *testing.T) {
	for _, tt := range []struct {
		network, service string
		port             uint16
	}{
		{"tcp", "http", 80}, {"tcp4", "HTTPS", 443}, {"udp6", "domain", 53}, {"tcp", "ssh", 22}, {"udp", "ntp", 123},
		{"tcp", "", 0}, {"tcp", "0", 0}, {"tcp", "+80", 80}, {"tcp", "-0", 0}, {"tcp", "00080", 80}, {"tcp", "65535", 65535}, {"tcp", "+", 0},
	} {
		if p, err := LookupPort(tt.network, tt.service); err != nil || p != tt.port {
			t.Errorf("%s %q: %d, %v", tt.network, tt.service, p, err)
		}
	}
	// The table must hold what package net has built in on every platform.
	for service, port := range map[string]uint16{"ftp": 21, "ftps": 990, "gopher": 70, "http": 80, "https": 443, "imap2": 143,
		"imap3": 220, "imaps": 993, "pop3": 110, "pop3s": 995, "smtp": 25, "submissions": 465, "ssh": 22, "telnet": 23} {
		if p, err := LookupPort("tcp", service); err != nil || p != port {
			t.Errorf("tcp %s: %d, %v, want %d", service, p, err, port)
		}
	}
	if _, err := LookupPort("udp", "ssh"); err == nil {
		t.Error("ssh is no udp service")
	}
}
