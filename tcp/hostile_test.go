package tcp

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// A peer that knows everything and keeps to nothing. Bytes choose its attacks; what it
// does is held against what must be true of the connection whatever a peer does:
//
//   - what the application reads is, for each sequence number, the byte that came first,
//     without a gap, although the peer sends other bytes for the same numbers;
//   - what we send is what was written, at its place, and inside a window that the peer
//     once offered;
//   - the right edge of our window does not move left, but as advertise says;
//   - the state moves along the arrows of RFC 9293;
//   - tables, memory and the work for a segment are bounded;
//   - and when an honest peer takes over, the connection ends in order, unless it was
//     reset as the protocol says: see honest_test.go.
//
// FuzzConn lets bytes decide about the application, too, and does not ask for the last.
type hostile struct {
	model
	heard   []byte // what was accepted first, by place in the peer's stream
	have    []bool
	covered int // how many of those are true
	span    int // of the peer's stream that may be used
	offered Seq // the rightmost edge that the peer has offered us
	slack   time.Duration
	last    Segment
	sent    int  // segments of ours since the count began
	forgets bool // the honest peer has nothing but what was acknowledged
	reset   bool // a segment of the peer's was right to end the connection
	got     []bool
	onData  func(s *Segment)
}

// hostileSpan is how far into the peer's stream the attacks go; the honest peer that
// follows may go a bit farther.
const hostileSpan = 1 << 18

// The attacks.
const (
	attackNone     = iota // an honest acknowledgement of everything
	attackData            // bytes in order, more than fit perhaps
	attackOverlap         // other bytes than before for numbers around the next one
	attackSACK            // blocks that lie
	attackDivide          // an acknowledgement in small parts (RFC 3465, section 2.3)
	attackOptimist        // of what cannot have arrived
	attackDSACK           // reports of what came twice, in floods
	attackEcho            // echoes that make round trips of 0, or of weeks
	attackStamp           // a clock that jumps
	attackECN             // flags that cheat
	attackWindow          // windows that come and go
	attackReset           // resets near and far
	attackSYN             // a SYN in the middle
	attackFIN             // an end in the middle, or two
	attackICMP            // "fragmentation needed" for any size
	attackLate            // timers that are served late
	attackOld             // what was acknowledged long ago
	attackUrgent          // pointers anywhere
	attackAgain           // the last segment, many times
	attackRenege          // SACK for all, and then for nothing
	attackHoles           // crumbs, each with a gap before it
	attackEdge            // bytes across the window's right edge
	attackNothing         // no acknowledgement, but bare flags
	appWrite
	appRead
	appEnd
	attacks
)

func (m *hostile) near() int {
	a, b := m.byte(), m.byte()
	return int(int8(a)) * []int{1, 1, 1, 10, 100, 1000, 1460, 65536, 1 << 24, 1 << 31 / 127}[b%10]
}

// plain is what an honest peer would say now.
func (m *hostile) plain() Segment {
	c := &m.c
	s := Segment{Seq: c.rcvNxt, Ack: c.sndNxt, Flags: ACK, Window: 8000}
	if c.state == StateSynSent {
		s.Seq, s.Flags, s.Window = m.irs, SYN|ACK, 8000
		s.Options.MSS, s.Options.HasWScale, s.Options.WScale, s.Options.SACKPermitted = 1000, true, 2, true
		s.Options.HasTS = !m.cfg.NoTimestamps
	}
	if c.useTS {
		s.Options.HasTS, s.Options.TSVal, s.Options.TSEcr = true, c.tsRecent, c.tsNow(m.now)
	}
	return s
}

// text fills in n bytes; salted ones differ from what an honest peer has there.
func (m *hostile) text(s *Segment, n int, salt byte) {
	from := s.Seq.Sub(m.irs) - 1
	if s.Flags.Has(SYN) {
		from++
	}
	if n <= 0 || from < -1<<20 || from+n > m.span {
		return
	}
	s.Payload = make([]byte, n)
	for i := range s.Payload {
		s.Payload[i] = streamByte(max(from+i, 0)) ^ salt
	}
}

