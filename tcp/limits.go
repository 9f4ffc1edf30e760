package tcp

import "time"

// What an application may narrow down of the timers and of the rate: where the path is
// known, as within a data centre, the defaults for all of the Internet cost too much.

// Bounds of the bounds, Linux's: a least timeout above 200 ms or a largest one below the
// first timeout would be neither.
const (
	leastMinRTO   = 5 * time.Millisecond
	leastMaxRTO   = time.Second
	leastDelayACK = 2 * time.Millisecond
)

// SetMinRTO sets the least retransmission timeout, to a microsecond: the round trip and so
// much (TCP_RTO_MIN_US); from 5 to 200 ms, which 0 means. A delayed ACK of ours does not wait
// for longer, as the peer is likely to have the same. It counts from the next sample on.
func (c *Conn) SetMinRTO(d time.Duration) { c.rtt.floor = minRTOSetting(d) }

// MinRTO returns it.
func (c *Conn) MinRTO() time.Duration { return c.rtt.least() }

// MaxRTO returns the largest retransmission timeout.
func (c *Conn) MaxRTO() time.Duration { return c.rtt.longest() }

// SetMaxRTO sets the largest retransmission timeout, to a millisecond (TCP_RTO_MAX_MS);
// from 1 to 120 s, which 0 means.
func (c *Conn) SetMaxRTO(d time.Duration) { c.rtt.ceiling = maxRTOSetting(d) }

// SetMaxDelayedACK sets for how long an ACK waits for an answer or a second segment at
// most, to a millisecond (TCP_DELACK_MAX_US); from 2 to 200 ms, which 0 means.
func (c *Conn) SetMaxDelayedACK(d time.Duration) { c.tuning.ackDelay = maxDelayedACKSetting(d) }

// SetMaxPacingRate bounds how fast data leaves, in bytes per second (SO_MAX_PACING_RATE),
// retransmissions included; 0 is no bound. The first ten segments of the connection
// leave without.
func (c *Conn) SetMaxPacingRate(rate int64) {
	c.tuning.maxPace = max(rate, 0)
	c.updateBurst()
}

func minRTOSetting(d time.Duration) uint32 {
	if d <= 0 || d >= minRTOVar {
		return 0
	}
	return uint32(max(d, leastMinRTO).Microseconds())
}

func maxRTOSetting(d time.Duration) uint32 {
	if d <= 0 || d >= maxRTO {
		return 0
	}
	return uint32(max(d, leastMaxRTO).Milliseconds())
}

func maxDelayedACKSetting(d time.Duration) uint8 {
	if d <= 0 || d >= delAckMax {
		return 0
	}
	return uint8((max(d, leastDelayACK) + time.Millisecond - 1) / time.Millisecond)
}

// limit takes the configuration's bounds over.
func (c *Conn) limit(cfg *Config) {
	c.SetMinRTO(cfg.MinRTO)
	c.SetMaxRTO(cfg.MaxRTO)
	c.SetMaxDelayedACK(cfg.MaxDelayedACK)
	c.tuning.maxPace = max(cfg.MaxPacingRate, 0)
}

// delAckMost is for how long an ACK may wait.
func (c *Conn) delAckMost() time.Duration {
	most := delAckMax
	if d := c.tuning.ackDelay; d != 0 {
		most = time.Duration(d) * time.Millisecond
	}
	return min(most, c.rtt.least()-time.Millisecond)
}

// pacedFrom is from how many segments on what nobody but the application paces is paced,
// as in Linux: short answers need not wait.
const pacedFrom = 10

// pacingRate is the controller's pacing rate, or the application's if that is less; 0 for
// no pacing.
func (c *Conn) pacingRate() int64 {
	rate := c.cc.PacingRate()
	if most := c.tuning.maxPace; most > 0 && (rate > 0 || c.stats.dataSegsOut >= pacedFrom) {
		own := int64(c.linuxPacingRate())
		if rate == 0 || own < rate {
			rate = own
		}
	}
	return rate
}
