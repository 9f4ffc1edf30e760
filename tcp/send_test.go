package tcp

import (
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// RFC 9293, section 3.7.4, in Minshall's variant: a small segment waits only while
// another small one is unacknowledged.
func TestNagle(t *testing.T) {
	cfg := plain()
	cfg.NoDelay = false
	w := established(t, cfg)
	w.write(10)
	w.expect("P. 1:11 ack 1")
	w.write(10)
	w.none()
	w.write(10)
	w.none()
	w.recv(". 1:1 ack 11 win 65535")
	w.expect("P. 11:31 ack 1")
	w.write(1500) // a whole segment may leave, the rest waits
	w.expect(". 31:1031 ack 1")
	w.recv(". 1:1 ack 31 win 65535")
	w.expect("P. 1031:1531 ack 1")
	w.recv(". 1:1 ack 1531 win 65535")
	w.write(1500)
	w.expect(". 1531:2531 ack 1", "P. 2531:3031 ack 1") // Minshall: behind a full one
	w.write(10)
	w.none()
	w.do(func(c *Conn) { c.SetNoDelay(w.now, true) })
	w.expect("P. 3031:3041 ack 1")
	w.do(func(c *Conn) { c.SetNoDelay(w.now, false) })
	w.write(10)
	w.none()
	w.closeWrite() // FIN ends waiting
	w.expect("FP. 3041:3051 ack 1")
}

// The odd rest of a large segment is a small segment, too.
func TestNagleGSO(t *testing.T) {
	cfg := plain()
	cfg.NoDelay, cfg.MaxGSO = false, 65000
	w := established(t, cfg)
	w.write(3500)
	w.expect("P. 1:3501 ack 1 gso 1000")
	w.write(3500)
	w.expect("P. 3501:6501 ack 1 gso 1000")
	w.recv(". 1:1 ack 6501 win 65535")
	w.expect("P. 6501:7001 ack 1")
}

// RFC 9293, section 3.8.6.2.1: part of a segment does not leave because of the
// window, until the probe timer says that the window stays small.
func TestSenderSillyWindow(t *testing.T) {
	w := established(t, plain())
	w.recv(". 1:1 ack 1 win 65535")
	w.write(3000)
	w.expect(". 1:1001 ack 1", ". 1001:2001 ack 1", "P. 2001:3001 ack 1")
	w.recv("P. 1:2 ack 3001 win 400") // new text: a window may be told anew
	w.write(1000)
	w.skip()
	if w.c.UnsentBytes() != 1000 {
		t.Fatal("sent into a small window")
	}
	w.until(time.Second)
	w.skip()
	if n := w.c.UnackedBytes(); n != 400 {
		w.until(time.Second)
		w.skip()
		if n = w.c.UnackedBytes(); n != 400 {
			t.Errorf("%d bytes sent", n)
		}
	}
	w.recv(". 2:2 ack 3401 win 700")
	w.expect("P. 3401:4001 ack 2")
}

// A peer whose buffer is smaller than two segments gets halves of it, and not one
// segment for each timer.
func TestSmallPeerBuffer(t *testing.T) {
	w := dial(t, plain(), "S. 0:0 ack 1 win 1200 <mss 1000,sackOK>")
	w.write(3000)
	w.expect(". 1:601 ack 1", ". 601:1201 ack 1")
	w.recv(". 1:1 ack 1201 win 1200")
	w.expect(". 1201:1801 ack 1", ". 1801:2401 ack 1")
	w = dial(t, plain(), "S. 0:0 ack 1 win 300 <mss 1000,sackOK>")
	w.write(500)
	w.expect(". 1:301 ack 1")
	w.recv(". 1:1 ack 301 win 300")
	w.expect("P. 301:501 ack 1")
}

// RFC 9293, section 3.8.6.1: probes with exponential backoff, for ever while the
// peer answers.
func TestZeroWindow(t *testing.T) {
	w := established(t, plain())
	w.recv("P. 1:2 ack 1 win 0")
	w.until(time.Second)
	w.skip()
	w.write(1500)
	w.none()
	last := time.Duration(0)
	for i := range 40 {
		d := w.until(10 * time.Minute)
		w.expect(". 0:0 ack 2")
		if i > 0 && d != min(2*last, maxRTO) {
			t.Fatalf("probe %d after %v, the one before after %v", i, d, last)
		}
		last = d
		w.recv(". 2:2 ack 1 win 0")
	}
	if last != maxRTO {
		t.Errorf("probes every %v", last)
	}
	w.recv(". 2:2 ack 1 win 5000")
	w.expect(". 1:1001 ack 2", "P. 1001:1501 ack 2")
	// The trouble was no loss: a timeout now is the first, and far from the last.
	d := w.until(time.Minute)
	w.expect(". 1:1001 ack 2")
	if d > 2*time.Second {
		t.Errorf("timeout %v: the probes' backoff stays", d)
	}
	if d = w.until(time.Minute); w.c.Err() != nil {
		t.Errorf("%v after %v", w.c.Err(), d)
	}
}

// A user timeout bounds the time that an answering peer keeps its window closed, as
// in Linux, and begins anew for what is sent when it opens.
func TestUserTimeoutAndZeroWindow(t *testing.T) {
	for _, opens := range []bool{false, true} {
		cfg := plain()
		cfg.UserTimeout = 10 * time.Second
		w := established(t, cfg)
		w.recv("P. 1:2 ack 1 win 0")
		w.until(time.Second)
		w.skip()
		w.write(1500)
		var first clock.Time
		for range 3 {
			w.until(10 * time.Minute)
			w.expect(". 0:0 ack 2")
			w.recv(". 2:2 ack 1 win 0")
			if first == 0 {
				first = w.now
			}
		}
		if opens {
			w.recv(". 2:2 ack 1 win 5000")
			w.skip()
			w.until(time.Minute)
			w.expect(". 1:1001 ack 2")
			w.state(StateEstablished)
			first = w.now
		}
		for w.c.Err() == nil {
			w.skip()
			w.until(time.Minute)
		}
		if d := w.now.Sub(first); w.c.Err() != ErrTimeout || d < 9900*time.Millisecond || d > 10*time.Second {
			t.Errorf("%v after %v", w.c.Err(), d)
		}
	}
}

// A peer that does not answer probes is dead after R2.
func TestZeroWindowDeadPeer(t *testing.T) {
	w := established(t, plain())
	w.recv("P. 1:2 ack 1 win 0")
	w.until(time.Second)
	w.skip()
	w.write(1500)
	begin := w.now
	for w.c.Err() == nil {
		w.until(time.Hour)
		if w.c.Err() == nil {
			w.expect(". 0:0 ack 2")
		}
	}
	w.none()
	if d := w.now.Sub(begin); w.c.Err() != ErrTimeout || d < 13*time.Minute || d > 30*time.Minute {
		t.Errorf("%v after %v", w.c.Err(), d)
	}
}

// A window that closes over data in flight: the retransmission timer probes.
func TestWindowClosesOverData(t *testing.T) {
	w := established(t, plain())
	w.write(3000)
	w.skip()
	w.recv("P. 1:2 ack 1001 win 0")
	w.skip()
	for range 20 {
		w.until(10 * time.Minute)
		if w.c.Err() != nil {
			t.Fatal(w.c.Err())
		}
		w.skip()
		w.recv(". 2:2 ack 1001 win 0")
	}
	w.recv(". 2:2 ack 1001 win 9000")
	w.expect(". 1001:2001 ack 2")
	w.recv(". 2:2 ack 2001 win 9000")
	w.expect("P. 2001:3001 ack 2")
	w.recv(". 2:2 ack 3001 win 9000")
	w.none()
}

// Of two ACKs with the same numbers, the overtaken one must not narrow the window; a
// closed one is believed, as Linux has it.
func TestOvertakenWindowUpdate(t *testing.T) {
	w := dial(t, plain(), "S. 0:0 ack 1 win 2000 <mss 1000,sackOK>")
	w.write(2000)
	w.skip()
	w.recv(". 1:1 ack 2001 win 3000", ". 1:1 ack 2001 win 500")
	w.write(1000)
	w.expect("P. 2001:3001 ack 1")
	w.recv(". 1:1 ack 3001 win 2000", ". 1:1 ack 3001 win 0")
	w.write(10)
	w.none()
}

// RFC 6928: ten segments; RFC 5681: then the window opens by what is acknowledged.
func TestSlowStart(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(100000)
	if len(w.sent) != 10 {
		t.Fatalf("%d segments", len(w.sent))
	}
	w.skip()
	w.recv(". 1:1 ack 2001 win 65535")
	w.expect(". 10001:11001 ack 1", ". 11001:12001 ack 1", ". 12001:13001 ack 1", ". 13001:14001 ack 1")
}

// RFC 5681, section 4.1: after an idle timeout no more than the initial window.
func TestRestartAfterIdle(t *testing.T) {
	w := dial(t, plain(), "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,wscale 3>")
	w.write(100000)
	for w.c.UnackedBytes() > 0 {
		w.skip()
		w.recv(w.text(". 1:1 ack %d win 65535", w.c.sndNxt.Sub(w.iss)))
	}
	w.skip()
	if w.c.Info().Window < 50000 {
		t.Fatalf("window %d", w.c.Info().Window)
	}
	w.advance(10 * time.Second)
	w.write(50000)
	if n := w.c.UnackedBytes(); n != 10000 {
		t.Errorf("%d bytes sent after a pause", n)
	}
}

// A large segment for the device: whole segments, cut by the windows; partial ACKs
// and SACKs divide it.
func TestGSO(t *testing.T) {
	cfg := plain()
	cfg.MaxGSO = 65000
	w := dial(t, cfg, synAck)
	w.write(25500)
	w.expect("P. 1:5001 ack 1 gso 1000", "P. 5001:10001 ack 1 gso 1000") // half a window at most, as Linux has it
	w.recv(". 1:1 ack 3001 win 65535")
	w.expect("P. 10001:16001 ack 1 gso 1000")
	w.recv(". 1:1 ack 3001 win 65535 <sack 5001:16001>")
	w.expect("P. 3001:5001 ack 1 gso 1000", "P. 16001:19001 ack 1 gso 1000", ". 19001:20001 ack 1")
	w.recv(". 1:1 ack 20001 win 65535")
	w.expect("P. 20001:23001 ack 1 gso 1000", "P. 23001:25501 ack 1 gso 1000")
}

// RFC 6298: rule 5.4 to 5.6, backoff, the cap, and R2 after 924 s.
func TestRetransmissionTimeout(t *testing.T) {
	w := established(t, plain())
	w.advance(time.Second)
	w.write(10)
	w.expect("P. 1:11 ack 1")
	begin := w.now
	want := w.c.Info().RTO
	n := 0
	for w.c.Err() == nil {
		d := w.until(time.Hour)
		if w.c.Err() != nil {
			break
		}
		n++
		if d != want {
			t.Fatalf("timeout %d after %v, want %v", n, d, want)
		}
		want = min(2*want, maxRTO)
		w.expect("P. 1:11 ack 1")
	}
	w.none()
	if d := w.now.Sub(begin); w.c.Err() != ErrTimeout || d < 15*time.Minute || d > 18*time.Minute {
		t.Errorf("%v after %v and %d repetitions", w.c.Err(), d, n)
	}
}

// The user timeout is met exactly, not at the next retransmission. As in Linux it is
// counted from the first one.
func TestUserTimeout(t *testing.T) {
	cfg := plain()
	cfg.UserTimeout = 5 * time.Second
	w := established(t, cfg)
	w.write(10)
	w.expect("P. 1:11 ack 1")
	w.until(time.Minute)
	w.expect("P. 1:11 ack 1")
	begin := w.now
	for w.c.Err() == nil {
		w.skip()
		w.until(time.Minute)
	}
	if d := w.now.Sub(begin); w.c.Err() != ErrTimeout || d != 5*time.Second {
		t.Errorf("%v after %v", w.c.Err(), d)
	}
}

// Karn: an ACK of what was retransmitted gives no sample; with timestamps it does.
func TestKarn(t *testing.T) {
	w := established(t, plain())
	before := w.c.rtt
	w.write(10)
	w.skip()
	w.until(time.Minute)
	w.skip()
	w.recv(". 1:1 ack 11 win 100")
	if w.c.rtt != before {
		t.Errorf("%+v", w.c.rtt)
	}
	w = tsDial(t)
	w.write(10)
	w.skip()
	w.until(time.Minute)
	sent := w.sent[0]
	w.skip()
	w.advance(30 * time.Millisecond)
	var s Segment
	Parse(sent.Packet, &s)
	a := w.parse(". 1:1 ack 11 win 100 <TS 1001 ecr 0>")
	a.Options.TSEcr = s.Options.TSVal
	w.c.Input(w.now, &a)
	if w.c.rtt.latest != 30*time.Millisecond {
		t.Errorf("sample %v", w.c.rtt.latest)
	}
}

// RFC 1191, RFC 5927, section 7: what was too large is sent again in smaller
// segments, at once and without a reduction of the window.
func TestPacketTooBig(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(3000)
	w.skip()
	window := w.c.cwnd()
	w.do(func(c *Conn) {
		c.PacketTooBig(w.now, w.iss, 700)            // not outstanding
		c.PacketTooBig(w.now, w.iss.Add(3001), 700)  // not sent
		c.PacketTooBig(w.now, w.iss.Add(1001), 1000) // no news
	})
	w.none()
	w.do(func(c *Conn) { c.PacketTooBig(w.now, w.iss.Add(1001), 700) })
	w.expect(". 1:701 ack 1", ". 701:1001 ack 1", ". 1001:1701 ack 1", ". 1701:2001 ack 1", ". 2001:2701 ack 1", "P. 2701:3001 ack 1")
	w.recv(". 1:1 ack 1001 win 65535")
	if got := w.c.cwnd(); got < window {
		t.Errorf("window of %d segments, before %d", got, window)
	}
	w.recv(". 1:1 ack 3001 win 65535")
	w.write(1000)
	w.expect(". 3001:3701 ack 1", "P. 3701:4001 ack 1")
	w.do(func(c *Conn) { c.PacketTooBig(w.now, w.iss.Add(3001), 1) }) // forged: bounded
	w.expect(". 3001:3513 ack 1", "P. 3513:4001 ack 1")
	if got := w.c.Info().SegmentSize; got != minPathMSS {
		t.Errorf("segment size %d", got)
	}
}

// An application that writes single bytes does not get a record for each without
// end.
func TestManySmallWrites(t *testing.T) {
	w := dial(t, plain(), "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,wscale 14>")
	w.c.cc.(*reno).cwnd = 1 << 20
	for range 3 * maxRanges {
		if n, _ := w.c.Write(w.now, []byte{1}); n != 1 {
			t.Fatal("refused")
		}
		w.c.Output(w.now, w.b, OutputAll)
		w.c.Sent(w.now)
	}
	w.check(true)
	if n := w.c.ranges.count; n != maxRanges {
		t.Errorf("%d ranges", n)
	}
	s := w.parse(w.text(". 1:1 ack %d win 65535", maxRanges+1))
	w.c.Input(w.now, &s)
	w.drive()
	if n := w.c.UnackedBytes(); n < 2*maxRanges {
		t.Errorf("%d bytes followed", n)
	}
}

// OutputHoldAcks holds back nothing but pure ACKs.
func TestHoldAcks(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.mode = OutputHoldAcks
	w.recv(". 1:1001 ack 1 win 100")
	w.none()
	w.mode = OutputAll
	w.drive()
	w.expect(". 1:1 ack 1001")
}

// OutputHoldBulk holds back the ACKs of data in order only, and those not for ever.
func TestHoldBulk(t *testing.T) {
	cfg := plain()
	cfg.ReceiveBuffer = 1 << 20
	w := dial(t, cfg, synAck)
	seq := 1
	bulk := func(n int) {
		w.recv(w.text(". %d:%d ack 1 win 100", seq, seq+n))
		seq += n
	}
	ack := func() { w.expect(w.text(". 1:1 ack %d", seq)) }
	for range 20 { // the start, which is acknowledged at once
		bulk(10000)
		w.skip()
		w.read(seq-10000, 10000)
		w.skip()
	}
	start := seq
	w.mode = OutputHoldBulk
	bulk(10000)
	w.none()
	bulk(10000)
	w.none()
	if !w.c.AckOwed() {
		t.Error("no ACK is owed")
	}
	w.mode = OutputAll
	w.drive()
	ack()
	if w.c.AckOwed() {
		t.Error("an ACK is owed still")
	}

	w.mode = OutputHoldBulk
	bulk(2000)
	w.write(10) // carries it
	w.expect(w.text("P. 1:11 ack %d", seq))
	w.mode = OutputAll
	w.drive()
	w.none()

	// A hole is told at once, behind what came before it, and so is its end.
	w.mode = OutputHoldBulk
	bulk(2000)
	w.recv(w.text(". %d:%d ack 11 win 100", seq+1000, seq+2000))
	w.expect(w.text(". 11:11 ack %d <>", seq), w.text(". 11:11 ack %d <sack %d:%d>", seq, seq+1000, seq+2000))
	w.recv(w.text(". %d:%d ack 11 win 100", seq, seq+1000))
	seq += 2000
	w.expect(w.text(". 11:11 ack %d", seq))

	// A quarter of a MiB is told.
	w.read(start, seq-start)
	w.skip()
	for range bulkAck / 10000 {
		w.recv(w.text(". %d:%d ack 11 win 100", seq, seq+10000))
		seq += 10000
		w.none()
		w.read(seq-10000, 10000)
	}
	w.recv(w.text(". %d:%d ack 11 win 100", seq, seq+10000))
	seq += 10000
	w.expect(w.text(". 11:11 ack %d", seq))
}

// So is half of a small window.
func TestHoldBulkSmallWindow(t *testing.T) {
	cfg := plain()
	cfg.ReceiveBuffer = 40000
	w := dial(t, cfg, synAck)
	for seq := 1; seq < 40001; seq += 4000 {
		w.recv(w.text(". %d:%d ack 1 win 100", seq, seq+4000))
		w.skip()
		w.read(seq, 4000)
		w.skip()
	}
	w.c.quickAcks = 0
	window := w.c.announced()
	w.mode = OutputHoldBulk
	sent := 0
	for seq := 40001; len(w.sent) == 0 && sent < window; seq += 1000 {
		s := w.parse(w.text(". %d:%d ack 1 win 100", seq, seq+1000))
		w.c.Input(w.now, &s)
		w.drive()
		sent += 1000
	}
	if sent < 8000 || sent > window/2+2000 {
		t.Errorf("the ACK covers %d bytes of a window of %d", sent, window)
	}
}
