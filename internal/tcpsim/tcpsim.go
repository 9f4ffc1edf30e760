package tcpsim

import (
	"bytes"
	"fmt"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// Path describes one direction.
type Path struct {
	// Delay is the propagation time, Jitter the most that is added at random (without
	// reordering unless Reorder says so).
	Delay, Jitter time.Duration
	// Rate is in bytes per second, 0 for no limit; Queue is how many bytes may wait
	// for it, 0 for no limit.
	Rate  int64
	Queue int
	// Loss, Duplicate and Reorder are probabilities; a reordered segment is late by
	// ReorderBy, or twice Delay plus a millisecond.
	Loss, Duplicate, Reorder float64
	ReorderBy                time.Duration
	// Burst is the probability that a lost segment is followed by another lost one.
	Burst float64
	// MarkAbove marks ECN-capable segments (RFC 3168) when so many bytes wait; 0 never.
	MarkAbove int
}

// Fate is what happens to one segment on the way.
type Fate struct {
	Drop, Duplicate bool
	// Late is added to the path's delay, and lets later segments overtake.
	Late time.Duration
	// Hold is added, too, and holds later segments up as well.
	Hold time.Duration
}

// Config describes a run.
type Config struct {
	Seed uint64
	AtoB Path
	BtoA Path
	A, B tcp.Config
	// A connects and B listens. Both makes both connect: a simultaneous open.
	Both bool
	// FastOpen has A's SYN wait for data and carry it, with a cookie that B takes for good
	// (RFC 7413).
	FastOpen bool
	// ISSA and ISSB are the initial sequence numbers; 0 means random.
	ISSA, ISSB tcp.Seq
	// Fate, if not nil, decides in place of the paths' probabilities.
	Fate func(fromA bool, n int, seg *tcp.Segment) Fate
	// Flushed, if not nil, is called when everything that a side had to send after a
	// call was sent.
	Flushed func(d *Side)
	// Drop, if not nil, sees every segment before the path does and may lose it.
	Drop func(fromA bool, n int, seg *tcp.Segment) bool
	// Tap, if not nil, sees every segment that a side sends.
	Tap func(now clock.Time, fromA bool, seg *tcp.Segment)
}

// Side is one end of the connection.
type Side struct {
	Conn    tcp.Conn
	Name    string
	Events  tcp.Events // accumulated
	sim     *Sim
	peer    *Side
	path    Path
	link    *Link // carries what the side sends in place of path, if not nil
	cfg     tcp.Config
	sent    int // segments
	busy    clock.Time
	lastArr clock.Time
	lost    bool // the segment before was
	batch   *tcp.Batch
	passive *tcp.Passive // B's record before the handshake is complete
	tw      *tcp.TimeWait
	timerAt clock.Time // of the event that is queued
	used    bool       // Conn lives
	OnEvent func()     // called after each change of the connection
	onTimer func()
	arrived *Arrivals // what reached the side, if that is counted
	pure    pureAck
	ecn     uint8 // codepoint of what the side sends now
}

// Sim is a run.
type Sim struct {
	*Loop
	A, B *Side
	cfg  Config
}

// New returns a run in which A (and with Both, B) has begun to connect.
func New(cfg Config) *Sim {
	s := newSim(NewLoop(cfg.Seed), cfg)
	s.A.connect()
	if cfg.Both {
		s.B.connect()
	}
	return s
}

// newSim returns a pair in which nobody has begun to connect.
func newSim(l *Loop, cfg Config) *Sim {
	s := &Sim{Loop: l, cfg: cfg}
	s.A = &Side{Name: "A", sim: s, path: cfg.AtoB, cfg: cfg.A, batch: tcp.NewBatch(0), timerAt: clock.Never}
	s.B = &Side{Name: "B", sim: s, path: cfg.BtoA, cfg: cfg.B, batch: tcp.NewBatch(0), timerAt: clock.Never}
	s.A.peer, s.B.peer = s.B, s.A
	s.A.cfg.LocalPort, s.A.cfg.RemotePort = 1000, 2000
	s.B.cfg.LocalPort, s.B.cfg.RemotePort = 2000, 1000
	return s
}

func (d *Side) connect() {
	d.used = true
	d.Conn.Connect(d.now(), &d.cfg, d.iss(), d.sim.rng.Uint32())
	if d.sim.cfg.FastOpen {
		d.Conn.FastOpen(&tcp.FastStart{Form: tcp.FastOpenStandard, Cookie: fastCookie(), Data: true, MSS: d.peer.cfg.MSS, Defer: true})
	}
	d.flush()
}

func fastCookie() tcp.FastCookie {
	k, _ := tcp.MakeFastCookie([]byte("a cookie"))
	return k
}

func (d *Side) iss() tcp.Seq {
	random := tcp.Seq(d.sim.rng.Uint32())
	if iss := d.sim.cfg.ISSA; d == d.sim.A && iss != 0 {
		return iss
	}
	if iss := d.sim.cfg.ISSB; d == d.sim.B && iss != 0 {
		return iss
	}
	return random
}

// Do calls f, which uses the side's connection, and sends what follows from it.
func (d *Side) Do(f func(c *tcp.Conn)) {
	f(&d.Conn)
	d.flush()
}

// flush is the driver's duty after every call: events, output, timer.
func (d *Side) flush() {
	if d.used {
		for {
			d.Conn.Output(d.now(), d.batch, tcp.OutputAll)
			if len(d.batch.Segments) == 0 {
				break
			}
			for i := range d.batch.Segments {
				d.transmit(&d.batch.Segments[i])
			}
			d.Conn.Sent(d.now())
		}
		if d.sim.cfg.Flushed != nil {
			d.sim.cfg.Flushed(d)
		}
		if e := d.Conn.Events(); e != 0 {
			d.Events |= e
			if e&tcp.EventTimeWait != 0 {
				tw := d.Conn.TimeWait(d.now())
				d.tw = &tw
			}
			if d.OnEvent != nil {
				d.OnEvent()
			}
		}
	}
	d.arm()
}

// now is the time as the side's clock tells it.
func (d *Side) now() clock.Time { return d.sim.reading() }

func (d *Side) deadline() clock.Time {
	switch {
	case d.used:
		return d.Conn.Deadline()
	case d.passive != nil:
		return d.passive.Deadline()
	}
	return clock.Never
}

func (d *Side) arm() {
	at := d.deadline()
	if at == clock.Never || d.timerAt <= at && d.timerAt > d.sim.Now {
		return // nothing, or an earlier event will look again
	}
	at = d.sim.timer(at)
	if d.timerAt <= at && d.timerAt > d.sim.Now {
		return // that one will see to it at the same tick
	}
	d.timerAt = at
	if d.onTimer == nil {
		d.onTimer = d.timer
	}
	d.sim.At(at, d.onTimer)
}

// timer is the event that arm has queued.
func (d *Side) timer() {
	if d.timerAt != d.sim.Now {
		return // an earlier one was queued meanwhile, and has looked
	}
	d.timerAt = clock.Never
	if d.used {
		if !d.Conn.Deadline().After(d.now()) {
			d.Conn.Timeout(d.now())
		}
		d.flush()
	} else if d.passive != nil {
		if resend, expired := d.passive.Timeout(d.now()); resend {
			d.synAck()
		} else if expired {
			d.passive = nil
		}
		d.arm()
	}
}

func (d *Side) synAck() {
	d.passive.Output(d.now(), d.batch)
	d.transmit(&d.batch.Segments[0])
}

// transmit cuts a large segment and sends each piece.
func (d *Side) transmit(s *tcp.OutSegment) {
	d.ecn = s.ECN
	if d.link != nil && s.SegmentSize == 0 {
		b := append(d.sim.frame(), s.Packet...)
		for _, p := range s.Payload {
			b = append(b, p...)
		}
		d.wire(b)
		d.ecn = tcp.ECNNotECT // replies of records carry none
		return
	}
	payload := bytes.Join(s.Payload, nil)
	if len(payload) != s.PayloadLen {
		panic(fmt.Sprintf("tcpsim: PayloadLen %d, payload %d", s.PayloadLen, len(payload)))
	}
	size := s.SegmentSize
	if size == 0 {
		size = max(len(payload), 1)
	}
	for off := 0; off == 0 || off < len(payload); off += size {
		b := append(d.sim.frame(), s.Packet...)
		end := min(off+size, len(payload))
		seq := uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
		seq += uint32(off)
		b[4], b[5], b[6], b[7] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
		if end < len(payload) {
			b[13] &^= byte(tcp.PSH | tcp.FIN)
		}
		d.wire(append(b, payload[off:end]...))
	}
	d.ecn = tcp.ECNNotECT
}

// Inject sends raw bytes to the peer as if d had sent them, past every impairment.
func (d *Side) Inject(b []byte) { d.sim.At(d.sim.Now, func() { d.peer.receive(b) }) }

func (d *Side) wire(b []byte) {
	s, p := d.sim, &d.path
	d.sent++
	var seg tcp.Segment
	if err := tcp.Parse(b, &seg); err != nil {
		panic("tcpsim: own segment does not parse: " + err.Error())
	}
	if s.cfg.Tap != nil {
		s.cfg.Tap(s.Now, d == s.A, &seg)
	}
	if s.cfg.Drop != nil && s.cfg.Drop(d == s.A, d.sent, &seg) {
		s.recycle(b)
		return
	}
	if d.link != nil {
		d.link.send(d, b, &seg)
		return
	}
	ecn := d.ecn
	var fate Fate
	if s.cfg.Fate != nil {
		fate = s.cfg.Fate(d == s.A, d.sent, &seg)
	} else {
		fate = d.chance()
	}
	if fate.Drop {
		return
	}
	depart := s.Now
	if p.Rate > 0 {
		d.busy = max(d.busy, s.Now)
		if waiting := int64(d.busy.Sub(s.Now)) * p.Rate / int64(time.Second); p.Queue > 0 && waiting > int64(p.Queue) {
			return
		}
		if waiting := int64(d.busy.Sub(s.Now)) * p.Rate / int64(time.Second); ecn != tcp.ECNNotECT && p.MarkAbove > 0 && waiting > int64(p.MarkAbove) {
			ecn = tcp.ECNCE
		}
		d.busy = d.busy.Add(time.Duration(int64(len(b)+34) * int64(time.Second) / p.Rate))
		depart = d.busy
	}
	copies := 1
	if fate.Duplicate {
		copies = 2
	}
	for range copies {
		at := depart.Add(p.Delay)
		if p.Jitter > 0 {
			at = at.Add(time.Duration(s.rng.Int64N(int64(p.Jitter))))
		}
		if fate.Late > 0 {
			at = at.Add(fate.Late)
		} else {
			at = max(at.Add(fate.Hold), d.lastArr)
			d.lastArr = at
		}
		s.At(at, func() { d.peer.receiveMarked(b, ecn) })
	}
}

// chance is the fate that the path's probabilities give.
func (d *Side) chance() (f Fate) {
	p, rng := &d.path, d.sim.rng
	loss := p.Loss
	if d.lost && p.Burst > 0 {
		loss = p.Burst
	}
	d.lost = loss > 0 && rng.Float64() < loss
	f.Drop = d.lost
	f.Duplicate = p.Duplicate > 0 && rng.Float64() < p.Duplicate
	if p.Reorder > 0 && rng.Float64() < p.Reorder {
		f.Late = p.ReorderBy
		if f.Late == 0 {
			f.Late = 2*p.Delay + time.Millisecond
		}
	}
	return f
}

// receive is a driver's demultiplexer for one pair of ends.
func (d *Side) receive(b []byte) {
	var seg tcp.Segment
	if tcp.Parse(b, &seg) != nil {
		return
	}
	d.input(&seg)
}

// receiveMarked is receive of a packet with a codepoint of ECN (RFC 3168, section 5).
func (d *Side) receiveMarked(b []byte, ecn uint8) {
	var seg tcp.Segment
	if tcp.Parse(b, &seg) != nil {
		return
	}
	seg.ECN = ecn
	d.input(&seg)
}

func (d *Side) input(seg *tcp.Segment) {
	now := d.now()
	switch {
	case d.tw != nil:
		if v, r := d.tw.Input(now, seg); v == tcp.TimeWaitReply {
			d.wire(r.Append(d.sim.frame(), d.cfg.LocalPort, d.cfg.RemotePort))
		}
	case d.used && d.Conn.State() == tcp.StateClosed:
		d.refuse(seg)
	case d.used:
		d.Conn.Input(now, seg)
		d.flush()
	case d.passive == nil:
		if seg.Flags&(tcp.SYN|tcp.ACK|tcp.RST) != tcp.SYN {
			d.refuse(seg)
			return
		}
		d.passive = new(tcp.Passive)
		d.passive.Init(now, &d.cfg, seg, d.iss(), d.sim.rng.Uint32())
		if seg.Options.FastOpen == tcp.FastOpenStandard && seg.Options.Cookie() == fastCookie() {
			d.used = true
			d.Conn.AcceptFast(now, &d.cfg, d.passive, seg, tcp.FastOpenNone, tcp.FastCookie{})
			d.passive = nil
			d.flush()
			return
		}
		d.synAck()
		d.arm()
	default:
		switch d.passive.Input(now, seg) {
		case tcp.PassiveResend:
			d.synAck()
		case tcp.PassiveReset:
			d.refuse(seg)
		case tcp.PassiveAck:
			r := d.passive.AckReply(now)
			d.wire(r.Append(d.sim.frame(), d.cfg.LocalPort, d.cfg.RemotePort))
		case tcp.PassiveRemove, tcp.PassiveRefuse:
			d.passive = nil
		case tcp.PassiveEstablish:
			d.used = true
			d.Conn.Accept(now, &d.cfg, d.passive, seg)
			d.passive = nil
			d.flush()
		}
	}
}

func (d *Side) refuse(seg *tcp.Segment) {
	if r, ok := tcp.ResetFor(seg); ok {
		d.wire(r.Append(d.sim.frame(), d.cfg.LocalPort, d.cfg.RemotePort))
	}
}

// Transfer makes from send n bytes of a pattern and then FIN, and to read them,
// checking each; it returns how much has arrived, and whether all of it and the end
// has.
func (s *Sim) Transfer(from, to *Side, n int) *Transfer {
	t := &Transfer{total: n}
	buf := make([]byte, 16<<10)
	write := func() {
		fast := from.used && from.Conn.FastDeferred()
		if !from.used || from.Conn.State() == tcp.StateSynSent && !fast {
			return
		}
		from.Do(func(c *tcp.Conn) {
			for t.Written < n {
				p := buf[:min(len(buf), n-t.Written)]
				for i := range p {
					p[i] = pattern(t.Written + i)
				}
				if fast {
					t.Written += c.FastWrite(s.Now, p)
					return
				}
				m, err := c.Write(s.Now, p)
				if err != nil {
					t.Err = err
					return
				}
				if m == 0 {
					return
				}
				t.Written += m
			}
			if !t.closed {
				t.closed = true
				c.CloseWrite(s.Now)
			}
		})
	}
	rbuf := make([]byte, 16<<10)
	read := func() {
		if !to.used || t.paused {
			return
		}
		to.Do(func(c *tcp.Conn) {
			for {
				m, err := c.Read(s.Now, rbuf)
				for i := range m {
					if rbuf[i] != pattern(t.Read+i) {
						t.Err = fmt.Errorf("byte %d is wrong", t.Read+i)
						return
					}
				}
				t.Read += m
				if err != nil {
					t.End = err
					return
				}
				if m == 0 {
					return
				}
			}
		})
	}
	t.read = func() { s.After(0, read) }
	chain(from, write)
	chain(to, read)
	s.After(0, write)
	return t
}

// chain adds f to what happens after a change of d, later in the same instant, so
// that it does not run inside the call that caused it.
func chain(d *Side, f func()) {
	before, queued := d.OnEvent, false
	d.OnEvent = func() {
		if before != nil {
			before()
		}
		if !queued {
			queued = true
			d.sim.After(0, func() { queued = false; f() })
		}
	}
}

// Transfer is the state of a transfer.
type Transfer struct {
	Written, Read int
	Err           error // what went wrong
	End           error // what the reader saw behind the last byte
	total         int
	closed        bool
	paused        bool
	read          func()
}

// Pause makes the reader stop, and Resume go on.
func (t *Transfer) Pause() { t.paused = true }

// Resume ends a Pause.
func (t *Transfer) Resume() { t.paused = false; t.read() }

func pattern(i int) byte { return byte(i*7 + i>>8*13 + i>>16*31) }
