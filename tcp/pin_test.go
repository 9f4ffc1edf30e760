package tcp

import (
	"testing"
	"time"
)

// poison is a Memory that counts, can refuse, and fills what comes back, so that
// whoever still reads it is found out.
type poison struct {
	t     *testing.T
	limit int // chunks; must may exceed it
	out   map[*Chunk]bool
	musts int
}

func newPoison(t *testing.T, limit int) *poison {
	return &poison{t: t, limit: limit, out: map[*Chunk]bool{}}
}

func (m *poison) Pressure() bool { return false }

func (m *poison) Get(must bool) *Chunk {
	if len(m.out) >= m.limit {
		if !must {
			return nil
		}
		m.musts++
	}
	c := new(Chunk)
	m.out[c] = true
	return c
}

func (m *poison) Put(c *Chunk) {
	if !m.out[c] {
		m.t.Helper()
		m.t.Fatal("a chunk comes back twice")
	}
	delete(m.out, c)
	for i := range c.Data {
		c.Data[i] = 0xdd
	}
}

// While a batch is under way, its memory is left alone, whatever happens; Sent
// gives it back.
func TestPinned(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *wire)
		sent []string
	}{
		{"optimistic ACK", func(w *wire) { w.recv(". 1:1 ack 10001 win 65535") }, []string{". 10001:11001"}},
		{"reset", func(w *wire) { w.recv("R 1:1 win 0") }, nil},
		{"close", func(w *wire) { w.close() }, nil},
		{"close and reset", func(w *wire) { w.close(); w.recv("R 1:1 win 0") }, nil},
		{"abort", func(w *wire) { w.abort() }, []string{"R. 10001:10001"}},
		{"abort and release", func(w *wire) { w.abort(); w.c.Release() }, []string{"R. 10001:10001"}},
		{"ICMP and timeouts", func(w *wire) {
			for range 5 {
				w.now = w.c.Deadline()
				w.c.Timeout(w.now)
				w.drive()
			}
		}, nil},
		{"all acknowledged, written anew", func(w *wire) {
			w.recv(". 1:1 ack 10001 win 65535")
			w.c.Write(w.now, stream(20000, 30000))
		}, []string{". 10001:11001"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newPoison(t, 1000)
			cfg := plain()
			cfg.Memory = m
			w := dial(t, cfg, synAck)
			w.hold = true
			w.write(20000)
			w.skip()
			var views [][]byte
			var want [][]byte
			for _, s := range w.b.Segments {
				for _, p := range s.Payload {
					views = append(views, p)
					want = append(want, append([]byte(nil), p...))
				}
			}
			if len(views) < 10 {
				t.Fatalf("%d parts", len(views))
			}
			c.do(w)
			w.none()
			for i := range views {
				if string(views[i]) != string(want[i]) {
					t.Fatal("memory under way has changed")
				}
			}
			w.release()
			for i, l := range c.sent {
				if i >= len(w.sent) || w.match(l, w.lines()[i]) != nil {
					t.Fatalf("after it: %v, want %s", w.lines(), l)
				}
			}
			w.skip()
			if w.c.State() == StateClosed {
				w.c.Release()
				if len(m.out) != 0 {
					t.Errorf("%d chunks are not given back", len(m.out))
				}
			}
		})
	}
}

// Output before Sent is the driver's mistake, and gives nothing.
func TestOutputWhilePinned(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.hold = true
	w.write(2000)
	w.skip()
	b := NewBatch(0)
	w.c.Output(w.now, b, OutputAll)
	if len(b.Segments) != 0 {
		t.Error("two batches under way")
	}
	w.release()
}

// The timer does not repeat what the device has not even taken.
func TestTimeoutWhilePinned(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.hold = true
	w.write(1000)
	w.skip()
	w.advance(3 * time.Second)
	w.release()
	w.none()
	if in := w.c.Info(); in.Retransmits+in.Timeouts != 0 {
		t.Errorf("%+v", in)
	}
	w.until(time.Minute)
	w.expect("P. 1:1001 ack 1")
}

// Without memory nothing that was acknowledged is lost, and one chunk each way is
// enough to go on.
func TestNoMemory(t *testing.T) {
	m := newPoison(t, 0)
	cfg := plain()
	cfg.Memory = m
	w := dial(t, cfg, synAck)
	n, err := w.c.Write(w.now, stream(0, 20000))
	if n != ChunkSize || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	w.drive()
	w.skip()
	if n, err := w.c.Write(w.now, stream(n, 20000)); n != 0 || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	w.events = 0
	w.recv(". 1:1 ack 8193 win 65535")
	w.happened(EventWritable)
	if n, _ := w.c.Write(w.now, stream(ChunkSize, 20000)); n != ChunkSize {
		t.Errorf("Write: %d", n)
	}
	w.drive()
	w.skip()

	read := 0
	for next := 1; next < 60000; {
		w.recv(w.text(". %d:%d ack 8193 win 65535", next+1000, next+2000)) // out of order: refused, or stored where there is memory
		w.skip()
		w.recv(w.text(". %d:%d ack 8193 win 65535", next, next+1000))
		w.skip()
		acked := w.c.rcvWup.Sub(w.irs)
		if got := w.c.ReadableBytes(); read+got < acked-1 {
			t.Fatalf("acknowledged %d, have %d", acked-1, read+got)
		}
		if w.c.rcvNxt.Sub(w.irs) == next { // nothing fits: read, and it comes again
			if w.c.ReadableBytes() == 0 {
				t.Fatal("nothing to read, and nothing is taken")
			}
			for k := w.c.ReadableBytes(); k > 0; k = w.c.ReadableBytes() {
				w.read(read+1, k)
				w.skip()
				read += k
			}
		}
		next = w.c.rcvNxt.Sub(w.irs)
	}
	if len(m.out) > 3 || m.musts == 0 {
		t.Errorf("%d chunks, %d beyond the limit", len(m.out), m.musts)
	}
	w.abort()
	w.skip()
	w.c.Release()
	if len(m.out) != 0 {
		t.Errorf("%d chunks are not given back", len(m.out))
	}
}

// An idle connection has no chunks.
func TestIdleOwnsNothing(t *testing.T) {
	m := newPoison(t, 1000)
	cfg := plain()
	cfg.Memory = m
	w := dial(t, cfg, synAck)
	w.write(10000)
	w.skip()
	w.recv(". 1:1 ack 10001 win 65535", ". 1:20001 ack 10001 win 65535")
	w.skip()
	w.read(1, 20000)
	w.skip()
	if len(m.out) != 0 {
		t.Errorf("%d chunks", len(m.out))
	}
}
