package player

import (
	"time"

	"github.com/netduet/netduet/conformance/script"
)

// injected translates an inbound packet to the numbers of the wire.
func (r *run) injected(c *conn, p *script.Packet) *script.Packet {
	q := *p
	if q.ICMP != nil {
		m := *q.ICMP
		if m.Echo != nil && !m.Echo.UDP {
			e := *m.Echo
			e.Seq, e.End = c.toWire(e.Seq), c.toWire(e.End)
			m.Echo = &e
		}
		q.ICMP = &m
	}
	if q.TCP == nil {
		return &q
	}
	k := *q.TCP
	k.Opts = append([]script.TCPOption(nil), k.Opts...)
	if k.Flags&script.ACK != 0 {
		k.Ack = c.toWire(k.Ack)
	}
	for i := range k.Opts {
		switch o := &k.Opts[i]; o.Kind {
		case script.OptSACK:
			b := append([]script.Block(nil), o.Blocks...)
			for j := range b {
				b[j] = script.Block{Left: c.toWire(b[j].Left), Right: c.toWire(b[j].Right)}
			}
			o.Blocks = b
		case script.OptTS:
			if o.AnyEcr {
				o.Ecr = c.lastStamp
			} else if w, ok := c.stamps[o.Ecr]; ok {
				o.Ecr = w
			} else if c.haveStamp {
				o.Ecr += c.wireTS0 - c.scriptTS0
			}
		}
	}
	q.TCP = &k
	return &q
}

// seen translates a packet of the stack to the script's numbers. expect, if there is
// one, settles what the first SYN and the first timestamps are called.
func (r *run) seen(c *conn, p, expect *script.Packet) *script.Packet {
	q := *p
	if q.ICMP != nil {
		// The embedded packet was the remote host's, whose numbers are the script's.
		return &q
	}
	if q.TCP == nil {
		return &q
	}
	k := *q.TCP
	k.Opts = append([]script.TCPOption(nil), k.Opts...)
	if !c.haveOffset && k.Flags&script.SYN != 0 {
		c.haveOffset = true
		c.offset = -k.Seq
		if expect != nil && expect.TCP != nil && expect.TCP.Flags&script.SYN != 0 {
			c.offset = expect.TCP.Seq - k.Seq
		}
	}
	if k.Seq != 0 || k.Flags&(script.RST|script.ACK) != script.RST|script.ACK {
		// The reset of a segment that acknowledged nothing has 0, which is no number of
		// the connection's.
		k.Seq, k.End = c.toScript(k.Seq), c.toScript(k.End)
	}
	for i := range k.Opts {
		o := &k.Opts[i]
		if o.Kind != script.OptTS {
			continue
		}
		c.lastStamp = o.Val
		var want *script.TCPOption
		if expect != nil && expect.TCP != nil {
			for j := range expect.TCP.Opts {
				if expect.TCP.Opts[j].Kind == script.OptTS && !expect.TCP.Opts[j].AnyVal {
					want = &expect.TCP.Opts[j]
				}
			}
		}
		if !c.haveStamp && want != nil {
			c.haveStamp, c.scriptTS0, c.wireTS0 = true, want.Val, o.Val
			c.stamps = make(map[uint32]uint32)
		}
		live := o.Val
		if c.haveStamp {
			o.Val += c.scriptTS0 - c.wireTS0
		}
		if want != nil && c.stampFits(want.Val, o.Val, r.plan.TSTick, r.tolerance(0)) {
			if len(c.stamps) < 1<<16 {
				c.stamps[want.Val] = live
			}
			o.Val = want.Val
		}
	}
	q.TCP = &k
	return &q
}

// stampFits compares timestamps. Their clock runs in real time, so they are compared
// within the tolerance, and only if the script says how long a tick is.
func (c *conn) stampFits(want, got uint32, tick, tolerance time.Duration) bool {
	if tick == 0 {
		return true
	}
	d := time.Duration(int32(got-want)) * tick
	return d.Abs() <= tolerance+tick
}
