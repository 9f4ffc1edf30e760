package tcp_test

import (
	"fmt"
	"hash/fnv"
	"io"
	"testing"
	"time"

	"github.com/netduet/netduet/internal/tcpsim"
	"github.com/netduet/netduet/tcp"
)

// pair runs two connections against each other over a simulated path, each held to
// its invariants after every call.
type pair struct {
	*tcpsim.Sim
	up, down *tcpsim.Transfer
	t        *testing.T
	cfg      tcpsim.Config
}

func newPair(t *testing.T, cfg tcpsim.Config, up, down int) *pair {
	t.Helper()
	cfg.Flushed = func(d *tcpsim.Side) {
		if err := d.Conn.Check(true); err != nil {
			t.Fatalf("seed %d: %s: %v", cfg.Seed, d.Name, err)
		}
	}
	p := &pair{Sim: tcpsim.New(cfg), t: t, cfg: cfg}
	p.up, p.down = p.Transfer(p.A, p.B, up), p.Transfer(p.B, p.A, down)
	return p
}

func (p *pair) elapsed() time.Duration { return time.Duration(p.Now) - time.Hour }

// finish runs until both directions have all their bytes and the end, and both
// connections have ended in order.
func (p *pair) finish(limit time.Duration) {
	p.t.Helper()
	ok := p.Run(limit, func() bool {
		return p.up.Err != nil || p.down.Err != nil || p.up.End != nil && p.down.End != nil
	})
	for _, tr := range []*tcpsim.Transfer{p.up, p.down} {
		if !ok || tr.Err != nil || tr.End != io.EOF || tr.Read != tr.Written {
			p.t.Fatalf("seed %d: after %v: %+v\nA %v %+v\nB %v %+v", p.cfg.Seed, p.elapsed(), tr,
				p.A.Conn.Err(), p.A.Conn.Info(), p.B.Conn.Err(), p.B.Conn.Info())
		}
	}
	over := func(d *tcpsim.Side) bool {
		s := d.Conn.State()
		return s == tcp.StateClosed || s == tcp.StateTimeWait
	}
	if !p.Run(10*time.Minute, func() bool { return over(p.A) && over(p.B) }) {
		p.t.Fatalf("seed %d: %v and %v at the end", p.cfg.Seed, p.A.Conn.State(), p.B.Conn.State())
	}
	if p.A.Conn.Err() != nil || p.B.Conn.Err() != nil {
		p.t.Fatalf("seed %d: %v, %v", p.cfg.Seed, p.A.Conn.Err(), p.B.Conn.Err())
	}
}

const wrapISS = tcp.Seq(1<<32 - 40000)

// few is n, or 1 where a run is to be short, as under the race detector: simulations have
// no goroutines, and take ten times as long there.
func few(n uint64) uint64 {
	if testing.Short() {
		return 1
	}
	return n
}

func both(p tcpsim.Path) tcpsim.Config {
	return tcpsim.Config{AtoB: p, BtoA: p, A: tcp.Config{MSS: 1460}, B: tcp.Config{MSS: 1460}}
}

