package tcp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// RFC 9293, section 3.8.6.3: one small segment is acknowledged after 40 ms, every
// second full one at once.
func TestDelayedAck(t *testing.T) {
	w := established(t, plain())
	w.recv("P. 1:101 ack 1 win 100")
	w.advance(39 * time.Millisecond)
	w.none()
	w.advance(time.Millisecond)
	w.expect(". 1:1 ack 101")
	w.read(1, 100)
	w.recv(". 101:1101 ack 1 win 100")
	w.none()
	w.advance(40 * time.Millisecond)
	w.expect(". 1:1 ack 1101")
	w.recv(". 1101:2101 ack 1 win 100")
	w.none()
	w.recv(". 2101:3101 ack 1 win 100")
	w.none() // the reader is behind: its next read tells more than this ACK
	w.read(101, 3000)
	w.expect(". 1:1 ack 3101")
	w.advance(time.Second)
	w.none()
}

// Segments at the start are acknowledged at once, to let the peer's window open.
func TestQuickAcks(t *testing.T) {
	w := dial(t, plain(), synAck)
	quick := 0
	for i := range 40 {
		from := 1 + 100*i
		w.recv(w.text("P. %d:%d ack 1 win 100", from, from+100))
		if len(w.sent) == 1 {
			quick++
		}
		w.skip()
		w.advance(time.Millisecond)
		w.skip()
	}
	if quick < 10 || quick > 30 {
		t.Errorf("%d of 40 small segments were acknowledged at once", quick)
	}
}

// A reply carries the ACK; once the application has shown that it answers, ACKs
// wait for it even at the start.
func TestPingPong(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.mode = OutputHoldAcks
	seq := 1
	for range 20 {
		w.recv(w.text("P. %d:%d ack %d win 100", seq, seq+10, seq))
		w.none()
		w.write(10)
		w.expect(w.text("P. %d:%d ack %d", seq, seq+10, seq+10))
		seq += 10
	}
	w.mode = OutputAll
	w.recv(w.text("P. %d:%d ack %d win 100", seq, seq+10, seq))
	w.none()
	if d := w.until(time.Second); d != 40*time.Millisecond {
		t.Errorf("ACK after %v", d)
	}
	w.expect(w.text(". %d:%d ack %d", seq, seq, seq+10))
}

// RFC 5681, section 4.2, and RFC 2018, section 4: the newest block first, at most
// three beside timestamps.
func TestSackBlocks(t *testing.T) {
	cfg := plain()
	cfg.SACKDelay = -1
	w := established(t, cfg)
	w.recv(". 11:21 ack 1 win 100")
	w.expect(". 1:1 ack 1 <sack 11:21>")
	w.recv(". 31:41 ack 1 win 100")
	w.expect(". 1:1 ack 1 <sack 31:41 11:21>")
	w.recv(". 51:61 ack 1 win 100")
	w.expect(". 1:1 ack 1 <sack 51:61 31:41 11:21>")
	w.recv(". 71:81 ack 1 win 100")
	w.recv2(". 1:1 ack 1 <sack 71:81 51:61 31:41 11:21>", ". 91:101 ack 1 win 100")
	w.expect(". 1:1 ack 1 <sack 91:101 71:81 51:61 31:41>")
	w.recv(". 21:31 ack 1 win 100") // joins two
	w.expect(". 1:1 ack 1 <sack 11:41 91:101 71:81 51:61>")
	w.recv(". 1:11 ack 1 win 100")
	w.expect(". 1:1 ack 41 <sack 91:101 71:81 51:61>")
	w.recv(". 41:91 ack 1 win 100")
	w.expect(". 1:1 ack 101")
	w.read(1, 100)

	w = dial(t, Config{MSS: 1000, SACKDelay: -1}, "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,TS 1 ecr 0>")
	w.recv(". 11:21 ack 1 win 100 <TS 1 ecr 0>", ". 31:41 ack 1 win 100 <TS 1 ecr 0>",
		". 51:61 ack 1 win 100 <TS 1 ecr 0>", ". 71:81 ack 1 win 100 <TS 1 ecr 0>")
	w.expect(". 1:1 ack 1 <TS 0 ecr 1,sack 71:81 51:61 31:41>")
}

