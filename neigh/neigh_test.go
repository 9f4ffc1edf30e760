package neigh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
)

var (
	ipA = netip.MustParseAddr("192.0.2.1")
	ipB = netip.MustParseAddr("2001:db8::b") // the version doesn't matter
	mac = ethernet.Addr{2, 0, 0, 0, 0, 1}
	evl = ethernet.Addr{2, 0, 0, 0, 0, 66}
)

// rig is a table with a clock; each step returns the actions as one line.
type rig struct {
	*testing.T
	t    *Table[int]
	now  clock.Time
	acts []Action[int]
}

func newRig(t *testing.T, cfg Config) *rig {
	return &rig{T: t, t: New[int](cfg), now: clock.Time(time.Hour)}
}

func (r *rig) take() string {
	var s []string
	for _, a := range r.acts {
		switch a.Op {
		case Solicit:
			if a.HW.IsZero() {
				s = append(s, "ask all for "+a.IP.String())
			} else {
				s = append(s, "ask "+a.HW.String())
			}
		case Deliver:
			s = append(s, fmt.Sprintf("deliver %d to %v", a.Packet, a.HW))
		case Fail:
			s = append(s, fmt.Sprintf("fail %d", a.Packet))
		case Drop:
			s = append(s, fmt.Sprintf("drop %d", a.Packet))
		}
	}
	r.acts = r.acts[:0]
	return strings.Join(s, ", ")
}

func (r *rig) want(want string) {
	r.Helper()
	if got := r.take(); got != want {
		r.Fatalf("%v: actions %q, want %q", r.now, got, want)
	}
}

func (r *rig) enqueue(ip netip.Addr, p int) *rig {
	r.acts = r.t.Enqueue(r.now, ip, p, r.acts)
	return r
}

func (r *rig) learn(ip netip.Addr, hw ethernet.Addr, ev Evidence) *rig {
	r.acts = r.t.Learn(r.now, ip, hw, ev, r.acts)
	return r
}

// wait advances by d, calling Advance exactly when the deadline says.
func (r *rig) wait(d time.Duration) *rig {
	end := r.now.Add(d)
	for !r.t.Deadline().After(end) {
		r.now = max(r.now, r.t.Deadline())
		r.acts = r.t.Advance(r.now, r.acts)
	}
	r.now = end
	return r
}

func (r *rig) state(ip netip.Addr, want State) {
	r.Helper()
	if got := r.t.Get(r.now, ip).State; got != want {
		r.Fatalf("%v: %v is %v, want %v", r.now, ip, got, want)
	}
}

func (r *rig) lookup(ip netip.Addr, want ethernet.Addr) {
	r.Helper()
	hw, ok := r.t.Lookup(r.now, ip)
	if ok != !want.IsZero() || hw != want {
		r.Fatalf("%v: Lookup(%v) = %v, %v, want %v", r.now, ip, hw, ok, want)
	}
}

func (r *rig) resolve(ip netip.Addr, hw ethernet.Addr) {
	r.Helper()
	r.enqueue(ip, 0).learn(ip, hw, Answer)
	r.want(fmt.Sprintf("ask all for %v, deliver 0 to %v", ip, hw))
	r.state(ip, Reachable)
}

func TestResolve(t *testing.T) {
	r := newRig(t, Config{})
	r.lookup(ipA, ethernet.Addr{})
	r.enqueue(ipA, 1).want("ask all for 192.0.2.1")
	r.enqueue(ipA, 2).want("")
	r.state(ipA, Incomplete)
	r.lookup(ipA, ethernet.Addr{})
	r.wait(999 * time.Millisecond).want("")
	r.wait(time.Millisecond).want("ask all for 192.0.2.1")
	r.learn(ipA, mac, Answer).want("deliver 1 to 02:00:00:00:00:01, deliver 2 to 02:00:00:00:00:01")
	r.state(ipA, Reachable)
	r.lookup(ipA, mac)
	if d := r.t.Deadline(); d != clock.Never {
		t.Errorf("a reachable neighbour has a timer: %v", d)
	}
	// A packet that raced with the answer.
	r.enqueue(ipA, 3).want("deliver 3 to 02:00:00:00:00:01")
	if r.t.Queued() != 0 {
		t.Errorf("%d packets queued", r.t.Queued())
	}
}

