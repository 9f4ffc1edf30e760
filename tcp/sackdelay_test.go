package tcp

import (
	"fmt"
	"testing"
	"time"
)

// Three ACKs leave at once, and the next stands for what comes within the delay.
func TestSACKDelay(t *testing.T) {
	for _, test := range []struct {
		set, rtt, want time.Duration
	}{
		{0, 0, sackDelayUnknown},
		{0, 100 * time.Millisecond, DefaultSACKDelay},
		{0, 10 * time.Millisecond, 500 * time.Microsecond},
		{3 * time.Millisecond, 100 * time.Millisecond, 3 * time.Millisecond},
		{time.Hour, 10 * time.Second, (sackDelayNever - 1) * time.Microsecond},
		{-1, 100 * time.Millisecond, 0},
	} {
		t.Run(fmt.Sprint(test.set, test.rtt), func(t *testing.T) {
			cfg := plain()
			cfg.SACKDelay = test.set
			w := established(t, cfg)
			w.c.drs.rtt, w.c.rtt.srtt = 8*test.rtt, 0
			for i := range 3 {
				w.recv(w.text(". %d:%d ack 1 win 100", 11+10*i, 21+10*i))
				w.expect(w.text(". 1:1 ack 1 <sack 11:%d>", 21+10*i))
			}
			w.recv(". 41:51 ack 1 win 100")
			if test.want > 0 {
				w.recv(". 51:61 ack 1 win 100")
				w.none()
				if d := w.until(time.Second); d != test.want {
					t.Errorf("ACK after %v, want %v", d, test.want)
				}
				w.expect(". 1:1 ack 1 <sack 11:61>")
			} else {
				w.expect(". 1:1 ack 1 <sack 11:51>")
			}
		})
	}
}
