package main

import "time"

// result is what a cell gave. Shares are from 0 to 1.
type result struct {
	Cell  string
	Seed  uint64
	RTT   time.Duration
	Rate  int64
	Took  time.Duration // simulated
	Error string        `json:",omitempty"` // a hang, corruption or leak

	// Of bulk transfers, in the measured time:
	Goodput       float64            // of the rate at which the link carries payload
	WindowLimited bool               `json:",omitempty"` // the largest window is below the bandwidth-delay product
	Jain          float64            // fairness index of the flows' goodputs
	Flows         []float64          `json:",omitempty"` // bit/s each
	Controllers   map[string]float64 `json:",omitempty"` // share of what all flows got, where there are several
	Queue         time.Duration      // mean wait in the bottleneck
	QueueMost     time.Duration
	QueueShare    float64 // mean wait as a share of the buffer's length
	Overflow      uint64  // packets that did not fit the buffer
	Marked        uint64  `json:",omitempty"` // packets that were marked by the bottleneck

	// Of both kinds; of bulk transfers in the measured time, or for Spurious after
	// 50 round trips if that is later.
	Sent          uint64
	Retransmitted float64
	Spurious      float64
	Timeouts      uint64
	Recoveries    uint64
	Undos         uint64
	Pause         time.Duration // the longest in which a reader got nothing, from connecting on
	// Surprise is what nobody would expect of the cell, although no goal says so.
	Surprise string `json:",omitempty"`

	// Of short transfers: the time from connecting to the end.
	Count            int `json:",omitempty"`
	Median, P90, Max time.Duration

	Goals []verdict `json:",omitempty"`
}

// verdict is a goal of the cell and what came of it.
type verdict struct {
	Goal  string
	Value float64
	Met   bool
	// Known says why it is known to be missed; a missed goal without it, or below the
	// floor recorded with it, fails the run.
	Known string `json:",omitempty"`
}

// failed reports whether the run is to fail for this cell.
func (r *result) failed() bool {
	if r.Error != "" {
		return true
	}
	for _, v := range r.Goals {
		if !v.Met && v.Known == "" {
			return true
		}
	}
	return false
}

// missed reports whether a goal was not met, known or not.
func (r *result) missed() bool {
	for _, v := range r.Goals {
		if !v.Met {
			return true
		}
	}
	return false
}
