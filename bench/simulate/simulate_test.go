package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	hole := bulkCell(kind("mtu-hole-1280"), 50*time.Millisecond, 10e6, 1, "cubic")
	deep := bulkCell(kind("mtu-hole-600"), 300*time.Millisecond, 10e6, 4, "reno")
	slow := bulkCell(kind("policed-1/2"), 50*time.Millisecond, 10e6, 1, "bbr")
	wide := bulkCell(kind("loss-1%"), 100*time.Millisecond, 1e9, 1, "bbr")
	random := bulkCell(kind("loss-1%"), 50*time.Millisecond, 100e6, 1, "bbr")
	random300 := bulkCell(kind("loss-1%"), 300*time.Millisecond, 100e6, 1, "bbr")
	reordered := bulkCell(kind("reorder-rtt/4"), 300*time.Millisecond, 100e6, 1, "bbr")
	marked := bulkCell(kind("ecn-mark"), 50*time.Millisecond, 100e6, 1, "bbr")
	policed := bulkCell(kind("policed-1/2"), 50*time.Millisecond, 100e6, 1, "bbr")
	policed300 := bulkCell(kind("policed-1/2"), 300*time.Millisecond, 100e6, 1, "bbr")
	mixed := cell{Impairment: kind("clean"), RTT: 50 * time.Millisecond, Rate: 100e6, Buffer: 1, Flows: 4, Controllers: []string{"reno", "bbr"}}
	probed := bulkCell(kind("mtu-small-1280-always"), 50*time.Millisecond, 10e6, 1, "cubic")
	for _, c := range []struct {
		cell           *cell
		r              result
		missed, failed bool
	}{
		{&clean, result{Goodput: 0.96}, false, false},
		{&clean, result{Goodput: 0.94}, true, true},
		{&bbr, result{Goodput: 0.96}, false, false},
		{&bbr, result{Goodput: 0.94}, true, true},
		{&random, result{Goodput: 0.96}, false, false},
		{&random, result{Goodput: 0.94}, true, true},
		{&random300, result{Goodput: 0.91}, false, false},
		{&random300, result{Goodput: 0.89}, true, true},
		{&reordered, result{Goodput: 0.96}, false, false},
		{&reordered, result{Goodput: 0.94}, true, true},
		{&marked, result{Goodput: 0.94}, true, true},
		{&policed, result{Goodput: 0.46, Retransmitted: 0.005}, false, false},
		{&policed, result{Goodput: 0.44, Retransmitted: 0.005}, true, true},
		{&policed, result{Goodput: 0.46, Retransmitted: 0.02}, true, true},
		{&policed300, result{Goodput: 0.46, Retransmitted: 0.012}, true, false},
		{&policed300, result{Goodput: 0.46, Retransmitted: 0.013}, true, true},
		{&mixed, result{Controllers: map[string]float64{"bbr": 0.88, "reno": 0.12}}, false, false},
		{&mixed, result{Controllers: map[string]float64{"bbr": 0.92, "reno": 0.08}}, true, true},
		{&fair, result{Jain: 0.91}, false, false},
		{&fair, result{Jain: 0.89}, true, true},
		{&late, result{Spurious: 0.0009, Recoveries: 2, Undos: 2}, false, false},
		{&late, result{Spurious: 0.0011}, true, true},
		{&late, result{Recoveries: 2, Undos: 1}, true, true},
		{&late, result{Recoveries: 2, Undos: 1, Overflow: 1}, false, false},
		{&hole, result{Goodput: 0.9, Pause: 7 * time.Second}, false, false},
		{&hole, result{Goodput: 0.8, Pause: 7 * time.Second}, true, true},
		{&hole, result{Goodput: 0.9, Pause: 17 * time.Second}, true, true},
		{&deep, result{Goodput: 0.1, Pause: 23 * time.Second}, false, false},
		{&deep, result{Goodput: 0.1, Pause: 25 * time.Second}, true, true},
		{&slow, result{Goodput: 0.46, Retransmitted: 0.02}, false, false}, // 20 segments a round trip
		{&slow, result{Goodput: 0.44, Retransmitted: 0.02}, true, true},
		{&wide, result{Goodput: 0.5}, false, false}, // the largest window is in the way
		{&probed, result{Goodput: 0.9, Pause: time.Second}, false, false},
		{&probed, result{Goodput: 0.9, Pause: 4 * time.Second}, true, true},
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
	for _, im := range slices.Concat(impairments(), holes(), tails()) {
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

// A sample is of the grid, in its order, as large as asked, and the seed's; cells in
// which nothing takes place are not in the grid.
func TestSample(t *testing.T) {
	full := fullGrid()
	names := func(list []cell) (out []string) {
		for i := range list {
			if why := list[i].vacuous(); why != "" {
				t.Errorf("%s: %s", &list[i], why)
			}
			out = append(out, list[i].String())
		}
		return out
	}
	all := names(full)
	one, again, other := names(sample(full, 300, 1)), names(sample(full, 300, 1)), names(sample(full, 300, 2))
	if len(one) != 300 || !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Errorf("%d cells, again %d, other seed %d", len(one), len(again), len(other))
	}
	at := 0
	for _, name := range one {
		i := slices.Index(all[at:], name)
		if i < 0 {
			t.Fatalf("%s is not in the grid behind the one before", name)
		}
		at += i + 1
	}
	if n := len(sample(full, 1<<20, 1)); n != len(full) {
		t.Errorf("a sample of everything has %d cells", n)
	}
	for name, gone := range map[string]bool{
		"reorder-rtt/4/1ms/1M/1bdp/1xcubic":     true, // a segment takes 12 ms
		"reorder-rtt/4/50ms/100M/1bdp/1xcubic":  false,
		"clean/1ms/1M/0.25bdp/1xreno":           true, // ten packets, as with 1 and 4
		"clean/1ms/1M/4bdp/1xreno":              false,
		"loss-0.01%/50ms/1M/1bdp/1xcubic":       true,
		"loss-0.01%/50ms/100M/1bdp/1xcubic":     false,
		"clean/300ms/10G/1bdp/1xcubic":          true, // two million segments are eight round trips
		"mtu-hole-1280/1ms/10G/1bdp/1xcubic":    true,
		"mtu-hole-1280/1ms/100M/1bdp/1xcubic":   false,
		"ack-compressed/0.05ms/1G/1bdp/1xcubic": true,
		"clean/0.05ms/1M/4bdp/64xcubic":         true,
	} {
		list := matching(wholeGrid(), regexp.MustCompile("^"+regexp.QuoteMeta(name)+"$"))
		if len(list) != 1 {
			t.Errorf("%d cells are called %s", len(list), name)
		} else if why := list[0].vacuous(); (why != "") != gone {
			t.Errorf("%s: %q", name, why)
		}
	}
}

// What nobody would expect is told, and fails nothing.
func TestSurprise(t *testing.T) {
	for _, c := range []struct {
		cell cell
		r    result
		want bool
	}{
		{bulkCell(kind("clean"), 50*time.Millisecond, 100e6, 1, "cubic"), result{Goodput: 0.49}, true},
		{bulkCell(kind("clean"), 50*time.Millisecond, 100e6, 1, "cubic"), result{Goodput: 0.9}, false},
		{bulkCell(kind("clean"), 50*time.Millisecond, 100e6, 1, "cubic"), result{Goodput: 0.9, Pause: 3 * time.Second}, true},
		{bulkCell(kind("clean"), 50*time.Millisecond, 100e6, 1, "cubic"), result{Goodput: 1.2}, true},
		{bulkCell(kind("clean"), 50*time.Millisecond, 100e6, 0.25, "cubic"), result{Goodput: 0.49}, false},
		{bulkCell(kind("loss-1%"), 50*time.Millisecond, 100e6, 1, "cubic"), result{Goodput: 0.1}, false},
	} {
		if got := surprise(&c.cell, &c.r); (got != "") != c.want {
			t.Errorf("%s, %+v: %q", &c.cell, c.r, got)
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
	for _, bad := range [][]string{{"-run", "("}, {"-run", "nosuchcell"}, {"-sample", "-1"}, {"-md", "-json"}, {"extra"}} {
		if err := run(bad, &text, &text); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

func TestWindowLimited(t *testing.T) {
	re := regexp.MustCompile(`^clean/300ms/10G/1bdp/1xcubic$`)
	c := matching(wholeGrid(), re)
	if len(c) != 1 || !c[0].windowLimited() {
		t.Fatalf("%v", c)
	}
	if free := matching(wholeGrid(), regexp.MustCompile(`^clean/300ms/100M/1bdp/1xcubic$`)); free[0].windowLimited() {
		t.Error("100 Mbit/s over 300 ms fit the window")
	}
}