// TestPairs is a table of impairments by kinds of connections, some seeds each.
func TestPairs(t *testing.T) {
	const ms = time.Millisecond
	paths := map[string]tcpsim.Config{
		"loss":      both(tcpsim.Path{Delay: 5 * ms, Loss: 0.03}),
		"burst":     both(tcpsim.Path{Delay: 5 * ms, Loss: 0.005, Burst: 0.8}),
		"reorder":   both(tcpsim.Path{Delay: 5 * ms, Reorder: 0.1, ReorderBy: 3 * ms}),
		"late":      both(tcpsim.Path{Delay: 5 * ms, Reorder: 0.03, ReorderBy: 300 * ms}),
		"duplicate": both(tcpsim.Path{Delay: 5 * ms, Duplicate: 0.2}),
		"jitter":    both(tcpsim.Path{Delay: ms, Jitter: 50 * ms}),
		"queue":     both(tcpsim.Path{Delay: 5 * ms, Rate: 1 << 20, Queue: 20000}),
		"all":       both(tcpsim.Path{Delay: 5 * ms, Jitter: 5 * ms, Loss: 0.05, Burst: 0.3, Duplicate: 0.05, Reorder: 0.05}),
	}
	lossyAcks := both(tcpsim.Path{Delay: 5 * ms})
	lossyAcks.BtoA.Loss = 0.4
	paths["ack loss"] = lossyAcks
	kinds := map[string]func(cfg *tcpsim.Config){
		"plain":           func(cfg *tcpsim.Config) {},
		"no SACK":         func(cfg *tcpsim.Config) { cfg.A.NoSACK = true },
		"no timestamps":   func(cfg *tcpsim.Config) { cfg.B.NoTimestamps = true },
		"nothing":         func(cfg *tcpsim.Config) { cfg.A.NoSACK, cfg.A.NoTimestamps, cfg.A.NoWindowScaling = true, true, true },
		"GSO":             func(cfg *tcpsim.Config) { cfg.A.MaxGSO, cfg.B.MaxGSO = 65000, 65000 },
		"GSO, no SACK":    func(cfg *tcpsim.Config) { cfg.A.MaxGSO, cfg.A.NoSACK, cfg.B.MaxGSO = 65000, true, 20000 },
		"tiny windows":    func(cfg *tcpsim.Config) { cfg.B.ReceiveBuffer, cfg.A.ReceiveBuffer = 2048, 2048 },
		"small segments":  func(cfg *tcpsim.Config) { cfg.B.MSS = 60 },
		"fast open":       func(cfg *tcpsim.Config) { cfg.FastOpen = true },
		"simultaneous":    func(cfg *tcpsim.Config) { cfg.Both = true },
		"small buffers":   func(cfg *tcpsim.Config) { cfg.A.SendBuffer, cfg.B.SendBuffer = 3000, 2048 },
		"no delay at all": func(cfg *tcpsim.Config) { cfg.A.NoDelay, cfg.B.NoDelay = true, true },
	}
	for pathName, path := range paths {
		for kindName, kind := range kinds {
			t.Run(pathName+"/"+kindName, func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(3) {
					cfg := path
					kind(&cfg)
					h := fnv.New64a() // seeds that differ from row to row
					fmt.Fprint(h, pathName, kindName, seed)
					cfg.Seed = h.Sum64()
					if seed > 0 {
						cfg.ISSA, cfg.ISSB = wrapISS, wrapISS+30000
					}
					n := 150000
					if kindName == "tiny windows" || kindName == "small segments" {
						n = 60000
					}
					newPair(t, cfg, n, n/3).finish(time.Hour)
				}
			})
		}
	}
}

// Loss of any single segment of a short connection, and of any two: nothing stalls
// for longer than the timers need.
func TestEveryLoss(t *testing.T) {
	run := func(t *testing.T, both, fast bool, lose func(n int) bool) int {
		cfg := tcpsim.Config{
			FastOpen: fast,
			AtoB:     tcpsim.Path{Delay: time.Millisecond}, BtoA: tcpsim.Path{Delay: time.Millisecond},
			A: tcp.Config{MSS: 1000}, B: tcp.Config{MSS: 1000}, Both: both,
			ISSA: wrapISS + 39500, ISSB: wrapISS + 39000,
		}
		total := 0
		cfg.Drop = func(bool, int, *tcp.Segment) bool {
			total++
			return lose(total)
		}
		newPair(t, cfg, 3500, 1200).finish(time.Minute)
		return total
	}
	for _, kind := range []struct{ both, fast bool }{{}, {both: true}, {fast: true}, {both: true, fast: true}} {
		both, fast := kind.both, kind.fast
		t.Run(fmt.Sprintf("simultaneous=%v fast=%v", both, fast), func(t *testing.T) {
			n := run(t, both, fast, func(int) bool { return false })
			if n < 10 || n > 60 {
				t.Fatalf("%d segments", n)
			}
			for i := 1; i <= n; i++ {
				for j := i; j <= n; j++ {
					if !t.Run("", func(t *testing.T) { run(t, both, fast, func(k int) bool { return k == i || k == j }) }) {
						t.Fatalf("without segments %d and %d", i, j)
					}
				}
			}
		})
	}
}

