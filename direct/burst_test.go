package direct

import (
	"bytes"
	"context"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// acceptRaw returns a stack that is polled by the test, with a connection that the
// raw peer opened and that is past the segments acknowledged at once at the start.
func acceptRaw(t *testing.T, wrap func(netif.Device) netif.Device) (*Stack, *rawConn) {
	t.Helper()
	s, p := newRaw(t, wrap, func(cfg *Config) {
		cfg.Manual = true
		cfg.TCP.ReceiveBuffer = 1 << 20 // more than the test leaves unread: the window stays as it is
	})
	return s, openRaw(t, s, p, 7)
}

// openRaw is a connection that the raw peer opens to the given port of the stack.
func openRaw(t *testing.T, s *Stack, p *rawPeer, port uint16) *rawConn {
	t.Helper()
	l, err := s.ListenTCP("tcp", netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rc := &rawConn{peer: p, port: port, snd: 1000}
	p.tcp(9, port, tcp.Reply{Seq: rc.snd, Flags: tcp.SYN, Window: 65535}, nil)
	rc.snd++
	for rc.rcv == 0 {
		pollDry(s)
		for _, seg := range p.segments() {
			if seg.Flags == tcp.SYN|tcp.ACK {
				rc.rcv = seg.Seq.Add(1)
			}
		}
	}
	rc.send(0, nil)
	pollDry(s)
	if rc.TCPConn, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	for range 40 {
		rc.send(0, buf)
		pollDry(s)
		rc.Read(buf)
	}
	p.take()
	return rc
}

// pollDry polls s until it wants to wait for frames.
func pollDry(s *Stack) {
	for s.Poll(s.clk.Now()) <= s.clk.Now() {
	}
}

// A burst is acknowledged once, when there is no more of it.
func TestBurstIsAcknowledgedOnce(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, c := acceptRaw(t, nil)
		defer s.Close()
		for range 30 {
			c.send(0, make([]byte, 1000))
		}
		if next := s.Poll(s.clk.Now()); next > s.clk.Now() {
			t.Errorf("an ACK is owed, and Poll wants to come back at %v only", next)
		}
		if segs := c.peer.segments(); len(segs) != 0 {
			t.Errorf("%d segments, the first %+v, before the queue is dry", len(segs), segs[0])
		}
		pollDry(s)
		if segs := c.peer.segments(); len(segs) != 1 || segs[0].Ack != c.snd {
			t.Errorf("%d segments, want an ACK of all", len(segs))
		}
		if next := s.Poll(s.clk.Now()); next <= s.clk.Now() {
			t.Error("Poll has nothing to do and wants to come back at once")
		}
		// One that does not end is acknowledged all the same.
		got := 0
		for range 4 * heldRounds {
			c.send(0, make([]byte, 1000))
			c.send(0, make([]byte, 1000))
			s.Poll(s.clk.Now())
			got += len(c.peer.segments())
		}
		if got < 3 || got > 5 {
			t.Errorf("%d ACKs in %d rounds of frames", got, 4*heldRounds)
		}
	})
}

// The ACKs of several connections are sent by the acker, and the receiver reads on when
// the device takes its time with them.
func TestAckerWritesBesideTheReceiver(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var dev *slowDevice
		s, one := acceptRaw(t, func(d netif.Device) netif.Device { dev = newSlow(d); return dev })
		defer s.Close()
		two := openRaw(t, s, one.peer, 8)
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		rx := &one.way.ifc.port.queue(0).rx
		rx.acker = newAcker(s.clk)
		go rx.acker.run(ctx)
		burst := func() {
			for range 10 {
				one.send(0, make([]byte, 1000))
				two.send(0, make([]byte, 1000))
			}
			pollDry(s)
			synctest.Wait()
		}
		resume := dev.stall(true)
		burst() // would wait for the device if the receiver wrote
		if n := len(dev.held()); n != 1 {
			t.Errorf("%d ACKs are at the device, want the acker's first", n)
		}
		burst()
		resume()
		synctest.Wait()
		last := make(map[uint16]tcp.Seq)
		segs := one.peer.segments()
		for _, seg := range segs {
			last[seg.SrcPort] = seg.Ack
		}
		if last[7] != one.snd || last[8] != two.snd || len(segs) > 4 {
			t.Errorf("%d segments, the last ACKs are %v, want %d and %d", len(segs), last, one.snd, two.snd)
		}
	})
}

