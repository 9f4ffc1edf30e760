package tcp

import (
	"math"
	"time"
)

// The receive window. What a peer may send is bounded three times:
//
//   - by space, the size of the buffer, which counts what the bytes cost and not only
//     the bytes themselves;
//   - by clamp, the most that the application, the buffer or the window scale lets us
//     announce at all;
//   - by ssthresh, which begins small and rises as the peer shows that it uses what it
//     is given: a window is memory promised, and a connection that carries little
//     shall not be promised much.
//
// The names and the rules are those of Linux, so that both stacks announce the same
// window in the same place. There the cost of a segment is that of the memory which
// its frame came in; here bytes are copied to chunks, which cost nearly nothing, so the
// cost is reckoned: what a driver that takes a buffer of a power of two for each frame
// would have used. What is really held is at most the window, and accounted for by
// Memory.
type receiveWindow struct {
	space    int   // size of the buffer, cost included (Linux's sk_rcvbuf)
	maxSpace int   // what tuning may make of it (tcp_rmem[2])
	charged  int   // cost of what is buffered (sk_rmem_alloc)
	tailRoom int   // what fits into the buffer of the newest segment without further cost
	clamp    int   // most that is announced (window_clamp)
	ssthresh int   // what is announced at present if there is room (rcv_ssthresh)
	most     int   // the largest that the buffer could ever announce
	ratio    uint8 // bytes of payload in 256 bytes of cost, as the segments have it
	fixed    bool  // the application said how large the buffer is: no tuning
	noTuning bool
	share    int32 // most that is announced for others' sake, or 0; see SetWindowShare
}

const (
	// defaultRatio is assumed until the peer has sent a segment worth measuring.
	defaultRatio = 128
	// skbCost is the descriptor of a buffer, skbRoom what the buffer holds beside the
	// packet: room in front and the list of fragments behind. smallSKB is the least
	// buffer, skbPage the size from which on a packet lies in pages.
	skbCost  = 256
	skbRoom  = 64 + 320
	smallSKB = 576
	skbPage  = 4096
)

// segmentCost returns what a segment with n bytes of payload behind header bytes of IP
// and TCP costs, and how many more bytes its buffer takes.
func segmentCost(n, header int) (cost, room int) {
	need := n + header + skbRoom
	switch {
	case need <= smallSKB:
		return smallSKB + skbCost, smallSKB - need
	case need > skbPage:
		pages := (n + skbPage - 1) &^ (skbPage - 1)
		return smallSKB + skbCost + pages, 0
	}
	size := 1024
	for size < need {
		size *= 2
	}
	return size + skbCost, size - need
}

// window returns how many bytes fit into space.
func (w *receiveWindow) window(space int) int { return int(int64(space) * int64(w.ratio) >> 8) }

// spaceFor is the inverse of window.
func (w *receiveWindow) spaceFor(window int) int { return int(int64(window) << 8 / int64(w.ratio)) }

// free is the window for which there is room; negative if more is buffered than the
// buffer is to hold.
func (w *receiveWindow) free() int { return w.window(w.space - w.charged) }

func (w *receiveWindow) note() { w.most = max(w.most, w.window(w.space)) }

// charge accounts for a segment with n bytes behind header bytes that was stored.
func (w *receiveWindow) charge(n, header int) {
	if n <= w.tailRoom {
		w.tailRoom -= n // it is merged with the one before
		return
	}
	cost, room := segmentCost(n, header)
	w.charged += cost
	w.tailRoom = room
}

// refund accounts for n bytes that were read; left are still buffered.
func (w *receiveWindow) refund(n, left int) {
	if left == 0 {
		w.charged, w.tailRoom = 0, 0
		return
	}
	w.charged -= int(int64(w.charged) * int64(n) / int64(n+left))
}

// setClamp is a new bound of the window, n > 0.
func (w *receiveWindow) setClamp(n, announced int) {
	switch {
	case n < w.clamp:
		w.ssthresh = min(w.ssthresh, n)
	case n > w.clamp:
		w.ssthresh = max(w.ssthresh, min(announced, n))
	}
	w.clamp = n
}

