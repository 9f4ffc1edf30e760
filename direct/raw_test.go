package direct

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// rawPeer is the far end of a stack's wire, played frame by frame.
type rawPeer struct {
	t   testing.TB
	dev netif.Device
	mac ethernet.Addr // the stack's
}

// rawSegment is a TCP segment that the stack sent.
type rawSegment struct {
	tcp.Segment
	ip ipv4.Header
}

// newRaw returns a stack at 10.0.0.1 and the peer that plays 10.0.0.2. wrap may put
// something between the stack and the wire.
func newRaw(t testing.TB, wrap func(netif.Device) netif.Device, change func(*Config)) (*Stack, *rawPeer) {
	t.Helper()
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var dev netif.Device = a
	if wrap != nil {
		dev = wrap(a)
	}
	return newStack(t, dev, "10.0.0.1/24", change), &rawPeer{t, b, a.Info().MAC}
}

// frame sends one frame.
func (p *rawPeer) frame(b []byte) {
	p.t.Helper()
	if n, err := p.dev.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{b}}}); n != 1 || err != nil {
		p.t.Fatalf("the wire took %d frames: %v", n, err)
	}
}

// take returns the frames that have arrived; ARP requests for 10.0.0.2 it answers.
func (p *rawPeer) take() (frames [][]byte) {
	p.t.Helper()
	var bufs [16]*netif.Buf
	for {
		n, err := p.dev.Queues()[0].Read(bufs[:])
		if n == 0 || err != nil {
			return frames
		}
		for _, b := range bufs[:n] {
			f := append([]byte(nil), b.Data...)
			b.Release()
			h, rest, err := ethernet.Parse(f)
			if err != nil {
				p.t.Fatal(err)
			}
			if h.Type == ethernet.TypeARP {
				if q, err := arp.Parse(rest); err == nil && q.Op == arp.OpRequest && q.TargetIP == addrB && !q.IsAnnouncement() {
					r := q.Reply(p.dev.Info().MAC)
					p.arp(&r)
				}
			}
			frames = append(frames, f)
		}
	}
}

func (p *rawPeer) arp(q *arp.Packet) {
	b := make([]byte, ethernet.HeaderLen+arp.PacketLen)
	h := ethernet.Header{Dst: p.mac, Src: p.dev.Info().MAC, Type: ethernet.TypeARP}
	h.Encode(b)
	q.Encode(b[ethernet.HeaderLen:])
	p.frame(b)
}

// ip sends an IP packet with the given payload.
func (p *rawPeer) ip(h ipv4.Header, payload []byte) {
	p.frame(ipFrame(p.mac, p.dev.Info().MAC, h, payload))
}

func ipFrame(dst, src ethernet.Addr, h ipv4.Header, payload []byte) []byte {
	if h.TTL == 0 {
		h.TTL = 64
	}
	if !h.Src.IsValid() {
		h.Src = addrB
	}
	if !h.Dst.IsValid() {
		h.Dst = addrA
	}
	h.TotalLen = h.Len() + len(payload)
	b := make([]byte, ethernet.HeaderLen+h.TotalLen)
	e := ethernet.Header{Dst: dst, Src: src, Type: ethernet.TypeIPv4}
	n := e.Encode(b)
	n += h.Encode(b[n:])
	copy(b[n:], payload)
	return b
}

// tcp sends a segment of r with data from srcPort to dstPort.
func (p *rawPeer) tcp(srcPort, dstPort uint16, r tcp.Reply, data []byte) {
	p.ip(ipv4.Header{Protocol: ipv4.ProtocolTCP}, tcpSegment(addrB, addrA, srcPort, dstPort, r, data))
}

func tcpSegment(src, dst netip.Addr, srcPort, dstPort uint16, r tcp.Reply, data []byte) []byte {
	b := append(r.Append(nil, srcPort, dstPort), data...)
	sum := checksum.Sum(b, checksum.PseudoHeader(src, dst, ipv4.ProtocolTCP, len(b))).Checksum()
	b[16], b[17] = byte(sum>>8), byte(sum)
	return b
}

// parseTCP takes a frame of the stack's apart; ok is false if it is not TCP.
// Checksums are verified.
func parseTCP(t testing.TB, frame []byte) (s rawSegment, ok bool) {
	t.Helper()
	h, rest, err := ethernet.Parse(frame)
	if err != nil || h.Type != ethernet.TypeIPv4 {
		return s, false
	}
	payload, err := s.ip.Parse(rest)
	if err != nil {
		t.Errorf("the stack sent % x: %v", frame, err)
		return s, false
	}
	if s.ip.Protocol != ipv4.ProtocolTCP {
		return s, false
	}
	sum := checksum.PseudoHeader(s.ip.Src, s.ip.Dst, ipv4.ProtocolTCP, len(payload))
	if checksum.Sum(payload, sum).Fold() != checksum.Valid {
		t.Errorf("the stack sent a segment with a bad checksum: % x", frame)
	}
	if err := tcp.Parse(payload, &s.Segment); err != nil {
		t.Errorf("the stack sent a bad segment: %v", err)
	}
	return s, true
}

// segments returns the TCP segments that have arrived.
func (p *rawPeer) segments() (list []rawSegment) {
	for _, f := range p.take() {
		if s, ok := parseTCP(p.t, f); ok {
			list = append(list, s)
		}
	}
	return list
}

// slowDevice is a device whose writes can be held up, in two ways: within the call,
// as a system call may be, or by being short.
type slowDevice struct {
	netif.Device
	queue [1]netif.Queue

	mu      sync.Mutex
	hold    chan struct{} // not nil: a Write waits within the call until it is closed
	short   chan struct{} // not nil: a Write takes nothing until it is closed
	offered [][]byte      // copies of the frames that were held up
}

func newSlow(dev netif.Device) *slowDevice {
	d := &slowDevice{Device: dev}
	d.queue[0] = slowQueue{dev.Queues()[0], d}
	return d
}

func (d *slowDevice) Queues() []netif.Queue { return d.queue[:] }

// stall holds writes up from now on; the function it returns ends that.
func (d *slowDevice) stall(within bool) (resume func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ch := make(chan struct{})
	if within {
		d.hold = ch
	} else {
		d.short = ch
	}
	return func() {
		d.mu.Lock()
		d.hold, d.short = nil, nil
		d.mu.Unlock()
		close(ch)
	}
}

// held returns the frames that were held up, as they were then.
func (d *slowDevice) held() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.offered
}

type slowQueue struct {
	netif.Queue
	d *slowDevice
}

func flat(f *netif.Frame) []byte {
	var b []byte
	for _, p := range f.Fragments {
		b = append(b, p...)
	}
	return b
}

func (q slowQueue) Write(frames []netif.Frame) (int, error) {
	d := q.d
	d.mu.Lock()
	hold, short := d.hold, d.short
	if hold != nil || short != nil {
		for i := range frames {
			d.offered = append(d.offered, flat(&frames[i]))
		}
	}
	d.mu.Unlock()
	if short != nil {
		return 0, nil
	}
	if hold != nil {
		<-hold
	}
	return q.Queue.Write(frames)
}

func (q slowQueue) Writable() <-chan struct{} {
	q.d.mu.Lock()
	defer q.d.mu.Unlock()
	if q.d.short != nil {
		return q.d.short
	}
	return q.Queue.Writable()
}
