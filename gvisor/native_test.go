package gvisor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/netif"
)

// newPair returns two stacks, 10.0.0.1 and 10.0.0.2, that the test's end closes.
func newPair(t *testing.T, wire netif.WireConfig) (a, b *gvisor.Stack) {
	t.Helper()
	da, db, err := netif.NewWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	a = network{dev: da, addr: prefixA}.gvisor(t).(*gvisor.Stack)
	b = network{dev: db, addr: prefixB}.gvisor(t).(*gvisor.Stack)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// The native calls take addresses as they are, and choose the local end if asked.
func TestNative(t *testing.T) {
	a, b := newPair(t, netif.WireConfig{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, err := b.ListenTCP("tcp", netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(prefixB.Addr(), l.Addr().(*net.TCPAddr).AddrPort().Port())
	for _, from := range []netip.AddrPort{
		netip.AddrPortFrom(prefixA.Addr(), 4000),
		netip.AddrPortFrom(netip.IPv4Unspecified(), 4001),
		netip.AddrPortFrom(prefixA.Addr(), 0),
	} {
		c, err := a.Dial(ctx, "tcp", from, at)
		if err != nil {
			t.Fatalf("from %v: %v", from, err)
		}
		d, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		got := d.RemoteAddr().(*net.TCPAddr).AddrPort()
		if got.Addr() != prefixA.Addr() || from.Port() != 0 && got.Port() != from.Port() {
			t.Errorf("dialled from %v, arrived from %v", from, got)
		}
		c.Close()
		d.Close()
	}
	for _, tt := range []struct {
		network      string
		laddr, raddr netip.AddrPort
		want         error
	}{
		{"tcp", netip.MustParseAddrPort("10.0.0.9:0"), at, syscall.EADDRNOTAVAIL},
		{"tcp", netip.AddrPort{}, netip.MustParseAddrPort("[2001:db8::1]:9"), syscall.EAFNOSUPPORT},
		{"tcp6", netip.AddrPort{}, at, syscall.EAFNOSUPPORT},
		{"tcp", netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.255:9"), syscall.ENETUNREACH},
		{"tcp", netip.AddrPort{}, netip.MustParseAddrPort("224.0.0.1:9"), syscall.ENETUNREACH},
		{"nosuch", netip.AddrPort{}, at, net.UnknownNetworkError("nosuch")},
	} {
		_, err := a.Dial(ctx, tt.network, tt.laddr, tt.raddr)
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" || !errors.Is(err, tt.want) {
			t.Errorf("Dial %s from %v to %v: %v, want %v", tt.network, tt.laddr, tt.raddr, err, tt.want)
		}
	}
	if _, err := b.ListenTCP("tcp", at); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("ListenTCP beside the wildcard: %v", err)
	}
	if _, err := b.ListenTCP("udp", at); err == nil {
		t.Error("ListenTCP listens on udp")
	}
	if _, err := b.ListenUDP("tcp", at); err == nil {
		t.Error("ListenUDP listens on tcp")
	}
}

// Shutting both directions with something unread is an orderly end, as with
// kernels: what had arrived can be read, and the peer is not reset.
func TestShutBothDirections(t *testing.T) {
	a, b := newPair(t, netif.WireConfig{})
	c, d := connect(t, a, b, prefixB.Addr())
	defer c.Close()
	defer d.Close()
	want := []byte("read me later")
	if _, err := d.Write(want); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		t.Fatal(err)
	}
	tc := c.(*gvisor.TCPConn)
	if err := errors.Join(tc.CloseWrite(), tc.CloseRead()); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(append(first, rest...), want) {
		t.Errorf("%q and %q were read, %v", first, rest, err)
	}
	if n, err := d.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the peer's Read: %d, %v", n, err)
	}
	if _, err := d.Write(want); err != nil {
		t.Errorf("the peer's Write: %v", err)
	}
}

// A stack whose peers take nothing closes all the same, within its time, and resets
// what it could not deliver.
func TestCloseTimeout(t *testing.T) {
	da, db, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := gvisor.New(&gvisor.Config{
		Interfaces:   []gvisor.Interface{{Device: da, Addrs: []netip.Prefix{prefixA}}},
		CloseTimeout: 50 * time.Millisecond,
		Logger:       quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := network{dev: db, addr: prefixB}.gvisor(t)
	defer b.Close()
	c, d := connect(t, a, b, prefixB.Addr())
	defer d.Close()
	// More than half a receive buffer, which is what the peer lets in unread.
	for total := 0; total < 900<<10; {
		c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := c.Write(make([]byte, 256<<10))
		if total += n; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	c.Close()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{d}); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer's Read: %v, want a reset", err)
	}
}
