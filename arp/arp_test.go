package arp

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/neigh"
)

var (
	us      = ethernet.Addr{2, 0, 0, 0, 0, 1}
	peer    = ethernet.Addr{2, 0, 0, 0, 0, 2}
	evil    = ethernet.Addr{2, 0, 0, 0, 0, 66}
	ourIP   = netip.MustParseAddr("192.0.2.1")
	peerIP  = netip.MustParseAddr("192.0.2.2")
	otherIP = netip.MustParseAddr("192.0.2.3")
)

// Who has 192.0.2.1? Tell 192.0.2.2.
const wire = "0001080006040001" + "020000000002" + "c0000202" + "000000000000" + "c0000201"

func TestPacket(t *testing.T) {
	b, _ := hex.DecodeString(wire)
	p, err := Parse(append(b, make([]byte, 18)...)) // with padding
	want := Request(peer, peerIP, ourIP)
	if err != nil || p != want {
		t.Fatalf("%+v, %v", p, err)
	}
	out := make([]byte, PacketLen)
	if n := p.Encode(out); n != PacketLen || !bytes.Equal(out, b) {
		t.Fatalf("% x", out)
	}
	r := p.Reply(us)
	if want := (Packet{OpReply, us, ourIP, peer, peerIP}); r != want {
		t.Fatalf("reply %+v", r)
	}
	probe, ann := Probe(us, ourIP), Announcement(us, ourIP)
	if !probe.IsProbe() || probe.IsAnnouncement() || ann.IsProbe() || !ann.IsAnnouncement() || p.IsProbe() || p.IsAnnouncement() {
		t.Error("probe and announcement are confused")
	}
}

