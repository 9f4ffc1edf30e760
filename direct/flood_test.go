package direct_test

import (
	"encoding/binary"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// stepClock is a clock that the test moves; its timers run from Poll alone.
type stepClock struct{ now atomic.Int64 }

func (c *stepClock) Now() clock.Time             { return clock.Time(c.now.Load()) }
func (c *stepClock) NewTimer(func()) clock.Timer { return idleTimer{} }

type idleTimer struct{}

func (idleTimer) Reset(clock.Time) {}
func (idleTimer) Stop()            {}

var (
	floodServer  = netip.MustParseAddr("10.0.0.1")
	floodClient  = netip.MustParseAddr("10.0.0.3")
	floodGateway = netip.MustParseAddr("10.0.0.9")
)

// flooder is the gateway of a LAN, from behind which SYNs come whose sources don't
// exist, and ACKs that somebody made up.
type flooder struct {
	t     testing.TB
	q     netif.Queue
	mac   ethernet.Addr
	frame []byte
	one   []netif.Frame
	rand  *rand.Rand
	sent  int // SYNs
	acks  int
	heard [256]int // answers by their flags
	// stingy has the sources exist, and take a byte at a time.
	stingy bool
	taken  int
	bufs   [64]*netif.Buf
}

func newFlooder(t testing.TB, dev netif.Device, to ethernet.Addr) *flooder {
	f := &flooder{t: t, q: dev.Queues()[0], mac: dev.Info().MAC, rand: rand.New(rand.NewPCG(3, 4)), one: []netif.Frame{{Fragments: make([][]byte, 1)}}}
	b := make([]byte, ethernet.HeaderLen+ipv4.HeaderLen+tcp.HeaderLen)
	e := ethernet.Header{Dst: to, Src: f.mac, Type: ethernet.TypeIPv4}
	n := e.Encode(b)
	h := ipv4.Header{TTL: 64, Protocol: ipv4.ProtocolTCP, Src: floodGateway, Dst: floodServer, TotalLen: len(b) - n}
	h.Encode(b[n:])
	r := tcp.Reply{Flags: tcp.SYN, Window: 64000}
	copy(b[n+ipv4.HeaderLen:], r.Append(nil, 1, 7))
	f.frame = b
	f.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: f.mac, SenderIP: floodGateway, TargetIP: floodServer}, to)
	return f
}

func (f *flooder) arp(q *arp.Packet, to ethernet.Addr) {
	b := make([]byte, ethernet.HeaderLen+arp.PacketLen)
	h := ethernet.Header{Dst: to, Src: f.mac, Type: ethernet.TypeARP}
	h.Encode(b)
	q.Encode(b[ethernet.HeaderLen:])
	f.write(b)
}

// segment sends a segment from a source of its own for each n; a million of them are
// different.
func (f *flooder) segment(n int, flags tcp.Flags) {
	src := netip.AddrFrom4([4]byte{20 + byte(n>>16), byte(n >> 8), byte(n), 1})
	f.send(netip.AddrPortFrom(src, uint16(1024+n%60000)), tcp.Seq(f.rand.Uint32()), tcp.Seq(f.rand.Uint32()), flags, 64000)
}

// send sends a segment without data to the server.
func (f *flooder) send(from netip.AddrPort, seq, ack tcp.Seq, flags tcp.Flags, window uint16) {
	ip, seg := f.frame[ethernet.HeaderLen:][:ipv4.HeaderLen], f.frame[ethernet.HeaderLen+ipv4.HeaderLen:]
	a := from.Addr().As4()
	copy(ip[12:], a[:])
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[10:], checksum.Sum(ip, 0).Checksum())
	binary.BigEndian.PutUint16(seg, from.Port())
	binary.BigEndian.PutUint32(seg[4:], uint32(seq))
	binary.BigEndian.PutUint32(seg[8:], uint32(ack))
	seg[13] = byte(flags)
	binary.BigEndian.PutUint16(seg[14:], window)
	binary.BigEndian.PutUint16(seg[16:], 0)
	binary.BigEndian.PutUint16(seg[16:], checksum.Sum(seg, checksum.PseudoHeader(from.Addr(), floodServer, ipv4.ProtocolTCP, len(seg))).Checksum())
	f.write(f.frame)
}

