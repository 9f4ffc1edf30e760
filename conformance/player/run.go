package player

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/netduet/netduet/conformance/py"
	"github.com/netduet/netduet/conformance/script"
	"github.com/netduet/netduet/conformance/sysctl"
	"github.com/netduet/netduet/conformance/wire"
)

// Config is how strictly scripts are played. The zero value is how published scripts
// are meant.
type Config struct {
	// IgnorePSH and IgnoreOptionOrder leave those out of the comparison.
	IgnorePSH, IgnoreOptionOrder bool
	// StrictSegments demands that data is cut into segments as the script has it.
	// Otherwise one expected segment may come as several, and the other way round.
	StrictSegments bool
	// StrictEnd demands that nothing is left over when the script ends.
	StrictEnd bool
	// Scale multiplies the tolerance; zero is one.
	Scale float64
	// Verbose takes every packet and call as it happens; nil drops them.
	Verbose io.Writer
	// Print takes what scripts print; nil drops it.
	Print io.Writer
}

// Result is what is known after a run, whatever its verdict.
type Result struct {
	Notes   []string      // shell lines passed over and the like
	Trace   []string      // the packets and calls
	Elapsed time.Duration // of the backend's time
}

type run struct {
	plan *Plan
	b    Backend
	cfg  Config
	res  Result

	start time.Duration // the backend's time at script time zero
	prev  time.Duration // script time of the event before
	lag   time.Duration // how late the player itself has been at worst
	event *script.Event

	fds        map[int64]*sock
	conns      []*conn
	cur        *conn
	listener   *sock
	newest     *sock // the TCP socket opened last
	lastBound  uint16
	remotePort uint16

	queue   []arrived
	pending *pending
	machine py.Machine
	info    map[string]int64
	infoErr error
}

// arrived is a packet of the stack that no event has claimed yet.
type arrived struct {
	at time.Duration // script time
	d  *wire.Decoded
}

// firstRemotePort is the port before that of the first passive connection.
const firstRemotePort = 40000

// grace is how long past its tolerance a packet is waited for, to tell one that came
// late from one that did not come.
const grace = 100 * time.Millisecond

// tooSlow is how late the player may be, beyond the tolerance, before a run means
// nothing. In virtual time it is never late.
const tooSlow = 20 * time.Millisecond

// anyTime bounds the wait for an event with the time "*".
const anyTime = 60 * time.Second

// Run plays a script and returns nil or a *Failure. The backend was made for the
// plan, with its addresses, MTU and settings; Run does not close it.
func Run(p *Plan, b Backend, cfg Config) (res Result, err error) {
	r := &run{plan: p, b: b, cfg: cfg, fds: make(map[int64]*sock), remotePort: firstRemotePort}
	if r.cfg.Scale == 0 {
		r.cfg.Scale = 1
	}
	r.machine.Print = cfg.Print
	r.machine.Lookup = r.lookup
	r.res.Notes = append(r.res.Notes, p.Settings.Notes...)
	r.start = b.Now()
	defer func() {
		r.res.Elapsed = b.Now() - r.start
		res = r.res
		if x := recover(); x != nil {
			f, ok := x.(*Failure)
			if !ok {
				panic(x)
			}
			f.Trace, f.Lag = r.res.Trace, r.lag
			err = f
		}
	}()
	// A block that cannot run, or a call that there is not, is an error of the script,
	// whatever happens before it.
	for _, e := range p.Script.Events {
		r.event = e
		switch {
		case e.Code != nil:
			r.pyError(py.Check(e.Code.Text, e.Code.Pos.Line))
		case e.Syscall != nil && !slices.Contains(callNames[:], e.Syscall.Name):
			r.fail(BadScript, "the system call %s is none that scripts can make, which are %s", e.Syscall.Name, strings.Join(callNames[:], ", "))
		}
	}
	for _, e := range p.Script.Events {
		r.event = e
		r.play(e)
	}
	r.end()
	return r.res, nil
}

func (r *run) fail(k Kind, format string, args ...any) {
	panic(&Failure{Pos: r.event.Pos, Kind: k, Text: fmt.Sprintf(format, args...)})
}

func (r *run) failWith(k Kind, expected, actual, format string, args ...any) {
	panic(&Failure{Pos: r.event.Pos, Kind: k, Text: fmt.Sprintf(format, args...), Expected: expected, Actual: actual})
}

// maxTrace bounds what is kept of a long run: the first lines and the last are
// those that explain a failure.
const maxTrace = 400

func (r *run) log(at time.Duration, what fmt.Stringer) {
	line := fmt.Sprintf("%d.%06d %v", at/time.Second, at%time.Second/time.Microsecond, what)
	if r.cfg.Verbose != nil {
		fmt.Fprintln(r.cfg.Verbose, line)
	}
	if len(r.res.Trace) >= maxTrace {
		copy(r.res.Trace[maxTrace/2:], r.res.Trace[maxTrace/2+1:])
		r.res.Trace = r.res.Trace[:maxTrace-1]
	}
	r.res.Trace = append(r.res.Trace, line)
}