func TestFailure(t *testing.T) {
	r := newRig(t, Config{})
	r.enqueue(ipA, 1).want("ask all for 192.0.2.1")
	r.enqueue(ipA, 2)
	r.wait(2999 * time.Millisecond).want("ask all for 192.0.2.1, ask all for 192.0.2.1")
	r.wait(time.Millisecond).want("fail 1, fail 2")
	r.state(ipA, Failed)
	// Held down for a second: no question, a failure at once.
	r.wait(900*time.Millisecond).enqueue(ipA, 3).want("fail 3")
	r.wait(100 * time.Millisecond).want("")
	r.state(ipA, None)
	r.enqueue(ipA, 4).want("ask all for 192.0.2.1")
}

func TestLateAnswerEndsHoldDown(t *testing.T) {
	for _, ev := range []Evidence{Answer, Question, 0} {
		r := newRig(t, Config{})
		r.enqueue(ipA, 1).wait(3500 * time.Millisecond)
		r.state(ipA, Failed)
		r.take()
		r.learn(ipA, mac, ev).want("")
		r.lookup(ipA, mac)
		r.wait(2 * time.Second)
		r.lookup(ipA, mac)
	}
}

func TestStaleDelayProbe(t *testing.T) {
	r := newRig(t, Config{})
	r.resolve(ipA, mac)
	r.wait(30*time.Second - 1)
	r.state(ipA, Reachable)
	r.wait(1).want("")
	r.state(ipA, Stale)
	// Unused, it stays stale for ever and costs no timer.
	r.wait(time.Hour).want("")
	r.state(ipA, Stale)
	r.lookup(ipA, mac)
	r.state(ipA, Delay)
	r.wait(5*time.Second - 1).want("")
	r.wait(1).want("ask 02:00:00:00:00:01")
	r.state(ipA, Probe)
	r.lookup(ipA, mac)
	r.wait(time.Second).want("ask 02:00:00:00:00:01")
	r.learn(ipA, mac, Answer).want("")
	r.state(ipA, Reachable)
	r.wait(31 * time.Second)
	r.lookup(ipA, mac)
	r.wait(7 * time.Second).want("ask 02:00:00:00:00:01, ask 02:00:00:00:00:01, ask 02:00:00:00:00:01")
	r.wait(time.Second).want("")
	r.state(ipA, None)
}

func TestConfirm(t *testing.T) {
	r := newRig(t, Config{})
	r.t.Confirm(r.now, ipA) // unknown: nothing
	r.state(ipA, None)
	r.resolve(ipA, mac)
	for range 100 {
		r.wait(7 * time.Second)
		r.lookup(ipA, mac)
		r.t.Confirm(r.now, ipA)
		r.state(ipA, Reachable)
	}
	r.wait(time.Minute)
	r.lookup(ipA, mac)
	r.wait(time.Second)
	r.state(ipA, Delay)
	r.t.Confirm(r.now, ipA)
	r.state(ipA, Reachable)
	if r.t.Deadline() != clock.Never {
		t.Error("the delay timer still runs")
	}
	r.wait(time.Minute)
	r.lookup(ipA, mac)
	r.wait(5 * time.Second).want("ask 02:00:00:00:00:01")
	r.t.Confirm(r.now, ipA)
	r.wait(10 * time.Second).want("")
	r.state(ipA, Reachable)
	// It does not resolve what is unresolved.
	r.enqueue(ipB, 1)
	r.t.Confirm(r.now, ipB)
	r.state(ipB, Incomplete)
}

