package netapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

// describe renders everything about err that a program can observe, except the
// identity of types that package net does not export.
func describe(err error) string {
	if err == nil {
		return "nil"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%q", err.Error())
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e := e.(type) {
		case *net.OpError:
			fmt.Fprintf(&b, "\n  *net.OpError op=%s net=%s source=%s addr=%s", e.Op, e.Net, describeAddr(e.Source), describeAddr(e.Addr))
		case *os.SyscallError:
			fmt.Fprintf(&b, "\n  *os.SyscallError %s", e.Syscall)
		case *net.DNSError:
			fmt.Fprintf(&b, "\n  *net.DNSError err=%q name=%q timeout=%v temporary=%v notfound=%v", e.Err, e.Name, e.IsTimeout, e.IsTemporary, e.IsNotFound)
		case *net.AddrError, net.UnknownNetworkError, syscall.Errno:
			fmt.Fprintf(&b, "\n  %T %#v", e, e)
		default:
			fmt.Fprintf(&b, "\n  %q", e.Error())
		}
	}
	for _, target := range []error{io.EOF, net.ErrClosed, os.ErrDeadlineExceeded, context.Canceled, context.DeadlineExceeded, net.ErrWriteToConnected} {
		if errors.Is(err, target) {
			fmt.Fprintf(&b, "\n  is %q", target)
		}
	}
	if ne, ok := err.(net.Error); ok {
		//lint:ignore SA1019 what package net says is to be matched in full
		fmt.Fprintf(&b, "\n  net.Error timeout=%v temporary=%v", ne.Timeout(), ne.Temporary())
	}
	return b.String()
}

func describeAddr(a net.Addr) string {
	if a == nil {
		return "nil"
	}
	if ap, ok := a.(UDPAddrPort); ok { // net's own type is unexported
		return "netip udp " + ap.String()
	}
	if fmt.Sprintf("%T", a) == "net.addrPortUDPAddr" {
		return "netip udp " + a.String()
	}
	return fmt.Sprintf("%T %s %s", a, a.Network(), a.String())
}

func same(t *testing.T, got, want error) {
	t.Helper()
	if g, w := describe(got), describe(want); g != w {
		t.Errorf("ours: %s\nnet's: %s", g, w)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// pair is a loopback TCP connection of package net.
func pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	c := must(net.Dial("tcp", ln.Addr().String()))
	s := must(ln.Accept())
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func endpoint(network string, c interface {
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}) Endpoint {
	return Endpoint{Network: network, Local: c.LocalAddr(), Remote: c.RemoteAddr()}
}

// TestStreamErrors provokes each error on a real socket and compares what
// package net says with what an engine builds from the same cause.
func TestStreamErrors(t *testing.T) {
	one := make([]byte, 1)

	t.Run("read EOF", func(t *testing.T) {
		c, s := pair(t)
		s.Close()
		_, err := c.Read(one)
		same(t, endpoint("tcp", c).Read(io.EOF), err)
	})
	t.Run("read deadline", func(t *testing.T) {
		c, _ := pair(t)
		c.SetReadDeadline(time.Unix(1, 0))
		_, err := c.Read(one)
		same(t, endpoint("tcp", c).Read(os.ErrDeadlineExceeded), err)
		c.SetWriteDeadline(time.Unix(1, 0))
		_, err = c.Write(one)
		same(t, endpoint("tcp", c).Write(os.ErrDeadlineExceeded), err)
	})
	t.Run("reset", func(t *testing.T) {
		c, s := pair(t)
		s.SetLinger(0)
		s.Close()
		_, err := c.Read(one) // waits for the reset
		same(t, endpoint("tcp", c).Read(Syscall(CallRead, syscall.ECONNRESET)), err)
		_, err = c.Write(one)
		same(t, endpoint("tcp", c).Write(Syscall(CallWrite, syscall.EPIPE)), err)
		same(t, endpoint("tcp", c).Close(Syscall(CallShutdown, syscall.ENOTCONN)), c.CloseWrite())
		_, err = c.ReadFrom(bytes.NewReader(one))
		e := endpoint("tcp", c)
		same(t, e.ReadFrom(e.Write(Syscall(CallWrite, syscall.EPIPE))), err)
	})
	t.Run("closed", func(t *testing.T) {
		c, _ := pair(t)
		e := endpoint("tcp", c)
		c.Close()
		_, err := c.Read(one)
		same(t, e.Read(net.ErrClosed), err)
		_, err = c.Write(one)
		same(t, e.Write(net.ErrClosed), err)
		same(t, e.Close(net.ErrClosed), c.Close())
		same(t, e.Close(net.ErrClosed), c.CloseWrite())
		same(t, e.Close(net.ErrClosed), c.CloseRead())
		same(t, e.SetDeadline(net.ErrClosed), c.SetDeadline(time.Now()))
		same(t, e.SetDeadline(net.ErrClosed), c.SetReadDeadline(time.Time{}))
		same(t, e.SetDeadline(net.ErrClosed), c.SetWriteBuffer(1))
		same(t, e.SetOption(net.ErrClosed), c.SetNoDelay(true))
		same(t, e.SetOption(net.ErrClosed), c.SetLinger(0))
		same(t, e.SetOption(net.ErrClosed), c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true}))
		_, err = c.ReadFrom(bytes.NewReader(one))
		same(t, e.ReadFrom(e.Write(net.ErrClosed)), err)
		_, err = c.WriteTo(io.Discard)
		same(t, e.CopyTo(e.Read(net.ErrClosed)), err)
	})
	t.Run("listener", func(t *testing.T) {
		ln := must(net.Listen("tcp4", "127.0.0.1:0")).(*net.TCPListener)
		e := Endpoint{Network: "tcp4", Local: ln.Addr()}
		ln.SetDeadline(time.Unix(1, 0))
		_, err := ln.Accept()
		// Package net keeps the network that Listen was given.
		same(t, e.Accept(os.ErrDeadlineExceeded), err)
		ln.Close()
		_, err = ln.Accept()
		same(t, e.Accept(net.ErrClosed), err)
		same(t, e.CloseListener(net.ErrClosed), ln.Close())
		same(t, net.ErrClosed, ln.SetDeadline(time.Now()))
	})
}