// text is a fmt.Stringer of a string.
type text string

func (t text) String() string { return string(t) }

// now is the script time.
func (r *run) now() time.Duration { return r.b.Now() - r.start }

// tolerance is how far an event may be from its time, which is gap after the event
// before. What the player itself did too late, the stack may answer as much later.
func (r *run) tolerance(gap time.Duration) time.Duration {
	t := max(r.plan.Tolerance, time.Duration(float64(gap)*r.plan.Percent/100))
	return time.Duration(float64(t)*r.cfg.Scale) + r.lag
}

// window is when an event may happen, in script time.
func (r *run) window(t script.Time) (from, to time.Duration) {
	switch t.Kind {
	case script.Absolute:
		return t.Start, t.Start
	case script.Relative:
		return r.prev + t.Start, r.prev + t.Start
	case script.AbsoluteRange:
		return t.Start, t.End
	case script.RelativeRange:
		return r.prev + t.Start, r.prev + t.End
	}
	return r.now(), r.now() + anyTime
}

func (r *run) play(e *script.Event) {
	from, to := r.window(e.Time)
	if e.Packet != nil && e.Packet.Dir == script.Outbound {
		at := r.expect(e.Packet, from, to)
		if from != to {
			from = at
		}
		r.prev = from
		return
	}
	r.b.SleepUntil(r.start + from)
	r.collect(e, from)
	if e.Time.Kind != script.AnyTime && from == to {
		late := r.now() - from
		if late > r.tolerance(from-r.prev)+tooSlow {
			r.fail(Slow, "this is %v late", late.Round(time.Microsecond))
		}
		r.lag = max(r.lag, late)
	}
	switch {
	case e.Packet != nil:
		r.inject(e.Packet)
	case e.Syscall != nil:
		r.call(e, from)
	case e.Code != nil:
		r.info, r.infoErr = nil, nil
		r.pyError(r.machine.Run(e.Code.Text, e.Code.Pos.Line))
	case e.Command != nil:
		r.shell(e.Command.Text)
	}
	r.prev = from
}

func (r *run) inject(p *script.Packet) {
	c := r.inbound(p)
	if c.local.Port() == 0 {
		r.fail(BadScript, "the stack has sent nothing yet from which its port could be learnt")
	}
	q := r.injected(c, p)
	b, err := wire.Encode(q, c.tuple())
	if err != nil {
		r.fail(BadScript, "%v", err)
	}
	if p.TCP != nil {
		c.note(p.TCP, script.Inbound)
	}
	r.log(r.now(), p)
	if err := r.b.Inject(b); err != nil {
		r.fail(Slow, "injecting: %v", err)
	}
}

// next returns the next packet of the stack that a script can speak of.
func (r *run) next(until time.Duration) (arrived, bool) {
	if len(r.queue) > 0 {
		a := r.queue[0]
		r.queue = r.queue[1:]
		return a, true
	}
	for {
		s, ok := r.b.Outbound(r.start + until)
		if !ok {
			return arrived{}, false
		}
		d, err := wire.Decode(s.Packet, s.Partial)
		switch {
		case errors.Is(err, wire.ErrOther):
		case err != nil:
			r.fail(Mismatch, "a malformed packet: %v (%x)", err, s.Packet[:min(len(s.Packet), 80)])
		default:
			return arrived{s.At - r.start, d}, true
		}
	}
}

// claim returns the next packet of the current connection.
func (r *run) claim(until time.Duration) (arrived, bool) {
	for {
		a, ok := r.next(until)
		if !ok {
			return a, false
		}
		c := r.outbound(a.d)
		if c != nil && r.cur == nil {
			r.cur = c
		}
		if c == nil || c != r.cur {
			r.log(a.at, text(a.d.Packet.String()+" // of another connection"))
			continue
		}
		return a, true
	}
}

// expect waits for a packet and compares it; it returns when the packet came.
func (r *run) expect(want *script.Packet, from, to time.Duration) time.Duration {
	tol := r.tolerance(to - r.prev)
	a, ok := r.claim(to + tol + grace)
	if !ok {
		panic(&Failure{
			Pos: r.event.Pos, Kind: Mismatch, Expected: want.String(), Late: r.pending != nil,
			Text: fmt.Sprintf("no packet was sent until %v", r.now().Round(time.Microsecond)),
		})
	}
	got := r.seen(r.cur, a.d.Packet, want)
	if !r.cfg.StrictSegments && !r.plan.Strict {
		got = r.reshape(want, got, a, to+tol+grace)
	}
	r.log(a.at, brief(want, got))
	if got.TCP != nil {
		r.cur.note(got.TCP, script.Outbound)
	}
	if s := r.differ(want, got); s != "" {
		if r.tolerated(Mismatch, s) {
			return a.at
		}
		r.failWith(Mismatch, want.String(), brief(want, got).String(), "%s", s)
	}
	if a.at < from-tol || a.at > to+tol {
		when := fmt.Sprint(from)
		if from != to {
			when = fmt.Sprintf("%v to %v", from, to)
		}
		if text := fmt.Sprintf("the packet came at %v instead of %v (tolerance %v)", a.at.Round(time.Microsecond), when, tol); !r.tolerated(Timing, text) {
			r.failWith(Timing, want.String(), "", "%s", text)
		}
	}
	return a.at
}