func TestReachableTimeIsRandom(t *testing.T) {
	for _, c := range []struct {
		rand uint64
		want time.Duration
	}{{0, 15 * time.Second}, {1024, 45 * time.Second}, {512, 30 * time.Second}} {
		r := newRig(t, Config{Rand: func() uint64 { return c.rand }})
		r.resolve(ipA, mac)
		const slack = 100 * time.Microsecond // rounding
		r.wait(c.want - slack)
		r.state(ipA, Reachable)
		r.wait(2 * slack)
		r.state(ipA, Stale)
	}
}

func TestUnsolicitedChangesNothing(t *testing.T) {
	r := newRig(t, Config{})
	r.learn(ipA, evl, Answer).want("")
	r.learn(ipA, evl, 0).want("")
	r.learn(ipA, evl, Answer|Override).want("")
	if r.t.Len() != 0 {
		t.Fatal("an answer made an entry")
	}
	r.resolve(ipA, mac)
	// Answers to no question don't keep it reachable.
	for range 40 {
		r.wait(time.Second).learn(ipA, mac, Answer).want("")
	}
	r.state(ipA, Stale)
	r.learn(ipA, mac, Question).want("")
	r.state(ipA, Stale)
	if got := r.t.Stats().Ignored; got != 43 {
		t.Errorf("ignored %d, want 43", got)
	}
}

func TestHijackFails(t *testing.T) {
	for _, ev := range []Evidence{0, Answer, Question, Question | Answer} {
		r := newRig(t, Config{})
		r.resolve(ipA, mac)
		for range 3 {
			r.learn(ipA, evl, ev).want("")
		}
		r.state(ipA, Stale)
		r.wait(time.Second).want("") // an idle neighbour causes no traffic
		r.lookup(ipA, mac)
		// The next use checks at once, by unicast, with the address that was known.
		r.wait(0).want("ask 02:00:00:00:00:01")
		r.learn(ipA, evl, ev).want("")
		r.lookup(ipA, mac)
		r.learn(ipA, mac, Answer).want("")
		r.state(ipA, Reachable)
		r.wait(10 * time.Second).want("")
		r.lookup(ipA, mac)
	}
}

func TestMovedNeighbourIsFoundAgain(t *testing.T) {
	r := newRig(t, Config{})
	r.resolve(ipA, mac)
	moved := ethernet.Addr{2, 0, 0, 0, 0, 2}
	r.learn(ipA, moved, 0)
	r.lookup(ipA, mac)
	r.wait(3 * time.Second)
	r.take()
	r.lookup(ipA, ethernet.Addr{})
	r.resolve(ipA, moved)
}

func TestSuspectInDelay(t *testing.T) {
	r := newRig(t, Config{})
	r.resolve(ipA, mac)
	r.wait(31 * time.Second)
	r.lookup(ipA, mac)
	r.state(ipA, Delay)
	r.learn(ipA, evl, 0)
	r.wait(0).want("ask 02:00:00:00:00:01")
	// Claims do not restart the questions.
	for range 5 {
		r.learn(ipA, evl, 0)
	}
	r.wait(999 * time.Millisecond).want("")
	r.wait(time.Millisecond).want("ask 02:00:00:00:00:01")
}

func TestOverride(t *testing.T) {
	r := newRig(t, Config{})
	r.resolve(ipB, mac)
	r.learn(ipB, evl, Override).want("")
	r.state(ipB, Stale)
	r.lookup(ipB, evl)
	r.state(ipB, Delay) // not suspect
	r.learn(ipB, mac, Override|Answer)
	r.state(ipB, Reachable)
	r.lookup(ipB, mac)
	r.wait(10 * time.Second).want("")
}

func TestQuestionCreatesStale(t *testing.T) {
	r := newRig(t, Config{})
	r.learn(ipA, mac, Question).want("")
	r.state(ipA, Stale)
	r.wait(time.Hour).want("")
	r.lookup(ipA, mac)
	r.wait(5 * time.Second).want("ask 02:00:00:00:00:01")
}

