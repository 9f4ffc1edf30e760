package direct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

var fastServerAddr = netip.AddrPortFrom(addrB, 7)

// farPair is a pair whose wire is a path in both directions.
func farPair(t *testing.T, wire netif.WireConfig, path netif.Impairment) pair {
	t.Helper()
	a, b, err := netif.NewWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]netif.Device
	for i, dev := range []netif.Device{a, b} {
		if ends[i], err = netif.Impair(dev, path); err != nil {
			t.Fatal(err)
		}
		path.Seed += 1000
	}
	return pair{newStack(t, ends[0], "10.0.0.1/24", nil), newStack(t, ends[1], "10.0.0.2/24", nil)}
}

// fastListener listens at b's port 7 with Fast Open.
func fastListener(t *testing.T, s *Stack, queue int) *TCPListener {
	t.Helper()
	l, err := s.ListenTCP("tcp", netip.AddrPortFrom(netip.IPv4Unspecified(), 7))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_FASTOPEN, linuxopt.Int(queue)); err != nil {
		t.Fatal(err)
	}
	return l
}

// fastAsk is a client that says something with its SYN, if it may, and returns how much of
// it that took and the socket.
func fastAsk(t *testing.T, s *Stack, what []byte) (*Socket, int) {
	t.Helper()
	k := mustSocket(t, s, "tcp")
	n, err := k.WriteFastOpen(what, fastServerAddr)
	if err != nil && err != syscall.EINPROGRESS {
		t.Fatal(err)
	}
	return k, n
}

func readSome(t *testing.T, c io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFastOpenPair: the first connection brings a cookie, the second carries data on its
// SYN, and its answer comes after one round trip.
func TestFastOpenPair(t *testing.T) {
	for name, wire := range wires() {
		bubble(t, name, func(t *testing.T) {
			p := farPair(t, wire, netif.Impairment{Delay: 50 * time.Millisecond})
			defer p.close(t)
			l := fastListener(t, p.b, 16)
			defer l.Close()
			go func() {
				for {
					c, err := l.AcceptTCP()
					if err != nil {
						return
					}
					go func() { defer c.Close(); io.Copy(c, c) }()
				}
			}()
			ask := bytes.Repeat([]byte("fast open "), 300)
			for i, rounds := range []time.Duration{2, 1, 1} {
				start := time.Now()
				k, n := fastAsk(t, p.a, ask[:1000])
				c := k.Conn()
				if (n == 1000) != (i > 0) {
					t.Fatalf("connection %d: %d bytes on the SYN", i, n)
				}
				if _, err := c.Write(ask[n:]); err != nil {
					t.Fatal(err)
				}
				if got := readSome(t, c, 1000); !bytes.Equal(got, ask[:1000]) {
					t.Fatal("the echo differs")
				}
				if d, want := time.Since(start), rounds*100*time.Millisecond; i > 0 && (d < want || d > want+20*time.Millisecond) {
					t.Errorf("connection %d: the answer took %v, want %v", i, d, want)
				}
				if got := readSome(t, c, len(ask)-1000); !bytes.Equal(got, ask[1000:]) {
					t.Fatal("the rest of the echo differs")
				}
				c.Close()
				time.Sleep(time.Second)
			}
			a, b := p.a.Stats().TCP.FastOpen, p.b.Stats().TCP.FastOpen
			if a.Active != 2 || a.ActiveFailed != 0 || a.Cookies != 1 || b.CookieRequests != 1 || b.Accepted != 2 || b.Refused != 0 || b.Pending != 0 {
				t.Errorf("%+v %+v", a, b)
			}
		})
	}
}

// TestDialFastOpen: the same in one call, which keeps to its context and its network.
func TestDialFastOpen(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := farPair(t, netif.WireConfig{}, netif.Impairment{Delay: 50 * time.Millisecond})
		defer p.close(t)
		l := fastListener(t, p.b, 16)
		defer l.Close()
		go func() {
			for {
				c, err := l.AcceptTCP()
				if err != nil {
					return
				}
				go func() { defer c.Close(); io.Copy(c, c) }()
			}
		}()
		ask := bytes.Repeat([]byte("fast open "), 500)
		for i := range 3 {
			start := time.Now()
			c, err := p.a.DialFastOpen(background, "tcp", netip.AddrPort{}, fastServerAddr, ask)
			if err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); i > 0 && (d < 100*time.Millisecond || d > 120*time.Millisecond) {
				t.Errorf("connection %d took %v", i, d)
			}
			if got := readSome(t, c, len(ask)); !bytes.Equal(got, ask) {
				t.Fatal("the echo differs")
			}
			c.Close()
			time.Sleep(time.Second)
		}
		if f := p.a.Stats().TCP.FastOpen; f.Active != 2 {
			t.Errorf("%+v", f)
		}
		if _, err := p.a.DialFastOpen(background, "udp", netip.AddrPort{}, fastServerAddr, ask); err == nil {
			t.Error("UDP has a Fast Open")
		}
		if _, err := p.a.DialFastOpen(background, "tcp", netip.AddrPort{}, netip.AddrPortFrom(addrB, 8), ask); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		silent, err := p.b.ListenTCP("tcp", netip.AddrPortFrom(addrB, 9))
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		ctx, cancel := context.WithTimeout(background, 2*time.Second)
		defer cancel()
		if _, err := p.a.DialFastOpen(ctx, "tcp", netip.AddrPort{}, netip.AddrPortFrom(addrB, 9), make([]byte, 32<<20)); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nobody reads: %v", err)
		}
		cfg := *p.a.tcp.Load()
		cfg.FastOpen.NoClient = true
		p.a.SetTCP(cfg)
		c, err := p.a.DialFastOpen(background, "tcp", netip.AddrPort{}, fastServerAddr, ask)
		if err != nil {
			t.Fatal(err)
		}
		if got := readSome(t, c, len(ask)); !bytes.Equal(got, ask) {
			t.Fatal("without Fast Open the echo differs")
		}
		c.Close()
		if f := p.a.Stats().TCP.FastOpen; f.Active != 2 {
			t.Errorf("%+v", f)
		}
	})
}

