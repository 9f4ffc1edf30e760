package script

import (
	"encoding/hex"
	"strings"
)

// MaxPayload is the largest payload a packet may have in a script: what fits an IP
// packet.
const MaxPayload = 65535

func (c *cursor) packet() *Packet {
	p := &Packet{Pos: c.pos(), IP: Unsaid()}
	if c.at(0) == '>' {
		p.Dir = Outbound
	}
	c.advance(1)
	c.blank()
	if c.has("[") || c.has("(") {
		c.ipInfo(p)
		c.blank()
	}
	switch {
	case c.acceptWord("udp"):
		p.UDP = &UDP{}
		c.expect("(", "the payload's length in brackets")
		p.UDP.Len = c.length()
		c.expect(")", "")
	case c.acceptWord("icmpv6"):
		p.ICMP = c.icmp(true)
	case c.acceptWord("icmp"):
		p.ICMP = c.icmp(false)
	default:
		p.TCP = c.tcp()
	}
	return p
}

func (c *cursor) length() int { return int(c.uint("a payload length", 16)) }

func (c *cursor) ipInfo(p *Packet) {
	end := "]"
	if c.at(0) == '(' {
		end = ")"
	}
	c.advance(1)
	for {
		c.blank()
		at := *c
		switch w := c.word(); w {
		case "noecn":
			p.IP.ECN = NoECN
		case "ect0":
			p.IP.ECN = ECT0
		case "ect1":
			p.IP.ECN = ECT1
		case "ce":
			p.IP.ECN = CE
		case "ect01":
			if p.IP.ECN = ECT01; p.Dir == Inbound {
				*c = at
				c.fail("ect0 or ect1: an injected packet has one of them")
			}
		case "tos":
			p.IP.TOS = int(c.uint("a TOS byte", 8))
		case "ttl":
			p.IP.TTL = int(c.uint("a TTL", 8))
		case "flowlabel":
			p.IP.FlowLabel = int(c.uint("a flow label", 20))
		default:
			*c = at
			c.fail("noecn, ect0, ect1, ect01, ce, tos N, ttl N or flowlabel N")
		}
		if c.accept(",") {
			continue
		}
		c.expect(end, "\",\" or \""+end+"\"")
		return
	}
}

// flagLetters are the letters of a flag word in the order of the printer.
var flagLetters = [...]struct {
	letter byte
	flag   Flags
}{{'S', SYN}, {'F', FIN}, {'R', RST}, {'P', PSH}, {'U', URG}, {'A', AE}, {'E', ECE}, {'W', CWR}, {'.', ACK}}

func (c *cursor) flags(t *TCP) {
	start := *c
	n := 0
	seen := Flags(0)
next:
	for ; c.off+n < len(c.src) && !isSpace(c.at(n)); n++ {
		b := c.at(n)
		if b == '-' && n == 0 {
			n++
			break
		}
		if b >= '0' && b <= '7' && !t.ACE && n > 0 {
			t.ACE = true
			d := b - '0'
			t.Flags |= AE*Flags(d>>2&1) | CWR*Flags(d>>1&1) | ECE*Flags(d&1)
			continue
		}
		for _, l := range flagLetters {
			if l.letter == b && seen&l.flag == 0 {
				seen |= l.flag
				continue next
			}
		}
		break
	}
	t.Flags |= seen
	if n == 0 || !isSpace(c.at(n)) && c.off+n < len(c.src) || t.ACE && seen&(AE|CWR|ECE) != 0 {
		*c = start
		c.fail("TCP flags (letters of \"SFRPUAEW.\", \"-\" for none), udp, icmp or icmpv6")
	}
	c.advance(n)
}

func (c *cursor) tcp() *TCP {
	t := &TCP{Win: -1, Urg: -1}
	c.flags(t)
	t.Seq, t.End, t.Len = c.seq()
	if t.Flags&ACK != 0 {
		if !c.acceptWord("ack") {
			c.fail(`"ack" and a number, as the flags say`)
		}
		t.Ack = uint32(c.uint("an acknowledgment number", 32))
	} else if c.acceptWord("ack") {
		c.fail("no ack: the flags lack the dot that stands for ACK")
	}
	for {
		switch {
		case c.acceptWord("win"):
			t.Win = int(c.uint("a window", 16))
			continue
		case c.acceptWord("urg"):
			t.Urg = int(c.uint("an urgent pointer", 16))
			continue
		}
		break
	}
	if c.blank(); c.has("<") {
		c.tcpOptions(t)
	}
	return t
}

// seq reads first:last(length); last is first+length in 32 bits.
func (c *cursor) seq() (first, last uint32, n int) {
	first = uint32(c.uint("a sequence number", 32))
	c.expect(":", `":" and the sequence number after the last byte`)
	c.blank()
	at := *c
	last = uint32(c.uint("the sequence number after the last byte", 32))
	c.expect("(", "the payload's length in brackets")
	n = c.length()
	if last != first+uint32(n) {
		*c = at
		c.fail("%d, the sum of the first sequence number and the length %d", first+uint32(n), n)
	}
	c.expect(")", "")
	return first, last, n
}