// Without SACK each segment out of order owes a duplicate ACK of its own, although
// many arrive in one batch (RFC 5681, section 4.2).
func TestDuplicateAcks(t *testing.T) {
	w := dial(t, plain(), synAckNo)
	w.recv(". 1001:2001 ack 1 win 100", ". 2001:3001 ack 1 win 100", ". 3001:4001 ack 1 win 100")
	w.expect(". 1:1 ack 1", ". 1:1 ack 1", ". 1:1 ack 1")
	w.recv(". 1:1001 ack 1 win 100")
	w.expect(". 1:1 ack 4001")
}

// Data that leaves at the same time does not swallow them: it counts as none (RFC
// 5681, section 2).
func TestDuplicateAcksBesideData(t *testing.T) {
	w := dial(t, plain(), synAckNo)
	w.mode = OutputHoldAcks
	w.recv(". 1001:2001 ack 1 win 100", ". 2001:3001 ack 1 win 100", ". 3001:4001 ack 1 win 100")
	w.mode = OutputAll
	w.write(10)
	w.expect("P. 1:11 ack 1", ". 11:11 ack 1", ". 11:11 ack 1", ". 11:11 ack 1")
}

// An old segment is answered every time, a pure ACK outside of the window not more
// often than twice a second (RFC 5961, section 7).
func TestUnacceptableSegments(t *testing.T) {
	w := established(t, plain())
	w.recv(". 1:1001 ack 1 win 100")
	for range 3 {
		w.recv(". 1:1001 ack 1 win 100")
		w.expect(". 1:1 ack 1001")
	}
	w.recv(". 2000001:2000002 ack 1 win 100")
	w.expect(". 1:1 ack 1001")
	w.recv(". 0:0 ack 1 win 100") // a keep-alive probe
	w.expect(". 1:1 ack 1001")
	w.recv(". 0:0 ack 1 win 100", "S 5:5 win 100", ". 2000001:2000001 ack 1 win 100")
	w.none()
	w.advance(500 * time.Millisecond)
	w.recv("S 5:5 win 100")
	w.expect(". 1:1 ack 1001")
}

// RFC 5961, section 3.2: a reset inside the window but not at its edge is
// challenged, one outside is dropped.
func TestBlindReset(t *testing.T) {
	w := established(t, plain())
	w.recv("R 2000001:2000001 win 0", "R 0:0 win 0")
	w.none()
	w.recv("R 2:2 win 0")
	w.expect(". 1:1 ack 1")
	w.recv("R 3:3 win 0")
	w.none()
	w.state(StateEstablished)
	w.recv("R 1:1 win 0")
	w.state(StateClosed)
}

// RFC 5961, section 5.2: an ACK that is too old, or of what was never sent, is
// challenged and its data dropped.
func TestBlindData(t *testing.T) {
	w := established(t, plain())
	w.recv("P. 1:11 ack 2 win 100")
	w.expect(". 1:1 ack 1")
	w.advance(time.Second)
	w.recv("P. 1:11 ack -70000 win 100")
	w.expect(". 1:1 ack 1")
	w.recv("P 1:11 win 100", "- 1:11 win 100") // no ACK: dropped
	w.none()
	if n := w.c.ReadableBytes(); n != 0 {
		t.Errorf("%d bytes were taken", n)
	}
}

func tsDial(t *testing.T) *wire {
	w := dial(t, Config{MSS: 1000, NoDelay: true}, "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,TS 1000 ecr 0>")
	w.c.quickAcks, w.c.ato = 0, int64(delAckMin)
	w.c.lastData = w.now
	return w
}

// RFC 7323, section 5.3.
func TestPAWS(t *testing.T) {
	w := tsDial(t)
	w.recv("P. 1:11 ack 1 win 100 <TS 998 ecr 0>")
	w.expect(". 1:1 ack 1 <TS 0 ecr 1000>")
	w.recv("P. 1:11 ack 1 win 100 <TS 998 ecr 0>") // data is answered every time
	w.expect(". 1:1 ack 1")
	w.recv("P. 1:11 ack 1 win 100 <TS 1001 ecr 0>")
	w.until(time.Second)
	w.expect(". 1:1 ack 11 <TS 40 ecr 1001>")
	w.advance(920 * time.Millisecond)
	w.recv(". 11:11 ack 1 win 99 <TS 999 ecr 0>") // not harmless: another window
	w.expect(". 1:1 ack 11 <TS 960 ecr 1001>")
	w.recv("R 11:11 win 0 <TS 5 ecr 0>") // resets are excepted
	w.state(StateClosed)
	if in := w.c.Info(); in.PAWSDrops != 3 {
		t.Errorf("%d drops", in.PAWSDrops)
	}
}

