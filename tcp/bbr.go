package tcp

import (
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

// Constants of draft-ietf-ccwg-bbr-06, sections 2.5 to 2.16 and 5.3.
const (
	bbrStartupPacingGain = 2.77
	bbrDrainPacingGain   = 0.5
	bbrCwndGain          = 2.0
	bbrUpCwndGain        = 2.25
	bbrProbeRTTCwndGain  = 0.5
	bbrDownPacingGain    = 0.9
	bbrUpPacingGain      = 1.25
	bbrPacingMargin      = 0.99 // 1 % below the estimate
	bbrLossThresh        = 0.02
	bbrBeta              = 0.7
	bbrHeadroom          = 0.15
	bbrMinPipe           = 4 // segments
	bbrMinRTTFilter      = 10 * time.Second
	bbrProbeRTTInterval  = 5 * time.Second
	bbrProbeRTTDuration  = 200 * time.Millisecond
	bbrExtraAckedRounds  = 10
	bbrFullBwCount       = 3
	bbrFullBwThresh      = 1.25
	bbrStartupLossEvents = 6
	bbrDrainRounds       = 3
	bbrRenoRounds        = 63
)

// bbrECNShare is what a round with congestion marks leaves of what it delivered. Section
// 3.7 asks for a response to them and leaves open which; this is RFC 8511's (section 3.1,
// for CUBIC).
const bbrECNShare = 0.85

// What is ours and not the draft's: see bbr. A probe that raised its bound by bbrUpGrowth,
// while a round trip takes more than bbrUpQueue times the least, ends. While it takes no
// more than bbrLossQueue times the least, losses are too many only if they exceed what is
// tolerated by bbrLossChance standard deviations. A round of which one sample in
// bbrQueuedShare at most is longer than the least, by our own burst's time and at most a
// bbrMinRTTBeside-th of it, saw no queue.
const (
	bbrUpGrowth     = 1.25
	bbrUpQueue      = 1.25
	bbrLossQueue    = 1.125
	bbrLossChance   = 2
	bbrQueuedShare  = 8
	bbrMinRTTBeside = 16
)

// bbrState is a state of the machine; the four from bbrDown on are ProbeBW.
type bbrState uint8

const (
	bbrNoState bbrState = iota
	bbrStartup
	bbrDrain
	bbrDown
	bbrCruise
	bbrRefill
	bbrUp
	bbrProbeRTT
)

// bbr is BBR version 3 as draft-ietf-ccwg-bbr-06 describes it, which is what all
// sections named here are of: a model of the path, made of the largest delivery rate and
// the least round-trip time lately seen, decides how fast to send and how much may be in
// flight. Names are the draft's.
//
// It differs from the draft in this:
//
//   - Outside of probes, a round that lost no more than LossThresh, 2 %, is not answered
//     (section 5.5.10.3 answers any loss with the rate that was delivered). Each such
//     round takes what it lost and the pacing margin off the rate, and with a loss at
//     random in each, 40 to 60 of them lie between two probes: 1 % of loss cost a third
//     of the link, where section 3.1 has full throughput as a goal. Measured at 100
//     Mbit/s and 1 % of loss, 0.70 to 0.83 of the link became 0.90 to 0.95 at 50 ms, and
//     0.77 to 0.80 became 0.93 at 300 ms; what CUBIC and Reno get beside BBR did not change.
//   - A probe that has raised inflight_longterm by a quarter ends, as if the path were
//     full, if there is a queue of a quarter of the least round trip. By section 5.3.3.6
//     it doubles its steps until something is lost. ProbeRTT brings all flows' probes
//     into step; the last of them then meets the others in ProbeBW_DOWN, where nothing is
//     lost because they yield, and took three times its share in ten rounds, to keep it for
//     minutes: Jain's index of sixteen flows at 100 ms was 0.78 to 0.90. Where there is no
//     queue, capacity is free, and the steps double as in the draft.
//   - A round that saw no queue puts ProbeRTT off, as a lower sample does (section
//     5.3.4.3); it leaves the estimate as it is. Otherwise a flow alone empties an empty
//     queue every five seconds, which takes 5 % of the link where the round trip takes 300
//     ms. One sample would not do: beside flows that fill and empty the buffer, BBR would
//     hardly ever yield.
//   - While the last round trip shows no queue of an eighth of the least, more than
//     LossThresh may be lost, by two standard deviations of what chance makes of it
//     (section 5.5.10.2 has no such margin): of 400 segments 13, not 8. With 1 % lost at
//     random a probe has several chances to see nine in a flight, and the flight is then
//     just what the path holds: the bound, and a window of 0.85 of it, stays for many
//     probes. Of 100 Mbit/s at 50 ms 0.84 to 0.95 was left by seed, now 0.98. What
//     overflows a buffer has a queue, and what a policer drops is far beyond chance.
//   - What an undo brings back (section 5.5.11.1) is saved once in an episode of
//     recovery, at its first loss, and not again in each of its rounds: it is the whole
//     episode that is found to be spurious.
//   - A restart from idle clears the sum of the aggregation estimate along with its
//     time (section 5.4.1): bytes of the time before would count as aggregation.
//   - The quantum is what leaves in a millisecond without the bound of 64 KiB (section
//     5.6.3), as the pacer's is: its timer has no finer rhythm.
//   - Congestion marks are answered as losses are, see bbrECNShare; but not those of the
//     queue of a probe, while ProbeBW_DOWN drains it. They would take 15 % of the rate
//     until the next probe.
//   - The random numbers are seeded by the clock, and so not secret.
type bbr struct {
	mss    int
	noSACK bool
	state  bbrState
	rng    uint64

	// As of the last event: the time, and the bytes delivered in all.
	now       clock.Time
	delivered uint64

	pacingRate           float64
	cwnd, priorCwnd      int
	pacingGain, cwndGain float64
	idleRestart          bool

	// Rounds (section 5.5.1).
	nextRound  uint64
	rounds     uint64
	roundStart bool

	// The model: rates in bytes per second, amounts in bytes; math.MaxInt is no bound.
	maxBw, bw, bwShort            float64
	maxBwFilter                   [2]float64 // of this and the last cycle
	cycle                         uint64
	inflightLong, inflightShort   int
	minRTT, probeRTTMin           time.Duration // 0: no sample yet
	minRTTAt, probeRTTMinAt       clock.Time
	aggregation                   bbrAggregation
	bwLatest                      float64
	inflightLatest                int
	lossRoundEnd                  uint64
	lossRoundStart                bool
	lossInRound, markInRound      bool
	lossEvents                    int // discontiguous ranges lost in this round
	lostInRound                   int // bytes
	lossRoundFrom                 uint64
	recovering, fast, saved       bool
	recoveryFrom                  uint64
	undoState                     bbrState
	undoBwShort                   float64
	undoInflightShort, undoInLong int

	// Startup and Drain.
	fullBw                   float64
	fullBwRounds             int
	fullBwNow, fullBwReached bool
	drainFrom                uint64

	// ProbeBW.
	upRounds, upAcks, upCount      int
	lastRTT                        time.Duration
	samples, queued                int // round-trip times measured in this round, and those with a queue
	upFrom                         int // inflightLong when the probe began
	roundsSinceUp                  uint64
	probeWait                      time.Duration
	cycleAt                        clock.Time
	probeSample                    bool // what arrives was sent while probing
	prevTooHigh, prevPrecautionary bool
	ackPhase                       uint8

	// ProbeRTT.
	probeRTTExpired, probeRTTRound bool
	probeRTTDone                   clock.Time
	heldFrom, heldUntil            uint64 // samples sent between these deliveries are too low
}

// What the samples now arriving were sent by (the draft's ack_phase).
const (
	acksInit uint8 = iota
	acksRefilling
	acksProbing
	acksFeedback
	acksStopping
)

// NewBBR returns a controller as draft-ietf-ccwg-bbr describes it.
func NewBBR() Controller { return &bbr{} }

// Init is OnInit (section 5.2.1).
func (b *bbr) Init(now clock.Time, mss int, rtt time.Duration) {
	*b = bbr{mss: mss, now: now, cwnd: InitialWindow(mss), rng: 1}
	b.inflightLong, b.upCount = math.MaxInt, math.MaxInt
	b.minRTTAt, b.probeRTTMinAt, b.aggregation.since, b.cycleAt = now, now, now, now
	b.minRTT, b.probeRTTMin = rtt, rtt
	b.heldFrom = 1 // nothing is held
	b.resetShort()
	b.enterStartup()
	b.initPacing()
}

// initPacing is InitPacingRate (section 5.6.2): without a sample, the round trip counts
// as 1 ms.
func (b *bbr) initPacing() {
	rtt := b.minRTT
	if rtt == 0 {
		rtt = time.Millisecond
	}
	b.pacingRate = bbrStartupPacingGain * float64(InitialWindow(b.mss)) / rtt.Seconds()
}

// TakeOver begins with the other's window; BBR has no threshold.
func (b *bbr) TakeOver(window, threshold int) { b.cwnd = window }

// SetWindow is for those that do not govern recovery themselves.
func (b *bbr) SetWindow(window, threshold int) {}

func (b *bbr) SetMSS(mss int)    { b.mss = mss }
func (b *bbr) Window() int       { return max(b.cwnd, b.mss) }
func (b *bbr) Threshold() int    { return infiniteThreshold }
func (b *bbr) OwnRecovery() bool { return true }

func (b *bbr) PacingRate() int64 {
	return int64(min(max(b.pacingRate, float64(b.mss)), 1e12))
}

func (b *bbr) inProbeBW() bool { return b.state >= bbrDown && b.state <= bbrUp }

// probing is IsProbingBW (section 5.3.3.9).
func (b *bbr) probing() bool {
	return b.state == bbrStartup || b.state == bbrRefill || b.state == bbrUp
}

// random is a linear congruential generator: only flows' probes are to differ in
// time, nothing is to be unpredictable.
func (b *bbr) random() uint64 {
	b.rng = (b.rng+uint64(b.now))*6364136223846793005 + 1442695040888963407
	return b.rng >> 33
}

// OnAck is UpdateOnACK (section 5.2.3).
func (b *bbr) OnAck(a AckInfo) {
	b.now, b.delivered, b.noSACK = a.Now, a.TotalDelivered, a.NoSACK
	a.Sample.AppLimited = a.Sample.AppLimited || b.held(a.Sample.PriorDelivered)
	b.updateLatest(&a)
	b.updateRound(&a)
	b.updateMaxBw(&a.Sample)
	b.updateCongestion()
	b.updateAggregation(&a)
	b.checkFullBw(&a.Sample)
	b.checkStartupDone(&a)
	b.checkDrainDone(&a)
	b.updateProbeBW(&a)
	b.updateMinRTT(&a)
	b.checkProbeRTT(&a)
	b.advanceLatest(&a.Sample)
	b.bw = min(b.maxBw, b.bwShort)
	b.setPacingRate(b.pacingGain)
	b.setCwnd(&a)
}

// setPacingRate is SetPacingRateWithGain (section 5.6.2).
func (b *bbr) setPacingRate(gain float64) {
	rate := gain * b.bw * bbrPacingMargin
	if rate > 0 && (b.fullBwReached || rate > b.pacingRate) {
		b.pacingRate = rate
	}
}

// bdp is BDPMultiple (section 5.6.4.2): what is in flight when the path is just full,
// times gain.
func (b *bbr) bdp(bw, gain float64) int {
	if b.minRTT == 0 {
		return InitialWindow(b.mss)
	}
	return int(gain * bw * b.minRTT.Seconds())
}

// quantized is QuantizationBudget (section 5.6.4.2).
func (b *bbr) quantized(n int) int {
	n = max(n, 3*b.quantum(), bbrMinPipe*b.mss)
	if b.state == bbrUp {
		n += 2 * b.mss
	}
	return n
}

// quantum is what the pacer lets out at once (section 5.6.3).
func (b *bbr) quantum() int { return max(int(b.pacingRate*pacingQuantum.Seconds()), 2*b.mss) }

// inflight is Inflight (section 5.6.4.2), for a rate.
func (b *bbr) inflight(bw, gain float64) int { return b.quantized(b.bdp(bw, gain)) }

// targetInflight is TargetInflight (section 5.3.3.8).
func (b *bbr) targetInflight() int { return min(b.bdp(b.bw, 1), b.cwnd) }

// setCwnd is SetCwnd (section 5.6.4.6).
func (b *bbr) setCwnd(a *AckInfo) {
	most := b.quantized(b.bdp(b.bw, b.cwndGain) + b.aggregation.most)
	if b.fullBwReached {
		b.cwnd = min(b.cwnd+a.Delivered, most)
	} else if b.cwnd < most || a.TotalDelivered < uint64(InitialWindow(b.mss)) {
		b.cwnd += a.Delivered
	}
	b.cwnd = max(b.cwnd, bbrMinPipe*b.mss)
	if b.state == bbrProbeRTT {
		b.cwnd = min(b.cwnd, b.probeRTTCwnd())
	}
	// BoundCwndForModel (section 5.6.4.7).
	limit := math.MaxInt
	switch {
	case b.inProbeBW() && b.state != bbrCruise:
		limit = b.inflightLong
	case b.state == bbrProbeRTT || b.state == bbrCruise:
		limit = b.withHeadroom()
	}
	limit = max(min(limit, b.inflightShort), bbrMinPipe*b.mss)
	b.cwnd = min(b.cwnd, limit, maxWindow)
}

// saveCwnd and restoreCwnd remember the last good window (section 5.6.4.4).
func (b *bbr) saveCwnd() {
	if !b.recovering && b.state != bbrProbeRTT {
		b.priorCwnd = b.cwnd
	} else {
		b.priorCwnd = max(b.priorCwnd, b.cwnd)
	}
}

func (b *bbr) restoreCwnd() { b.cwnd = max(b.cwnd, b.priorCwnd) }

// OnRestart is HandleRestartFromIdle (section 5.4.1): pace at the rate that the model
// knows, so that the window need not shrink.
func (b *bbr) OnRestart(now, since clock.Time) {
	b.now = now
	b.idleRestart = true
	b.aggregation.since, b.aggregation.delivered = now, 0
	if b.inProbeBW() {
		b.setPacingRate(1)
	} else if b.state == bbrProbeRTT {
		b.checkProbeRTTDone()
	}
}