func TestAnnouncementCompletes(t *testing.T) {
	// RFC 4861, section 7.2.5: an unsolicited claim completes Incomplete, to Stale.
	r := newRig(t, Config{})
	r.enqueue(ipA, 1).want("ask all for 192.0.2.1")
	r.learn(ipA, mac, 0).want("deliver 1 to 02:00:00:00:00:01")
	r.state(ipA, Delay)
	r.wait(5 * time.Second).want("ask 02:00:00:00:00:01")
}

func TestImpossibleAddresses(t *testing.T) {
	r := newRig(t, Config{})
	r.enqueue(ipA, 1)
	r.take()
	for _, hw := range []ethernet.Addr{{}, ethernet.Broadcast(), {1, 0, 0x5e, 0, 0, 1}} {
		r.learn(ipA, hw, Question|Answer|Override).want("")
	}
	for _, ip := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("ff02::1"), netip.MustParseAddr("::ffff:192.0.2.1")} {
		r.learn(ip, mac, Question|Answer|Override).want("")
	}
	r.state(ipA, Incomplete)
	if r.t.Len() != 1 {
		t.Errorf("%d entries", r.t.Len())
	}
}

func TestQueueBounds(t *testing.T) {
	r := newRig(t, Config{MaxQueue: 3, MaxQueued: 5})
	for i := range 5 {
		r.enqueue(ipA, i)
	}
	r.want("ask all for 192.0.2.1, drop 0, drop 1")
	for i := range 3 {
		r.enqueue(ipB, 10+i)
	}
	r.want("ask all for 2001:db8::b, drop 10") // five in all
	ipC := netip.MustParseAddr("192.0.2.3")
	r.enqueue(ipC, 20).want("ask all for 192.0.2.3, drop 20")
	r.learn(ipA, mac, Answer).want("deliver 2 to 02:00:00:00:00:01, deliver 3 to 02:00:00:00:00:01, deliver 4 to 02:00:00:00:00:01")
	r.enqueue(ipC, 21).want("")
	r.acts = r.t.Flush(r.acts)
	r.want("drop 21, drop 11, drop 12")
	if r.t.Len() != 0 || r.t.Queued() != 0 || r.t.Deadline() != clock.Never {
		t.Errorf("after Flush: %d entries, %d packets, deadline %v", r.t.Len(), r.t.Queued(), r.t.Deadline())
	}
}

func TestStatic(t *testing.T) {
	r := newRig(t, Config{MaxStatic: 2})
	add := func(ip netip.Addr, hw ethernet.Addr) error {
		var err error
		r.acts, err = r.t.AddStatic(r.now, ip, hw, r.acts)
		return err
	}
	r.enqueue(ipA, 1).want("ask all for 192.0.2.1")
	if err := add(ipA, mac); err != nil {
		t.Fatal(err)
	}
	r.want("deliver 1 to 02:00:00:00:00:01")
	r.learn(ipA, evl, Question|Answer|Override).want("")
	r.wait(time.Hour).want("")
	r.t.Confirm(r.now, ipA)
	r.lookup(ipA, mac)
	r.state(ipA, Static)
	if err := add(ipA, evl); err != nil {
		t.Errorf("replacing: %v", err)
	}
	if err := add(ipB, mac); err != nil {
		t.Error(err)
	}
	if err := add(netip.MustParseAddr("192.0.2.9"), mac); err != ErrFull {
		t.Errorf("third: %v", err)
	}
	if err := add(ipB, ethernet.Broadcast()); err != ErrAddress {
		t.Errorf("broadcast: %v", err)
	}
	r.acts = r.t.Flush(r.acts)
	r.lookup(ipA, evl)
	r.acts = r.t.Remove(ipA, r.acts)
	r.state(ipA, None)
	r.want("")
}

