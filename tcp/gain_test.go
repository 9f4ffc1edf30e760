package tcp_test

import (
	"testing"
	"time"

	"github.com/netduet/netduet/internal/tcpsim"
	"github.com/netduet/netduet/tcp"
)

// recoveryRun moves n bytes from A to B and returns A's figures, how long it took
// until B had all, and how many segments B got for nothing.
func recoveryRun(t *testing.T, cfg tcpsim.Config, n int) (in tcp.Info, took time.Duration, spurious uint32) {
	t.Helper()
	p := newPair(t, cfg, n, 0)
	if !p.Run(time.Hour, func() bool { return p.up.Read == n }) {
		t.Fatalf("seed %d: %d of %d bytes", cfg.Seed, p.up.Read, n)
	}
	took = p.elapsed()
	p.Run(time.Second, func() bool { return false })
	return p.A.Conn.Info(), took, p.B.Conn.Info().Duplicates
}

func reno(p tcpsim.Path) tcpsim.Config {
	cfg := both(p)
	cfg.A.Controller, cfg.B.Controller = tcp.NewReno, tcp.NewReno
	cfg.BtoA.Loss, cfg.BtoA.Reorder = 0, 0
	return cfg
}

// What random loss costs: seeds are fixed, so the figures are, too. A timeout is
// rare as long as anything is in flight that can tell of a loss.
func TestRecoveryLoss(t *testing.T) {
	for _, c := range []struct {
		name     string
		loss     float64
		least    float64 // kilobytes per second
		timeouts uint32  // at most, in eight runs
	}{
		{"1 %", 0.01, 300, 1},
		{"3 %", 0.03, 150, 8},
	} {
		sum, timeouts, sent, twice := 0.0, uint32(0), uint64(0), uint32(0)
		for seed := range uint64(8) {
			cfg := reno(tcpsim.Path{Delay: 25 * time.Millisecond, Rate: 12_500_000, Loss: c.loss})
			cfg.Seed = seed
			in, took, spurious := recoveryRun(t, cfg, 2<<20)
			sum += float64(2<<20) / 1000 / took.Seconds() / 8
			timeouts += in.Timeouts
			sent += in.SegmentsOut
			twice += spurious
		}
		t.Logf("loss %s, 50 ms: %.0f kB/s, %d timeouts, %d of %d segments for nothing", c.name, sum, timeouts, twice, sent)
		if sum < c.least || timeouts > c.timeouts || float64(twice) > 0.002*float64(sent) {
			t.Errorf("loss %s: want at least %.0f kB/s, at most %d timeouts and 0.2 %% for nothing", c.name, c.least, c.timeouts)
		}
	}
}

// The last segments of a short transfer are lost: the loss of one is found by a
// probe and not by the timeout.
func TestRecoveryTail(t *testing.T) {
	worst := time.Duration(0)
	for tail := 1; tail <= 4; tail++ {
		cfg := reno(tcpsim.Path{Delay: 100 * time.Millisecond})
		first := map[tcp.Seq]bool{}
		var iss tcp.Seq
		cfg.Drop = func(fromA bool, n int, s *tcp.Segment) bool {
			if s.Flags.Has(tcp.SYN) && fromA {
				iss = s.Seq
			}
			if !fromA || len(s.Payload) == 0 || first[s.Seq] {
				return false
			}
			first[s.Seq] = true
			return s.Seq.Sub(iss) > 10*1448-tail*1448
		}
		in, took, _ := recoveryRun(t, cfg, 10*1448)
		t.Logf("tail of %d: %v, %d timeouts", tail, took, in.Timeouts)
		worst = max(worst, took)
		if in.Timeouts > 0 {
			t.Errorf("tail of %d: a timeout: %+v", tail, in)
		}
	}
	if worst > 1600*time.Millisecond {
		t.Errorf("%v", worst)
	}
}

// Reordering by a quarter of a round trip: after the first 50 of them, one segment
// in a thousand may be sent for nothing, and no reduction stands.
func TestRecoveryReordering(t *testing.T) {
	for seed := range few(4) {
		cfg := reno(tcpsim.Path{Delay: 25 * time.Millisecond, Rate: 5_000_000, Reorder: 0.02, ReorderBy: 12500 * time.Microsecond})
		cfg.Seed = seed
		p := newPair(t, cfg, 30<<20, 0)
		p.Run(2500*time.Millisecond, func() bool { return false })
		before, dup := p.A.Conn.Info(), p.B.Conn.Info().Duplicates
		if !p.Run(time.Hour, func() bool { return p.up.Read == 30<<20 }) {
			t.Fatal("unfinished")
		}
		took := p.elapsed()
		p.Run(time.Second, func() bool { return false })
		in := p.A.Conn.Info()
		spurious, sent := p.B.Conn.Info().Duplicates-dup, in.SegmentsOut-before.SegmentsOut
		t.Logf("seed %d: %v, %d of %d for nothing later, %d before; %d recoveries, %d undone", seed, took, spurious, sent, dup, in.FastRecoveries, in.Undos)
		if float64(spurious) > 0.001*float64(sent) {
			t.Errorf("seed %d: %d of %d segments for nothing", seed, spurious, sent)
		}
		if in.Undos < in.FastRecoveries {
			t.Errorf("seed %d: %d false reductions, %d undone", seed, in.FastRecoveries, in.Undos)
		}
	}
}

// The path falls silent for a second, and nothing is lost: the timeout was
// spurious, and with SACK the window is as before.
func TestRecoveryDelaySpike(t *testing.T) {
	for name, change := range map[string]func(*tcpsim.Config){
		"all":                 func(*tcpsim.Config) {},
		"no timestamps":       func(cfg *tcpsim.Config) { cfg.A.NoTimestamps = true },
		"neither, nor a SACK": func(cfg *tcpsim.Config) { cfg.A.NoTimestamps, cfg.A.NoSACK = true, true },
	} {
		cfg := reno(tcpsim.Path{Delay: 25 * time.Millisecond, Rate: 2_500_000})
		change(&cfg)
		var p *pair
		cfg.Fate = func(fromA bool, n int, s *tcp.Segment) (f tcpsim.Fate) {
			if at := p; at != nil && fromA && at.elapsed() > 400*time.Millisecond && at.elapsed() < 1400*time.Millisecond {
				f.Hold = 1400*time.Millisecond - at.elapsed()
			}
			return f
		}
		p = newPair(t, cfg, 8<<20, 0)
		p.finish(time.Minute)
		in := p.A.Conn.Info()
		t.Logf("%s: %v, %d timeouts, %d undone, %d sent again", name, p.elapsed(), in.Timeouts, in.Undos, in.Retransmits)
		if in.Timeouts == 0 || in.SACK && in.Undos == 0 {
			t.Errorf("%s: %+v", name, in)
		}
	}
}
