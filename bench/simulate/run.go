package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/netduet/netduet/internal/tcpsim"
)

// seedOf gives every cell randomness of its own, which does not depend on what other
// cells are run.
func seedOf(c *cell, seed uint64) uint64 {
	h := fnv.New64a()
	h.Write([]byte(c.String()))
	return h.Sum64() ^ seed
}

// runCell runs a cell.
func runCell(c *cell, seed uint64) result {
	r := result{Cell: c.String(), Seed: seed, RTT: c.RTT, Rate: c.Rate, WindowLimited: c.windowLimited()}
	if c.Short > 0 {
		c.runShort(&r)
	} else {
		c.runBulk(&r)
	}
	assess(c, &r)
	return r
}

// assess judges a result by the goals of its cell.
func assess(c *cell, r *result) {
	r.Goals, r.Surprise = nil, ""
	if r.Error == "" {
		judge(c, r)
		r.Surprise = surprise(c, r)
	}
}

// drainLimit is how long, at most, transfers may take to end once the last byte was
// written: what connections back off to under heavy loss, many times over.
const drainLimit = 30 * time.Minute

// totals adds up the figures of flows.
type totals struct {
	read                        []int64
	sent, again, arrived, waste uint64
	timeouts, recoveries, undos uint64
	pause                       time.Duration
}

func total(flows []*tcpsim.Flow) (t totals) {
	for _, f := range flows {
		s := f.Stats()
		t.read = append(t.read, s.Read)
		t.sent += s.Sent
		t.again += s.Again
		t.arrived += s.Arrived
		t.waste += s.Spurious
		t.timeouts += uint64(s.Info.Timeouts)
		t.recoveries += uint64(s.Info.FastRecoveries)
		t.undos += uint64(s.Info.Undos)
		t.pause = max(t.pause, s.Pause)
	}
	return t
}

func (c *cell) runBulk(r *result) {
	l := tcpsim.NewLoop(seedOf(c, r.Seed))
	data, acks := c.links(l)
	warm, end := c.times()
	c.changes(l, data, acks, end)
	// Flows begin within a round trip: in lockstep they exist nowhere.
	rng := rand.New(rand.NewPCG(seedOf(c, r.Seed), 1))
	begin := make([]time.Duration, c.Flows)
	for i := range begin[1:] {
		begin[i+1] = time.Duration(rng.Int64N(int64(c.RTT)))
	}
	slices.Sort(begin)
	var flows []*tcpsim.Flow
	for i := range c.Flows {
		l.Until(begin[i])
		sender, receiver := c.ends(i)
		flows = append(flows, tcpsim.NewFlow(l, data, acks, i, tcpsim.FlowConfig{Sender: sender, Receiver: receiver}))
	}
	l.Until(warm)
	before, linkBefore := total(flows), data.Stats()
	// A run shorter than 50 round trips has no time after them.
	judged := before
	if fifty := 50 * c.RTT; fifty > warm && fifty < end {
		l.Until(fifty)
		judged = total(flows)
	}
	l.Until(end)
	after, linkAfter := total(flows), data.Stats()
	for _, f := range flows {
		f.Stop()
	}
	c.finish(r, l, data, acks, flows)

	span := (end - warm).Seconds()
	sum := 0.0
	of := make(map[string]float64)
	for i := range flows {
		rate := float64(after.read[i]-before.read[i]) * 8 / span
		sum += rate
		r.Flows = append(r.Flows, rate)
		of[c.Controllers[i%len(c.Controllers)]] += rate
	}
	r.Took = end
	r.Goodput = sum / (float64(c.Rate) * payloadSize / wireSegment)
	r.Jain = tcpsim.Jain(r.Flows)
	if len(c.Controllers) > 1 && sum > 0 {
		for name := range of {
			of[name] /= sum
		}
		r.Controllers = of
	}
	if n := linkAfter.Queued - linkBefore.Queued; n > 0 {
		r.Queue = (linkAfter.Waited - linkBefore.Waited) / time.Duration(n)
	}
	r.QueueMost = linkAfter.WaitedMost
	r.QueueShare = r.Queue.Seconds() / (float64(c.bufferBytes()) * 8 / float64(c.Rate))
	r.Overflow = linkAfter.Overflow - linkBefore.Overflow
	r.Marked = linkAfter.Marked - linkBefore.Marked
	r.Sent = after.sent - before.sent
	if r.Sent > 0 {
		r.Retransmitted = float64(after.again-before.again) / float64(r.Sent)
	}
	if n := after.sent - judged.sent; n > 0 {
		r.Spurious = float64(after.waste-judged.waste) / float64(n)
	}
	r.Timeouts, r.Recoveries, r.Undos = after.timeouts, after.recoveries, after.undos
	r.Pause = after.pause
}

