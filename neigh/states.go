package neigh

import (
	"net/netip"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
)

// Lookup returns the hardware address of ip for a packet that is about to be sent
// there. ok is false when it is not known: the packet goes to Enqueue.
//
// Using a stale neighbour starts the delay after which it is probed (RFC 4861,
// section 7.3.3).
func (t *Table[P]) Lookup(now clock.Time, ip netip.Addr) (hw ethernet.Addr, ok bool) {
	e := t.last
	if e == nil || e.ip != ip {
		if e = t.entries[ip]; e == nil {
			return ethernet.Addr{}, false
		}
		t.last = e
	}
	switch e.state {
	case Reachable:
		if !now.Before(e.reachableUntil) {
			t.delay(now, e)
		}
	case Stale:
		t.delay(now, e)
	case Delay, Probe, Static:
	default:
		return ethernet.Addr{}, false
	}
	t.use(now, e)
	return e.hw, true
}

// delay moves a stale entry on to Delay, or to Probe when it is suspect.
func (t *Table[P]) delay(now clock.Time, e *entry[P]) {
	if e.suspect {
		t.probe(now, e)
		return
	}
	e.state = Delay
	t.timers.arm(e, now.Add(t.cfg.DelayFirstProbe))
}

// probe moves e on to Probe; Advance asks the first question at once.
func (t *Table[P]) probe(now clock.Time, e *entry[P]) {
	e.state, e.solicits = Probe, 0
	t.timers.arm(e, now)
}

// Enqueue hands over a packet for the neighbour ip, whose hardware address Lookup
// did not know. It comes back in an action: at once when the neighbour is known
// after all, or has just failed to answer; otherwise it waits, and the question is
// asked unless it is already under way.
func (t *Table[P]) Enqueue(now clock.Time, ip netip.Addr, packet P, acts []Action[P]) []Action[P] {
	if hw, ok := t.Lookup(now, ip); ok {
		return append(acts, Action[P]{Op: Deliver, IP: ip, HW: hw, Packet: packet})
	}
	e := t.entries[ip]
	if e == nil {
		acts = t.makeRoom(asked, acts)
		e = t.insert(now, ip, asked)
		e.state = Incomplete
		acts = t.solicit(now, e, acts)
	}
	if e.state == Failed {
		t.stats.QueueFails++
		return append(acts, Action[P]{Op: Fail, IP: ip, Packet: packet})
	}
	if len(e.queue) >= t.cfg.MaxQueue || t.queued >= t.cfg.MaxQueued && len(e.queue) > 0 {
		acts = append(acts, Action[P]{Op: Drop, IP: ip, Packet: e.queue[0]})
		t.stats.QueueDrops++
		copy(e.queue, e.queue[1:])
		e.queue[len(e.queue)-1] = packet
		return acts
	}
	if t.queued >= t.cfg.MaxQueued {
		t.stats.QueueDrops++
		return append(acts, Action[P]{Op: Drop, IP: ip, Packet: packet})
	}
	e.queue = append(e.queue, packet)
	t.queued++
	return acts
}

// solicit asks one question about e and arms the timer for the next.
func (t *Table[P]) solicit(now clock.Time, e *entry[P], acts []Action[P]) []Action[P] {
	e.solicits++
	t.stats.Solicits++
	t.timers.arm(e, now.Add(t.cfg.RetransTimer))
	a := Action[P]{Op: Solicit, IP: e.ip}
	if e.state == Probe {
		a.HW = e.hw
	}
	return append(acts, a)
}

// Evidence says what a message proves about its sender.
type Evidence uint8

const (
	// Question: the message asks about an address of ours, so that its sender is
	// about to be answered. It may create an entry.
	Question Evidence = 1 << iota
	// Answer: the message answers us (an ARP reply sent to us, an advertisement with
	// the solicited flag). While a question of ours is under way it proves that
	// packets go both ways.
	Answer
	// Override: the sender insists on the hardware address (RFC 4861, section 4.4).
	// Nothing in ARP says so.
	Override
)