// initReceiveWindow chooses the window with which the connection begins: mss is what
// a segment carries, clamp a bound of the application's or 0.
func (c *Conn) initReceiveWindow(cfg *Config) {
	w := &c.rw
	w.ratio = defaultRatio
	w.space, w.maxSpace = cfg.receiveSpace()
	w.fixed, w.noTuning = cfg.ReceiveBuffer > 0, cfg.NoReceiveTuning
	w.clamp = cfg.windowClamp()
	w.note()
	c.rcvScale, c.useScale = cfg.windowScale(), !cfg.NoWindowScaling
	w.clamp = min(w.clamp, 65535<<c.rcvScale)
}

// establishWindow settles the window when the connection is synchronised: it is known
// then which options segments carry, and whether the window is scaled.
func (c *Conn) establishWindow() {
	w := &c.rw
	if !c.useScale {
		w.clamp = min(w.clamp, 65535)
	}
	mss := c.receiveMSS()
	most := w.window(w.space)
	w.clamp = min(w.clamp, most)
	if w.clamp > 2*mss && w.clamp+mss > most { // one segment more has room always
		w.clamp = max(2*mss, most-mss)
	}
	w.ssthresh = min(w.ssthresh, w.clamp)
	c.rcvMSS = max(min(mss, c.segmentSize(), DefaultMSS), minRcvMSS)
	c.drs.begin(c, min(w.ssthresh, c.announced(), 10*mss))
}

// receiveMSS is how much data the peer's full segments carry.
func (c *Conn) receiveMSS() int {
	if c.useTS {
		return c.mss - 12
	}
	return c.mss
}

// announced is the window as the last segment that left announced it.
func (c *Conn) announced() int { return c.rcvAdv.Sub(c.rcvWup) }

// measureSegment learns from a segment with n bytes of payload, the largest so far,
// what the peer's segments cost.
func (c *Conn) measureSegment(n int) {
	w := &c.rw
	if min(n, c.mss) <= c.rcvMSS {
		return
	}
	cost, _ := segmentCost(n, c.peerHeader())
	if ratio := uint8(max(min(n<<8/cost, 255), 1)); ratio != w.ratio {
		w.ratio = ratio
		w.note()
		w.setClamp(w.window(w.space), c.announced())
		c.drs.space = min(c.drs.space, w.clamp)
	}
}

// peerHeader is the length of the headers that the peer's segments have.
func (c *Conn) peerHeader() int {
	if c.useTS {
		return 20 + HeaderLen + 12
	}
	return 20 + HeaderLen
}

// growWindow lets the window follow a segment of n bytes that arrived and was worth
// its cost, so that it opens about as fast as a sender in slow start can fill it.
func (c *Conn) growWindow(n int) {
	w := &c.rw
	room := min(w.clamp, w.free()) - w.ssthresh
	if n < minGrowth || room <= 0 {
		return
	}
	if c.rcvBuf.mem.Pressure() {
		w.ssthresh = min(w.ssthresh, 4*c.receiveMSS())
		return
	}
	cost, _ := segmentCost(n, c.peerHeader())
	step := 0
	if w.window(cost) <= n {
		step = 2 * c.receiveMSS()
	} else {
		// Small segments cost more than they carry: let them open a small window only.
		cost, window := w.window(cost)>>1, w.window(w.maxSpace)>>1
		for w.ssthresh <= window && step == 0 {
			if cost <= n {
				step = 2 * c.rcvMSS
			}
			cost, window = cost>>1, window>>1
		}
		if step == 0 {
			return
		}
	}
	w.ssthresh += min(room, max(step, 2*n))
	c.ack.opened = true
	c.quickAcks |= 1
}

// minGrowth is the least segment that opens the window.
const minGrowth = 128

