package dnsclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/netduet/netduet/internal/netapi"
)

const (
	v4 = "host.example. A 192.0.2.1"
	v6 = "host.example. AAAA 2001:db8::1"
)

func newClient(t *testing.T, f *fakeNet, change func(*Config)) *Client {
	t.Helper()
	f.start = time.Now()
	cfg := Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:0")}, Dial: f.dial}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func twoServers(cfg *Config) {
	cfg.Servers = append(cfg.Servers, netip.MustParseAddrPort("192.0.2.54:53"))
}

func show(addrs []netip.Addr, err error) string {
	if err != nil {
		s := err.Error()
		var d *net.DNSError
		if errors.As(err, &d) {
			for _, flag := range []struct {
				on   bool
				name string
			}{{d.IsNotFound, "notfound"}, {d.IsTimeout, "timeout"}, {d.IsTemporary, "temporary"}} {
				if flag.on {
					s += " [" + flag.name + "]"
				}
			}
		}
		return s
	}
	return strings.Trim(fmt.Sprint(addrs), "[]")
}

// junk is every kind of message that must not be taken for an answer.
func junk(q question) []sent {
	bad := "host.example. A 203.0.113.66; host.example. AAAA 2001:db8::bad"
	return []sent{
		{msg: respond(q, bad, func(m *dnsmessage.Message) { m.ID ^= 1 })},
		{msg: respond(q, bad, func(m *dnsmessage.Message) { m.Response = false })},
		{msg: respond(q, bad, func(m *dnsmessage.Message) { m.OpCode = 5 })},
		{msg: respond(q, bad, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("other.example.") })},
		{msg: respond(q, bad, func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeMX })},
		{msg: respond(q, bad, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS })},
		{msg: respond(q, bad, func(m *dnsmessage.Message) { m.Questions = nil })},
		{msg: respond(q, bad, func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) })},
		{msg: nil}, {msg: []byte{1}}, {msg: respond(q, bad)[:11]}, {msg: bytes.Repeat([]byte{0xff}, 1232)},
	}
}

