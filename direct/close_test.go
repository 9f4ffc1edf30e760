package direct

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// TestAnnouncement looks for the gratuitous ARP that a stack begins with.
func TestAnnouncement(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		start := time.Now()
		var at []time.Duration
		for range 5 {
			synctest.Wait()
			for _, f := range p.take() {
				h, rest, err := ethernet.Parse(f)
				if err != nil || h.Type != ethernet.TypeARP || !h.Dst.IsBroadcast() {
					t.Fatalf("% x: %v", f, err)
				}
				if q, err := arp.Parse(rest); err != nil || !q.IsAnnouncement() || q.SenderIP != addrA || q.SenderHW != p.mac {
					t.Fatalf("%+v: %v", q, err)
				}
				at = append(at, time.Since(start))
			}
			time.Sleep(time.Second)
		}
		if len(at) != 2 || at[0] != 0 || at[1] != 2*time.Second {
			t.Errorf("announced after %v, want 0 and 2 s", at)
		}
	})
}

// TestCloseTimeout has a peer that never acknowledges.
func TestCloseTimeout(t *testing.T) {
	for _, c := range []struct {
		timeout, want time.Duration
	}{{0, DefaultCloseTimeout}, {10 * time.Second, 10 * time.Second}, {-1, 0}} {
		bubble(t, c.timeout.String(), func(t *testing.T) {
			s, p := newRaw(t, nil, func(cfg *Config) { cfg.CloseTimeout = c.timeout })
			conn := connectRaw(t, s, p)
			conn.Write([]byte("never acknowledged"))
			conn.Close()
			other := connectRaw(t, s, p)
			start := time.Now()
			go func() { s.Close() }()
			synctest.Wait()
			reset, end := false, false
			note := func(segs []rawSegment) {
				for _, seg := range segs {
					if seg.SrcPort == conn.port && seg.Flags.Has(tcp.RST) {
						end = true
					}
				}
			}
			segs := p.segments()
			note(segs)
			for _, seg := range segs {
				if seg.SrcPort == other.port && seg.Flags.Has(tcp.RST) {
					reset = true
				}
			}
			if !reset {
				t.Error("the connection that the application still holds was not reset at once")
			}
			if err := s.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("second Close: %v", err)
			}
			if d := time.Since(start); d < c.want || d > c.want+closeGrace {
				t.Errorf("Close took %v, want %v", d, c.want)
			}
			if note(p.segments()); !end {
				t.Error("what could not be delivered was not reset")
			}
			if n := s.mem.used.Load(); n != 0 {
				t.Errorf("%d bytes are still accounted for", n)
			}
		})
	}
}

// TestNothingLeft runs everything a stack has in real time and counts goroutines
// and memory afterwards.
func TestNothingLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	p := newPair(t, netif.WireConfig{})
	l := echoServer(t, p.b, ":7")
	u, err := p.b.ListenPacket(background, "udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, u.(*UDPConn))
	waiting, err := p.a.Listen(background, "tcp", ":8")
	if err != nil {
		t.Fatal(err)
	}
	go waiting.Accept()
	for range 20 {
		c, err := p.a.DialContext(background, "tcp", "10.0.0.2:7")
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, c)
		c.Write(bytes.Repeat([]byte("x"), 10000))
		// Half of them are closed, the others are the stack's to reset.
		if len(c.LocalAddr().String())%2 == 0 {
			c.Close()
		}
		go p.a.Dial(background, "tcp", netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.99:1"))
	}
	_ = l
	p.close(t)
	// Goroutines of ours that wait for a connection end by themselves, and so do those
	// that are in the middle of a Write: what they lend to the device is accounted for
	// until then.
	deadline := time.Now().Add(time.Minute)
	for _, s := range []*Stack{p.a, p.b} {
		for s.mem.used.Load() != 0 && time.Now().Before(deadline) {
			runtime.Gosched()
		}
		if n := s.mem.used.Load(); n != 0 {
			t.Errorf("%d bytes are still accounted for", n)
		}
	}
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		b := make([]byte, 1<<20)
		b = b[:runtime.Stack(b, true)]
		var ours []string
		for g := range strings.SplitSeq(string(b), "\n\n") {
			if strings.Contains(g, "netduet/direct.") {
				ours = append(ours, g)
			}
		}
		t.Errorf("%d goroutines, %d before:\n%s", n, before, strings.Join(ours, "\n\n"))
	}
}
