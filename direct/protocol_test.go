package direct

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/arp"
	"github.com/netduet/netduet/ethernet"
	"github.com/netduet/netduet/icmp"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
	"github.com/netduet/netduet/udp"
)

func TestConfigErrors(t *testing.T) {
	a, _, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ipLink, _, _ := netif.NewWire(netif.WireConfig{Link: netif.LinkIP})
	prefixes := func(list ...string) (p []netip.Prefix) {
		for _, s := range list {
			p = append(p, netip.MustParsePrefix(s))
		}
		return p
	}
	for _, c := range []struct {
		want string
		ifs  []Interface
	}{
		{"no device", []Interface{{}}},
		{"VLAN 4095", []Interface{{Device: a, VLAN: 4095}}},
		{"needs an Ethernet device", []Interface{{Device: ipLink, VLAN: 2}}},
		{"MTU 67", []Interface{{Device: a, MTU: 67}}},
		{"MTU 9000", []Interface{{Device: a, MTU: 9000}}},
		{"two interfaces are named", []Interface{{Device: a, Name: "x"}, {Device: ipLink, Name: "x"}}},
		{"named lo", []Interface{{Device: a, Name: "lo"}}},
		{"same device and VLAN", []Interface{{Device: a}, {Device: a}}},
		{"only IPv4", []Interface{{Device: a, Addrs: prefixes("2001:db8::1/64")}}},
		{"broadcast address", []Interface{{Device: a, Addrs: prefixes("10.0.0.255/24")}}},
		{"network's own", []Interface{{Device: a, Addrs: prefixes("10.0.0.0/24")}}},
		{"unicast", []Interface{{Device: a, Addrs: prefixes("127.0.0.1/8")}}},
		{"already that of", []Interface{{Device: a, Addrs: prefixes("10.0.0.1/24", "10.0.0.1/25")}}},
		{"not on the link", []Interface{{Device: a, Addrs: prefixes("10.0.0.1/24"), Routes: []Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.1.1")}}}}},
		{"our own address", []Interface{{Device: a, Addrs: prefixes("10.0.0.1/24"), Routes: []Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: addrA}}}}},
		{"without a destination", []Interface{{Device: a, Routes: []Route{{}}}}},
	} {
		_, err := New(&Config{Interfaces: c.ifs, Logger: quiet()})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if _, err := a.Queues()[0].Read(make([]*netif.Buf, 1)); err != nil {
		t.Errorf("a failing New closed the device: %v", err)
	}
}

func TestVLAN(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		a, b, err := netif.NewWire(netif.WireConfig{})
		if err != nil {
			t.Fatal(err)
		}
		open := func(dev netif.Device, tagged, plain string) *Stack {
			s, err := New(&Config{Logger: quiet(), Interfaces: []Interface{
				{Name: "vlan42", Device: dev, VLAN: 42, Addrs: []netip.Prefix{netip.MustParsePrefix(tagged)}},
				{Name: "plain", Device: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(plain)}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		p := pair{open(a, "10.42.0.1/24", "10.0.0.1/24"), open(b, "10.42.0.2/24", "10.0.0.2/24")}
		defer p.close(t)
		l := echoServer(t, p.b, ":7")
		defer l.Close()
		for _, to := range []string{"10.42.0.2", "10.0.0.2"} {
			if _, err := p.a.Ping(background, netip.MustParseAddr(to), 1472); err != nil {
				t.Errorf("%s: %v", to, err)
			}
			c, err := p.a.DialContext(background, "tcp", to+":7")
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, c, 100000)
		}
		if n := p.b.Neighbors(); len(n) != 2 || n[0].Interface == n[1].Interface {
			t.Errorf("neighbours %v", n)
		}
		// A frame for a VLAN that nobody has.
		f := make([]byte, 64)
		h := ethernet.Header{Dst: b.Info().MAC, Src: a.Info().MAC, Type: ethernet.TypeVLAN}
		n := h.Encode(f)
		tag := ethernet.Tag{ID: 7, Type: ethernet.TypeIPv4}
		tag.Encode(f[n:])
		a.Queues()[0].Write([]netif.Frame{{Fragments: [][]byte{f}}})
		synctest.Wait()
		if n := p.b.Stats().Link.UnknownVLAN; n != 1 {
			t.Errorf("%d frames of an unknown VLAN, want 1", n)
		}
	})
}

// drain takes what the stack sent until it sends no more.
func (p *rawPeer) drain() (list []rawSegment) {
	for {
		synctest.Wait()
		segs := p.segments()
		if len(segs) == 0 {
			return list
		}
		list = append(list, segs...)
	}
}

func TestAcceptQueue(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		l, err := s.ListenTCP("tcp", netip.MustParseAddrPort("0.0.0.0:7"))
		if err != nil {
			t.Fatal(err)
		}
		p.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: p.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
		shake := func(port uint16) bool {
			p.tcp(port, 7, tcp.Reply{Seq: 1, Flags: tcp.SYN, Window: 1000}, nil)
			for _, seg := range p.drain() {
				if seg.DstPort == port && seg.Flags == tcp.SYN|tcp.ACK {
					p.tcp(port, 7, tcp.Reply{Seq: 2, Ack: seg.Seq.Add(1), Flags: tcp.ACK, Window: 1000}, nil)
					synctest.Wait()
					return true
				}
			}
			return false
		}
		for i := range listenBacklog {
			if !shake(uint16(1000 + i)) {
				t.Fatalf("connection %d was not answered", i)
			}
		}
		if shake(50000) {
			t.Error("a SYN was answered though the accept queue is full")
		}
		if n := s.Stats().TCP.AcceptOverflow; n != 1 {
			t.Errorf("%d overflows are counted", n)
		}
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		if !shake(50001) {
			t.Error("there is room again, and a SYN is not answered")
		}
		// Closing resets those that nobody accepted.
		l.Close()
		resets := 0
		for _, seg := range p.drain() {
			if seg.Flags.Has(tcp.RST) {
				resets++
			}
		}
		if resets < 1000 { // the wire's ring holds 1024; the others wait their turn
			t.Errorf("%d resets", resets)
		}
	})
}

// TestTimeWaitReuse has a peer come back from the same port while the connection
// before is in TIME-WAIT.
func TestTimeWaitReuse(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		l, err := s.ListenTCP("tcp", netip.MustParseAddrPort("0.0.0.0:7"))
		if err != nil {
			t.Fatal(err)
		}
		p.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: p.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
		seq := tcp.Seq(1)
		var last tcp.Seq
		for range 3 {
			p.tcp(1000, 7, tcp.Reply{Seq: seq, Flags: tcp.SYN, Window: 1000}, nil)
			segs := p.drain()
			if len(segs) != 1 || segs[0].Flags != tcp.SYN|tcp.ACK {
				t.Fatalf("%+v", segs)
			}
			if last != 0 && segs[0].Seq.LessEq(last) {
				t.Errorf("the new connection begins at %d, below the old one's %d", segs[0].Seq, last)
			}
			next := segs[0].Seq.Add(1)
			p.tcp(1000, 7, tcp.Reply{Seq: seq.Add(1), Ack: next, Flags: tcp.ACK, Window: 1000}, nil)
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			p.drain()
			last = next.Add(1)
			p.tcp(1000, 7, tcp.Reply{Seq: seq.Add(1), Ack: last, Flags: tcp.FIN | tcp.ACK, Window: 1000}, nil)
			if segs := p.drain(); len(segs) != 1 || segs[0].Ack != seq.Add(2) {
				t.Errorf("the FIN was answered by %+v", segs)
			}
			if n := s.Stats().TCP.TimeWait; n != 1 {
				t.Errorf("%d in TIME-WAIT", n)
			}
			seq = seq.Add(1000)
		}
		time.Sleep(tcp.TimeWaitLen)
		synctest.Wait()
		if n := s.Stats().TCP.TimeWait; n != 0 {
			t.Errorf("%d in TIME-WAIT after its time", n)
		}
		if n := s.mem.used.Load(); n != 0 {
			t.Errorf("%d bytes are still accounted for", n)
		}
	})
}

