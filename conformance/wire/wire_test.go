package wire

import (
	"net/netip"
	"testing"

	"github.com/netduet/netduet/conformance/script"
)

var v4 = Tuple{netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("192.168.0.1:8080")}
var v6 = Tuple{netip.MustParseAddrPort("[2001:db8::1]:4000"), netip.MustParseAddrPort("[2001:db8::2]:8080")}

func parse(t testing.TB, line string) *script.Packet {
	t.Helper()
	s, err := script.Parse("x", []byte("0 > "+line))
	if err != nil {
		t.Fatal(err)
	}
	return s.Events[0].Packet
}

// TestRoundTrip encodes packets and reads the same packets back.
func TestRoundTrip(t *testing.T) {
	for _, line := range []string{
		"[noecn,tos 0x00,ttl 255] S 0:0(0) win 1000 <mss 1460,nop,wscale 8,sackOK,TS val 5 ecr 0>",
		"[ect0,tos 0x12,ttl 64] P. 4294967290:94(100) ack 5 win 65535 <nop,nop,TS val 7 ecr 4294967295>",
		"[ce,tos 0x03,ttl 1] F.5 1:1(0) ack 1 win 0",
		"[ect1,tos 0x01,ttl 255] UAEW. 1:1(0) ack 1 win 0 urg 7",
		"[noecn,tos 0x00,ttl 255] . 1:1(0) ack 1 win 1 <nop,nop,nop,nop,sack 1:2 3:4,md5 00112233445566778899aabbccddeeff>",
		"[noecn,tos 0x00,ttl 255] - 1:1(0) win 1 <FO 0123456789abcdef,FOEXP,FO,eol>",
		"[noecn,tos 0x00,ttl 255] . 1:1(0) ack 2 win 1 <ECN e0b 1 ceb 2 e1b 3,ECN e1b 3 ceb 70000,ECN,kind 77 0102,nop,nop,nop>",
		"[noecn,tos 0x00,ttl 255] udp (0)",
		"[noecn,tos 0x00,ttl 255] udp (1001)",
	} {
		for _, tup := range []Tuple{v4, v6} {
			p := parse(t, line)
			b, err := Encode(p, tup)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			d, err := Decode(b, false)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if d.Tuple != tup {
				t.Errorf("%s: %v", line, d.Tuple)
			}
			if tup == v6 {
				d.Packet.IP.FlowLabel = -1
			}
			if d.Packet.TCP != nil {
				if p.TCP.ACE { // the wire does not tell how the flags were written
					d.Packet.TCP.ACE = true
				}
			}
			if got := d.Packet.String(); got != "> "+line {
				t.Errorf("%s\nread back as\n%s", line, got)
			}
			// Every bit that Decode looks at is covered by a checksum or a length.
			b[len(b)-1] ^= 1
			if _, err := Decode(b, false); err == nil {
				t.Errorf("%s: a flipped bit went unnoticed", line)
			}
		}
	}
	for _, c := range []struct {
		tup  Tuple
		line string
	}{
		{v4, "[noecn,tos 0x00,ttl 255] icmp unreachable frag_needed mtu 1200 [5:1465(1460)]"},
		{v4, "[noecn,tos 0x00,ttl 255] icmp unreachable port_unreachable [udp (8)]"},
		{v6, "[noecn,tos 0x00,ttl 255] icmpv6 packet_too_big mtu 1280 [5:1465(1460)]"},
		{v4, "[noecn,tos 0x00,ttl 255] icmp echo_request"},
	} {
		b, err := Encode(parse(t, c.line), c.tup)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode(b, false)
		if err != nil {
			t.Fatal(err)
		}
		d.Packet.IP.FlowLabel = -1
		if got := d.Packet.String(); got != "> "+c.line {
			t.Errorf("%s\nread back as\n%s", c.line, got)
		}
		if d.Packet.ICMP.Echo != nil && d.Inner != c.tup.Reverse() {
			t.Errorf("inner tuple %v", d.Inner)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	for _, line := range []string{
		". 1:1(0) ack 1 <TS val 1 ecr 1,TS val 1 ecr 1,TS val 1 ecr 1,TS val 1 ecr 1,TS val 1 ecr 1>",
		". 1:65536(65535) ack 1",
		". 1:1(0) ack 1 <ECN ceb 1>",
		"icmpv6 packet_too_big",
	} {
		if _, err := Encode(parse(t, line), v4); err == nil {
			t.Errorf("%s was encoded", line)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, line := range []string{"S 0:0(0) win 1 <mss 1,sack 1:2>", "udp (5)", "icmp unreachable frag_needed mtu 1200 [5:1465(1460)]"} {
		p := parse(f, line)
		b, err := Encode(p, v4)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Decode(b, true)
		if err != nil || d.Packet.TCP == nil {
			return
		}
		// What was read can be printed, parsed and written again.
		p := parse(t, d.Packet.String()[2:])
		if _, err := Encode(p, d.Tuple); err != nil {
			t.Fatalf("%s: %v", d.Packet, err)
		}
	})
}
