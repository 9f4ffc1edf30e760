package direct_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif/tap"
	"github.com/netduet/netduet/sockopt"
)

// TestKernelFastOpen: data on the SYN between the kernel's sockets and ours, in both
// directions.
func TestKernelFastOpen(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	s, _ := newKernelPeer(t, "t0", openTap(tap.Config{Offload: tap.OffloadOff}))
	defer s.Close()
	echo := func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}
	const rounds = 4
	t.Run("client", func(t *testing.T) {
		l, err := net.Listen("tcp4", kernelAddr+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := sockopt.SetFastOpen(l, 10); err != nil {
			t.Fatal(err)
		}
		go echo(l)
		for range rounds {
			c, err := s.DialFastOpen(t.Context(), "tcp", netip.AddrPort{}, netip.MustParseAddrPort(l.Addr().String()), []byte("hello"))
			if err != nil {
				t.Fatal(err)
			}
			expectHello(t, c)
		}
		if f := s.Stats().TCP.FastOpen; f.Active != rounds-1 || f.ActiveFailed != 0 || f.Cookies != 1 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("server", func(t *testing.T) {
		l, err := s.Listen(t.Context(), "tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := sockopt.SetFastOpen(l, 10); err != nil {
			t.Fatal(err)
		}
		// A connection that has ended has completed its handshake, too.
		ended := make(chan struct{}, rounds)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				io.Copy(c, c)
				c.Close()
				ended <- struct{}{}
			}
		}()
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return sockopt.SetFastOpenConnect(raw, true) }}
		for range rounds {
			c, err := d.Dial("tcp", directAddr+":7")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("hello")); err != nil && err != unix.EINPROGRESS {
				t.Fatal(err)
			}
			expectHello(t, c)
		}
		for range rounds {
			<-ended
		}
		if f := s.Stats().TCP.FastOpen; f.Accepted != rounds-1 || f.CookieRequests != 1 || f.Refused != 0 || f.Pending != 0 {
			t.Errorf("%+v", f)
		}
	})
}

func expectHello(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	var b [5]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
}
