package tcp

import (
	"io"
	"testing"
	"time"
)

// RFC 9293, section 3.6, figure 12: we close first.
func TestActiveClose(t *testing.T) {
	w := established(t, plain())
	w.close()
	w.expect("F. 1:1 ack 1")
	w.state(StateFinWait1)
	w.recv(". 1:1 ack 2 win 100")
	w.state(StateFinWait2)
	w.recv("F. 1:1 ack 2 win 100")
	w.expect(". 2:2 ack 2")
	w.state(StateTimeWait)
	w.happened(EventTimeWait)
	if w.c.Err() != nil {
		t.Errorf("%v", w.c.Err())
	}
}

// The peer closes first; its FIN again is answered again.
func TestPassiveClose(t *testing.T) {
	w := established(t, plain())
	w.recv("FP. 1:11 ack 1 win 100")
	w.until(time.Second) // it may ride on our own FIN
	w.expect(". 1:1 ack 12")
	w.state(StateCloseWait)
	w.read(1, 10)
	if _, err := w.c.Read(w.now, make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v", err)
	}
	w.recv("FP. 1:11 ack 1 win 100")
	w.expect(". 1:1 ack 12")
	w.write(5)
	w.expect("P. 1:6 ack 12")
	w.close()
	w.expect("F. 6:6 ack 12")
	w.state(StateLastAck)
	w.recv("F. 11:11 ack 6 win 100")
	w.expect(". 7:7 ack 12")
	w.recv(". 12:12 ack 7 win 100")
	w.none()
	w.state(StateClosed)
	w.happened(EventClosed)
}

// RFC 9293, section 3.6, figure 13.
func TestSimultaneousClose(t *testing.T) {
	w := established(t, plain())
	w.closeWrite()
	w.expect("F. 1:1 ack 1")
	w.recv("F. 1:1 ack 1 win 100")
	w.expect(". 2:2 ack 2")
	w.state(StateClosing)
	w.recv(". 2:2 ack 2 win 100")
	w.none()
	w.state(StateTimeWait)
}

func TestFinAndAckOfFinTogether(t *testing.T) {
	w := established(t, plain())
	w.closeWrite()
	w.expect("F. 1:1 ack 1")
	w.recv("F. 1:1 ack 2 win 100")
	w.expect(". 2:2 ack 2")
	w.state(StateTimeWait)
}

// Half close: the other direction goes on (RFC 9293, section 3.6).
func TestHalfClose(t *testing.T) {
	w := established(t, plain())
	w.closeWrite()
	w.expect("F. 1:1 ack 1")
	w.recv(". 1:1 ack 2 win 100")
	w.advance(time.Hour) // no limit while somebody may read
	w.recv("P. 1:101 ack 2 win 100")
	w.expect(". 2:2 ack 101")
	w.read(1, 100)
	if _, err := w.c.Write(w.now, []byte{1}); err != ErrWriteClosed {
		t.Errorf("Write: %v", err)
	}
	w.recv("F. 101:101 ack 2 win 100")
	w.expect(". 2:2 ack 102")
	w.state(StateTimeWait)
}

func TestFinOutOfOrder(t *testing.T) {
	w := established(t, plain())
	w.recv("F. 11:21 ack 1 win 100")
	w.expect(". 1:1 ack 1 <sack 11:22>") // the FIN is reported, too, as Linux does
	w.state(StateEstablished)
	w.recv(". 1:11 ack 1 win 100")
	w.expect(". 1:1 ack 22")
	w.state(StateCloseWait)
	w.read(1, 20)
}

// A FIN alone is remembered too, though SACK can't tell of it.
func TestEmptyFinOutOfOrder(t *testing.T) {
	w := established(t, plain())
	w.recv("F. 11:11 ack 1 win 100")
	w.expect(". 1:1 ack 1")
	w.recv(". 1:11 ack 1 win 100")
	w.expect(". 1:1 ack 12")
	w.state(StateCloseWait)
}

// A FIN behind the window's edge is not known; it comes again with the rest.
func TestFinTrimmedByWindow(t *testing.T) {
	cfg := plain()
	cfg.ReceiveBuffer = 2048
	w := dial(t, cfg, synAckNo)
	w.recv(". 1:1001 ack 1 win 100")
	w.expect(". 1:1 ack 1001 win 1000")  // whole segments of 2048
	w.recv("F. 1001:2151 ack 1 win 100") // behind the window, and something is unread: nothing is taken
	w.expect(". 1:1 ack 1001 win 1000")
	w.state(StateEstablished)
	w.recv(". 2151:2151 ack 1 win 100", "F. 1501:2151 ack 1 win 100")
	w.skip()
	w.state(StateEstablished)
	w.read(1, 1000)
	w.skip()
	w.recv("F. 1001:2151 ack 1 win 100")
	w.until(time.Second)
	w.expect(". 1:1 ack 2152")
	w.state(StateCloseWait)
}

