package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The same seed gives the same table, in whatever order processors work.
func TestDeterminism(t *testing.T) {
	table := func(seed string) string {
		var out, errs bytes.Buffer
		if err := run([]string{"-run", `/1ms/100M/.*(10kB|100kB)`, "-seed", seed, "-json"}, &out, &errs); err != nil {
			t.Fatal(err, errs.String())
		}
		return out.String()
	}
	first := table("1")
	if again := table("1"); again != first {
		t.Error("two runs of one seed differ")
	}
	if table("2") == first {
		t.Error("two seeds give one table")
	}
	var results []result
	if err := json.Unmarshal([]byte(first), &results); err != nil || len(results) < 10 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, r := range results {
		if r.Error != "" || r.Count != 101 || r.Median <= 2*r.RTT || r.P90 < r.Median || r.Max < r.P90 {
			t.Errorf("%+v", r)
		}
	}
}

// Names tell cells apart, and the selection is part of what -list can show.
func TestGrid(t *testing.T) {
	for name, list := range map[string][]cell{"full": fullGrid(), "selection": selection()} {
		seen := make(map[string]bool)
		for i := range list {
			c := &list[i]
			if seen[c.String()] {
				t.Errorf("%s: two cells are called %s", name, c)
			}
			seen[c.String()] = true
			if c.Short > 0 {
				continue
			}
			warm, end := c.times()
			if n := c.perSecond() * end.Seconds(); n > maxSegments*1.001 || warm <= 0 || warm >= end {
				t.Errorf("%s: %s lasts %v to %v, %.0f packets", name, c, warm, end, n)
			}
		}
		t.Logf("%s: %d cells", name, len(list))
	}
	all := selection()
	short, long := within(all, 20*time.Second), within(all, 10*time.Minute)
	if len(short) == 0 || len(short) >= len(long) || short[0].String() != all[0].String() {
		t.Errorf("%d cells in 20 s, %d in 10 minutes", len(short), len(long))
	}
}

// A goal that is missed fails the run; one that is known to be missed fails it only
// below its floor, or when asked.
func TestVerdicts(t *testing.T) {
	clean := bulkCell(kind("clean"), 50*time.Millisecond, 100e6, 1, "cubic")
	bbr := bulkCell(kind("clean"), 300*time.Millisecond, 100e6, 1, "bbr")
	fair := cell{Impairment: kind("clean"), RTT: 50 * time.Millisecond, Rate: 100e6, Buffer: 1, Flows: 16, Controllers: []string{"cubic"}}
	late := windowed(kind("reorder-rtt/4"), 50*time.Millisecond, 100e6, "cubic")
	for _, c := range []struct {
		cell           *cell
		r              result
		missed, failed bool
	}{
		{&clean, result{Goodput: 0.96}, false, false},
		{&clean, result{Goodput: 0.94}, true, true},
		{&bbr, result{Goodput: 0.94}, true, false},
		{&bbr, result{Goodput: 0.89}, true, true},
		{&fair, result{Jain: 0.91}, false, false},
		{&fair, result{Jain: 0.89}, true, true},
		{&late, result{Spurious: 0.0009, Recoveries: 2, Undos: 2}, false, false},
		{&late, result{Spurious: 0.0011}, true, true},
		{&late, result{Recoveries: 2, Undos: 1}, true, true},
		{&late, result{Recoveries: 2, Undos: 1, Overflow: 1}, false, false},
		{&clean, result{Goodput: 1, Error: "hangs"}, false, true},
	} {
		c.r.Cell = c.cell.String()
		judge(c.cell, &c.r)
		if c.r.missed() != c.missed || c.r.failed() != c.failed {
			t.Errorf("%s: missed %v, failed %v; %+v", c.cell, c.r.missed(), c.r.failed(), c.r)
		}
	}
}

// A cell of every impairment, small, keeps its promises.
func TestImpairments(t *testing.T) {
	for _, im := range append(impairments(), tails()...) {
		var c cell
		if im.Tail > 0 {
			c = shortCell(im, 20*time.Millisecond, 10e6, 100_000, "cubic", 5)
		} else {
			c = bulkCell(im, 20*time.Millisecond, 2e6, 1, "cubic")
			c.Flows = 2
		}
		if r := runCell(&c, 1); r.Error != "" || r.Sent == 0 || im.Tail == 0 && r.Goodput < 0.2 {
			t.Errorf("%s: %+v", &c, r)
		}
	}
}

func TestOutput(t *testing.T) {
	const cells = `clean/(1|10)ms/10M/1bdp/1x|tail-1/1ms.*10kB`
	var text, md bytes.Buffer
	plots := t.TempDir()
	if err := run([]string{"-run", cells, "-plots", plots}, &text, &text); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-run", cells, "-md"}, &md, &md); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"clean/10ms/10M/1bdp/1xcubic", "tail-1/1ms/100M/1bdp/10kB/cubic", "0 missed"} {
		if !strings.Contains(text.String(), want) || !strings.Contains(md.String(), want) {
			t.Errorf("no %q in\n%s\n%s", want, text.String(), md.String())
		}
	}
	columns := -1
	for line := range strings.Lines(md.String()) {
		if n := strings.Count(line, "|"); !strings.HasPrefix(line, "|") {
			columns = -1
		} else if columns == -1 {
			columns = n
		} else if n != columns {
			t.Errorf("a row of %d columns in a table of %d: %s", n, columns, line)
		}
	}
	svg, err := os.ReadFile(filepath.Join(plots, "rtt-clean-10M-1bdp-1flows.svg"))
	if err != nil || !bytes.Contains(svg, []byte("<svg")) || !bytes.Contains(svg, []byte("cubic")) {
		t.Errorf("no plot: %v", err)
	}
	for _, bad := range [][]string{{"-run", "("}, {"-run", "nosuchcell"}, {"-md", "-json"}, {"extra"}} {
		if err := run(bad, &text, &text); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

func TestWindowLimited(t *testing.T) {
	re := regexp.MustCompile(`^clean/300ms/10G/1bdp/1xcubic$`)
	c := matching(fullGrid(), re)
	if len(c) != 1 || !c[0].windowLimited() {
		t.Fatalf("%v", c)
	}
	if free := matching(fullGrid(), regexp.MustCompile(`^clean/300ms/100M/1bdp/1xcubic$`)); free[0].windowLimited() {
		t.Error("100 Mbit/s over 300 ms fit the window")
	}
}
