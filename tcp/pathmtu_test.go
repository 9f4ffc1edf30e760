package tcp

import (
	"testing"
	"time"
)

// A path that ICMP made narrow is believed to be wide again after ten minutes (RFC
// 1191, section 6.3), and not before.
func TestPathWidens(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(1000)
	w.skip()
	w.do(func(c *Conn) {
		if !c.PacketTooBig(w.now, w.iss.Add(1), 700) {
			t.Error("not believed")
		}
	})
	w.skip()
	w.recv(". 1:1 ack 1001 win 65535")
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{9 * time.Minute, 700}, {2 * time.Minute, 1000}} {
		w.advance(step.after)
		w.skip()
		w.write(1000)
		w.skip()
		if got := w.c.Info().SegmentSize; got != step.want {
			t.Errorf("segments of %d after %v more, want %d", got, step.after, step.want)
		}
		w.recv(w.text(". 1:1 ack %d win 65535", w.wrote+1))
		w.skip()
	}
}

// Nobody can make segments smaller than Linux's least path MTU leaves, nor can numbers
// that were not sent, nor news of a path that is wider.
func TestPathBounds(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(1000)
	w.skip()
	w.do(func(c *Conn) {
		for _, mss := range []int{1 << 30, 1000, 65535} {
			if c.PacketTooBig(w.now, w.iss.Add(1), mss) {
				t.Errorf("%d was believed", mss)
			}
		}
		for _, seq := range []int{0, -1, 1001, 1 << 30} {
			if c.PacketTooBig(w.now, w.iss.Add(seq), 600) {
				t.Errorf("a message about %d was believed", seq)
			}
		}
		for _, mss := range []int{-1 << 30, 0, 1} {
			c.PacketTooBig(w.now, w.iss.Add(1), mss)
			if c.sndMSS != minPathMSS {
				t.Errorf("segments of %d after a message about %d", c.sndMSS, mss)
			}
		}
	})
	w.skip()
}

// A probe that vanished says nothing of congestion (RFC 4821, section 7.5), also where
// too little came behind it and it takes the reordering timer to notice.
func TestProbeLostByTimer(t *testing.T) {
	cfg := plain()
	cfg.MTUProbing, cfg.BaseMSS = MTUProbeAlways, 500
	w := dialRTT(t, cfg, "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,wscale 14>", 40*ms)
	for w.c.cwnd() < 2*mtuProbeWindow {
		w.write(500)
		w.skip()
		w.now = w.now.Add(40 * ms)
		w.recv(w.text(". 1:1 ack %d win 65535", w.wrote+1))
		w.skip()
		if w.c.mtu.size > 0 {
			t.Fatal("a probe of too little")
		}
		w.c.cc.(*reno).cwnd++
	}
	from, window := w.wrote+1, w.c.cwnd()
	w.write(750 + 4*500)
	w.skip()
	if m := &w.c.mtu; m.size != 750 {
		t.Fatalf("the probe has %d bytes", m.size)
	}
	w.now = w.now.Add(40 * ms)
	w.recv(w.text(". 1:1 ack %d win 65535 <sack %d:%d>", from, from+750, from+1250))
	w.none()
	w.advance(12 * ms) // the reordering timer: a quarter of a round trip, and 2 ms
	w.expect(w.text(". %d:%d ack 1", from, from+500), w.text(". %d:%d ack 1", from+500, from+750))
	in := w.c.Info()
	if in.FastRecoveries > 0 || in.Timeouts > 0 || w.c.cwnd() < window || w.c.mtu.high != 749 {
		t.Errorf("window %d, was %d; %d remain possible; %+v", w.c.cwnd(), window, w.c.mtu.high, in)
	}
}