// A FIN fits although the window is full.
func TestFinAtClosedWindow(t *testing.T) {
	cfg := plain()
	cfg.ReceiveBuffer = 2048
	w := dial(t, cfg, synAckNo)
	w.recv(". 1:2001 ack 1 win 100")
	w.expect(". 1:1 ack 2001 win 0")
	w.recv("F. 2001:2001 ack 1 win 100")
	w.until(time.Second)
	w.expect(". 1:1 ack 2002")
	w.state(StateCloseWait)
	w.closeWrite()
	w.expect("F. 1:1 ack 2002")
	w.read(1, 2000)
}

func TestDataBehindFin(t *testing.T) {
	w := established(t, plain())
	w.recv("F. 11:11 ack 1 win 100")
	w.expect(". 1:1 ack 1")
	w.recv(". 1:31 ack 1 win 100") // 20 bytes behind it
	w.expect(". 1:1 ack 12")
	w.read(1, 10)
	w.recv("P. 12:20 ack 1 win 100")
	w.none() // as Linux: it is no repetition, and needs no answer
	if n := w.c.ReadableBytes(); n != 0 {
		t.Errorf("%d bytes behind the FIN", n)
	}
}

// A FIN at a number that has passed, or in front of data that has arrived, is a
// lie; the connection must not wait for it.
func TestImpossibleFin(t *testing.T) {
	w := established(t, plain())
	w.recv("F. 0:0 ack 1 win 100")
	w.expect(". 1:1 ack 1")
	w.recv(". 21:31 ack 1 win 100")
	w.expect(". 1:1 ack 1 <sack 21:31>")
	w.recv("F. 11:11 ack 1 win 100")
	w.expect(". 1:1 ack 1 <sack 21:31>")
	w.recv(". 1:21 ack 1 win 100")
	w.expect(". 1:1 ack 31")
	w.recv("F. 31:31 ack 1 win 100")
	w.until(time.Second)
	w.expect(". 1:1 ack 32")
	w.state(StateCloseWait)
}

func TestFinRetransmitted(t *testing.T) {
	w := established(t, plain())
	w.write(10)
	w.expect("P. 1:11 ack 1")
	w.closeWrite()
	w.expect("F. 11:11 ack 1")
	w.until(time.Minute)
	w.expect("FP. 1:11 ack 1") // both fit into one
	w.recv(". 1:1 ack 11 win 100")
	w.none()
	w.recv(". 1:1 ack 12 win 100")
	w.state(StateFinWait2)
}

// Data and FIN of one segment are cut where the segment size is, whatever it has
// become; the FIN takes no room.
func TestFinResegmented(t *testing.T) {
	w := newWire(t).connect(plain())
	w.skip()
	w.write(1000)
	w.closeWrite()
	w.recv(synAck)
	w.expect("FP. 1:1001 ack 1")
	w.do(func(c *Conn) { c.PacketTooBig(w.now, w.iss.Add(1), 600) })
	w.expect(". 1:601 ack 1", "FP. 601:1001 ack 1")
	w.recv(". 1:1 ack 1002 win 65535")
	w.state(StateFinWait2)
}

func TestFinOfFullSizeResegmentation(t *testing.T) {
	// 601 sequence numbers behind the change: 600 bytes and FIN are one segment.
	w := newWire(t).connect(plain())
	w.skip()
	w.write(601)
	w.closeWrite()
	w.recv(synAck)
	w.expect("FP. 1:602 ack 1")
	w.c.sndMSS = 600
	w.until(time.Minute)
	w.expect(". 1:601 ack 1")
	w.recv(". 1:1 ack 601 win 65535")
	w.expect("FP. 601:602 ack 1")
}

// A FIN is inside the peer's window, too.
func TestFinWaitsForWindow(t *testing.T) {
	w := established(t, plain())
	w.recv(". 1:1 ack 1 win 10", "P. 1:2 ack 1 win 10")
	w.skip()
	w.write(10)
	w.expect("P. 1:11 ack 2")
	w.closeWrite()
	w.none()
	w.recv(". 2:2 ack 11 win 0")
	w.none()
	w.until(time.Minute) // a probe
	w.expect(". 10:10 ack 2")
	w.recv(". 2:2 ack 11 win 10")
	w.expect("F. 11:11 ack 2")
}

