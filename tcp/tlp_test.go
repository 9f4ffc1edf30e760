package tcp

import "testing"

// RFC 8985, section 7: the last segment is sent again after two round trips, and
// what SACK then tells repairs the rest without a timeout.
func TestTLP(t *testing.T) {
	w := dialRTT(t, Config{MSS: 1000, NoTimestamps: true, NoDelay: true, Controller: NewReno}, synAck, 40*ms)
	w.write(4000)
	w.skip()
	w.advance(82 * ms)
	w.expect("P. 3001:4001 ack 1")
	w.pass(40 * ms)
	w.recv(". 1:1 ack 1 win 65535 <sack 3001:4001>")
	w.expect(". 1:1001 ack 1")
	w.recv(". 1:1 ack 1001 win 65535 <sack 3001:4001>")
	w.skip()
	w.recv(". 1:1 ack 4001 win 65535")
	w.skip()
	if in := w.c.Info(); in.Timeouts != 0 || in.TailProbes != 1 || in.FastRecoveries != 1 {
		t.Errorf("%+v", in)
	}
}

// With something new to send, the probe is that.
func TestTLPNewData(t *testing.T) {
	w := dialRTT(t, Config{MSS: 1000, NoTimestamps: true, NoDelay: true, Controller: NewReno}, synAck, 40*ms)
	w.write(12000)
	w.skip()
	w.advance(82 * ms)
	w.expect(". 10001:11001 ack 1")
	w.recv(". 1:1 ack 11001 win 65535")
	w.skip()
	if in := w.c.Info(); in.Retransmits != 0 || in.Threshold != infiniteThreshold {
		t.Errorf("%+v", in)
	}
}

// RFC 8985, section 7.4: the probe has repaired a loss: the window is halved when
// more than it is acknowledged, and not when both copies arrived.
func TestTLPHiddenLoss(t *testing.T) {
	for _, lost := range []bool{true, false} {
		w := dialRTT(t, Config{MSS: 1000, NoTimestamps: true, NoDelay: true, Controller: NewReno}, synAck, 40*ms)
		w.write(4000)
		w.skip()
		w.advance(82 * ms)
		w.expect("P. 3001:4001 ack 1")
		w.recv(". 1:1 ack 4001 win 65535")
		if !lost {
			w.recv(". 1:1 ack 4001 win 65535")
		}
		w.write(1000)
		w.skip()
		w.recv(". 1:1 ack 5001 win 65535")
		if in := w.c.Info(); (in.Threshold != infiniteThreshold) != lost {
			t.Errorf("lost %v: %+v", lost, in)
		}
	}
}
