package tcpsim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// FlowConfig describes a transfer.
type FlowConfig struct {
	// Sender and Receiver configure the ends; their Memory is the flow's own.
	Sender, Receiver tcp.Config
	// Bytes is how much is sent before the end of the stream; 0 is no end before
	// Stop.
	Bytes int64
	// Reply makes the receiver connect and the sender answer, as in a download;
	// otherwise the sender connects.
	Reply bool
	// LoseTail loses the last so many full segments of the data, each once. It needs
	// Bytes.
	LoseTail int
}

// FlowStats are figures of a flow at one moment.
type FlowStats struct {
	// Read is how many bytes the receiving application has, Took how long that took
	// from the beginning of the connection; 0 before the end of the stream was read.
	Read int64
	Took time.Duration
	// Sent counts the sender's segments with data, Again those that carried only
	// bytes sent before.
	Sent, Again uint64
	// Arrived counts segments with data, without copies that the network made, and
	// Spurious those that brought nothing new: they were sent again for nothing.
	Arrived, Spurious uint64
	// Pause is the longest time in which the receiving application got no bytes between
	// connecting and the last one.
	Pause time.Duration
	Info  tcp.Info // of the sender
}

// Flow is a transfer in one direction over two links.
type Flow struct {
	sim      *Sim
	cfg      FlowConfig
	from, to *Side
	memory   Pool
	cover    Arrivals

	begin   clock.Time    // when it connected
	took    time.Duration // until the end of the stream was read
	offset  int64         // of its bytes in the loop's stream
	limit   int64         // how much to send
	written int64
	read    int64
	news    clock.Time    // when the last of it came
	pause   time.Duration // the longest time without any
	closed  bool          // the sender has written the end
	err     error
	buf     []byte

	sent, again uint64
	first, high tcp.Seq          // of the data: the first number, and the first not sent yet
	lost        map[tcp.Seq]bool // of the tail
}

const unlimited = 1<<63 - 1

// period is the length after which a flow's bytes repeat: a prime, so that a segment
// in the wrong place differs.
const period = 65521

// bytesOf returns n bytes from a place in the stream of a flow, at most period.
func (l *Loop) bytesOf(at int64, n int) []byte {
	if l.stream == nil {
		l.stream = make([]byte, 2*period)
		x := uint32(2463534242)
		for i := range period {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
			l.stream[i], l.stream[i+period] = byte(x>>24), byte(x>>24)
		}
	}
	i := at % period
	return l.stream[i : i+int64(n)]
}

// NewFlow begins a transfer whose data goes over the link data and whose ACKs come
// back over acks. The number tells flows apart: the bytes of each are others.
func NewFlow(l *Loop, data, acks *Link, number int, cfg FlowConfig) *Flow {
	f := &Flow{cfg: cfg, limit: unlimited, buf: make([]byte, 16<<10), begin: l.Now, offset: int64(number) * 7919}
	if cfg.Bytes > 0 {
		f.limit = cfg.Bytes
	}
	cfg.Sender.Memory, cfg.Receiver.Memory = &f.memory, &f.memory
	pair := Config{A: cfg.Sender, B: cfg.Receiver}
	if cfg.Reply {
		pair.A, pair.B = cfg.Receiver, cfg.Sender
	}
	pair.Tap = f.watch
	if cfg.LoseTail > 0 {
		f.lost = make(map[tcp.Seq]bool)
		pair.Drop = f.loseTail
	}
	f.sim = newSim(l, pair)
	f.from, f.to = f.sim.A, f.sim.B
	if cfg.Reply {
		f.from, f.to = f.sim.B, f.sim.A
	}
	f.from.link, f.to.link = data, acks
	f.to.arrived = &f.cover
	later(f.from, f.write)
	later(f.to, f.receive)
	f.sim.A.connect()
	return f
}

// later has f called after a change of d, later in the same instant, so that it does
// not run inside the call that caused the change.
func later(d *Side, f func()) {
	queued := false
	run := func() { queued = false; f() }
	d.OnEvent = func() {
		if !queued {
			queued = true
			d.sim.At(d.sim.Now, run)
		}
	}
}

// watch sees every segment that a side sends.
func (f *Flow) watch(_ clock.Time, fromA bool, seg *tcp.Segment) {
	if fromA == f.cfg.Reply {
		return // the receiver's
	}
	if seg.Flags.Has(tcp.SYN) {
		f.first = seg.Seq.Add(1)
		f.high = f.first
	}
	if len(seg.Payload) == 0 {
		return
	}
	f.sent++
	end := seg.Seq.Add(len(seg.Payload))
	if end.LessEq(f.high) {
		f.again++
	} else {
		f.high = end
	}
}