// input gives the connection a segment and looks at what became of it.
func (m *hostile) input(s Segment) {
	c := &m.c
	if at := s.Ack.Sub(m.iss); s.Flags.Has(ACK) && at >= 0 && at <= c.sndNxt.Sub(m.iss) { // what may be believed
		scale := c.sndScale
		if s.Flags.Has(SYN) {
			scale = 0
		}
		if edge := s.Ack.Add(int(s.Window) << scale); m.offered.Less(edge) {
			m.offered = edge
		}
	}
	m.last = s
	m.sent = 0
	before, worked, records := c.rcvBuf.nxt, c.rack.worked, c.ranges.count
	if c.state == StateSynSent {
		before = 0
	}
	c.Input(m.now, &s)
	if looked := int(c.rack.worked - worked); looked > 2*rackLookBack+2*records+20 {
		m.t.Fatalf("%d looks for a segment, with %d records", looked, records)
	}
	m.check(false)
	m.account(&s, before)
	m.drain()
	m.bounded()
}

// account finds out which bytes were accepted, and that those which had been are still
// there.
func (m *hostile) account(s *Segment, before Seq) {
	c := &m.c
	if c.state == StateSynSent || c.state == StateSynReceived {
		return
	}
	first := m.irs.Add(1)
	b := &c.rcvBuf
	from := s.Seq.Sub(first)
	if s.Flags.Has(SYN) {
		from++
	}
	note := func(left, right Seq) {
		for at := max(left.Sub(first), from, 0); at < min(right.Sub(first), from+len(s.Payload)); at++ {
			if !m.have[at] {
				m.have[at], m.heard[at] = true, s.Payload[at-from]
				m.covered++
			}
		}
	}
	if before != 0 {
		note(before, b.nxt)
	} else {
		note(first, b.nxt)
	}
	for _, r := range b.runs {
		note(r.left, r.right)
	}
	if c.state == StateClosed && c.orphan {
		return // nobody is left to read
	}
	if held := b.held(); held != m.covered-m.read && !c.orphan {
		m.t.Fatalf("%d bytes are held, %d were taken and not read", held, m.covered-m.read)
	}
}

// bounded holds memory to what the buffers promise.
func (m *hostile) bounded() {
	c := &m.c
	most := (max(c.sndBuf.limit, c.sndBuf.len)+max(c.rw.most, 65535)+64<<10)/ChunkSize + 8
	if n := len(m.mem.out); n > most {
		m.t.Fatalf("%d chunks are lent: %d in the send buffer, %d bytes received of %d", n, c.sndBuf.chunks.count, c.rcvBuf.held(), c.rw.most)
	}
	if m.sent > 2*maxRanges {
		m.t.Fatalf("%d segments answer one", m.sent)
	}
}

// drain is model's, with an eye on what leaves.
func (m *hostile) drain() {
	for range 3000 {
		m.c.Output(m.now, m.b, OutputAll)
		m.check(false)
		if len(m.b.Segments) == 0 {
			m.check(true)
			return
		}
		for i := range m.b.Segments {
			o := &m.b.Segments[i]
			m.segment(o)
			m.watch(o)
			m.sent++
		}
		m.model.sent()
	}
	m.t.Fatal("Output does not end")
}

func (m *hostile) watch(o *OutSegment) {
	var s Segment
	if err := Parse(o.Packet, &s); err != nil {
		m.t.Fatal(err)
	}
	s.Payload = bytes.Join(o.Payload, nil)
	end := s.Seq.Add(len(s.Payload))
	if !s.Flags.Has(SYN|RST) && len(s.Payload) > 1 && m.offered.Less(end) && m.c.sndUna.Less(s.Seq) {
		m.t.Fatalf("sent up to %d, the peer never offered more than %d", end.Sub(m.iss), m.offered.Sub(m.iss))
	}
	for at := s.Seq.Sub(m.iss) - 1; at >= 0 && at < end.Sub(m.iss)-1; at++ {
		m.got[at] = true
	}
	if m.onData != nil {
		m.onData(&s)
	}
}

// pass lets time go by, and serves the timers when it is over: late.
func (m *hostile) pass(d time.Duration) {
	if m.slack += d; m.slack > 60*time.Second {
		return // it is no attack that a peer is silent until R2
	}
	m.now = m.now.Add(d)
	m.timers()
}

func (m *hostile) timers() {
	for range 50 {
		if m.c.Deadline().After(m.now) {
			return
		}
		m.c.Timeout(m.now)
		m.check(false)
		m.drain()
	}
	m.t.Fatalf("a timer is due again and again: %v", m.c.State())
}

func (m *hostile) readAll(n int) {
	p := make([]byte, n)
	k, err := m.c.Read(m.now, p)
	if k > 0 && err != nil || !bytes.Equal(p[:k], m.heard[m.read:m.read+k]) {
		m.t.Fatalf("Read: %d, %v, at %d: not what came first", k, err, m.read)
	}
	for i := range k {
		if !m.have[m.read+i] {
			m.t.Fatalf("byte %d is read and was never taken", m.read+i)
		}
	}
	m.read += k
	m.check(false)
	m.drain()
}

