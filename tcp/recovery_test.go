package tcp

import (
	"testing"
	"time"
)

// RFC 6675: three segments' worth of SACK begins recovery; the window halves.
func TestFastRetransmitSACK(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(10000)
	w.skip()
	w.recv(". 1:1 ack 1 win 65535 <sack 1001:2001>", ". 1:1 ack 1 win 65535 <sack 1001:3001>")
	w.none()
	w.recv(". 1:1 ack 1 win 65535 <sack 1001:4001>")
	w.expect(". 1:1001 ack 1")
	in := w.c.Info()
	if in.Window != 7000 || in.Threshold != 5000 || in.FastRecoveries != 1 { // RFC 9937: what is in flight, and what may be sent
		t.Errorf("%+v", in)
	}
	w.recv(". 1:1 ack 10001 win 65535")
	w.none()
	// The last ACK delivers seven segments, enough for one more in the window.
	if in := w.c.Info(); in.Window != 6000 {
		t.Errorf("window %d after recovery", in.Window)
	}
}

// Small segments count as segments (RFC 6675, section 4, IsLost).
func TestFastRetransmitSmallSegments(t *testing.T) {
	w := dial(t, plain(), synAck)
	for range 4 {
		w.write(10)
		w.skip()
	}
	w.recv(". 1:1 ack 1 win 65535 <sack 11:21>", ". 1:1 ack 1 win 65535 <sack 11:31>")
	w.none()
	w.recv(". 1:1 ack 1 win 65535 <sack 11:41>")
	w.expect("P. 1:11 ack 1")
}

// Several holes in one window of data, one round trip.
func TestSACKHoles(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(10000)
	w.skip()
	w.recv(". 1:1 ack 1 win 65535 <sack 1001:2001>", ". 1:1 ack 1 win 65535 <sack 3001:4001 1001:2001>",
		". 1:1 ack 1 win 65535 <sack 5001:10001 3001:4001 1001:2001>")
	w.expect(". 1:1001 ack 1", ". 2001:3001 ack 1", ". 4001:5001 ack 1")
	w.recv(". 1:1 ack 10001 win 65535")
	w.none()
}

// RFC 5681, section 3.2, and 6582, section 3.2: three duplicate ACKs, then a
// retransmission for each partial ACK; limited transmit (RFC 3042) on the way.
func TestNewReno(t *testing.T) {
	w := dial(t, plain(), synAckNo)
	w.write(10000)
	w.skip()
	w.write(20000)
	w.none()
	w.recv(". 1:1 ack 1 win 65535") // the first one behind the SYN-ACK brings a window, as Linux sees it
	w.none()
	w.recv(". 1:1 ack 1 win 65535")
	w.expect(". 10001:11001 ack 1")
	w.recv(". 1:1 ack 1 win 65535")
	w.expect(". 11001:12001 ack 1")
	w.recv(". 1:1 ack 1 win 65535")
	w.expect(". 1:1001 ack 1")
	w.recv(". 1:1 ack 1 win 65535", ". 1:1 ack 1 win 65535", ". 1:1 ack 1 win 65535")
	w.skip()
	w.recv(". 1:1 ack 5001 win 65535") // partial: 5001 is lost, too, but the window is full (RFC 9937)
	w.none()
	w.recv(". 1:1 ack 5001 win 65535")
	if len(w.sent) == 0 || w.match(". 5001:6001", w.lines()[0]) != nil {
		t.Fatalf("%v", w.lines())
	}
	w.skip()
	w.recv(w.text(". 1:1 ack %d win 65535", w.c.sndNxt.Sub(w.iss)))
	if in := w.c.Info(); in.FastRecoveries != 1 || w.c.recovery != recoveryOpen {
		t.Errorf("%+v", in)
	}
}

// Without SACK and with many losses the timer ends fast recovery, which would take a
// round trip for each, and the slow start that follows repairs them (RFC 6582, section 4).
func TestNewRenoImpatient(t *testing.T) {
	w := dialRTT(t, plain(), synAckNo, 100*ms)
	w.write(10000)
	w.skip()
	w.recv(". 1:1 ack 10001 win 65535")
	w.write(20000)
	w.skip()
	dup := ". 1:1 ack 10001 win 65535"
	w.recv(dup, dup, dup, dup)
	w.expect(". 10001:11001 ack 1")
	at := 10001
	for range renoPatience + 2 { // each of them is lost
		w.advance(100 * ms)
		at += 1000
		dup := w.text(". 1:1 ack %d win 65535", at)
		for len(w.sent) == 0 {
			w.recv(dup) // the window is full for a while (RFC 9937)
		}
		if err := w.match(w.text(". %d:%d ack 1", at, at+1000), w.lines()[0]); err != nil {
			t.Fatal(err)
		}
		w.skip()
	}
	if in := w.c.Info(); in.Timeouts != 0 {
		t.Fatalf("%+v", in)
	}
	w.advance(w.c.rtt.timeout(0) - 200*ms) // counted from the last that it had patience for
	w.skip()
	if in := w.c.Info(); in.Timeouts != 1 {
		t.Errorf("%+v", in)
	}
}

