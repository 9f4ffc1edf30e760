package sockopt_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/socket"
	"github.com/netduet/netduet/sockopt"
	"github.com/netduet/netduet/tcp"
)

type network interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Close() error
}

// sockets is one of each kind.
type sockets struct {
	client, server net.Conn
	listener       net.Listener
	packet         net.PacketConn
	datagram       net.Conn
}

func open(t *testing.T, s network) sockets {
	t.Helper()
	ctx := context.Background()
	t.Cleanup(func() { s.Close() })
	l, err := s.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := s.DialContext(ctx, "tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	p, err := s.ListenPacket(ctx, "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	d, err := s.DialContext(ctx, "udp4", p.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return sockets{c, a, l, p, d}
}

func backends(t *testing.T) (kernel, ours sockets) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("Linux is the specification")
	}
	d, err := direct.New(&direct.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h, err := socket.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, plainTCP{h}), open(t, d)
}

// plainTCP listens without MPTCP, whose sockets (package net's choice on Linux) have
// few of the options.
type plainTCP struct{ *socket.Stack }

func (plainTCP) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, network, address)
}

// cause is what errors of both backends are compared by.
func cause(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "none"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, net.ErrClosed):
		return "closed"
	}
	return fmt.Sprint(err)
}

// TestOptions sets and reads every option on the kernel's sockets and on ours: values
// and errors must be the same.
func TestOptions(t *testing.T) {
	type option struct {
		name        string
		level, opt  int
		values      []int
		kinds       string // of sockets: c, l, u
		setOnly     bool
		defaultSame bool
	}
	const (
		tcpLevel, ipLevel, sockLevel = linuxopt.IPPROTO_TCP, linuxopt.IPPROTO_IP, linuxopt.SOL_SOCKET
	)
	table := []option{
		{"TCP_NODELAY", tcpLevel, linuxopt.TCP_NODELAY, []int{0, 1, 7}, "cl", false, true},
		{"TCP_CORK", tcpLevel, linuxopt.TCP_CORK, []int{1, 0}, "cl", false, true},
		{"TCP_MAXSEG", tcpLevel, linuxopt.TCP_MAXSEG, []int{87, 88, 1000, 32767, 32768, -1, 0}, "l", false, true},
		{"TCP_MAXSEG connected", tcpLevel, linuxopt.TCP_MAXSEG, []int{87, 500, 32768}, "c", true, false},
		{"TCP_KEEPIDLE", tcpLevel, linuxopt.TCP_KEEPIDLE, []int{0, 1, 100, 32767, 32768, -1}, "cl", false, true},
		{"TCP_KEEPINTVL", tcpLevel, linuxopt.TCP_KEEPINTVL, []int{0, 1, 100, 32767, 32768}, "cl", false, true},
		{"TCP_KEEPCNT", tcpLevel, linuxopt.TCP_KEEPCNT, []int{0, 1, 127, 128}, "cl", false, true},
		{"TCP_SYNCNT", tcpLevel, linuxopt.TCP_SYNCNT, []int{0, 1, 127, 128}, "cl", false, true},
		{"TCP_LINGER2", tcpLevel, linuxopt.TCP_LINGER2, []int{1, 60, 120, 121, -1, -5, 0}, "cl", false, true},
		{"TCP_DEFER_ACCEPT", tcpLevel, linuxopt.TCP_DEFER_ACCEPT, []int{1, 2, 5, 30, 0, -1}, "cl", false, true},
		{"TCP_WINDOW_CLAMP", tcpLevel, linuxopt.TCP_WINDOW_CLAMP, []int{1, 2000, 65535, 0, -1}, "cl", false, false},
		{"TCP_USER_TIMEOUT", tcpLevel, linuxopt.TCP_USER_TIMEOUT, []int{0, 1, 12345, -1}, "cl", false, true},
		{"TCP_NOTSENT_LOWAT", tcpLevel, linuxopt.TCP_NOTSENT_LOWAT, []int{0, 1, 16384, -1}, "cl", false, true},
		// Linux counts these in ticks, of 4 ms, where there are 250 in a second.
		{"TCP_RTO_MIN_US", tcpLevel, linuxopt.TCP_RTO_MIN_US, []int{0, 1000, 8000, 20000, 200000, 300000, -1}, "cl", false, true},
		{"TCP_DELACK_MAX_US", tcpLevel, linuxopt.TCP_DELACK_MAX_US, []int{0, 1000, 8000, 20000, 200000, 300000, -1}, "cl", false, true},
		{"TCP_RTO_MAX_MS", tcpLevel, linuxopt.TCP_RTO_MAX_MS, []int{0, 999, 1000, 5556, 120000, 120001, -1}, "cl", false, true},
		{"SO_MAX_PACING_RATE", sockLevel, linuxopt.SO_MAX_PACING_RATE, []int{1 << 20, 1<<31 - 1, -2, -1}, "cl", false, true},
		{"TCP_INQ", tcpLevel, linuxopt.TCP_INQ, []int{1, 0, 2, -1}, "cl", false, true},
		{"TCP_QUICKACK", tcpLevel, linuxopt.TCP_QUICKACK, []int{0, 1, 2}, "c", false, true},
		{"unknown", tcpLevel, 999, []int{1}, "clu", false, true},
		{"SO_KEEPALIVE", sockLevel, linuxopt.SO_KEEPALIVE, []int{0, 2}, "cl", false, false},
		{"SO_REUSEADDR", sockLevel, linuxopt.SO_REUSEADDR, []int{0, 1}, "clu", false, true},
		{"SO_BROADCAST", sockLevel, linuxopt.SO_BROADCAST, []int{0, 1}, "clu", false, false},
		{"SO_SNDBUF", sockLevel, linuxopt.SO_SNDBUF, []int{1, 5000, 100000}, "clu", false, false},
		{"SO_RCVBUF", sockLevel, linuxopt.SO_RCVBUF, []int{1, 5000, 100000}, "clu", false, false},
		{"SO_RCVLOWAT", sockLevel, linuxopt.SO_RCVLOWAT, []int{1, 5000}, "cl", false, false},
		{"SO_TYPE", sockLevel, linuxopt.SO_TYPE, []int{1}, "clu", false, true},
		{"SO_DOMAIN", sockLevel, linuxopt.SO_DOMAIN, []int{1}, "clu", false, true},
		{"SO_PROTOCOL", sockLevel, linuxopt.SO_PROTOCOL, []int{1}, "clu", false, true},
		{"SO_ACCEPTCONN", sockLevel, linuxopt.SO_ACCEPTCONN, []int{1}, "clu", false, true},
		{"SO_ERROR", sockLevel, linuxopt.SO_ERROR, []int{1}, "clu", false, true},
		{"IP_TOS", ipLevel, linuxopt.IP_TOS, []int{0, 0x10, 0x13, 255, 256, -1}, "clu", false, true},
		{"IP_TTL", ipLevel, linuxopt.IP_TTL, []int{1, 255, 0, 256, -1}, "clu", false, true},
		{"IP_MTU_DISCOVER", ipLevel, linuxopt.IP_MTU_DISCOVER, []int{0, 1, 2, 3, 4, 5, 6, -1}, "clu", false, true},
		{"IP_MTU", ipLevel, linuxopt.IP_MTU, []int{1000}, "cl", false, false},
	}
	kernel, ours := backends(t)
	pick := func(s sockets, kind rune) any {
		return map[rune]any{'c': s.client, 'l': s.listener, 'u': s.packet}[kind]
	}
	for _, o := range table {
		for _, kind := range o.kinds {
			t.Run(fmt.Sprintf("%s/%c", o.name, kind), func(t *testing.T) {
				k, d := pick(kernel, kind), pick(ours, kind)
				compare := func(after string) {
					t.Helper()
					a, errA := sockopt.Int(k, o.level, o.opt)
					b, errB := sockopt.Int(d, o.level, o.opt)
					if cause(errA) != cause(errB) || a != b {
						t.Errorf("%s: Linux has %d (%s), direct %d (%s)", after, a, cause(errA), b, cause(errB))
					}
				}
				if o.defaultSame {
					compare("by default")
				}
				for _, v := range o.values {
					errA, errB := sockopt.SetInt(k, o.level, o.opt, v), sockopt.SetInt(d, o.level, o.opt, v)
					if cause(errA) != cause(errB) {
						t.Errorf("set to %d: Linux says %s, direct %s", v, cause(errA), cause(errB))
					}
					if !o.setOnly && (o.defaultSame || errA == nil) {
						compare(fmt.Sprint("after setting ", v))
					}
				}
			})
		}
	}
}

