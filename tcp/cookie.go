package tcp

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/netduet/netduet/clock"
)

// SynCookies says when a listener answers a SYN without keeping a record of it (RFC
// 4987, section 3.6), as tcp_syncookies does in Linux.
type SynCookies uint8

const (
	// SynCookiesWhenFull: while there are as many half-open connections as the listener
	// allows.
	SynCookiesWhenFull SynCookies = iota
	// SynCookiesNever: the listener refuses SYNs instead.
	SynCookiesNever
	// SynCookiesAlways: for tests, and for listeners that are attacked all the time.
	SynCookiesAlways
)

// A cookie is an initial sequence number that says what a record would have kept: a
// keyed hash of the pair of ends, the peer's initial sequence number and the minute,
// plus the index of the peer's segment size in cookieMSS. All 32 bits are the hash's,
// so that one acknowledgement made up at random is accepted with a chance of
// cookieLives times len(cookieMSS) in 2^32.
//
// What remains of the options travels in the low bits of the timestamp, which the peer
// echoes. They are not protected, as the peer could have asked for anything.
const (
	cookieMinute = time.Minute
	// cookieLives is for how many minutes a cookie is good, the one it was made in
	// included: for one to two minutes altogether, as in Linux.
	cookieLives = 2

	cookieNoScale = 0xf      // the four bits of the window scale say that there is none
	cookieSACK    = 1 << 4   //
	cookieECN     = 1 << 5   //
	cookieStamp   = 1<<6 - 1 // all the bits that are not the time's
)

// CookieLife is for how long after a cookie was made an acknowledgement may be one's.
const CookieLife = cookieLives * cookieMinute

// cookieMSS are the segment sizes that a cookie can tell apart, the largest that the
// peer takes being meant. From 536 on they are Linux's: what is common on the Internet.
// Linux raises smaller ones to 536, which is more than the peer said that it takes (RFC
// 9293, section 3.7.1).
var cookieMSS = [...]uint16{minMSS, 256, 536, 1300, 1440, 1460}

// cookie returns the hash for a pair of ends and a minute.
func (s *Secret) cookie(local, remote netip.AddrPort, irs Seq, minute uint64) Seq {
	var b [48]byte
	l, r := local.Addr().As16(), remote.Addr().As16()
	copy(b[0:], l[:])
	copy(b[16:], r[:])
	binary.BigEndian.PutUint16(b[32:], local.Port())
	binary.BigEndian.PutUint16(b[34:], remote.Port())
	binary.BigEndian.PutUint32(b[36:], uint32(irs))
	binary.BigEndian.PutUint64(b[40:], minute)
	return Seq(uint32(s.cookies.Sum64(b[:])))
}

func minuteOf(now clock.Time) uint64 { return uint64(now) / uint64(cookieMinute) }

// MakeCookie makes of a record that Init has made one that need not be kept: Output
// gives a SYN-ACK whose acknowledgement FromCookie recognizes. Without timestamps, the
// segment size is all that is left of the peer's options, and the SYN-ACK agrees to
// none.
func (p *Passive) MakeCookie(now clock.Time, s *Secret, local, remote netip.AddrPort) {
	p.cookie = true
	if !p.useTS {
		p.useScale, p.useSACK, p.useECN = false, false, false
		p.sndScale, p.rcvScale = 0, 0
	}
	mss := cmp.Or(p.peerMSS, DefaultMSS)
	i := len(cookieMSS) - 1
	for i > 0 && cookieMSS[i] > mss {
		i--
	}
	p.iss = s.cookie(local, remote, p.irs, minuteOf(now)).Add(i)
}

// cookieTime is the timestamp of a SYN-ACK with a cookie: the latest one, up to now,
// that has the options in its low bits. The offset comes on top.
func (p *Passive) cookieTime(now clock.Time) uint32 {
	bits := uint32(cookieNoScale)
	if p.useScale {
		bits = uint32(p.sndScale)
	}
	if p.useSACK {
		bits |= cookieSACK
	}
	if p.useECN {
		bits |= cookieECN
	}
	ms := p.tsNow(now) - p.tsOffset
	t := ms&^cookieStamp | bits
	if t&cookieStamp > ms&cookieStamp {
		t -= cookieStamp + 1
	}
	return t + p.tsOffset
}

// FromCookie makes the record anew from seg, an ACK that reached a listener, and
// reports whether it acknowledges a cookie of the last minutes. [Conn.Accept] then makes
// the connection.
func (p *Passive) FromCookie(now clock.Time, cfg *Config, s *Secret, local, remote netip.AddrPort, seg *Segment) bool {
	iss, irs := seg.Ack.Add(-1), seg.Seq.Add(-1)
	mss := uint16(0)
	for age := range uint64(cookieLives) {
		i := uint32(iss - s.cookie(local, remote, irs, minuteOf(now)-age))
		if i < uint32(len(cookieMSS)) {
			mss = cookieMSS[i]
			break
		}
	}
	if mss == 0 {
		return false
	}
	// The SYN as it was, as far as it is known.
	syn := Segment{Seq: irs, Flags: SYN, Window: seg.Window, Options: Options{MSS: mss}}
	tsOffset := s.TSOffset(local, remote)
	// Where timestamps are off, those of a peer that sends them all the same are not looked at.
	if o := &seg.Options; o.HasTS && !cfg.NoTimestamps {
		bits := o.TSEcr - tsOffset
		syn.Options.HasTS, syn.Options.TSVal = true, o.TSVal
		syn.Options.SACKPermitted = bits&cookieSACK != 0
		if scale := bits & 0xf; scale != cookieNoScale {
			syn.Options.HasWScale, syn.Options.WScale = true, uint8(min(scale, maxScale))
		}
		if bits&cookieECN != 0 {
			syn.Flags |= ECE | CWR
		}
	}
	if syn.Options.SACKPermitted && cfg.NoSACK || syn.Options.HasWScale && cfg.NoWindowScaling {
		return false // we have not agreed to that
	}
	p.Init(now, cfg, &syn, iss, tsOffset)
	// The window is reckoned anew, in segments of the peer's (as Linux has it), but takes
	// nothing back that the SYN-ACK has said.
	p.window = max(p.window, uint16(min(cfg.initialWindow(int(mss)), 65535)))
	p.cookie = true
	// Nobody knows how long the acknowledgement took, unless a timestamp tells, nor
	// whether it was the first SYN-ACK that it is for.
	p.resent = true
	return true
}
