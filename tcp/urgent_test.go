package tcp

import (
	"encoding/binary"
	"testing"
)

// recvUrgent injects a segment with the given urgent pointer.
func (w *wire) recvUrgent(line string, ptr uint16) {
	w.t.Helper()
	s := w.parse(line)
	s.Flags |= URG
	s.Urgent = ptr
	w.c.Input(w.now, &s)
}

// RFC 6093, section 3.1 and 6: the pointer names the octet behind the urgent one,
// which readers stop at, and find in line only if they asked for it.
func TestUrgentIn(t *testing.T) {
	for _, inline := range []bool{false, true} {
		cfg := plain()
		cfg.UrgentInline = inline
		w := established(t, cfg)
		w.recvUrgent("P. 1:11 ack 1 win 100", 5)
		if !w.c.UrgentPending() || w.c.ReadableBytes() != 4 {
			t.Errorf("inline %v: pending %v, %d readable", inline, w.c.UrgentPending(), w.c.ReadableBytes())
		}
		octet, ok, _ := w.c.ReadUrgent(false)
		if ok == inline || ok && octet != stream(4, 5)[0] {
			t.Errorf("inline %v: %d, %v", inline, octet, ok)
		}
		p := make([]byte, 20)
		n, err := w.c.Read(w.now, p)
		if n != 4 || err != nil || !w.c.AtMark() {
			t.Errorf("inline %v: before the mark %d, %v, %v", inline, n, err, w.c.AtMark())
		}
		want := stream(5, 10)
		if inline {
			want = stream(4, 10)
		}
		if n, err = w.c.Read(w.now, p); string(p[:n]) != string(want) || err != nil {
			t.Errorf("inline %v: behind the mark %x, %v, want %x", inline, p[:n], err, want)
		}
	}
}

// The pointer may come before its octet, and a later one takes its place.
func TestUrgentAhead(t *testing.T) {
	w := established(t, plain())
	w.recvUrgent(". 1:1 ack 1 win 100", 12)
	if _, ok, waiting := w.c.ReadUrgent(false); ok || !waiting {
		t.Errorf("ahead of its octet: %v, %v", ok, waiting)
	}
	w.recv("P. 1:11 ack 1 win 100")
	w.recvUrgent(". 1:1 ack 1 win 100", 3) // older than what is known
	if w.c.UrgentPending() {
		t.Error("an older pointer counts")
	}
	w.recv("P. 11:21 ack 1 win 100")
	if b, ok, _ := w.c.ReadUrgent(true); !ok || b != stream(11, 12)[0] {
		t.Errorf("%d, %v", b, ok)
	}
	w.recvUrgent("P. 21:22 ack 1 win 100", 1)
	if b, ok, _ := w.c.ReadUrgent(false); !ok || b != stream(20, 21)[0] {
		t.Errorf("the next: %d, %v", b, ok)
	}
}

// RFC 9293, section 3.8.5: what is urgent is marked in every segment until it is
// acknowledged, and does not wait for more.
func TestUrgentOut(t *testing.T) {
	cfg := plain()
	cfg.NoDelay = false
	w := established(t, cfg)
	w.write(10)
	w.expect("P. 1:11 ack 1")
	w.c.Write(w.now, stream(10, 15))
	w.wrote = 15
	w.c.MarkUrgent()
	w.c.Output(w.now, w.b, OutputAll)
	if len(w.b.Segments) != 1 {
		t.Fatalf("%d segments", len(w.b.Segments))
	}
	h := w.b.Segments[0].Packet
	if Flags(h[13]) != PSH|URG|ACK || binary.BigEndian.Uint16(h[18:]) != 5 {
		t.Errorf("flags %v, pointer %d", Flags(h[13]), binary.BigEndian.Uint16(h[18:]))
	}
	w.c.Sent(w.now)
	w.recv(". 1:1 ack 16 win 65535")
	w.write(3)
	w.expect("P. 16:19 ack 1")
}