func TestLookup(t *testing.T) {
	second := netip.MustParseAddrPort("192.0.2.54:53")
	for _, tt := range []struct {
		name   string
		host   string // host.example if empty
		net    string // ip if empty
		change func(*Config)
		serve  func(q question, n int) []sent
		refuse string
		want   string
		after  time.Duration
		log    string // of the queries, if not empty; A and AAAA run side by side, so it is sorted
	}{
		{name: "both families side by side", serve: func(q question, _ int) []sent {
			return []sent{{30 * time.Millisecond, records(v4, v6)(q, 0)[0].msg}}
		}, want: "192.0.2.1 2001:db8::1", after: 30 * time.Millisecond,
			log: "0s udp 192.0.2.53 A host.example. | 0s udp 192.0.2.53 AAAA host.example."},
		{name: "ip4", net: "ip4", serve: records(v4, v6), want: "192.0.2.1", log: "0s udp 192.0.2.53 A host.example."},
		{name: "ip6", net: "ip6", serve: records(v4, v6), want: "2001:db8::1", log: "0s udp 192.0.2.53 AAAA host.example."},
		{name: "a stack of one family asks for no other", change: func(c *Config) { c.Families.IPv4 = true }, serve: records(v4, v6),
			want: "192.0.2.1", log: "0s udp 192.0.2.53 A host.example."},
		{name: "and has none", net: "ip6", change: func(c *Config) { c.Families.IPv4 = true }, serve: records(v4, v6),
			want: "lookup host.example: no such host [notfound]"},
		{name: "one family is enough", serve: records("", v6), want: "2001:db8::1"},
		{name: "one family is enough although the other fails", serve: records(":servfail", v6), want: "2001:db8::1"},
		{name: "upper case, and a server that keeps it", host: "HOST.Example", serve: records(v4, v6), want: "192.0.2.1 2001:db8::1"},
		{name: "Sort", change: func(c *Config) { c.Sort = slices.Reverse[[]netip.Addr] }, serve: records(v4, v6), want: "2001:db8::1 192.0.2.1"},

		{name: "lost query", net: "ip4", serve: func(q question, n int) []sent {
			if n == 0 {
				return nil
			}
			return records(v4, v6)(q, n)
		}, want: "192.0.2.1", after: 5 * time.Second, log: "0s udp 192.0.2.53 A host.example. | 5s udp 192.0.2.53 A host.example."},
		{name: "dead server", net: "ip4", change: twoServers, serve: func(q question, n int) []sent {
			if q.server != second {
				return nil
			}
			return records(v4, v6)(q, n)
		}, want: "192.0.2.1", after: 5 * time.Second, log: "0s udp 192.0.2.53 A host.example. | 5s udp 192.0.2.54 A host.example."},
		{name: "all dead", change: twoServers, serve: func(question, int) []sent { return nil },
			want: "lookup host.example on 192.0.2.54:53: read udp 192.0.2.54:53: i/o timeout [timeout] [temporary]", after: 20 * time.Second},
		{name: "timeout and attempts", net: "ip4", change: func(c *Config) { c.Timeout, c.Attempts = time.Second, 3 }, serve: func(question, int) []sent { return nil },
			want: "lookup host.example on 192.0.2.53:53: read udp 192.0.2.53:53: i/o timeout [timeout] [temporary]", after: 3 * time.Second},
		{name: "an answer that comes after its timeout is not taken", net: "ip4", serve: func(q question, n int) []sent {
			return []sent{{5001 * time.Millisecond, respond(q, v4)}}
		}, want: "lookup host.example on 192.0.2.53:53: read udp 192.0.2.53:53: i/o timeout [timeout] [temporary]", after: 10 * time.Second},

		{name: "no such name", change: twoServers, serve: records(":nxdomain", ":nxdomain"), want: "lookup host.example on 192.0.2.53:53: no such host [notfound]",
			log: "0s udp 192.0.2.53 A host.example. | 0s udp 192.0.2.53 AAAA host.example."},
		{name: "no addresses", serve: records("", "host.example. TXT x"), want: "lookup host.example on 192.0.2.53:53: no such host [notfound]"},
		{name: "absence does not hide a failure", serve: records("", ":servfail"), want: "lookup host.example on 192.0.2.53:53: server misbehaving [temporary]"},
		{name: "server failure", net: "ip4", change: twoServers, serve: records(":servfail", ""),
			want: "lookup host.example on 192.0.2.54:53: server misbehaving [temporary]",
			log:  "0s udp 192.0.2.53 A host.example. | 0s udp 192.0.2.53 A host.example. | 0s udp 192.0.2.54 A host.example. | 0s udp 192.0.2.54 A host.example."},
		{name: "the next server knows", net: "ip4", change: twoServers, serve: func(q question, n int) []sent {
			if q.server == second {
				return records(v4, "")(q, n)
			}
			return records(":servfail", "")(q, n)
		}, want: "192.0.2.1"},
		{name: "refused", net: "ip4", serve: records(":refused", ""), want: "lookup host.example on 192.0.2.53:53: server misbehaving"},
		{name: "extended code", net: "ip4", serve: records(":badvers", ""), want: "lookup host.example on 192.0.2.53:53: server misbehaving"},
		{name: "lame", net: "ip4", serve: records(":lame", ""), want: "lookup host.example on 192.0.2.53:53: lame referral"},
		{name: "before EDNS0", net: "ip4", serve: func(q question, _ int) []sent {
			if q.edns {
				return []sent{{msg: respond(q, ":formerr")}}
			}
			return []sent{{msg: respond(q, v4)}}
		}, want: "192.0.2.1"},
		{name: "dial fails", net: "ip4", refuse: "udp", want: "lookup host.example on 192.0.2.53:53: dial udp 192.0.2.53:53: connect: io: read/write on closed pipe [temporary]"},

		{name: "junk first", serve: func(q question, n int) []sent {
			return append(junk(q), records(v4, v6)(q, n)...)
		}, want: "192.0.2.1 2001:db8::1"},
		{name: "junk alone", net: "ip4", serve: func(q question, _ int) []sent { return junk(q) },
			want: "lookup host.example on 192.0.2.53:53: read udp 192.0.2.53:53: i/o timeout [timeout] [temporary]", after: 10 * time.Second},
		{name: "guessing is answered with TCP", net: "ip4", serve: func(q question, n int) []sent {
			if q.network == "tcp" {
				return records(v4, v6)(q, n)
			}
			var out []sent
			for range 8 {
				out = append(out, junk(q)...)
			}
			return out
		}, want: "192.0.2.1", log: "0s tcp 192.0.2.53 A host.example. | 0s udp 192.0.2.53 A host.example."},
		{name: "a TCP server that answers something else", net: "ip4", serve: func(q question, n int) []sent {
			if q.network == "udp" {
				return []sent{{msg: respond(q, ":tc")}}
			}
			return []sent{{msg: respond(q, v4, func(m *dnsmessage.Message) { m.ID++ })}}
		}, want: "lookup host.example on 192.0.2.53:53: invalid DNS response"},
		{name: "truncated", net: "ip4", serve: func(q question, n int) []sent {
			if q.network == "udp" {
				return []sent{{msg: respond(q, ":tc;host.example. A 203.0.113.1")}}
			}
			var many []string
			for i := range 200 {
				many = append(many, fmt.Sprintf("host.example. A 198.51.100.%d", i))
			}
			return []sent{{msg: respond(q, strings.Join(many, ";"))}}
		}, want: "198.51.100.0 .. 198.51.100.199 (200)", log: "0s tcp 192.0.2.53 A host.example. | 0s udp 192.0.2.53 A host.example."},
		{name: "truncated, and no TCP", net: "ip4", refuse: "tcp", serve: func(q question, n int) []sent { return []sent{{msg: respond(q, ":tc")}} },
			want: "lookup host.example on 192.0.2.53:53: dial tcp 192.0.2.53:53: connect: io: read/write on closed pipe [temporary]"},
		{name: "TCP server closes", net: "ip4", serve: func(q question, n int) []sent {
			if q.network == "udp" {
				return []sent{{msg: respond(q, ":tc")}}
			}
			return []sent{{msg: nil}}
		}, want: "lookup host.example on 192.0.2.53:53: invalid DNS response"},

		{name: "aliases", net: "ip4", serve: records("host.example. CNAME a.example.; A.EXAMPLE. CNAME b.example.; b.example. A 192.0.2.7; b.example. A 192.0.2.8; b.example. A 192.0.2.7", ""),
			want: "192.0.2.7 192.0.2.8"},
		{name: "aliases out of order", net: "ip4", serve: records("b.example. A 192.0.2.7; a.example. CNAME b.example.; host.example. CNAME a.example.", ""), want: "192.0.2.7"},
		{name: "an alias that ends nowhere", net: "ip4", serve: records("host.example. CNAME a.example.", ""), want: "lookup host.example on 192.0.2.53:53: no such host [notfound]"},
		{name: "aliases in a loop", net: "ip4", serve: records("host.example. CNAME a.example.; a.example. CNAME host.example.; b.example. A 192.0.2.7", ""),
			want: "lookup host.example on 192.0.2.53:53: no such host [notfound]"},
		{name: "addresses of other names", net: "ip4", serve: records("evil.example. A 203.0.113.66; host.example. A 192.0.2.1; bank.example. A 203.0.113.66", ""), want: "192.0.2.1"},
		{name: "the other type", net: "ip4", serve: records("host.example. AAAA 2001:db8::1; host.example. A 192.0.2.1", ""), want: "192.0.2.1"},
		{name: "IPv4 in disguise", net: "ip6", serve: records("", "host.example. AAAA ::ffff:127.0.0.1; host.example. AAAA 2001:db8::1"), want: "2001:db8::1"},

		{name: "search, no dot", host: "host", change: func(c *Config) { c.Search = []string{"a.example", "example."} },
			serve: func(q question, n int) []sent {
				if q.name == "host.example." {
					return records(v4, v6)(q, n)
				}
				return []sent{{msg: respond(q, ":nxdomain")}}
			}, want: "192.0.2.1 2001:db8::1"},
		{name: "search, dots", host: "a.b", net: "ip4", change: func(c *Config) { c.Search = []string{"example"} }, serve: records(":nxdomain", ""),
			want: "lookup a.b on 192.0.2.53:53: no such host [notfound]", log: "0s udp 192.0.2.53 A a.b. | 0s udp 192.0.2.53 A a.b.example."},
		{name: "rooted: no search", host: "host.", net: "ip4", change: func(c *Config) { c.Search = []string{"example"} }, serve: records(":nxdomain", ""),
			want: "lookup host. on 192.0.2.53:53: no such host [notfound]", log: "0s udp 192.0.2.53 A host."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeNet{serve: tt.serve, refuse: tt.refuse}
				c := newClient(t, f, tt.change)
				host, network := tt.host, tt.net
				if host == "" {
					host = "host.example"
				}
				if network == "" {
					network = "ip"
				}
				addrs, err := c.LookupNetIP(t.Context(), network, host)
				after := time.Since(f.start)
				got := show(addrs, err)
				if len(addrs) > 10 {
					got = fmt.Sprintf("%v .. %v (%d)", addrs[0], addrs[len(addrs)-1], len(addrs))
				}
				if got != tt.want || after != tt.after {
					t.Errorf("got  %s after %v\nwant %s after %v", got, after, tt.want, tt.after)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if f.open != 0 {
					t.Errorf("%d connections left open", f.open)
				}
				var log []string
				for _, q := range f.log {
					log = append(log, q.String())
				}
				slices.Sort(log)
				if l := strings.Join(log, " | "); tt.log != "" && l != tt.log {
					t.Errorf("queries %s\nwant    %s", l, tt.log)
				}
			})
		})
	}
}