func (c *cursor) tcpOptions(t *TCP) {
	c.advance(1)
	if c.accept("...") {
		t.AnyOpts = true
		c.expect(">", "")
		return
	}
	if c.accept(">") {
		return
	}
	for {
		c.blank()
		t.Opts = append(t.Opts, c.tcpOption())
		if len(t.Opts) > 40 {
			c.fail("at most 40 options, which is what a header holds")
		}
		if c.accept(">") {
			return
		}
		c.expect(",", `"," or ">"`)
	}
}

func (c *cursor) tcpOption() (o TCPOption) {
	at := *c
	switch c.word() {
	case "eol":
		o.Kind = OptEOL
	case "nop":
		o.Kind = OptNOP
	case "mss":
		o.Kind, o.Num = OptMSS, uint32(c.uint("a segment size", 16))
	case "wscale":
		o.Kind, o.Num = OptWScale, uint32(c.uint("a window shift", 8))
	case "sackOK":
		o.Kind = OptSACKOK
	case "sack":
		o.Kind = OptSACK
		for c.blank(); isDigit(c.at(0)); c.blank() {
			b := Block{Left: uint32(c.uint("a sequence number", 32))}
			c.expect(":", "")
			b.Right = uint32(c.uint("a sequence number", 32))
			if o.Blocks = append(o.Blocks, b); len(o.Blocks) > 4 {
				c.fail("at most four SACK blocks")
			}
		}
		if len(o.Blocks) == 0 {
			c.fail("a SACK block, first:last")
		}
	case "TS":
		o.Kind = OptTS
		if !c.acceptWord("val") {
			c.fail(`"val"`)
		}
		if o.AnyVal = c.acceptWord("any"); !o.AnyVal {
			o.Val = uint32(c.uint(`a timestamp or "any"`, 32))
		}
		if !c.acceptWord("ecr") {
			c.fail(`"ecr"`)
		}
		if o.AnyEcr = c.acceptWord("any"); !o.AnyEcr {
			o.Ecr = uint32(c.uint(`a timestamp or "any"`, 32))
		}
	case "FO":
		o.Kind, o.Data = OptFO, c.hexBytes()
	case "FOEXP":
		o.Kind, o.Data = OptFOExp, c.hexBytes()
	case "md5":
		o.Kind, o.Data = OptMD5, c.hexBytes()
	case "ECN":
		o.Kind = OptAccECN
		for {
			a := *c
			w := c.word()
			if w != "e0b" && w != "ceb" && w != "e1b" {
				*c = a
				return o
			}
			if len(o.Counters) == 3 {
				*c = a
				c.fail("at most three counters")
			}
			o.Counters = append(o.Counters, Counter{w, uint32(c.uint("a byte counter", 24))})
		}
	case "kind":
		o.Kind, o.Num = OptOther, uint32(c.uint("an option kind", 8))
		o.Data = c.hexBytes()
	default:
		*c = at
		c.fail("a TCP option: mss, wscale, sackOK, sack, TS, FO, FOEXP, ECN, md5, nop, eol or kind")
	}
	return o
}

// hexBytes reads an even number of hexadecimal digits, perhaps none.
func (c *cursor) hexBytes() []byte {
	c.blank()
	n := 0
	for {
		if _, ok := digit(c.at(n), true); !ok {
			break
		}
		n++
	}
	if n == 0 {
		return nil
	}
	b, err := hex.DecodeString(c.src[c.off : c.off+n])
	if err != nil {
		c.fail("an even number of hexadecimal digits")
	}
	if len(b) > 38 {
		c.fail("at most 38 bytes, which is what an option holds")
	}
	c.advance(n)
	return b
}

func (c *cursor) icmp(v6 bool) *ICMP {
	m := &ICMP{V6: v6, MTU: -1}
	if m.Type = c.word(); m.Type == "" {
		c.fail("an ICMP type, such as unreachable")
	}
	if _, ok := ICMPType(v6, m.Type); !ok {
		c.back(m.Type)
		c.fail("an ICMP type: %s", strings.Join(icmpTypeNames(v6), ", "))
	}
	c.blank()
	at := *c
	if w := c.word(); w != "" && w != "mtu" {
		m.Code = w
		if _, ok := ICMPCode(v6, m.Type, m.Code); !ok {
			*c = at
			c.fail("an ICMP code: %s", strings.Join(icmpCodeNames(v6, m.Type), ", "))
		}
	} else {
		*c = at
	}
	if c.acceptWord("mtu") {
		m.MTU = int(c.uint("an MTU", 32))
	}
	if c.accept("[") {
		e := &Echo{}
		if c.acceptWord("udp") {
			e.UDP = true
			c.expect("(", "the payload's length in brackets")
			e.Len = c.length()
			c.expect(")", "")
		} else {
			e.Seq, e.End, e.Len = c.seq()
		}
		c.expect("]", "")
		m.Echo = e
	}
	return m
}

// back puts the cursor before the word just read.
func (c *cursor) back(w string) { c.off -= len(w) }