// reshape makes one segment of several, or puts back what a segment has too much.
func (r *run) reshape(want, got *script.Packet, first arrived, until time.Duration) *script.Packet {
	for mergeable(want, got) {
		a, ok := r.claim(until)
		if !ok {
			return got
		}
		more := r.seen(r.cur, a.d.Packet, want)
		w, g, m := want.TCP, got.TCP, more.TCP
		if m == nil || m.Seq != g.End || g.Len+m.Len > w.Len || m.Len == 0 || m.Flags&^(script.PSH|script.FIN) != g.Flags&^script.PSH {
			r.queue = append([]arrived{a}, r.queue...)
			return got
		}
		k := *g
		k.Len += m.Len
		k.End = m.End
		k.Flags |= m.Flags
		q := *got
		q.TCP = &k
		got = &q
	}
	if splittable(want, got) {
		n := want.TCP.Len
		rest, k := *first.d.Packet.TCP, *got.TCP
		rest.Seq += uint32(n)
		rest.Len -= n
		k.Len, k.End = n, k.Seq+uint32(n)
		k.Flags = k.Flags&^(script.PSH|script.FIN) | want.TCP.Flags&script.PSH
		d, p, q := *first.d, *first.d.Packet, *got
		p.TCP, q.TCP = &rest, &k
		d.Packet = &p
		r.queue = append([]arrived{{first.at, &d}}, r.queue...)
		got = &q
	}
	return got
}

// brief leaves out of a packet of the stack what the script does not speak of, so
// that the two can be compared by eye.
func brief(want, got *script.Packet) *script.Packet {
	q := *got
	if want == nil {
		q.IP = script.Unsaid()
		return &q
	}
	if want.IP.ECN == script.ECNUnsaid {
		q.IP.ECN = script.ECNUnsaid
	}
	if want.IP.TOS < 0 {
		q.IP.TOS = -1
	}
	if want.IP.TTL < 0 {
		q.IP.TTL = -1
	}
	if want.IP.FlowLabel < 0 {
		q.IP.FlowLabel = -1
	}
	if want.TCP != nil && q.TCP != nil {
		k := *q.TCP
		k.ACE = want.TCP.ACE
		q.TCP = &k
	}
	return &q
}

// end checks what is left when the events are over.
func (r *run) end() {
	if p := r.pending; p != nil {
		r.event = p.event
		r.await(p)
	}
	if !r.cfg.StrictEnd {
		return
	}
	tol := r.tolerance(0)
	if a, ok := r.claim(r.now() + tol); ok {
		got := r.seen(r.cur, a.d.Packet, nil)
		r.log(a.at, brief(nil, got))
		r.failWith(Mismatch, "", brief(nil, got).String(), "a packet is left over after the last event")
	}
}

func (r *run) pyError(err error) {
	if err == nil {
		return
	}
	e := err.(*py.Error)
	pos := r.event.Code.Pos
	pos.Line = e.Line
	k := BadScript
	if e.Assert {
		k = Assertion
	}
	panic(&Failure{Pos: pos, Kind: k, Text: e.Text})
}

// lookup gives the names of a block their values: members of tcp_info, constants,
// definitions.
func (r *run) lookup(name string) (py.Value, bool) {
	if len(name) > 5 && name[:5] == "tcpi_" {
		if r.info == nil && r.infoErr == nil {
			if s := r.observed(); s != nil {
				r.info, r.infoErr = r.b.TCPInfo(s.live)
			} else {
				r.infoErr = errors.New("no TCP socket is open")
			}
		}
		if r.infoErr != nil {
			r.fail(BadScript, "%s: %v", name, r.infoErr)
		}
		if v, ok := r.info[name]; ok {
			return v, true
		}
		return nil, false
	}
	if v, ok := r.ccValue(name); ok {
		return v, true
	}
	if v, ok := Symbol(name); ok {
		return v, true
	}
	if v, ok := r.plan.Defines[name]; ok {
		return v, true
	}
	return nil, false
}

// observed is the socket that blocks speak of: that of the current connection, or
// the listener before it is accepted.
func (r *run) observed() *sock {
	if r.cur != nil && r.cur.sock != nil && !r.cur.sock.closed {
		return r.cur.sock
	}
	if r.newest != nil && !r.newest.closed {
		return r.newest
	}
	for _, s := range r.fds {
		if !s.udp && !s.epoll {
			return s
		}
	}
	return nil
}

func (r *run) shell(cmd string) {
	var s sysctl.Settings
	s.Shell(cmd, ".")
	r.res.Notes = append(r.res.Notes, s.Notes...)
	for _, a := range s.Assign {
		if err := r.b.Sysctl(a.Name, a.Value); err != nil {
			r.res.Notes = append(r.res.Notes, fmt.Sprintf("%s=%s: %v", a.Name, a.Value, err))
		}
	}
	r.log(r.now(), text("`"+cmd+"`"))
}
