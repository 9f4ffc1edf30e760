package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// What BBR knows of the path: rounds, the largest rate, the least round-trip time and
// the aggregation of acknowledgements (draft-ietf-ccwg-bbr-06, sections 5.5.1 to 5.5.9).

// updateRound is UpdateRound (section 5.5.1).
func (b *bbr) updateRound(a *AckInfo) {
	b.roundStart = a.Sample.Delivered > 0 && a.Sample.PriorDelivered >= b.nextRound
	if b.roundStart {
		b.startRound()
		b.rounds++
		b.roundsSinceUp++
	}
}

func (b *bbr) startRound() { b.nextRound = b.delivered }

// updateMaxBw is UpdateMaxBw (section 5.5.5).
func (b *bbr) updateMaxBw(s *RateSample) {
	if rate := s.Rate(); rate > 0 && (rate >= b.maxBw || !s.AppLimited) {
		f := &b.maxBwFilter[b.cycle&1]
		*f = max(*f, rate)
		b.maxBw = max(b.maxBwFilter[0], b.maxBwFilter[1])
	}
}

// advanceMaxBw is AdvanceMaxBwFilter (section 5.5.6): the cycle before the last is
// forgotten.
func (b *bbr) advanceMaxBw() {
	b.cycle++
	b.maxBwFilter[b.cycle&1] = 0
}

// updateMinRTT is UpdateMinRTT (section 5.3.4.3).
func (b *bbr) updateMinRTT(a *AckInfo) {
	b.probeRTTExpired = a.Now.Sub(b.probeRTTMinAt) > bbrProbeRTTInterval
	first := b.minRTT == 0
	if a.RTT > 0 && (b.probeRTTMin == 0 || a.RTT < b.probeRTTMin || b.probeRTTExpired) {
		b.probeRTTMin, b.probeRTTMinAt = a.RTT, a.Now
	}
	b.noteQueue(a)
	expired := a.Now.Sub(b.minRTTAt) > bbrMinRTTFilter
	if b.probeRTTMin > 0 && (first || b.probeRTTMin < b.minRTT || expired) {
		b.minRTT, b.minRTTAt = b.probeRTTMin, b.probeRTTMinAt
		if first {
			b.initPacing()
		}
	}
}

// noteQueue puts ProbeRTT off after a round that saw no queue: see bbr.
func (b *bbr) noteQueue(a *AckInfo) {
	if b.roundStart {
		if b.samples > 0 && b.queued*bbrQueuedShare <= b.samples {
			b.probeRTTMinAt = a.Now
		}
		b.samples, b.queued = 0, 0
	}
	if a.RTT > 0 {
		b.lastRTT = a.RTT
		b.samples++
		if a.RTT > b.probeRTTMin+b.burstTime() {
			b.queued++
		}
	}
}

// burstTime is by how much a round trip without a queue may exceed the least: see bbr.
func (b *bbr) burstTime() time.Duration {
	if b.bw <= 0 {
		return 0
	}
	return min(time.Duration(float64(b.quantum())/b.bw*float64(time.Second)), b.probeRTTMin/bbrMinRTTBeside)
}

// bbrAggregation estimates how much more is acknowledged at once than the rate would
// have (section 5.5.9): the largest excess in each of the last rounds.
type bbrAggregation struct {
	since     clock.Time
	delivered int
	round     uint64
	last      [bbrExtraAckedRounds + 1]uint32 // by round; the one under way is incomplete
	most      int                             // the draft's extra_acked
}

// updateAggregation is UpdateACKAggregation.
func (b *bbr) updateAggregation(a *AckInfo) {
	g := &b.aggregation
	expected := int(b.bw * min(a.Now.Sub(g.since), time.Hour).Seconds())
	if g.delivered <= expected {
		g.delivered, g.since, expected = 0, a.Now, 0
	}
	g.delivered += a.Delivered
	extra := uint32(min(g.delivered-expected, b.cwnd, maxWindow))
	const size = uint64(len(g.last))
	if g.round != b.rounds {
		g.round = b.rounds
		g.last[g.round%size] = 0
		window := uint64(1) // in Startup, just one round and the one under way
		if b.fullBwReached {
			window = bbrExtraAckedRounds
		}
		g.most = 0
		for i := range min(window, g.round) {
			g.most = max(g.most, int(g.last[(g.round-1-i)%size]))
		}
	}
	g.last[g.round%size] = max(g.last[g.round%size], extra)
	g.most = max(g.most, int(extra))
}