// TestTyped: the typed functions reach the right options, with the right units.
func TestTyped(t *testing.T) {
	kernel, ours := backends(t)
	for name, s := range map[string]sockets{"kernel": kernel, "direct": ours} {
		t.Run(name, func(t *testing.T) {
			c := s.client
			check := func(what string, got, want any, err error) {
				t.Helper()
				if err != nil || got != want {
					t.Errorf("%s: %v (%v), want %v", what, got, err, want)
				}
			}
			try := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Errorf("setting %s: %v", what, err)
				}
			}
			try("congestion", sockopt.SetCongestion(c, "reno"))
			cc, err := sockopt.Congestion(c)
			check("congestion", cc, "reno", err)
			if err := sockopt.SetCongestion(c, "nobody's"); !errors.Is(err, syscall.ENOENT) {
				t.Errorf("an unknown congestion control: %v", err)
			}
			try("user timeout", sockopt.SetUserTimeout(c, 1500*time.Millisecond))
			d, err := sockopt.UserTimeout(c)
			check("user timeout", d, 1500*time.Millisecond, err)
			try("keep idle", sockopt.SetKeepIdle(c, 1500*time.Millisecond))
			d, err = sockopt.KeepIdle(c)
			check("keep idle", d, 2*time.Second, err)
			try("keep interval", sockopt.SetKeepInterval(c, time.Second))
			d, err = sockopt.KeepInterval(c)
			check("keep interval", d, time.Second, err)
			try("keep count", sockopt.SetKeepCount(c, 4))
			n, err := sockopt.KeepCount(c)
			check("keep count", n, 4, err)
			try("keep alive", sockopt.SetKeepAlive(c, false))
			b, err := sockopt.KeepAlive(c)
			check("keep alive", b, false, err)
			try("defer accept", sockopt.SetDeferAccept(s.listener, 5*time.Second))
			d, err = sockopt.DeferAccept(s.listener)
			check("defer accept", d, 7*time.Second, err)
			try("fin wait", sockopt.SetFinWait(c, 30*time.Second))
			d, err = sockopt.FinWait(c)
			check("fin wait", d, 30*time.Second, err)
			try("least timeout", sockopt.SetMinRTO(c, 20*time.Millisecond))
			d, err = sockopt.MinRTO(c)
			check("least timeout", d, 20*time.Millisecond, err)
			try("largest timeout", sockopt.SetMaxRTO(c, 2*time.Second))
			d, err = sockopt.MaxRTO(c)
			check("largest timeout", d, 2*time.Second, err)
			try("delay of ACKs", sockopt.SetMaxDelayedACK(c, 40*time.Millisecond))
			d, err = sockopt.MaxDelayedACK(c)
			check("delay of ACKs", d, 40*time.Millisecond, err)
			for _, rate := range []uint64{1e6, 1 << 40, sockopt.Unpaced} {
				try("pacing rate", sockopt.SetMaxPacingRate(c, rate))
				r, err := sockopt.MaxPacingRate(c)
				check("pacing rate", r, rate, err)
			}
			keys := [][16]byte{{1, 2}, {3}}
			try("Fast Open", sockopt.SetFastOpen(s.listener, 9))
			n, err = sockopt.FastOpen(s.listener)
			check("Fast Open", n, 9, err)
			try("Fast Open keys", sockopt.SetFastOpenKeys(s.listener, keys...))
			got, err := sockopt.FastOpenKeys(s.listener)
			check("Fast Open keys", slices.Equal(got, keys), true, err)
			try("Fast Open without cookies", sockopt.SetFastOpenNoCookie(s.listener, true))
			if err := sockopt.SetFastOpenConnect(c, true); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("a Fast Open of a connection: %v", err)
			}
			try("TOS", sockopt.SetTOS(s.packet, 0x28))
			n, err = sockopt.TOS(s.packet)
			check("TOS", n, 0x28, err)
			try("TTL", sockopt.SetTTL(c, 3))
			n, err = sockopt.TTL(c)
			check("TTL", n, 3, err)
			try("MTU discovery", sockopt.SetMTUDiscovery(s.packet, sockopt.MTUDo))
			m, err := sockopt.GetMTUDiscovery(s.packet)
			check("MTU discovery", m, sockopt.MTUDo, err)
			n, err = sockopt.PathMTU(s.datagram)
			check("path MTU", n > 1000, true, err)
			if err := sockopt.PendingError(c); err != nil {
				t.Errorf("pending error %v", err)
			}
			// Through TLS the connection beneath is asked.
			b, err = sockopt.NoDelay(tls.Client(c, &tls.Config{}))
			check("no delay of a TLS connection", b, true, err)

			c.Close()
			if _, err := sockopt.TCPInfo(c); !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return sockopt.SetFastOpenConnect(raw, true) }}
	c, err := d.Dial("tcp", kernel.listener.Addr().String())
	if err != nil {
		t.Errorf("a dialer's socket: %v", err)
	} else {
		c.Close()
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := sockopt.TCPInfo(a); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a pipe: %v", err)
	}
	if _, err := sockopt.TCPInfo(nil); err == nil {
		t.Error("nil has figures")
	}
}

