package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// TimeWait is a connection in TIME-WAIT: what is needed to answer its old
// segments and to let a new connection of the same ends begin (RFC 9293, section
// 3.6.1).
type TimeWait struct {
	// Expires is when the record can be forgotten.
	Expires clock.Time

	sndNxt, rcvNxt     Seq
	window             uint16
	useTS              bool
	tsRecent, tsOffset uint32
	challenge          clock.Time
	invalidEvery       time.Duration
	keep               bool // see Config.KeepTimeWait
}

// TimeWaitVerdict says what is to be done after an Input.
type TimeWaitVerdict uint8

const (
	// TimeWaitDrop: nothing.
	TimeWaitDrop TimeWaitVerdict = iota
	// TimeWaitReply: send the reply.
	TimeWaitReply
	// TimeWaitRemove: forget the record.
	TimeWaitRemove
	// TimeWaitReopen: forget the record and give the SYN to the listener, with an
	// initial sequence number not below NextISS.
	TimeWaitReopen
)

// TimeWait returns the record of a connection that has entered TIME-WAIT.
func (c *Conn) TimeWait(now clock.Time) TimeWait {
	return TimeWait{
		Expires: now.Add(TimeWaitLen),
		sndNxt:  c.sndNxt, rcvNxt: c.rcvNxt,
		window: uint16(min(max(c.rcvAdv.Sub(c.rcvNxt), 0)>>c.rcvScale, 65535)),
		useTS:  c.useTS, tsRecent: c.tsRecent, tsOffset: c.tsOffset,
		invalidEvery: c.invalidEvery, keep: c.keepTimeWait,
	}
}

// NextISS returns a number above all that the old connection used (RFC 6191,
// section 2, and RFC 9293, section 3.4.3).
func (t *TimeWait) NextISS() Seq { return t.sndNxt.Add(65535 + 2) }

// Input looks at a segment for the old connection.
func (t *TimeWait) Input(now clock.Time, seg *Segment) (TimeWaitVerdict, Reply) {
	paws := t.useTS && seg.Options.HasTS && int32(seg.Options.TSVal-t.tsRecent) < 0
	if seg.Flags.Has(RST) {
		// A reset from the peer can't be told from an old duplicate; ending TIME-WAIT on
		// the latter is the hazard of RFC 1337. The exact number is taken for real, as
		// RFC 5961 and Linux do.
		if !paws && seg.Seq == t.rcvNxt && !t.keep {
			return TimeWaitRemove, Reply{}
		}
		return TimeWaitDrop, Reply{}
	}
	if seg.Flags&(SYN|ACK) == SYN && !paws &&
		(t.rcvNxt.Less(seg.Seq) || t.useTS && seg.Options.HasTS && int32(t.tsRecent-seg.Options.TSVal) < 0) {
		return TimeWaitReopen, Reply{} // RFC 6191, section 2
	}
	if !paws && seg.Len() > 0 {
		// The peer's FIN again: it has not seen our ACK (RFC 9293, section 3.10.7.4).
		t.Expires = now.Add(TimeWaitLen)
	}
	if seg.Len() == 0 && seg.Seq == t.rcvNxt && !paws {
		if t.useTS && seg.Options.HasTS {
			t.tsRecent = seg.Options.TSVal
		}
		return TimeWaitDrop, Reply{}
	}
	if seg.Len() == 0 || seg.Flags.Has(SYN) {
		if now.Before(t.challenge) {
			return TimeWaitDrop, Reply{}
		}
		t.challenge = now.Add(t.invalidEvery)
	}
	r := Reply{Seq: t.sndNxt, Ack: t.rcvNxt, Flags: ACK, Window: t.window}
	if t.useTS {
		r.HasTS, r.TSVal, r.TSEcr = true, uint32(int64(now)/int64(time.Millisecond))+t.tsOffset, t.tsRecent
	}
	return TimeWaitReply, r
}
