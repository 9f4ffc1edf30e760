package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"time"
)

// errNotOffered is for an engine without the cell's congestion controller.
var errNotOffered = errors.New("not offered")

// realResult is what one engine did in a cell.
type realResult struct {
	Err         string  `json:",omitempty"`
	Goodput     float64 // of the link's payload rate
	Median, P90 time.Duration
	Doubt       time.Duration // half of the interval that the true median is in, 19 times of 20
	Again       float64       // share of the segments with data
	Spurious    float64
	Count       int
}

func newRealResult(c *realCell, report *realReport) realResult {
	r := realResult{Err: report.Err, Count: len(report.Took)}
	r.Median, r.P90, _ = percentiles(report.Took)
	r.Doubt = medianDoubt(report.Took)
	sum := int64(0)
	for _, n := range report.Bytes {
		sum += n
	}
	if report.Span > 0 {
		r.Goodput = float64(sum) * 8 / report.Span.Seconds() / (float64(c.Rate) * payloadSize / wireSegment)
	}
	return r
}

// medianDoubt is the doubt about the median of sorted times: whatever they are distributed
// like, the number of them below the true one is binomial.
func medianDoubt(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	n := float64(len(d))
	reach := int(math.Ceil(1.96 * math.Sqrt(n) / 2))
	mid := (len(d) - 1) / 2
	return (d[min(mid+reach, len(d)-1)] - d[max(mid-reach, 0)]) / 2
}

// patience is how long a cell may take until it hangs.
func (c *realCell) patience() time.Duration {
	return c.Warm + c.Time + time.Duration(c.Count)*10*time.Second + 20*time.Second
}

// realRow is a cell with what all engines did.
type realRow struct {
	cell    *realCell
	results map[string]realResult
	goals   []verdict
}

// judge compares direct with the kernel: what it gets under loss with the same
// controller is at most 5 % less, and the median of short transfers at most one round
// trip later.
func (r *realRow) judge() {
	d, l := r.results["direct"], r.results["linux"]
	if d.Err != "" || l.Err != "" {
		return
	}
	add := func(goal string, value float64, met bool) {
		r.goals = append(r.goals, verdict{Goal: goal, Value: value, Met: met})
	}
	switch {
	case r.cell.Size > 0:
		later := float64(d.Median-l.Median) / float64(r.cell.RTT)
		add("at most 1 round trip later than Linux", later, later <= 1)
	case r.cell.Loss > 0 && l.Goodput > 0:
		add("at least 0.95 of Linux", d.Goodput/l.Goodput, d.Goodput >= 0.95*l.Goodput)
	}
}

// failed reports whether direct broke. Goals against the clock of a busy machine are
// told and do not fail a run.
func (r *realRow) failed() bool { return r.results["direct"].Err != "" }

// realCells returns the cells that -run chooses.
func (o *options) realCells() ([]realCell, error) {
	re, err := regexp.Compile(o.run)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	var out []realCell
	for _, c := range realCells() {
		if re.MatchString(c.String()) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no cell of -real is called like %q", o.run)
	}
	return out, nil
}

// realTable prints rows as they come.
type realTable struct {
	t       *table
	columns []string
	begun   bool
}

func newRealTable(w io.Writer, markdown bool) *realTable {
	columns := []string{"in real time", "figure"}
	columns = append(columns, "direct", "linux", "gvisor", "")
	return &realTable{t: newTable(w, markdown), columns: columns}
}

func (t *realTable) row(r *realRow) {
	if !t.begun {
		t.begun = true
		t.t.header(t.columns)
	}
	figures := []struct {
		name string
		of   func(realResult) string
	}{
		{"goodput", func(x realResult) string { return fmt.Sprintf("%.3f", x.Goodput) }},
		{"again %", func(x realResult) string { return percent(x.Again) }},
		{"spurious %", func(x realResult) string { return percent(x.Spurious) }},
	}
	if r.cell.Size > 0 {
		figures[0].name, figures[0].of = "median ms", func(x realResult) string { return millis(x.Median) + " ± " + millis(x.Doubt) }
		figures[1].name, figures[1].of = "p90 ms", func(x realResult) string { return millis(x.P90) }
	}
	for i, f := range figures {
		line := []string{"", f.name}
		if i == 0 {
			line[0] = r.cell.String()
		}
		for _, engine := range []string{"direct", "linux", "gvisor"} {
			x := r.results[engine]
			switch {
			case x.Err == "":
				line = append(line, f.of(x))
			case x.Err == errNotOffered.Error():
				line = append(line, "–")
			default:
				line = append(line, "failed")
			}
		}
		if i == 0 {
			line = append(line, r.remark())
		} else {
			line = append(line, "")
		}
		t.t.line(t.columns, line...)
	}
}

func (r *realRow) remark() string {
	var parts []string
	for _, v := range r.goals {
		if v.Met {
			parts = append(parts, fmt.Sprintf("ok: %.3g", v.Value))
		} else {
			parts = append(parts, fmt.Sprintf("missed: %s, is %.3g", v.Goal, v.Value))
		}
	}
	for _, engine := range []string{"direct", "linux", "gvisor"} {
		if e := r.results[engine].Err; e != "" && e != errNotOffered.Error() {
			parts = append(parts, engine+": "+e)
		}
	}
	return strings.Join(parts, "; ")
}

func writeRealJSON(w io.Writer, rows []realRow) error {
	type out struct {
		Cell    string
		Engines map[string]realResult
		Goals   []verdict `json:",omitempty"`
	}
	var all []out
	for i := range rows {
		all = append(all, out{rows[i].cell.String(), rows[i].results, rows[i].goals})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "\t")
	return enc.Encode(all)
}