// icmpAbout sends an ICMP error that quotes the IP packet in frame.
func (p *rawPeer) icmpAbout(frame []byte, m icmp.Message) {
	m.Body = icmp.QuoteOf(frame[ethernet.HeaderLen:])
	b := make([]byte, icmp.HeaderLen+len(m.Body))
	m.Encode(b)
	p.ip(ipv4.Header{Protocol: ipv4.ProtocolICMP}, b)
}

func TestPathMTU(t *testing.T) {
	bubble(t, "udp", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		c, err := s.Dial(background, "udp", netip.AddrPort{}, netip.AddrPortFrom(addrB, 9))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		packets := func() (whole [][]byte, fragments int) {
			synctest.Wait()
			p.take() // answers the question for our address
			c.Write(make([]byte, 1400))
			synctest.Wait()
			for _, f := range p.take() {
				var h ipv4.Header
				if _, err := h.Parse(f[ethernet.HeaderLen:]); err == nil && h.IsFragment() {
					fragments++
				} else if err == nil && h.DontFragment {
					whole = append(whole, f)
				}
			}
			return whole, fragments
		}
		c.Write(nil) // begins the question
		packets()
		whole, n := packets()
		if len(whole) != 1 || n != 0 {
			t.Fatalf("%d packets and %d fragments before the message", len(whole), n)
		}
		p.icmpAbout(whole[0], icmp.Message{Type: icmp.TypeUnreachable, Code: icmp.CodeFragmentationNeeded, Rest: 600})
		synctest.Wait()
		if _, err := c.Write(nil); !errors.Is(err, syscall.EMSGSIZE) { // the one datagram is lost
			t.Errorf("%v after the message", err)
		}
		if whole, n := packets(); len(whole) != 0 || n != 3 {
			t.Errorf("%d packets and %d fragments after the message, want 3 fragments", len(whole), n)
		}
		time.Sleep(pathMTUAge)
		c.Write(nil)
		packets()
		if whole, n := packets(); len(whole) != 1 || n != 0 {
			t.Errorf("%d packets and %d fragments when the knowledge is old", len(whole), n)
		}
	})
	bubble(t, "tcp", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		l, err := s.ListenTCP("tcp", netip.MustParseAddrPort("0.0.0.0:7"))
		if err != nil {
			t.Fatal(err)
		}
		p.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: p.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
		// A SYN with MSS 1460.
		r := tcp.Reply{Seq: 1, Flags: tcp.SYN, Window: 65535}
		syn := append(r.Append(nil, 1000, 7), 2, 4, 0x05, 0xb4)
		syn[12] = 6 << 4
		sum := checksumOf(syn, pseudo(&path{src: addrB, dst: addrA}, ipv4.ProtocolTCP, len(syn)))
		binary.BigEndian.PutUint16(syn[16:], sum)
		p.ip(ipv4.Header{Protocol: ipv4.ProtocolTCP}, syn)
		segs := p.drain()
		next := segs[0].Seq.Add(1)
		p.tcp(1000, 7, tcp.Reply{Seq: 2, Ack: next, Flags: tcp.ACK, Window: 65535}, nil)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Write(make([]byte, 10000))
		synctest.Wait()
		frames := p.take()
		first, ok := parseTCP(t, frames[0])
		if !ok || len(first.Payload) != 1460 {
			t.Fatalf("the first segment has %d bytes", len(first.Payload))
		}
		// A forged message, about a number never sent, changes nothing.
		forged := append([]byte(nil), frames[0]...)
		binary.BigEndian.PutUint32(forged[ethernet.HeaderLen+ipv4.HeaderLen+4:], uint32(next)-1000)
		p.icmpAbout(forged, icmp.Message{Type: icmp.TypeUnreachable, Code: icmp.CodeFragmentationNeeded, Rest: 600})
		synctest.Wait()
		if mtu := s.pathMTU.get(addrB, s.clk); mtu != 65535 {
			t.Errorf("the forged message made the path's MTU %d", mtu)
		}
		p.icmpAbout(frames[0], icmp.Message{Type: icmp.TypeUnreachable, Code: icmp.CodeFragmentationNeeded, Rest: 600})
		small := 0
		for _, seg := range p.drain() {
			if len(seg.Payload) > 560 {
				t.Errorf("a segment of %d bytes after the message", len(seg.Payload))
			}
			small++
		}
		if small == 0 {
			t.Error("nothing was sent again")
		}
		if mtu := s.pathMTU.get(addrB, s.clk); mtu != 600 {
			t.Errorf("the path's MTU is taken for %d", mtu)
		}
		// The next connection begins with it: it announces no more than comes through.
		binary.BigEndian.PutUint16(syn[0:], 1001)
		binary.BigEndian.PutUint16(syn[16:], 0)
		binary.BigEndian.PutUint16(syn[16:], checksumOf(syn, pseudo(&path{src: addrB, dst: addrA}, ipv4.ProtocolTCP, len(syn))))
		p.ip(ipv4.Header{Protocol: ipv4.ProtocolTCP}, syn)
		for _, seg := range p.drain() {
			if seg.DstPort == 1001 && seg.Options.MSS != 560 {
				t.Errorf("the next connection announces an MSS of %d", seg.Options.MSS)
			}
		}
		c.(*TCPConn).SetLinger(0)
		c.Close()
	})
}