// Data for a blocked Read goes to its buffer and takes no memory on the way; what
// does not fit in there waits for the next.
func TestBlockedReadTakesDataDirectly(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, c := acceptRaw(t, nil)
		defer s.Close()
		read := func(size int) (wait func() []byte) {
			buf, done := make([]byte, size), make(chan int)
			go func() {
				n, err := c.Read(buf)
				if err != nil {
					t.Error(err)
				}
				done <- n
			}()
			synctest.Wait()
			return func() []byte { return buf[:<-done] }
		}
		limit, refused := s.mem.limit, s.mem.refused.Load()
		s.mem.limit = 0 // a second chunk would be refused
		wait := read(20000)
		for at := 0; at < 18000; at += 1000 {
			c.send(0, patterned(at, 1000))
		}
		s.Poll(s.clk.Now())
		if n := s.mem.refused.Load() - refused; n != 0 {
			t.Errorf("memory was wanted %d times", n)
		}
		if got := wait(); !bytes.Equal(got, patterned(0, 18000)) {
			t.Errorf("read %d bytes, or not the right ones", len(got))
		}
		pollDry(s)
		s.mem.limit = limit

		wait = read(1500)
		c.send(0, patterned(18000, 1000))
		c.send(0, patterned(19000, 1000))
		pollDry(s)
		if got := wait(); !bytes.Equal(got, patterned(18000, 1500)) {
			t.Errorf("read %d bytes, or not the right ones", len(got))
		}
		if got := read(2000)(); !bytes.Equal(got, patterned(19500, 500)) {
			t.Errorf("read %d bytes of what was left, or not the right ones", len(got))
		}

		// A deadline that passes leaves the buffer alone from then on.
		c.SetReadDeadline(time.Now().Add(time.Second))
		late := make([]byte, 1000)
		if n, err := c.Read(late); n != 0 || err == nil {
			t.Errorf("Read: %d, %v", n, err)
		}
		c.SetReadDeadline(time.Time{})
		c.send(0, patterned(20000, 1000))
		pollDry(s)
		if !bytes.Equal(late, make([]byte, 1000)) {
			t.Error("a Read that is over had its buffer written to")
		}
		if got := read(2000)(); !bytes.Equal(got, patterned(20000, 1000)) {
			t.Errorf("read %d bytes after the deadline, or not the right ones", len(got))
		}
	})
}

// Close of a connection with a blocked Read whose buffer has data already: the Read
// has it, and nothing is lost.
func TestCloseWithDataInABlockedRead(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, c := acceptRaw(t, nil)
		defer s.Close()
		type result struct {
			n   int
			err error
		}
		done := make(chan result)
		go func() {
			n, err := c.Read(make([]byte, 100))
			done <- result{n, err}
		}()
		synctest.Wait()
		c.send(0, patterned(0, 100))
		s.Poll(s.clk.Now())
		c.Close()
		if r := <-done; r.n != 100 || r.err != nil {
			t.Errorf("Read: %d, %v", r.n, r.err)
		}
	})
}

// What a blocked reader answers carries the ACK, also when that is owed at once, as at
// the beginning of a connection. A reader that is taken off the processor at this very
// moment answers too late, which no machine makes of five in a row.
func TestAnswerCarriesTheFirstACK(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the reader runs when the receiver yields
	var segs []rawSegment
	for range 5 {
		carried := false
		bubble(t, "", func(t *testing.T) { segs, carried = answerFirst(t) })
		if carried {
			return
		}
	}
	t.Errorf("%d segments, want one with the answer and the ACK: %+v", len(segs), segs)
}

// answerFirst returns what leaves when a blocked reader of a young connection gets a
// question, and whether that is one segment.
func answerFirst(t *testing.T) (segs []rawSegment, carried bool) {
	s, c := acceptRaw(t, nil)
	defer s.Close()
	go func() {
		buf := make([]byte, 100)
		n, _ := c.Read(buf)
		c.Write(buf[:n])
	}()
	synctest.Wait()
	time.Sleep(10 * time.Second) // after a pause, ACKs are not put off
	c.send(0, patterned(0, 100))
	pollDry(s)
	segs = c.peer.segments()
	return segs, len(segs) == 1 && segs[0].Ack == c.snd && len(segs[0].Payload) == 100
}

// What an ACK has let go leaves although the same batch tells of a loss behind it.
func TestLossBehindACKInABatch(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, c := acceptRaw(t, nil)
		defer s.Close()
		if _, err := c.Write(make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		sent := c.peer.segments()
		if len(sent) != 10 {
			t.Fatalf("%d segments at the start", len(sent))
		}
		seg := sent[0]
		c.rcv = seg.Seq.Add(4 * len(seg.Payload))
		for range 4 { // the ACK and three duplicates
			c.send(0, nil)
		}
		pollDry(s)
		fresh, again := 0, 0
		for _, seg := range c.peer.segments() {
			switch {
			case seg.Seq == c.rcv:
				again++
			case sent[9].Seq.Less(seg.Seq):
				fresh++
			default:
				t.Errorf("segment %v", seg.Seq)
			}
		}
		// Slow start makes eight of four, and a duplicate two more (RFC 3042).
		if again != 1 || fresh < 8 || fresh > 10 {
			t.Errorf("%d new segments and %d again", fresh, again)
		}
	})
}
