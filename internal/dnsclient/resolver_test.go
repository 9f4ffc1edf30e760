package dnsclient

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Names are rooted here: the search domains of the machine that runs the test
// are package net's business.

// warmUp makes package net create its global state outside every bubble.
func warmUp(t *testing.T) {
	t.Helper()
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	c.Resolver().LookupNetIP(t.Context(), "ip", "warm-up.invalid.")
}

func TestResolver(t *testing.T) {
	warmUp(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{serve: func(q question, n int) []sent {
			if q.server.Addr() == netip.MustParseAddr("192.0.2.53") {
				return nil // dead
			}
			if q.qtype == dnsmessage.TypeTXT {
				return []sent{{msg: respond(q, q.name+" TXT hello")}}
			}
			if q.name != "host.example." {
				return []sent{{msg: respond(q, ":nxdomain")}}
			}
			if q.network == "udp" {
				return []sent{{msg: respond(q, ":tc")}}
			}
			return records(v4, v6)(q, n)
		}}
		r := newClient(t, f, func(c *Config) {
			twoServers(c)
			c.Hosts = map[string][]netip.Addr{"printer.netduet.example": {netip.MustParseAddr("10.0.0.9")}}
		}).Resolver()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()

		addrs, err := r.LookupNetIP(ctx, "ip", "host.example.")
		if got := show(addrs, err); !strings.Contains(got, "192.0.2.1") || !strings.Contains(got, "2001:db8::1") || len(addrs) != 2 {
			t.Errorf("host.example: %s", got)
		}
		addrs, err = r.LookupNetIP(ctx, "ip4", "printer.netduet.example.")
		if got := show(addrs, err); got != "10.0.0.9" {
			t.Errorf("Config.Hosts: %s", got)
		}
		_, err = r.LookupNetIP(ctx, "ip", "none.example.")
		if got := show(nil, err); !strings.Contains(got, "[notfound]") {
			t.Errorf("none.example: %s", got)
		}
		txt, err := r.LookupTXT(ctx, "printer.netduet.example.")
		if err != nil || len(txt) != 1 || txt[0] != "hello" {
			t.Errorf("TXT beside Config.Hosts: %q, %v", txt, err)
		}
		_, err = r.LookupTXT(ctx, "x.invalid.")
		if got := show(nil, err); !strings.Contains(got, "[notfound]") {
			t.Errorf("x.invalid: %s", got)
		}
		for _, q := range f.log {
			if strings.Contains(q.name, "invalid") || strings.Contains(q.name, "printer") && q.qtype != dnsmessage.TypeTXT {
				t.Errorf("a server heard of %s", q)
			}
		}
		if f.open != 0 {
			t.Errorf("%d connections left open", f.open)
		}
	})
}

func TestResolverFailures(t *testing.T) {
	warmUp(t)
	for name, serve := range map[string]func(question, int) []sent{
		"dead":     func(question, int) []sent { return nil },
		"servfail": records(":servfail", ":servfail"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeNet{serve: serve}
				_, err := newClient(t, f, nil).Resolver().LookupNetIP(t.Context(), "ip4", "host.example.")
				d, ok := err.(*net.DNSError)
				if !ok || d.IsNotFound || !d.Temporary() || d.IsTimeout != (name == "dead") {
					t.Errorf("error %#v", err)
				}
			})
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeNet{serve: func(question, int) []sent { return nil }}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			r := newClient(t, f, nil).Resolver()
			_, err := r.LookupNetIP(ctx, "ip4", "host.example.")
			if err == nil || time.Since(f.start) != time.Second {
				t.Errorf("%v after %v", err, time.Since(f.start))
			}
			synctest.Wait()
			if f.open != 0 {
				t.Errorf("%d connections left open", f.open)
			}
		})
	})
}
