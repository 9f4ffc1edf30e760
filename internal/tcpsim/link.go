package tcpsim

import (
	"fmt"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// HeaderBytes is what IP and Ethernet add to a segment on a Link.
const HeaderBytes = 20 + 14

// LinkConfig describes one direction of a network. The zero value is a link without
// limits. Segments meet its parts in the order of the fields.
type LinkConfig struct {
	// MTU drops larger IP packets and tells the sender, after the way back to it; 0
	// is no limit. Silent does not tell: a black hole (RFC 2923, section 2.1).
	MTU    int
	Silent bool
	// Police is the rate in bits per second at which tokens fill a bucket of PoliceBurst
	// bytes: a segment that finds too few is dropped, and none waits; 0 is no policer.
	Police      int64
	PoliceBurst int
	// Rate in bits per second, HeaderBytes included; 0 is no bottleneck. Buffer is
	// how many bytes may wait for it, the segment being sent included; what does not
	// fit is dropped at the tail. 0 is no limit. A segment always fits an idle link.
	Rate   int64
	Buffer int
	// Mark is how full the buffer is, from 0 to 1, when segments that allow it are marked
	// in place of a loss to come (RFC 3168): congestion experienced. 0 marks none.
	Mark float64
	// Loss is the share of segments that the medium loses, in bursts of Burst on
	// average (1 if less: independent of each other). A burst passes with time, too: it
	// is over when nothing was sent for as long as two Burst full segments take at Rate.
	Loss, Burst float64
	// Delay is the propagation time; up to Jitter is added at random, in order.
	Delay, Jitter time.Duration
	// Duplicate is the probability that a segment arrives twice.
	Duplicate float64
	// Reorder is the probability that a segment is late by ReorderBy, and others
	// overtake it.
	Reorder   float64
	ReorderBy time.Duration
	// Batch, if not zero, lets segments arrive at its multiples only, as where a
	// radio link or an interrupt collects them: ACKs come compressed.
	Batch time.Duration
	// Thin drops an ACK without data and without SACK blocks when a later one of the
	// same flow is delivered at the same instant, as modems do: ACKs cover a long
	// stretch. It works with Batch.
	Thin bool
}

// LinkStats counts segments.
type LinkStats struct {
	Sent, SentBytes uint64 // offered to the link, and their bytes with HeaderBytes
	Delivered       uint64 // copies included
	Overflow        uint64 // dropped at the buffer's tail
	Lost            uint64 // lost by the medium
	TooBig          uint64 // dropped for the MTU
	Policed         uint64 // dropped by the policer
	Thinned         uint64 // ACKs that a later one replaced
	Duplicated      uint64 // copies made
	Reordered       uint64
	Marked          uint64 // congestion experienced
	// Queued is how many passed the bottleneck, Waited how long they were in it
	// together, the time of sending them excluded, and WaitedMost the longest wait.
	Queued             uint64
	Waited, WaitedMost time.Duration
}

// Link is one direction of a network that flows share.
type Link struct {
	loop  *Loop
	cfg   LinkConfig
	stats LinkStats

	free     clock.Time // when the bottleneck has sent all that it took
	rest     int64      // what free lacks, in 1/Rate nanoseconds
	tokens   float64    // bytes in the policer's bucket
	tokensAt clock.Time // as of then; 0 before the first segment, when it is full
	bad      bool       // the segment before was lost, in a burst
	sent     clock.Time // when that was

	// line holds the segments on the way that arrive in order; line[0] is number
	// first. armed says that an event waits for it.
	line  []parcel
	head  int
	first uint64
	armed bool
	last  clock.Time // arrival of the newest of them
	wake  func()
	late  int // parcels on the way outside of line
}

type parcel struct {
	at   clock.Time
	from *Side
	b    []byte
	ecn  uint8
	copy bool
}

// pureAck is where the last ACK without data of a side is in the line.
type pureAck struct {
	at     clock.Time
	number uint64
	valid  bool
}

// NewLink returns a link of the loop.
func NewLink(l *Loop, cfg LinkConfig) *Link {
	k := &Link{loop: l, cfg: cfg}
	k.wake = k.deliver
	return k
}

// Config returns what the link is.
func (k *Link) Config() LinkConfig { return k.cfg }

// Change makes the link another from now on, as when a route changes. What is on the
// way arrives as if nothing had happened: a shorter delay lets later segments
// overtake it.
func (k *Link) Change(cfg LinkConfig) {
	if cfg.Delay != k.cfg.Delay {
		k.last = 0
	}
	k.cfg, k.rest = cfg, 0
}

// Stats returns the counters.
func (k *Link) Stats() LinkStats { return k.stats }

// OnTheWay returns how many segments have entered and not left the link.
func (k *Link) OnTheWay() int { return len(k.line) - k.head + k.late }

// Check tells whether every segment that entered is accounted for.
func (k *Link) Check() error {
	s := &k.stats
	in, out := s.Sent+s.Duplicated, s.Delivered+s.Overflow+s.Lost+s.TooBig+s.Policed+s.Thinned+uint64(k.OnTheWay())
	if in != out {
		return fmt.Errorf("tcpsim: %d segments and copies entered the link, %d left it or are on the way: %+v", in, out, *s)
	}
	return nil
}

// send takes a frame, which belongs to the link from then on.
func (k *Link) send(from *Side, b []byte, seg *tcp.Segment) {
	l, c := k.loop, &k.cfg
	size := len(b) + HeaderBytes
	k.stats.Sent++
	k.stats.SentBytes += uint64(size)
	if c.MTU > 0 && len(b)+20 > c.MTU {
		k.stats.TooBig++
		if !c.Silent {
			k.tooBig(from, seg.Seq)
		}
		l.recycle(b)
		return
	}
	if c.Police > 0 && !k.passes(size) {
		k.stats.Policed++
		l.recycle(b)
		return
	}
	at, ecn := l.Now, from.ecn
	if c.Rate > 0 {
		backlog := k.free.Sub(l.Now) // as time
		if c.Buffer > 0 && backlog > 0 && backlog+serial(int64(size), c.Rate) > serial(int64(c.Buffer), c.Rate) {
			k.stats.Overflow++
			l.recycle(b)
			return
		}
		if backlog <= 0 {
			k.free, k.rest, backlog = l.Now, 0, 0
		}
		if c.Mark > 0 && ecn != tcp.ECNNotECT && backlog > time.Duration(c.Mark*float64(serial(int64(c.Buffer), c.Rate))) {
			k.stats.Marked++
			ecn = tcp.ECNCE
		}
		k.stats.Queued++
		k.stats.Waited += backlog
		k.stats.WaitedMost = max(k.stats.WaitedMost, backlog)
		// The remainder is carried over, or a fast link would gain with each segment.
		work := int64(size)*8*int64(time.Second) + k.rest
		k.free = k.free.Add(time.Duration(work / c.Rate))
		k.rest = work % c.Rate
		at = k.free
	}
	if k.loses() {
		k.stats.Lost++
		l.recycle(b)
		return
	}
	at = at.Add(c.Delay)
	if c.Reorder > 0 && l.rng.Float64() < c.Reorder {
		k.stats.Reordered++
		k.outOfOrder(parcel{at: at.Add(c.ReorderBy), from: from, b: b, ecn: ecn})
		return
	}
	if c.Jitter > 0 {
		at = at.Add(time.Duration(l.rng.Int64N(int64(c.Jitter))))
	}
	if g := clock.Time(c.Batch); g > 0 {
		at = (at + g - 1) / g * g
	}
	at = max(at, k.last)
	k.last = at
	duplicate := c.Duplicate > 0 && l.rng.Float64() < c.Duplicate
	k.push(parcel{at: at, from: from, b: b, ecn: ecn}, seg)
	if duplicate {
		k.stats.Duplicated++
		k.push(parcel{at: at, from: from, b: append(l.frame(), b...), ecn: ecn, copy: true}, seg)
	}
}

// passes takes a segment's tokens out of the policer's bucket, if there are enough.
func (k *Link) passes(size int) bool {
	c, now := &k.cfg, k.loop.Now
	if k.tokensAt == 0 {
		k.tokens = float64(c.PoliceBurst)
	} else {
		k.tokens = min(k.tokens+float64(c.Police)/8*now.Sub(k.tokensAt).Seconds(), float64(c.PoliceBurst))
	}
	k.tokensAt = now
	if k.tokens < float64(size) {
		return false
	}
	k.tokens -= float64(size)
	return true
}

// loses draws whether the medium loses a segment: a chain of two states whose bad one
// loses everything and lasts Burst segments on average.
func (k *Link) loses() bool {
	c := &k.cfg
	if c.Loss <= 0 {
		return false
	}
	p := c.Loss
	if c.Burst > 1 {
		leave := 1 / c.Burst
		since := k.loop.Now.Sub(k.sent)
		k.sent = k.loop.Now
		if k.bad && c.Rate > 0 && since > serial(int64(2*c.Burst*1514), c.Rate) {
			k.bad = false
		}
		if k.bad {
			p = 1 - leave
		} else {
			p = min(1, leave*c.Loss/(1-c.Loss))
		}
	}
	k.bad = k.loop.rng.Float64() < p
	return k.bad
}

// serial is how long size bytes take at a rate.
func serial(size, rate int64) time.Duration {
	// In two parts: a large buffer in nanobits would not fit 64 bits.
	seconds, rest := size*8/rate, size*8%rate
	return time.Duration(seconds)*time.Second + time.Duration(rest*1000/rate)*time.Millisecond +
		time.Duration(rest*1000%rate*1000000/rate)
}

// push puts a parcel at the end of the line, unless what is there arrives later.
func (k *Link) push(p parcel, seg *tcp.Segment) {
	if n := len(k.line); n > k.head && k.line[n-1].at > p.at {
		k.outOfOrder(p)
		return
	}
	if k.cfg.Thin {
		plain := len(seg.Payload) == 0 && seg.Flags == tcp.ACK && seg.Options.NSACK == 0
		pure := &p.from.pure
		if plain && pure.valid && pure.at == p.at && pure.number >= k.first {
			old := &k.line[k.head+int(pure.number-k.first)]
			k.loop.recycle(old.b)
			old.b, old.ecn = p.b, p.ecn
			k.stats.Thinned++
			return
		}
		*pure = pureAck{p.at, k.first + uint64(len(k.line)-k.head), plain}
	}
	k.line = append(k.line, p)
	k.arm()
}

func (k *Link) arm() {
	if !k.armed && k.head < len(k.line) {
		k.armed = true
		k.loop.At(k.line[k.head].at, k.wake)
	}
}

// deliver is the event at which the head of the line arrives.
func (k *Link) deliver() {
	k.armed = false
	p := k.line[k.head]
	k.line[k.head] = parcel{}
	k.head++
	k.first++
	if k.head*2 >= len(k.line) {
		n := copy(k.line, k.line[k.head:])
		clear(k.line[n:])
		k.line, k.head = k.line[:n], 0
	}
	k.arm()
	k.arrive(p)
}

func (k *Link) outOfOrder(p parcel) {
	k.late++
	k.loop.At(p.at, func() { k.late--; k.arrive(p) })
}

func (k *Link) arrive(p parcel) {
	k.stats.Delivered++
	to := p.from.peer
	var seg tcp.Segment
	if tcp.Parse(p.b, &seg) == nil {
		seg.ECN = p.ecn
		if to.arrived != nil {
			to.arrived.Note(&seg, p.copy)
		}
		to.input(&seg)
	}
	k.loop.recycle(p.b)
}

// tooBig tells the sender of a segment that the link carries less. The message takes
// as long as the segment and its answer would take without queues.
func (k *Link) tooBig(from *Side, seq tcp.Seq) {
	mss := k.cfg.MTU - 40
	k.loop.After(k.cfg.Delay, func() {
		if from.used {
			from.Do(func(c *tcp.Conn) { c.PacketTooBig(from.now(), seq, mss) })
		}
	})
}