// TestFastOpenForgetfulServer: a server with another key than before refuses the cookie,
// gives a new one, and gets the data once.
func TestFastOpenForgetfulServer(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := farPair(t, netif.WireConfig{}, netif.Impairment{Delay: 10 * time.Millisecond})
		defer p.close(t)
		l := fastListener(t, p.b, 16)
		defer l.Close()
		for i := range 4 {
			if i == 2 {
				cfg := *p.b.tcp.Load()
				cfg.FastOpen.Keys = []tcp.FastOpenKey{{1}}
				p.b.SetTCP(cfg)
			}
			if i == 3 { // the key before is still good
				cfg := *p.b.tcp.Load()
				cfg.FastOpen.Keys = []tcp.FastOpenKey{{2}, {1}}
				p.b.SetTCP(cfg)
			}
			k, n := fastAsk(t, p.a, []byte("hello"))
			k.Conn().Write([]byte("hello")[n:])
			c, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			k.Conn().(*TCPConn).CloseWrite()
			if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
				t.Fatalf("connection %d: the server got %q, %v", i, got, err)
			}
			c.Close()
			k.Close()
			time.Sleep(time.Second)
		}
		a, b := p.a.Stats().TCP.FastOpen, p.b.Stats().TCP.FastOpen
		if a.Active != 2 || a.ActiveFailed != 1 || b.Accepted != 2 || b.Refused != 1 || b.AcceptedOldKey != 1 {
			t.Errorf("%+v %+v", a, b)
		}
	})
}

