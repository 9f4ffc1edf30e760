package tcp

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
)

var (
	cookieLocal  = netip.MustParseAddrPort("10.0.0.1:80")
	cookieRemote = netip.MustParseAddrPort("10.0.0.2:1234")
)

func cookieSecret(t testing.TB) *Secret {
	s, err := NewSecret(rand.NewChaCha8([32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// cookieFor returns the SYN-ACK that answers syn by a cookie, as it is parsed, and the
// record that was forgotten.
func cookieFor(t testing.TB, s *Secret, now clock.Time, cfg *Config, syn *Segment) (Segment, Passive) {
	t.Helper()
	var p Passive
	p.Init(now, cfg, syn, 0, s.TSOffset(cookieLocal, cookieRemote))
	p.MakeCookie(now, s, cookieLocal, cookieRemote)
	b := NewBatch(0)
	p.Output(now, b)
	if len(b.Segments) != 1 {
		t.Fatalf("%d segments", len(b.Segments))
	}
	var a Segment
	if err := Parse(b.Segments[0].Packet, &a); err != nil {
		t.Fatal(err)
	}
	return a, p
}

// ackOf is the peer's answer to the SYN-ACK a.
func ackOf(syn, a *Segment) *Segment {
	return &Segment{
		Seq: syn.Seq.Add(1), Ack: a.Seq.Add(1), Flags: ACK, Window: 1000,
		Options: Options{HasTS: a.Options.HasTS, TSVal: syn.Options.TSVal + 1, TSEcr: a.Options.TSVal},
	}
}

// TestCookieRemembers holds that what a cookie and the timestamp can carry comes back,
// whatever the time, and that nothing is agreed to that does not.
func TestCookieRemembers(t *testing.T) {
	s := cookieSecret(t)
	r := rand.New(rand.NewPCG(1, 2))
	rounded := map[uint16]uint16{0: 536, 1: 48, 48: 48, 255: 48, 256: 256, 535: 256, 536: 536, 1299: 536, 1300: 1300, 1439: 1300, 1440: 1440, 1459: 1440, 1460: 1460, 65535: 1460}
	for mss, want := range rounded {
		for range 200 {
			cfg := Config{LocalPort: 80, RemotePort: 1234, MSS: 1460}
			syn := Segment{Seq: Seq(r.Uint32()), Flags: SYN, Window: 5000}
			o := &syn.Options
			o.MSS, o.SACKPermitted, o.HasTS, o.TSVal = mss, r.IntN(2) == 0, r.IntN(2) == 0, r.Uint32()
			if o.HasWScale = r.IntN(2) == 0; o.HasWScale {
				o.WScale = uint8(r.IntN(15))
			}
			if r.IntN(2) == 0 {
				syn.Flags |= ECE | CWR
			}
			now := clock.Time(r.Int64N(1 << 60))
			a, made := cookieFor(t, s, now, &cfg, &syn)
			if o.HasTS {
				if d := int32(made.tsNow(now) - a.Options.TSVal); d < 0 || d > 63 {
					t.Fatalf("the timestamp is %d ms old", d)
				}
			}
			later := now.Add(time.Duration(r.Int64N(int64(time.Minute))))
			var p Passive
			if !p.FromCookie(later, &cfg, s, cookieLocal, cookieRemote, ackOf(&syn, &a)) {
				t.Fatalf("%+v: not recognized after %v", syn, later.Sub(now))
			}
			if p.peerMSS != want || p.irs != syn.Seq || p.iss != a.Seq || p.localPort != 80 || p.remotePort != 1234 {
				t.Fatalf("%+v came back as %+v", syn, p)
			}
			if p.useTS != o.HasTS || p.useSACK != (o.SACKPermitted && o.HasTS) || p.useScale != (o.HasWScale && o.HasTS) ||
				p.useECN != (o.HasTS && syn.Flags.Has(ECE)) || p.sndScale != made.sndScale || p.rcvScale != made.rcvScale {
				t.Fatalf("%+v came back as %+v", syn, p)
			}
			if a.Options.SACKPermitted != p.useSACK || a.Options.HasWScale != p.useScale || a.Flags.Has(ECE) != p.useECN || a.Window > p.window {
				t.Fatalf("agreed to %+v, remembered %+v", a, p)
			}
		}
	}
}

// TestCookieIsRefused holds what is no cookie: a late one, another pair's, another
// number, another secret's, and options that we never agree to.
func TestCookieIsRefused(t *testing.T) {
	s := cookieSecret(t)
	cfg := Config{LocalPort: 80, RemotePort: 1234, MSS: 1460}
	syn := Segment{Seq: 1000, Flags: SYN, Window: 5000, Options: Options{MSS: 1460, SACKPermitted: true, HasTS: true, TSVal: 1, HasWScale: true}}
	now := clock.Time(100*cookieMinute + 30*time.Second)
	a, _ := cookieFor(t, s, now, &cfg, &syn)
	good := func(after time.Duration, cfg Config, s *Secret, remote netip.AddrPort, change func(*Segment)) bool {
		ack := ackOf(&syn, &a)
		if change != nil {
			change(ack)
		}
		var p Passive
		return p.FromCookie(now.Add(after), &cfg, s, cookieLocal, remote, ack)
	}
	other, err := NewSecret(rand.NewChaCha8([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	if !good(89*time.Second, cfg, s, cookieRemote, nil) {
		t.Error("refused after 89 s, in the minute after the one that it was made in")
	}
	noTS, noSACK, noScale := cfg, cfg, cfg
	noTS.NoTimestamps, noSACK.NoSACK, noScale.NoWindowScaling = true, true, true
	for name, got := range map[string]bool{
		"late":      good(90*time.Second, cfg, s, cookieRemote, nil),
		"very late": good(CookieLife, cfg, s, cookieRemote, nil),
		"256 later": good(256*cookieMinute, cfg, s, cookieRemote, nil),
		"early":     good(-time.Minute, cfg, s, cookieRemote, nil),
		"port":      good(0, cfg, s, netip.MustParseAddrPort("10.0.0.2:1235"), nil),
		"address":   good(0, cfg, s, netip.MustParseAddrPort("10.0.0.3:1234"), nil),
		"secret":    good(0, cfg, &other, cookieRemote, nil),
		"ack":       good(0, cfg, s, cookieRemote, func(g *Segment) { g.Ack = g.Ack.Add(1) }),
		"ack less":  good(0, cfg, s, cookieRemote, func(g *Segment) { g.Ack = g.Ack.Add(-len(cookieMSS)) }),
		"seq":       good(0, cfg, s, cookieRemote, func(g *Segment) { g.Seq = g.Seq.Add(1) }),
		"SACK":      good(0, noSACK, s, cookieRemote, nil),
		"scale":     good(0, noScale, s, cookieRemote, nil),
	} {
		if got {
			t.Errorf("%s: accepted", name)
		}
	}
	// Of who wants no timestamps nothing was agreed upon that they could tell.
	var p Passive
	if !p.FromCookie(now, &noTS, s, cookieLocal, cookieRemote, ackOf(&syn, &a)) || p.useTS || p.useSACK || p.useScale {
		t.Errorf("without timestamps: %+v", p)
	}
}

// FuzzCookie feeds acknowledgements that somebody made up: none panics, none is a
// cookie, and a record made from one with the right number is in bounds.
func FuzzCookie(f *testing.F) {
	f.Add([]byte("\x03\xe8\x07\xd0aaaabbbb\x80\x10\xff\xff\x00\x00\x00\x00\x01\x01\x08\x0aaaaabbbb"), uint64(0), byte(0))
	f.Add([]byte("\x03\xe8\x07\xd0aaaabbbb\x50\x10\xff\xff\x00\x00\x00\x00data"), uint64(1)<<63, byte(5))
	f.Fuzz(func(t *testing.T, b []byte, at uint64, index byte) {
		var seg Segment
		if Parse(b, &seg) != nil {
			return
		}
		s := cookieSecret(t)
		now := clock.Time(at)
		cfg := Config{LocalPort: 80, RemotePort: 1234, MSS: 1460}
		var p Passive
		if p.FromCookie(now, &cfg, s, cookieLocal, cookieRemote, &seg) {
			t.Fatalf("%+v was taken for a cookie", seg)
		}
		// One that knows the number, and makes everything else up.
		seg.Ack = s.cookie(cookieLocal, cookieRemote, seg.Seq.Add(-1), minuteOf(now)).Add(1 + int(index)%len(cookieMSS))
		seg.Flags = seg.Flags&^(SYN|RST) | ACK
		if !p.FromCookie(now, &cfg, s, cookieLocal, cookieRemote, &seg) {
			t.Fatalf("%+v was not taken for a cookie", seg)
		}
		if p.peerMSS < minMSS || p.sndScale > maxScale || p.rcvScale > maxScale {
			t.Fatalf("%+v", p)
		}
		var c Conn
		c.Accept(now, &cfg, &p, &seg)
		c.Release()
	})
}
