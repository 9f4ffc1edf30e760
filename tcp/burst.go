package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

const (
	// leastBurst is how many segments a device may always be given at once.
	leastBurst = 2
	// burstShift makes a burst what leaves in about a millisecond (a 1024th of a second).
	burstShift = 10
	// nearShift halves the most that a device is given for each 512 µs of round-trip time.
	nearShift = 9
	// deferWithin is for how long after a transmission another may wait to be larger.
	deferWithin = time.Millisecond
	// deferFor is for how long it may have to wait, or half a round trip if that is less.
	deferFor = time.Millisecond
	// deferShare is the part of the window that is large enough.
	deferShare = 3
)

// defers reports whether a burst that the window cuts short is to wait for the next
// acknowledgement, which is near, to be a larger one, as Linux has it (a relative of
// silly-window avoidance, RFC 9293, section 3.8.6.2.1, for devices that cut segments
// up). left is what waits, window what the peer's window takes.
func (c *Conn) defers(now clock.Time, left, full, window, cwnd int) bool {
	if c.maxGSO <= full || c.recovery >= recoveryFast || c.ranges.count == 0 || c.tlpNew || c.forced ||
		now.Sub(c.lastSent) > deferWithin {
		return false
	}
	room := (cwnd - c.inFlight()) * full
	limit := min(window, room)
	if limit >= c.burst(full)*full || limit >= min(c.sndWnd, cwnd*full)/deferShare {
		return false
	}
	if c.ranges.at(0).sentAt.Add(c.rtt.srtt).Sub(now) > min(c.rtt.srtt/2, deferFor) {
		return false // that acknowledgement is far
	}
	if min(room, window) <= left {
		return true
	}
	return !c.finQueued
}

// updateBurst notes how fast the connection sends: the window in a round-trip time,
// twice in early slow start, and else a fifth more.
func (c *Conn) updateBurst() { c.burstRate = c.linuxPacingRate() }

// burst is how many segments of size bytes may go to the device in one piece, as
// Linux sizes them: about a millisecond's worth, or more where the round trip is
// short, so that slow paths do not see large bursts, and peers get the PSH at the
// end of each.
func (c *Conn) burst(size int) int {
	most := uint64(c.maxGSO)
	n := c.burstRate >> burstShift
	if halvings := uint64(c.rtt.min/time.Microsecond) >> nearShift; halvings < 32 {
		n += most >> halvings
	}
	return max(int(min(n, most))/max(size, 1), leastBurst)
}
