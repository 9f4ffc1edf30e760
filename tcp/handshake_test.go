package tcp

import (
	"errors"
	"io"
	"testing"
	"time"
)

// Most tests use segments of 1000 bytes, a peer without window scaling, and no
// timestamps, so that the numbers are plain.
const (
	synAck   = "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,wscale 0>"
	synAckNo = "S. 0:0 ack 1 win 65535 <mss 1000>" // without SACK
)

func plain() Config {
	return Config{MSS: 1000, NoTimestamps: true, NoDelay: true, Controller: NewReno}
}

// established is a connection whose quick ACKs are used up.
func established(t *testing.T, cfg Config) *wire {
	t.Helper()
	w := dial(t, cfg, synAck)
	w.c.quickAcks, w.c.ato = 0, int64(delAckMin)
	w.c.lastData = w.now
	return w
}

// RFC 9293, section 3.5, figure 6, and the options of RFC 7323 and 2018 in Linux's
// order.
func TestActiveOpen(t *testing.T) {
	w := newWire(t).connect(Config{MSS: 1460})
	w.expect("S 0:0 win 64240 <mss 1460,sackOK,TS 0 ecr 0,wscale 10>")
	w.state(StateSynSent)
	w.advance(10 * time.Millisecond)
	w.recv("S. 0:0 ack 1 win 65535 <mss 1400,sackOK,TS 700 ecr 0,wscale 9>")
	w.expect(". 1:1 ack 1 win 63 <TS 10 ecr 700>")
	w.state(StateEstablished)
	w.happened(EventEstablished | EventWritable)
	in := w.c.Info()
	if in.SegmentSize != 1388 || in.SendScale != 9 || in.ReceiveScale != 10 || in.SRTT != 10*time.Millisecond || in.PeerWindow != 65535 {
		t.Errorf("%+v", in)
	}
}

// RFC 9293, section 3.7.1: without the option 536 is assumed; a tiny one is bounded.
func TestPeerMSS(t *testing.T) {
	for line, want := range map[string]int{
		"S. 0:0 ack 1 win 65535":         536,
		"S. 0:0 ack 1 win 65535 <mss 1>": minMSS,
		synAck:                           1000,
	} {
		w := dial(t, Config{MSS: 1460, NoTimestamps: true}, line)
		if got := w.c.Info().SegmentSize; got != want {
			t.Errorf("%s: %d, want %d", line, got, want)
		}
	}
}

// RFC 7323, section 2.2: scaling only if both SYNs have it, and never in a SYN.
func TestNoScaling(t *testing.T) {
	w := dial(t, Config{MSS: 1000, NoTimestamps: true}, synAckNo)
	w.write(10)
	w.expect("P. 1:11 ack 1 win 65000")
	if in := w.c.Info(); in.SendScale != 0 || in.ReceiveScale != 0 || in.SACK {
		t.Errorf("%+v", in)
	}
}

func TestScaledWindow(t *testing.T) {
	w := dial(t, plain(), "S. 0:0 ack 1 win 100 <mss 1000,wscale 4>")
	if got := w.c.Info().PeerWindow; got != 100 {
		t.Errorf("the SYN's window is %d", got)
	}
	w.recv(". 1:1 ack 1 win 100")
	if got := w.c.Info().PeerWindow; got != 1600 {
		t.Errorf("the window is %d", got)
	}
}

// RFC 6298, section 2.1 and rule 5.5: 1 s, doubled, but for the first few; RFC 9293,
// section 3.8.3: R2.
func TestSynRetransmission(t *testing.T) {
	w := newWire(t).connect(plain())
	w.expect("S 0:0")
	for i := range DefaultSynLinear + DefaultSynRetries {
		if d := w.until(time.Hour); d != time.Second<<max(i-DefaultSynLinear, 0) {
			t.Fatalf("repetition %d after %v", i, d)
		}
		w.expect("S 0:0")
	}
	if d := w.until(time.Hour); d != 64*time.Second || w.c.Err() != ErrTimeout {
		t.Fatalf("%v after %v", w.c.Err(), d)
	}
	w.none()
	w.happened(EventError | EventClosed)
}