// A pure ACK that was overtaken is not answered, as in Linux.
func TestPAWSOvertakenAck(t *testing.T) {
	w := tsDial(t)
	w.recv("P. 1:11 ack 1 win 100 <TS 1010 ecr 0>")
	w.until(time.Second)
	w.skip()
	w.recv(". 11:11 ack 1 win 100 <TS 1005 ecr 0>")
	w.none()
	if in := w.c.Info(); in.PAWSDrops != 0 {
		t.Errorf("%d drops", in.PAWSDrops)
	}
}

// RFC 7323, section 5.5: after 24 days the recorded timestamp means nothing.
func TestPAWSIdle(t *testing.T) {
	w := tsDial(t)
	w.advance(24*24*time.Hour - time.Second)
	w.recv("P. 1:11 ack 1 win 100 <TS 998 ecr 0>")
	w.expect(". 1:1 ack 1")
	w.advance(time.Second)
	w.recv("P. 1:11 ack 1 win 100 <TS 999 ecr 0>")
	w.expect(". 1:1 ack 11")
	w.recv("P. 11:21 ack 1 win 100 <TS 996 ecr 0>")
	w.expect(". 1:1 ack 11")
}

// RFC 7323, section 4.3: the timestamp echoed is that of the segment that filled
// the window's left edge, not of one out of order.
func TestTSRecent(t *testing.T) {
	w := tsDial(t)
	w.recv(". 11:21 ack 1 win 100 <TS 1005 ecr 0>")
	w.expect(". 1:1 ack 1 <TS 0 ecr 1000,sack 11:21>")
	w.recv(". 1:11 ack 1 win 100 <TS 1003 ecr 0>")
	w.expect(". 1:1 ack 21 <TS 0 ecr 1003>")
	// Two in order before an ACK: the first (RFC 7323, section 4.3, (2)).
	w.c.quickAcks = 0
	w.recv(". 21:31 ack 1 win 100 <TS 1010 ecr 0>", ". 31:41 ack 1 win 100 <TS 1012 ecr 0>")
	w.until(time.Second)
	w.expect(". 1:1 ack 41 <TS 40 ecr 1010>")
}

// RFC 9293, section 3.8.6.2.2: the window opens by whole segments, and is announced
// when it has doubled, however little the reader takes at a time.
func TestReceiverSillyWindow(t *testing.T) {
	cfg := plain()
	cfg.ReceiveBuffer = 4000
	w := dial(t, cfg, synAckNo)
	w.recv(". 1:1001 ack 1 win 100", ". 1001:2001 ack 1 win 100", ". 2001:3001 ack 1 win 100", ". 3001:4001 ack 1 win 100")
	w.expect(". 1:1 ack 4001 win 0")
	var opened []string
	for seq := 1; seq <= 4000; seq += 100 {
		w.read(seq, 100)
		for _, l := range w.lines() {
			opened = append(opened, fmt.Sprint(seq/1000, l))
		}
		w.skip()
	}
	if got := strings.Join(opened, ", "); got != "1. 1:1 ack 4001 win 1000, 2. 1:1 ack 4001 win 2000" {
		t.Errorf("the window opened so: %s", got)
	}
}

// A window that is announced is rounded up to the scale's unit, never down: the
// edge may not move left (RFC 7323, section 2.4). The harness watches it.
func TestWindowRounding(t *testing.T) {
	cfg := plain()
	cfg.ReceiveBuffer = 5000
	w := dial(t, cfg, synAck)
	seq := 1
	for i := 0; i < 200; i++ {
		n := i%7 + 1
		w.recv(w.text("P. %d:%d ack 1 win 100", seq, seq+n))
		seq += n
		w.skip()
		if w.c.rcvWup != w.c.rcvNxt {
			w.until(time.Second)
			w.skip()
		}
	}
	if seq > w.c.ReadableBytes()+1 {
		t.Errorf("%d bytes of %d were taken", w.c.ReadableBytes(), seq-1)
	}
}

// A peer that exploits the rounding by sending single bytes can't make the buffer
// grow without end.
func TestWindowCreep(t *testing.T) {
	cfg := plain()
	cfg.ReceiveBuffer = 2048
	w := dial(t, cfg, synAck)
	seq := 1
	for range 200000 {
		s := w.parse("P. 1:2 ack 1 win 100")
		s.Seq = w.irs.Add(seq)
		before := w.c.rcvNxt
		w.c.Input(w.now, &s)
		w.c.Output(w.now, w.b, OutputAll)
		w.c.Sent(w.now)
		if w.c.rcvNxt == before {
			break
		}
		seq++
	}
	if n := w.c.ReadableBytes(); n > 2048+70<<10 {
		t.Errorf("%d bytes in a buffer of 2048", n)
	}
}

