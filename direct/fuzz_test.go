package direct

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/icmp"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/tcp"
	"github.com/netduet/netduet/udp"
)

// handClock is a clock that the test moves; timers run from Poll alone.
type handClock struct{ now atomic.Int64 }

func (c *handClock) Now() clock.Time             { return clock.Time(c.now.Load()) }
func (c *handClock) NewTimer(func()) clock.Timer { return noTimer{} }
func (c *handClock) add(d time.Duration)         { c.now.Add(int64(d)) }

type noTimer struct{}

func (noTimer) Reset(clock.Time) {}
func (noTimer) Stop()            {}

const fuzzLimit = 4 << 20

// fuzzHost is a stack that is polled, with a listener and two UDP sockets, and its
// raw peer.
type fuzzHost struct {
	*Stack
	clk  *handClock
	peer *rawPeer
	l    *TCPListener
	conn *TCPConn // dialled to the peer's port 9, from port 40000
	acc  *TCPConn // accepted at port 7 from the peer's port 1000
	snd  [2]tcp.Seq
	rcv  [2]tcp.Seq
}

func newFuzzHost(t testing.TB) *fuzzHost {
	h := &fuzzHost{clk: &handClock{}}
	h.clk.add(time.Second)
	h.Stack, h.peer = newRaw(t, nil, func(cfg *Config) {
		cfg.Manual, cfg.Clock, cfg.CloseTimeout, cfg.MemoryLimit = true, h.clk, -1, fuzzLimit
		cfg.Rand = rand.NewChaCha8([32]byte{})
	})
	var err error
	if h.l, err = h.ListenTCP("tcp", netip.MustParseAddrPort("0.0.0.0:7")); err != nil {
		t.Fatal(err)
	}
	if _, err = h.ListenUDP("udp", netip.MustParseAddrPort("0.0.0.0:7")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Dial(background, "udp", netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:9")); err != nil {
		t.Fatal(err)
	}
	// One connection of each kind.
	h.peer.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: h.peer.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
	h.poll()
	h.snd[0] = 5000
	h.peer.tcp(1000, 7, tcp.Reply{Seq: h.snd[0], Flags: tcp.SYN, Window: 65535}, nil)
	h.snd[0]++
	for _, s := range h.poll() {
		if s.Flags == tcp.SYN|tcp.ACK {
			h.rcv[0] = s.Seq.Add(1)
		}
	}
	h.peer.tcp(1000, 7, tcp.Reply{Seq: h.snd[0], Ack: h.rcv[0], Flags: tcp.ACK, Window: 65535}, nil)
	h.poll()
	if h.acc, err = h.l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	dialed := make(chan struct{})
	go func() {
		defer close(dialed)
		c, err := h.Dial(background, "tcp", netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:9"))
		if err == nil {
			h.conn = c.(*TCPConn)
		}
	}()
	h.snd[1] = 9000
	for h.rcv[1] == 0 {
		for _, s := range h.poll() {
			if s.Flags == tcp.SYN {
				h.rcv[1] = s.Seq.Add(1)
			}
		}
	}
	h.peer.tcp(9, 40000, tcp.Reply{Seq: h.snd[1], Ack: h.rcv[1], Flags: tcp.SYN | tcp.ACK, Window: 65535}, nil)
	h.snd[1]++
	h.poll()
	<-dialed
	if h.conn == nil {
		t.Fatal("no connection")
	}
	h.conn.Write(make([]byte, 20000))
	h.acc.Write(make([]byte, 20000))
	h.poll()
	return h
}

// poll runs the stack until nothing happens at this instant and returns the
// segments that it sent.
func (h *fuzzHost) poll() []rawSegment {
	pollDry(h.Stack)
	return h.peer.segments()
}

// frameOf makes one of several frames, with the changes that b asks for: first the
// kind and the fields that it chooses, then bytes to be overwritten.
func (h *fuzzHost) frameOf(b []byte) []byte {
	var f [16]byte
	n := copy(f[:], b)
	b = b[n:]
	which := int(f[1]) & 1
	ports := [2][2]uint16{{1000, 7}, {9, 40000}}[which]
	if f[1]&2 != 0 {
		ports[0] += uint16(f[2])
	}
	if f[1]&4 != 0 {
		ports[1] += uint16(f[3])
	}
	hdr := ipv4.Header{ID: binary.BigEndian.Uint16(f[4:])}
	mac := h.peer.dev.Info().MAC
	var frame []byte
	switch f[0] % 8 {
	case 0: // TCP with numbers near the right ones
		r := tcp.Reply{
			Seq: h.snd[which].Add(int(int8(f[6])) * 64), Ack: h.rcv[which].Add(int(int8(f[7])) * 64),
			Flags: tcp.Flags(f[8]), Window: binary.BigEndian.Uint16(f[9:]),
			HasTS: f[11]&1 != 0, TSVal: uint32(f[12]),
		}
		hdr.Protocol = ipv4.ProtocolTCP
		frame = ipFrame(h.peer.mac, mac, hdr, tcpSegment(addrB, addrA, ports[0], ports[1], r, b))
		b = nil
	case 1: // TCP with arbitrary options and a valid checksum
		hdr.Protocol = ipv4.ProtocolTCP
		seg := make([]byte, max(len(b), 20))
		copy(seg, b)
		binary.BigEndian.PutUint16(seg[0:], ports[0])
		binary.BigEndian.PutUint16(seg[2:], ports[1])
		binary.BigEndian.PutUint32(seg[4:], uint32(h.snd[which].Add(int(int8(f[6])))))
		binary.BigEndian.PutUint32(seg[8:], uint32(h.rcv[which].Add(int(int8(f[7])))))
		seg[16], seg[17] = 0, 0
		sum := checksumOf(seg, pseudo(&path{src: addrB, dst: addrA}, ipv4.ProtocolTCP, len(seg)))
		binary.BigEndian.PutUint16(seg[16:], sum)
		frame = ipFrame(h.peer.mac, mac, hdr, seg)
		b = nil
	case 2: // UDP
		hdr.Protocol = udp.Protocol
		u := udp.Header{Src: ports[0], Dst: ports[1]}
		p := make([]byte, udp.HeaderLen+len(b))
		u.Encode(p, addrB, addrA, b)
		copy(p[udp.HeaderLen:], b)
		frame = ipFrame(h.peer.mac, mac, hdr, p)
		b = nil
	case 3: // an ICMP error that quotes one of our segments
		q := make([]byte, 28)
		inner := ipv4.Header{Src: addrA, Dst: addrB, TTL: 64, Protocol: []uint8{6, 17, 1, 6}[f[8]&3], TotalLen: 40 + int(f[9])}
		inner.Encode(q)
		binary.BigEndian.PutUint16(q[20:], ports[1])
		binary.BigEndian.PutUint16(q[22:], ports[0])
		binary.BigEndian.PutUint32(q[24:], uint32(h.rcv[which].Add(int(f[7])*16)))
		m := icmp.Message{Type: icmp.Type(f[10]), Code: f[11], Rest: binary.BigEndian.Uint32(f[12:]), Body: append(q, b...)}
		if f[1]&8 != 0 {
			m.Type = icmp.TypeUnreachable
		}
		p := make([]byte, icmp.HeaderLen+len(m.Body))
		m.Encode(p)
		hdr.Protocol = ipv4.ProtocolICMP
		frame = ipFrame(h.peer.mac, mac, hdr, p)
		b = nil
	case 4: // echo
		m := icmp.Message{Type: icmp.TypeEcho, Rest: binary.BigEndian.Uint32(f[6:]), Body: b}
		p := make([]byte, icmp.HeaderLen+len(b))
		m.Encode(p)
		hdr.Protocol = ipv4.ProtocolICMP
		frame = ipFrame(h.peer.mac, mac, hdr, p)
		b = nil
	case 5: // fragments
		hdr.Protocol = []uint8{6, 17, 1, 99}[f[8]&3]
		hdr.FragmentOffset = int(f[9]) * 8
		hdr.MoreFragments = f[10]&1 != 0
		frame = ipFrame(h.peer.mac, mac, hdr, b)
		b = nil
	case 6: // ARP
		p := arp.Packet{Op: arp.Op(f[2] & 3), SenderHW: ethernet.Addr(f[4:10]), SenderIP: netip.AddrFrom4([4]byte{10, 0, 0, f[10]}), TargetIP: netip.AddrFrom4([4]byte{10, 0, 0, f[11]})}
		if f[1]&1 != 0 {
			p.TargetHW = h.peer.mac
		}
		frame = make([]byte, ethernet.HeaderLen+arp.PacketLen)
		e := ethernet.Header{Dst: h.peer.mac, Src: mac, Type: ethernet.TypeARP}
		p.Encode(frame[e.Encode(frame):])
	case 7: // anything
		frame = append([]byte(nil), f[1:]...)
		frame = append(frame, b...)
		if f[1]&1 != 0 && len(frame) >= 14 {
			copy(frame, h.peer.mac[:])
			copy(frame[6:], mac[:])
			frame[12], frame[13] = 8, 0
		}
		b = nil
	}
	// What is left changes bytes of the finished frame: checksums no longer fit.
	for ; len(b) >= 2; b = b[2:] {
		frame[int(b[0])%len(frame)] = b[1]
	}
	if len(frame) < ethernet.HeaderLen {
		frame = append(frame, make([]byte, ethernet.HeaderLen-len(frame))...)
	}
	return frame[:min(len(frame), ethernet.HeaderLen+1500)]
}

// FuzzStack feeds a stack with frames cut from the input: a byte of length, or time
// to pass, and the frame's description. Nothing may panic or hang, and memory stays
// within its limit.
func FuzzStack(f *testing.F) {
	for kind := range byte(8) {
		f.Add(append([]byte{40, kind, 1}, make([]byte, 38)...))
		f.Add(append([]byte{60, kind, 0xf, 3, 3, 0, 1, 0, 0, 0x12, 1, 3, 4}, make([]byte, 48)...))
	}
	f.Add([]byte{16, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 1, 0, 0, 0, 0, 0, 0, 255, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0x14})
	f.Fuzz(func(t *testing.T, in []byte) {
		h := newFuzzHost(t)
		frames := 0
		for len(in) > 0 && frames < 64 {
			n := int(in[0])
			in = in[1:]
			if n >= 240 {
				h.clk.add(time.Duration(1+n-240) * time.Duration(1+n-240) * 50 * time.Millisecond)
				h.poll()
				continue
			}
			n = min(n, len(in))
			h.peer.frame(h.frameOf(in[:n]))
			in = in[n:]
			frames++
			h.poll()
			if used := h.mem.used.Load(); used < 0 || used > fuzzLimit+64*tcp.ChunkSize {
				t.Fatalf("%d bytes are in use", used)
			}
		}
		h.conn.CloseWrite()
		h.acc.SetReadDeadline(time.Now().Add(-time.Second))
		io.Copy(io.Discard, h.acc)
		h.acc.Close()
		h.poll()
		for range 10 {
			h.clk.add(time.Minute)
			h.poll()
		}
		h.Close()
		// The connection that the application never closed is its own to account for
		// only until the stack's end.
		if used := h.mem.used.Load(); used != 0 {
			t.Fatalf("%d bytes are in use after Close", used)
		}
		if n := h.count.tcp.connections.Load(); n != 0 {
			t.Fatalf("%d connections after Close", n)
		}
	})
}
