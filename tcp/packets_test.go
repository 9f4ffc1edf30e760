package tcp

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// wire lets tests read like packets. A line is one segment:
//
//	S. 0:0 ack 1 win 65535 <mss 1460,sackOK,TS 100 ecr 0,wscale 7>
//	P. 1:1001 ack 1 win 512
//	. 1:1 ack 1001 win 512 <sack 2001:3001>
//
// Sequence numbers are relative to the initial ones of either side, timestamps of
// ours to the connection's offset and start. In an expected line, what is not
// mentioned (win, options) is not compared, but for data and flags; the payload
// must be the stream's. Every step fails if a segment has been sent and not
// expected: nothing else was sent.
type wire struct {
	t        *testing.T
	now      clock.Time
	c        Conn
	b        *Batch
	sent     []OutSegment // deep copies
	iss, irs Seq
	start    clock.Time
	events   Events
	hold     bool // leave a batch pinned until release
	mode     OutputMode
	wrote    int // bytes of the pattern written
	edge     Seq // right edge on the wire
	edgeSet  bool
	tlp      bool // with tail loss probes, which would come before the timeouts that most tests are about
}

const wireTSOffset = 5000

func streamByte(i int) byte { return byte(i*7 + i>>8*13 + i>>16*31) }

func stream(from, to int) []byte {
	p := make([]byte, to-from)
	for i := range p {
		p[i] = streamByte(from + i)
	}
	return p
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{t: t, now: clock.Time(time.Hour), b: NewBatch(0), iss: 0xfffff000, irs: 0xffffe000}
	w.start, w.c.tsOffset = w.now, wireTSOffset
	return w
}

// connect begins an active open; the SYN is still to be expected.
func (w *wire) connect(cfg Config) *wire {
	w.t.Helper()
	cfg.NoTailLossProbe = !w.tlp
	w.c.Connect(w.now, &cfg, w.iss, wireTSOffset)
	w.drive()
	return w
}

// dial makes an established connection; synack is the peer's answer.
func dial(t *testing.T, cfg Config, synack string) *wire {
	t.Helper()
	w := newWire(t).connect(cfg)
	w.skip()
	w.recv(synack)
	w.expect(". 1:1 ack 1")
	if w.c.State() != StateEstablished {
		t.Fatalf("state %v", w.c.State())
	}
	w.events = 0
	return w
}

// accept makes an established connection by a passive open.
func accept(t *testing.T, cfg Config, syn, ack string) *wire {
	t.Helper()
	w := newWire(t)
	cfg.NoTailLossProbe = true
	s := w.parse(syn)
	var p Passive
	p.Init(w.now, &cfg, &s, w.iss, wireTSOffset)
	p.Output(w.now, w.b)
	a := w.parse(ack)
	if v := p.Input(w.now, &a); v != PassiveEstablish {
		t.Fatalf("verdict %d on %s", v, ack)
	}
	w.c.Accept(w.now, &cfg, &p, &a)
	w.drive()
	return w
}

// parse turns a line into a segment from the peer.
func (w *wire) parse(line string) Segment {
	w.t.Helper()
	var s Segment
	opts := ""
	if i := strings.IndexByte(line, '<'); i >= 0 {
		line, opts = line[:i], strings.TrimSuffix(line[i+1:], ">")
	}
	f := strings.Fields(line)
	for _, r := range f[0] {
		s.Flags |= map[rune]Flags{'F': FIN, 'S': SYN, 'R': RST, 'P': PSH, '.': ACK, '-': 0}[r]
	}
	from, to := w.pair(f[1])
	s.Seq = w.irs.Add(from)
	if to > from {
		s.Payload = stream(from-1, to-1)
		if s.Flags.Has(SYN) {
			s.Payload = stream(from, to)
		}
	}
	for i := 2; i+1 < len(f); i += 2 {
		n, err := strconv.Atoi(f[i+1])
		if err != nil {
			w.t.Fatal(err)
		}
		switch f[i] {
		case "ack":
			s.Ack = w.iss.Add(n)
		case "win":
			s.Window = uint16(n)
		}
	}
	for _, o := range strings.Split(opts, ",") {
		f := strings.Fields(o)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "mss":
			s.Options.MSS = uint16(w.int(f[1]))
		case "wscale":
			s.Options.HasWScale, s.Options.WScale = true, uint8(w.int(f[1]))
		case "sackOK":
			s.Options.SACKPermitted = true
		case "TS":
			s.Options.HasTS, s.Options.TSVal = true, uint32(w.int(f[1]))
			s.Options.TSEcr = w.c.tsOffset + uint32(int64(w.start)/1e6) + uint32(w.int(f[3]))
		case "sack":
			for _, b := range f[1:] {
				l, r := w.pair(b)
				s.Options.SACK[s.Options.NSACK] = SACKBlock{w.iss.Add(l), w.iss.Add(r)}
				s.Options.NSACK++
			}
		}
	}
	return s
}

func (w *wire) int(s string) int {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		w.t.Helper()
		w.t.Fatal(err)
	}
	return int(n) // of a timestamp the 32 bits matter
}