// TestFastOpenLossy: whatever is lost, each byte arrives once and in order, and nothing is
// left pending.
func TestFastOpenLossy(t *testing.T) {
	for seed := range uint64(20) {
		bubble(t, fmt.Sprint(seed), func(t *testing.T) {
			p := farPair(t, netif.WireConfig{}, netif.Impairment{
				Seed: seed, Delay: 5 * time.Millisecond, Loss: 0.25, Duplicate: 0.1, Reorder: 0.1, ReorderDelay: 3 * time.Millisecond,
			})
			defer p.close(t)
			l := fastListener(t, p.b, 100)
			defer l.Close()
			got := make(chan []byte, 100)
			go func() {
				for {
					c, err := l.AcceptTCP()
					if err != nil {
						return
					}
					go func() {
						all, _ := io.ReadAll(c)
						c.Close()
						got <- all
					}()
				}
			}()
			for i := range 10 {
				want := bytes.Repeat([]byte{byte(i + 1)}, 3000)
				k, n := fastAsk(t, p.a, want)
				c := k.Conn()
				if _, err := c.Write(want[n:]); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				k.Conn().(*TCPConn).CloseWrite()
				c.SetReadDeadline(time.Now().Add(time.Hour)) // eight losses in a row take minutes
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Fatalf("seed %d: connection %d: %v", seed, i, err)
				}
				c.Close()
				for all := range got {
					if len(all) == 0 {
						continue // a SYN that came late, after everything was over
					}
					if !bytes.Equal(all, want) {
						t.Fatalf("seed %d: connection %d: %d bytes, the first %d", seed, i, len(all), all[0])
					}
					break
				}
			}
			time.Sleep(5 * time.Minute)
			if b := p.b.Stats().TCP.FastOpen; b.Pending != 0 {
				t.Errorf("seed %d: %+v", seed, b)
			}
		})
	}
}

// fastSYN sends a SYN with a Fast Open option from an address and port.
func (p *rawPeer) fastSYN(from netip.AddrPort, seq tcp.Seq, cookie, data []byte) {
	r := tcp.Reply{Seq: seq, Flags: tcp.SYN, Window: 1000}
	b := r.Append(nil, from.Port(), 7)
	b = append(b, 34, byte(2+len(cookie)))
	b = append(b, cookie...)
	for len(b)%4 != 0 {
		b = append(b, 1)
	}
	b[12] = byte(len(b)/4) << 4
	b = append(b, data...)
	sum := checksum.Sum(b, checksum.PseudoHeader(from.Addr(), addrA, ipv4.ProtocolTCP, len(b))).Checksum()
	b[16], b[17] = byte(sum>>8), byte(sum)
	p.ip(ipv4.Header{Protocol: ipv4.ProtocolTCP, Src: from.Addr()}, b)
	synctest.Wait()
}

func (p *rawPeer) meet() {
	p.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: p.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
	synctest.Wait()
	p.take()
}