// selectWindow returns the window that there is reason to announce now, whatever was
// announced before.
func (c *Conn) selectWindow() int {
	w := &c.rw
	mss, free, allowed := c.rcvMSS, w.free(), w.window(w.space)
	full := min(w.clamp, allowed)
	if w.share > 0 {
		full = min(full, int(w.share))
	}
	if mss > full {
		if mss = full; mss <= 0 {
			return 0
		}
	}
	if free < full>>1 {
		c.quickAcks = 0
		if c.rcvBuf.mem.Pressure() {
			w.ssthresh = min(w.ssthresh, 4*c.receiveMSS())
		}
		// RFC 9293, section 3.8.6.2.2: no window rather than a silly one.
		free &^= 1<<c.rcvScale - 1
		if free < allowed>>4 || free < mss {
			return 0
		}
	}
	free = min(free, w.ssthresh)
	if w.share > 0 {
		free = min(free, int(w.share))
	}
	if c.rcvScale > 0 {
		return alignUp(free, c.rcvScale)
	}
	// Without a scale the window is in whole segments.
	switch now := c.announced(); {
	case now <= free-mss || now > free:
		return free - free%mss
	case mss == full && free > now+full>>1:
		return free
	default:
		return now
	}
}

func alignUp(n int, scale uint8) int { return (n + 1<<scale - 1) &^ (1<<scale - 1) }

// openWindow is how much of the announced window the peer has not used.
func (c *Conn) openWindow() int { return max(c.rcvAdv.Sub(c.rcvNxt), 0) }

// advertise returns the window field, and moves the right edge that it announces. The
// edge never moves left (RFC 9293, section 3.8.6; RFC 7323, section 2.4).
func (c *Conn) advertise() uint16 {
	n, open := c.selectWindow(), c.openWindow()
	if !c.useSACK && open > 0 && len(c.rcvBuf.runs) > 0 && c.rcvNxt == c.rcvWup {
		n = min(n, open) // with another window it would not count as a duplicate (RFC 5681, section 2)
	}
	if n < open {
		// Rounding down could move the edge left, so it is rounded up; the buffer takes
		// the few bytes. A peer that sends single bytes to a reader that has stopped gains
		// some with each, and when the edge has crept far beyond the buffer that way, the
		// announcement falls short of it by a part of a unit: the one case in which it
		// moves left, and one that RFC 7323, section 2.4, has senders expect.
		n = alignUp(open, c.rcvScale)
		if c.rcvBuf.buffered()+open-c.rw.most > 64<<10 {
			n = open &^ (1<<c.rcvScale - 1)
		}
	}
	// What the field cannot hold is granted without being said.
	n &^= 1<<c.rcvScale - 1
	c.rcvAdv = maxSeq(c.rcvAdv, c.rcvNxt.Add(n))
	return uint16(min(n>>c.rcvScale, 65535))
}

// SetWindowClamp bounds the window that is announced, in bytes (TCP_WINDOW_CLAMP). 0
// removes the bound of a connection that is not open yet. What was announced stays.
func (c *Conn) SetWindowClamp(n int) {
	if n > 0 {
		c.rw.setClamp(n, c.announced())
	}
}

// WindowClamp returns the bound.
func (c *Conn) WindowClamp() int { return c.rw.clamp }

// SetWindowShare bounds the window that is announced, in bytes, beside the clamp: it is
// this connection's share of what all may have under way together, 0 for no bound. What
// was announced stays. The bound is gone when the connection rests.
func (c *Conn) SetWindowShare(n int) { c.rw.share = int32(min(max(n, 0), math.MaxInt32)) }

// WindowShare returns that bound.
func (c *Conn) WindowShare() int { return int(c.rw.share) }

// Arrived returns the end of what has arrived, beyond holes.
func (c *Conn) Arrived() Seq {
	if runs := c.rcvBuf.runs; len(runs) > 0 {
		return runs[len(runs)-1].right
	}
	return c.rcvNxt
}

// PathRTT returns the less of the round-trip times that sending and receiving have
// found, 0 when neither has: about what the path takes when nothing waits in it.
func (c *Conn) PathRTT() time.Duration {
	rtt := c.rtt.min
	if d := c.drs.rtt / 8; d > 0 && (rtt == 0 || d < rtt) {
		rtt = d
	}
	return rtt
}
