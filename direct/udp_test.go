package direct

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/netduet/netduet/netif"
)

// TestUDPSockets looks at which of several sockets at one port a datagram goes to.
func TestUDPSockets(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		a, b, err := netif.NewWire(netif.WireConfig{})
		if err != nil {
			t.Fatal(err)
		}
		p := pair{newStack(t, a, "10.0.0.1/24", nil), newStack(t, b, "10.0.0.2/24", func(c *Config) {
			c.Interfaces[0].Addrs = append(c.Interfaces[0].Addrs, netip.MustParsePrefix("10.0.0.3/24"))
		})}
		defer p.close(t)
		listen := func(s *Stack, at string) *UDPConn {
			c, err := s.ListenUDP("udp", netip.MustParseAddrPort(at))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		two, three := listen(p.b, "10.0.0.2:7"), listen(p.b, "10.0.0.3:7")
		any8 := listen(p.b, "0.0.0.0:8")
		if c, err := p.b.ListenUDP("udp", netip.MustParseAddrPort("0.0.0.0:7")); err == nil {
			c.Close()
			t.Error("the wildcard was bound beside an address of the same port")
		}
		from := listen(p.a, "10.0.0.1:5")
		peer, err := p.b.Dial(background, "udp", netip.MustParseAddrPort("10.0.0.2:9"), netip.MustParseAddrPort("10.0.0.1:5"))
		if err != nil {
			t.Fatal(err)
		}
		other := listen(p.a, "10.0.0.1:6")
		for _, c := range []struct {
			via  *UDPConn
			to   string
			want *UDPConn
		}{
			{from, "10.0.0.2:7", two},
			{from, "10.0.0.3:7", three},
			{from, "10.0.0.2:8", any8},
			{from, "10.0.0.3:8", any8},
			{from, "10.0.0.255:8", any8},
			{from, "255.255.255.255:8", any8},
			{from, "10.0.0.255:7", nil}, // bound to an address: no broadcasts
			{from, "10.0.0.2:9", peer.(*UDPConn)},
			{other, "10.0.0.2:9", nil}, // not the peer that the socket is connected to
			{from, "10.0.0.3:9", nil},
		} {
			if _, err := c.via.WriteToUDPAddrPort([]byte(c.to), netip.MustParseAddrPort(c.to)); err != nil {
				t.Fatalf("to %s: %v", c.to, err)
			}
			synctest.Wait()
			for _, s := range []*UDPConn{two, three, any8, peer.(*UDPConn)} {
				s.mu.Lock()
				n := s.n
				s.mu.Unlock()
				if want := s == c.want; (n == 1) != want || n > 1 {
					t.Errorf("to %s: %v has %d datagrams", c.to, s.LocalAddr(), n)
				}
				if n > 0 {
					buf := make([]byte, 100)
					k, src, err := s.ReadFromUDPAddrPort(buf)
					if err != nil || string(buf[:k]) != c.to || src.Addr() != addrA {
						t.Errorf("%q from %v, %v", buf[:k], src, err)
					}
				}
			}
		}
	})
}