// TestFastOpenFlood: whoever has one cookie gets no more connections than the queue holds,
// and the rest are records; guessed cookies open none; what is reset counts on.
func TestFastOpenFlood(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		l := fastListener(t, s, 10)
		defer l.Close()
		p.meet()
		good := s.fastKey[0].Cookie(addrA, addrB)
		for i := range 500 {
			p.fastSYN(netip.AddrPortFrom(addrB, uint16(1000+i)), 1, good.Bytes(), []byte("data"))
			p.take()
		}
		st := s.Stats().TCP
		if f := st.FastOpen; f.Accepted != 10 || f.Pending != 10 || f.QueueFull != 490 || st.HalfOpen != 490 || st.Connections != 10 {
			t.Fatalf("%+v", st)
		}
		// Resets free no place for a minute.
		for i := range 10 {
			p.tcp(uint16(1000+i), 7, tcp.Reply{Seq: 6, Flags: tcp.RST}, nil)
		}
		synctest.Wait()
		for i := range 100 {
			p.fastSYN(netip.AddrPortFrom(addrB, uint16(3000+i)), 1, good.Bytes(), []byte("data"))
			p.take()
		}
		if f := s.Stats().TCP.FastOpen; f.Accepted != 10 || f.Pending != 0 {
			t.Fatalf("%+v", f)
		}
		time.Sleep(fastResetCounts + time.Second)
		synctest.Wait()
		p.take()
		p.fastSYN(netip.AddrPortFrom(addrB, 5000), 1, good.Bytes(), []byte("data"))
		if f := s.Stats().TCP.FastOpen; f.Accepted != 11 || f.Pending != 1 {
			t.Fatalf("%+v", f)
		}
		// Somebody else's address, and guesses.
		before := s.Stats().TCP.FastOpen.Accepted
		p.fastSYN(netip.MustParseAddrPort("10.0.0.3:1000"), 1, good.Bytes(), []byte("data"))
		guess := append([]byte(nil), good.Bytes()...)
		for i := range guess {
			guess[i] ^= 1
			p.fastSYN(netip.AddrPortFrom(addrB, uint16(6000+i)), 1, guess, []byte("data"))
			guess[i] ^= 1
		}
		p.fastSYN(netip.AddrPortFrom(addrB, 6100), 1, good.Bytes()[:6], []byte("data"))
		if f := s.Stats().TCP.FastOpen; f.Accepted != before || f.Refused != 10 {
			t.Fatalf("%+v", f)
		}
		// Nobody confirms: all is forgotten.
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if st := s.Stats().TCP; st.FastOpen.Pending != 0 || st.HalfOpen != 0 {
			t.Fatalf("%+v", st)
		}
		s.fast.mu.Lock()
		defer s.fast.mu.Unlock()
		if len(s.fast.pending) != 0 {
			t.Errorf("%d connections are still known as pending", len(s.fast.pending))
		}
	})
}

// TestFastOpenReplay: the same SYN again is one connection, with its data once, as long as
// the connection or its record is there.
func TestFastOpenReplay(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		l := fastListener(t, s, 10)
		defer l.Close()
		p.meet()
		good := s.fastKey[0].Cookie(addrA, addrB)
		var iss tcp.Seq
		for i := range 20 {
			p.fastSYN(netip.AddrPortFrom(addrB, 1000), 1, good.Bytes(), []byte("once"))
			for _, seg := range p.segments() {
				if iss = seg.Seq; seg.Flags != tcp.SYN|tcp.ACK || seg.Ack != 6 {
					t.Fatalf("SYN %d: %+v", i, seg.Segment)
				}
			}
		}
		c, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		p.tcp(1000, 7, tcp.Reply{Seq: 6, Ack: iss.Add(1), Flags: tcp.ACK | tcp.FIN, Window: 1000}, nil)
		p.fastSYN(netip.AddrPortFrom(addrB, 1000), 1, good.Bytes(), []byte("once"))
		if got, err := io.ReadAll(c); string(got) != "once" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if f := s.Stats().TCP.FastOpen; f.Accepted != 1 || f.Pending != 0 {
			t.Fatalf("%+v", f)
		}
		c.Close()
	})
}