// acknowledge answers a segment of the server's as a peer does whose window is never more
// than one byte.
func (f *flooder) acknowledge(frame []byte) {
	var h ipv4.Header
	payload, err := h.Parse(frame[ethernet.HeaderLen:])
	var seg tcp.Segment
	if err != nil || tcp.Parse(payload, &seg) != nil || seg.Len() == 0 {
		return
	}
	f.taken += len(seg.Payload)
	f.send(netip.AddrPortFrom(h.Dst, seg.DstPort), seg.Ack, seg.End(), tcp.ACK, 1)
}

func (f *flooder) write(b []byte) {
	f.one[0].Fragments[0] = b
	if n, err := f.q.Write(f.one); n != 1 || err != nil {
		f.t.Fatalf("the switch took %d frames: %v", n, err)
	}
}

// drain takes what was answered, and says where the gateway is.
func (f *flooder) drain() {
	for {
		n, err := f.q.Read(f.bufs[:])
		if err != nil {
			f.t.Fatal(err)
		}
		for i, b := range f.bufs[:n] {
			switch d := b.Data; {
			case d[13] == 6: // ARP
				if q, err := arp.Parse(d[ethernet.HeaderLen:]); err == nil && q.Op == arp.OpRequest && q.TargetIP == floodGateway {
					r := q.Reply(f.mac)
					f.arp(&r, q.SenderHW)
				}
			case d[23] == ipv4.ProtocolTCP:
				f.heard[d[47]]++
				if f.stingy {
					f.acknowledge(d)
				}
			}
			b.Release()
			f.bufs[i] = nil
		}
		if n < len(f.bufs) {
			return
		}
	}
}

// floodLAN is a server, a client and a gateway on one LAN, moved by one goroutine, a
// millisecond at a time.
type floodLAN struct {
	t              testing.TB
	clk            *stepClock
	server, client *direct.Stack
	others         []*direct.Stack // that are polled, too
	gate           *flooder
	ln             *direct.Socket
	echoes         []*direct.Socket // accepted
	bulk           [2]*direct.Socket
	load           int // bytes that the bulk connection is offered each step
	moved          int // and those that it has moved
	buf            []byte

	honest []*honest
	done   int // of them
	slow   int // of those, the ones that took more than 100 ms
}

// honest is a client's connection that says something and hears it back.
type honest struct {
	*direct.Socket
	since time.Duration
	wrote bool
}

const floodMemory = 64 << 20

