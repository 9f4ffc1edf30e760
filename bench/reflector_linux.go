package main

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/netduet/netduet/internal/checksum"
	"github.com/netduet/netduet/netif"
)

// reflector is no stack: it turns frames round in the read loop. It keeps nothing
// about a connection but what bulk sending needs, has no timers, resends nothing but
// on three equal acknowledgements, and speaks only to this program's client. What
// it reaches is what the device allows.
type reflector struct {
	dev   netif.Device
	q     netif.Queue
	mac   netif.MAC
	ip    [4]byte
	count *atomic.Uint64

	frames  []netif.Frame // those of the batch
	parts   [][][]byte    // behind their fragments
	headers []byte        // of frames that have no received one to live in
	flows   map[flow]*sender
}

// flow is a client's address and port.
type flow [6]byte

const (
	reflectorBatch = 256
	etherLen       = 14
	ipLen          = 20
	tcpLen         = 20
	tcpAt          = etherLen + ipLen
	headerLen      = tcpAt + tcpLen
	udpHeaderLen   = tcpAt + 8
	mss            = 1460 // no timestamps: their option was not taken up
	windowShift    = 10
	initialSeq     = 1000
	maxSegment     = 44 * mss

	flagFIN, flagSYN, flagRST, flagPSH, flagACK = 1, 2, 4, 8, 16
)

var httpReply = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\r\n" + httpBody)

func newReflector(dev netif.Device, ip netip.Addr, count *atomic.Uint64) *reflector {
	r := &reflector{
		dev: dev, q: dev.Queues()[0], mac: dev.Info().MAC, ip: ip.As4(), count: count,
		headers: make([]byte, reflectorBatch*headerLen), flows: make(map[flow]*sender),
	}
	for range reflectorBatch {
		r.parts = append(r.parts, make([][]byte, 2))
	}
	return r
}

// run serves until the device is closed.
func (r *reflector) run() {
	bufs := make([]*netif.Buf, 64)
	for {
		n, err := r.q.Read(bufs)
		if err != nil {
			return
		}
		if n == 0 {
			if r.q.Wait(context.Background()) != nil {
				return
			}
			continue
		}
		for _, b := range bufs[:n] {
			r.frame(b)
		}
		r.flush()
		for _, b := range bufs[:n] {
			b.Release()
		}
	}
}

// flush writes the batch, waiting for room if need be.
func (r *reflector) flush() {
	for list := r.frames; len(list) > 0; {
		n, err := r.q.Write(list)
		if err != nil {
			break
		}
		if list = list[n:]; len(list) > 0 {
			<-r.q.Writable()
		}
	}
	r.frames = r.frames[:0]
}

// emit adds a frame of a header and a payload to the batch.
func (r *reflector) emit(header, payload []byte, m netif.Meta) {
	if len(r.frames) == reflectorBatch {
		r.flush()
	}
	p := append(r.parts[len(r.frames)][:0], header)
	if len(payload) > 0 {
		p = append(p, payload)
	}
	r.frames = append(r.frames, netif.Frame{Fragments: p, Meta: m})
}

// frame answers one received frame, in place where it can.
func (r *reflector) frame(b *netif.Buf) {
	d := b.Data
	if len(d) < etherLen {
		return
	}
	switch binary.BigEndian.Uint16(d[12:]) {
	case 0x0806:
		r.arp(d)
	case 0x0800:
		if len(d) < tcpAt+8 || d[etherLen] != 0x45 || [4]byte(d[30:34]) != r.ip {
			return
		}
		total := int(binary.BigEndian.Uint16(d[16:]))
		if total < ipLen+8 || etherLen+total > len(d) {
			return
		}
		d = d[:etherLen+total]
		switch d[23] {
		case 6:
			r.tcp(d)
		case 17:
			r.udp(d)
		}
	}
}

