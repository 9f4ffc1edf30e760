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