// RFC 1122, section 4.2.2.13; RFC 2525, section 2.17.
func TestCloseWithUnreadData(t *testing.T) {
	w := established(t, plain())
	w.recv(". 1:1001 ack 1 win 100")
	w.close()
	w.expect("R. 1:1 ack 1001")
	w.state(StateClosed)
	if w.c.Err() != nil || w.c.ReadableBytes() != 0 {
		t.Errorf("%v, %d bytes", w.c.Err(), w.c.ReadableBytes())
	}
}

func TestDataAfterClose(t *testing.T) {
	w := established(t, plain())
	w.write(5)
	w.expect("P. 1:6 ack 1")
	w.close()
	w.expect("F. 6:6 ack 1")
	w.recv(". 1:1 ack 6 win 100") // no data: no reason
	w.state(StateFinWait1)
	w.recv("P. 1:11 ack 7 win 100")
	w.expect("R 7:7")
	w.state(StateClosed)
}

// Linux's tcp_fin_timeout: FIN-WAIT-2 without a reader does not last.
func TestOrphanInFinWait2(t *testing.T) {
	for _, order := range []string{"close before", "close after"} {
		w := established(t, plain())
		if order == "close before" {
			w.close()
		} else {
			w.closeWrite()
		}
		w.expect("F. 1:1 ack 1")
		w.recv(". 1:1 ack 2 win 100")
		if order == "close after" {
			w.close()
		}
		w.advance(59 * time.Second)
		w.state(StateFinWait2)
		w.advance(time.Second)
		w.state(StateClosed)
		w.none()
		w.happened(EventClosed)
	}
}

// A connection that nobody waits for gives up earlier: 102 s of silence.
func TestOrphanGivesUp(t *testing.T) {
	w := established(t, plain())
	w.write(10)
	w.expect("P. 1:11 ack 1")
	w.close()
	w.expect("F. 11:11 ack 1")
	begin := w.now
	for w.c.State() != StateClosed {
		w.until(time.Hour)
		if w.c.State() != StateClosed {
			w.expect("FP. 1:11 ack 1")
		}
	}
	w.none() // as Linux has it: nobody seems to be there
	if d := w.now.Sub(begin); d < 100*time.Second || d > 210*time.Second {
		t.Errorf("gave up after %v", d)
	}
}

// A closed window does not keep an orphan alive for ever, although the peer answers
// every probe.
func TestOrphanAtClosedWindow(t *testing.T) {
	w := established(t, plain())
	w.recv("P. 1:2 ack 1 win 0")
	w.skip()
	w.read(1, 1)
	w.skip()
	w.write(10)
	w.none()
	w.close()
	begin := w.now
	for w.c.State() != StateClosed {
		w.until(time.Hour)
		if w.c.State() != StateClosed {
			w.expect(". 0:0 ack 2")
			w.recv(". 2:2 ack 1 win 0")
		}
	}
	w.none()
	if d := w.now.Sub(begin); d < 50*time.Second || d > 400*time.Second {
		t.Errorf("gave up after %v", d)
	}
}

func TestAbort(t *testing.T) {
	for _, pre := range []string{"", "F. 1:1 ack 1 win 100"} {
		w := established(t, plain())
		if pre != "" {
			w.recv(pre)
			w.skip()
		}
		w.write(100)
		w.skip()
		w.abort()
		if w.expect("R. 101:101"); w.c.Err() != ErrAborted {
			t.Errorf("%v", w.c.Err())
		}
		w.abort()
		w.close()
		w.none()
	}
	w := newWire(t).connect(plain())
	w.skip()
	w.abort()
	w.none()
	w.state(StateClosed)
}

// RFC 7323, section 3.2: a reset carries timestamps, too.
func TestResetWithTimestamps(t *testing.T) {
	w := dial(t, Config{MSS: 1000}, "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,TS 70 ecr 0>")
	w.abort()
	w.expect("R. 1:1 ack 1 <TS 0 ecr 70>")
}

// RFC 9293, section 3.10.7.4, second: a reset in every state.
func TestResetInEveryState(t *testing.T) {
	for _, c := range []struct {
		state State
		setup func(w *wire)
		rst   string
		err   error
	}{
		{StateEstablished, func(w *wire) {}, "R 1:1 win 0", ErrReset},
		{StateFinWait1, func(w *wire) { w.closeWrite() }, "R 1:1 win 0", ErrReset},
		{StateFinWait2, func(w *wire) { w.closeWrite(); w.skip(); w.recv(". 1:1 ack 2 win 9") }, "R 1:1 win 0", ErrReset},
		{StateCloseWait, func(w *wire) { w.recv("F. 1:1 ack 1 win 9") }, "R 2:2 win 0", ErrBroken},
		{StateLastAck, func(w *wire) { w.recv("F. 1:1 ack 1 win 9"); w.skip(); w.closeWrite() }, "R 2:2 win 0", ErrReset},
		{StateClosing, func(w *wire) { w.closeWrite(); w.skip(); w.recv("F. 1:1 ack 1 win 9") }, "R 2:2 win 0", ErrReset},
	} {
		w := established(t, plain())
		c.setup(w)
		w.skip()
		w.state(c.state)
		w.recv(c.rst)
		w.none()
		w.state(StateClosed)
		if w.c.Err() != c.err {
			t.Errorf("%v: %v", c.state, w.c.Err())
		}
	}
}