// TestFastOpenTimeWait: a SYN with a good cookie takes the place of a connection in
// TIME-WAIT as any other does, with its data, and with higher numbers of ours.
func TestFastOpenTimeWait(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		l := fastListener(t, s, 10)
		defer l.Close()
		p.meet()
		good := s.fastKey[0].Cookie(addrA, addrB)
		seq, last := tcp.Seq(1), tcp.Seq(0)
		for i := range 3 {
			p.fastSYN(netip.AddrPortFrom(addrB, 1000), seq, good.Bytes(), []byte("once"))
			segs := p.segments()
			if len(segs) != 1 || segs[0].Flags != tcp.SYN|tcp.ACK || segs[0].Ack != seq.Add(5) {
				t.Fatalf("SYN %d: %+v", i, segs)
			}
			iss := segs[0].Seq
			if i > 0 && iss.Sub(last) <= 0 {
				t.Errorf("%d follows %d", iss, last)
			}
			c, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			if got := readSome(t, c, 4); string(got) != "once" {
				t.Fatalf("%q", got)
			}
			p.tcp(1000, 7, tcp.Reply{Seq: seq.Add(5), Ack: iss.Add(1), Flags: tcp.ACK, Window: 1000}, nil)
			synctest.Wait()
			c.Close()
			p.tcp(1000, 7, tcp.Reply{Seq: seq.Add(5), Ack: iss.Add(2), Flags: tcp.ACK | tcp.FIN, Window: 1000}, nil)
			synctest.Wait()
			if n := s.Stats().TCP.TimeWait; n != 1 {
				t.Fatalf("%d in TIME-WAIT", n)
			}
			p.take()
			seq, last = seq.Add(1000), iss.Add(2)
		}
		if f := s.Stats().TCP.FastOpen; f.Accepted != 3 || f.Pending != 0 {
			t.Errorf("%+v", f)
		}
	})
}

// TestFastOpenOversize: no more of a SYN's data is taken than the window that the SYN-ACK
// announces.
func TestFastOpenOversize(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		l := fastListener(t, s, 10)
		defer l.Close()
		l.SetSockopt(linuxopt.SOL_SOCKET, linuxopt.SO_RCVBUF, linuxopt.Int(1))
		p.meet()
		good := s.fastKey[0].Cookie(addrA, addrB)
		p.fastSYN(netip.AddrPortFrom(addrB, 1000), 1, good.Bytes(), make([]byte, 1440))
		segs := p.segments()
		if len(segs) != 1 || segs[0].Flags != tcp.SYN|tcp.ACK {
			t.Fatalf("%+v", segs)
		}
		if n := segs[0].Ack.Sub(2); n < 0 || n > int(segs[0].Window) {
			t.Errorf("%d bytes were taken with a window of %d", n, segs[0].Window)
		}
	})
}

// TestFastOpenMemory: without memory for a connection a SYN is one like any other.
func TestFastOpenMemory(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, func(cfg *Config) { cfg.MemoryLimit = 60 << 10 })
		defer s.Close()
		l := fastListener(t, s, 1000)
		defer l.Close()
		p.meet()
		good := s.fastKey[0].Cookie(addrA, addrB)
		for i := range 300 {
			p.fastSYN(netip.AddrPortFrom(addrB, uint16(1000+i)), 1, good.Bytes(), []byte("data"))
			p.take()
		}
		st := s.Stats()
		if st.Memory.Used > st.Memory.Limit+16<<10 || st.TCP.FastOpen.Accepted == 0 || st.TCP.FastOpen.Pending != st.TCP.FastOpen.Accepted {
			t.Errorf("%+v %+v", st.Memory, st.TCP)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := s.Stats().TCP.FastOpen.Pending; n != 0 {
			t.Errorf("%d are still pending", n)
		}
	})
}

// TestFastOpenCache: the table of cookies is bounded, and what was learned first gives way.
func TestFastOpenCache(t *testing.T) {
	var f fastOpens
	cookie, _ := tcp.MakeFastCookie([]byte("12345678"))
	pairOf := func(i int) fastPair { return fastPair{addrA, netip.AddrFrom4([4]byte{20, 0, byte(i >> 8), byte(i)})} }
	for i := range 3 * fastCookies {
		f.set(pairOf(i), fastServer{cookie: cookie})
	}
	if len(f.servers) != fastCookies || len(f.order) != fastCookies || f.cookies() != fastCookies {
		t.Errorf("%d servers in %d places", len(f.servers), len(f.order))
	}
	if f.get(pairOf(2*fastCookies)).cookie.Len() == 0 || f.get(pairOf(2*fastCookies-1)).cookie.Len() != 0 {
		t.Error("it is not the oldest that gave way")
	}
}