func newFloodLAN(t testing.TB, cookies tcp.SynCookies, more ...direct.Interface) *floodLAN {
	ports, err := netif.NewSwitch(3, netif.WireConfig{Ring: 4096})
	if err != nil {
		t.Fatal(err)
	}
	l := &floodLAN{t: t, clk: &stepClock{}, load: 8 << 10, buf: make([]byte, 64<<10)}
	if *long {
		l.load = 1 << 30 // as much as the windows let it
	}
	l.clk.now.Store(int64(time.Hour))
	open := func(dev netif.Device, a netip.Addr, seed byte, more ...direct.Interface) *direct.Stack {
		s, err := direct.New(&direct.Config{
			Interfaces: append([]direct.Interface{{
				Device: dev, Addrs: []netip.Prefix{netip.PrefixFrom(a, 24)},
				Routes: []direct.Route{{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: floodGateway}},
			}}, more...),
			Manual: true, Clock: l.clk, Rand: rand.NewChaCha8([32]byte{seed}), CloseTimeout: -1,
			MemoryLimit: floodMemory, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			TCP: tcp.Config{SynCookies: cookies},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	l.server, l.client = open(ports[0], floodServer, 1, more...), open(ports[1], floodClient, 2)
	l.gate = newFlooder(t, ports[2], ports[0].Info().MAC)
	l.ln = l.socket(l.server)
	must(t, l.ln.Bind(netip.AddrPortFrom(floodServer, 7)))
	must(t, l.ln.Listen(4096))
	l.bulk[0] = l.connect()
	for l.bulk[1] == nil {
		l.step()
		if k, err := l.ln.Accept(); err == nil {
			l.bulk[1] = k
		}
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *floodLAN) socket(s *direct.Stack) *direct.Socket {
	k, err := s.Socket("tcp")
	must(l.t, err)
	return k
}

func (l *floodLAN) connect() *direct.Socket {
	k := l.socket(l.client)
	if err := k.Connect(netip.AddrPortFrom(floodServer, 7)); err != syscall.EINPROGRESS {
		l.t.Fatal(err)
	}
	return k
}

// step lets a millisecond pass.
func (l *floodLAN) step() {
	l.clk.now.Add(int64(time.Millisecond))
	for range 3 {
		for _, s := range append(l.others, l.server, l.client) {
			for s.Poll(l.clk.Now()) <= l.clk.Now() {
			}
		}
		l.gate.drain()
	}
	if l.bulk[1] == nil {
		return
	}
	for due := l.load; due > 0; {
		n, err := l.bulk[0].Write(l.buf[:min(due, len(l.buf))])
		if due -= n; n < len(l.buf) || err != nil {
			break
		}
	}
	for {
		n, err := l.bulk[1].Read(l.buf)
		if n == 0 || err != nil {
			break
		}
		l.moved += n
	}
	l.serve()
	l.ask()
}

// serve is the echo server.
func (l *floodLAN) serve() {
	for {
		k, err := l.ln.Accept()
		if err != nil {
			break
		}
		l.echoes = append(l.echoes, k)
	}
	left := l.echoes[:0]
	for _, k := range l.echoes {
		var b [100]byte
		switch n, err := k.Read(b[:]); {
		case n > 0:
			k.Write(b[:n])
			left = append(left, k)
		case err == syscall.EAGAIN:
			left = append(left, k)
		default:
			k.Close()
		}
	}
	clear(l.echoes[len(left):])
	l.echoes = left
}

// ask moves the honest clients on.
func (l *floodLAN) ask() {
	now := time.Duration(l.clk.now.Load())
	left := l.honest[:0]
	for _, h := range l.honest {
		if !h.wrote {
			if n, err := h.Write([]byte("hello")); n == 5 {
				h.wrote = true
			} else if err != nil && err != syscall.EAGAIN && err != syscall.ENOTCONN {
				l.t.Fatalf("an honest client cannot write: %v", err)
			}
		} else {
			var b [100]byte
			if n, err := h.Read(b[:]); n > 0 {
				if string(b[:n]) != "hello" {
					l.t.Fatalf("an honest client heard %q", b[:n])
				}
				if h.Close(); now-h.since > 100*time.Millisecond {
					l.slow++
				}
				l.done++
				continue
			} else if err != syscall.EAGAIN {
				l.t.Fatalf("an honest client cannot read: %v", err)
			}
		}
		left = append(left, h)
	}
	clear(l.honest[len(left):])
	l.honest = left
}

// run lets steps milliseconds pass, in each of which so many SYNs and a sixteenth as
// many ACKs arrive from nowhere; every tenth, an honest client comes. It returns how
// many did.
func (l *floodLAN) run(steps, rate int) (clients int) {
	for i := range steps {
		for range rate {
			l.gate.segment(l.gate.sent, tcp.SYN)
			if l.gate.sent++; l.gate.sent%16 == 0 {
				l.gate.segment(l.gate.acks+100<<16, tcp.ACK)
				l.gate.acks++
			}
		}
		if i%10 == 0 {
			l.honest = append(l.honest, &honest{Socket: l.connect(), since: time.Duration(l.clk.now.Load())})
			clients++
		}
		l.step()
		if m := l.server.Stats().Memory; m.Used > m.Limit {
			l.t.Fatalf("%d bytes are accounted for, of %d", m.Used, m.Limit)
		}
	}
	for range 200 {
		l.step()
	}
	return clients
}

// close ends everything.
func (l *floodLAN) close() {
	for _, s := range []*direct.Stack{l.client, l.server} {
		if err := s.Close(); err != nil {
			l.t.Error(err)
		}
		if n := s.Stats().Memory.Used; n != 0 {
			l.t.Errorf("%d bytes are still accounted for", n)
		}
	}
}

// TestFlood has SYNs arrive from sources that don't exist, 200 each millisecond, while
// honest clients connect and one connection moves bulk data: with -long, a million SYNs,
// all from different sources. The clients all get in at once, by cookies; the bulk
// connection is as fast as without the flood; made-up ACKs make no connection; and what
// was dropped is counted by its reason.
func TestFlood(t *testing.T) {
	steps, rate := 100, 200
	if *long {
		steps = 5000
	}
	calm := newFloodLAN(t, tcp.SynCookiesWhenFull)
	calm.run(steps, 0)
	calm.close()

	l := newFloodLAN(t, tcp.SynCookiesWhenFull)
	l.run(30, rate) // fills the backlog, and the pools
	before, moved := l.server.Stats().TCP, l.moved
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	start := time.Now()
	clients := l.run(steps, rate)
	took := time.Since(start)
	runtime.ReadMemStats(&m1)
	moved = l.moved - moved
	st := l.server.Stats()
	syns := uint64(steps * rate)
	t.Logf("%d SYNs and %d clients in %v; %d MiB moved, %d without the flood", syns, clients, took.Round(time.Millisecond), moved>>20, calm.moved>>20)
	t.Logf("heap %d KiB before, %d KiB after, %.3f allocations a SYN", m0.HeapAlloc>>10, m1.HeapAlloc>>10, float64(m1.Mallocs-m0.Mallocs)/float64(syns))
	t.Logf("%+v", st.TCP)
	t.Logf("%+v", st.Memory)

	if l.slow > 0 || l.done != clients+3 || len(l.honest) > 0 {
		t.Errorf("of %d clients %d were served, %d of them late", clients+3, l.done, l.slow)
	}
	if float64(moved) < 0.95*float64(calm.moved) {
		t.Errorf("the bulk connection moved %d bytes, %d without the flood", moved, calm.moved)
	}
	if st.TCP.HalfOpen > 4097 {
		t.Errorf("%d connections are half-open", st.TCP.HalfOpen)
	}
	// Half-open ones expire after a minute and make room for others, so that a few SYNs
	// are recorded on the way.
	recorded := before.HalfOpen + st.TCP.SynExpired
	cookies := st.TCP.SynCookiesSent - before.SynCookiesSent
	if cookies < syns-recorded || cookies > syns+uint64(clients) {
		t.Errorf("%d cookies for %d SYNs, %d of which could be recorded", cookies, syns, recorded)
	}
	if got, want := st.TCP.SynCookiesFailed+st.TCP.SynCookiesReceived, uint64(l.gate.acks+clients+3); got > want {
		t.Errorf("%d ACKs were looked at as cookies, %d arrived", got, want)
	}
	if st.TCP.SynCookiesFailed == 0 || st.TCP.PassiveOpens != uint64(clients+3+1) {
		t.Errorf("%d cookies failed, %d connections were made", st.TCP.SynCookiesFailed, st.TCP.PassiveOpens)
	}
	// Every ACK that was made up is answered by a reset or counted as too many for that.
	if got := st.TCP.NoConnection; got != st.TCP.ResetsSent+st.TCP.ResetsLimited || got < uint64(l.gate.acks) {
		t.Errorf("%d ACKs of nothing, %d resets, %d withheld; %d were sent", got, st.TCP.ResetsSent, st.TCP.ResetsLimited, l.gate.acks)
	}
	if n := l.gate.heard[tcp.SYN|tcp.ACK]; n < l.gate.sent {
		t.Errorf("%d SYNs, %d answers", l.gate.sent, n)
	}
	if st.TCP.SynEvicted+st.TCP.SynOverflow+st.TCP.SynRefused+st.TCP.AcceptOverflow != 0 {
		t.Errorf("SYNs were dropped: %+v", st.TCP)
	}
	l.close()
}

// TestFloodWithoutCookies is the same for a listener that has been told to make none: SYNs
// are dropped and counted, memory is bounded, connections that exist are not touched, and
// a client that repeats its SYN gets in, in the place of one that never will.
func TestFloodWithoutCookies(t *testing.T) {
	l := newFloodLAN(t, tcp.SynCookiesNever)
	clients := l.run(100, 200)
	st := l.server.Stats()
	if st.TCP.HalfOpen != 4096 || st.TCP.SynOverflow == 0 || st.TCP.SynCookiesSent != 0 || st.TCP.SynEvicted != 0 {
		t.Errorf("%+v", st.TCP)
	}
	for range 1500 {
		l.step()
	}
	st = l.server.Stats()
	if l.done != clients || st.TCP.SynEvicted == 0 {
		t.Errorf("of %d clients %d were served; %d gave way", clients, l.done, st.TCP.SynEvicted)
	}
	l.close()
}
