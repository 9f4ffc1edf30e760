package tcp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// arrows are the transitions of RFC 9293, figure 5, and those that one segment
// makes when it does what several could (note 3 there).
var arrows = map[State][]State{
	StateSynSent:     {StateSynReceived, StateEstablished, StateFinWait1},
	StateSynReceived: {StateEstablished, StateFinWait1, StateCloseWait, StateClosing},
	StateEstablished: {StateFinWait1, StateCloseWait},
	StateFinWait1:    {StateFinWait2, StateClosing, StateTimeWait},
	StateFinWait2:    {StateTimeWait},
	StateCloseWait:   {StateLastAck},
	StateClosing:     {StateTimeWait},
}

// model is one connection at the mercy of bytes, and what must hold of it.
type model struct {
	t        *testing.T
	ops      []byte
	now      clock.Time
	c        Conn
	cfg      Config
	b        *Batch
	mem      *poison
	state    State
	iss, irs Seq
	wrote    int
	read     int
	edge     Seq
	edgeSet  bool
	ack      Seq
	hold     bool
	views    [][]byte
	copies   [][]byte
}

func (m *model) byte() int {
	if len(m.ops) == 0 {
		return 0
	}
	b := m.ops[0]
	m.ops = m.ops[1:]
	return int(b)
}

// near gives a signed number, small ones often.
func (m *model) near() int {
	a, b := m.byte(), m.byte()
	return int(int8(a)) * []int{1, 1, 1, 10, 100, 1000, 1460, 65536}[b&7]
}

func (m *model) check(drained bool) {
	if err := m.c.Check(drained); err != nil {
		m.t.Helper()
		m.t.Fatal(err)
	}
	if s := m.c.State(); s != m.state {
		ok := s == StateClosed
		for _, to := range arrows[m.state] {
			ok = ok || s == to
		}
		if !ok {
			m.t.Fatalf("%v -> %v", m.state, s)
		}
		if m.state == StateSynSent { // the peer's SYN has told where it begins
			m.irs, m.ack = m.c.irs, m.c.irs
		}
		m.state = s
	}
	for i := range m.views {
		if !bytes.Equal(m.views[i], m.copies[i]) {
			m.t.Fatal("memory under way has changed")
		}
	}
}

// drain takes what is to be sent and looks at every segment.
func (m *model) drain() {
	for range 100 {
		m.c.Output(m.now, m.b, OutputMode(m.byte()%3))
		m.check(false)
		if len(m.b.Segments) == 0 {
			return
		}
		for i := range m.b.Segments {
			m.segment(&m.b.Segments[i])
		}
		if m.hold {
			return
		}
		m.sent()
	}
	m.t.Fatal("Output does not end")
}

func (m *model) sent() {
	m.views, m.copies = nil, nil
	m.c.Sent(m.now)
}

func (m *model) segment(o *OutSegment) {
	var s Segment
	if err := Parse(o.Packet, &s); err != nil {
		m.t.Fatal(err)
	}
	p := bytes.Join(o.Payload, nil)
	if len(p) != o.PayloadLen {
		m.t.Fatalf("PayloadLen %d, payload %d", o.PayloadLen, len(p))
	}
	if m.hold {
		for _, v := range o.Payload {
			m.views = append(m.views, v)
			m.copies = append(m.copies, bytes.Clone(v))
		}
	}
	if len(p) > 0 {
		from := s.Seq.Sub(m.iss) - 1
		if from < 0 || from+len(p) > m.wrote || !bytes.Equal(p, stream(from, from+len(p))) {
			m.t.Fatalf("%d bytes from %d are not what was written", len(p), from)
		}
		if o.SegmentSize == 0 && len(p)+s.Options.size() > m.cfg.mss() && m.cfg.mss() >= minMSS {
			m.t.Fatalf("%d bytes and %d of options in one segment", len(p), s.Options.size())
		}
		if o.SegmentSize != 0 && (m.cfg.MaxGSO == 0 || len(p) <= o.SegmentSize || len(p) > m.cfg.MaxGSO) {
			m.t.Fatalf("%d bytes in segments of %d", len(p), o.SegmentSize)
		}
	}
	if s.Flags.Has(RST) || !s.Flags.Has(ACK) {
		return
	}
	if s.Ack.Less(m.ack) {
		m.t.Fatalf("acknowledged %d after %d", s.Ack, m.ack)
	}
	m.ack = s.Ack
	win := int(s.Window)
	if !s.Flags.Has(SYN) {
		win <<= m.c.rcvScale
	}
	edge := s.Ack.Add(win)
	if s.Flags.Has(SYN) && m.edgeSet {
		return // repeats an earlier one
	}
	if m.edgeSet && edge.Less(m.edge) && !m.c.finTaken && m.c.rcvBuf.buffered() < m.c.rw.most+63<<10 {
		m.t.Fatalf("the window's right edge moved left by %d: win %d, %v", m.edge.Sub(edge), s.Window, m.c.rcvScale)
	}
	m.edge, m.edgeSet = edge, true
}

