package tcp

import (
	"math"
	"time"
)

// The send buffer follows the path: it holds what is in flight and as much again, so
// that the writer need not be there when an acknowledgement comes. It grows when it was
// what held the sender back (Linux's tcp_sndbuf_expand).

func (c *Conn) initSendTuning(cfg *Config) {
	c.sndBuf.limit, c.sndMost = cfg.sendLimits()
	c.sndFixed = cfg.SendBuffer > 0
}

// sendTarget is the size that Linux gives the buffer: twice the congestion window, and
// what the segments cost there.
func (c *Conn) sendTarget() int {
	cost, _ := segmentCost(c.sndMSS, 192-64) // headers of any kind need 192 bytes there
	return int(min(2*int64(max(10, c.cwnd()))*int64(cost), math.MaxInt32))
}

func (c *Conn) setSendLimit(n int) {
	if n = min(n, c.sndMost); n > c.sndBuf.limit && !c.sndFixed {
		c.sndBuf.limit = n
		c.events |= EventWritable
	}
}

// nearby is a round trip in which even a fast path holds less than the buffer begins
// with, and which is shorter than what a goroutine waits for a processor.
const nearby = 100 * time.Microsecond

// expandSend follows an acknowledgement that made room for a writer who waits for it.
// On a path that loses nothing the congestion window says little of what the path
// holds: four times what is delivered in its shortest round trip lets slow start
// double the rate and the writer be late, and what is more would only be memory that no
// cache holds.
func (c *Conn) expandSend(s *RateSample) {
	if !c.tuning.noSpace || c.sndFixed || s.Interval <= 0 || c.rtt.min < nearby || c.inFlight() >= c.cwnd() || c.sndBuf.mem.Pressure() {
		return
	}
	path := 4 * s.Rate() * c.rtt.min.Seconds()
	c.setSendLimit(min(c.sendTarget(), int(min(path, MaxBuffer))))
}
