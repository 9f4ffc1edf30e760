package neigh

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
)

// Config holds a table's parameters. The zero value has the constants of RFC 4861,
// section 10.
type Config struct {
	// MaxEntries bounds the entries, static ones not counted; 0 means 1024. The
	// least is 8.
	MaxEntries int
	// MaxStatic bounds the static entries; 0 means 1024.
	MaxStatic int
	// MaxQueue bounds the packets that wait for one neighbour; 0 means 16.
	MaxQueue int
	// MaxQueued bounds the packets that wait in all; 0 means 256.
	MaxQueued int

	// BaseReachableTime is how long a confirmation lasts, on average; 0 means
	// REACHABLE_TIME, 30 s. Each is drawn between half and one and a half of it.
	BaseReachableTime time.Duration
	// RetransTimer is the time between questions; 0 means RETRANS_TIMER, 1 s.
	RetransTimer time.Duration
	// DelayFirstProbe is how long upper layers have to confirm a STALE neighbour
	// before it is probed; 0 means DELAY_FIRST_PROBE_TIME, 5 s.
	DelayFirstProbe time.Duration
	// MaxMulticastSolicit and MaxUnicastSolicit are how many questions are asked
	// before giving up; 0 means 3.
	MaxMulticastSolicit, MaxUnicastSolicit int
	// FailedTime is how long a neighbour that did not answer stays unreachable
	// without being asked again; 0 means 1 s, which holds the questions to one a
	// second (RFC 1122, section 2.3.2.1).
	FailedTime time.Duration
	// KeepTime is how long an entry must have been idle before another takes its
	// place among those in use; 0 means 30 s.
	KeepTime time.Duration

	// Rand returns uniform random bits. Without it every confirmation lasts exactly
	// BaseReachableTime.
	Rand func() uint64
}

func (c *Config) setDefaults() {
	for _, n := range []struct {
		p *int
		v int
	}{
		{&c.MaxEntries, 1024}, {&c.MaxStatic, 1024}, {&c.MaxQueue, 16}, {&c.MaxQueued, 256},
		{&c.MaxMulticastSolicit, 3}, {&c.MaxUnicastSolicit, 3},
	} {
		if *n.p <= 0 {
			*n.p = n.v
		}
	}
	c.MaxEntries = max(c.MaxEntries, 8)
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{
		{&c.BaseReachableTime, 30 * time.Second}, {&c.RetransTimer, time.Second},
		{&c.DelayFirstProbe, 5 * time.Second}, {&c.FailedTime, time.Second}, {&c.KeepTime, 30 * time.Second},
	} {
		if *d.p <= 0 {
			*d.p = d.v
		}
	}
}

// State is the state of a neighbour (RFC 4861, section 7.3.2).
type State uint8

const (
	// None: there is no entry.
	None State = iota
	// Incomplete: the hardware address is being asked for.
	Incomplete
	// Reachable: confirmed within the reachable time.
	Reachable
	// Stale: the hardware address is known, whether it still holds is not.
	Stale
	// Delay: in use while stale; upper layers may still confirm.
	Delay
	// Probe: being asked by unicast whether it is still there.
	Probe
	// Failed: it did not answer; not asked again for FailedTime.
	Failed
	// Static: configured; never changes by itself.
	Static
)

