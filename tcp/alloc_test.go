package tcp

import (
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// freelist is the simplest pool.
type freelist struct{ free []*Chunk }

func (m *freelist) Pressure() bool { return false }

func (m *freelist) Get(bool) *Chunk {
	if n := len(m.free); n > 0 {
		c := m.free[n-1]
		m.free = m.free[:n-1]
		return c
	}
	return new(Chunk)
}

func (m *freelist) Put(c *Chunk) { m.free = append(m.free, c) }

// link is two connections and nothing between them.
type link struct {
	now   clock.Time
	a, b  Conn
	batch *Batch
	frame []byte
	buf   []byte
}

func newLink(tb testing.TB, gso int) *link {
	l := &link{now: clock.Time(time.Hour), batch: NewBatch(34), frame: make([]byte, 0, 70000), buf: make([]byte, 65536)}
	mem := &freelist{}
	cfg := Config{MSS: 1460, MaxGSO: gso, NoDelay: true, Memory: mem}
	l.a.Connect(l.now, &cfg, 1000, 1)
	l.a.Output(l.now, l.batch, OutputAll)
	var syn, ack Segment
	Parse(l.batch.Segments[0].Packet[34:], &syn)
	l.a.Sent(l.now)
	var p Passive
	p.Init(l.now, &cfg, &syn, 2000, 2)
	p.Output(l.now, l.batch)
	Parse(append([]byte(nil), l.batch.Segments[0].Packet[34:]...), &ack)
	l.a.Input(l.now, &ack)
	l.a.Output(l.now, l.batch, OutputAll)
	Parse(append([]byte(nil), l.batch.Segments[0].Packet[34:]...), &ack)
	l.a.Sent(l.now)
	if p.Input(l.now, &ack) != PassiveEstablish {
		tb.Fatal("no connection")
	}
	l.b.Accept(l.now, &cfg, &p, &ack)
	return l
}

// move takes what one side has to send to the other, as bytes.
func (l *link) move(from, to *Conn) int {
	n := 0
	for {
		from.Output(l.now, l.batch, OutputAll)
		if len(l.batch.Segments) == 0 {
			return n
		}
		for i := range l.batch.Segments {
			s := &l.batch.Segments[i]
			l.frame = append(l.frame[:0], s.Packet[34:]...)
			for _, p := range s.Payload {
				l.frame = append(l.frame, p...)
			}
			var seg Segment
			if Parse(l.frame, &seg) == nil {
				to.Input(l.now, &seg)
			}
			n++
		}
		from.Sent(l.now)
	}
}

// bulk moves n bytes from a to b and returns how many segments that took.
func (l *link) bulk(n int) (segments int) {
	for n > 0 {
		w, _ := l.a.Write(l.now, l.buf[:min(len(l.buf), n)])
		segments += l.move(&l.a, &l.b)
		for {
			r, _ := l.b.Read(l.now, l.buf)
			if r == 0 {
				break
			}
			n -= r
		}
		segments += l.move(&l.b, &l.a)
		l.now = l.now.Add(time.Millisecond)
		if w == 0 && segments == 0 {
			panic("stalled")
		}
	}
	return segments
}

func (l *link) pingPong() {
	l.now = l.now.Add(100 * time.Microsecond)
	l.a.Write(l.now, l.buf[:64])
	l.move(&l.a, &l.b)
	n, _ := l.b.Read(l.now, l.buf)
	l.b.Write(l.now, l.buf[:n])
	l.move(&l.b, &l.a)
	l.a.Read(l.now, l.buf)
}

// Once it is running, a connection allocates nothing for its segments.
func TestAllocations(t *testing.T) {
	for _, gso := range []int{0, 65000} {
		l := newLink(t, gso)
		l.bulk(16 << 20)
		if n := testing.AllocsPerRun(20, func() { l.bulk(1 << 20) }); n != 0 {
			t.Errorf("gso %d: %v allocations for 1 MiB", gso, n)
		}
		for range 100 {
			l.pingPong()
		}
		if n := testing.AllocsPerRun(200, l.pingPong); n != 0 {
			t.Errorf("%v allocations for a transaction", n)
		}
	}
	// Neither do loss and disorder.
	l := newLink(t, 0)
	l.bulk(4 << 20)
	k := 0
	lossy := func() {
		l.a.Write(l.now, l.buf)
		l.a.Output(l.now, l.batch, OutputAll)
		for i := range l.batch.Segments {
			if k++; k%7 == 0 {
				continue
			}
			s := &l.batch.Segments[i]
			l.frame = append(l.frame[:0], s.Packet[34:]...)
			for _, p := range s.Payload {
				l.frame = append(l.frame, p...)
			}
			var seg Segment
			Parse(l.frame, &seg)
			l.b.Input(l.now, &seg)
		}
		l.a.Sent(l.now)
		l.move(&l.b, &l.a)
		for l.b.ReadableBytes() > 0 {
			l.b.Read(l.now, l.buf)
		}
		l.now = l.now.Add(5 * time.Millisecond)
		if !l.now.Before(l.a.Deadline()) {
			l.a.Timeout(l.now)
		}
	}
	for range 500 {
		lossy()
	}
	if n := testing.AllocsPerRun(500, lossy); n != 0 {
		t.Errorf("%v allocations for a batch with losses", n)
	}
	if l.a.Info().FastRecoveries == 0 {
		t.Error("no losses")
	}
}

func BenchmarkBulk(b *testing.B) {
	for _, c := range []struct {
		name string
		gso  int
	}{{"1448", 0}, {"64KiB", 65000}} {
		b.Run(c.name, func(b *testing.B) {
			l := newLink(b, c.gso)
			l.bulk(8 << 20)
			b.ReportAllocs()
			b.SetBytes(1 << 20)
			segments := 0
			for b.Loop() {
				segments += l.bulk(1 << 20)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(segments), "ns/segment")
		})
	}
}

func BenchmarkPingPong(b *testing.B) {
	l := newLink(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		l.pingPong()
	}
}

func BenchmarkParse(b *testing.B) {
	h := header{flags: ACK, options: Options{HasTS: true, TSVal: 1, TSEcr: 2}}
	p := append(h.append(nil), make([]byte, 1448)...)
	b.ReportAllocs()
	var s Segment
	for b.Loop() {
		if Parse(p, &s) != nil {
			b.Fatal()
		}
	}
}

func BenchmarkHeader(b *testing.B) {
	h := header{flags: ACK, options: Options{HasTS: true, TSVal: 1, TSEcr: 2}}
	p := make([]byte, 0, 60)
	b.ReportAllocs()
	for b.Loop() {
		p = h.append(p[:0])
	}
}

// BenchmarkRecovery is what an ACK costs while a large window has holes.
func BenchmarkRecovery(b *testing.B) {
	l := newLink(b, 0)
	l.a.cc.(*cubic).cwnd = 1 << 20
	l.a.sndWnd = 1 << 20
	l.a.Write(l.now, make([]byte, 1<<20))
	for {
		l.a.Output(l.now, l.batch, OutputAll)
		if len(l.batch.Segments) == 0 {
			break
		}
		l.a.Sent(l.now)
	}
	s := Segment{Seq: l.a.rcvNxt, Ack: l.a.sndUna, Flags: ACK, Window: 8192, Options: Options{HasTS: true, TSVal: l.a.tsRecent, NSACK: 1}}
	left := l.a.sndUna.Add(1448)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Options.SACK[0] = SACKBlock{left, left.Add(1448 * (1 + i%600))}
		l.a.Input(l.now, &s)
		l.a.Events()
		i++
	}
}