func timeWaitRecord(t *testing.T, ts bool) (*wire, TimeWait) {
	t.Helper()
	cfg := plain()
	cfg.NoTimestamps = !ts
	opt, syn := "", synAck
	if ts {
		opt, syn = " <TS 100 ecr 0>", "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,TS 100 ecr 0>"
	}
	w := dial(t, cfg, syn)
	w.closeWrite()
	w.skip()
	w.recv("F. 1:1 ack 2 win 100" + opt)
	w.skip()
	w.state(StateTimeWait)
	return w, w.c.TimeWait(w.now)
}

// RFC 9293, sections 3.6.1 and 3.10.7.4; RFC 6191; RFC 1337.
func TestTimeWait(t *testing.T) {
	for _, c := range []struct {
		name, line string
		ts         bool
		want       TimeWaitVerdict
		extended   bool
	}{
		{"FIN again", "F. 1:1 ack 2 win 100", false, TimeWaitReply, true},
		{"old data", "P. 0:1 ack 2 win 100", false, TimeWaitReply, true},
		{"ACK", ". 2:2 ack 2 win 100", false, TimeWaitDrop, false},
		{"ACK from elsewhere", ". 9000000:9000000 ack 2 win 100", false, TimeWaitReply, false},
		{"newer SYN", "S 3:3 win 100", false, TimeWaitReopen, false},
		{"older SYN", "S 1:1 win 100", false, TimeWaitReply, true},
		{"older number, newer timestamp", "S 1:1 win 100 <TS 101 ecr 0>", true, TimeWaitReopen, false},
		{"older timestamp", "S 3:3 win 100 <TS 99 ecr 0>", true, TimeWaitReply, false},
		{"SYN-ACK", "S. 3:3 ack 2 win 100", false, TimeWaitReply, true},
		{"exact reset", "R 2:2 win 0", false, TimeWaitRemove, false},
		{"other reset", "R 1:1 win 0", false, TimeWaitDrop, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, tw := timeWaitRecord(t, c.ts)
			s := w.parse(c.line)
			v, r := tw.Input(w.now.Add(time.Second), &s)
			if v != c.want {
				t.Errorf("verdict %d, want %d", v, c.want)
			}
			if v == TimeWaitReply && (r.Flags != ACK || r.Seq != w.iss.Add(2) || r.Ack != w.irs.Add(2)) {
				t.Errorf("reply %+v", r)
			}
			if got := tw.Expires != w.now.Add(TimeWaitLen); got != c.extended {
				t.Errorf("extended: %v", got)
			}
			if !w.c.sndNxt.Less(tw.NextISS()) {
				t.Error("the next ISS is not above the old numbers")
			}
		})
	}
}

// The answers to segments without data are limited (RFC 5961, section 7), so that
// two records can't keep each other busy.
func TestTimeWaitReplyLimit(t *testing.T) {
	w, tw := timeWaitRecord(t, false)
	replies := 0
	for range 1000 {
		w.now = w.now.Add(time.Millisecond)
		s := w.parse(". 9000000:9000000 ack 2 win 100")
		if v, _ := tw.Input(w.now, &s); v == TimeWaitReply {
			replies++
		}
	}
	if replies < 1 || replies > 2 {
		t.Errorf("%d replies in a second", replies)
	}
}

// A FIN that came when the window was full leaves no window, and not a huge one.
func TestTimeWaitWindow(t *testing.T) {
	cfg := plain()
	cfg.ReceiveBuffer = 2048
	w := dial(t, cfg, synAckNo)
	w.closeWrite()
	w.skip()
	w.recv(". 1:2001 ack 2 win 100")
	w.skip()
	w.recv("F. 2001:2001 ack 2 win 100")
	w.skip()
	tw := w.c.TimeWait(w.now)
	s := w.parse("F. 2001:2001 ack 2 win 100")
	if _, r := tw.Input(w.now, &s); r.Window != 0 {
		t.Errorf("window %d", r.Window)
	}
}
