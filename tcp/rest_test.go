package tcp

import (
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/netduet/netduet/clock"
)

// restBase returns a connection after an exchange in both directions, idle for long
// enough to rest.
func restBase(t *testing.T) (c *Conn, now clock.Time) {
	t.Helper()
	now = clock.Time(time.Hour)
	c = new(Conn)
	b := NewBatch(0)
	flush := func() {
		for c.Output(now, b, OutputAll); len(b.Segments) > 0; c.Output(now, b, OutputAll) {
			c.Sent(now)
		}
		c.Events()
	}
	in := func(seq, ack Seq, flags Flags, data string, o Options) {
		now = now.Add(3 * time.Millisecond)
		o.HasTS, o.TSVal, o.TSEcr = true, 1000, c.tsNow(now.Add(-3*time.Millisecond))
		c.Input(now, &Segment{SrcPort: 7, DstPort: 9, Seq: seq, Ack: ack, Flags: flags, Window: 500, Payload: []byte(data), Options: o})
		flush()
	}
	c.Connect(now, &Config{LocalPort: 9, RemotePort: 7, MSS: 1460, MaxGSO: 60000, KeepAlive: KeepAlive{Enable: true}}, 100, 77)
	flush()
	in(5000, 101, SYN|ACK, "", Options{MSS: 1400, SACKPermitted: true, HasWScale: true, WScale: 7})
	if _, err := c.Write(now, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	flush()
	in(5001, 106, ACK, "you", Options{})
	var p [9]byte
	if n, err := c.Read(now, p[:]); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	flush()
	now = now.Add(100 * time.Millisecond)
	c.Timeout(now) // the delayed ACK
	flush()
	if at := c.RestAt(); at == clock.Never || at <= now {
		t.Fatalf("may rest at %v, now %v: %+v", at, now, c)
	}
	now = c.RestAt()
	return c, now
}

// restScratch is what Rest may forget of an idle connection, and why.
func restScratch() map[string]string {
	return map[string]string{
		"rstSeq": "with rstOwed only", "reply": "with replyOwed only",
		"prr": "during fast recovery only", "tlp": "with a probe under way only",
		"undo":    "the episode is over; a D-SACK after the pause comes too late",
		"ecn.ask": "of the handshake", "frto": "during loss recovery only", "partials": "likewise", "stamps": "there are no gaps; what was sent before the pause is not only late", "news": "of one acknowledgement", "tlpNew": "within one Output",
		"packetsOut": "nothing is outstanding", "highSacked": "likewise", "repeat": "likewise", "deferred": "likewise", "lossSince": "likewise", "lostSegs": "differences count", "burstRate": "computed anew", "deliveredAt": "set anew when nothing is in flight",
		"rate": "as deliveredAt; appLimited is kept as a bit, as it is the count itself",
		"pace": "the schedule of the past", "usage": "of the round trip that is over",
		"dupReport": "reported", "dupReported": "reported", "challenge": "in the past",
		"rack.xmitAt": "older than all that will be sent", "rack.endSeq": "with xmitAt", "rack.xmitWave": "likewise", "rack.rttEnd": "acknowledged", "rack.rttWave": "acknowledged", "wave": "nothing of an earlier one is in flight", "rack.advanced": "likewise",
		"rack.dsack": "the episode is over", "rack.dsackAt": "a round trip ago", "rack.next": "SND.UNA", "rack.first": "empty", "rack.worked": "for tests",
		"urgent.state": "passed by the reader, or refused: TestRestRefuses", "urgent.at": "with a state only", "urgent.octet": "with a state only", "urgent.up": "with sending only", "offered": "of the handshake", "ack.pushed": "with owed only", "gapAcks": "there is no gap", "gapAt": "likewise", "ack.lastSize": "a hint", "ack.opened": "acknowledged", "ack.apart": "acknowledged", "ack.runs": "acknowledged",
		"finSeq": "follows from finTaken", "chrono.since": "only idleness is counted from it", "chrono.total.0": "is told nobody",
		"tuning.more": "sent", "unpushed": "sent", "tuning.noSpace": "there is space",
		"sackedOut": "nothing is outstanding", "lostOut": "likewise", "retransOut": "likewise",
		"retransHint": "likewise", "sndSml": "acknowledged",
		"repeatedVain": "nothing is outstanding",
		"sndBuf.base":  "SND.UNA", "sndBuf.off": "empty", "rcvBuf.off": "empty", "rcvBuf.base": "RCV.NXT", "rcvBuf.recent": "empty", "rcvBuf.nrecent": "empty", "rcvBuf.ahead": "empty",
		"ranges.head": "empty", "sndBuf.chunks.head": "empty", "rcvBuf.chunks.head": "empty",
		"sndBuf.chunks.count": "empty", "rcvBuf.chunks.count": "empty: holes only",
		"cubic.prior": "undo is over", "cubic.undo": "undo is over", "cubic.hystart.minRTT": "cubic's",
		"cubic.hystart.roundEnd": "restarts", "cubic.hystart.began": "restarts", "cubic.hystart.lastAck": "restarts", "cubic.hystart.curMin": "restarts", "cubic.hystart.samples": "restarts",
		"cubic.hystartPP": "restarts", "cubic.cssAcked": "restarts", "cubic.renoWindow.mss": "the segment size", "cubic.renoWindow.acked": "less than a window",
		"cubic.renoWindow.priorWindow": "undo is over", "cubic.renoWindow.priorThreshold": "undo is over",
		"cubic.cubicEpoch.origin": "of the epoch", "cubic.cubicEpoch.k": "of the epoch", "cubic.cubicEpoch.reno": "of the epoch", "cubic.cubicEpoch.acked": "of the epoch",
		"cubic.cubicEpoch.epoch": "restarts", "cubic.cubicEpoch.inEpoch": "restarts", "cubic.cubicEpoch.count": "of the epoch", "cubic.cubicEpoch.last": "of the epoch", "cubic.cubicEpoch.lastAt": "of the epoch",
		"mtu.most": "sndMSS", "mtu.path": "sndMSS", "mtu.on": "with a mode only", "mtu.base": "with a mode only", "mtu.low": "with a mode only", "mtu.high": "with a mode only",
		"mtu.size": "nothing is outstanding", "mtu.start": "nothing is outstanding", "mtu.end": "nothing is outstanding", "mtu.at": "with a mode only", "rw.most": "follows from space, which may have been larger", "rw.charged": "nothing is buffered", "rw.tailRoom": "nothing is buffered", "rw.share": "set anew when data arrives",
		"drs.lastEcr": "in the past", "drs.sampled": "with lastEcr", "drs.roundSeq": "the window's round is over", "drs.roundAt": "likewise",
		"drs.seq": "a measurement begins anew", "drs.at": "likewise", "drs.rtt": "kept in microseconds",
	}
}

// TestRestKeepsEverything changes each field of an idle connection: Rest must refuse
// it, or Wake must bring the change back, or restScratch says why it need not. A
// field that is new to Conn fails here until rest.go knows it.
func TestRestKeepsEverything(t *testing.T) {
	restScratch := restScratch()
	used := map[string]bool{}
	kept, refused := 0, 0
	c, now := restBase(t)
	var walk func(name string, off uintptr, typ reflect.Type)
	walk = func(name string, off uintptr, typ reflect.Type) {
		if restScratch[name] != "" {
			used[name] = true
			return
		}
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				f := typ.Field(i)
				n := f.Name
				if name != "" {
					n = name + "." + n
				}
				walk(n, off+f.Offset, f.Type)
			}
			return
		case reflect.Array:
			for i := range typ.Len() {
				walk(name+"."+string(rune('0'+i)), off+uintptr(i)*typ.Elem().Size(), typ.Elem())
			}
			return
		case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Func:
			return
		}
		fresh, _ := restBase(t)
		v := reflect.NewAt(typ, unsafe.Add(unsafe.Pointer(fresh), off)).Elem()
		switch typ.Kind() {
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Float64:
			v.SetFloat(v.Float() + 1)
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			v.SetInt(v.Int() + 1)
		default:
			v.SetUint(v.Uint() + 1)
		}
		want := v.Interface()
		var r Rest
		if !fresh.Rest(now, &r) {
			refused++
			return
		}
		var woken Conn
		woken.Wake(&r, heap{})
		kept++
		if got := reflect.NewAt(typ, unsafe.Add(unsafe.Pointer(&woken), off)).Elem().Interface(); got != want {
			t.Errorf("%s was %v, and is %v after a rest", name, want, got)
		}
	}
	walk("", 0, reflect.TypeFor[Conn]())
	if kept < 80 || refused < 20 {
		t.Errorf("%d fields kept and %d refused: too few to be true", kept, refused)
	}
	for name := range restScratch {
		if !used[name] {
			t.Errorf("restScratch names %s, which there is not", name)
		}
	}
	var r Rest
	if !c.Rest(now, &r) {
		t.Fatal("an idle connection does not rest")
	}
	if r.more != nil {
		t.Errorf("an ordinary connection has more: %+v", *r.more)
	}
	if size := unsafe.Sizeof(r); size > 352 {
		t.Errorf("a Rest has %d bytes", size)
	}
	t.Logf("%d fields kept, %d refused, %d left out; %d bytes for %d", kept, refused, len(restScratch), unsafe.Sizeof(r), unsafe.Sizeof(*c))
}

