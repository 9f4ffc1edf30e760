package tcp

import "testing"

// stamped is an established connection whose peer has timestamps, from 100 on.
func stamped(t *testing.T) *wire {
	t.Helper()
	w := dial(t, Config{MSS: 1460}, "S. 0:0 ack 1 win 65535 <mss 1000,sackOK,TS 100 ecr 0>")
	w.recv(". 1:1001 ack 1 win 65535 <TS 200 ecr 5000>")
	w.expect(". 1:1 ack 1001")
	return w
}

// A segment that a retransmission has overtaken fills its gap, though its timestamp is
// the older one.
func TestPAWSTakesLate(t *testing.T) {
	w := stamped(t)
	w.recv(". 4001:5001 ack 1 win 65535 <TS 300 ecr 5000>")
	w.expect(". 1:1 ack 1001 <TS 0 ecr 200,sack 4001:5001>")
	w.recv(". 1001:2001 ack 1 win 65535 <TS 400 ecr 5000>") // sent again
	w.expect(". 1:1 ack 2001 <TS 0 ecr 400,sack 4001:5001>")
	w.recv(". 3001:4001 ack 1 win 65535 <TS 300 ecr 5000>")
	w.expect(". 1:1 ack 2001 <TS 0 ecr 400,sack 3001:5001>")
	w.recv(". 2001:3001 ack 1 win 65535 <TS 300 ecr 5000>")
	w.expect(". 1:1 ack 5001 <TS 0 ecr 400>") // the youngest is echoed
	w.read(1, 5000)
	if n := w.c.Info().PAWSDrops; n != 0 {
		t.Errorf("%d dropped", n)
	}
}

// What may be from before the history, what fills no gap and what has no data is
// dropped, as RFC 7323, section 5.3, wants.
func TestPAWSDropsOld(t *testing.T) {
	for name, seg := range map[string]string{
		"older than the connection": ". 1001:2001 ack 1 win 65535 <TS 99 ecr 5000>",
		"much older":                ". 1001:2001 ack 1 win 65535 <TS 3000000000 ecr 5000>",
		"no data":                   ". 1001:1001 ack 1 win 6553 <TS 150 ecr 5000>",
	} {
		w := stamped(t)
		w.recv(". 2001:3001 ack 1 win 65535 <TS 300 ecr 5000>")
		w.expect(". 1:1 ack 1001 <TS 0 ecr 200,sack 2001:3001>")
		w.recv(seg)
		w.skip()
		if in := w.c.Info(); in.PAWSDrops != 1 || w.c.rcvNxt != w.irs.Add(1001) {
			t.Errorf("%s: taken: %+v", name, in)
		}
	}
	w := stamped(t)
	w.recv(". 1001:2001 ack 1 win 65535 <TS 198 ecr 5000>")
	w.expect(". 1:1 ack 1001")
	if n := w.c.Info().PAWSDrops; n != 1 {
		t.Errorf("next in order, and nothing waits: %d dropped", n)
	}
}

// The history reaches back for less than 2^30 bytes, whatever the peer's clock does.
func TestStampHistory(t *testing.T) {
	var h stampHistory
	start := Seq(4_000_000_000)
	at, stamp := start, uint32(4_294_000_000)
	h.begin(stamp, at)
	type mark struct {
		stamp uint32
		bytes int
	}
	marks, bytes := []mark{{stamp, 0}}, 0
	for range 5000 {
		h.move(stamp, at)
		oldest := marks[0]
		for _, m := range marks {
			if int32(m.stamp-h.floor) >= 0 {
				oldest = m
				break
			}
		}
		if d := bytes - oldest.bytes; d >= 1<<30 || bytes > 3*stampSpan && d < stampSpan {
			t.Fatalf("after %d bytes the history reaches back for %d", bytes, d)
		}
		at, bytes, stamp = at.Add(16<<20), bytes+16<<20, stamp+1000
		marks = append(marks, mark{stamp, bytes})
	}
}