func TestRefused(t *testing.T) {
	good, _ := hex.DecodeString(wire)
	for n := range PacketLen {
		if _, err := Parse(good[:n]); err != ErrShort {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, c := range []struct {
		at   int
		v    byte
		want error
	}{{1, 6, ErrHardware}, {0, 1, ErrHardware}, {4, 8, ErrHardware}, {2, 0x86, ErrProtocol}, {5, 16, ErrProtocol}, {7, 0, ErrOp}, {7, 3, ErrOp}, {6, 1, ErrOp}} {
		bad := bytes.Clone(good)
		bad[c.at] = c.v
		if _, err := Parse(bad); err != c.want {
			t.Errorf("byte %d = %d: %v, want %v", c.at, c.v, err, c.want)
		}
	}
}

type local struct{}

func (local) Owns(ip netip.Addr) bool { return ip == ourIP }
func (local) OnLink(ip netip.Addr) bool {
	return netip.MustParsePrefix("192.0.2.0/24").Contains(ip) && ip != netip.MustParseAddr("192.0.2.255")
}

func newHandler() *Handler[int] {
	return &Handler[int]{HW: us, Local: local{}, Neigh: neigh.New[int](neigh.Config{})}
}

const now = clock.Time(time.Hour)

func TestHandlerAnswers(t *testing.T) {
	h := newHandler()
	p := Request(peer, peerIP, ourIP)
	out, acts := h.Input(now, &p, nil)
	if want := p.Reply(us); out != (Outcome{Reply: want, HasReply: true}) || len(acts) != 0 {
		t.Fatalf("%+v, %v", out, acts)
	}
	if n := h.Neigh.Get(now, peerIP); n.State != neigh.Stale || n.HW != peer {
		t.Errorf("the asker is %+v", n)
	}
	// A probe is answered, and teaches nothing.
	h = newHandler()
	p = Probe(peer, ourIP)
	if out, _ := h.Input(now, &p, nil); !out.HasReply || out.Reply.TargetHW != peer || out.Reply.SenderIP != ourIP {
		t.Errorf("probe: %+v", out)
	}
	if h.Neigh.Len() != 0 {
		t.Error("a probe made an entry")
	}
}

func TestHandlerResolves(t *testing.T) {
	h := newHandler()
	acts := h.Neigh.Enqueue(now, peerIP, 7, nil)
	if len(acts) != 1 || acts[0].Op != neigh.Solicit {
		t.Fatalf("%v", acts)
	}
	p := Packet{OpReply, peer, peerIP, us, ourIP}
	out, acts := h.Input(now, &p, acts[:0])
	if out != (Outcome{}) || len(acts) != 1 || acts[0].Op != neigh.Deliver || acts[0].HW != peer || acts[0].Packet != 7 {
		t.Fatalf("%+v, %v", out, acts)
	}
	if n := h.Neigh.Get(now, peerIP); n.State != neigh.Reachable {
		t.Errorf("%+v", n)
	}
}

// TestReplyToAnotherStationIsNoAnswer: the reply names our IP address but another
// station's hardware address. It completes the question, but proves nothing.
func TestReplyToAnotherStationIsNoAnswer(t *testing.T) {
	h := newHandler()
	acts := h.Neigh.Enqueue(now, peerIP, 7, nil)
	p := Packet{OpReply, peer, peerIP, evil, ourIP}
	_, acts = h.Input(now, &p, acts[:0])
	if n := h.Neigh.Get(now, peerIP); n.State != neigh.Delay || len(acts) != 1 {
		t.Errorf("%+v, %v", n, acts)
	}
}

// TestHandlerRefuses shows packets that must get no answer, make no entry, and not
// touch the one that is there.
func TestHandlerRefuses(t *testing.T) {
	ip := netip.MustParseAddr
	for _, c := range []struct {
		name string
		p    Packet
		want error
	}{
		{"reply unasked", Packet{OpReply, evil, otherIP, us, ourIP}, nil},
		{"announcement", Announcement(evil, otherIP), nil},
		{"gratuitous reply", Packet{OpReply, evil, otherIP, ethernet.Broadcast(), otherIP}, nil},
		{"request for another", Request(evil, otherIP, ip("192.0.2.9")), ErrNotForUs},
		{"reply to another", Packet{OpReply, evil, otherIP, evil, ip("192.0.2.9")}, ErrNotForUs},
		{"probe for another", Probe(evil, otherIP), ErrNotForUs},
		{"our address", Announcement(evil, ourIP), ErrConflict},
		{"our address, request", Request(evil, ourIP, ourIP), ErrConflict},
		{"our own frame", Request(us, otherIP, ourIP), ErrSender},
		{"multicast sender", Request(ethernet.Addr{1}, otherIP, ourIP), ErrSender},
		{"broadcast sender", Request(ethernet.Broadcast(), otherIP, ourIP), ErrSender},
		{"zero sender", Request(ethernet.Addr{}, otherIP, ourIP), ErrSender},
		{"off-link", Request(evil, ip("198.51.100.1"), ourIP), ErrOffLink},
		{"broadcast address", Request(evil, ip("192.0.2.255"), ourIP), ErrOffLink},
		{"multicast address", Request(evil, ip("224.0.0.1"), ourIP), ErrSender},
		{"loopback address", Request(evil, ip("127.0.0.1"), ourIP), ErrSender},
		{"reply from 0.0.0.0", Packet{OpReply, evil, ip("0.0.0.0"), us, ourIP}, ErrSender},
		{"takes over a neighbour", Packet{OpReply, evil, peerIP, us, ourIP}, nil},
		{"announces a neighbour", Announcement(evil, peerIP), nil},
	} {
		h := newHandler()
		acts := h.Neigh.Enqueue(now, peerIP, 1, nil)
		first := Packet{OpReply, peer, peerIP, us, ourIP}
		_, acts = h.Input(now, &first, acts)
		out, acts := h.Input(now, &c.p, acts[:0])
		if out.Err != c.want || out.HasReply || len(acts) != 0 {
			t.Errorf("%s: %+v, %v, want error %v", c.name, out, acts, c.want)
		}
		if hw, ok := h.Neigh.Lookup(now, peerIP); !ok || hw != peer || h.Neigh.Len() != 1 {
			t.Errorf("%s: the neighbour is at %v, %d entries", c.name, hw, h.Neigh.Len())
		}
	}
}

func TestClaimProbesAndAnnounces(t *testing.T) {
	c := NewClaim(now, us, ourIP, true, nil)
	type event struct {
		at    time.Duration
		probe bool
	}
	var got []event
	for c.Deadline() != clock.Never {
		at := c.Deadline()
		if _, send := c.Advance(at - 1); send {
			t.Fatal("sent too early")
		}
		p, send := c.Advance(at)
		if !send || p.SenderHW != us || p.TargetIP != ourIP {
			t.Fatalf("%+v, %v", p, send)
		}
		got = append(got, event{at.Sub(now), p.IsProbe()})
	}
	want := []event{{0, true}, {time.Second, true}, {2 * time.Second, true}, {4 * time.Second, false}, {6 * time.Second, false}}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	if c.State() != Owned {
		t.Errorf("state %v", c.State())
	}
	// With the greatest delays (RFC 5227, section 1.1): 1 s, then 2 s apart.
	c = NewClaim(now, us, ourIP, true, func() uint64 { return uint64(time.Second) })
	if d := c.Deadline().Sub(now); d != time.Second {
		t.Errorf("first probe after %v", d)
	}
	c.Advance(c.Deadline())
	if d := c.Deadline().Sub(now); d != 3*time.Second {
		t.Errorf("second probe after %v", d)
	}
	// Without probing, it announces at once.
	c = NewClaim(now, us, ourIP, false, nil)
	if p, send := c.Advance(now); !send || !p.IsAnnouncement() || c.State() != Announcing {
		t.Errorf("%+v, %v, %v", p, send, c.State())
	}
}

func TestClaimConflicts(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Packet
		want ClaimState
	}{
		{"in use", Packet{OpReply, peer, ourIP, us, netip.IPv4Unspecified()}, Conflicted},
		{"announced", Announcement(peer, ourIP), Conflicted},
		{"probed too", Probe(peer, ourIP), Conflicted},
		{"our own probe", Probe(us, ourIP), Probing},
		{"another address probed", Probe(peer, otherIP), Probing},
		{"asked for", Request(peer, peerIP, ourIP), Probing},
	} {
		cl := NewClaim(now, us, ourIP, true, nil)
		cl.Advance(now)
		_, send, conflict := cl.Input(now, &c.p)
		if send || conflict != (c.want == Conflicted) || cl.State() != c.want {
			t.Errorf("%s: %v, %v, %v", c.name, send, conflict, cl.State())
		}
		if c.want == Conflicted && cl.Deadline() != clock.Never {
			t.Errorf("%s: goes on", c.name)
		}
	}
	cl := NewClaim(now, us, ourIP, false, nil)
	cl.Advance(now)
	at := now
	thief := Announcement(evil, ourIP)
	for _, c := range []struct {
		after time.Duration
		send  bool
	}{{0, true}, {time.Second, false}, {8 * time.Second, false}, {time.Second, true}, {time.Second, false}} {
		at = at.Add(c.after)
		p, send, conflict := cl.Input(at, &thief)
		if !conflict || send != c.send || send && !p.IsAnnouncement() || cl.State() == Conflicted {
			t.Errorf("after %v: %+v, %v, %v, %v", at.Sub(now), p, send, conflict, cl.State())
		}
	}
}

func TestNoAllocation(t *testing.T) {
	h := newHandler()
	b, _ := hex.DecodeString(wire)
	out := make([]byte, PacketLen)
	var acts []neigh.Action[int]
	if n := testing.AllocsPerRun(100, func() {
		p, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		var o Outcome
		o, acts = h.Input(now, &p, acts[:0])
		o.Reply.Encode(out)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzInput(f *testing.F) {
	b, _ := hex.DecodeString(wire)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		out := make([]byte, PacketLen)
		p.Encode(out)
		if !bytes.Equal(out, b[:PacketLen]) {
			t.Fatalf("% x became % x", b[:PacketLen], out)
		}
		h := newHandler()
		o, acts := h.Input(now, &p, nil)
		if len(acts) != 0 {
			t.Fatalf("actions on an empty table: %v", acts)
		}
		if o.HasReply && (o.Reply.SenderHW != us || o.Reply.SenderIP != ourIP || !o.Reply.TargetHW.IsUnicast()) {
			t.Fatalf("answered %+v", o.Reply)
		}
		if h.Neigh.Len() != 0 && (p.Op != OpRequest || p.TargetIP != ourIP) {
			t.Fatalf("%+v made an entry", p)
		}
		c := NewClaim(now, us, ourIP, true, nil)
		c.Input(now, &p)
	})
}