// TestDrops sends what must be dropped and looks for it among the counters.
func TestDrops(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s, p := newRaw(t, nil, nil)
		defer s.Close()
		p.arp(&arp.Packet{Op: arp.OpRequest, SenderHW: p.dev.Info().MAC, SenderIP: addrB, TargetIP: addrA})
		synctest.Wait()
		p.take()
		ip := func(src, dst string, proto uint8, payload ...byte) func() {
			return func() {
				p.ip(ipv4.Header{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Protocol: proto}, payload)
			}
		}
		datagram := func(dst string) func() {
			return func() {
				u := udp.Header{Src: 1, Dst: 9}
				b := make([]byte, udp.HeaderLen)
				a := netip.MustParseAddr(dst)
				u.Encode(b, addrB, a, nil)
				p.ip(ipv4.Header{Dst: a, Protocol: udp.Protocol}, b)
			}
		}
		echo := func(dst string) func() {
			return func() {
				m := icmp.Message{Type: icmp.TypeEcho}
				b := make([]byte, icmp.HeaderLen)
				m.Encode(b)
				p.ip(ipv4.Header{Dst: netip.MustParseAddr(dst), Protocol: ipv4.ProtocolICMP}, b)
			}
		}
		for _, c := range []struct {
			name    string
			send    func()
			counter func(*Stats) uint64
			answers int
		}{
			{"loopback source", ip("127.0.0.1", "10.0.0.1", 17), func(s *Stats) uint64 { return s.IP.MartianSource }, 0},
			{"our own source", ip("10.0.0.1", "10.0.0.1", 17), func(s *Stats) uint64 { return s.IP.MartianSource }, 0},
			{"broadcast source", ip("10.0.0.255", "10.0.0.1", 17), func(s *Stats) uint64 { return s.IP.MartianSource }, 0},
			{"loopback destination", ip("10.0.0.2", "127.0.0.1", 17), func(s *Stats) uint64 { return s.IP.MartianDestination }, 0},
			{"somebody else", ip("10.0.0.2", "10.0.0.3", 17), func(s *Stats) uint64 { return s.IP.NotForUs }, 0},
			{"a group", ip("10.0.0.2", "224.0.0.1", 17), func(s *Stats) uint64 { return s.IP.MulticastIgnored }, 0},
			{"unknown protocol", ip("10.0.0.2", "10.0.0.1", 99), func(s *Stats) uint64 { return s.IP.UnknownProtocol }, 1},
			{"short UDP", ip("10.0.0.2", "10.0.0.1", 17, 1, 2, 3), func(s *Stats) uint64 { return s.UDP.Invalid[udp.ErrShort.Error()] }, 0},
			{"short TCP", ip("10.0.0.2", "10.0.0.1", 6, 1, 2, 3), func(s *Stats) uint64 { return s.TCP.BadChecksum }, 0},
			{"short ICMP", ip("10.0.0.2", "10.0.0.1", 1, 1, 2, 3), func(s *Stats) uint64 { return s.ICMP.Invalid[icmp.ErrShort.Error()] }, 0},
			{"no port", datagram("10.0.0.1"), func(s *Stats) uint64 { return s.UDP.NoPort }, 1},
			{"echo", echo("10.0.0.1"), func(s *Stats) uint64 { return s.ICMP.EchoOut }, 1},
			{"broadcast echo", echo("10.0.0.255"), func(s *Stats) uint64 { return s.ICMP.EchoBroadcast }, 0},
			{"TCP to a broadcast address", func() {
				b := tcpSegment(addrB, netip.MustParseAddr("10.0.0.255"), 1, 7, tcp.Reply{Flags: tcp.SYN}, nil)
				p.ip(ipv4.Header{Dst: netip.MustParseAddr("10.0.0.255"), Protocol: 6}, b)
			}, func(s *Stats) uint64 { return s.TCP.BadAddress }, 0},
			{"TCP from port 0", func() { p.tcp(0, 9, tcp.Reply{Flags: tcp.SYN}, nil) }, func(s *Stats) uint64 { return s.TCP.BadAddress }, 0},
			{"TCP to nobody", func() { p.tcp(1, 9, tcp.Reply{Flags: tcp.SYN}, nil) }, func(s *Stats) uint64 { return s.TCP.NoConnection }, 1},
			{"a reset to nobody", func() { p.tcp(1, 9, tcp.Reply{Flags: tcp.RST}, nil) }, func(s *Stats) uint64 { return s.TCP.NoConnection }, 0},
			{"another station's frame", func() {
				f := ipFrame(ethernet.Addr{2, 9, 9, 9, 9, 9}, p.dev.Info().MAC, ipv4.Header{Protocol: 6}, nil)
				p.frame(f)
			}, func(s *Stats) uint64 { return s.Link.OtherHost }, 0},
		} {
			before := s.Stats()
			c.send()
			synctest.Wait()
			after := s.Stats()
			if n := c.counter(&after) - c.counter(&before); n != 1 {
				t.Errorf("%s: counted %d times", c.name, n)
			}
			if n := len(p.take()); n != c.answers {
				t.Errorf("%s: %d frames in answer, want %d", c.name, n, c.answers)
			}
		}
	})
}

