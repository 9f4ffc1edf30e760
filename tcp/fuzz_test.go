package tcp

import (
	"bytes"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// FuzzParse: nothing panics, and what the encoder can say comes back unchanged.
func FuzzParse(f *testing.F) {
	f.Add([]byte("\x03\xe8\x07\xd0aaaabbbb\x50\x10\xff\xff\x00\x00\x00\x00data"))
	syn := header{flags: SYN, options: Options{MSS: 1460, SACKPermitted: true, HasTS: true, TSVal: 7, HasWScale: true, WScale: 7}}
	f.Add(syn.append(nil))
	ack := header{flags: ACK, options: Options{HasTS: true, NSACK: 3, SACK: [4]SACKBlock{{1, 2}, {3, 4}, {5, 6}}}}
	f.Add(ack.append(nil))
	f.Add([]byte("\x03\xe8\x07\xd0aaaabbbb\x60\x10\xff\xff\x00\x00\x00\x00\x08\x0a\x01\x00"))
	f.Add([]byte("\x03\xe8\x07\xd0aaaabbbb\x60\x02\xff\xff\x00\x00\x00\x00\x1d\x04\x01\x01"))
	for _, form := range []FastOption{FastOpenStandard, FastOpenExperimental} {
		for _, n := range []int{0, minCookie, cookieLength, maxCookie} {
			fast := header{flags: SYN, options: Options{MSS: 1460}}
			k, _ := MakeFastCookie([]byte("0123456789abcdef")[:n])
			fast.options.SetFastOpen(form, k)
			f.Add(fast.append(nil))
		}
	}
	f.Add([]byte("\x03\xe8\x07\xd0aaaabbbb\x70\x02\xff\xff\x00\x00\x00\x00\x22\x05\x01\x02\x03\x01\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Segment
		if Parse(b, &s) != nil {
			return
		}
		if k := s.Options.Cookie(); k.Len() != 0 && (k.Len() < minCookie || k.Len() > maxCookie || k.Len()%2 != 0 || !s.Flags.Has(SYN)) {
			t.Fatalf("a cookie of %d bytes, flags %v", k.Len(), s.Flags)
		}
		if int(b[12]>>4)*4+len(s.Payload) != len(b) {
			t.Fatalf("%d bytes of payload", len(s.Payload))
		}
		if o := &s.Options; o.NSACK > 4 || o.WScale > 14 || !s.Flags.Has(SYN) && (o.MSS != 0 || o.HasWScale || o.SACKPermitted) {
			t.Fatalf("%+v", o)
		}
		h := header{srcPort: s.SrcPort, dstPort: s.DstPort, seq: s.Seq, ack: s.Ack, flags: s.Flags, window: s.Window, options: s.Options}
		if HeaderLen+h.options.size() > MaxHeaderLen {
			return // more than we would ever send together
		}
		p := h.append(nil)
		if len(p) != HeaderLen+h.options.size() {
			t.Fatalf("encoded to %d bytes, size is %d", len(p), h.options.size())
		}
		var again Segment
		if err := Parse(append(p, s.Payload...), &again); err != nil {
			t.Fatal(err)
		}
		payload := again.Payload
		s.Payload, again.Payload = nil, nil
		if !equalSegments(&s, &again) || !bytes.Equal(payload, b[len(b)-len(payload):]) {
			t.Fatalf("%+v came back as %+v", s, again)
		}
	})
}

func equalSegments(a, b *Segment) bool {
	x, y := a.Options, b.Options
	if x.Cookie() != y.Cookie() {
		return false
	}
	x.Signed = false               // nothing that we send is signed
	for i := x.NSACK; i < 4; i++ { // left over from an earlier SACK option, or the cookie
		x.SACK[i], y.SACK[i] = SACKBlock{}, SACKBlock{}
	}
	if !x.HasTS {
		x.TSVal, x.TSEcr, y.TSVal, y.TSEcr = 0, 0, 0, 0
	}
	return x == y && a.Seq == b.Seq && a.Ack == b.Ack && a.Flags == b.Flags && a.Window == b.Window &&
		a.SrcPort == b.SrcPort && a.DstPort == b.DstPort
}

// FuzzRecvBuffer compares the receive buffer with one that keeps a byte for each
// sequence number.
func FuzzRecvBuffer(f *testing.F) {
	f.Add([]byte{0, 0, 10, 1, 5, 20, 0, 0, 30, 200, 3, 0})
	f.Add([]byte{1, 200, 255, 1, 100, 255, 1, 255, 1, 0, 0, 255, 201, 255, 0, 202, 0, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		const size = 60000
		start := Seq(0xffffff00)
		mem := newPoison(t, 1<<30)
		b := recvBuffer{mem: mem, base: start, nxt: start}
		have := make([]bool, size+70000)
		read, nxt := 0, 0
		for len(ops) >= 3 {
			op, x, y := ops[0], int(ops[1]), int(ops[2])
			ops = ops[3:]
			switch {
			case op >= 240:
				mem.limit = x % 8 // memory grows short, or not
				if y > 128 {
					mem.limit = 1 << 30
				}
			case op >= 200: // read
				p := b.peek()
				p = p[:min(len(p), x*257+y)]
				if !bytes.Equal(p, stream(read, read+len(p))) {
					t.Fatalf("%d bytes from %d are wrong", len(p), read)
				}
				b.discard(len(p))
				read += len(p)
			default: // insert [at, at+n), not before nxt and inside size
				at := nxt
				if op > 50 {
					at += int(op-50)*x + y/3
				}
				n := min(y*(1+x%50)+1, size-at)
				if n <= 0 || at >= size {
					continue
				}
				before := nxt
				b.insert(start.Add(at), stream(at, at+n))
				stored := 0
				for i := range n { // how much was stored, runs and order tell
					if !covered(&b, start.Add(at+i)) {
						break
					}
					stored++
					have[at+i] = true
				}
				for have[nxt] {
					nxt++
				}
				if mem.limit > 1000 && len(b.runs) < maxHoles && stored < n {
					t.Fatalf("stored %d of %d", stored, n)
				}
				if at == before && stored == 0 && read == before {
					t.Fatal("nothing to read, and what is next was refused")
				}
			}
			if err := b.check(); err != nil {
				t.Fatal(err)
			}
			if got := b.nxt.Sub(start); got != nxt {
				t.Fatalf("in order up to %d, want %d", got, nxt)
			}
			// The runs are exactly what is there behind it.
			i := nxt
			for _, r := range b.runs {
				l, e := r.left.Sub(start), r.right.Sub(start)
				for ; i < l; i++ {
					if have[i] {
						t.Fatalf("byte %d is in no run", i)
					}
				}
				for ; i < e; i++ {
					if !have[i] {
						t.Fatalf("byte %d is in a run and never came", i)
					}
				}
			}
			var blocks [4]SACKBlock
			for _, s := range blocks[:b.sack(blocks[:], run{})] {
				for q := s.Left; q != s.Right; q = q.Add(1) {
					if !have[q.Sub(start)] {
						t.Fatal("a SACK block reports what never came")
					}
				}
			}
		}
		for b.buffered() > 0 {
			p := b.peek()
			if !bytes.Equal(p, stream(read, read+len(p))) {
				t.Fatalf("%d bytes from %d are wrong", len(p), read)
			}
			read += len(p)
			b.discard(len(p))
		}
		b.reset()
		if len(mem.out) != 0 {
			t.Fatalf("%d chunks are not given back", len(mem.out))
		}
	})
}

func covered(b *recvBuffer, q Seq) bool {
	if q.inRange(b.base, b.nxt) {
		return true
	}
	for _, r := range b.runs {
		if q.inRange(r.left, r.right) {
			return true
		}
	}
	return false
}

// FuzzPassive: the small records panic at nothing, and say what they may.
func FuzzPassive(f *testing.F) {
	ack := header{seq: 0x100, ack: 0x1001, flags: ACK}
	f.Add(append([]byte{0}, ack.append(nil)...))
	syn := header{seq: 0xff, flags: SYN, options: Options{MSS: 1460}}
	f.Add(append([]byte{3}, syn.append(nil)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		var s Segment
		if Parse(b[1:], &s) != nil {
			return
		}
		if b[0]&1 != 0 { // near enough to matter
			s.Seq = 0xff + s.Seq%8
			s.Ack = 0x1000 + s.Ack%4
		}
		now := clock.Time(time.Hour)
		cfg := Config{MSS: 1000, NoTimestamps: b[0]&2 != 0}
		var p Passive
		p.Init(now, &cfg, &Segment{Seq: 0xff, Flags: SYN, Window: 1000, Options: Options{MSS: 1000, HasTS: true, TSVal: 7}}, 0x1000, 9)
		switch v := p.Input(now, &s); v {
		case PassiveEstablish:
			if s.Flags&(SYN|ACK|RST) != ACK || s.Ack != 0x1001 {
				t.Fatalf("established by %+v", s)
			}
			var c Conn
			c.Accept(now, &cfg, &p, &s)
			if err := c.Check(false); err != nil {
				t.Fatal(err)
			}
			tw := c.TimeWait(now)
			verdict, r := tw.Input(now, &s)
			if verdict == TimeWaitReply && r.Flags != ACK {
				t.Fatalf("%+v", r)
			}
			if verdict == TimeWaitReply {
				r.Append(nil, 1, 2)
			}
		case PassiveRefuse:
			if !s.Flags.Has(SYN) || s.Seq == p.irs {
				t.Fatalf("refused for %+v", s)
			}
		case PassiveRemove:
			if !s.Flags.Has(RST) || s.Seq != 0x100 {
				t.Fatalf("removed by %+v", s)
			}
		case PassiveReset:
			if r, ok := ResetFor(&s); !ok || r.Seq != s.Ack || r.Flags != RST {
				t.Fatalf("%+v", r)
			}
		case PassiveAck:
			r := p.AckReply(now)
			r.Append(nil, 1, 2)
		}
	})
}
