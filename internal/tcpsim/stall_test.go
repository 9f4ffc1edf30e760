package tcpsim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/tcp"
)

// TestNoStall has paths lose data, retransmissions and ACKs, duplicate and reorder, with
// clocks of different grain. No sender may then wait without need: whatever it waits for
// that is outstanding, a timer is set for not later than its timeout; and in fast
// recovery it does not keep back for a timeout what it takes for lost and the window has
// room for.
func TestNoStall(t *testing.T) {
	seeds := []uint64{2090} // tail loss probes later than the timeout
	for seed := range uint64(300) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			pick := func(of ...float64) float64 { return of[rng.IntN(len(of))] }
			path := func() Path {
				p := Path{
					Delay: time.Duration(pick(0.025, 0.5, 5, 25, 150) * float64(time.Millisecond)),
					Loss:  pick(0, 0.001, 0.01, 0.03, 0.1), Burst: pick(0, 0, 0.3),
					Duplicate: pick(0, 0, 0.05), Reorder: pick(0, 0, 0.05),
				}
				p.ReorderBy = time.Duration(pick(0.1, 0.5, 2) * float64(p.Delay))
				if pick(0, 1) > 0 {
					p.Rate = int64(pick(100e3, 1e6, 10e6))
					p.Queue = int(pick(10e3, 100e3))
				}
				return p
			}
			cfg := Config{Seed: seed, AtoB: path(), BtoA: path()}
			cfg.BtoA.Delay = cfg.AtoB.Delay
			a := tcp.Config{MSS: 1460, NoDelay: rng.IntN(2) > 0, Controller: tcp.ControllerByName([]string{"cubic", "reno", "bbr"}[rng.IntN(3)])}
			a.NoSACK, a.NoTimestamps = rng.IntN(4) == 0, rng.IntN(4) == 0
			a.NoTailLossProbe = rng.IntN(4) == 0
			cfg.A, cfg.B = a, a
			lost := map[tcp.Seq]int{} // retransmissions are lost more often than other segments
			again := pick(0, 0.3)
			cfg.Drop = func(fromA bool, n int, seg *tcp.Segment) bool {
				if !fromA || len(seg.Payload) == 0 {
					return false
				}
				lost[seg.Seq]++
				return lost[seg.Seq] > 1 && lost[seg.Seq] < 5 && rng.Float64() < again
			}
			var s *Sim
			type timer struct {
				at  clock.Time
				rto time.Duration
			}
			timers, idle := make(map[string]timer), make(map[string]clock.Time)
			timeouts, repeated := make(map[string]uint32), make(map[string]uint32)
			cfg.Flushed = func(d *Side) {
				if s == nil || d.Conn.State() < tcp.StateEstablished || d.Conn.State() == tcp.StateClosed {
					return
				}
				in := d.Conn.LinuxInfo(d.now())
				if in.Unacked == 0 {
					return
				}
				// A timer that runs is not made shorter when the timeout shrinks.
				rto := time.Duration(in.RTO) * time.Microsecond
				at, had := d.Conn.Deadline(), timers[d.Name]
				if at == had.at {
					rto = max(rto, had.rto)
				}
				timers[d.Name] = timer{at, rto}
				if at.Sub(d.now()) > rto+time.Millisecond {
					t.Fatalf("seed %d: %s has %d segments outstanding, a timeout of %v, and wakes up in %v: %+v",
						seed, d.Name, in.Unacked, rto, at.Sub(d.now()), d.Conn.Info())
				}
				// A timeout repeats the first segment, whatever is believed to be in flight.
				info := d.Conn.Info()
				if info.Timeouts > timeouts[d.Name] && info.Retransmits == repeated[d.Name] {
					t.Fatalf("seed %d: %s timed out and repeated nothing: %+v", seed, d.Name, in)
				}
				timeouts[d.Name], repeated[d.Name] = info.Timeouts, info.Retransmits
				const fast = 3
				flight := in.Unacked - in.Sacked - in.Lost + in.Retrans
				if in.CAState != fast || in.Lost <= in.Retrans || flight >= in.SndCwnd {
					delete(idle, d.Name)
				} else if since, ok := idle[d.Name]; !ok {
					idle[d.Name] = d.now()
				} else if d.now().Sub(since) > rto {
					t.Fatalf("seed %d: %s has sent nothing of what is lost for %v: %+v", seed, d.Name, d.now().Sub(since), in)
				}
			}
			s = New(cfg)
			s.Grain = time.Duration(pick(0, 1, 4)) * time.Millisecond
			const n = 300_000
			tr := s.Transfer(s.A, s.B, n)
			s.Run(2*time.Hour, func() bool { return tr.Err != nil || tr.End != nil })
			if tr.End != io.EOF || tr.Read != n {
				t.Fatalf("seed %d: %+v after %v: %+v", seed, tr, s.Elapsed(), s.A.Conn.Info())
			}
		})
	}
}
