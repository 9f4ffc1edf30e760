package main

import (
	"math"
	"slices"
	"time"
)

// sample is one measurement of one engine in one mode. A field that has no meaning
// in the mode, or that the engine does not tell, is NaN.
type sample struct {
	Rate           float64 // GB/s in bulk, else operations per second
	CPU            float64 // of the server: seconds per GB in bulk, else microseconds per operation
	P50, P99, P999 float64 // microseconds
	Allocs         float64 // of the server: per frame on the link in bulk, else per operation
	Frames         float64 // on the link: thousands per GB in bulk, else per operation
	ClientResent   float64 // segments the client sent again
	ServerResent   float64 // segments the server sent again
	Memory         float64 // bytes per connection that is idle, or one of a crowd
	Opening        float64 // seconds until a crowd's connections were made
}

var fieldsOfSample = []func(*sample) *float64{
	func(s *sample) *float64 { return &s.Rate }, func(s *sample) *float64 { return &s.CPU },
	func(s *sample) *float64 { return &s.P50 }, func(s *sample) *float64 { return &s.P99 },
	func(s *sample) *float64 { return &s.P999 }, func(s *sample) *float64 { return &s.Allocs },
	func(s *sample) *float64 { return &s.Frames }, func(s *sample) *float64 { return &s.ClientResent },
	func(s *sample) *float64 { return &s.ServerResent }, func(s *sample) *float64 { return &s.Memory },
	func(s *sample) *float64 { return &s.Opening },
}

// unknown returns a sample that says nothing.
func unknown() sample {
	var s sample
	for _, f := range fieldsOfSample {
		*f(&s) = math.NaN()
	}
	return s
}

// window is what was seen between the beginning and the end of measured time.
type window struct {
	first, last snapshot
	held        snapshot // in between, of a crowd
	client      clientReport
	frames      uint64
	resent      int64 // by the client
}

// evaluate turns a window into a sample of the mode.
func evaluate(m mode, w *window) sample {
	s := unknown()
	n, elapsed := float64(w.client.Count), w.client.Elapsed
	if m.Kind == bulkIn || m.Kind == udpIn {
		// What counts is what arrived.
		n, elapsed = float64(w.last.Count-w.first.Count), w.last.At-w.first.At
	}
	s.ClientResent = float64(w.resent)
	if w.first.Retransmits >= 0 {
		s.ServerResent = float64(w.last.Retransmits - w.first.Retransmits)
	}
	if n == 0 || elapsed <= 0 {
		return s
	}
	cpu := (w.last.CPU - w.first.CPU).Seconds()
	allocs := float64(w.last.Mallocs - w.first.Mallocs)
	if m.bulk() {
		gb := n / 1e9
		s.Rate, s.CPU = gb/elapsed.Seconds(), cpu/gb
		s.Frames = float64(w.frames) / 1e3 / gb
		s.Allocs = allocs / float64(max(w.frames, 1))
		return s
	}
	s.Rate, s.CPU = n/elapsed.Seconds(), cpu*1e6/n
	s.Frames, s.Allocs = float64(w.frames)/n, allocs/n
	if w.client.P50 > 0 {
		s.P50, s.P99, s.P999 = micros(w.client.P50), micros(w.client.P99), micros(w.client.P999)
	}
	return s
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// median ignores NaN, and is NaN of nothing.
func median(v []float64) float64 {
	v = slices.DeleteFunc(slices.Clone(v), math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

// cell is what one engine did in one mode: a sample a round, NaN where it failed.
type cell struct {
	Samples []sample
	Errors  []string
}

// median is the sample whose fields are the medians of the rounds'.
func (c *cell) median() sample {
	out := unknown()
	for _, f := range fieldsOfSample {
		var v []float64
		for i := range c.Samples {
			v = append(v, *f(&c.Samples[i]))
		}
		*f(&out) = median(v)
	}
	return out
}

// ratios is the median of the ratios of two cells, made within each round.
func ratios(a, b *cell) sample {
	out := unknown()
	for _, f := range fieldsOfSample {
		var v []float64
		for i := range min(len(a.Samples), len(b.Samples)) {
			x, y := *f(&a.Samples[i]), *f(&b.Samples[i])
			if y != 0 {
				v = append(v, x/y)
			}
		}
		*f(&out) = median(v)
	}
	return out
}

// results is a whole run.
type results struct {
	Machine machine
	Command string
	Engines []engine
	Modes   []mode
	cells   map[cellKey]*cell
}

type cellKey struct {
	mode   mode
	engine string
}

// cell returns that of an engine in a mode, empty if it was not measured.
func (r *results) cell(m mode, engine string) *cell {
	k := cellKey{m, engine}
	if r.cells[k] == nil {
		r.cells[k] = new(cell)
	}
	return r.cells[k]
}

// machine is where a run took place.
type machine struct {
	Date, CPU, OS, Go string
	CPUs              int
	Pinned            bool
}