// RFC 6298, rule 5.7: after a lost SYN and without a sample the timeout is 3 s.
func TestTimeoutAfterLostSyn(t *testing.T) {
	w := newWire(t).connect(plain())
	w.skip()
	w.until(time.Minute)
	w.expect("S 0:0")
	w.recv(synAck)
	w.expect(". 1:1 ack 1")
	w.write(10)
	w.expect("P. 1:11 ack 1")
	if d := w.until(time.Minute); d != 3*time.Second {
		t.Errorf("retransmitted after %v", d)
	}
}

// RFC 9293, section 3.10.7.3: an ACK of something else is answered by a reset, a
// reset counts only with an acceptable ACK, a segment without SYN is dropped.
func TestSynSentInput(t *testing.T) {
	w := newWire(t).connect(plain())
	w.expect("S 0:0")
	w.recv(". 0:0 ack 7 win 100")
	w.expect("R 7:7")
	w.recv("S. 0:0 ack 0 win 100 <mss 1000>")
	w.expect("R 0:0")
	w.recv("R. 0:0 ack 9 win 0", "R 0:0 win 0", "F 5:5 win 9", "P. 0:10 ack 1 win 10")
	w.none()
	w.state(StateSynSent)
	w.recv("R. 0:0 ack 1 win 0")
	w.none()
	if w.state(StateClosed); w.c.Err() != ErrRefused {
		t.Errorf("%v", w.c.Err())
	}
}

// RFC 9293, section 3.5, figure 7.
func TestSimultaneousOpen(t *testing.T) {
	w := newWire(t).connect(plain())
	w.expect("S 0:0")
	w.recv("S 0:0 win 3000 <mss 1000,sackOK,wscale 0>")
	w.expect("S. 0:0 ack 1 win 65000 <mss 1000,sackOK,wscale 10>")
	w.state(StateSynReceived)
	w.recv("S 0:0 win 3000 <mss 1000,sackOK,wscale 0>") // again: ours was lost
	w.expect("S. 0:0 ack 1 win 65000")
	w.recv("S. 0:0 ack 1 win 3000 <mss 1000,sackOK,wscale 0>")
	w.expect(". 1:1 ack 1")
	w.state(StateEstablished)
	w.write(2000)
	w.expect(". 1:1001 ack 1", "P. 1001:2001 ack 1")
}

// Data on the SYN-ACK of a simultaneous open begins behind the SYN.
func TestSimultaneousOpenWithData(t *testing.T) {
	w := newWire(t).connect(plain())
	w.expect("S 0:0")
	w.recv("S 0:0 win 3000 <mss 1000,sackOK,wscale 0>")
	w.expect("S. 0:0 ack 1")
	w.recv("S. 0:10 ack 1 win 3000 <mss 1000,sackOK,wscale 0>")
	w.expect(". 1:1 ack 11")
	w.state(StateEstablished)
	w.read(1, 10)
}

func TestSimultaneousOpenRefused(t *testing.T) {
	w := newWire(t).connect(plain())
	w.skip()
	w.recv("S 0:0 win 3000 <mss 1000>")
	w.skip()
	w.recv(". 1:1 ack 5 win 10") // RFC 9293, section 3.10.7.4, fifth, SYN-RECEIVED
	w.expect("R 5:5")
	w.recv("R 1:1 win 0")
	w.none()
	if w.c.Err() != ErrReset {
		t.Errorf("%v", w.c.Err())
	}
}

// What the application does before the handshake is complete follows with it.
func TestWriteAndCloseBeforeEstablished(t *testing.T) {
	w := newWire(t).connect(plain())
	w.expect("S 0:0")
	w.write(500)
	w.closeWrite()
	w.none()
	w.recv(synAck)
	w.expect("FP. 1:501 ack 1")
	w.state(StateFinWait1)
	w.recv(". 1:1 ack 502 win 1000")
	w.state(StateFinWait2)
}

func TestCloseInSynSent(t *testing.T) {
	w := newWire(t).connect(plain())
	w.expect("S 0:0")
	w.close()
	w.none()
	w.state(StateClosed)
	if w.c.Err() != nil {
		t.Errorf("%v", w.c.Err())
	}
}