func (m *hostile) write(n int) {
	n = min(n, len(m.got)-m.wrote)
	w, err := m.c.Write(m.now, stream(m.wrote, m.wrote+n))
	if w < 0 || w > n || err != nil && w > 0 {
		m.t.Fatalf("Write: %d, %v", w, err)
	}
	m.wrote += w
	m.check(false)
	m.drain()
}

func (m *hostile) attack() {
	c := &m.c
	kind := m.byte() % attacks
	s := m.plain()
	outstanding := c.outstanding()
	switch kind {
	case attackNone:
	case attackData:
		m.text(&s, m.byte()*(1+m.byte()%64), 0)
	case attackOverlap:
		s.Seq = s.Seq.Add(m.near())
		m.text(&s, m.byte()*(1+m.byte()%8), byte(m.byte()))
	case attackSACK:
		s.Ack = c.sndUna.Add(m.byte() % 3)
		s.Options.NSACK = uint8(1 + m.byte()%4)
		for i := range int(s.Options.NSACK) {
			left := []Seq{c.sndUna, c.sndNxt, c.iss, c.sndUna.Add(outstanding / 2)}[m.byte()%4].Add(m.near())
			s.Options.SACK[i] = SACKBlock{left, left.Add(m.near())}
		}
	case attackDivide:
		step := 1 + m.byte()%100
		for at := c.sndUna.Add(step); at.Less(c.sndNxt) && step > 0; at = at.Add(step) {
			if c.sndUna.Add(200 * step).Less(at) {
				break
			}
			d := m.plain()
			d.Ack = at
			m.input(d)
		}
		s = m.plain()
		s.Ack = c.sndUna
	case attackOptimist:
		s.Ack = c.sndNxt.Add(m.near())
		for range m.byte() % 16 {
			m.input(s)
			s = m.plain()
		}
	case attackDSACK:
		s.Ack = c.sndUna
		for range m.byte() {
			left := c.sndUna.Add(-m.byte() * 10)
			s.Options.NSACK = 2
			s.Options.SACK[0] = SACKBlock{left, left.Add(1 + m.byte()*8)}
			s.Options.SACK[1] = SACKBlock{c.sndUna.Add(m.byte()), c.sndNxt}
			m.input(s)
		}
	case attackEcho:
		s.Options.TSEcr = []uint32{0, 1, s.Options.TSEcr, s.Options.TSEcr - 1<<31, s.Options.TSEcr + 1<<31 - 1, s.Options.TSEcr - uint32(m.near())}[m.byte()%6]
		if m.byte()&1 != 0 {
			s.Ack = c.sndUna.Add(min(outstanding, 1000))
		}
	case attackStamp:
		s.Options.TSVal += uint32(m.near())
		m.text(&s, m.byte(), 0)
		s.Options.HasTS = m.byte() < 200
	case attackECN:
		s.Flags |= Flags(m.byte()) & (ECE | CWR)
		s.ECN = uint8(m.byte() & 3)
		s.Ack = c.sndUna.Add(min(outstanding, m.byte()*20))
		m.text(&s, m.byte(), 0)
	case attackWindow:
		s.Window = uint16(m.byte() | m.byte()<<8)
		if m.byte()&3 == 0 {
			s.Window = 0
		}
		s.Ack = c.sndUna.Add(min(outstanding, m.byte()*20))
		s.Seq = s.Seq.Add(m.byte() & 1)
	case attackReset:
		s.Flags = RST | Flags(m.byte())&ACK
		s.Seq = s.Seq.Add(m.near())
		m.reset = true // what ends it then is for inputRST and its own tests to say
	case attackSYN:
		s.Flags |= SYN
		s.Seq = s.Seq.Add(m.near())
		m.text(&s, m.byte(), 0)
	case attackFIN:
		s.Flags |= FIN
		s.Seq = s.Seq.Add(m.near() & 0xffff)
		m.text(&s, m.byte(), 0)
	case attackICMP:
		size := []int{0, 1, -1, 68, 552, 1 << 30, 65535, m.byte() * 8}[m.byte()%8]
		if c.state == StateSynSent || c.state == StateSynReceived {
			m.reset = true // RFC 1122, section 4.2.3.9: a handshake may end for that
		}
		c.PacketTooBig(m.now, c.sndUna.Add(m.near()), size)
		c.ICMPError(m.now, c.sndUna.Add(m.near()), errUnreachable)
		if c.state.synchronized() && c.mtu.path < min(minPathMSS, c.mtu.most) {
			m.t.Fatalf("ICMP made a path of %d bytes", c.mtu.path)
		}
		m.check(false)
		m.drain()
		return
	case attackLate:
		m.pass(time.Duration(m.byte()) * []time.Duration{time.Microsecond, time.Millisecond, 100 * time.Millisecond}[m.byte()%3])
		return
	case attackOld:
		s.Ack = c.sndUna.Add(-m.byte() * 100)
		s.Seq = s.Seq.Add(-m.byte())
		m.text(&s, m.byte(), 0x55)
		s.Options.NSACK = 1
		s.Options.SACK[0] = SACKBlock{c.sndUna.Add(m.near()), c.sndNxt}
	case attackUrgent:
		s.Flags |= URG
		s.Urgent = uint16(m.byte() | m.byte()<<8)
		m.text(&s, m.byte(), 0)
	case attackAgain:
		s = m.last
		for range m.byte() % 64 {
			m.input(s)
		}
	case attackRenege:
		s.Ack = c.sndUna
		s.Options.NSACK = 1
		s.Options.SACK[0] = SACKBlock{c.sndUna.Add(min(outstanding, 1+m.byte()*4)), c.sndNxt}
		m.input(s)
		s.Ack = c.sndUna.Add(min(outstanding, m.byte()*100))
		s.Options.NSACK = 0
	case attackHoles:
		size, gap := 1+m.byte()%4, 1+m.byte()%40
		for i := range 2 * m.byte() {
			s = m.plain()
			s.Seq = s.Seq.Add(gap + i*(size+gap))
			m.text(&s, size, 0)
			m.input(s)
		}
		s = m.plain()
	case attackEdge:
		s.Seq = c.windowEdge().Add(-m.byte() * (1 + m.byte()%64))
		m.text(&s, m.byte()*(1+m.byte()%64), 0)
	case attackNothing:
		s.Flags = Flags(m.byte()) &^ (ACK | RST | SYN)
		m.text(&s, m.byte(), 0)
	case appWrite:
		m.write(m.byte() * (1 + m.byte()))
		return
	case appRead:
		m.readAll(m.byte() * (1 + m.byte()))
		return
	case appEnd:
		if m.byte() < 64 {
			c.CloseWrite(m.now)
			m.check(false)
			m.drain()
		}
		return
	}
	if !m.c.useSACK {
		s.Options.NSACK = 0
	}
	m.input(s)
}