// TestTCPInfo compares the figures after the same transfer.
func TestTCPInfo(t *testing.T) {
	for _, name := range []string{"kernel", "direct"} {
		t.Run(name, func(t *testing.T) {
			// What is sent again because the machine did something else for longer than a
			// round trip is in many of these numbers: then another connection is asked.
			for try := 0; ; try++ {
				kernel, ours := backends(t)
				s := map[string]sockets{"kernel": kernel, "direct": ours}[name]
				if tcpInfo(t, s, try == 9) {
					return
				}
			}
		})
	}
}

// tcpInfo compares what the ends of a fresh connection say with what was done to it. It
// returns false, and has judged nothing but the beginning, if something was sent twice,
// unless that is to be judged, too.
func tcpInfo(t *testing.T, s sockets, last bool) bool {
	t.Helper()
	const sent, received = 100000, 500
	info := func(c any) *sockopt.Info {
		t.Helper()
		in, err := sockopt.TCPInfo(c)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	before := info(s.client)
	if before.State != sockopt.Established || before.SndSsthresh != sockopt.InfiniteThreshold || before.SndCwnd < 2 {
		t.Errorf("at first: %+v", before)
	}
	if before.Delivered != 1 || before.BytesAcked != 1 || info(s.server).BytesAcked != 0 {
		t.Errorf("the handshake counts: %+v", before)
	}
	if l := info(s.listener); l.State != sockopt.Listen || l.Unacked != 0 || l.Sacked == 0 {
		t.Errorf("listener: %+v", l)
	}
	if _, err := s.client.Write(make([]byte, sent)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s.server, make([]byte, sent)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.server.Write(make([]byte, received)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s.client, make([]byte, received)); err != nil {
		t.Fatal(err)
	}
	c, v := info(s.client), info(s.server)
	if c.TotalRetrans+v.TotalRetrans > 0 && !last {
		return false
	}
	for what, ok := range map[string]bool{
		"bytes_acked":    c.BytesAcked == sent+1,
		"bytes_received": c.BytesReceived == received && v.BytesReceived == sent,
		"bytes_sent":     c.BytesSent == sent && c.BytesRetrans == 0 && v.BytesSent == received,
		"rtt":            c.RTT > 0 && c.RTT < 1e6 && c.MinRTT <= c.RTT && v.RTT > 0,
		"rto":            c.RTO >= 200000 && c.RTO < 3e6,
		"mss":            c.SndMSS > 1000 && c.SndMSS <= 65483 && c.AdvMSS >= c.SndMSS && c.PMTU > c.SndMSS,
		"options":        c.Options&(sockopt.OptTimestamps|sockopt.OptSACK|sockopt.OptWScale) == 7,
		"wscale":         c.SndWScale() == v.RcvWScale() && c.RcvWScale() > 0,
		"flight":         c.Unacked == 0 && c.Lost == 0 && c.Retrans == 0 && c.Sacked == 0 && c.NotsentBytes == 0,
		"segments":       c.SegsOut >= 3 && v.SegsIn >= 3 && c.DataSegsOut >= 2 && c.DataSegsOut < c.SegsOut,
		"data_segs":      c.DataSegsIn == 1 && v.DataSegsOut == 1,
		"delivered":      c.Delivered == c.DataSegsOut+1 && v.Delivered <= 2,
		"busy":           c.BusyTime >= c.RwndLimited+c.SndbufLimited,
		"ca_state":       c.CAState == sockopt.CAOpen,
		"reordering":     c.Reordering >= 3,
		"snd_wnd":        c.SndWnd > 0 && v.RcvWnd > 0,
		"cwnd":           c.SndCwnd >= 2 && c.SndSsthresh == sockopt.InfiniteThreshold,
		"backoff":        c.Retransmits == 0 && c.Backoff == 0 && c.Probes == 0,
	} {
		if !ok {
			t.Errorf("%s: client %+v\nserver %+v", what, c, v)
		}
	}
	// The numbers of the states.
	s.client.(interface{ CloseWrite() error }).CloseWrite()
	if _, err := s.server.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	if c, v := info(s.client), info(s.server); v.State != sockopt.CloseWait || c.State != sockopt.FinWait2 && c.State != sockopt.FinWait1 {
		t.Errorf("after a FIN: %v and %v", c.State, v.State)
	}
	if v := info(s.server); v.BytesReceived != sent+1 {
		t.Errorf("with FIN %d bytes received", v.BytesReceived)
	}
	return true
}

// TestLayout: what direct writes is what is read.
func TestLayout(t *testing.T) {
	in := tcp.LinuxInfo{State: 1, WScale: 0x73, RTO: 5, TotalRetrans: 6, PacingRate: 7, BytesSent: 8, TotalRTOTime: 9}
	b := in.Append(nil)
	if len(b) != 248 {
		t.Errorf("%d bytes", len(b))
	}
	got, err := sockopt.TCPInfo(fake(b))
	if err != nil {
		t.Fatal(err)
	}
	if got.State != 1 || got.SndWScale() != 3 || got.RcvWScale() != 7 || got.RTO != 5 || got.TotalRetrans != 6 ||
		got.PacingRate != 7 || got.BytesSent != 8 || got.TotalRTOTime != 9 {
		t.Errorf("%+v", got)
	}
}

// fake is a socket whose options are all this value.
type fake []byte

func (f fake) SetSockopt(level, name int, value []byte) error { return syscall.EINVAL }
func (f fake) GetSockopt(level, name int, value []byte) (int, error) {
	return copy(value, f), nil
}