func TestPassiveOpen(t *testing.T) {
	w := accept(t, Config{MSS: 1460}, "S 0:0 win 64240 <mss 1460,sackOK,TS 50 ecr 0,wscale 7>",
		"P. 1:6 ack 1 win 502 <TS 51 ecr 0>")
	w.happened(EventEstablished | EventReadable)
	w.expect(". 1:1 ack 6 win 64 <TS 0 ecr 51>")
	w.read(1, 5)
	if got := w.c.Info().PeerWindow; got != 502<<7 {
		t.Errorf("window %d", got)
	}
}

// RFC 9293, section 3.10.7.4, for SYN-RECEIVED after a passive open.
func TestPassiveInput(t *testing.T) {
	w := newWire(t)
	cfg := Config{MSS: 1000}
	s := w.parse("S 0:0 win 1000 <mss 1000,TS 50 ecr 0>")
	var p Passive
	p.Init(w.now, &cfg, &s, w.iss, wireTSOffset)
	for _, step := range []struct {
		line string
		want PassiveVerdict
	}{
		{"S 0:0 win 1000 <mss 1000>", PassiveResend},
		{"S 0:0 win 1000 <mss 1000>", PassiveDrop},   // limited
		{"S 7:7 win 1000 <mss 1000>", PassiveRefuse}, // another SYN
		{"S 70000:70000 win 1000 <mss 1000>", PassiveAck},
		{"R 2:2 win 0", PassiveDrop}, // not the exact number
		{"R 70000:70000 win 0", PassiveDrop},
		{". 70000:70000 ack 1 win 5 <TS 51 ecr 0>", PassiveAck}, // outside of the window
		{". 1:1 ack 1 win 5 <TS 49 ecr 0>", PassiveAck},         // PAWS
		{". 1:1 ack 1 win 5 <TS 51 ecr -1>", PassiveAck},        // an echo of what was never sent
		{". 1:1 ack 1 win 5 <TS 51 ecr 1>", PassiveAck},
		{"P 1:5 win 5", PassiveDrop},
		{". 1:1 ack 2 win 5 <TS 51 ecr 0>", PassiveReset},
		{". 1:1 ack 0 win 5 <TS 51 ecr 0>", PassiveReset},
		{"P. 1:5 ack 1 win 5 <TS 51 ecr 0>", PassiveEstablish},
		{"R 1:1 win 0", PassiveRemove},
	} {
		if step.want == PassiveAck || step.want == PassiveResend {
			w.now = w.now.Add(time.Second)
		}
		s := w.parse(step.line)
		if v := p.Input(w.now, &s); v != step.want {
			t.Errorf("%s: %d, want %d", step.line, v, step.want)
		}
	}
	resends := 0
	for {
		w.now = p.Deadline()
		resend, expired := p.Timeout(w.now)
		if expired {
			break
		}
		if !resend {
			t.Fatal("nothing at the deadline")
		}
		resends++
	}
	if resends != DefaultSynAckRetries {
		t.Errorf("%d repetitions", resends)
	}
}

// Karn: a SYN-ACK that was sent twice gives no sample, unless timestamps tell.
func TestPassiveRTT(t *testing.T) {
	for _, ts := range []bool{false, true} {
		w := newWire(t)
		cfg := Config{MSS: 1000, NoTimestamps: !ts}
		s := w.parse("S 0:0 win 1000 <mss 1000,TS 50 ecr 0>")
		var p Passive
		p.Init(w.now, &cfg, &s, w.iss, wireTSOffset)
		w.now = w.now.Add(900 * time.Millisecond)
		if p.Input(w.now, &s) != PassiveResend {
			t.Fatal("SYN not answered again")
		}
		p.Output(w.now, w.b)
		var out Segment
		Parse(w.b.Segments[0].Packet, &out)
		w.now = w.now.Add(30 * time.Millisecond)
		a := w.parse(". 1:1 ack 1 win 100")
		if ts {
			a = w.parse(". 1:1 ack 1 win 100 <TS 51 ecr 0>")
			a.Options.TSEcr = out.Options.TSVal
		}
		w.c.Accept(w.now, &cfg, &p, &a)
		want := time.Duration(0)
		if ts {
			want = 30 * time.Millisecond
		}
		if got := w.c.Info().SRTT; got != want {
			t.Errorf("timestamps %v: %v, want %v", ts, got, want)
		}
	}
}

