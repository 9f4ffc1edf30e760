package tcp

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

// TestFastOpenKeys: the words of the sysctl, and what is none.
func TestFastOpenKeys(t *testing.T) {
	keys, err := ParseFastOpenKeys("a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4,00000001-2-3-4\n")
	if err != nil || len(keys) != 2 || keys[1] != (FastOpenKey{0: 1, 4: 2, 8: 3, 12: 4}) {
		t.Fatalf("%x, %v", keys, err)
	}
	for _, bad := range []string{"", "1-2-3", "1-2-3-4-5", "1-2-3-g", "1-2-3-100000000", "1-2-3-4,1-2-3-4,1-2-3-4", "1-2-3-4,"} {
		if keys, err := ParseFastOpenKeys(bad); err == nil {
			t.Errorf("%q is %x", bad, keys)
		}
	}
	// What Linux 6.18 gives 192.0.2.1 for 192.168.0.1 with this key.
	client, server := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.168.0.1")
	k := keys[0].Cookie(server, client)
	if want := []byte{0x30, 0x21, 0xb9, 0xd8, 0x89, 0x01, 0x7e, 0xeb}; !bytes.Equal(k.Bytes(), want) {
		t.Errorf("%x, want %x", k.Bytes(), want)
	}
	other := netip.MustParseAddr("192.0.2.2")
	if k == keys[0].Cookie(server, other) || k == keys[0].Cookie(other, client) || k == keys[1].Cookie(server, client) {
		t.Error("a cookie is good elsewhere")
	}
	six := keys[0].Cookie(netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"))
	if six.Len() != cookieLength || six == k {
		t.Errorf("%x over IPv6", six.Bytes())
	}
}

// TestFastCookieLengths: 4 to 16 bytes, an even number (RFC 7413, section 4.1.1).
func TestFastCookieLengths(t *testing.T) {
	for n := range 20 {
		_, ok := MakeFastCookie(make([]byte, n))
		if want := n >= 4 && n <= 16 && n%2 == 0; ok != want {
			t.Errorf("%d bytes: %v", n, ok)
		}
	}
}

// FuzzFastOpen: whatever follows a SYN that Fast Open has let in, or answers one of ours,
// the connection keeps its invariants, gives the SYN's bytes once and first, tells what
// came of it once, and pins nothing.
func FuzzFastOpen(f *testing.F) {
	f.Add(true, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add(false, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add(true, []byte{5, 5, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9})
	f.Add(false, []byte{3, 9, 9, 0, 200, 7, 2, 1, 6})
	f.Fuzz(func(t *testing.T, passive bool, ops []byte) {
		mem := newPoison(t, 1<<24)
		cfg := Config{LocalPort: 1, RemotePort: 2, MSS: 1460, Memory: mem}
		now := clock.Time(time.Hour)
		const irs, iss = Seq(0xffffff00), Seq(0x7fffff80)
		said := []byte("what the SYN brings")
		cookie, _ := MakeFastCookie([]byte("a cookie"))
		var c Conn
		var news FastOpenNews
		told := 0
		b := NewBatch(0)
		settle := func() {
			if err := c.Check(false); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				c.Output(now, b, OutputAll)
				if len(b.Segments) == 0 {
					break
				}
				for i := range b.Segments {
					var s Segment
					if err := Parse(append([]byte(nil), b.Segments[i].Packet...), &s); err != nil {
						t.Fatal(err)
					}
					if s.Options.FastOpen != FastOpenNone && !s.Flags.Has(SYN) {
						t.Fatalf("an option on %+v", s)
					}
				}
				c.Sent(now)
			}
			if c.Events()&EventFastOpen != 0 {
				n := c.TakeFastOpen()
				if n.Passive || n.Answered {
					told++
					news = n
				}
			}
			if err := c.Check(true); err != nil {
				t.Fatal(err)
			}
		}
		if passive {
			syn := Segment{SrcPort: 2, DstPort: 1, Seq: irs, Flags: SYN, Window: 60000, Payload: said, Options: Options{MSS: 1460}}
			var p Passive
			p.Init(now, &cfg, &syn, iss, 7)
			c.AcceptFast(now, &cfg, &p, &syn, FastOpenStandard, cookie)
		} else {
			c.Connect(now, &cfg, iss, 7)
			c.FastOpen(&FastStart{Form: FastOpenStandard, Cookie: cookie, Data: true, Defer: true})
			settle()
			if n := c.FastWrite(now, said); n != len(said) {
				t.Fatalf("%d bytes on the SYN", n)
			}
		}
		settle()
		var got []byte
		for len(ops) > 0 {
			op := ops[0]
			arg := 0
			if ops = ops[1:]; len(ops) > 0 {
				arg = int(int8(ops[0]))
			}
			seg := Segment{SrcPort: 2, DstPort: 1, Seq: c.rcvNxt, Ack: c.sndNxt, Flags: ACK, Window: 1000}
			if c.state == StateSynSent {
				seg.Seq, seg.Flags = irs, SYN|ACK
				seg.Options.MSS = 1000
			}
			switch op % 16 {
			case 0:
				c.Input(now, &seg)
			case 1:
				seg.Ack = seg.Ack.Add(arg)
				c.Input(now, &seg)
			case 2:
				seg.Payload = bytes.Repeat([]byte("x"), max(arg, 0))
				c.Input(now, &seg)
			case 3:
				seg.Seq = seg.Seq.Add(arg)
				c.Input(now, &seg)
			case 4:
				seg.Flags |= FIN
				c.Input(now, &seg)
			case 5: // the SYN again, or another one
				seg = Segment{SrcPort: 2, DstPort: 1, Seq: irs.Add(min(arg, 0)), Flags: SYN, Window: 1000, Payload: said[:max(min(arg, len(said)), 0)]}
				c.Input(now, &seg)
			case 6:
				seg.Flags = RST | ACK
				seg.Seq = seg.Seq.Add(arg % 2)
				c.Input(now, &seg)
			case 7:
				seg.Options.SetFastOpen(FastOption(arg&3%3), cookie)
				c.Input(now, &seg)
			case 8:
				c.Write(now, make([]byte, max(arg, 0)*20))
			case 9:
				if at := c.Deadline(); at != clock.Never {
					now = max(now, at)
					c.Timeout(now)
				}
			case 10:
				now = now.Add(time.Duration(max(arg, 0)) * time.Millisecond)
				c.Timeout(now)
			case 11:
				c.CloseWrite(now)
			case 12:
				c.ICMPError(now, c.sndUna.Add(arg), io.ErrNoProgress)
			case 13:
				c.PacketTooBig(now, c.sndUna.Add(arg), 600)
			case 14:
				if arg > 100 {
					c.Close(now)
				}
			case 15:
				var p [64]byte
				n, _ := c.Read(now, p[:])
				got = append(got, p[:n]...)
			}
			settle()
		}
		if passive && !bytes.HasPrefix(got, said) && !bytes.HasPrefix(said, got) {
			t.Fatalf("read %q", got)
		}
		if passive && bytes.Count(got, said) > 1 {
			t.Fatalf("read %q", got)
		}
		c.Abort(now)
		settle()
		if told > 1 || passive && told != 1 {
			t.Fatalf("told %d times, last %+v", told, news)
		}
		if c.fast != nil {
			t.Fatal("what the handshake needed is still there")
		}
		c.Release()
		if n := len(mem.out); n != 0 {
			t.Fatalf("%d chunks are still out", n)
		}
	})
}
