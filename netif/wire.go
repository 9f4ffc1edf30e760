package netif

import "fmt"

// Bounds of what NewWire and NewSwitch accept.
const (
	minMTU    = 68    // RFC 791, section 3.2: what every IPv4 link must carry
	maxMTU    = 65535 // the largest IPv4 packet
	maxQueues = 256
	maxRing   = 1 << 16
	maxPorts  = 256
)

// WireConfig describes a wire, or every port of a switch. The zero value is an
// Ethernet wire with one queue at each end and no offloads.
type WireConfig struct {
	// Name begins the ends' names, which are Name + "0", "1", …: "wire" if empty.
	Name string
	// Link is the kind of frames.
	Link Link
	// MTU is the largest IP packet in bytes, 68 to 65535; 1500 if zero.
	MTU int
	// MACs are the ends' addresses in order. Those missing or zero are locally
	// administered ones, different for each end: 02:00:00:00:00:01, …:02, and so on.
	// They must be left out on LinkIP.
	MACs []MAC
	// Queues is the number of queues of each end, 1 to 256; 1 if zero. Frames are
	// spread over the receiver's queues by a hash of addresses, protocol and ports,
	// the same for both directions of a flow.
	Queues int
	// Ring is how many frames may be under way to an end, over all its queues, 1 to
	// 65536; 1024 if zero.
	Ring int
	// Offloads is what the ends announce. Nothing is computed on the way: a frame
	// arrives with the Meta it was sent with, unsegmented. What one flag needs of
	// others is added: segmentation means TxChecksum and RxGSO, TxChecksum means
	// RxChecksum.
	Offloads Offloads
}

// withDefaults returns the configuration with nothing left open, for n ports.
func (c WireConfig) withDefaults(n int) (WireConfig, error) {
	if c.Name == "" {
		c.Name = "wire"
	}
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.Queues == 0 {
		c.Queues = 1
	}
	if c.Ring == 0 {
		c.Ring = 1024
	}
	switch {
	case c.Link > LinkIP:
		return c, fmt.Errorf("netif: unknown link kind %d: use LinkEthernet or LinkIP", c.Link)
	case c.MTU < minMTU || c.MTU > maxMTU:
		return c, fmt.Errorf("netif: MTU %d: must be %d to %d, or 0 for 1500", c.MTU, minMTU, maxMTU)
	case c.Queues < 1 || c.Queues > maxQueues:
		return c, fmt.Errorf("netif: %d queues: must be 1 to %d, or 0 for 1", c.Queues, maxQueues)
	case c.Ring < 1 || c.Ring > maxRing:
		return c, fmt.Errorf("netif: a ring of %d frames: must be 1 to %d, or 0 for 1024", c.Ring, maxRing)
	case len(c.MACs) > n:
		return c, fmt.Errorf("netif: %d MAC addresses for %d ends", len(c.MACs), n)
	case c.Link == LinkIP && len(c.MACs) > 0:
		return c, fmt.Errorf("netif: an IP link has no MAC addresses: leave MACs empty")
	}
	if c.Link == LinkEthernet {
		macs := make([]MAC, n)
		copy(macs, c.MACs)
		seen := make(map[MAC]bool, n)
		for i, m := range macs {
			if m == (MAC{}) {
				m = MAC{0x02, 0, 0, 0, byte((i + 1) >> 8), byte(i + 1)}
				macs[i] = m
			}
			if m[0]&1 != 0 {
				return c, fmt.Errorf("netif: MAC address %x of end %d is a group address: clear the lowest bit of its first byte", m, i)
			}
			if seen[m] {
				return c, fmt.Errorf("netif: two ends have the MAC address %x", m)
			}
			seen[m] = true
		}
		c.MACs = macs
	}
	const segmenting = TxTSO4 | TxTSO6 | TxUSO
	if c.Offloads&segmenting != 0 {
		c.Offloads |= TxChecksum | RxGSO
	}
	if c.Offloads&TxChecksum != 0 {
		c.Offloads |= RxChecksum
	}
	return c, nil
}

// info describes port i of a completed configuration.
func (c *WireConfig) info(i int) Info {
	info := Info{Name: fmt.Sprint(c.Name, i), Link: c.Link, MTU: c.MTU, Offloads: c.Offloads}
	if c.Link == LinkEthernet {
		info.MAC = c.MACs[i]
	}
	return info
}

// NewWire joins two devices: what is written to one is read from the other, in
// order and without loss. Write copies the frames and is short when the far end's
// ring is full. Nothing is allocated for a frame once the pools are warm.
func NewWire(cfg WireConfig) (a, b *Port, err error) {
	cfg, err = cfg.withDefaults(2)
	if err != nil {
		return nil, nil, err
	}
	a = newPort(cfg.info(0), cfg.Queues, cfg.Ring)
	b = newPort(cfg.info(1), cfg.Queues, cfg.Ring)
	a.fabric, b.fabric = wire{b}, wire{a}
	return a, b, nil
}

// wire is the fabric of a port with one other port at its far end.
type wire struct{ peer *Port }

func (w wire) write(p *Port, frames []Frame) int {
	n := 0
	for n < len(frames) {
		if w.peer.closed.Load() {
			p.dropped.Add(uint64(len(frames) - n))
			return len(frames)
		}
		want := min(len(frames)-n, chunk)
		got := w.peer.in.reserve(want)
		if got == 0 {
			break
		}
		if bad := w.peer.in.deliver(frames[n : n+got]); bad > 0 {
			p.dropped.Add(uint64(bad))
		}
		n += got
		if got < want {
			break
		}
	}
	return n
}

func (w wire) writable(p *Port) <-chan struct{} {
	return w.peer.in.writable(func() bool { return p.closed.Load() || w.peer.closed.Load() })
}

func (w wire) portClosed(*Port) { w.peer.in.wakeWriters() }