func newHostile(t *testing.T, ops []byte) *hostile {
	m := &hostile{model: model{t: t, ops: ops, now: clock.Time(time.Hour), b: NewBatch(0), iss: 0xffffff00, irs: 0xfffffe00}}
	m.mem = newPoison(t, 1<<20)
	m.heard, m.have = make([]byte, 2*hostileSpan), make([]bool, 2*hostileSpan)
	m.span = hostileSpan
	m.got = make([]bool, 1<<19)
	o, p := m.byte(), m.byte()
	m.cfg = Config{
		UrgentInline: true, MSS: 1000, Memory: m.mem, NoSACK: o&1 != 0, NoTimestamps: o&2 != 0, NoWindowScaling: o&4 != 0,
		ReceiveBuffer: 4096 << (o >> 4 & 3), SendBuffer: 60000, NoDelay: true, InvalidInterval: -1,
		Controller: ControllerByName([]string{"cubic", "reno", "bbr"}[p%3]), MTUProbing: MTUProbing(p >> 2 & 3 % 3),
	}
	if o&8 != 0 {
		m.cfg.MaxGSO = 30000
	}
	m.forgets = p&64 != 0
	if o&128 != 0 {
		m.cfg.ECN = ECNActive
		m.c.Connect(m.now, &m.cfg, m.iss, 77)
		m.state = StateSynSent
	} else {
		var pass Passive
		syn := Segment{Seq: m.irs, Flags: SYN, Window: 5000, Options: Options{MSS: 1000, HasWScale: true, WScale: 2, SACKPermitted: true, HasTS: true, TSVal: 5}}
		if o&64 != 0 {
			syn.Flags |= ECE | CWR
		}
		pass.Init(m.now, &m.cfg, &syn, m.iss, 77)
		m.c.Accept(m.now, &m.cfg, &pass, &Segment{Seq: m.irs.Add(1), Ack: m.iss.Add(1), Flags: ACK, Window: 8000})
		m.state = StateEstablished
	}
	m.ack = m.irs
	m.offered = m.iss.Add(40000)
	m.drain()
	return m
}

var errHostile = errors.New("the connection ended without a reason")