func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestFloodsLeaveEntriesInUseAlone(t *testing.T) {
	r := newRig(t, Config{MaxEntries: 64})
	r.resolve(ipA, mac)
	r.lookup(ipA, mac)
	r.enqueue(ipB, 1)
	r.take()
	for i := range 10000 { // spoofed questions
		r.learn(addr(i), evl, Question)
	}
	r.state(ipA, Reachable)
	r.state(ipB, Incomplete)
	r.learn(ipB, mac, Answer).want("deliver 1 to 02:00:00:00:00:01")
	for i := range 10000 { // packets to nobody: answers to spoofed senders
		r.enqueue(addr(i), i)
		r.acts = r.acts[:0]
	}
	r.state(ipA, Reachable)
	r.state(ipB, Reachable)
	for i := range 10000 { // and somebody who answers for all of them
		r.enqueue(addr(i), i).learn(addr(i), evl, Answer)
		r.acts = r.acts[:0]
	}
	r.lookup(ipA, mac)
	r.lookup(ipB, mac)
	if n := r.t.Len(); n > 64 {
		t.Errorf("%d entries", n)
	}
	// The newest of them works though there was no room among those in use.
	r.lookup(addr(9999), evl)
	// Once the old ones are idle, others take their places.
	r.wait(31 * time.Second)
	for i := range 100 {
		r.enqueue(addr(20000+i), i).learn(addr(20000+i), mac, Answer)
		r.acts = r.acts[:0]
	}
	r.state(ipA, None)
	if n := r.t.Len(); n > 64 {
		t.Errorf("%d entries", n)
	}
}

func TestEvictionReturnsPackets(t *testing.T) {
	r := newRig(t, Config{MaxEntries: 8}) // two that are asked for
	r.enqueue(addr(1), 1).enqueue(addr(2), 2).enqueue(addr(3), 3)
	r.want("ask all for 10.0.0.1, ask all for 10.0.0.2, drop 1, ask all for 10.0.0.3")
	r.state(addr(1), None)
}

