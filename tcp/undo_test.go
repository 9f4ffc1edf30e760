package tcp

import (
	"testing"
	"time"
)

const synAckTS = "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,TS 1 ecr 0,wscale 0>"

// RFC 2883, section 4: a duplicate below RCV.NXT, one that is out of order, each
// told once.
func TestDSACKSent(t *testing.T) {
	w := established(t, plain())
	w.recv("P. 1:1001 ack 1 win 65535")
	w.skip()
	w.recv("P. 1:1001 ack 1 win 65535")
	w.expect(". 1:1 ack 1001 <sack 1:1001>")
	w.recv("P. 2001:3001 ack 1 win 65535")
	w.expect(". 1:1 ack 1001 <sack 2001:3001>")
	w.recv("P. 2001:3001 ack 1 win 65535")
	w.expect(". 1:1 ack 1001 <sack 2001:3001 2001:3001>")
	w.recv("P. 3001:4001 ack 1 win 65535")
	w.expect(". 1:1 ack 1001 <sack 2001:4001>")
}

// D-SACKs for all that was sent again take the reduction back; for less, or for
// what was not, they do not.
func TestUndoByDSACK(t *testing.T) {
	w := dialRTT(t, plain(), synAck, 40*ms)
	w.write(10000)
	w.skip()
	w.pass(40 * ms)
	w.recv(". 1:1 ack 1 win 65535 <sack 1:501 1001:4001>") // a D-SACK that can't be
	w.expect(". 1:1001 ack 1")
	w.recv(". 1:1 ack 10001 win 65535")
	if in := w.c.Info(); in.Undos != 0 || in.Window != 6000 || in.DSACKsIn != 0 {
		t.Errorf("%+v", in)
	}
	w.recv(". 1:1 ack 10001 win 65535 <sack 501:1001>")
	if in := w.c.Info(); in.Undos != 1 || in.Window != 10000 {
		t.Errorf("%+v", in)
	}
	for range 1000 { // a flood of them, for nothing that was sent twice
		w.recv(". 1:1 ack 10001 win 65535 <sack 1:1001>")
	}
	if in := w.c.Info(); in.Undos != 1 || in.DSACKsIn != 1 {
		t.Errorf("%+v", in)
	}
}

// The ACK of a segment that arrived a second time, as the ACK of the first was lost,
// echoes an old timestamp: that is no round trip. SACK tells of it; without SACK an echo
// from before the retransmission is none, either.
func TestNoSampleOfOldEcho(t *testing.T) {
	for _, sack := range []bool{true, false} {
		cfg, syn, ack := plain(), synAckTS, ". 1:1 ack 989 win 65535 <TS 9 ecr 40,sack 1:989>"
		if cfg.NoTimestamps = false; !sack {
			syn, ack = "S. 0:0 ack 1 win 65535 <mss 1000,TS 1 ecr 0,wscale 0>", ". 1:1 ack 989 win 65535 <TS 9 ecr 40>"
		}
		w := dialRTT(t, cfg, syn, 40*ms)
		w.write(988) // a segment beside the timestamps
		for range 3 {
			w.skip()
			w.until(10 * time.Second)
		}
		w.skip()
		w.recv(ack)
		if in := w.c.Info(); in.SRTT != 40*ms || in.Unacked != 0 || in.Retransmits < 2 {
			t.Errorf("SACK %v: %+v", sack, in)
		}
	}
}

// RFC 3522: the echo of a timestamp older than the retransmission tells that the
// original arrived.
func TestUndoByTimestamp(t *testing.T) {
	cfg := plain()
	cfg.NoTimestamps = false
	for _, late := range []bool{true, false} {
		w := dialRTT(t, cfg, synAckTS, 40*ms)
		w.write(9880)
		w.skip()
		w.pass(40 * ms)
		w.recv(". 1:1 ack 1 win 65535 <TS 2 ecr 40,sack 989:3953>")
		w.skip()
		w.pass(5 * ms)
		echo := 80
		if late {
			echo = 40
		}
		w.recv(w.text(". 1:1 ack 9881 win 65535 <TS 3 ecr %d>", echo))
		w.skip()
		if in := w.c.Info(); (in.Undos == 1) != late || (in.Window > 9000) != late {
			t.Errorf("late %v: %+v", late, in)
		}
	}
}

// RFC 5682, section 3.1: after a timeout, a report of something sent only once.
func TestFRTOSACK(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(6000)
	w.skip()
	w.until(time.Minute)
	w.expect(". 1:1001 ack 1")
	w.recv(". 1:1 ack 1001 win 65535 <sack 2001:3001>")
	w.skip()
	if in := w.c.Info(); in.SpuriousTimeouts != 1 || in.Undos != 1 || in.Window < 10000 {
		t.Errorf("%+v", in)
	}
}
