package direct

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/netif"
)

// TestStallCrowd has hundreds of connections write while the device takes nothing: a
// few batches wait, the other connections hold no memory for their turn, and all is
// delivered in the end.
func TestStallCrowd(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		one, two, err := netif.NewWire(netif.WireConfig{Ring: 256})
		if err != nil {
			t.Fatal(err)
		}
		dev := newSlow(one)
		p := pair{newStack(t, dev, "10.0.0.1/24", nil), newStack(t, two, "10.0.0.2/24", nil)}
		defer p.close(t)
		l, err := p.b.ListenTCP("tcp", netip.AddrPortFrom(addrB, 7))
		if err != nil {
			t.Fatal(err)
		}
		const n = 500
		var near, far []net.Conn
		for range n {
			c, err := p.a.Dial(background, "tcp", netip.AddrPort{}, netip.AddrPortFrom(addrB, 7))
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			near, far = append(near, c), append(far, s)
		}
		time.Sleep(time.Second)
		resume := dev.stall(false)
		for i, c := range near {
			go c.Write(patterned(i, 3000))
			if i <= maxStalled {
				synctest.Wait() // the stall is known, and its batches are given out, one by one
			}
		}
		time.Sleep(100 * time.Millisecond)
		q := p.a.ifaces[1].port.queues[0]
		q.stall.mu.Lock()
		batches, waiting := q.stall.n.Load(), len(q.stall.waiting)
		q.stall.mu.Unlock()
		if batches != maxStalled || int(batches)+waiting != n {
			t.Errorf("%d batches and %d connections wait", batches, waiting)
		}
		near[n-1].(*TCPConn).SetLinger(0)
		near[n-1].Close() // one that waits
		resume()
		for i, s := range far[:n-1] {
			got := make([]byte, 3000)
			if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, patterned(i, 3000)) {
				t.Fatalf("connection %d: %v, or not what was written", i, err)
			}
		}
		for i := range near {
			near[i].Close()
			far[i].Close()
		}
	})
}