// SetBuffers takes back nothing that was announced.
func TestShrinkReceiveBuffer(t *testing.T) {
	w := established(t, plain())
	w.recv(". 1:1001 ack 1 win 100", ". 1:1 ack 1 win 100")
	w.until(time.Second)
	w.expect(". 1:1 ack 1001 win 64") // what the SYN announced less the 1000 bytes, rounded up
	w.do(func(c *Conn) { c.SetBuffers(0, 4096) })
	for seq := 1001; seq < 62000; seq += 1000 {
		w.recv(w.text(". %d:%d ack 1 win 100", seq, seq+1000))
		w.skip()
	}
	if n := w.c.ReadableBytes(); n < 60000 {
		t.Errorf("%d bytes were taken", n)
	}
	for n := w.c.ReadableBytes(); n > 0; n = w.c.ReadableBytes() {
		w.do(func(c *Conn) { c.Discard(w.now, n) })
	}
	w.skip()
	if in := w.c.Info(); in.ReceiveWindow < 2000 {
		t.Errorf("%d", in.ReceiveWindow)
	}
}

// A probe of one byte beyond a closed window, as BSD sends it, is answered.
func TestForeignWindowProbe(t *testing.T) {
	cfg := plain()
	cfg.ReceiveBuffer = 2048
	w := dial(t, cfg, synAckNo)
	w.recv(". 1:1001 ack 1 win 100", ". 1001:2001 ack 1 win 100")
	w.expect(". 1:1 ack 2001 win 0")
	for range 5 {
		w.recv(". 2001:2002 ack 1 win 100")
		w.expect(". 1:1 ack 2001 win 0")
	}
}

// At most 256 holes are kept; what is dropped is asked for again.
func TestManyHoles(t *testing.T) {
	w := established(t, plain())
	for i := range 400 {
		w.recv(w.text(". %d:%d ack 1 win 100", 10*i+11, 10*i+16))
		w.skip()
	}
	if n := len(w.c.rcvBuf.runs); n != maxHoles {
		t.Errorf("%d holes", n)
	}
	w.recv(". 1:1001 ack 1 win 100", ". 1001:2001 ack 1 win 100", ". 2001:3001 ack 1 win 100", ". 3001:4001 ack 1 win 100")
	w.skip()
	w.read(1, 4000)
}

