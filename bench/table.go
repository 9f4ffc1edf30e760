package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// row is one line of a table: a label and its cells.
type row []string

// metric is a line of the first table for a mode.
type metric struct {
	name  string
	field func(*sample) float64
	scale float64
}

// metricsOf says what is printed of a mode, the main one first.
func metricsOf(m mode) []metric {
	rate := func(s *sample) float64 { return s.Rate }
	cpu := func(s *sample) float64 { return s.CPU }
	allocs := func(s *sample) float64 { return s.Allocs }
	frames := func(s *sample) float64 { return s.Frames }
	resent := metric{"resent segments, client's", func(s *sample) float64 { return s.ClientResent }, 1}
	switch {
	case m.memory():
		return []metric{
			{"KiB/connection", func(s *sample) float64 { return s.Memory }, 1 << 10},
			{"allocations/connection", allocs, 1},
		}
	case m.bulk():
		return []metric{
			{"GB/s", rate, 1},
			{"server CPU s/GB", cpu, 1},
			{"allocations/frame", allocs, 1},
			{"thousand frames/GB", frames, 1},
			resent,
			{"resent segments, server's", func(s *sample) float64 { return s.ServerResent }, 1},
		}
	case m.Kind == udpIn || m.Kind == udpOut:
		return []metric{
			{"thousand/s", rate, 1e3},
			{"server CPU µs/datagram", cpu, 1},
			{"allocations/datagram", allocs, 1},
		}
	}
	list := []metric{
		{"thousand/s", rate, 1e3},
		{"server CPU µs", cpu, 1},
		{"p50 µs", func(s *sample) float64 { return s.P50 }, 1},
		{"p99 µs", func(s *sample) float64 { return s.P99 }, 1},
		{"p99.9 µs", func(s *sample) float64 { return s.P999 }, 1},
		{"allocations", allocs, 1},
		{"frames", frames, 1},
	}
	if m.Kind != udpPingPong {
		list = append(list, resent)
	}
	if m.Kind == crowd {
		list = append(list,
			metric{"KiB/connection", func(s *sample) float64 { return s.Memory }, 1 << 10},
			metric{"seconds to connect", func(s *sample) float64 { return s.Opening }, 1})
	}
	return list
}

// number prints three significant digits, and a dash for what is not known.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case a == 0:
		return "0"
	case a < 0.005:
		return "0.00"
	case a < 10:
		return fmt.Sprintf("%.2f", v)
	case a < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// values is the table of medians.
func (r *results) values() (head row, body []row) {
	head = row{"mode", "per operation"}
	for _, e := range r.Engines {
		head = append(head, e.Name)
	}
	for _, m := range r.Modes {
		for i, x := range metricsOf(m) {
			line := row{"", x.name}
			if i == 0 {
				line[0] = m.String()
			}
			known := false
			for _, e := range r.Engines {
				c := r.cell(m, e.Name)
				s := c.median()
				v := x.field(&s) / x.scale
				known = known || !math.IsNaN(v) && v != 0
				text := number(v)
				if i == 0 && len(c.Errors) > 0 {
					text += "!"
				}
				line = append(line, text)
			}
			if known || i == 0 {
				body = append(body, line)
			}
		}
	}
	return head, body
}

// comparisons are the engines that direct is held against.
func (r *results) comparisons() []string {
	var list []string
	direct := false
	for _, e := range r.Engines {
		switch e.Name {
		case engineDirect:
			direct = true
		case engineNull, engineKernel, engineGvisor, engineGvisorOwn:
			list = append(list, e.Name)
		}
	}
	if !direct {
		return nil
	}
	return list
}

// ratioTable is how direct compares, by the median of the ratios within rounds:
// rate and CPU, or memory.
func (r *results) ratioTable() (head row, body []row) {
	others := r.comparisons()
	if len(others) == 0 {
		return nil, nil
	}
	head = row{"direct to"}
	for _, o := range others {
		head = append(head, o+": rate", "CPU")
	}
	for _, m := range r.Modes {
		line := row{m.String()}
		for _, o := range others {
			s := ratios(r.cell(m, engineDirect), r.cell(m, o))
			if m.memory() {
				line = append(line, number(s.Memory)+" (memory)", "–")
				continue
			}
			line = append(line, number(s.Rate), number(s.CPU))
		}
		body = append(body, line)
	}
	return head, body
}

// errors lists what failed.
func (r *results) errors() []string {
	var list []string
	for _, m := range r.Modes {
		for _, e := range r.Engines {
			for _, err := range r.cell(m, e.Name).Errors {
				list = append(list, fmt.Sprintf("! %s, %s: %s", m, e.Name, err))
			}
		}
	}
	return list
}

// describe is the line below the tables.
func (r *results) describe() string {
	m := r.Machine
	cpus := fmt.Sprintf("%d CPUs", m.CPUs)
	if m.Pinned {
		cpus = "all on one CPU"
	}
	return fmt.Sprintf("%s; %s, %s, %s, %s; MTU 1500", m.Date, m.CPU, cpus, m.OS, m.Go)
}

