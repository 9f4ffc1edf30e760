package direct

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPing(t *testing.T) {
	for name, wire := range wires() {
		bubble(t, name, func(t *testing.T) {
			p := newPair(t, wire)
			defer p.close(t)
			for _, size := range []int{0, 8, 56, 1472, 1473, 20000, 65507} {
				if wire.Ring > 0 && size > 2000 {
					continue // more fragments than the ring takes at once
				}
				ctx, cancel := context.WithTimeout(background, 10*time.Second)
				if _, err := p.a.Ping(ctx, addrB, size); err != nil {
					t.Errorf("%d bytes: %v, stats %+v", size, err, p.b.Stats())
				}
				cancel()
			}
			for _, to := range []netip.Addr{addrA, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.9.9.9")} {
				if _, err := p.a.Ping(background, to, 56); err != nil {
					t.Errorf("ourselves, %v: %v", to, err)
				}
			}
		})
	}
}

func TestPingNobody(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := newPair(t, wires()["ethernet"])
		defer p.close(t)
		start := time.Now()
		_, err := p.a.Ping(background, netip.MustParseAddr("10.0.0.77"), 56)
		if !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("a neighbour that is not there: %v", err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("the error took %v, want three questions a second apart", d)
		}
		_, err = p.a.Ping(background, netip.MustParseAddr("192.0.2.1"), 56)
		if !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("no route: %v", err)
		}
	})
}

func TestUDPEcho(t *testing.T) {
	for name, wire := range wires() {
		bubble(t, name, func(t *testing.T) {
			p := newPair(t, wire)
			defer p.close(t)
			pc, err := p.b.ListenPacket(background, "udp", ":7")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				b := make([]byte, 65536)
				for {
					n, from, err := pc.ReadFrom(b)
					if err != nil {
						return
					}
					pc.WriteTo(b[:n], from)
				}
			}()
			c, err := p.a.DialContext(background, "udp", "10.0.0.2:7")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			b := make([]byte, 65536)
			for _, n := range []int{0, 1, 1472, 1473, 9000} {
				if wire.Ring > 0 && n > 2000 {
					continue
				}
				msg := bytes.Repeat([]byte{byte(n)}, n)
				if _, err := c.Write(msg); err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
				c.SetReadDeadline(time.Now().Add(5 * time.Second))
				got, err := c.Read(b)
				if err != nil || !bytes.Equal(b[:got], msg) {
					t.Fatalf("%d bytes: got %d, %v; %+v %+v", n, got, err, p.a.Stats(), p.b.Stats())
				}
			}
			if _, err := c.Write(make([]byte, 65508)); !errors.Is(err, syscall.EMSGSIZE) {
				t.Errorf("too large: %v", err)
			}
			pc.Close()
			c.Write([]byte("anybody there?"))
			if _, err := c.Read(b); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("after the port was closed: %v", err)
			}
		})
	}
}

func echoServer(t testing.TB, s *Stack, address string) net.Listener {
	t.Helper()
	l, err := s.Listen(background, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return l
}

func TestTCPEcho(t *testing.T) {
	for name, wire := range wires() {
		bubble(t, name, func(t *testing.T) {
			p := newPair(t, wire)
			defer p.close(t)
			l := echoServer(t, p.b, ":7")
			defer l.Close()
			c, err := p.a.DialContext(background, "tcp", "10.0.0.2:7")
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, c, 3<<20)
		})
	}
}

// exchange sends n random bytes, ends the stream, and expects them back.
func exchange(t testing.TB, c net.Conn, n int) {
	t.Helper()
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(data)
	go func() {
		c.Write(data)
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
		t.Errorf("%d of %d bytes came back, %v", len(got), n, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestTCPToOurselves(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := newPair(t, wires()["ethernet"])
		defer p.close(t)
		l := echoServer(t, p.a, ":7")
		defer l.Close()
		for _, address := range []string{"127.0.0.1:7", "10.0.0.1:7", ":7", "localhost:7", "localhost:echo"} {
			c, err := p.a.DialContext(background, "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, c, 1<<20)
		}
	})
}

func TestDialErrors(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := newPair(t, wires()["ethernet"])
		defer p.close(t)
		for _, c := range []struct {
			address string
			want    error
			after   time.Duration
		}{
			{"10.0.0.2:9", syscall.ECONNREFUSED, 0},
			{"127.0.0.1:9", syscall.ECONNREFUSED, 0},
			{"10.0.0.77:9", syscall.EHOSTUNREACH, 3 * time.Second},
			{"192.0.2.1:9", syscall.ENETUNREACH, 0},
			{"255.255.255.255:9", syscall.ENETUNREACH, 0},
			{"[2001:db8::1]:9", syscall.EAFNOSUPPORT, 0},
		} {
			start := time.Now()
			conn, err := p.a.DialContext(background, "tcp", c.address)
			if err == nil {
				conn.Close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.address, err, c.want)
			}
			if d := time.Since(start); d != c.after {
				t.Errorf("%s: took %v, want %v", c.address, d, c.after)
			}
		}
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_, err := p.a.DialContext(ctx, "tcp", "10.0.0.78:9")
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("a dial that takes longer than its context: %v", err)
		}
		synctest.Wait()
		if n := p.a.Stats().TCP.Connections; n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}
