package main

import (
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	for v := range uint64(1 << 16) {
		b := bucketOf(v)
		if up := upperBound(b); v > up || b > 0 && v <= upperBound(b-1) {
			t.Fatalf("%d is in bucket %d, which ends at %d", v, b, up)
		}
	}
	if b := bucketOf(math.MaxInt64); b >= len(new(histogram).counts) {
		t.Fatalf("the longest duration is in bucket %d of %d", b, len(new(histogram).counts))
	}
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	var all []time.Duration
	for range 10000 {
		d := time.Duration(rng.ExpFloat64() * 1e5)
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.99, 0.999} {
		exact, got := all[int(q*float64(len(all)))], h.quantile(q)
		if got < exact || float64(got) > float64(exact)*(1+2.0/subBuckets)+1 {
			t.Errorf("seed %d: the %g quantile is %v, want %v", seed, q, got, exact)
		}
	}
	var twice histogram
	twice.merge(&h)
	twice.merge(&h)
	if twice.n != 2*h.n || twice.quantile(0.5) != h.quantile(0.5) {
		t.Error("twice the same has another median")
	}
	if h.quantile(1) < all[len(all)-1] {
		t.Error("the largest sample is above all")
	}
}

// A window of one second with known counts.
func TestEvaluate(t *testing.T) {
	w := &window{
		first:  snapshot{Retransmits: 1, Mallocs: 100},
		last:   snapshot{At: time.Second, CPU: time.Second / 2, Mallocs: 300, Count: 2e9, Retransmits: 4},
		client: clientReport{Elapsed: 2 * time.Second, Count: 1000, P50: time.Microsecond},
		frames: 2000, resent: 5,
	}
	if s := evaluate(mode{bulkIn, 1, 0}, w); s.Rate != 2 || s.CPU != 0.25 || s.Allocs != 0.1 || s.Frames != 1 || s.ClientResent != 5 || s.ServerResent != 3 {
		t.Errorf("bulk: %+v", s)
	}
	if s := evaluate(mode{pingPong, 1, 1}, w); s.Rate != 500 || s.CPU != 500 || s.Allocs != 0.2 || s.Frames != 2 || s.P50 != 1 {
		t.Errorf("transactions: %+v", s)
	}
	w.client.Count = 0
	if s := evaluate(mode{pingPong, 1, 1}, w); !math.IsNaN(s.Rate) || !math.IsNaN(s.CPU) {
		t.Errorf("nothing happened: %+v", s)
	}
}

func withRate(v float64) sample { s := unknown(); s.Rate = v; return s }

// The ratio is made within a round before the median is taken.
func TestRatios(t *testing.T) {
	a := &cell{Samples: []sample{withRate(10), withRate(200), withRate(3)}}
	b := &cell{Samples: []sample{withRate(5), withRate(50), withRate(1)}}
	if s := ratios(a, b); s.Rate != 3 || !math.IsNaN(s.CPU) {
		t.Errorf("%+v, want 3", s)
	}
	b.Samples[2] = unknown() // that round failed
	if s := ratios(a, b); s.Rate != 3 {
		t.Errorf("%+v, want the mean of 2 and 4", s)
	}
	if m := a.median(); m.Rate != 10 {
		t.Errorf("median %+v", m)
	}
}

func testResults() *results {
	m := mode{pingPong, 64, 1}
	r := &results{
		Command: "go run ./bench", Machine: machine{Date: "2026-01-02", CPU: "some CPU", CPUs: 2},
		Engines: []engine{{Name: engineDirect}, {Name: engineGvisor}}, Modes: []mode{m},
		cells: make(map[cellKey]*cell),
	}
	r.cell(m, engineDirect).Samples = []sample{withRate(90000)}
	r.cell(m, engineGvisor).Samples = []sample{withRate(45000)}
	return r
}