func (r *results) writeText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	table := func(head row, body []row) {
		for _, line := range append([]row{head}, body...) {
			fmt.Fprintln(tw, strings.Join(line, "\t"))
		}
		fmt.Fprintln(tw)
		tw.Flush()
	}
	table(r.values())
	if head, body := r.ratioTable(); head != nil {
		table(head, body)
	}
	for _, e := range r.errors() {
		fmt.Fprintln(w, e)
	}
	_, err := fmt.Fprintf(w, "%s\n%s\n", r.Command, r.describe())
	return err
}

func (r *results) writeMarkdown(w io.Writer) error {
	fmt.Fprintf(w, "`%s`, %s\n\n", r.Command, r.describe())
	table := func(head row, body []row) {
		fmt.Fprintf(w, "| %s |\n|", strings.Join(head, " | "))
		for i := range head {
			if i == 0 || head[i] == "per operation" {
				fmt.Fprint(w, "---|")
			} else {
				fmt.Fprint(w, "--:|")
			}
		}
		fmt.Fprintln(w)
		for _, line := range body {
			if line[0] != "" {
				line[0] = "**" + line[0] + "**"
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
		}
		fmt.Fprintln(w)
	}
	table(r.values())
	if head, body := r.ratioTable(); head != nil {
		table(head, body)
	}
	for _, e := range r.errors() {
		fmt.Fprintf(w, "- %s\n", e)
	}
	return nil
}

// writeJSON writes the medians, the ratios and all samples; what is not known is
// left out.
func (r *results) writeJSON(w io.Writer) error {
	type engineJSON struct {
		Median, DirectRatio map[string]float64
		Rounds              []map[string]float64
		Errors              []string `json:",omitempty"`
	}
	type modeJSON struct {
		Mode    string
		Kind    kind
		Conns   int
		Size    int
		Engines map[string]engineJSON
	}
	out := struct {
		Command string
		Machine machine
		Engines []engine
		Modes   []modeJSON
	}{Command: r.Command, Machine: r.Machine, Engines: r.Engines}
	for _, m := range r.Modes {
		mj := modeJSON{Mode: m.String(), Kind: m.Kind, Conns: m.Conns, Size: m.Size, Engines: map[string]engineJSON{}}
		for _, e := range r.Engines {
			c := r.cell(m, e.Name)
			median, ratio := c.median(), ratios(r.cell(m, engineDirect), c)
			ej := engineJSON{Median: median.known(), DirectRatio: ratio.known(), Errors: c.Errors}
			for i := range c.Samples {
				ej.Rounds = append(ej.Rounds, c.Samples[i].known())
			}
			mj.Engines[e.Name] = ej
		}
		out.Modes = append(out.Modes, mj)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "\t")
	return enc.Encode(out)
}

// known returns the fields that are, by name.
func (s *sample) known() map[string]float64 {
	m := make(map[string]float64)
	for name, v := range map[string]float64{
		"rate": s.Rate, "cpu": s.CPU, "p50": s.P50, "p99": s.P99, "p999": s.P999,
		"allocs": s.Allocs, "frames": s.Frames, "clientResent": s.ClientResent,
		"serverResent": s.ServerResent, "memory": s.Memory, "opening": s.Opening,
	} {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			m[name] = v
		}
	}
	return m
}

// collapseMargin is how far behind gvisor direct may fall before that counts as a
// collapse: short measurements on a busy machine with two processors differ by a
// tenth or more, and what is meant to be found is an engine that has lost its speed.
const collapseMargin = 0.8

// stallMargin is the same for an engine that works no more for each operation than
// gvisor does. Where processors are few, who runs beside whom decides about a third of
// such a mode's rate; an engine that waits for its own timers loses more than half.
const stallMargin = 0.5

// collapsedModes returns the modes in which direct is far behind gvisor, by the
// median of the ratios within the rounds, or was not measured.
func (r *results) collapsedModes() (list []mode) {
	for _, m := range r.Modes {
		s := ratios(r.cell(m, engineDirect), r.cell(m, engineGvisor))
		ahead := s.Rate >= collapseMargin || s.Rate >= stallMargin && s.CPU <= 1
		if m.memory() {
			ahead = s.Memory <= 1/collapseMargin
		}
		if !ahead {
			list = append(list, m)
		}
	}
	return list
}

// collapsed returns an error if there are such modes.
func (r *results) collapsed() error {
	var errs []error
	for _, m := range r.collapsedModes() {
		s := ratios(r.cell(m, engineDirect), r.cell(m, engineGvisor))
		errs = append(errs, fmt.Errorf("%s: direct is far behind gvisor: rate %s, CPU time %s, memory %s of its", m, number(s.Rate), number(s.CPU), number(s.Memory)))
	}
	return errors.Join(errs...)
}