// TestLocalNames holds the names that no server may hear of.
func TestLocalNames(t *testing.T) {
	f := &fakeNet{serve: func(q question, _ int) []sent { panic("asked for " + q.name) }}
	change := func(c *Config) {
		c.Hosts = map[string][]netip.Addr{
			"Printer.Lan.": {netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("::ffff:10.0.0.8"), netip.MustParseAddr("fd00::9")},
			"empty":        nil,
		}
	}
	long := strings.Repeat("a.", 127)
	for _, tt := range []struct{ network, host, want string }{
		{"ip", "192.0.2.1", "192.0.2.1"}, {"ip", "::1", "::1"}, {"ip6", "fe80::1%eth0", "fe80::1%eth0"}, {"ip", "::ffff:192.0.2.1", "192.0.2.1"},
		{"ip4", "::1", "address ::1: no suitable address found"}, {"ip6", "192.0.2.1", "address 192.0.2.1: no suitable address found"},
		{"ip", "localhost", "127.0.0.1 ::1"}, {"ip4", "LOCALHOST.", "127.0.0.1"}, {"ip6", "x.localhost", "::1"},
		{"ip", "printer.lan", "10.0.0.9 10.0.0.8 fd00::9"}, {"ip4", "PRINTER.lan.", "10.0.0.9 10.0.0.8"}, {"ip6", "printer.lan", "fd00::9"},
		{"ip", "empty", "lookup empty: no such host [notfound]"},
		{"ip", "x.onion", "lookup x.onion: no such host [notfound]"}, {"ip", "x.Invalid.", "lookup x.Invalid.: no such host [notfound]"},
		{"ip", "", "lookup : no such host [notfound]"}, {"ip", "a..b", "lookup a..b: no such host [notfound]"},
		{"ip", "-a.b", "lookup -a.b: no such host [notfound]"}, {"ip", "a-.b", "lookup a-.b: no such host [notfound]"},
		{"ip", "a b", "lookup a b: no such host [notfound]"}, {"ip", "1.2.3.4.5", "lookup 1.2.3.4.5: no such host [notfound]"},
		{"ip", "ä.example", "lookup ä.example: no such host [notfound]"}, {"ip", ".a", "lookup .a: no such host [notfound]"},
		{"ip", long + "a", "lookup " + long + "a: no such host [notfound]"},
		{"ip", strings.Repeat("a", 64) + ".b", "lookup " + strings.Repeat("a", 64) + ".b: no such host [notfound]"},
		{"tcp", "host.example", "unknown network tcp"}, {"", "host.example", "unknown network "},
	} {
		if got := show(newClient(t, f, change).LookupNetIP(t.Context(), tt.network, tt.host)); got != tt.want {
			t.Errorf("%s %q: %s, want %s", tt.network, tt.host, got, tt.want)
		}
	}
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := show(c.LookupNetIP(t.Context(), "ip", "host.example")); got != "lookup host.example: no such host (no DNS server is configured) [notfound]" {
		t.Errorf("without servers: %s", got)
	}
}