func TestTables(t *testing.T) {
	r := testResults()
	for name, write := range map[string]func(io.Writer) error{"text": r.writeText, "md": r.writeMarkdown} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"pingpong/1B/64", "90.0", "45.0", "2.00", "2026-01-02", "go run ./bench"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q:\n%s", name, want, b.String())
			}
		}
	}
	var b strings.Builder
	if err := r.writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Modes []struct {
			Mode    string
			Engines map[string]struct{ Median, DirectRatio map[string]float64 }
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatal(err)
	}
	if g := back.Modes[0].Engines[engineGvisor]; g.Median["rate"] != 45000 || g.DirectRatio["rate"] != 2 {
		t.Errorf("JSON has %+v", g)
	}
}

// TestPlots holds that there is a drawing for each mode and one of the ratios, and that
// they show what the tables have.
func TestPlots(t *testing.T) {
	r := testResults()
	idle := mode{parked, 10, 1}
	r.Modes = append(r.Modes, idle, mode{udpIn, 1, 64}) // of the last there is nothing
	r.cell(idle, engineDirect).Samples = []sample{withMemory(1 << 10)}
	r.cell(idle, engineGvisor).Samples = []sample{withMemory(6 << 10)}
	dir := filepath.Join(t.TempDir(), "new")
	if err := r.plot(dir); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"pingpong-1B-64.svg":   {"pingpong/1B/64", "thousand/s", engineDirect, engineGvisor},
		"memory-parked-10.svg": {"KiB/connection", engineDirect, engineGvisor},
		"ratios.svg":           {"pingpong/1B/64", "memory/parked/10", engineGvisor, ">0.5<", ">8<"},
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(want) {
		t.Errorf("%v, %v", files, err)
	}
	for name, texts := range want {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.HasPrefix(string(b), "<?xml") || !strings.Contains(string(b), "</svg>") {
			t.Errorf("%s is no SVG", name)
		}
		for _, text := range texts {
			if !strings.Contains(string(b), text) {
				t.Errorf("%s lacks %q", name, text)
			}
		}
	}
}

func withMemory(v float64) sample { s := unknown(); s.Memory = v; return s }

func TestCollapsed(t *testing.T) {
	r := testResults()
	if err := r.collapsed(); err != nil {
		t.Errorf("twice as fast: %v", err)
	}
	direct, gvisor := r.cell(r.Modes[0], engineDirect), r.cell(r.Modes[0], engineGvisor)
	direct.Samples = []sample{withRate(40000)}
	if err := r.collapsed(); err != nil {
		t.Errorf("a little slower, as a neighbour's work can make it: %v", err)
	}
	direct.Samples = []sample{withRate(35000)}
	if r.collapsed() == nil {
		t.Error("much slower, and nothing was said")
	}
	for _, c := range []struct {
		rate, cpu float64
		ok        bool
	}{{35000, 9, true}, {35000, 11, false}, {22000, 9, false}} {
		s, of := withRate(c.rate), withRate(45000)
		s.CPU, of.CPU = c.cpu, 10
		direct.Samples, gvisor.Samples = []sample{s}, []sample{of}
		if err := r.collapsed(); (err == nil) != c.ok {
			t.Errorf("rate %v, CPU time %v of 10: %v", c.rate, c.cpu, err)
		}
	}
	// What is measured again counts together with what was.
	direct.Samples = []sample{withRate(35000), withRate(46000), withRate(47000)}
	gvisor.Samples = []sample{withRate(45000), withRate(45000), withRate(45000)}
	if err := r.collapsed(); err != nil {
		t.Errorf("slower in one round of three: %v", err)
	}
	r.cell(r.Modes[0], engineDirect).Samples = []sample{unknown()}
	if r.collapsed() == nil {
		t.Error("not measured, and nothing was said")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.001: "0.00", 0.123: "0.12", 9.876: "9.88", 12.34: "12.3", 1234.5: "1234", math.NaN(): "–", math.Inf(1): "–",
	} {
		if got := number(v); got != want {
			t.Errorf("%v prints as %q, want %q", v, got, want)
		}
	}
}