// What is no duplicate ACK (RFC 5681, section 2): a larger window, data, nothing
// outstanding. A smaller window is none of a newer segment; as in Linux, it changes
// nothing.
func TestNoDuplicates(t *testing.T) {
	w := dial(t, plain(), synAckNo)
	for range 5 {
		w.recv(". 1:1 ack 1 win 65535")
	}
	w.write(10000)
	w.skip()
	w.recv(". 1:1 ack 1 win 0", ". 1:1 ack 1 win 65534", ". 1:1 ack 1 win 65535", ". 1:1 ack 1 win 65533", "P. 1:11 ack 1 win 65533")
	if in := w.c.Info(); in.Retransmits != 0 || in.FastRecoveries != 0 {
		t.Errorf("%+v", in)
	}
}

// SACK blocks that lie change nothing: not sent, acknowledged, reversed, empty.
func TestLyingSACK(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(5000)
	w.skip()
	w.recv(". 1:1 ack 1001 win 65535 <sack 4001:6001 -5000:10 3001:2001>",
		". 1:1 ack 1001 win 65535 <sack 501:801 2001:2001 1001:2001>",
		". 1:1 ack 1001 win 65535 <sack 2000000000:2000001000>")
	w.none()
	if w.c.sackedOut != 0 {
		t.Errorf("%d bytes taken for arrived", w.c.sackedOut)
	}
}

// Blocks that divide every segment make no more records than a bound.
func TestHostileSACKBounded(t *testing.T) {
	w := dial(t, plain(), "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,wscale 14>")
	w.c.cc.(*reno).cwnd = 1 << 20
	w.recv(". 1:1 ack 1 win 65535")
	w.write(400000)
	w.skip()
	for i := range 100000 {
		s := w.parse(w.text(". 1:1 ack 1 win 65535 <sack %d:%d>", 3+2*i, 4+2*i))
		w.c.Input(w.now, &s)
		w.c.Output(w.now, w.b, OutputAll)
		w.c.Sent(w.now)
		if i%30000 == 0 {
			w.check(true)
		}
	}
	w.check(true)
	if n := w.c.ranges.count; n < 400 || n > 2000 {
		t.Errorf("%d ranges", n)
	}
	w.recv(w.text(". 1:1 ack %d win 65535", w.c.sndNxt.Sub(w.iss)))
	if w.c.UnackedBytes() != 0 || len(w.c.ranges.ring) > keepRanges {
		t.Errorf("%d bytes, room for %d records", w.c.UnackedBytes(), len(w.c.ranges.ring))
	}
}

// RFC 6298, rule 5.4; RFC 6675, section 5.1: after a timeout everything is lost
// that SACK has not reported, and leaves in slow start from one segment.
func TestTimeoutRecovery(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(6000)
	w.skip()
	w.until(time.Minute)
	w.expect(". 1:1001 ack 1")
	if in := w.c.Info(); in.Window != 1000 || in.Threshold != 5000 {
		t.Errorf("%+v", in)
	}
	w.recv(". 1:1 ack 1001 win 65535")
	w.expect(". 1001:2001 ack 1", ". 2001:3001 ack 1")
	w.recv(". 1:1 ack 3001 win 65535")
	w.expect(". 3001:4001 ack 1", ". 4001:5001 ack 1", "P. 5001:6001 ack 1")
	w.recv(". 1:1 ack 6001 win 65535")
	w.none()
	if w.c.recovery != recoveryOpen {
		t.Errorf("recovery %d", w.c.recovery)
	}
}

// RFC 2018, section 8: a peer that gives up what it reported gets it again.
func TestReneging(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(3000)
	w.skip()
	w.recv(". 1:1 ack 1 win 65535 <sack 1001:3001>")
	w.skip()
	w.until(time.Minute)
	w.skip()
	w.recv(". 1:1 ack 1001 win 65535")
	w.skip()
	w.until(time.Minute)
	w.expect(". 1001:2001 ack 1")
	w.recv(". 1:1 ack 2001 win 65535")
	w.expect("P. 2001:3001 ack 1")
	w.recv(". 1:1 ack 3001 win 65535")
	w.none()
}

// Lost data goes before new data, even if only the latter would fit.
func TestLostBeforeNew(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(6000)
	w.skip()
	w.until(time.Minute)
	w.expect(". 1:1001 ack 1")
	w.recv(". 1:1 ack 301 win 65535") // part of it: room for less than a segment
	w.skip()
	w.write(100)
	for i := range w.sent {
		if w.sent[i].PayloadLen == 100 {
			t.Errorf("new data before what is lost: %v", w.lines())
		}
	}
	w.skip()
}

// Optimistic ACKs of what has left are believed and of nothing else; partial ones
// divide a segment.
func TestPartialAck(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(3000)
	w.skip()
	w.recv(". 1:1 ack 500 win 65535")
	w.until(time.Minute)
	w.expect(". 500:1001 ack 1")
	w.recv(". 1:1 ack 3002 win 65535")
	w.expect(". 3001:3001 ack 1")
	if n := w.c.UnackedBytes(); n != 2501 {
		t.Errorf("%d", n)
	}
}

// An old ACK moves nothing backwards.
func TestOldAck(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(3000)
	w.skip()
	w.recv(". 1:1 ack 2001 win 30000", ". 1:1 ack 1001 win 5", ". 1:1 ack 1 win 5")
	w.none()
	if in := w.c.Info(); in.Unacked != 1000 || in.PeerWindow != 30000 {
		t.Errorf("%+v", in)
	}
}
