package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// An ACK for each segment behind a gap tells a peer with SACK little that the next does
// not tell as well. The first three leave at once, as they are what fast retransmit
// counts (RFC 5681, section 3.2); of those that follow one stands for all of a short
// while, as Linux has it (tcp_comp_sack_delay_ns and tcp_comp_sack_nr of ip-sysctl).

const (
	// DefaultSACKDelay is the longest such while; it is a twentieth of the round trip
	// where that is less.
	DefaultSACKDelay = time.Millisecond
	// sackDelayUnknown is the while before the round trip is known.
	sackDelayUnknown = 100 * time.Microsecond
	// maxSACKHeld is how many segments one ACK stands for at most.
	maxSACKHeld = 44
	// sackDelayNever is the setting that has all ACKs leave at once.
	sackDelayNever = 1<<16 - 1
)

// sackDelaySetting is Config.SACKDelay as it is kept: microseconds, 0 for the default.
func (cfg *Config) sackDelaySetting() uint16 {
	if cfg.SACKDelay < 0 {
		return sackDelayNever
	}
	return uint16(min(cfg.SACKDelay.Microseconds(), sackDelayNever-1))
}

// ackGap decides about the ACK of a segment that leaves a gap in front of itself or of
// what arrived before.
func (c *Conn) ackGap(now clock.Time) {
	if !c.useSACK || c.tuning.sackDelay == sackDelayNever || c.quickAcks > 0 && !c.pingPong ||
		c.rcvNxt.Sub(c.rcvWup) > c.rcvMSS || c.gapHeld >= maxSACKHeld || c.gapHeld > 0 && len(c.rcvBuf.runs) > 4 {
		c.ackNow = true
		return
	}
	if c.gapAt != c.rcvNxt {
		c.gapAt, c.gapAcks = c.rcvNxt, 0
	}
	if c.gapAcks < dupThresh {
		c.gapAcks++
		c.ackNow = true
		return
	}
	c.gapHeld++
	c.ackAt = min(c.ackAt, now.Add(c.sackDelay()))
}

// sackDelay is how long the next ACK may wait for more segments behind a gap.
func (c *Conn) sackDelay() time.Duration {
	rtt := c.drs.rtt / 8
	if rtt == 0 {
		return sackDelayUnknown
	}
	if c.rtt.srtt > 0 {
		rtt = min(rtt, c.rtt.srtt)
	}
	limit := DefaultSACKDelay
	if d := c.tuning.sackDelay; d != 0 {
		limit = time.Duration(d) * time.Microsecond
	}
	return min(limit, rtt/20)
}