func TestDatagramErrors(t *testing.T) {
	one := make([]byte, 1)
	open := func(t *testing.T, network, address string) *net.UDPConn {
		c := must(net.ListenPacket(network, address)).(*net.UDPConn)
		t.Cleanup(func() { c.Close() })
		return c
	}
	v4, both := Families{IPv4: true}, Families{IPv4: true, IPv6: true}

	t.Run("refused", func(t *testing.T) {
		gone := open(t, "udp", "127.0.0.1:0")
		addr := gone.LocalAddr().String()
		gone.Close()
		c := must(net.Dial("udp", addr))
		defer c.Close()
		c.Write(one)
		_, err := c.Read(one)
		same(t, endpoint("udp", c).Read(Syscall(CallRead, syscall.ECONNREFUSED)), err)
		c.Write(one)
		_, _, err = c.(*net.UDPConn).ReadFrom(one)
		same(t, endpoint("udp", c).Read(Syscall(CallRecvfrom, syscall.ECONNREFUSED)), err)
	})
	t.Run("connected", func(t *testing.T) {
		c := must(net.Dial("udp", "127.0.0.1:9")).(*net.UDPConn)
		defer c.Close()
		d := Datagram{Connected: true, Families: v4}
		for _, dst := range []net.Addr{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}, &net.TCPAddr{}} {
			_, err := c.WriteTo(one, dst)
			_, cause := d.To(dst)
			same(t, endpoint("udp", c).WriteTo(dst, cause), err)
		}
		ap := netip.MustParseAddrPort("127.0.0.1:9")
		_, err := c.WriteToUDPAddrPort(one, ap)
		_, cause := d.ToAddrPort(ap)
		same(t, endpoint("udp", c).WriteTo(UDPAddrPort{ap}, cause), err)
	})
	t.Run("unconnected", func(t *testing.T) {
		c := open(t, "udp4", "127.0.0.1:0")
		e := endpoint("udp4", c)
		d := Datagram{Families: v4}
		_, err := c.Write(one)
		same(t, e.Write(Syscall(CallWrite, syscall.EDESTADDRREQ)), err)
		for _, dst := range []net.Addr{
			(*net.UDPAddr)(nil),
			&net.UDPAddr{IP: net.IPv6loopback, Port: 9},
			&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9},
			&net.UDPAddr{IP: net.IP{127, 0, 1}, Port: 9},
			&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 65536 + 9},
			&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: -1},
			&net.UDPAddr{Port: 65536 + 9},
			&net.UDPAddr{IP: net.IPv6loopback, Port: 65536 + 9},
		} {
			_, err := c.WriteTo(one, dst)
			_, cause := d.To(dst)
			same(t, e.WriteTo(dst, cause), err)
		}
		for _, ap := range []netip.AddrPort{{}, netip.MustParseAddrPort("[::1]:9")} {
			_, err := c.WriteToUDPAddrPort(one, ap)
			_, cause := d.ToAddrPort(ap)
			same(t, e.WriteTo(UDPAddrPort{ap}, cause), err)
		}
		dst := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}
		_, err = c.WriteTo(make([]byte, 65536), dst)
		same(t, e.WriteTo(dst, Syscall(CallSendto, syscall.EMSGSIZE)), err)
	})
	t.Run("wildcard and mapped destinations", func(t *testing.T) {
		// What the kernel accepts, To accepts, and means the same host.
		c := open(t, "udp4", "127.0.0.1:0")
		port := c.LocalAddr().(*net.UDPAddr).Port
		for _, ip := range []net.IP{nil, net.IPv4zero, net.ParseIP("::ffff:127.0.0.1")} {
			dst := &net.UDPAddr{IP: ip, Port: port}
			if _, err := c.WriteTo(one, dst); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.ReadFrom(one); err != nil {
				t.Fatal(err)
			}
			got, err := Datagram{Families: both}.To(dst)
			want := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
			if err != nil || got != want {
				t.Errorf("To(%v) = %v, %v, want %v", dst, got, err, want)
			}
		}
	})
	t.Run("an IPv6 socket and an IPv4 destination", func(t *testing.T) {
		c, err := net.ListenPacket("udp6", "[::1]:0")
		if err != nil {
			t.Logf("this host has no IPv6 loopback, so there is nothing to compare with: %v", err)
			return
		}
		defer c.Close()
		dst := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}
		_, err = c.WriteTo(one, dst)
		_, cause := Datagram{Families: Families{IPv6: true}}.To(dst)
		same(t, Endpoint{Network: "udp6", Local: c.LocalAddr()}.WriteTo(dst, cause), err)
	})
	t.Run("closed and late", func(t *testing.T) {
		c := open(t, "udp", "127.0.0.1:0")
		e := endpoint("udp", c)
		c.SetReadDeadline(time.Unix(1, 0))
		_, _, err := c.ReadFrom(one)
		same(t, e.Read(os.ErrDeadlineExceeded), err)
		c.Close()
		_, _, err = c.ReadFrom(one)
		same(t, e.Read(net.ErrClosed), err)
		same(t, e.Close(net.ErrClosed), c.Close())
		same(t, e.SetDeadline(net.ErrClosed), c.SetDeadline(time.Now()))
	})
}