func (w *wire) pair(s string) (int, int) {
	w.t.Helper()
	l, r, ok := strings.Cut(s, ":")
	if !ok {
		w.t.Fatalf("no range: %q", s)
	}
	return w.int(l), w.int(r)
}

// recv is a segment that arrives.
func (w *wire) recv(lines ...string) {
	w.t.Helper()
	w.none()
	for _, line := range lines {
		s := w.parse(line)
		// On the way it is bytes.
		h := header{seq: s.Seq, ack: s.Ack, flags: s.Flags, window: s.Window, options: s.Options}
		var got Segment
		if err := Parse(append(h.append(nil), s.Payload...), &got); err != nil {
			w.t.Fatal(err)
		}
		w.c.Input(w.now, &got)
		w.check(false)
	}
	w.drive()
}

func (w *wire) check(drained bool) {
	w.t.Helper()
	if err := w.c.Check(drained); err != nil {
		w.t.Fatal(err)
	}
}

// drive does what a driver does after every call.
func (w *wire) drive() {
	w.t.Helper()
	w.check(false)
	for {
		w.events |= w.c.Events()
		if w.c.sndBuf.pinned {
			return
		}
		w.c.Output(w.now, w.b, w.mode)
		w.check(false)
		if len(w.b.Segments) == 0 {
			break
		}
		for _, s := range w.b.Segments {
			w.track(&s)
			s.Packet = bytes.Clone(s.Packet)
			s.Payload = [][]byte{bytes.Join(s.Payload, nil)}
			w.sent = append(w.sent, s)
		}
		if w.hold {
			return
		}
		w.c.Sent(w.now)
	}
	w.check(w.mode == OutputAll)
}

// track holds the right edge of the window to its promise (RFC 9293, section
// 3.8.6.2.2).
func (w *wire) track(o *OutSegment) {
	w.t.Helper()
	var s Segment
	if err := Parse(o.Packet, &s); err != nil {
		w.t.Fatal(err)
	}
	if s.Flags.Has(RST) || !s.Flags.Has(ACK) {
		return
	}
	win := int(s.Window)
	if !s.Flags.Has(SYN) {
		win <<= w.c.rcvScale
	}
	edge := s.Ack.Add(win)
	if w.edgeSet && edge.Less(w.edge) && !w.c.finTaken {
		w.t.Fatalf("the right edge moved left by %d", w.edge.Sub(edge))
	}
	w.edge, w.edgeSet = edge, true
}

// release ends a held batch.
func (w *wire) release() {
	w.t.Helper()
	w.hold = false
	w.c.Sent(w.now)
	w.drive()
}

// advance lets time pass; timers run when they are due.
func (w *wire) advance(d time.Duration) {
	w.t.Helper()
	w.none()
	end := w.now.Add(d)
	for {
		at := w.c.Deadline()
		if at > end {
			break
		}
		w.now = max(at, w.now)
		w.c.Timeout(w.now)
		w.drive()
		if len(w.sent) > 0 {
			if w.now < end {
				w.t.Fatalf("sent %v early: %v", end.Sub(w.now), w.lines())
			}
			return
		}
		if next := w.c.Deadline(); next <= w.now {
			w.t.Fatalf("a timer does not move on: %d", next)
		}
	}
	w.now = end
}

// until advances to the next segment that a timer sends, and returns how long it
// took.
func (w *wire) until(limit time.Duration) time.Duration {
	w.t.Helper()
	w.none()
	begin := w.now
	for len(w.sent) == 0 && w.c.State() != StateClosed {
		at := w.c.Deadline()
		if at > begin.Add(limit) {
			w.t.Fatalf("nothing happens for %v", limit)
		}
		w.now = max(at, w.now)
		w.c.Timeout(w.now)
		w.drive()
	}
	return w.now.Sub(begin)
}

// do is a call of the application.
func (w *wire) do(f func(c *Conn)) {
	w.t.Helper()
	w.none()
	f(&w.c)
	w.drive()
}

func (w *wire) write(n int) {
	w.t.Helper()
	w.do(func(c *Conn) {
		m, err := c.Write(w.now, stream(w.wrote, w.wrote+n))
		if m != n || err != nil {
			w.t.Fatalf("Write: %d, %v", m, err)
		}
		w.wrote += m
	})
}

// read takes n bytes that must be the stream's from relative number seq on.
func (w *wire) read(seq, n int) {
	w.t.Helper()
	w.do(func(c *Conn) {
		p := make([]byte, n)
		m, err := c.Read(w.now, p)
		if m != n || err != nil {
			w.t.Fatalf("Read: %d, %v; want %d", m, err, n)
		}
		if !bytes.Equal(p, stream(seq-1, seq-1+n)) {
			w.t.Fatal("Read: not what was sent")
		}
	})
}

func (w *wire) close()      { w.t.Helper(); w.do(func(c *Conn) { c.Close(w.now) }) }
func (w *wire) closeWrite() { w.t.Helper(); w.do(func(c *Conn) { c.CloseWrite(w.now) }) }
func (w *wire) abort()      { w.t.Helper(); w.do(func(c *Conn) { c.Abort(w.now) }) }