// arrive makes a segment whose text is always the stream's, so that whatever is
// believed of it can be checked.
func (m *model) arrive() {
	var s Segment
	kind := m.byte()
	s.Flags = ACK
	if kind&0x80 != 0 {
		s.Flags = Flags(m.byte())
	} else if kind&0x40 != 0 {
		s.Flags |= FIN
	}
	base := m.c.rcvNxt
	if m.c.State() == StateSynSent {
		base = m.irs
	}
	s.Seq = base
	if kind&1 != 0 {
		s.Seq = s.Seq.Add(m.near())
	}
	s.Ack = m.c.sndNxt
	if kind&2 != 0 {
		s.Ack = m.c.sndUna
	}
	if kind&4 != 0 {
		s.Ack = s.Ack.Add(m.near())
	}
	s.Window = 1000
	if kind&8 != 0 {
		s.Window = uint16(m.byte() | m.byte()<<8)
	}
	if kind&16 != 0 {
		n := m.byte() * (1 + m.byte()%8)
		from := s.Seq.Sub(m.irs) - 1
		if s.Flags.Has(SYN) {
			from++
		}
		if from >= 0 && from+n < 1<<26 {
			s.Payload = stream(from, from+n)
		}
	}
	if kind&32 != 0 {
		o := m.byte()
		s.Options.HasTS = o&1 != 0
		s.Options.TSVal = m.c.tsRecent + uint32(m.near())
		s.Options.TSEcr = m.c.tsNow(m.now) - uint32(m.near())
		s.Options.NSACK = uint8(o >> 1 & 3)
		for i := range int(s.Options.NSACK) {
			left := m.c.sndUna.Add(m.near())
			s.Options.SACK[i] = SACKBlock{left, left.Add(m.near())}
		}
	}
	if s.Flags.Has(SYN) {
		s.Options.MSS, s.Options.HasWScale, s.Options.WScale, s.Options.SACKPermitted, s.Options.HasTS = 1000, true, 2, true, true
	}
	if kind&1 != 0 {
		m.c.Input(m.now, &s)
		return
	}
	p := make([]byte, m.byte()*8)
	n := m.c.InputInto(m.now, &s, p)
	if !bytes.Equal(p[:n], stream(m.read, m.read+n)) {
		m.t.Fatalf("InputInto: %d bytes are not what was sent", n)
	}
	m.read += n
}

