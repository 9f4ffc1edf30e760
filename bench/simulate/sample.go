package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/netduet/netduet/tcp"
)

// vacuous says why nothing of what the cell is named for can take place in it; it is
// empty if it can. Such cells would only repeat others under another name.
func (c *cell) vacuous() string {
	im := &c.Impairment
	segment := time.Duration(wireSegment * 8 * int64(time.Second) / c.Rate)
	of := func(f float64) time.Duration { return time.Duration(f * float64(c.RTT)) }
	switch {
	case im.Reorder > 0 && of(im.ReorderBy) < segment:
		return "the next segment leaves after the late one has arrived"
	case im.AckBatch > 0 && of(im.AckBatch) < 2*segment:
		return "there is never more than one ACK to collect"
	case im.Mark > 0 && im.Mark*float64(c.bufferBytes()) < 2*wireSegment:
		return "two segments fill the buffer up to the mark"
	}
	if c.Short > 0 {
		// The transfers of a cell are many: losses take place in some of them.
		if packets := c.cost(); im.Loss*packets >= 1 || im.Loss == 0 {
			return ""
		}
		return "less than one loss is to be expected"
	}
	_, end := c.times()
	switch {
	case c.Buffer < 4 && !c.Windowed && 4*c.Buffer*c.bdp() <= minBuffer:
		return "its buffer is the least, as that of the next larger one"
	case c.Windowed && 1.5*c.bdp() < 8*payloadSize:
		return "the bound of the window is the least that there is"
	case im.Silent && (!im.Early || im.Probing == tcp.MTUProbeBlackHole) && end < 20*time.Second:
		return "it ends before a sender can have noticed that packets vanish"
	case end < 50*c.RTT:
		return "it ends before the 50th round trip, by the bound of the segments"
	case im.Loss > 0 && im.Loss*c.perSecond()*end.Seconds() < 1:
		return "less than one loss is to be expected"
	case c.perSecond()*c.RTT.Seconds() < 0.1*float64(c.Flows) && float64(c.bufferBytes())/wireSegment < float64(c.Flows)/4:
		return "path and buffer hold less than a segment for four flows"
	}
	return ""
}

// sample returns n cells of a list, in its order, that the seed chooses.
func sample(list []cell, n int, seed uint64) []cell {
	if n >= len(list) {
		return list
	}
	chosen := rand.New(rand.NewPCG(seed, 0x73616d706c65)).Perm(len(list))[:n]
	slices.Sort(chosen)
	out := make([]cell, 0, n)
	for _, i := range chosen {
		out = append(out, list[i])
	}
	return out
}

// surprise tells what nobody would expect of a cell: half of the link or less where no
// segment is lost but by the senders' own doing and the buffer holds a round trip, or a
// reader that gets nothing for longer than losses in a row explain.
func surprise(c *cell, r *result) string {
	im := &c.Impairment
	lossFree := im.Loss == 0 && im.AckLoss == 0 && im.Tail == 0 && im.Police == 0
	found := im.Probing != tcp.MTUProbeNever && im.MTU > 0 && c.RTT > 100*time.Millisecond // see judge
	switch {
	case c.Short > 0 || c.windowLimited() || found:
	case lossFree && c.Buffer >= 1 && r.Goodput < 0.5:
		return fmt.Sprintf("goodput %.3f where nothing is lost", r.Goodput)
	case lossFree && im.MTU == 0 && c.Flows == 1 && r.Pause > 2*time.Second+10*c.RTT:
		return fmt.Sprintf("a pause of %v where nothing is lost", r.Pause.Round(time.Millisecond))
	case r.Goodput > 1.1:
		return fmt.Sprintf("goodput %.3f of what the link carries", r.Goodput)
	}
	return ""
}
