package tcp

import "testing"

// RFC 9937: of ten segments one is lost; sending goes on at half the rate at which
// the others are delivered, and the window at the end is the threshold.
func TestPRR(t *testing.T) {
	w := dialRTT(t, plain(), synAck, 40*ms)
	w.write(40000)
	w.skip()
	w.pass(40 * ms)
	w.recv(". 1:1 ack 1 win 65535 <sack 1001:2001>", ". 1:1 ack 1 win 65535 <sack 1001:3001>")
	w.skip() // limited transmit (RFC 3042)
	sent, room := 0, 0
	for i := 4; i <= 10; i++ {
		w.recv(w.text(". 1:1 ack 1 win 65535 <sack 1001:%d>", i*1000+1))
		sent += len(w.sent)
		room = max(room, len(w.sent))
		w.skip()
	}
	if in := w.c.Info(); in.FastRecoveries != 1 || in.Threshold != 5000 {
		t.Errorf("%+v", in)
	}
	if sent < 3 || sent > 5 || room > 1 {
		t.Errorf("%d segments for 7 that were delivered, %d at once", sent, room)
	}
	w.recv(". 1:1 ack 12001 win 65535")
	w.skip()
	if in := w.c.Info(); in.Window != 5000 {
		t.Errorf("%+v", in)
	}
}

// A controller that says so governs recovery itself: it is told of no window.
func TestOwnRecovery(t *testing.T) {
	cfg := plain()
	cfg.Controller = func() Controller { return ownRecovery{NewReno()} }
	w := dialRTT(t, cfg, synAck, 40*ms)
	w.write(10000)
	w.skip()
	w.recv(". 1:1 ack 1 win 65535 <sack 1001:5001>")
	w.skip()
	if in := w.c.Info(); in.Window != 10000 || in.Threshold != 5000 {
		t.Errorf("%+v", in)
	}
}

type ownRecovery struct{ Controller }

func (ownRecovery) OwnRecovery() bool { return true }