// arp answers a request for our address (RFC 826).
func (r *reflector) arp(d []byte) {
	if len(d) < etherLen+28 || binary.BigEndian.Uint16(d[20:]) != 1 || [4]byte(d[38:42]) != r.ip {
		return
	}
	d = d[:etherLen+28]
	copy(d[0:], d[6:12])
	copy(d[6:], r.mac[:])
	d[21] = 2
	copy(d[32:42], d[22:32])
	copy(d[22:], r.mac[:])
	copy(d[28:], r.ip[:])
	r.emit(d, nil, netif.Meta{})
}

// turn swaps the two ends and writes the IP header for a packet of total bytes.
func turn(d []byte, total int) {
	var mac [6]byte
	copy(mac[:], d)
	copy(d, d[6:12])
	copy(d[6:], mac[:])
	src, dst := [4]byte(d[26:30]), [4]byte(d[30:34])
	copy(d[26:], dst[:])
	copy(d[30:], src[:])
	sp, dp := [2]byte(d[34:36]), [2]byte(d[36:38])
	copy(d[34:], dp[:])
	copy(d[36:], sp[:])
	binary.BigEndian.PutUint16(d[16:], uint16(total))
	binary.BigEndian.PutUint16(d[24:], 0)
	binary.BigEndian.PutUint16(d[24:], checksum.Sum(d[etherLen:tcpAt], 0).Checksum())
}

func (r *reflector) udp(d []byte) {
	payload := d[udpHeaderLen:]
	switch binary.BigEndian.Uint16(d[36:]) {
	case sinkPort:
		r.count.Add(1)
	case echoPort:
		turn(d, len(d)-etherLen)
		binary.BigEndian.PutUint16(d[40:], 0) // no checksum (RFC 768)
		r.emit(d, nil, netif.Meta{})
	case sourcePort:
		if len(payload) < 8 {
			return
		}
		d = append([]byte(nil), d...)
		turn(d, len(d)-etherLen)
		binary.BigEndian.PutUint16(d[40:], 0)
		go r.floodUDP(d, time.Now().Add(time.Duration(binary.BigEndian.Uint64(payload))))
	}
}

// floodUDP sends the frame again and again.
func (r *reflector) floodUDP(d []byte, end time.Time) {
	frames := make([]netif.Frame, 64)
	for i := range frames {
		frames[i].Fragments = [][]byte{d}
	}
	for time.Now().Before(end) {
		n, err := r.q.Write(frames)
		if err != nil {
			return
		}
		r.count.Add(uint64(n))
		if n < len(frames) {
			<-r.q.Writable()
		}
	}
}

func (r *reflector) tcp(d []byte) {
	if len(d) < headerLen {
		return
	}
	flags := d[47]
	offset := int(d[46]>>4) * 4
	if offset < tcpLen || tcpAt+offset > len(d) {
		return
	}
	port := binary.BigEndian.Uint16(d[36:])
	seq, ack := binary.BigEndian.Uint32(d[38:]), binary.BigEndian.Uint32(d[42:])
	payload := d[tcpAt+offset:]
	switch {
	case flags&flagRST != 0:
		delete(r.flows, flowOf(d))
		return
	case flags&flagSYN != 0:
		if port == sourcePort {
			r.flows[flowOf(d)] = newSender(d, offset)
		}
		r.segment(d, initialSeq, seq+1, flagSYN|flagACK, nil)
		return
	case flags&flagFIN != 0:
		delete(r.flows, flowOf(d))
		r.segment(d, ack, seq+uint32(len(payload))+1, flagFIN|flagACK, nil)
		return
	case port == sourcePort:
		if s := r.flows[flowOf(d)]; s != nil {
			s.acked(ack, binary.BigEndian.Uint16(d[48:]))
			s.send(r, d, seq)
		}
		return
	case len(payload) == 0:
		return
	}
	next := seq + uint32(len(payload))
	switch port {
	case sinkPort:
		r.count.Add(uint64(len(payload)))
		r.segment(d, ack, next, flagACK, nil)
	case httpPort:
		r.segment(d, ack, next, flagACK|flagPSH, httpReply)
	default:
		r.segment(d, ack, next, flagACK|flagPSH, payload)
	}
}

