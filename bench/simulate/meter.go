package main

import (
	"sync"

	"github.com/netduet/netduet/internal/tcpsim"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// meter watches the wire between two engines at both sides of the impairment, in the
// direction of the data, and so judges all engines alike: what was sent, what was sent
// again, and what arrived for nothing.
type meter struct {
	mu    sync.Mutex
	flows map[uint16]*meterFlow // by the client's port

	sent, again uint64
}

type meterFlow struct {
	begun    bool
	high     tcp.Seq
	arrivals tcpsim.Arrivals
}

// segment finds the TCP segment in a frame of the server's; nil if there is none.
func (m *meter) segment(frame []byte, seg *tcp.Segment) *meterFlow {
	const ether = 14
	if len(frame) < ether+20 || frame[12] != 0x08 || frame[13] != 0 || frame[ether+9] != 6 {
		return nil
	}
	ip := frame[ether:]
	header, total := int(ip[0]&15)*4, int(ip[2])<<8|int(ip[3])
	if header < 20 || total < header || total > len(ip) {
		return nil
	}
	if tcp.Parse(ip[header:total], seg) != nil || seg.SrcPort != realPort {
		return nil
	}
	if m.flows == nil {
		m.flows = make(map[uint16]*meterFlow)
	}
	f := m.flows[seg.DstPort]
	if f == nil {
		f = new(meterFlow)
		m.flows[seg.DstPort] = f
	}
	return f
}

// enter sees a frame before the impairment.
func (m *meter) enter(frame []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var seg tcp.Segment
	f := m.segment(frame, &seg)
	if f == nil {
		return
	}
	if seg.Flags.Has(tcp.SYN) && !f.begun {
		f.begun, f.high = true, seg.Seq.Add(1)
	}
	if len(seg.Payload) == 0 || !f.begun {
		return
	}
	m.sent++
	end := seg.Seq.Add(len(seg.Payload))
	if end.LessEq(f.high) {
		m.again++
	} else {
		f.high = end
	}
}

// leave sees a frame behind it.
func (m *meter) leave(frame []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var seg tcp.Segment
	if f := m.segment(frame, &seg); f != nil {
		f.arrivals.Note(&seg, false)
	}
}

// figures returns the counts.
func (m *meter) figures() (sent, again, spurious uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.flows {
		spurious += f.arrivals.Unneeded
	}
	return m.sent, m.again, spurious
}

// metered is a device that shows its meter what is written to it.
type metered struct {
	netif.Device
	meter *meter
}

func (d metered) Queues() []netif.Queue {
	return []netif.Queue{meteredQueue{d.Device.Queues()[0], d.meter}}
}

type meteredQueue struct {
	netif.Queue
	meter *meter
}

func (q meteredQueue) Write(frames []netif.Frame) (int, error) {
	n, err := q.Queue.Write(frames)
	for i := range frames[:n] {
		if f := frames[i].Fragments; len(f) == 1 {
			q.meter.leave(f[0])
		}
	}
	return n, err
}