// Holes between full segments are kept in thousands: a window of which every second
// segment is lost needs one repetition of each, and no timeout. Crumbs are not worth it.
func TestManyLargeHoles(t *testing.T) {
	for size, want := range map[int]int{1448: mostHoles, 536: mostHoles, worthHole - 1: maxHoles, 1: maxHoles} {
		b := recvBuffer{mem: heap{}}
		for i := range mostHoles + 10 {
			b.insert(Seq((2*i+1)*size), stream(0, size))
		}
		if err := b.check(); err != nil || len(b.runs) != want {
			t.Errorf("runs of %d bytes: %d, want %d; %v", size, len(b.runs), want, err)
		}
		for i := range mostHoles + 10 {
			b.insert(b.nxt, stream(0, min(size, Seq((2*i+1)*size).Sub(b.nxt))))
			b.discard(b.buffered())
			if i%1000 == 0 {
				if err := b.check(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if b.ahead != 0 || len(b.runs) != 0 {
			t.Errorf("runs of %d bytes: %d and %d bytes are left", size, len(b.runs), b.ahead)
		}
	}
}

// What came first stays, whatever the peer sends for the same numbers later.
func TestFirstBytesStay(t *testing.T) {
	w := established(t, plain())
	send := func(from int, text string) {
		w.c.Input(w.now, &Segment{Seq: w.c.irs.Add(from), Ack: w.c.sndNxt, Flags: ACK, Window: 100, Payload: []byte(text)})
		if err := w.c.Check(false); err != nil {
			t.Fatal(err)
		}
		w.skip()
	}
	send(5, "EF")
	send(9, "I")
	send(3, "cdefghijk") // across both, and behind
	send(4, "????????")
	send(1, "ABxx")
	p := make([]byte, 100)
	n, err := w.c.Read(w.now, p)
	if got := string(p[:n]); err != nil || got != "ABcdEFghIjk" {
		t.Errorf("%q, %v", got, err)
	}
}

// CloseRead: what has arrived can be read; the peer is not told.
func TestCloseRead(t *testing.T) {
	w := established(t, plain())
	w.recv("P. 1:11 ack 1 win 100")
	w.do(func(c *Conn) { c.CloseRead(w.now) })
	w.read(1, 10)
	w.expect(". 1:1 ack 11") // read, and the peer had no more to say
	if w.c.ReadErr() == nil {
		t.Error("no end")
	}
}

// RFC 9293, section 3.8.4.
func TestKeepAlive(t *testing.T) {
	cfg := plain()
	cfg.KeepAlive = KeepAlive{Enable: true, Idle: 10 * time.Second, Interval: 2 * time.Second, Count: 3}
	w := established(t, cfg)
	if d := w.until(time.Hour); d != 10*time.Second {
		t.Errorf("first probe after %v", d)
	}
	w.expect(". 0:0 ack 1")
	w.recv(". 1:1 ack 1 win 100")
	w.advance(8 * time.Second)
	w.recv("P. 1:2 ack 1 win 100")
	w.skip()
	w.advance(9 * time.Second)
	w.advance(time.Second)
	w.expect(". 0:0 ack 2")
	w.advance(2 * time.Second)
	w.expect(". 0:0 ack 2")
	w.advance(2 * time.Second)
	w.expect(". 0:0 ack 2")
	w.advance(2 * time.Second)
	w.expect("R. 1:1 ack 2")
	if w.c.Err() != ErrTimeout {
		t.Errorf("%v", w.c.Err())
	}
}

// Two ends that probe each other at once both get an answer: a probe is none, since its
// number is not acceptable (RFC 1122, section 4.2.3.6).
func TestKeepAliveCrossing(t *testing.T) {
	cfg := plain()
	cfg.KeepAlive = KeepAlive{Enable: true, Idle: 10 * time.Second, Interval: 2 * time.Second, Count: 3}
	w := established(t, cfg)
	w.advance(9 * time.Second)
	w.mode = OutputHoldAcks // as a driver that still has frames at hand
	w.recv(". 0:0 ack 1 win 100")
	w.mode = OutputAll
	w.advance(time.Second)
	w.expect(". 0:0 ack 1", ". 1:1 ack 1")
}

// With a buffer that waits, data in order goes there, past the receive buffer, and
// the window does not shrink for it.
func TestInputInto(t *testing.T) {
	w := newWire(t)
	cfg := plain()
	mem := newPoison(t, 1000)
	cfg.Memory = mem
	w.connect(cfg)
	w.skip()
	w.recv(synAck)
	w.skip()
	p := make([]byte, 2500)
	got := 0
	into := func(line string, want int) {
		t.Helper()
		s := w.parse(line)
		n := w.c.InputInto(w.now, &s, p[got:])
		if got += n; n != want {
			t.Errorf("%s: %d bytes, want %d", line, n, want)
		}
		w.drive()
		w.skip()
	}
	edge := w.c.rcvAdv.Sub(w.c.rcvNxt)
	into(". 1:1001 ack 1 win 100", 1000)
	into(". 501:1501 ack 1 win 100", 500) // half of it is old
	if len(mem.out) != 0 || w.c.ReadableBytes() != 0 {
		t.Errorf("%d chunks, %d bytes to read", len(mem.out), w.c.ReadableBytes())
	}
	if now := w.c.rcvAdv.Sub(w.c.rcvNxt); now < edge-1000 {
		t.Errorf("the window went from %d to %d", edge, now)
	}
	into(". 1601:1701 ack 1 win 100", 0) // out of order
	into(". 1501:1551 ack 1 win 100", 0) // so it takes its place in the buffer
	into(". 1551:1601 ack 1 win 100", 0)
	if n, _ := w.c.Read(w.now, p[got:got+200]); n != 200 {
		t.Errorf("%d bytes to read", n)
	}
	got += 200
	into(". 1701:3001 ack 1 win 100", 800) // more than there is room for
	if w.c.ReadableBytes() != 500 || w.c.Info().Unread != 500 {
		t.Errorf("%d bytes are left", w.c.ReadableBytes())
	}
	if !bytes.Equal(p, stream(0, len(p))) {
		t.Error("the bytes are not the stream's")
	}
	w.read(2501, 500)
	into(". 3001:3101 ack 1 win 100", 0) // p is full
	w.read(3001, 100)
	w.c.Abort(w.now)
	w.c.Release()
	if len(mem.out) != 0 {
		t.Errorf("%d chunks are not given back", len(mem.out))
	}
}