// Learn takes in that a message says ip has the hardware address hw. The caller
// has checked that ip is on the link and not its own. Impossible addresses are
// ignored.
func (t *Table[P]) Learn(now clock.Time, ip netip.Addr, hw ethernet.Addr, ev Evidence, acts []Action[P]) []Action[P] {
	if !plausible(ip, hw) {
		t.stats.Ignored++
		return acts
	}
	e := t.entries[ip]
	if e == nil {
		if ev&Question == 0 {
			t.stats.Ignored++
			return acts
		}
		acts = t.makeRoom(heard, acts)
		e = t.insert(now, ip, heard)
		e.hw, e.state = hw, Stale
		return acts
	}
	switch e.state {
	case Static:
		if e.hw != hw {
			t.stats.Suspect++
		}
		return acts
	case Incomplete, Failed:
		// Whoever speaks first is believed, and those who wait go on (RFC 4861,
		// section 7.2.5). In Failed we have asked as well, the answer is late.
		e.hw, e.suspect = hw, false
		if ev&Answer != 0 {
			t.reachable(now, e)
		} else {
			e.state = Stale
			t.timers.stop(e)
		}
		if len(e.queue) > 0 {
			acts = t.deliver(e, acts)
			if e.state == Stale {
				t.delay(now, e)
			}
			t.use(now, e)
		}
		return acts
	}
	if e.hw == hw {
		if ev&Answer != 0 && e.state == Probe {
			t.reachable(now, e)
		} else if ev == 0 || ev == Answer {
			t.stats.Ignored++
		}
		return acts
	}
	t.stats.Suspect++
	if ev&Override != 0 {
		e.hw = hw
		if ev&Answer != 0 {
			t.reachable(now, e)
		} else {
			e.state, e.suspect = Stale, false
			t.timers.stop(e)
		}
		return acts
	}
	switch e.state {
	case Reachable:
		e.state, e.suspect = Stale, true
	case Stale:
		e.suspect = true
	case Delay:
		e.suspect = true
		t.probe(now, e)
	}
	return acts
}

// Confirm takes in that an upper layer has made progress that only packets which
// arrive there can make: new data acknowledged by, or through, the neighbour
// (RFC 4861, section 7.3.1).
func (t *Table[P]) Confirm(now clock.Time, ip netip.Addr) {
	e := t.last
	if e == nil || e.ip != ip {
		e = t.entries[ip]
	}
	if e == nil {
		return
	}
	switch e.state {
	case Reachable:
		// Drawing a new time for each acknowledgement is too much; while much of the
		// last one is left, a confirmation adds nothing worth having.
		if e.reachableUntil.Sub(now) < t.cfg.BaseReachableTime/2 {
			t.reachable(now, e)
		}
	case Stale, Delay, Probe:
		t.reachable(now, e)
	}
}

// reachable moves e to Reachable.
func (t *Table[P]) reachable(now clock.Time, e *entry[P]) {
	e.state, e.suspect = Reachable, false
	t.timers.stop(e)
	d := t.cfg.BaseReachableTime
	if t.cfg.Rand != nil {
		// Uniform between MIN_RANDOM_FACTOR, 0.5, and MAX_RANDOM_FACTOR, 1.5, so that
		// neighbours don't probe each other in step (RFC 4861, section 6.3.2).
		d = d/2 + d/1024*time.Duration(t.cfg.Rand()%1025)
	}
	e.reachableUntil = now.Add(d)
}

// Advance does what is due at now: asks again, probes, gives up.
func (t *Table[P]) Advance(now clock.Time, acts []Action[P]) []Action[P] {
	for len(t.timers.heap) > 0 && !t.timers.heap[0].deadline.After(now) {
		e := t.timers.heap[0]
		switch e.state {
		case Incomplete:
			if e.solicits < t.cfg.MaxMulticastSolicit {
				acts = t.solicit(now, e, acts)
				continue
			}
			e.state = Failed
			t.stats.Failed++
			t.timers.arm(e, now.Add(t.cfg.FailedTime))
			acts = t.release(e, Fail, acts)
		case Delay:
			e.state, e.solicits = Probe, 0
			acts = t.solicit(now, e, acts)
		case Probe:
			if e.solicits < t.cfg.MaxUnicastSolicit {
				acts = t.solicit(now, e, acts)
				continue
			}
			// The next packet asks anew, by multicast (RFC 4861, section 7.3.3).
			t.stats.Failed++
			acts = t.remove(e, Drop, acts)
		case Failed:
			acts = t.remove(e, Drop, acts)
		default:
			t.timers.stop(e)
		}
	}
	return acts
}