// hostDialer is our Dialer over the host's sockets: whatever differs from
// net.Dialer is our doing.
func hostDialer() *Dialer {
	return &Dialer{
		Families: Families{IPv4: true, IPv6: true},
		DialOne: func(ctx context.Context, network string, _, raddr netip.AddrPort) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, raddr.String())
			return c, Cause(err)
		},
	}
}

func TestDialErrors(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	refused := ln.Addr().String()
	_, port, _ := net.SplitHostPort(refused)
	ln.Close()

	for _, tt := range []struct{ network, address string }{
		{"tcp", refused}, {"tcp4", refused}, {"tcp", ":" + port}, {"tcp", "0.0.0.0:" + port}, {"tcp4", "[::]:" + port},
		{"tcp", "[::ffff:127.0.0.1]:" + port},
		{"tcp6", refused}, {"tcp4", "[::1]:80"}, {"udp4", "[fe80::1%lo]:80"}, {"udp6", "127.0.0.1:9"}, {"tcp6", "0.0.0.0:80"},
		{"tcp", ""}, {"udp", ""}, {"tcp", "127.0.0.1"}, {"tcp", "::1"}, {"tcp", "[::1]"}, {"tcp", "[::1"}, {"tcp", "::1]:80"},
		{"tcp", "[::1]x:80"}, {"tcp", "[[::1]]:80"}, {"tcp", "1:2:3"}, {"tcp", "[::1]:80:80"},
		{"tcp", "127.0.0.1:65536"}, {"tcp", "127.0.0.1:-1"}, {"tcp", "127.0.0.1:nosuch"}, {"udp", "127.0.0.1:nosuch"},
		{"tcp6", "127.0.0.1:99999999999999999999999"},
		{"", "127.0.0.1:80"}, {"tcp5", "127.0.0.1:80"}, {"sctp", "127.0.0.1:80"}, {"TCP", "127.0.0.1:80"}, {"icmp", "127.0.0.1"},
	} {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			c, want := net.Dial(tt.network, tt.address)
			if c != nil {
				c.Close()
				t.Fatal("package net connects")
			}
			c, got := hostDialer().DialContext(t.Context(), tt.network, tt.address)
			if c != nil {
				t.Errorf("conn %v beside error %v", c, got)
			}
			same(t, got, want)
		})
	}

	t.Run("context", func(t *testing.T) {
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
		defer cancel()
		for _, ctx := range []context.Context{canceled, late} {
			for _, address := range []string{refused, "[::]:" + port} {
				_, want := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				_, got := hostDialer().DialContext(ctx, "tcp", address)
				same(t, got, want)
			}
		}
	})
	t.Run("context while resolving", func(t *testing.T) {
		// Package net's resolver, told to ask nobody, ends with its context.
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
		defer cancel()
		for _, ctx := range []context.Context{canceled, late} {
			stuck := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
			nd := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: stuck}}
			_, want := nd.DialContext(ctx, "tcp", "host.example:80")
			d := hostDialer()
			d.Lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }
			_, got := d.DialContext(ctx, "tcp", "host.example:80")
			same(t, got, want)
		}
	})
	t.Run("local address", func(t *testing.T) {
		nd := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv6loopback}}
		_, want := nd.Dial("tcp", refused)
		d := hostDialer()
		d.Local = netip.MustParseAddrPort("[::1]:0")
		_, got := d.DialContext(t.Context(), "tcp", refused)
		same(t, got, want)
		nd.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
		d.Local = netip.MustParseAddrPort("127.0.0.1:0")
		_, want = nd.Dial("tcp", refused)
		_, got = d.DialContext(t.Context(), "tcp", refused)
		same(t, got, want)
	})
}

