package tcp_test

import (
	"testing"
	"time"

	"github.com/netduet/netduet/internal/tcpsim"
	"github.com/netduet/netduet/tcp"
)

// bbrEnd is the configuration of both ends.
func bbrEnd() tcp.Config {
	return tcp.Config{MSS: 1460, NoDelay: true, SendBuffer: 4 << 20, ReceiveBuffer: 4 << 20, Controller: tcp.NewBBR}
}

// Startup doubles the rate in each round: from ten segments to the 412 that fill this
// path in six rounds, and three more show that it is full. Drain then takes no more than
// four, and leaves no more in flight than fills the path.
func TestBBRStartupRounds(t *testing.T) {
	for _, grain := range []time.Duration{0, time.Millisecond} {
		end := bbrEnd()
		s := tcpsim.New(tcpsim.Config{
			Seed: 1, A: end, B: end,
			AtoB: tcpsim.Path{Delay: 25 * time.Millisecond, Rate: 12_500_000, Queue: 2_000_000},
			BtoA: tcpsim.Path{Delay: 25 * time.Millisecond},
		})
		s.Loop.Grain = grain
		tr := s.Transfer(s.A, s.B, 1<<30)
		var left, drained tcp.BBRModel
		s.Run(3*time.Second, func() bool {
			if !s.A.Conn.Established() {
				return false
			}
			m := s.A.Conn.BBR()
			if left.Rounds == 0 && !m.Startup {
				left = m
			}
			if left.Rounds != 0 && !m.Drain {
				drained = m
			}
			return drained.Rounds != 0 || tr.Err != nil
		})
		if left.Rounds < 8 || left.Rounds > 11 {
			t.Errorf("grain %v: Startup lasted %d rounds", grain, left.Rounds)
		}
		if n := drained.Rounds - left.Rounds; n > 4 {
			t.Errorf("grain %v: Drain lasted %d rounds", grain, n)
		}
		if bdp := 12_500_000 * 0.05; float64(drained.InFlight) > 1.1*bdp || drained.MaxBw < 0.9*12_500_000 || drained.MaxBw > 1.1*12_500_000 {
			t.Errorf("grain %v: %+v", grain, drained)
		}
	}
}

// Four flows keep a queue. ProbeRTT, which comes about every five seconds and at the same
// time for all, empties it, and so shows all of them the path's round trip.
func TestBBRProbeRTTDrains(t *testing.T) {
	const rtt = 40 * time.Millisecond
	l := tcpsim.NewLoop(3)
	data := tcpsim.NewLink(l, tcpsim.LinkConfig{Rate: 20e6, Buffer: 100_000, Delay: rtt / 2})
	acks := tcpsim.NewLink(l, tcpsim.LinkConfig{Delay: rtt / 2})
	end := bbrEnd()
	var flows []*tcpsim.Flow
	for i := range 4 {
		l.Until(time.Duration(i) * 300 * time.Millisecond)
		flows = append(flows, tcpsim.NewFlow(l, data, acks, i, tcpsim.FlowConfig{Sender: end, Receiver: end}))
	}
	l.Until(20 * time.Second)
	probes, drained, in, halved := 0, 0, false, false
	least := time.Hour // the mean wait in a millisecond, of this probe
	before, begin := data.Stats(), data.Stats()
	for at := 20 * time.Second; at < 50*time.Second; at += time.Millisecond {
		l.Until(at)
		m, now := flows[1].Sender().BBR(), data.Stats()
		if m.ProbesRTT && !in {
			probes, halved, least = probes+1, false, time.Hour
		}
		if n := now.Queued - before.Queued; n > 0 {
			least = min(least, (now.Waited-before.Waited)/time.Duration(n))
		}
		before = now
		half := max(int(m.Bw*m.MinRTT.Seconds()/2), 4*1448)
		halved = halved || m.ProbesRTT && m.InFlight <= half
		if m.ProbesRTT && m.Window > half+1448 {
			t.Fatalf("at %v the window is %d in ProbeRTT, half of the product is %d", at, m.Window, half)
		}
		if in && !m.ProbesRTT && halved && least < 2*time.Millisecond {
			drained++
		}
		in = m.ProbesRTT
	}
	after := data.Stats()
	mean := (after.Waited - begin.Waited) / time.Duration(after.Queued-begin.Queued)
	t.Logf("%d probes, %d of them drained the queue, which is %v in the mean", probes, drained, mean)
	if mean < 5*time.Millisecond {
		t.Errorf("there is no queue to be drained: %v", mean)
	}
	if probes < 4 || probes > 6 || drained < probes-1 {
		t.Errorf("%d probes in 30 s, of which %d drained the queue", probes, drained)
	}
	for i, f := range flows {
		if m := f.Sender().BBR(); m.MinRTT < rtt || m.MinRTT > rtt+4*time.Millisecond {
			t.Errorf("flow %d takes %v for the round trip of %v", i, m.MinRTT, rtt)
		}
	}
}

// What an application sends that has little to send shows nothing of the path: the rate
// that a bulk transfer found is not lowered by a minute of requests (section 5.5.4), and
// the next transfer begins at it.
func TestBBRApplicationLimited(t *testing.T) {
	const rate = 2_500_000
	end := bbrEnd()
	s := tcpsim.New(tcpsim.Config{
		Seed: 2, A: end, B: end,
		AtoB: tcpsim.Path{Delay: 20 * time.Millisecond, Rate: rate, Queue: 200_000},
		BtoA: tcpsim.Path{Delay: 20 * time.Millisecond},
	})
	buf := make([]byte, 64<<10)
	read := 0
	later := false
	s.B.OnEvent = func() {
		if later {
			return
		}
		later = true
		s.After(0, func() {
			later = false
			s.B.Do(func(c *tcp.Conn) {
				for {
					n, err := c.Read(s.Now, buf)
					read += n
					if n == 0 || err != nil {
						return
					}
				}
			})
		})
	}
	wait := func(d time.Duration) { s.Until(s.Elapsed() + d) }
	write := func(total int) {
		for total > 0 {
			before := total
			s.A.Do(func(c *tcp.Conn) {
				n, err := c.Write(s.Now, buf[:min(total, len(buf))])
				if err != nil {
					t.Fatal(err)
				}
				total -= n
			})
			if total == before {
				wait(5 * time.Millisecond)
			}
		}
	}
	wait(time.Second)
	write(20_000_000)
	wait(2 * time.Second)
	bulk := s.A.Conn.BBR()
	if bulk.MaxBw < 0.9*rate || bulk.MaxBw > 1.1*rate {
		t.Fatalf("%v of %d", bulk.MaxBw, rate)
	}
	for range 300 {
		write(5000)
		wait(200 * time.Millisecond)
	}
	if m := s.A.Conn.BBR(); m.MaxBw < 0.9*bulk.MaxBw {
		t.Errorf("%v after a minute of requests, was %v", m.MaxBw, bulk.MaxBw)
	}
	before := read
	write(1_000_000)
	wait(470 * time.Millisecond) // 400 ms at the rate, 40 ms to get there and back
	if n := read - before; n < 1_000_000 {
		t.Errorf("%d bytes of the second transfer arrived in the time it takes", n)
	}
}