func flowOf(d []byte) (f flow) {
	copy(f[:], d[26:30])
	copy(f[4:], d[34:36])
	return f
}

// segment answers the segment d by one over the same memory.
func (r *reflector) segment(d []byte, seq, ack uint32, flags byte, payload []byte) {
	header := d[:headerLen]
	if flags&flagSYN != 0 {
		const options = 8
		if len(d) < headerLen+options {
			return
		}
		header = d[:headerLen+options]
		copy(header[headerLen:], []byte{2, 4, mss >> 8, mss & 255, 1, 3, 3, windowShift}) // RFC 9293, 7323
	}
	r.emitTCP(header, seq, ack, flags, payload)
}

// emitTCP completes the header, which is still the peer's, and sends it.
func (r *reflector) emitTCP(header []byte, seq, ack uint32, flags byte, payload []byte) {
	length := len(header) - tcpAt + len(payload)
	turn(header, ipLen+length)
	binary.BigEndian.PutUint32(header[38:], seq)
	binary.BigEndian.PutUint32(header[42:], ack)
	header[46] = byte((len(header) - tcpAt) / 4 << 4)
	header[47] = flags
	binary.BigEndian.PutUint16(header[48:], 0xffff)
	binary.BigEndian.PutUint32(header[50:], 0)
	pseudo := checksum.Sum(header[26:34], checksum.Partial(6+length))
	binary.BigEndian.PutUint16(header[50:], checksum.Fold(pseudo))
	m := netif.Meta{Flags: netif.NeedsChecksum, ChecksumStart: tcpAt, ChecksumOffset: 16}
	if len(payload) > mss {
		m.GSO, m.HeaderLen, m.SegmentSize = netif.GSOTCP4, headerLen, mss
	}
	r.emit(header, payload, m)
}

// sender is the one thing that the reflector knows about a connection: how much of
// an endless stream of zeros it may send.
type sender struct {
	una, next, window uint32
	shift             byte
	same              int // acknowledgements like the last
}

var zeros [maxSegment]byte

// newSender reads the window scale of the SYN d.
func newSender(d []byte, offset int) *sender {
	s := &sender{una: initialSeq + 1, next: initialSeq + 1}
	for o := d[headerLen : tcpAt+offset]; len(o) > 1 && o[0] != 0; {
		if o[0] == 1 {
			o = o[1:]
			continue
		}
		if o[0] == 3 && len(o) > 2 {
			s.shift = min(o[2], 14)
		}
		if o[1] < 2 || int(o[1]) > len(o) {
			break
		}
		o = o[o[1]:]
	}
	return s
}

func (s *sender) acked(ack uint32, window uint16) {
	s.window = uint32(window) << s.shift
	switch {
	case int32(ack-s.una) > 0:
		s.una, s.same = ack, 0
	case ack == s.una && s.next != s.una:
		if s.same++; s.same == 3 {
			s.next = s.una
		}
	}
}

// send fills the window, taking the header from the acknowledgement d.
func (s *sender) send(r *reflector, d []byte, ack uint32) {
	for {
		room := int(int32(s.una + s.window - s.next))
		n := min(room, maxSegment)
		if n < mss || n < maxSegment && s.next != s.una {
			return // whole large segments only, but when the window is small
		}
		n -= n % mss
		if len(r.frames) == reflectorBatch {
			r.flush()
		}
		at := len(r.frames) * headerLen
		header := r.headers[at : at+headerLen : at+headerLen]
		copy(header, d)
		r.emitTCP(header, s.next, ack, flagACK|flagPSH, zeros[:n])
		s.next += uint32(n)
	}
}
