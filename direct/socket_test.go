package direct

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/netif"
)

func mustSocket(t *testing.T, s *Stack, network string) *Socket {
	t.Helper()
	k, err := s.Socket(network)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func setInt(t *testing.T, k *Socket, level, name, v int, want error) {
	t.Helper()
	if err := k.SetSockopt(level, name, linuxopt.Int(v)); !errors.Is(err, want) {
		t.Errorf("set %d/%d to %d: %v, want %v", level, name, v, err, want)
	}
}

func getInt(t *testing.T, k *Socket, level, name int) int {
	t.Helper()
	var b [4]byte
	if _, err := k.GetSockopt(level, name, b[:]); err != nil {
		t.Errorf("get %d/%d: %v", level, name, err)
	}
	return linuxopt.GetInt(b[:])
}

func want(t *testing.T, what string, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) || (err == nil) != (wanted == nil) {
		t.Errorf("%s: %v, want %v", what, err, wanted)
	}
}

// TestSocketStream leads a connection through all of its life without a call that
// waits.
func TestSocketStream(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := newPair(t, netif.WireConfig{})
		defer p.close(t)
		ready := func(k *Socket, r Readiness) {
			t.Helper()
			if got := k.Ready(); got != r {
				t.Errorf("ready %05b, want %05b", got, r)
			}
		}
		l := mustSocket(t, p.b, "tcp")
		setInt(t, l, linuxopt.IPPROTO_TCP, linuxopt.TCP_NODELAY, 1, nil)
		ready(l, ReadyOut|ReadyHup)
		want(t, "bind", l.Bind(netip.AddrPortFrom(netip.Addr{}, 80)), nil)
		want(t, "bind again", l.Bind(netip.AddrPortFrom(netip.Addr{}, 81)), syscall.EINVAL)
		other := mustSocket(t, p.b, "tcp")
		want(t, "bind taken", other.Bind(netip.AddrPortFrom(addrB, 80)), syscall.EADDRINUSE)
		_, err := p.b.Listen(background, "tcp", ":80")
		want(t, "Listen on a bound port", err, syscall.EADDRINUSE)
		want(t, "listen", l.Listen(1), nil)
		_, err = l.Accept()
		want(t, "accept", err, syscall.EAGAIN)
		var told atomic.Int32
		l.Notify(func() { told.Add(1) })

		k := mustSocket(t, p.a, "tcp")
		want(t, "bind", k.Bind(netip.AddrPortFrom(addrA, 4000)), nil)
		setInt(t, k, linuxopt.IPPROTO_TCP, linuxopt.TCP_MAXSEG, 1000, nil)
		_, err = k.Write([]byte("x"))
		want(t, "write", err, syscall.EPIPE)
		_, err = k.Read(make([]byte, 1))
		want(t, "read", err, syscall.ENOTCONN)
		var changes atomic.Int32
		k.Notify(func() { k.Ready(); changes.Add(1) })
		want(t, "connect", k.Connect(netip.AddrPortFrom(addrB, 80)), syscall.EINPROGRESS)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		ready(k, ReadyOut)
		if changes.Load() == 0 || told.Load() == 0 {
			t.Errorf("told %d and %d times of the connection", changes.Load(), told.Load())
		}
		want(t, "connect", k.Connect(netip.AddrPortFrom(addrB, 80)), nil)
		want(t, "connect", k.Connect(netip.AddrPortFrom(addrB, 80)), syscall.EISCONN)
		ready(l, ReadyIn)
		c, err := l.Accept()
		want(t, "accept", err, nil)
		if c.RemoteAddr() != netip.AddrPortFrom(addrA, 4000) || k.LocalAddr() != c.RemoteAddr() {
			t.Errorf("accepted %v from %v", c.RemoteAddr(), k.LocalAddr())
		}
		if n := getInt(t, k, linuxopt.IPPROTO_TCP, linuxopt.TCP_MAXSEG); n != 988 {
			t.Errorf("segments of %d bytes after MAXSEG of 1000, want 988 beside timestamps", n)
		}
		if getInt(t, c, linuxopt.IPPROTO_TCP, linuxopt.TCP_NODELAY) != 1 {
			t.Error("the listener's option did not pass on")
		}
		_, err = c.Read(make([]byte, 1))
		want(t, "read", err, syscall.EAGAIN)

		// Corked, nothing leaves for 200 ms.
		setInt(t, k, linuxopt.IPPROTO_TCP, linuxopt.TCP_CORK, 1, nil)
		k.Write([]byte("ab"))
		time.Sleep(150 * time.Millisecond)
		synctest.Wait()
		ready(c, ReadyOut)
		if _, out, unsent := k.Pending(); out != 2 || unsent != 2 {
			t.Errorf("%d written, %d unsent", out, unsent)
		}
		setInt(t, k, linuxopt.IPPROTO_TCP, linuxopt.TCP_CORK, 0, nil)
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		ready(c, ReadyIn|ReadyOut)
		b := make([]byte, 10)
		if n, _ := c.Peek(b); string(b[:n]) != "ab" {
			t.Errorf("peeked at %q", b[:n])
		}
		if in, _, _ := c.Pending(); in != 2 {
			t.Errorf("%d bytes to read", in)
		}
		if n, _ := c.Read(b); string(b[:n]) != "ab" {
			t.Errorf("read %q", b[:n])
		}

		// Until the buffers are full, and on again.
		total := 0
		for {
			n, err := k.Write(make([]byte, 1<<20))
			total += n
			if err == syscall.EAGAIN {
				break
			}
			want(t, "write", err, nil)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if k.Ready()&ReadyOut != 0 {
			t.Error("writable with a full buffer")
		}
		for total > 0 {
			n, err := c.Read(make([]byte, 1<<20))
			if err == syscall.EAGAIN {
				time.Sleep(time.Second)
				continue
			}
			want(t, "read", err, nil)
			total -= n
		}
		synctest.Wait()

		want(t, "shutdown", k.CloseWrite(), nil)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		ready(c, ReadyIn|ReadyOut|ReadyRdHup)
		_, err = c.Read(b)
		want(t, "read", err, io.EOF)
		c.Write([]byte("never read"))
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, "close", k.Close(), nil) // with unread bytes: a reset
		time.Sleep(time.Second)
		synctest.Wait()
		ready(c, ReadyIn|ReadyOut|ReadyErr|ReadyHup|ReadyRdHup)
		if n := getInt(t, c, linuxopt.SOL_SOCKET, linuxopt.SO_ERROR); syscall.Errno(n) != syscall.ECONNRESET && syscall.Errno(n) != syscall.EPIPE {
			t.Errorf("SO_ERROR %d", n)
		}
		if getInt(t, c, linuxopt.SOL_SOCKET, linuxopt.SO_ERROR) != 0 {
			t.Error("SO_ERROR is not taken")
		}
		c.Close()
		want(t, "closed", c.Connect(netip.AddrPortFrom(addrB, 80)), net.ErrClosed)

		// Nobody answers there.
		q := mustSocket(t, p.a, "tcp")
		nobody := netip.MustParseAddrPort("10.0.0.9:80")
		want(t, "connect", q.Connect(nobody), syscall.EINPROGRESS)
		want(t, "connect", q.Connect(nobody), syscall.EALREADY)
		ready(q, 0)
		_, err = q.Write([]byte("x"))
		want(t, "early write", err, syscall.EAGAIN)
		_, err = q.Read(b)
		want(t, "early read", err, syscall.EAGAIN)

		// Refused, and once more from the same socket.
		r := mustSocket(t, p.a, "tcp")
		for range 2 {
			want(t, "connect", r.Connect(netip.AddrPortFrom(addrB, 9)), syscall.EINPROGRESS)
			time.Sleep(time.Second)
			synctest.Wait()
			ready(r, ReadyIn|ReadyOut|ReadyErr|ReadyHup|ReadyRdHup)
			want(t, "connect", r.Connect(netip.AddrPortFrom(addrB, 9)), syscall.ECONNREFUSED)
		}
	})
}

