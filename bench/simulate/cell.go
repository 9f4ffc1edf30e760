package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/netduet/netduet/internal/tcpsim"
	"github.com/netduet/netduet/tcp"
)

const (
	mtu         = 1500
	wireSegment = mtu + 14      // bytes on the link
	payloadSize = mtu - 40 - 12 // with timestamps

	// maxSegments bounds a cell.
	maxSegments = 2_000_000
	// minBuffer is the least that a bottleneck holds, in bytes.
	minBuffer = 10 * wireSegment
)

// impairment is what a path does beside being slow. Times are in round trips of the
// cell.
type impairment struct {
	Name string
	// Loss of data, in bursts of Burst; AckLoss of what comes back.
	Loss, Burst, AckLoss float64
	// Tail loses the last segments of a short transfer.
	Tail int
	// Jitter, the lateness of reordered segments, and what collects ACKs.
	Jitter, ReorderBy, AckBatch float64
	Reorder, Duplicate          float64
	Thin                        bool
	// Mark is how full the buffer is when segments are marked, the ends having agreed on
	// explicit congestion notification.
	Mark float64
	// MTU is what the path carries after a third of the time, or from the beginning if
	// Early. Silent does not tell the sender, and happens after a tenth, as it takes
	// seconds to notice; Probing is how the sender searches.
	MTU           int
	Early, Silent bool
	Probing       tcp.MTUProbing
	// Switch makes the round trip twice as long after a third and half as long as at
	// first after two.
	Switch bool
	// Police is the share of the rate that a policer in front of the link lets pass, with
	// bursts of a quarter of a round trip.
	Police float64
	// Grain is the resolution of the ends' clocks.
	Grain time.Duration
}

// impairments is all of them; clean is the first.
func impairments() []impairment {
	list := []impairment{{Name: "clean"}}
	for _, percent := range []float64{0.01, 0.1, 1, 3, 10} {
		list = append(list, impairment{Name: fmt.Sprintf("loss-%v%%", percent), Loss: percent / 100})
	}
	return append(list,
		impairment{Name: "burst-0.1%", Loss: 0.001, Burst: 8},
		impairment{Name: "burst-1%", Loss: 0.01, Burst: 8},
		impairment{Name: "reorder-rtt/4", Reorder: 0.02, ReorderBy: 0.25},
		impairment{Name: "reorder-rtt", Reorder: 0.02, ReorderBy: 1},
		impairment{Name: "duplicate-2%", Duplicate: 0.02},
		impairment{Name: "ack-loss-10%", AckLoss: 0.1},
		impairment{Name: "ack-compressed", AckBatch: 0.25},
		impairment{Name: "ack-stretched", AckBatch: 0.25, Thin: true},
		impairment{Name: "jitter", Jitter: 0.25},
		impairment{Name: "mtu-drop", MTU: 1280},
		impairment{Name: "path-switch", Switch: true},
		impairment{Name: "ecn-mark", Mark: 0.5},
		impairment{Name: "clock-1ms", Grain: time.Millisecond},
		impairment{Name: "policed-1/2", Police: 0.5},
	)
}

// holes are paths that drop what is larger than they carry: packets of 1280 bytes, or
// of less than those with which a search begins (RFC 4821, section 7.2). mtu-hole
// begins in flight, mtu-small is there from the beginning; -always is said of senders
// that probe without waiting for a suspicion, and without it they wait.
func holes() []impairment {
	return []impairment{
		{Name: "mtu-hole-1280", MTU: 1280, Silent: true, Probing: tcp.MTUProbeBlackHole},
		{Name: "mtu-hole-600", MTU: 600, Silent: true, Probing: tcp.MTUProbeBlackHole},
		{Name: "mtu-hole-1280-always", MTU: 1280, Silent: true, Probing: tcp.MTUProbeAlways},
		{Name: "mtu-hole-600-always", MTU: 600, Silent: true, Probing: tcp.MTUProbeAlways},
		{Name: "mtu-small-1280", MTU: 1280, Early: true, Silent: true, Probing: tcp.MTUProbeBlackHole},
		{Name: "mtu-small-1280-always", MTU: 1280, Early: true, Silent: true, Probing: tcp.MTUProbeAlways},
		{Name: "mtu-drop-always", MTU: 1280, Probing: tcp.MTUProbeAlways},
		{Name: "mtu-none-always", Probing: tcp.MTUProbeAlways},
	}
}

// tails are the impairments that short transfers have besides.
func tails() []impairment {
	return []impairment{{Name: "tail-1", Tail: 1}, {Name: "tail-3", Tail: 3}}
}

// cell is one point of the grid.
type cell struct {
	Impairment  impairment
	RTT         time.Duration
	Rate        int64    // bits per second
	Buffer      float64  // bandwidth-delay products
	Flows       int      // bulk transfers at once
	Controllers []string // flow i has number i modulo their number
	// Short is the size of short transfers, 0 in a cell of bulk transfers; Count is how
	// many there are.
	Short int64
	Count int
	// Windowed bounds what senders have in flight to half as much again as the
	// bandwidth-delay product, so that a large buffer never overflows and no segment is
	// lost.
	Windowed bool
}

func (c *cell) String() string {
	what := fmt.Sprintf("%dx%s", c.Flows, strings.Join(c.Controllers, "+"))
	if c.Short > 0 {
		what = fmt.Sprintf("%dkB/%s", c.Short/1000, c.Controllers[0])
	}
	s := fmt.Sprintf("%s/%s/%s/%gbdp/%s", c.Impairment.Name, rttName(c.RTT), rateName(c.Rate), c.Buffer, what)
	if c.Windowed {
		s += "/windowed"
	}
	return s
}

