package direct

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// rawConn is an established connection between the stack and a raw peer.
type rawConn struct {
	*TCPConn
	peer     *rawPeer
	port     uint16  // the stack's
	snd, rcv tcp.Seq // the peer's next, and the next it expects
}

// connectRaw has the stack dial port 9 of the peer.
func connectRaw(t testing.TB, s *Stack, p *rawPeer) *rawConn {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := s.Dial(background, "tcp", netip.AddrPort{}, netip.AddrPortFrom(addrB, 9))
		done <- result{c, err}
	}()
	rc := &rawConn{peer: p, snd: 1000}
	for rc.port == 0 {
		synctest.Wait()
		for _, seg := range p.segments() {
			if seg.Flags == tcp.SYN {
				rc.port, rc.rcv = seg.SrcPort, seg.Seq.Add(1)
			}
		}
	}
	p.tcp(9, rc.port, tcp.Reply{Seq: rc.snd, Ack: rc.rcv, Flags: tcp.SYN | tcp.ACK, Window: 65535}, nil)
	rc.snd++
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	rc.TCPConn = r.c.(*TCPConn)
	synctest.Wait()
	p.take()
	return rc
}

// send sends a segment from the peer.
func (c *rawConn) send(flags tcp.Flags, data []byte) {
	c.peer.tcp(9, c.port, tcp.Reply{Seq: c.snd, Ack: c.rcv, Flags: flags | tcp.ACK, Window: 65535}, data)
	c.snd = c.snd.Add(len(data))
}

// pattern is what stands at offset i of the stream.
func pattern(i int) byte { return byte(i ^ i>>8 ^ i>>16) }

func patterned(from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = pattern(from + i)
	}
	return b
}

// TestStalledWrite holds a device write up and lets everything happen meanwhile
// that could take the memory away under it: an ACK for data that has not left yet, a
// reset, Close, and a new connection that wants memory. What leaves in the end must
// be what was written.
func TestStalledWrite(t *testing.T) {
	for _, within := range []bool{true, false} {
		for _, what := range []string{"ack", "reset", "close", "abort", "ack+reset", "ack+close", "stack"} {
			name := what + " short"
			if within {
				name = what + " within"
			}
			bubble(t, name, func(t *testing.T) { testStalledWrite(t, within, what) })
		}
	}
}

func testStalledWrite(t *testing.T, within bool, what string) {
	var dev *slowDevice
	s, p := newRaw(t, func(d netif.Device) netif.Device { dev = newSlow(d); return dev }, nil)
	defer s.Close()
	c := connectRaw(t, s, p)
	start := c.rcv
	resume := dev.stall(within)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Write(patterned(0, 1<<20))
		c.Write(patterned(1<<20, 1<<20))
	}()
	synctest.Wait()
	held := dev.held()
	if len(held) == 0 {
		t.Fatal("nothing was held up")
	}
	end := start
	for _, f := range held {
		if seg, ok := parseTCP(t, f); ok && end.Less(seg.End()) {
			end = seg.End()
		}
	}
	switch what {
	case "ack", "ack+reset", "ack+close":
		c.rcv = end
		c.send(0, nil)
		synctest.Wait()
	}
	switch what {
	case "reset", "ack+reset":
		c.send(tcp.RST, nil)
		synctest.Wait()
	case "close", "ack+close":
		c.Close()
	case "abort":
		c.SetLinger(0)
		c.Close()
	case "stack":
		go s.Close()
		synctest.Wait()
	}
	// Others want memory, and fill it with something else.
	l, err := s.Listen(background, "tcp", "127.0.0.1:1")
	if err == nil {
		go func() {
			if c, err := s.DialContext(background, "tcp", "127.0.0.1:1"); err == nil {
				c.SetDeadline(time.Now().Add(time.Second))
				c.Write(bytes.Repeat([]byte{0xee}, 4<<20))
				c.Close()
			}
		}()
		synctest.Wait()
	} else if what != "stack" {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	resume()
	// A peer that acknowledges whatever comes.
	for range 3000 {
		synctest.Wait()
		segs := p.segments()
		for _, seg := range segs {
			at := seg.Seq.Sub(start)
			if want := patterned(at, len(seg.Payload)); !bytes.Equal(seg.Payload, want) {
				t.Fatalf("%d bytes at %d are not what was written", len(seg.Payload), at)
			}
			if c.rcv.Less(seg.End()) && seg.Seq.LessEq(c.rcv) {
				c.rcv = seg.End()
			}
			if seg.Flags.Has(tcp.RST) {
				return
			}
		}
		if len(segs) > 0 {
			c.send(0, nil)
		} else {
			break
		}
	}
	if what == "stack" {
		// The reset was left to the transmitter that the device held up.
		t.Error("the closed stack sent no reset")
	}
	if what == "ack" {
		<-done
		synctest.Wait()
		if n := c.rcv.Sub(start); n != 2<<20 {
			t.Errorf("%d bytes came, want all", n)
		}
	}
	if err == nil {
		l.Close()
	}
	c.Close()
	if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if n := s.mem.used.Load(); n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
}