// String returns the name in the form that the ip command of Linux prints.
func (s State) String() string {
	names := [...]string{"NONE", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Op is what an action asks the caller to do.
type Op uint8

const (
	// Solicit: ask for the neighbour IP, by multicast (broadcast, for ARP) when HW is
	// zero, otherwise by unicast to HW. There is no packet.
	Solicit Op = iota + 1
	// Deliver: send Packet to HW.
	Deliver
	// Fail: Packet can't be delivered, the host is unreachable (RFC 4861, section
	// 7.2.2).
	Fail
	// Drop: Packet gives way to others; nobody need be told.
	Drop
)

// Action is what the caller is to do for a table. P is the type of the packets
// that wait, of which the table knows nothing.
type Action[P any] struct {
	Op     Op
	IP     netip.Addr
	HW     ethernet.Addr
	Packet P
}

// Stats counts what happened to a table.
type Stats struct {
	// Created and Evicted count entries; evictions are those for want of room.
	Created, Evicted uint64
	// Solicits counts the questions asked, Failed the neighbours that gave no answer
	// to the last of them.
	Solicits, Failed uint64
	// QueueDrops counts the packets that gave way, QueueFails those that failed.
	QueueDrops, QueueFails uint64
	// Ignored counts the messages that changed nothing though they might have:
	// answers to no question, claims of impossible addresses.
	Ignored uint64
	// Suspect counts the claims of another hardware address than the one known.
	Suspect uint64
}

// Table is the neighbour cache of one interface. It is not safe for concurrent
// use.
type Table[P any] struct {
	cfg     Config
	entries map[netip.Addr]*entry[P]
	// last is the entry found last: most packets of a host go the same way.
	last    *entry[P]
	classes [numClasses]list[P]
	quota   [numClasses]int
	timers  timers[P]
	queued  int
	stats   Stats
}

// class is an eviction class of entries; see the package documentation.
type class uint8

const (
	heard class = iota
	asked
	used
	static
	numClasses
)

type entry[P any] struct {
	ip    netip.Addr
	hw    ethernet.Addr
	state State
	class class
	// suspect: somebody claimed another hardware address since the last
	// confirmation.
	suspect bool
	// solicits is the number of questions asked in this state.
	solicits int
	// reachableUntil ends Reachable; it has no timer and is looked at on use.
	reachableUntil clock.Time
	usedAt         clock.Time

	// deadline and heapIndex belong to timers; heapIndex is -1 outside it. order
	// breaks ties.
	deadline  clock.Time
	heapIndex int
	order     uint64

	// prev and next are the neighbours in the class, most recently used first.
	prev, next *entry[P]

	// queue holds the waiting packets, oldest first, in Incomplete only.
	queue []P
}

// New returns an empty table.
func New[P any](cfg Config) *Table[P] {
	cfg.setDefaults()
	t := &Table[P]{cfg: cfg, entries: make(map[netip.Addr]*entry[P])}
	t.quota[heard] = cfg.MaxEntries / 4
	t.quota[asked] = cfg.MaxEntries / 4
	t.quota[used] = cfg.MaxEntries - t.quota[heard] - t.quota[asked]
	t.quota[static] = cfg.MaxStatic
	return t
}

// Stats returns the counters.
func (t *Table[P]) Stats() Stats { return t.stats }

// Len returns the number of entries, and Queued that of the waiting packets.
func (t *Table[P]) Len() int { return len(t.entries) }

// Queued is described with Len.
func (t *Table[P]) Queued() int { return t.queued }

// Deadline returns when Advance is to be called, or clock.Never.
func (t *Table[P]) Deadline() clock.Time { return t.timers.first() }

// Neighbour describes an entry.
type Neighbour struct {
	IP netip.Addr
	// HW has no meaning in Incomplete and Failed.
	HW    ethernet.Addr
	State State
}

// Get returns the entry of ip without using it; its State is None when there is
// none.
func (t *Table[P]) Get(now clock.Time, ip netip.Addr) Neighbour {
	if e := t.entries[ip]; e != nil {
		return e.describe(now)
	}
	return Neighbour{IP: ip}
}

// All calls yield for each entry, static ones first, then the others by class and
// use, until it returns false. yield must not call the table.
func (t *Table[P]) All(now clock.Time, yield func(Neighbour) bool) {
	for c := range numClasses {
		for e := t.classes[numClasses-1-c].head; e != nil; e = e.next {
			if !yield(e.describe(now)) {
				return
			}
		}
	}
}

func (e *entry[P]) describe(now clock.Time) Neighbour {
	n := Neighbour{IP: e.ip, HW: e.hw, State: e.state}
	if e.state == Reachable && !now.Before(e.reachableUntil) {
		n.State = Stale
	}
	return n
}

// Errors of AddStatic.
var (
	// ErrAddress: the addresses can't be those of a neighbour.
	ErrAddress = errors.New("neigh: a neighbour needs a unicast IP address and a unicast hardware address")
	// ErrFull: there are Config.MaxStatic static entries.
	ErrFull = errors.New("neigh: too many static entries: remove some, or raise MaxStatic")
)

// AddStatic sets an entry that nothing but Remove changes; packets that wait for
// the neighbour are delivered.
func (t *Table[P]) AddStatic(now clock.Time, ip netip.Addr, hw ethernet.Addr, acts []Action[P]) ([]Action[P], error) {
	if !plausible(ip, hw) {
		return acts, ErrAddress
	}
	e := t.entries[ip]
	if (e == nil || e.class != static) && t.classes[static].n >= t.quota[static] {
		return acts, ErrFull
	}
	if e == nil {
		e = t.insert(now, ip, static)
	} else {
		t.move(e, static)
	}
	e.hw, e.state, e.suspect = hw, Static, false
	t.timers.stop(e)
	return t.deliver(e, acts), nil
}

// Remove deletes the entry of ip, static or not; packets that wait are dropped.
func (t *Table[P]) Remove(ip netip.Addr, acts []Action[P]) []Action[P] {
	if e := t.entries[ip]; e != nil {
		acts = t.remove(e, Drop, acts)
	}
	return acts
}

// Flush deletes all entries but the static ones, for a link that went down or an
// interface whose addresses changed; packets that wait are dropped.
func (t *Table[P]) Flush(acts []Action[P]) []Action[P] {
	for c := range static {
		for l := &t.classes[c]; l.head != nil; {
			acts = t.remove(l.head, Drop, acts)
		}
	}
	return acts
}

// plausible reports whether the addresses can be those of one neighbour.
func plausible(ip netip.Addr, hw ethernet.Addr) bool {
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && !ip.Is4In6() && hw.IsUnicast()
}

// insert makes an entry in class c, in which there is room: see makeRoom.
func (t *Table[P]) insert(now clock.Time, ip netip.Addr, c class) *entry[P] {
	e := &entry[P]{ip: ip, class: c, heapIndex: -1, usedAt: now}
	t.entries[ip] = e
	t.classes[c].pushFront(e)
	t.stats.Created++
	return e
}

// makeRoom evicts the least recently used entries of class c until one more fits;
// packets that wait for them are dropped.
func (t *Table[P]) makeRoom(c class, acts []Action[P]) []Action[P] {
	for l := &t.classes[c]; l.n >= t.quota[c]; {
		t.stats.Evicted++
		acts = t.remove(l.tail, Drop, acts)
	}
	return acts
}

// move puts e at the front of class c.
func (t *Table[P]) move(e *entry[P], c class) {
	t.classes[e.class].remove(e)
	e.class = c
	t.classes[c].pushFront(e)
}

// use notes that a packet goes to e, which is resolved, and puts it among those in
// use if there is room, or somebody idle to make it.
func (t *Table[P]) use(now clock.Time, e *entry[P]) {
	e.usedAt = now
	if e.class == static {
		return
	}
	if e.class == used {
		if l := &t.classes[used]; l.head != e {
			t.move(e, used)
		}
		return
	}
	l := &t.classes[used]
	if l.n >= t.quota[used] {
		if now.Sub(l.tail.usedAt) < t.cfg.KeepTime {
			t.move(e, e.class)
			return
		}
		t.stats.Evicted++
		t.remove(l.tail, Drop, nil) // resolved: no packet waits for it
	}
	t.move(e, used)
}

// remove deletes e; the packets that wait for it come out with op.
func (t *Table[P]) remove(e *entry[P], op Op, acts []Action[P]) []Action[P] {
	acts = t.release(e, op, acts)
	t.timers.stop(e)
	t.classes[e.class].remove(e)
	delete(t.entries, e.ip)
	if t.last == e {
		t.last = nil
	}
	return acts
}

// release empties e's queue into actions.
func (t *Table[P]) release(e *entry[P], op Op, acts []Action[P]) []Action[P] {
	for i := range e.queue {
		acts = append(acts, Action[P]{Op: op, IP: e.ip, HW: e.hw, Packet: e.queue[i]})
	}
	t.queued -= len(e.queue)
	switch op {
	case Fail:
		t.stats.QueueFails += uint64(len(e.queue))
	case Drop:
		t.stats.QueueDrops += uint64(len(e.queue))
	}
	e.queue = nil
	return acts
}

func (t *Table[P]) deliver(e *entry[P], acts []Action[P]) []Action[P] {
	return t.release(e, Deliver, acts)
}