// A reader that pauses closes the window; whatever is lost then, the transfer goes
// on when it resumes.
func TestReaderPauses(t *testing.T) {
	for seed := range uint64(10) {
		p := tcpsim.Path{Delay: 5 * time.Millisecond, Loss: 0.1 * float64(seed%2)}
		cfg := both(p)
		cfg.Seed = seed
		cfg.B.ReceiveBuffer = 20000
		pr := newPair(t, cfg, 200000, 0)
		for i := range 6 {
			pr.After(time.Duration(30+i*200)*time.Second, pr.up.Resume)
			pr.After(time.Duration(30+i*200)*time.Second+12*time.Millisecond, pr.up.Pause)
		}
		pr.up.Pause()
		pr.After(2000*time.Second, pr.up.Resume)
		pr.finish(2 * time.Hour)
		if in := pr.A.Conn.Info(); in.ProbesOut == 0 && in.Timeouts == 0 {
			t.Errorf("seed %d: the window never closed: %+v", seed, in)
		}
	}
}

// A path that shrinks in the middle and says so.
func TestPathMTU(t *testing.T) {
	for _, gso := range []int{0, 65000} {
		cfg := both(tcpsim.Path{Delay: 10 * time.Millisecond, Rate: 1 << 20})
		cfg.A.MaxGSO = gso
		var p *pair
		told := 0
		cfg.Drop = func(fromA bool, n int, s *tcp.Segment) bool {
			if !fromA || len(s.Payload) <= 988 || p == nil || p.elapsed() < 100*time.Millisecond {
				return false
			}
			seq := s.Seq
			p.After(5*time.Millisecond, func() {
				p.A.Do(func(c *tcp.Conn) { c.PacketTooBig(p.Now, seq, 1000) })
			})
			told++
			return true
		}
		p = newPair(t, cfg, 500000, 0)
		p.finish(time.Minute)
		in := p.A.Conn.Info()
		if told == 0 || in.SegmentSize != 988 || in.Timeouts > 0 || p.elapsed() > 2*time.Second {
			t.Errorf("%d messages, %v, %+v", told, p.elapsed(), in)
		}
	}
}

// Probes for a larger segment that vanish say nothing of congestion (RFC 4821, section
// 7.5), however their loss is found out: by what arrives behind them, or by the
// reordering timer where little does.
func TestProbesLost(t *testing.T) {
	for _, window := range []int{14000, 20000, 60000} {
		for _, rate := range []int64{125_000, 1_250_000} {
			cfg := both(tcpsim.Path{Delay: 100 * time.Millisecond, Rate: rate})
			cfg.A.MTUProbing, cfg.B.ReceiveBuffer = tcp.MTUProbeAlways, window
			vanished := 0
			cfg.Drop = func(fromA bool, n int, s *tcp.Segment) bool {
				if fromA && len(s.Payload) > 1228 {
					vanished++
					return true
				}
				return false
			}
			p := newPair(t, cfg, 1<<20, 0)
			p.finish(10 * time.Minute)
			in := p.A.Conn.Info()
			if vanished == 0 || in.SegmentSize < 1228-8 || in.SegmentSize > 1228 || in.FastRecoveries > 0 || in.Timeouts > 0 {
				t.Errorf("window %d, rate %d: %d probes vanished, %+v", window, rate, vanished, in)
			}
		}
	}
}

// On a clean path nothing is sent twice, and the link is full.
func TestCleanPath(t *testing.T) {
	for _, gso := range []int{0, 65000} {
		const rate = 12_500_000
		cfg := both(tcpsim.Path{Delay: 5 * time.Millisecond, Rate: rate})
		cfg.A.MaxGSO = gso
		const n = int64(16 << 20)
		p := newPair(t, cfg, int(n), 0)
		p.finish(time.Minute)
		in := p.A.Conn.Info()
		if in.Retransmits != 0 || in.Timeouts != 0 || in.FastRecoveries != 0 {
			t.Errorf("gso %d: %+v", gso, in)
		}
		ideal := time.Duration(n * 1514 / 1448 * int64(time.Second) / rate)
		if d := p.elapsed(); d > ideal+200*time.Millisecond {
			t.Errorf("gso %d: %v, the link alone needs %v", gso, d, ideal)
		}
	}
}

