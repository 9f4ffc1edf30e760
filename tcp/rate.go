package tcp

import (
	"github.com/netduet/netduet/clock"
)

// rateEstimator measures the delivery rate (draft-ietf-ccwg-bbr, section 4.5.2):
// every transmission is recorded with what had been delivered by then, and the
// newest one that an acknowledgement covers gives the sample.
type rateEstimator struct {
	firstSentAt clock.Time // when the segment was sent that was delivered last
	appLimited  uint64     // delivery count up to which samples are application-limited; 0: none
	lost        uint64     // bytes that congestion may have lost
	lostEnd     Seq        // where the last of them ended

	// Of the newest transmission that the acknowledgement in hand delivers.
	found                               bool
	sentAt, priorDeliveredAt, priorSent clock.Time
	priorDelivered                      uint64
	limited                             bool
	txInFlight                          uint32
	txLost                              uint32
}

// snapshot records the state of delivery with a transmission that is about to be
// counted.
func (c *Conn) snapshot(now clock.Time, r *sentRange) {
	if c.inFlight() == 0 {
		// Nothing was in flight: the idle time before is not the network's.
		c.rate.firstSentAt, c.deliveredAt = now, now
	}
	r.sentAt, r.firstSentAt = now, c.rate.firstSentAt
	r.delivered, r.deliveredAt = c.delivered, c.deliveredAt
	r.lost = uint32(c.rate.lost)
	r.wave = c.wave
	r.flags &^= rangeAppLimited
	if c.rate.appLimited != 0 {
		r.flags |= rangeAppLimited
	}
}

// rateDelivered looks at a transmission that an acknowledgement newly covers. One that was
// sent again less than a round trip ago arrived the first time, as in RACK (RFC 8985,
// section 6.2, step 2): when that was is not known any more, and the time of the second
// would make each of its acknowledgements the end of a round trip.
func (c *Conn) rateDelivered(now clock.Time, r *sentRange) {
	if r.flags&rangeEver != 0 && now.Sub(r.sentAt) < c.rtt.min-c.rtt.min/rackMargin {
		return
	}
	e := &c.rate
	if r.sentAt == 0 || e.found && (r.delivered < e.priorDelivered ||
		r.delivered == e.priorDelivered && r.sentAt.Before(e.sentAt)) {
		return
	}
	e.found = true
	e.priorDelivered, e.priorDeliveredAt = r.delivered, r.deliveredAt
	e.sentAt, e.priorSent = r.sentAt, r.firstSentAt
	e.limited = r.flags&rangeAppLimited != 0
	e.txInFlight, e.txLost = r.inFlight, r.lost
}

// rateSample ends an acknowledgement and returns the sample it gives.
func (c *Conn) rateSample() (s RateSample) {
	e := &c.rate
	if e.appLimited != 0 && c.delivered > e.appLimited {
		e.appLimited = 0 // what was sent while data lacked has gone through
	}
	if !e.found {
		return s
	}
	e.found = false
	e.firstSentAt = e.sentAt
	s = RateSample{
		Delivered: int(c.delivered - e.priorDelivered), PriorDelivered: e.priorDelivered, AppLimited: e.limited,
		TxInFlight: int(e.txInFlight), Lost: int(uint32(e.lost) - e.txLost),
	}
	// The slower of the two rates, of sending and of acknowledging: ACKs that were held
	// up and come together would show a rate that never was.
	interval := max(e.sentAt.Sub(e.priorSent), c.deliveredAt.Sub(e.priorDeliveredAt))
	if interval > 0 && interval >= c.rtt.min {
		s.Interval = interval
		if !s.AppLimited || uint64(s.Rate()) >= c.rateShown {
			c.rateShown, c.rateLimited = uint64(s.Rate()), s.AppLimited
		}
	}
	return s
}

// noteAppLimited is called when there is nothing left to send and the window has
// room.
func (c *Conn) noteAppLimited() {
	c.pace.waiting = false // what comes later has not waited for the timer
	if c.lostOut <= c.retransOut && c.inFlight() < c.cwnd() {
		c.rate.appLimited = max(c.delivered+uint64(c.inFlight()*c.payloadMSS()), 1)
	}
}