// RFC 5961, section 4: a SYN in a synchronised state is answered by an ACK; a peer
// that has rebooted then resets (half-open detection, RFC 9293, section 3.5.1).
func TestHalfOpen(t *testing.T) {
	w := established(t, plain())
	w.recv("S 500000:500000 win 1000 <mss 1000>")
	w.expect(". 1:1 ack 1")
	w.recv("R 1:1 win 0")
	w.none()
	if w.c.Err() != ErrReset {
		t.Errorf("%v", w.c.Err())
	}
	w.happened(EventError | EventClosed | EventReadable | EventWritable)
	if _, err := w.c.Read(w.now, make([]byte, 1)); err != ErrReset {
		t.Errorf("Read: %v", err)
	}
	if _, err := w.c.Write(w.now, make([]byte, 1)); err != ErrReset {
		t.Errorf("Write: %v", err)
	}
}

// RFC 5927, sections 4.1 and 5.2: only for numbers that are outstanding; an end for
// a connection that is not open yet, a hint for one that is.
func TestICMPError(t *testing.T) {
	bad := errors.New("unreachable")
	w := newWire(t).connect(plain())
	w.skip()
	w.do(func(c *Conn) { c.ICMPError(w.now, w.iss.Add(1), bad) })
	w.state(StateSynSent)
	w.do(func(c *Conn) { c.ICMPError(w.now, w.iss, bad) })
	if w.c.Err() != bad {
		t.Errorf("%v", w.c.Err())
	}
	cfg := plain()
	cfg.UserTimeout = 3 * time.Second
	w = established(t, cfg)
	w.write(10)
	w.expect("P. 1:11 ack 1")
	w.do(func(c *Conn) { c.ICMPError(w.now, w.iss.Add(1), bad) })
	w.state(StateEstablished)
	for w.c.Err() == nil {
		w.until(time.Minute)
		w.skip()
	}
	if w.c.Err() != bad {
		t.Errorf("%v", w.c.Err())
	}
}

func TestZeroConn(t *testing.T) {
	var c Conn
	if _, err := c.Read(1, make([]byte, 1)); err != io.EOF {
		t.Errorf("Read: %v", err)
	}
	if _, err := c.Write(1, make([]byte, 1)); err != ErrWriteClosed {
		t.Errorf("Write: %v", err)
	}
	c.Input(1, &Segment{Flags: SYN})
	b := NewBatch(0)
	c.Output(1, b, OutputAll)
	c.Timeout(1)
	c.Release()
	if err := c.Check(true); err != nil || len(b.Segments) > 0 || c.State() != StateClosed {
		t.Errorf("%v %v %v", err, b.Segments, c.State())
	}
}

// RFC 6928, section 2: one lost SYN may be an accident, two are a sign.
func TestInitialWindowAfterLostSyns(t *testing.T) {
	for losses, want := range map[int]int{0: 10, 1: 10, 2: 1} {
		w := newWire(t).connect(plain())
		w.skip()
		for range losses {
			w.until(time.Minute)
			w.skip()
		}
		w.recv(synAck)
		w.skip()
		w.write(20000)
		if len(w.sent) != want {
			t.Errorf("%d segments after %d losses", len(w.sent), losses)
		}
	}
}

// RFC 9293, section 3.10.7.1.
func TestResetFor(t *testing.T) {
	w := newWire(t)
	for line, want := range map[string]string{
		"S 5:5 win 1":          "R. 0 6",
		"P 5:15 win 1":         "R. 0 15",
		"FS 5:15 win 1":        "R. 0 17",
		"P. 5:15 ack 77 win 1": "R 77 0",
		"R 5:5 win 0":          "",
	} {
		s := w.parse(line)
		r, ok := ResetFor(&s)
		if !ok {
			if want != "" {
				t.Errorf("%s: none", line)
			}
			continue
		}
		var out Segment
		if err := Parse(r.Append(nil, 1, 2), &out); err != nil {
			t.Fatal(err)
		}
		var got string
		if out.Flags.Has(ACK) {
			got = w.text("%v %d %d", out.Flags, out.Seq, out.Ack.Sub(w.irs))
		} else {
			got = w.text("%v %d %d", out.Flags, out.Seq.Sub(w.iss), out.Ack)
		}
		if got != want || out.SrcPort != 1 || out.DstPort != 2 {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
