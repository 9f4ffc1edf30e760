package direct_test

import (
	"io"
	"net/netip"
	"sync"
	"testing"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
)

// Writers, the receiver and timers all bring their own reading of the clock to a
// connection. If an older one could follow a younger one, timestamps would step
// back on the wire, and the peer would drop segments as old duplicates (PAWS). On
// a wire that loses nothing, nothing may be dropped.
func TestTimeNeverStepsBack(t *testing.T) {
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	open := func(dev netif.Device, addr string) *direct.Stack {
		s, err := direct.New(&direct.Config{
			Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	client, server := open(a, "192.0.2.1/24"), open(b, "192.0.2.2/24")
	l, err := server.Listen(t.Context(), "tcp", "192.0.2.2:7")
	if err != nil {
		t.Fatal(err)
	}
	const conns, size = 4, 8 << 20
	var wg sync.WaitGroup
	both := func(c *direct.TCPConn) {
		var dir sync.WaitGroup
		dir.Go(func() {
			buf := make([]byte, 5000)
			for n := 0; n < size; n += len(buf) {
				if _, err := c.Write(buf); err != nil {
					t.Error(err)
					return
				}
			}
			c.CloseWrite()
		})
		dir.Go(func() { io.Copy(io.Discard, struct{ io.Reader }{c}) })
		dir.Wait()
		if in := c.Info(); in.PAWSDrops != 0 || in.OutOfOrder != 0 {
			t.Errorf("%d segments dropped by PAWS, %d out of order", in.PAWSDrops, in.OutOfOrder)
		}
		c.Close()
	}
	for range conns {
		wg.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			both(c.(*direct.TCPConn))
		})
		wg.Go(func() {
			c, err := client.DialContext(t.Context(), "tcp", "192.0.2.2:7")
			if err != nil {
				t.Error(err)
				return
			}
			both(c.(*direct.TCPConn))
		})
	}
	wg.Wait()
}