// none says that nothing was sent.
func (w *wire) none() {
	w.t.Helper()
	if len(w.sent) > 0 {
		w.t.Fatalf("unexpected: %s", strings.Join(w.lines(), "; "))
	}
}

// skip forgets what was sent.
func (w *wire) skip() { w.sent = nil }

func (w *wire) lines() []string {
	var l []string
	for i := range w.sent {
		l = append(l, w.line(&w.sent[i]))
	}
	return l
}

// expect says what was sent, in order and completely.
func (w *wire) expect(lines ...string) {
	w.t.Helper()
	for i, want := range lines {
		if i >= len(w.sent) {
			w.t.Fatalf("not sent: %s", strings.Join(lines[i:], "; "))
		}
		got := w.line(&w.sent[i])
		if err := w.match(want, got); err != nil {
			w.t.Fatalf("segment %d: %v\nsent %s\nwant %s\nall  %s", i, err, got, want, strings.Join(w.lines(), "; "))
		}
		var s Segment
		Parse(w.sent[i].Packet, &s)
		if from := s.Seq.Sub(w.iss) - 1; w.sent[i].PayloadLen > 0 && !bytes.Equal(w.sent[i].Payload[0], stream(from, from+w.sent[i].PayloadLen)) {
			w.t.Fatalf("%s carries the wrong bytes", got)
		}
	}
	if len(w.sent) > len(lines) {
		w.t.Fatalf("also sent: %s", strings.Join(w.lines()[len(lines):], "; "))
	}
	w.sent = nil
}

func (w *wire) line(o *OutSegment) string {
	var s Segment
	if err := Parse(o.Packet, &s); err != nil {
		w.t.Fatal(err)
	}
	fl := s.Flags.String()
	if fl == "" {
		fl = "-"
	}
	rel := s.Seq.Sub(w.iss)
	l := fmt.Sprintf("%s %d:%d", fl, rel, rel+o.PayloadLen)
	if s.Flags.Has(ACK) {
		l += fmt.Sprintf(" ack %d", s.Ack.Sub(w.irs))
	}
	l += fmt.Sprintf(" win %d", s.Window)
	if o.SegmentSize > 0 {
		l += fmt.Sprintf(" gso %d", o.SegmentSize)
	}
	var opt []string
	op := &s.Options
	if op.MSS != 0 {
		opt = append(opt, fmt.Sprintf("mss %d", op.MSS))
	}
	if op.SACKPermitted {
		opt = append(opt, "sackOK")
	}
	if op.HasTS {
		opt = append(opt, fmt.Sprintf("TS %d ecr %d", int32(op.TSVal-w.c.tsOffset-uint32(int64(w.start)/1e6)), op.TSEcr))
	}
	if op.HasWScale {
		opt = append(opt, fmt.Sprintf("wscale %d", op.WScale))
	}
	if op.NSACK > 0 {
		s := "sack"
		for _, b := range op.SACK[:op.NSACK] {
			s += fmt.Sprintf(" %d:%d", b.Left.Sub(w.irs), b.Right.Sub(w.irs))
		}
		opt = append(opt, s)
	}
	if len(opt) > 0 {
		l += " <" + strings.Join(opt, ",") + ">"
	}
	return l
}

// match compares an expected line with one that was sent, as far as it goes; <> stands
// for no options.
func (w *wire) match(want, got string) error {
	wl, wo, wHas := strings.Cut(want, " <")
	gl, gopt, _ := strings.Cut(got, " <")
	wf, gf := strings.Fields(wl), strings.Fields(gl)
	if wf[0] != gf[0] || wf[1] != gf[1] {
		return fmt.Errorf("flags or numbers differ")
	}
	get := func(f []string, key string) string {
		for i := 2; i+1 < len(f); i += 2 {
			if f[i] == key {
				return f[i+1]
			}
		}
		return ""
	}
	for i := 2; i+1 < len(wf); i += 2 {
		if v := get(gf, wf[i]); v != wf[i+1] {
			return fmt.Errorf("%s is %q", wf[i], v)
		}
	}
	if get(wf, "gso") != get(gf, "gso") {
		return fmt.Errorf("gso is %q", get(gf, "gso"))
	}
	if gopt = strings.TrimSuffix(gopt, ">"); wHas && strings.TrimSuffix(wo, ">") != gopt {
		return fmt.Errorf("options are <%s>", gopt)
	}
	return nil
}

func (w *wire) state(want State) {
	w.t.Helper()
	if got := w.c.State(); got != want {
		w.t.Fatalf("state %v, want %v", got, want)
	}
}

// happened takes the events since the last call; all of want must be among them.
func (w *wire) happened(want Events) {
	w.t.Helper()
	if w.events&want != want {
		w.t.Fatalf("events %b, want %b", w.events, want)
	}
	w.events = 0
}

func (w *wire) text(format string, a ...any) string { return fmt.Sprintf(format, a...) }

// recv2 expects what the last step sent before the next segment arrives.
func (w *wire) recv2(sent, line string) {
	w.t.Helper()
	w.expect(sent)
	w.recv(line)
}