func rttName(d time.Duration) string { return fmt.Sprintf("%gms", d.Seconds()*1000) }

func rateName(r int64) string {
	if r >= 1e9 {
		return fmt.Sprintf("%gG", float64(r)/1e9)
	}
	return fmt.Sprintf("%gM", float64(r)/1e6)
}

// bdp is the bandwidth-delay product in bytes.
func (c *cell) bdp() float64 { return float64(c.Rate) / 8 * c.RTT.Seconds() }

func (c *cell) bufferBytes() int { return max(int(c.Buffer*c.bdp()), minBuffer) }

// holds is how many segments are on the way and in the buffer when both are full.
func (c *cell) holds() int { return (int(c.bdp()) + c.bufferBytes()) / wireSegment }

// perSecond is how many full packets the link carries.
func (c *cell) perSecond() float64 { return float64(c.Rate) / 8 / wireSegment }

// windowLimited reports whether the largest window of a connection, and not the link,
// bounds what the flows can do. Where one segment in a hundred is lost at random there is a
// hole nearly always, and behind it waits what comes in the round trip until it is filled,
// or in two of them if the repetition is lost, too.
func (c *cell) windowLimited() bool {
	need := c.bdp() * 1.05
	if c.Impairment.Loss >= 0.01 {
		need *= 3
	}
	return need > float64(tcp.MaxBuffer)*float64(max(c.Flows, 1))
}

// times returns how long a bulk cell lasts, and from when on it is measured.
func (c *cell) times() (warm, end time.Duration) {
	end = 30 * time.Second
	if c.Flows > 1 {
		end = 100 * time.Second // what is fair shows in the long run only
	}
	end = min(end, time.Duration(maxSegments/c.perSecond()*float64(time.Second)))
	warm = 20 * time.Second
	if end < warm+2*time.Second {
		warm = end / 2
	}
	return warm, end
}

// cost estimates the packets of a cell.
func (c *cell) cost() float64 {
	if c.Short > 0 {
		return float64(c.Count) * (float64(c.Short)/payloadSize + 5) * 1.2
	}
	_, end := c.times()
	n := c.perSecond() * end.Seconds()
	if l := c.Impairment.Loss; l > 0 {
		// No more than the square-root law gives (Mathis and others, 1997), tripled.
		n = min(n, 4*end.Seconds()/c.RTT.Seconds()/l*float64(c.Flows)+n/4)
	}
	return n
}

// links makes the two links of the cell.
func (c *cell) links(l *tcpsim.Loop) (data, acks *tcpsim.Link) {
	im := &c.Impairment
	of := func(f float64) time.Duration { return time.Duration(f * float64(c.RTT)) }
	l.Grain = im.Grain
	police := int64(im.Police * float64(c.Rate))
	data = tcpsim.NewLink(l, tcpsim.LinkConfig{
		Police: police, PoliceBurst: max(int(float64(police)/8*c.RTT.Seconds()/4), minBuffer),
		Rate: c.Rate, Buffer: c.bufferBytes(), Mark: im.Mark, Delay: c.RTT / 2, Loss: im.Loss, Burst: im.Burst,
		Jitter: of(im.Jitter), Duplicate: im.Duplicate, Reorder: im.Reorder, ReorderBy: of(im.ReorderBy),
	})
	if im.Early {
		k := data.Config()
		k.MTU, k.Silent = im.MTU, im.Silent
		data.Change(k)
	}
	acks = tcpsim.NewLink(l, tcpsim.LinkConfig{Delay: c.RTT - c.RTT/2, Loss: im.AckLoss, Batch: of(im.AckBatch), Thin: im.Thin})
	return data, acks
}

// changes schedules what happens to the path in the course of a bulk cell.
func (c *cell) changes(l *tcpsim.Loop, data, acks *tcpsim.Link, end time.Duration) {
	if im := &c.Impairment; im.MTU > 0 && !im.Early {
		at := end / 3
		if im.Silent {
			at = end / 10
		}
		l.After(at, func() {
			k := data.Config()
			k.MTU, k.Silent = im.MTU, im.Silent
			data.Change(k)
		})
	}
	if c.Impairment.Switch {
		for at, factor := range map[time.Duration]float64{end / 3: 1, 2 * end / 3: 0.25} {
			l.After(at, func() {
				for _, k := range []*tcpsim.Link{data, acks} {
					cfg := k.Config()
					cfg.Delay = time.Duration(factor * float64(c.RTT))
					k.Change(cfg)
				}
			})
		}
	}
}

// ends returns the configuration of both ends of flow i.
func (c *cell) ends(i int) (sender, receiver tcp.Config) {
	end := tcp.Config{
		MSS: mtu - 40, NoDelay: true, ReceiveBuffer: tcp.MaxBuffer, SendBuffer: tcp.MaxBuffer,
		Controller: tcp.ControllerByName(c.Controllers[i%len(c.Controllers)]),
	}
	if c.Impairment.Mark > 0 {
		end.ECN = tcp.ECNActive
	}
	end.MTUProbing = c.Impairment.Probing
	sender, receiver = end, end
	if c.Short == 0 {
		// What lies in the send buffer at the end of a cell is still sent.
		room := 4 * (int(c.bdp()) + c.bufferBytes()) / c.Flows
		if c.Windowed {
			room = int(1.5 * c.bdp() / float64(c.Flows))
		}
		sender.SendBuffer = max(room, 128<<10)
		if c.Windowed {
			sender.SendBuffer = max(room, 8*payloadSize)
		}
	}
	return sender, receiver
}