func TestListenErrors(t *testing.T) {
	taken := must(net.Listen("tcp", "127.0.0.1:0"))
	defer taken.Close()
	utaken := must(net.ListenPacket("udp", "127.0.0.1:0"))
	defer utaken.Close()
	both := Families{IPv4: true, IPv6: true}

	for _, tt := range []struct{ network, address string }{
		{"tcp", taken.Addr().String()}, {"tcp4", taken.Addr().String()}, {"tcp", "192.0.2.1:0"},
		{"udp", "127.0.0.1:0"}, {"udp", ""}, {"tcp", "127.0.0.1"}, {"tcp", "127.0.0.1:nosuch"}, {"tcp", "127.0.0.1:65536"},
		{"tcp6", "127.0.0.1:0"}, {"tcp4", "[::1]:0"}, {"tcp9", ":0"}, {"", ""},
	} {
		t.Run("Listen "+tt.network+" "+tt.address, func(t *testing.T) {
			ln, want := net.Listen(tt.network, tt.address)
			if ln != nil {
				ln.Close()
				t.Fatal("package net listens")
			}
			b, got := ResolveListen(t.Context(), tt.network, tt.address, both, nil)
			if got == nil {
				_, err := net.Listen(tt.network, b.Addr.String())
				got = ListenError(tt.network, b.Asked, Cause(err))
			}
			same(t, got, want)
		})
	}
	for _, tt := range []struct{ network, address string }{
		{"udp", utaken.LocalAddr().String()}, {"udp", "192.0.2.1:0"}, {"tcp", "127.0.0.1:0"}, {"udp4", "[::1]:0"}, {"udp", ":http-x"},
	} {
		t.Run("ListenPacket "+tt.network+" "+tt.address, func(t *testing.T) {
			pc, want := net.ListenPacket(tt.network, tt.address)
			if pc != nil {
				pc.Close()
				t.Fatal("package net listens")
			}
			b, got := ResolveListenPacket(t.Context(), tt.network, tt.address, both, nil)
			if got == nil {
				_, err := net.ListenPacket(tt.network, b.Addr.String())
				got = ListenError(tt.network, b.Asked, Cause(err))
			}
			same(t, got, want)
		})
	}
}