// TestMemoryLimit has peers take all there is. Work beyond is refused, what there is
// goes on, and in the end all is given back.
func TestMemoryLimit(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		a, b, err := netif.NewWire(netif.WireConfig{})
		if err != nil {
			t.Fatal(err)
		}
		const limit = 1 << 20
		p := pair{newStack(t, a, "10.0.0.1/24", nil), newStack(t, b, "10.0.0.2/24", func(c *Config) { c.MemoryLimit = limit })}
		l, err := p.b.Listen(background, "tcp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		u, err := p.b.ListenPacket(background, "udp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		first, err := p.a.DialContext(background, "tcp", "10.0.0.2:7")
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		// Nobody reads what these send.
		for range 20 {
			c, err := p.a.DialContext(background, "tcp", "10.0.0.2:7")
			if err != nil {
				break
			}
			c.SetWriteDeadline(time.Now().Add(time.Second))
			c.Write(make([]byte, 1<<20))
		}
		d, err := p.a.DialContext(background, "udp", "10.0.0.2:7")
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			d.Write(make([]byte, 1400))
		}
		synctest.Wait()
		st := p.b.Stats()
		if st.Memory.Used > limit+100*2*tcp.ChunkSize {
			t.Errorf("%d bytes are used of %d", st.Memory.Used, limit)
		}
		if st.Memory.Refused == 0 {
			t.Error("nothing was refused")
		}
		// The first connection still works: one chunk is always granted.
		go accepted.Write([]byte("alive"))
		buf := make([]byte, 5)
		first.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := first.Read(buf); err != nil {
			t.Errorf("reading from the limited stack: %v", err)
		}
		u.Close()
		l.Close()
		p.close(t)
		if n := p.b.mem.used.Load(); n != 0 {
			t.Errorf("%d bytes are still accounted for", n)
		}
	})
}

// TestDialICMP: what ICMP says of a SYN ends the dial, with the error that Linux
// gives.
func TestDialICMP(t *testing.T) {
	for code, want := range map[uint8]error{
		icmp.CodeHostUnreachable:     syscall.EHOSTUNREACH,
		icmp.CodeNetUnreachable:      syscall.ENETUNREACH,
		icmp.CodePortUnreachable:     syscall.ECONNREFUSED,
		icmp.CodeProhibited:          syscall.EHOSTUNREACH,
		icmp.CodeProtocolUnreachable: syscall.ENOPROTOOPT,
	} {
		bubble(t, want.Error(), func(t *testing.T) {
			s, p := newRaw(t, nil, nil)
			defer s.Close()
			done := make(chan error, 1)
			go func() {
				_, err := s.Dial(background, "tcp", netip.AddrPort{}, netip.AddrPortFrom(addrB, 9))
				done <- err
			}()
			for sent := false; !sent; {
				synctest.Wait()
				for _, f := range p.take() {
					if seg, ok := parseTCP(t, f); ok && seg.Flags == tcp.SYN {
						p.icmpAbout(f, icmp.Message{Type: icmp.TypeUnreachable, Code: code})
						sent = true
					}
				}
			}
			if err := <-done; !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
}