func (m *model) step() {
	c := &m.c
	switch op := m.byte(); op % 24 {
	case 0, 1:
		n := m.byte() * (1 + m.byte()%64)
		w, err := c.Write(m.now, stream(m.wrote, m.wrote+n))
		if w < 0 || w > n || err != nil && w > 0 {
			m.t.Fatalf("Write: %d, %v", w, err)
		}
		m.wrote += w
	case 2, 3:
		p := make([]byte, m.byte()*(1+m.byte()%64))
		n, err := c.Read(m.now, p)
		if n > 0 && err != nil || !bytes.Equal(p[:n], stream(m.read, m.read+n)) {
			m.t.Fatalf("Read: %d, %v, or not what was sent", n, err)
		}
		m.read += n
	case 4, 5:
		d := time.Duration(m.byte()) * []time.Duration{time.Millisecond, 10 * time.Millisecond, time.Second, time.Hour}[m.byte()&3]
		m.now = m.now.Add(d)
		fallthrough
	case 6:
		if d := c.Deadline(); d != clock.Never && op >= 128 {
			m.now = max(m.now, d)
		}
		c.Timeout(m.now)
		m.check(false)
		for range 10 {
			if c.Deadline().After(m.now) {
				break
			}
			c.Timeout(m.now)
		}
		if !c.Deadline().After(m.now) && !c.sndBuf.pinned && c.State() != StateSynSent && c.State() != StateSynReceived {
			m.drain()
		}
	case 7:
		switch v := m.byte(); {
		case v < 8:
			c.Close(m.now)
		case v < 12:
			c.Abort(m.now)
		case v < 60:
			c.CloseWrite(m.now)
		case v < 70:
			c.CloseRead(m.now)
		}
	case 8:
		m.hold = !m.hold
		if !m.hold {
			m.sent()
		}
	case 9:
		switch m.byte() % 7 {
		case 0:
			c.PacketTooBig(m.now, c.sndUna.Add(m.near()), m.byte()*8)
		case 1:
			c.ICMPError(m.now, c.sndUna.Add(m.near()), errUnreachable)
		case 2:
			c.SetBuffers(m.byte()*100, m.byte()*100)
		case 3:
			c.SetNoDelay(m.now, m.byte()&1 != 0)
		case 4:
			c.SetUserTimeout(time.Duration(m.byte()) * time.Second)
		case 5:
			c.SetKeepAlive(m.now, KeepAlive{Enable: true, Idle: time.Duration(m.byte()) * time.Second, Interval: time.Second, Count: 3})
		case 6:
			m.mem.limit = m.byte()
		}
	default:
		m.arrive()
	}
	m.check(false)
	if c.Events()&EventTimeWait != 0 {
		tw := c.TimeWait(m.now)
		if int(tw.window)<<c.rcvScale > 2*MaxBuffer+64<<10 {
			m.t.Fatalf("TIME-WAIT with a window of %d", tw.window)
		}
	}
	if !c.sndBuf.pinned {
		m.drain()
	}
}

var errUnreachable = errors.New("unreachable")

func runModel(t *testing.T, ops []byte) {
	m := &model{t: t, ops: ops, now: clock.Time(time.Hour), b: NewBatch(0), iss: 0xffffff00, irs: 0xfffffe00}
	m.mem = newPoison(t, 1000)
	o := m.byte()
	m.cfg = Config{UrgentInline: true, // the stream is compared

		MSS: 1000, Memory: m.mem, NoSACK: o&1 != 0, NoTimestamps: o&2 != 0, NoWindowScaling: o&4 != 0,
		NoDelay: o&8 != 0, ReceiveBuffer: 2048 << (o >> 4 & 3), SendBuffer: 20000,
	}
	if o&64 != 0 {
		m.cfg.MaxGSO = 30000
	}
	if o&128 != 0 {
		m.c.Connect(m.now, &m.cfg, m.iss, 77)
		m.state = StateSynSent
	} else {
		var p Passive
		syn := Segment{Seq: m.irs, Flags: SYN, Window: 5000, Options: Options{MSS: 1000, HasWScale: true, WScale: 2, SACKPermitted: true, HasTS: true, TSVal: 5}}
		p.Init(m.now, &m.cfg, &syn, m.iss, 77)
		m.c.Accept(m.now, &m.cfg, &p, &Segment{Seq: m.irs.Add(1), Ack: m.iss.Add(1), Flags: ACK, Window: 5000})
		m.state = StateEstablished
	}
	m.ack = m.irs
	m.drain()
	for len(m.ops) > 0 {
		m.step()
	}
	m.c.Abort(m.now)
	m.check(false)
	m.sent()
	m.hold = false
	m.drain()
	if s := m.c.State(); s != StateClosed && s != StateTimeWait {
		t.Fatalf("%v after Abort", s)
	}
	m.c.Release()
	if n, err := m.c.Read(m.now, make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("Read: %d, %v at the end", n, err)
	}
	if len(m.mem.out) != 0 {
		t.Fatalf("%d chunks are not given back", len(m.mem.out))
	}
}

// FuzzConn lets bytes decide what the application does, what arrives and when. It
// holds the connection to its invariants: see model.
func FuzzConn(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(runModel)
}

// TestModel is FuzzConn with seeds, for those who only run the tests.
func TestModel(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 3))
		b := make([]byte, 50+r.IntN(2000))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if !t.Run("", func(t *testing.T) { runModel(t, b) }) {
			t.Fatalf("seed %d", seed)
		}
	}
}
