package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// table prints results as they come.
type table struct {
	w        io.Writer
	markdown bool
	section  string
}

func newTable(w io.Writer, markdown bool) *table { return &table{w: w, markdown: markdown} }

var bulkColumns = []string{"bulk", "goodput", "again %", "spurious %", "queue ms", "longest ms", "of buffer", "Jain", "timeouts", "undone", ""}
var shortColumns = []string{"short", "median ms", "in RTTs", "p90 ms", "longest ms", "again %", "spurious %", "timeouts", ""}

func (t *table) row(r *result) {
	columns := bulkColumns
	if r.Count > 0 {
		columns = shortColumns
	}
	if t.section != columns[0] {
		t.section = columns[0]
		t.header(columns)
	}
	if r.Error != "" {
		t.line(columns, r.Cell, "FAILED: "+r.Error)
		return
	}
	if r.Count > 0 {
		t.line(columns, r.Cell, millis(r.Median), fmt.Sprintf("%.2f", float64(r.Median)/float64(r.RTT)), millis(r.P90), millis(r.Max),
			percent(r.Retransmitted), percent(r.Spurious), fmt.Sprint(r.Timeouts), r.remark())
		return
	}
	t.line(columns, r.Cell, fmt.Sprintf("%.3f", r.Goodput), percent(r.Retransmitted), percent(r.Spurious), millis(r.Queue), millis(r.QueueMost),
		fmt.Sprintf("%.2f", r.QueueShare), fmt.Sprintf("%.3f", r.Jain), fmt.Sprint(r.Timeouts),
		fmt.Sprintf("%d of %d", r.Undos, r.Recoveries), r.remark())
}

// remark is the last column: verdicts and what explains the row.
func (r *result) remark() string {
	var parts []string
	for _, v := range r.Goals {
		switch {
		case v.Met:
			parts = append(parts, "ok")
		case v.Known != "":
			parts = append(parts, fmt.Sprintf("missed: %s, is %.4g", v.Goal, v.Value))
		default:
			parts = append(parts, fmt.Sprintf("MISSED: %s, is %.4g", v.Goal, v.Value))
		}
	}
	if r.WindowLimited {
		parts = append(parts, "window-limited")
	}
	if r.Surprise != "" {
		parts = append(parts, "surprising: "+r.Surprise)
	}
	if r.Marked > 0 {
		parts = append(parts, fmt.Sprintf("%d marked, %d lost", r.Marked, r.Overflow))
	}
	if len(r.Controllers) > 0 {
		var of []string
		for name, share := range r.Controllers {
			of = append(of, fmt.Sprintf("%s %.2f", name, share))
		}
		slices.Sort(of)
		parts = append(parts, strings.Join(of, ", "))
	}
	return strings.Join(slices.Compact(parts), "; ")
}

func (t *table) header(columns []string) {
	if t.markdown {
		fmt.Fprintf(t.w, "\n| %s |\n|---%s|---|\n", strings.Join(columns, " | "), strings.Repeat("|--:", len(columns)-2))
		return
	}
	fmt.Fprintln(t.w)
	t.line(columns, columns...)
}

func (t *table) line(columns []string, cells ...string) {
	if t.markdown {
		for len(cells) < len(columns) {
			cells = append(cells, "")
		}
		fmt.Fprintf(t.w, "| %s |\n", strings.Join(cells, " | "))
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-46s", cells[0])
	for i, c := range cells[1:] {
		if i == len(columns)-2 || len(cells) == 2 {
			fmt.Fprintf(&b, "  %s", c)
		} else {
			fmt.Fprintf(&b, " %10s", c)
		}
	}
	fmt.Fprintln(t.w, strings.TrimRight(b.String(), " "))
}

// end prints what all the rows come to.
func (t *table) end(results []result, took time.Duration) {
	goals, met, known, broken, surprising := 0, 0, 0, 0, 0
	for i := range results {
		if results[i].Surprise != "" {
			surprising++
		}
		if results[i].Error != "" {
			broken++
		}
		for _, v := range results[i].Goals {
			goals++
			if v.Met {
				met++
			} else if v.Known != "" {
				known++
			}
		}
	}
	fmt.Fprintf(t.w, "\n%d cells in %v; %d of %d goals met, %d known to be missed, %d missed; %d cells hang, corrupt or leak.\n",
		len(results), took.Round(time.Second), met, goals, known, goals-met-known, broken)
	if surprising > 0 {
		fmt.Fprintf(t.w, "%d cells are surprising, though no goal covers them.\n", surprising)
	}
	var seen []string
	for i := range results {
		for _, v := range results[i].Goals {
			if v.Known != "" && !slices.Contains(seen, v.Known) {
				seen = append(seen, v.Known)
				fmt.Fprintln(t.w, "known:", v.Known)
			}
		}
	}
}

func millis(d time.Duration) string {
	switch ms := d.Seconds() * 1000; {
	case ms < 1:
		return fmt.Sprintf("%.3f", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f", ms)
	default:
		return fmt.Sprintf("%.0f", ms)
	}
}

func percent(share float64) string {
	if share == 0 {
		return "0"
	}
	return fmt.Sprintf("%.3g", 100*share)
}
