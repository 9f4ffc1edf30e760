package direct

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/conformance/player"
	"github.com/netduet/netduet/conformance/sysctl"
	"github.com/netduet/netduet/direct"
)

// ErrUnavailable says that a script is about something that our stack does not have.
var ErrUnavailable = errors.New("our stack cannot play this")

// Play plays a script against a stack made for it. The error is a *player.Failure, or
// wraps ErrUnavailable, or says what could not be set up.
func Play(p *player.Plan, cfg player.Config) (res player.Result, err error) {
	b, err := newBackend(p)
	if err != nil {
		return res, err
	}
	defer b.Close()
	defer func() {
		if x := recover(); x != nil {
			if x != errLivelock {
				panic(x)
			}
			err = fmt.Errorf("%s: %w", p.Script.File, errLivelock)
		}
	}()
	p.Settings.Notes = append(p.Settings.Notes, b.notes...)
	return player.Run(p, b, cfg)
}

const (
	// flight is how long a packet of the remote host is on its way.
	flight = time.Microsecond
	// maxSteps bounds the work of one script: each step is a timer of the stack that
	// expires, or a packet that it takes.
	maxSteps = 1 << 20
)

// errLivelock ends a run whose stack never comes to rest.
var errLivelock = errors.New("the stack does not come to rest: its timers expire without end")

// backend is our stack as a player.Backend.
type backend struct {
	sockets
	wire  *wireDevice
	queue []player.Sent
	notes []string
	steps int
}

var _ player.Backend = (*backend)(nil)

func newBackend(p *player.Plan) (*backend, error) {
	if p.IPv6 {
		return nil, fmt.Errorf("%w: it speaks IPv4 only", ErrUnavailable)
	}
	clk := newVirtualClock()
	b := &backend{wire: &wireDevice{mtu: p.MTU}}
	settings := p.Settings.Config()
	cfg := &direct.Config{
		Interfaces: []direct.Interface{{
			Name: "tun0", Device: b.wire, Addrs: []netip.Prefix{p.Local},
			Routes: []direct.Route{{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}},
		}},
		CloseTimeout: -1,
		Logger:       slog.New(slog.DiscardHandler),
		Clock:        clk,
		Rand:         rand.NewChaCha8([32]byte{}), // the same numbers in every run
		Manual:       true,
	}
	b.notes = configure(cfg, &settings, p.Settings.Assign)
	st, err := direct.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Script.File, err)
	}
	b.sockets.init(clk, st, settings)
	b.settle()
	return b, nil
}

func (b *backend) Now() time.Duration { return b.clk.Now().Sub(origin) }

// settle lets the stack do everything that is due now, and returns when it next
// wants to do something.
func (b *backend) settle() clock.Time {
	for {
		if b.steps++; b.steps > maxSteps {
			panic(errLivelock)
		}
		now := b.clk.Now()
		next := b.stack.Poll(now)
		b.collect()
		if next > now {
			if b.wake() { // a suspended call may have given the stack something to do
				continue
			}
			return next
		}
	}
}

// collect takes what the stack has sent.
func (b *backend) collect() {
	for _, s := range b.wire.take() {
		b.queue = append(b.queue, player.Sent{At: b.Now(), Packet: s.packet, Partial: s.partial})
	}
}

// step moves the clock to the next timer that is due before t, or to t, and reports
// whether it was a timer.
func (b *backend) step(t clock.Time) bool {
	// The alarm of a call may have changed while the stack came to rest.
	next := min(b.settle(), b.alarm)
	if next < t {
		b.clk.set(next)
		return true
	}
	b.clk.set(t)
	return false
}

func (b *backend) SleepUntil(t time.Duration) {
	for b.step(origin.Add(t)) {
	}
}

func (b *backend) Outbound(until time.Duration) (player.Sent, bool) {
	for {
		// One packet that was sent is enough: time goes no further than that.
		b.settle()
		if len(b.queue) > 0 {
			s := b.queue[0]
			b.queue = b.queue[1:]
			return s, true
		}
		if b.Now() >= until {
			return player.Sent{}, false
		}
		b.step(origin.Add(until))
	}
}

func (b *backend) Inject(packet []byte) error {
	b.clk.set(b.clk.Now().Add(flight))
	b.wire.inject(packet)
	b.settle()
	return nil
}

// Do runs the call, and should it block after all, time goes on.
func (b *backend) Do(f func(), until time.Duration) bool {
	c := b.start(f)
	return b.finish(c, until)
}

func (b *backend) Go(f func()) { b.start(f) }

// finish lets time pass until c has returned or the time has come.
func (b *backend) finish(c *call, until time.Duration) bool {
	for !c.done {
		b.settle()
		if c.done {
			break
		}
		if b.Now() >= until {
			return false
		}
		b.step(origin.Add(until))
	}
	b.settle()
	return true
}

func (b *backend) Await(done <-chan struct{}, until time.Duration) bool {
	for {
		b.settle()
		select {
		case <-done:
			return true
		default:
		}
		if b.Now() >= until {
			return false
		}
		b.step(origin.Add(until))
	}
}

// Sysctl changes what sockets and connections begin with from now on.
func (b *backend) Sysctl(name, value string) error {
	before := b.settings
	known, err := b.settings.Apply(sysctl.Assignment{Name: name, Value: value})
	if err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("no sysctl that our stack is told")
	}
	var cfg direct.Config
	notes := configure(&cfg, &b.settings, []sysctl.Assignment{{Name: name, Value: value}})
	b.stack.SetTCP(cfg.TCP)
	for _, fd := range slices.Sorted(maps.Keys(b.files)) {
		if f := b.files[fd]; f.socket != nil && !f.udp {
			b.inherit(f, &before) // a connection that has ended takes nothing
		}
	}
	if len(notes) > 0 {
		return errors.New(notes[0])
	}
	return nil
}

func (b *backend) Close() error {
	b.abandon()
	return b.stack.Close()
}