// With a queue of one bandwidth-delay product, losses don't leave the link idle.
func TestBottleneck(t *testing.T) {
	for name, change := range map[string]func(*tcpsim.Config){
		"SACK":    func(cfg *tcpsim.Config) {},
		"NewReno": func(cfg *tcpsim.Config) { cfg.A.NoSACK, cfg.A.Controller = true, tcp.NewReno },
	} {
		const rate = 2_500_000
		link := tcpsim.Path{Delay: 10 * time.Millisecond, Rate: rate, Queue: 50000}
		cfg := both(link)
		// Buffers that never hold the sender back: this is about losses.
		cfg.A.SendBuffer, cfg.B.ReceiveBuffer = 1<<20, 1<<20
		change(&cfg)
		const n = 8 << 20
		p := newPair(t, cfg, n, 0)
		p.finish(time.Minute)
		in := p.A.Conn.Info()
		used := float64(n) / 1448 * 1514 / rate / p.elapsed().Seconds()
		if used < 0.7 || in.FastRecoveries == 0 {
			t.Errorf("%s: %.0f %% of the link, %+v", name, 100*used, in)
		}
	}
}

// A bound of the pacing rate holds with whatever congestion control and when segments are
// lost; without one, a path like this one takes no time to speak of.
func TestMaxPacingRate(t *testing.T) {
	const rate, n = 1 << 20, 2 << 20
	for _, cc := range []string{"reno", "cubic", "bbr"} {
		for _, loss := range []float64{0, 0.01} {
			cfg := both(tcpsim.Path{Delay: 5 * time.Millisecond, Rate: 125_000_000, Loss: loss})
			cfg.A.Controller = tcp.ControllerByName(cc)
			cfg.A.MaxPacingRate = rate
			// Where losses fall decides much of so short a transfer: a timeout at its end
			// takes a tenth of it.
			seeds := 1
			if loss > 0 {
				seeds = 16
			}
			var p *pair
			mean := 0.0
			for seed := range seeds {
				cfg.Seed = uint64(seed)
				p = newPair(t, cfg, n, 0)
				p.finish(time.Minute)
				share := float64(n) / rate / p.elapsed().Seconds()
				if share > 1.02 {
					t.Errorf("%s, loss %g, seed %d: %v is %.3f of the rate", cc, loss, seed, p.elapsed(), share)
				}
				mean += share / float64(seeds)
			}
			if mean < 0.85 {
				t.Errorf("%s, loss %g: %.3f of the rate, the mean of %d seeds", cc, loss, mean, seeds)
			}
			if loss > 0 {
				continue
			}
			cfg.A.MaxPacingRate = 0
			free := newPair(t, cfg, n, 0)
			free.finish(time.Minute)
			if free.elapsed() > p.elapsed()/4 {
				t.Errorf("%s: %v without a bound, %v with it", cc, free.elapsed(), p.elapsed())
			}
		}
	}
}

// FuzzPair lets bytes decide what happens to each segment; the data arrives all the
// same.
func FuzzPair(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add([]byte{255, 0, 0, 0, 3, 3, 3, 0, 0, 7, 7, 0x80, 0x81})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 400 {
			return // with so much bad luck it may be right to give up
		}
		next := func() byte {
			if len(b) == 0 {
				return 0
			}
			x := b[0]
			b = b[1:]
			return x
		}
		o := next()
		cfg := both(tcpsim.Path{Delay: 2 * time.Millisecond})
		cfg.ISSA, cfg.ISSB = wrapISS, wrapISS
		cfg.A.NoSACK, cfg.B.NoTimestamps, cfg.Both = o&1 != 0, o&2 != 0, o&4 != 0
		if o&8 != 0 {
			cfg.A.MaxGSO, cfg.B.MaxGSO = 65000, 10000
		}
		if o&16 != 0 {
			cfg.B.ReceiveBuffer = 3000
		}
		run := 0
		cfg.Fate = func(fromA bool, n int, s *tcp.Segment) (f tcpsim.Fate) {
			x := next()
			switch x & 7 {
			case 1, 2:
				f.Drop = true
			case 3:
				f.Duplicate = true
			case 4, 5:
				f.Late = time.Duration(x>>3) * time.Millisecond
			case 6:
				f.Late = time.Duration(x>>3) * 20 * time.Millisecond
				f.Duplicate = true
			}
			// Nobody has to survive the loss of everything.
			if f.Drop {
				if run++; run > 3 {
					f.Drop, run = false, 0
				}
			} else {
				run = 0
			}
			return f
		}
		newPair(t, cfg, 60000, 20000).finish(time.Hour)
	})
}
