package main

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// report is what the demo tells: lines as it goes along, a line that changes while
// something takes long (on a terminal only), and two tables at the end.
type report struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	open     bool // the last line is one that changes

	trips     []trips
	transfers []transfer
}

// trips are the round-trip times of one kind of exchange.
type trips struct {
	what string
	lost int
	took []time.Duration
}

// transfer is one bulk transfer whose content was checked.
type transfer struct {
	what  string
	bytes int64 // in each direction it went
	took  time.Duration
}

// say prints a line.
func (r *report) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wipe()
	fmt.Fprintf(r.w, format+"\n", args...)
}

// progress replaces the changing line, where there is one.
func (r *report) progress(format string, args ...any) {
	if !r.terminal {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wipe()
	fmt.Fprintf(r.w, format, args...)
	r.open = true
}

func (r *report) wipe() {
	if r.open {
		fmt.Fprint(r.w, "\r\x1b[K")
		r.open = false
	}
}

// watch calls progress about ten times a second until the returned function is
// called.
func (r *report) watch(line func() string) (stop func()) {
	if !r.terminal {
		return func() {}
	}
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				r.progress("%s", line())
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		ended.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.wipe()
	}
}

// tables prints the closing tables.
func (r *report) tables() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wipe()
	fmt.Fprintln(r.w)
	t := tabwriter.NewWriter(r.w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "round trips\tcount\tlost\tmin\tmedian\tp99\tmax\t\n")
	for _, x := range r.trips {
		slices.Sort(x.took)
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t\n", x.what, len(x.took)+x.lost, x.lost,
			short(quantile(x.took, 0)), short(quantile(x.took, 0.5)), short(quantile(x.took, 0.99)), short(quantile(x.took, 1)))
	}
	t.Flush()
	fmt.Fprintln(r.w)
	t = tabwriter.NewWriter(r.w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "transfers\tbytes\ttime\tthroughput\tSHA-256\t\n")
	for _, x := range r.transfers {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\tthe same\t\n", x.what, size(x.bytes), x.took.Round(time.Millisecond), rate(x.bytes, x.took))
	}
	t.Flush()
}

// quantile returns the q-quantile of sorted values, 0 when there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// short prints a duration with about three digits.
func short(d time.Duration) string {
	unit := time.Nanosecond
	for _, u := range []time.Duration{10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000} {
		if d >= 100*u {
			unit = u
		}
	}
	return d.Round(unit).String()
}

func size(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d", n)
}

// rate prints bytes per second, in powers of ten as links are.
func rate(n int64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f MB/s", float64(n)/1e6/d.Seconds())
}
