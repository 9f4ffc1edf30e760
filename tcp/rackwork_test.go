package tcp

import (
	"fmt"
	"testing"
)

// What RACK looks at is bounded: each record a few times, not once for each
// acknowledgement, however many SACK blocks, D-SACKs and ACKs a peer makes up.
func TestRACKWorkBounded(t *testing.T) {
	const segments = 1000
	flood := func(name string, text func(i int) string) {
		w := dialRTT(t, plain(), "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,wscale 14>", 40*ms)
		w.c.cc.(*reno).cwnd = 1 << 20
		w.recv(". 1:1 ack 1 win 65535")
		for sent := 0; sent < segments*1000; {
			n := min(100_000, segments*1000-sent)
			w.write(n)
			w.skip()
			sent += n
		}
		w.now = w.now.Add(40 * ms)
		before := w.c.rack.worked
		const acks = 20000
		for i := range acks {
			s := w.parse(text(i))
			w.c.Input(w.now, &s)
			for w.c.Output(w.now, w.b, OutputAll); len(w.b.Segments) > 0; w.c.Output(w.now, w.b, OutputAll) {
				w.c.Sent(w.now)
			}
			if i%997 == 0 {
				w.now = w.now.Add(ms)
				w.check(true)
			}
		}
		w.check(true)
		if looked := w.c.rack.worked - before; looked > 2*rackLookBack*acks {
			t.Errorf("%s: %d looks for %d acknowledgements", name, looked, acks)
		}
		if n := len(w.c.rack.again); n > 2*w.c.ranges.count+70 {
			t.Errorf("%s: %d repetitions remembered for %d records", name, n, w.c.ranges.count)
		}
	}
	flood("every second segment", func(i int) string {
		k := 1 + 2*(i%(segments/2-1))
		return ". 1:1 ack 1 win 65535 <sack " + pairText(k*1000+1, k*1000+1001) + ">"
	})
	flood("backwards", func(i int) string {
		k := segments - 1 - i%(segments-2)
		return ". 1:1 ack 1 win 65535 <sack " + pairText(k*1000+1, k*1000+1001) + ">"
	})
	flood("D-SACKs", func(i int) string {
		k := 1 + i%(segments-4)
		return ". 1:1 ack 1001 win 65535 <sack " + pairText(1, 1001) + " " + pairText(k*1000+1001, k*1000+2001) + ">"
	})
}

func pairText(a, b int) string { return fmt.Sprintf("%d:%d", a, b) }