// TestDeferAccept: the connection is not there before its data.
func TestDeferAccept(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := newPair(t, netif.WireConfig{})
		defer p.close(t)
		l := mustSocket(t, p.b, "tcp")
		setInt(t, l, linuxopt.IPPROTO_TCP, linuxopt.TCP_DEFER_ACCEPT, 5, nil)
		if n := getInt(t, l, linuxopt.IPPROTO_TCP, linuxopt.TCP_DEFER_ACCEPT); n != 7 {
			t.Errorf("5 s became %d", n)
		}
		l.Bind(netip.AddrPortFrom(addrB, 80))
		l.Listen(5)
		c, err := p.a.DialContext(background, "tcp", "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(3 * time.Second)
		_, err = l.Accept()
		want(t, "accept without data", err, syscall.EAGAIN)
		c.Write([]byte("hello"))
		synctest.Wait()
		k, err := l.Accept()
		want(t, "accept", err, nil)
		if k != nil {
			k.Close()
		}
		// Without data it comes in the end.
		d, err := p.a.DialContext(background, "tcp", "10.0.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		k, err = l.Accept()
		want(t, "accept at last", err, nil)
		if k != nil {
			k.Close()
		}
	})
}

func TestSocketDatagram(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := newPair(t, netif.WireConfig{})
		defer p.close(t)
		a, b := mustSocket(t, p.a, "udp"), mustSocket(t, p.b, "udp")
		want(t, "bind", b.Bind(netip.AddrPortFrom(addrB, 53)), nil)
		var told atomic.Int32
		b.Notify(func() { told.Add(1) })
		buf := make([]byte, 4)
		_, _, _, err := b.ReadFrom(buf)
		want(t, "read", err, syscall.EAGAIN)
		_, err = a.WriteTo([]byte("query"), netip.AddrPortFrom(addrB, 53))
		want(t, "write", err, nil)
		synctest.Wait()
		if told.Load() != 1 || b.Ready() != ReadyIn|ReadyOut {
			t.Errorf("told %d times, ready %b", told.Load(), b.Ready())
		}
		n, whole, from, err := b.ReadFrom(buf)
		if n != 4 || whole != 5 || from.Addr() != addrA || err != nil {
			t.Errorf("read %d of %d from %v: %v", n, whole, from, err)
		}
		_, err = a.WriteTo([]byte("x"), netip.MustParseAddrPort("10.0.0.255:53"))
		want(t, "broadcast", err, syscall.EACCES)
		setInt(t, a, linuxopt.SOL_SOCKET, linuxopt.SO_BROADCAST, 1, nil)
		_, err = a.WriteTo([]byte("x"), netip.MustParseAddrPort("10.0.0.255:53"))
		want(t, "broadcast", err, nil)
		want(t, "connect", a.Connect(netip.AddrPortFrom(addrB, 9)), nil)
		setInt(t, a, linuxopt.IPPROTO_IP, linuxopt.IP_MTU_DISCOVER, linuxopt.PMTUDISC_DO, nil)
		_, err = a.Write(make([]byte, 3000))
		want(t, "too big to go whole", err, syscall.EMSGSIZE)
		_, err = a.Write([]byte("x"))
		want(t, "write", err, nil)
		synctest.Wait()
		if a.Ready()&ReadyErr == 0 {
			t.Error("no error after ICMP")
		}
		if n := getInt(t, a, linuxopt.SOL_SOCKET, linuxopt.SO_ERROR); syscall.Errno(n) != syscall.ECONNREFUSED {
			t.Errorf("SO_ERROR %d", n)
		}
	})
}

// TestUnsupportedOptions: nobody is told that something works which does not.
func TestUnsupportedOptions(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		p := newPair(t, netif.WireConfig{})
		defer p.close(t)
		k := mustSocket(t, p.a, "tcp")
		for name, err := range map[int]error{
			linuxopt.TCP_ULP: syscall.EOPNOTSUPP, linuxopt.TCP_MD5SIG: syscall.EOPNOTSUPP, 99: syscall.ENOPROTOOPT,
		} {
			setInt(t, k, linuxopt.IPPROTO_TCP, name, 1, err)
			_, got := k.GetSockopt(linuxopt.IPPROTO_TCP, name, make([]byte, 4))
			want(t, "get", got, err)
		}
		want(t, "dctcp", k.SetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_CONGESTION, []byte("dctcp")), syscall.EOPNOTSUPP)
		for _, name := range []string{"cubic", "bbr"} {
			want(t, name, k.SetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_CONGESTION, []byte(name)), nil)
		}
		want(t, "a congestion control of nobody's", k.SetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_CONGESTION, []byte("x")), syscall.ENOENT)
		want(t, "reno", k.SetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_CONGESTION, []byte("reno")), nil)
	})
}