func TestContext(t *testing.T) {
	for _, end := range []string{"deadline", "cancel", "before"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeNet{serve: func(question, int) []sent { return nil }}
				c := newClient(t, f, twoServers)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				want, after, is := "lookup host.example: operation was canceled", 1700*time.Millisecond, context.Canceled
				switch end {
				case "deadline":
					ctx, cancel = context.WithTimeout(ctx, after)
					defer cancel()
					want, is = "lookup host.example: i/o timeout [timeout] [temporary]", context.DeadlineExceeded
				case "cancel":
					time.AfterFunc(after, cancel)
				case "before":
					cancel()
					after = 0
				}
				_, err := c.LookupNetIP(ctx, "ip", "host.example")
				if got, took := show(nil, err), time.Since(f.start); got != want || took != after || !errors.Is(err, is) {
					t.Errorf("got %s after %v, want %s after %v", got, took, want, after)
				}
				if f.open != 0 {
					t.Errorf("%d connections left open", f.open)
				}
			})
		})
	}
}

// TestIdentifiers holds that every exchange has an identifier of its own, from
// the configured source.
func TestIdentifiers(t *testing.T) {
	seed := [32]byte{1}
	f := &fakeNet{serve: func(q question, _ int) []sent { return []sent{{msg: respond(q, ":servfail")}} }}
	c := newClient(t, f, func(c *Config) { c.Attempts, c.Rand = 50, rand.NewChaCha8(seed) })
	c.LookupNetIP(t.Context(), "ip4", "host.example")
	var want [2]byte
	r := rand.NewChaCha8(seed)
	for i, q := range f.log {
		r.Read(want[:])
		if q.id != uint16(want[0])<<8|uint16(want[1]) {
			t.Fatalf("query %d has identifier %#04x, not the source's", i, q.id)
		}
		if !q.edns {
			t.Fatalf("query %d is without EDNS0", i)
		}
	}
	if len(f.log) != 50 {
		t.Errorf("%d queries", len(f.log))
	}
	c = newClient(t, f, func(c *Config) { c.Rand = strings.NewReader("") })
	if _, err := c.LookupNetIP(t.Context(), "ip4", "host.example"); err == nil || f.open != 0 {
		t.Errorf("without randomness: %v, %d connections open", err, f.open)
	}
}

func TestNew(t *testing.T) {
	server := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}
	dial := (&fakeNet{}).dial
	for name, cfg := range map[string]Config{
		"no dial":     {Servers: server},
		"unspecified": {Servers: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:53")}, Dial: dial},
		"invalid":     {Servers: []netip.AddrPort{{}}, Dial: dial},
		"multicast":   {Servers: []netip.AddrPort{netip.MustParseAddrPort("224.0.0.251:53")}, Dial: dial},
		"host":        {Hosts: map[string][]netip.Addr{"a b": nil}},
		"host addr":   {Hosts: map[string][]netip.Addr{"a": {{}}}},
		"search":      {Search: []string{"."}},
		"negative":    {Attempts: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestDialer joins the client with the dialer, as an engine does.
func TestDialer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{serve: records(":nxdomain", ":nxdomain")}
		d := netapi.Dialer{Families: netapi.Families{IPv4: true}, Lookup: newClient(t, f, nil).LookupNetIP}
		_, err := d.DialContext(t.Context(), "tcp", "host.example:80")
		if got := show(nil, err); got != "dial tcp: lookup host.example on 192.0.2.53:53: no such host [notfound]" {
			t.Error(got)
		}
	})
}