func (f *Flow) loseTail(fromA bool, _ int, seg *tcp.Segment) bool {
	if fromA == f.cfg.Reply || len(seg.Payload) == 0 || f.lost[seg.Seq] {
		return false
	}
	tail := f.limit - int64(f.cfg.LoseTail*f.from.Conn.MaxSegment())
	if int64(seg.Seq.Sub(f.first)) < tail {
		return false
	}
	f.lost[seg.Seq] = true
	return true
}

// write is the sending application: it writes as much as fits.
func (f *Flow) write() {
	if !f.from.used || !f.from.Conn.Established() || f.closed || f.err != nil {
		f.failed(f.from)
		return
	}
	f.from.Do(func(c *tcp.Conn) {
		for f.written < f.limit {
			n := int(min(int64(len(f.buf)), f.limit-f.written))
			m, err := c.Write(f.from.now(), f.sim.bytesOf(f.offset+f.written, n))
			if err != nil {
				f.err = err
				return
			}
			if m == 0 {
				return
			}
			f.written += int64(m)
		}
		f.closed = true
		c.CloseWrite(f.from.now())
	})
}

// receive is the receiving application: it reads all there is, and closes at the end.
func (f *Flow) receive() {
	if !f.to.used || f.took > 0 || f.err != nil {
		return
	}
	f.to.Do(func(c *tcp.Conn) {
		for {
			m, err := c.Read(f.to.now(), f.buf)
			if !bytes.Equal(f.buf[:m], f.sim.bytesOf(f.offset+f.read, m)) {
				f.err = fmt.Errorf("among the %d bytes behind %d are others than were written", m, f.read)
				return
			}
			if m > 0 {
				f.pause = max(f.pause, f.sim.Now.Sub(max(f.news, f.begin)))
				f.news = f.sim.Now
			}
			f.read += int64(m)
			if errors.Is(err, io.EOF) {
				f.took = f.sim.Now.Sub(f.begin)
				c.CloseWrite(f.to.now())
				return
			}
			if err != nil {
				f.err = err
				return
			}
			if m == 0 {
				f.failed(f.to)
				return
			}
		}
	})
}

// failed notes the error with which a connection has ended.
func (f *Flow) failed(d *Side) {
	if d.used && f.err == nil {
		f.err = d.Conn.Err()
	}
}

// Stop makes the sender end the stream behind what it has written.
func (f *Flow) Stop() {
	f.limit = min(f.limit, f.written)
	f.sim.At(f.sim.Now, f.write)
}

// Over reports whether the transfer has ended, well or not: both connections are
// closed or waiting out the last segments.
func (f *Flow) Over() bool {
	if f.err != nil {
		return true
	}
	over := func(d *Side) bool {
		s := d.Conn.State()
		return d.used && (s == tcp.StateClosed || s == tcp.StateTimeWait)
	}
	return f.took > 0 && over(f.from) && over(f.to)
}

// Done reports whether the receiver has everything and the end of the stream.
func (f *Flow) Done() bool { return f.took > 0 || f.err != nil }

// Check tells what is wrong with a transfer that is over: an error, bytes that are
// missing, memory that did not come back.
func (f *Flow) Check() error {
	switch {
	case f.err != nil:
		return f.err
	case !f.Over():
		return fmt.Errorf("hangs after %d of %d bytes: %v and %v", f.read, f.written, f.from.Conn.State(), f.to.Conn.State())
	case f.read != f.written:
		return fmt.Errorf("%d of %d bytes arrived", f.read, f.written)
	case f.from.Conn.Err() != nil:
		return f.from.Conn.Err()
	case f.to.Conn.Err() != nil:
		return f.to.Conn.Err()
	case f.memory.Lent() != 0:
		return fmt.Errorf("%d chunks of memory did not come back", f.memory.Lent())
	}
	return nil
}

// Failed returns what is wrong with a transfer under way, nil if nothing is.
func (f *Flow) Failed() error { return f.err }

// Sender returns the connection that sends.
func (f *Flow) Sender() *tcp.Conn { return &f.from.Conn }

// Stats returns the figures up to now.
func (f *Flow) Stats() FlowStats {
	return FlowStats{
		Read: f.read, Took: f.took, Sent: f.sent, Again: f.again,
		Arrived: f.cover.Segments, Spurious: f.cover.Unneeded, Pause: f.pause,
		Info: f.from.Conn.Info(),
	}
}

// Pool is memory for connections that counts what is lent. The zero value is ready.
type Pool struct {
	free []*tcp.Chunk
	lent int
}

// Get implements tcp.Memory.
func (p *Pool) Get(bool) *tcp.Chunk {
	p.lent++
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	return new(tcp.Chunk)
}

// Put implements tcp.Memory.
func (p *Pool) Put(c *tcp.Chunk) {
	p.lent--
	p.free = append(p.free, c)
}

// Pressure implements tcp.Memory.
func (p *Pool) Pressure() bool { return false }

// Lent returns how many chunks were not given back.
func (p *Pool) Lent() int { return p.lent }
