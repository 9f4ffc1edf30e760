package arp

import (
	"net/netip"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
)

// Constants of RFC 5227, section 1.1.
const (
	probeWait        = 1 * time.Second
	probeNum         = 3
	probeMin         = 1 * time.Second
	probeMax         = 2 * time.Second
	announceWait     = 2 * time.Second
	announceNum      = 2
	announceInterval = 2 * time.Second
	defendInterval   = 10 * time.Second
)

// ClaimState is how far a claim has come.
type ClaimState uint8

const (
	// Probing: the address must not be used yet.
	Probing ClaimState = iota
	// Announcing: the address is ours and being announced.
	Announcing
	// Owned: the address is ours.
	Owned
	// Conflicted: another station has the address, or wants it at the same time; it
	// must not be used, and the claim is over.
	Conflicted
)

// Claim takes an address for our own: probes whether it is in use, announces it,
// and defends it (RFC 5227). It is not safe for concurrent use.
//
// The address once ours is never given up: a host that was told its address by
// configuration keeps it (RFC 5227, section 2.4 (c)), and says so at most every 10 s.
type Claim struct {
	hw       ethernet.Addr
	ip       netip.Addr
	rand     func() uint64
	state    ClaimState
	sent     int // packets sent in this state
	deadline clock.Time
	defended clock.Time // when the last conflict was answered; 0 is never
}

// NewClaim returns the claim of the station hw to the IPv4 address ip. With probe
// it probes first, which takes 4 to 9 s; without, it announces at once. rand returns
// uniform random bits and spreads the probes of hosts that start together; nil
// spreads nothing.
func NewClaim(now clock.Time, hw ethernet.Addr, ip netip.Addr, probe bool, rand func() uint64) *Claim {
	c := &Claim{hw: hw, ip: ip, rand: rand, state: Announcing, deadline: now}
	if probe {
		c.state = Probing
		c.deadline = now.Add(c.between(0, probeWait))
	}
	return c
}

func (c *Claim) between(low, high time.Duration) time.Duration {
	if c.rand == nil {
		return low
	}
	return low + time.Duration(c.rand()%uint64(high-low+1))
}

// State returns how far the claim has come.
func (c *Claim) State() ClaimState { return c.state }

// IP returns the address claimed.
func (c *Claim) IP() netip.Addr { return c.ip }

// Deadline returns when Advance is to be called next, or clock.Never.
func (c *Claim) Deadline() clock.Time { return c.deadline }

// Advance does what is due at now: send says that p is to be broadcast.
func (c *Claim) Advance(now clock.Time) (p Packet, send bool) {
	if now.Before(c.deadline) {
		return Packet{}, false
	}
	if c.state == Probing {
		if c.sent < probeNum {
			c.sent++
			wait := announceWait
			if c.sent < probeNum {
				wait = c.between(probeMin, probeMax)
			}
			c.deadline = now.Add(wait)
			return Probe(c.hw, c.ip), true
		}
		c.state, c.sent = Announcing, 0
	}
	c.sent++
	c.deadline = now.Add(announceInterval)
	if c.sent == announceNum {
		c.state, c.deadline = Owned, clock.Never
	}
	return Announcement(c.hw, c.ip), true
}

// Input shows the claim a packet that arrived. While probing, another station that
// has the address, or probes for it too, ends the claim. Later, conflict says that
// another station uses our address, and send that p is to be broadcast in defence.
func (c *Claim) Input(now clock.Time, in *Packet) (p Packet, send, conflict bool) {
	if in.SenderHW == c.hw || c.state == Conflicted {
		return Packet{}, false, false
	}
	if c.state == Probing {
		if in.SenderIP == c.ip || in.IsProbe() && in.TargetIP == c.ip {
			c.state, c.deadline = Conflicted, clock.Never
			return Packet{}, false, true
		}
		return Packet{}, false, false
	}
	if in.SenderIP != c.ip {
		return Packet{}, false, false
	}
	if c.defended != 0 && now.Sub(c.defended) < defendInterval {
		return Packet{}, false, true
	}
	c.defended = now
	return Announcement(c.hw, c.ip), true, true
}
