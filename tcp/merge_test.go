package tcp

import "testing"

// A driver that gives Input several segments before it calls Output must not cost a
// connection what each of them would have been good for on its own.

// batched takes segments as one batch.
func batched(w *wire, lines ...string) {
	w.t.Helper()
	mode := w.mode
	w.mode = OutputHoldAcks
	w.recv(lines...)
	w.mode = mode
	w.none()
	w.drive()
}

func TestACKBeforeGap(t *testing.T) {
	start := func(t *testing.T, noSACK bool) *wire {
		cfg := plain()
		cfg.ReceiveBuffer, cfg.NoSACK = 1<<20, noSACK
		w := dial(t, cfg, synAck)
		for i := range 20 { // the start, which is acknowledged at once
			w.recv(w.text(". %d:%d ack 1 win 100", 1+10000*i, 10001+10000*i))
			w.skip()
			w.read(1+10000*i, 10000)
			w.skip()
		}
		return w
	}
	t.Run("SACK", func(t *testing.T) {
		w := start(t, false)
		batched(w, ". 200001:201001 ack 1 win 100", ". 201001:202001 ack 1 win 100",
			". 203001:204001 ack 1 win 100", ". 204001:205001 ack 1 win 100")
		w.expect(". 1:1 ack 202001 <>", ". 1:1 ack 202001 <sack 203001:205001>")
		// Another gap of the same episode is one report.
		batched(w, ". 202001:203001 ack 1 win 100", ". 206001:207001 ack 1 win 100")
		w.expect(". 1:1 ack 205001 <>", ". 1:1 ack 205001 <sack 206001:207001>")
		batched(w, ". 208001:209001 ack 1 win 100", ". 209001:210001 ack 1 win 100")
		w.expect(". 1:1 ack 205001 <sack 208001:210001 206001:207001>")
	})
	t.Run("no SACK", func(t *testing.T) {
		w := start(t, true)
		batched(w, ". 200001:201001 ack 1 win 100", ". 201001:202001 ack 1 win 100",
			". 203001:204001 ack 1 win 100", ". 204001:205001 ack 1 win 100", ". 205001:206001 ack 1 win 100")
		ack := ". 1:1 ack 202001"
		w.expect(ack, ack, ack, ack) // three are duplicates
	})
	t.Run("filled", func(t *testing.T) {
		w := start(t, false)
		batched(w, ". 200001:201001 ack 1 win 100", ". 201001:202001 ack 1 win 100",
			". 203001:204001 ack 1 win 100", ". 202001:203001 ack 1 win 100")
		w.expect(". 1:1 ack 204001")
	})
	t.Run("not due", func(t *testing.T) {
		w := start(t, false)
		w.c.quickAcks = 0
		batched(w, ". 200001:200011 ack 1 win 100", ". 201001:202001 ack 1 win 100")
		w.expect(". 1:1 ack 200011 <sack 201001:202001>")
	})
	t.Run("rides", func(t *testing.T) {
		w := start(t, false)
		w.mode = OutputHoldAcks
		w.recv(". 200001:201001 ack 1 win 100", ". 201001:202001 ack 1 win 100", ". 203001:204001 ack 1 win 100")
		w.mode = OutputAll
		w.write(10) // tells both
		w.expect("P. 1:11 ack 202001 <sack 203001:204001>")
		w.drive()
		w.none()
	})
}

func TestOutputFirst(t *testing.T) {
	cfg := plain()
	cfg.SendBuffer = 1 << 20
	w := dial(t, cfg, synAck)
	w.write(40000)
	w.skip()
	sacked := w.parse(". 1:1 ack 1001 win 65535 <sack 2001:3001>")
	repeated := w.parse(". 1:1 ack 1 win 65535")
	news := w.parse(". 1:1 ack 2001 win 65535")
	for _, s := range []*Segment{&sacked, &repeated, &news} {
		if w.c.OutputFirst(s) {
			t.Errorf("ack %v with %d blocks: the window is full", s.Ack, s.Options.NSACK)
		}
	}
	ack := w.parse(". 1:1 ack 1001 win 65535")
	w.c.Input(w.now, &ack)
	repeated.Ack = w.c.sndUna
	if !w.c.OutputFirst(&sacked) || !w.c.OutputFirst(&repeated) {
		t.Error("what the first ACK has let go would not leave")
	}
	if w.c.OutputFirst(&news) {
		t.Error("news of nothing lost needs no Output")
	}
	w.drive()
	w.skip()
	if w.c.OutputFirst(&sacked) {
		t.Error("there is nothing left that may leave")
	}
}

// A batch may tell more than one ACK can say.
func TestOutputFirstReports(t *testing.T) {
	w := established(t, plain())
	w.recv(". 11:1011 ack 1 win 100")
	w.skip()
	input := func(line string, want bool) {
		t.Helper()
		s := w.parse(line)
		if got := w.c.OutputFirst(&s); got != want {
			t.Errorf("%s: %v", line, got)
		}
		w.c.Input(w.now, &s)
	}
	for i := range w.c.maxSACK() {
		input(w.text(". %d:%d ack 1 win 100", 2001+1000*i, 2101+1000*i), false)
		input(w.text(". %d:%d ack 1 win 100", 2101+1000*i, 2201+1000*i), false) // the same block
	}
	input(". 9001:9101 ack 1 win 100", true)
	w.drive()
	w.skip()
	input(". 2001:2051 ack 1 win 100", false) // a duplicate
	input(". 9101:9201 ack 1 win 100", false)
	input(". 3001:3101 ack 1 win 100", true) // another
	w.drive()
	w.skip()
	input(". 11:21 ack 1 win 100", false)
	input(". 21:31 ack 1 win 100", true)
	input("F. 9201:9201 ack 1 win 100", false)
}