func TestAll(t *testing.T) {
	r := newRig(t, Config{})
	r.learn(addr(1), mac, Question)
	r.enqueue(addr(2), 0)
	r.enqueue(addr(3), 0).learn(addr(3), mac, Answer)
	r.enqueue(addr(4), 0).learn(addr(4), mac, Answer)
	r.acts, _ = r.t.AddStatic(r.now, addr(5), mac, r.acts)
	var got []string
	r.t.All(r.now, func(n Neighbour) bool {
		got = append(got, fmt.Sprint(n.IP, " ", n.State))
		return len(got) < 5
	})
	want := "[10.0.0.5 PERMANENT 10.0.0.4 REACHABLE 10.0.0.3 REACHABLE 10.0.0.2 INCOMPLETE 10.0.0.1 STALE]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// check holds the table's invariants.
func check(t *testing.T, tb *Table[int]) {
	t.Helper()
	n, queued, timers := 0, 0, 0
	for c := range numClasses {
		l := &tb.classes[c]
		k := 0
		for e := l.head; e != nil; e = e.next {
			if tb.entries[e.ip] != e || e.class != c {
				t.Fatalf("%v is in the wrong place", e.ip)
			}
			if e.next == nil && l.tail != e || e.next != nil && e.next.prev != e {
				t.Fatal("broken list")
			}
			if len(e.queue) > 0 && e.state != Incomplete {
				t.Fatalf("%v: %d packets wait in %v", e.ip, len(e.queue), e.state)
			}
			if e.heapIndex >= 0 {
				timers++
				if tb.timers.heap[e.heapIndex] != e {
					t.Fatal("broken heap index")
				}
			}
			if wants := e.state == Incomplete || e.state == Delay || e.state == Probe || e.state == Failed; wants != (e.heapIndex >= 0) {
				t.Fatalf("%v: timer %v in %v", e.ip, !wants, e.state)
			}
			queued += len(e.queue)
			k++
		}
		if k != l.n || l.n > tb.quota[c] {
			t.Fatalf("class %d: %d entries, counted %d, quota %d", c, k, l.n, tb.quota[c])
		}
		n += k
	}
	if n != len(tb.entries) || queued != tb.queued || queued > tb.cfg.MaxQueued || timers != len(tb.timers.heap) {
		t.Fatalf("entries %d/%d, queued %d/%d, timers %d/%d", n, len(tb.entries), queued, tb.queued, timers, len(tb.timers.heap))
	}
	for i := 1; i < len(tb.timers.heap); i++ {
		if tb.timers.less(i, (i-1)/2) {
			t.Fatal("broken heap order")
		}
	}
	if tb.last != nil && tb.entries[tb.last.ip] != tb.last {
		t.Fatal("last is gone")
	}
}

// play drives a table with arbitrary steps; every packet must come back once.
func play(t *testing.T, steps []byte) string {
	var log strings.Builder
	tb := New[int](Config{MaxEntries: 8, MaxStatic: 2, MaxQueue: 2, MaxQueued: 5})
	now := clock.Time(time.Second)
	packet := 0
	out := map[int]bool{}
	var acts []Action[int]
	for len(steps) >= 3 {
		op, a, b := steps[0], addr(int(steps[1]%24)), steps[2]
		steps = steps[3:]
		hw := ethernet.Addr{2, 0, 0, 0, 0, b % 3}
		switch op % 8 {
		case 0, 1:
			acts = tb.Enqueue(now, a, packet, acts)
			packet++
		case 2:
			tb.Lookup(now, a)
		case 3, 4:
			acts = tb.Learn(now, a, hw, Evidence(b>>2&7), acts)
		case 5:
			now = now.Add(time.Duration(b) * 50 * time.Millisecond)
			acts = tb.Advance(now, acts)
			if !tb.Deadline().After(now) {
				t.Fatal("Advance left something due")
			}
		case 6:
			tb.Confirm(now, a)
		case 7:
			switch b % 4 {
			case 0:
				acts, _ = tb.AddStatic(now, a, hw, acts)
			case 1:
				acts = tb.Remove(a, acts)
			case 2:
				if b > 240 {
					acts = tb.Flush(acts)
				}
			}
		}
		for _, a := range acts {
			fmt.Fprintln(&log, a)
			if a.Op == Solicit {
				continue
			}
			if out[a.Packet] {
				t.Fatalf("packet %d came back twice", a.Packet)
			}
			out[a.Packet] = true
			if a.Op == Deliver && !a.HW.IsUnicast() {
				t.Fatalf("delivery to %v", a.HW)
			}
		}
		acts = acts[:0]
		if len(out)+tb.Queued() != packet {
			t.Fatalf("%d packets in, %d out, %d wait", packet, len(out), tb.Queued())
		}
		check(t, tb)
	}
	return log.String()
}

func TestRandomSteps(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		steps := make([]byte, 3000)
		for i := range steps {
			steps[i] = byte(rng.Uint32())
		}
		first := play(t, steps)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		if play(t, steps) != first {
			t.Fatalf("seed %d: two runs differ", seed)
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 1, 4, 5, 0, 255})
	f.Fuzz(func(t *testing.T, steps []byte) { play(t, steps) })
}

func TestNoAllocation(t *testing.T) {
	r := newRig(t, Config{})
	r.resolve(ipA, mac)
	r.resolve(ipB, mac)
	if n := testing.AllocsPerRun(100, func() {
		r.t.Lookup(r.now, ipA)
		r.t.Confirm(r.now, ipA)
		r.t.Lookup(r.now, ipB)
		r.learn(ipA, mac, Question)
		r.now = r.now.Add(time.Second)
		r.acts = r.t.Advance(r.now, r.acts[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := New[int](Config{})
			for i := range n {
				t.Enqueue(1, addr(i), 0, nil)
				t.Learn(1, addr(i), mac, Answer, nil)
			}
			for i := 0; b.Loop(); i++ {
				t.Lookup(2, addr(i%n))
			}
		})
	}
}