// finish waits for the end of the transfers and checks what must hold in every cell.
func (c *cell) finish(r *result, l *tcpsim.Loop, data, acks *tcpsim.Link, flows []*tcpsim.Flow) {
	l.Run(drainLimit, func() bool {
		return !slices.ContainsFunc(flows, func(f *tcpsim.Flow) bool { return !f.Over() })
	})
	l.Until(l.Elapsed() + 5*time.Second + 4*c.RTT) // what is still on the way
	for i, f := range flows {
		if err := f.Check(); err != nil && r.Error == "" {
			r.Error = fmt.Sprintf("flow %d: %v", i, err)
		}
	}
	for _, k := range []*tcpsim.Link{data, acks} {
		if err := k.Check(); err != nil && r.Error == "" {
			r.Error = err.Error()
		}
		if n := k.OnTheWay(); n != 0 && r.Error == "" {
			r.Error = fmt.Sprintf("%d packets still travel after all connections ended", n)
		}
	}
}

func (c *cell) runShort(r *result) {
	l := tcpsim.NewLoop(seedOf(c, r.Seed))
	data, acks := c.links(l)
	var took []time.Duration
	var sum totals
	for i := range c.Count {
		sender, receiver := c.ends(i)
		f := tcpsim.NewFlow(l, data, acks, i, tcpsim.FlowConfig{
			Sender: sender, Receiver: receiver, Bytes: c.Short, Reply: true, LoseTail: c.Impairment.Tail,
		})
		c.finish(r, l, data, acks, []*tcpsim.Flow{f})
		if r.Error != "" {
			r.Error = fmt.Sprintf("transfer %d: %s", i, r.Error)
			return
		}
		took = append(took, f.Stats().Took)
		t := total([]*tcpsim.Flow{f})
		sum.sent += t.sent
		sum.again += t.again
		sum.waste += t.waste
		sum.timeouts += t.timeouts
		sum.recoveries += t.recoveries
		sum.undos += t.undos
		sum.pause = max(sum.pause, t.pause)
	}
	r.Took = l.Elapsed()
	r.Count = len(took)
	r.Median, r.P90, r.Max = percentiles(took)
	r.Sent = sum.sent
	r.Retransmitted, r.Spurious = float64(sum.again)/float64(sum.sent), float64(sum.waste)/float64(sum.sent)
	r.Timeouts, r.Recoveries, r.Undos = sum.timeouts, sum.recoveries, sum.undos
	r.Pause = sum.pause
}

// percentiles sorts times and returns the median, the 90th percentile and the largest.
func percentiles(d []time.Duration) (median, p90, most time.Duration) {
	if len(d) == 0 {
		return 0, 0, 0
	}
	slices.Sort(d)
	return d[(len(d)-1)/2], d[(len(d)-1)*9/10], d[len(d)-1]
}

// runAll runs cells on all processors and calls done for each in their order.
func runAll(cells []cell, seed uint64, done func(result)) {
	results := make([]chan result, len(cells))
	for i := range results {
		results[i] = make(chan result, 1)
	}
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				results[i] <- runCell(&cells[i], seed)
			}
		})
	}
	go func() {
		for i := range cells {
			next <- i
		}
		close(next)
	}()
	for _, c := range results {
		done(<-c)
	}
	workers.Wait()
}