// TestRestFigures: what a connection shows is the same before and after.
func TestRestFigures(t *testing.T) {
	c, now := restBase(t)
	c.stats.retransmits, c.stats.bytesIn = 3, 1<<40
	c.SetKeepAlive(now, KeepAlive{Enable: true, Idle: time.Hour + 1, Interval: 2, Count: 1 << 20})
	c.SetNotSentLowat(99)
	c.SetUserTimeout(time.Minute)
	c.SetController(now, NewBBR())
	c.Events()
	info, linux, at := c.Info(), c.LinuxInfo(now), c.Deadline()
	var r Rest
	if !c.Rest(now, &r) {
		t.Fatal("no rest")
	}
	if c.State() != StateClosed || c.cc != nil {
		t.Errorf("a Conn that is free is %+v", c)
	}
	c.Wake(&r, heap{})
	if got := c.Info(); got != info {
		t.Errorf("Info is %+v\nwas %+v", got, info)
	}
	if got := c.LinuxInfo(now); got != linux {
		t.Errorf("LinuxInfo is %+v\nwas %+v", got, linux)
	}
	if got := c.Deadline(); got != at {
		t.Errorf("Deadline is %v, was %v", got, at)
	}
	if c.keepAlive.Count != 1<<20 || c.keepAlive.Idle != time.Hour+1 || c.tuning.notSentLowat != 99 {
		t.Errorf("%+v, %+v", c.keepAlive, c.tuning)
	}
	if _, ok := c.cc.(*bbr); !ok {
		t.Errorf("the controller is a %T", c.cc)
	}
}

// TestRestRefuses: nothing rests that has something to do.
func TestRestRefuses(t *testing.T) {
	var r Rest
	c, now := restBase(t)
	if c.Rest(now.Add(-1), &r) {
		t.Error("rests too early")
	}
	c.Write(now, []byte("x"))
	if c.Rest(now.Add(time.Hour), &r) || c.RestAt() != clock.Never {
		t.Error("rests with unsent data")
	}
	c, now = restBase(t)
	c.Input(now, &Segment{Seq: c.rcvNxt, Ack: c.sndNxt, Flags: ACK, Window: 500, Payload: []byte("x")})
	if c.Rest(now.Add(time.Hour), &r) {
		t.Error("rests with unread data")
	}
	c, now = restBase(t)
	c.CloseWrite(now)
	if c.Rest(now.Add(time.Hour), &r) {
		t.Error("rests with a FIN to send")
	}
	c, now = restBase(t)
	c.Input(now, &Segment{Seq: c.rcvNxt.Add(5), Ack: c.sndNxt, Flags: ACK, Window: 500, Payload: []byte("x")})
	c.Events()
	if c.Rest(now.Add(time.Hour), &r) {
		t.Error("rests with data out of order")
	}
	c, now = restBase(t)
	c.urgent.state, c.urgent.at = urgentHere, c.rcvBuf.base
	if c.Rest(now, &r) {
		t.Error("rests with an urgent octet that nobody has read")
	}
}
