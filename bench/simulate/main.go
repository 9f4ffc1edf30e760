package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"
)

type options struct {
	run      string
	seed     uint64
	limit    time.Duration
	full     bool
	sample   int
	part     part
	results  string
	list     bool
	strict   bool
	markdown bool
	json     bool
	plots    string
	real     bool
}

func main() {
	if isChild() {
		if err := childMain(); err != nil {
			fmt.Fprintln(os.Stderr, "simulate:", err)
			os.Exit(1)
		}
		return
	}
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	default:
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("simulate", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.run, "run", "", "run only the cells whose name matches this regular `expression`; see -list")
	f.Uint64Var(&o.seed, "seed", 1, "seed of all randomness")
	f.DurationVar(&o.limit, "time", 5*time.Minute, "take as many cells of the selection as fit this time on two processors, by estimate")
	f.BoolVar(&o.full, "full", false, "run the whole grid, which takes hours, in place of the selection")
	f.IntVar(&o.sample, "sample", 0, "run so many cells of the whole grid, which the seed chooses")
	f.Var(&o.part, "part", "run only this `part` of the cells: 3/40 is the third of forty")
	f.StringVar(&o.results, "results", "", "append each result to this `file` once it is there, and do not run the cells that the file has")
	f.BoolVar(&o.list, "list", false, "print the cells' names and run nothing")
	f.BoolVar(&o.strict, "strict", false, "fail for goals that are known to be missed, too")
	f.BoolVar(&o.markdown, "md", false, "print Markdown")
	f.BoolVar(&o.json, "json", false, "print JSON, with the figures of each flow")
	f.StringVar(&o.plots, "plots", "", "draw plots of the results into this `directory`, as SVG")
	f.BoolVar(&o.real, "real", false, "compare with Linux and gVisor in real time, in network namespaces, in place of the simulation")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: cells are chosen by -run", f.Arg(0))
	}
	if o.sample < 0 {
		return nil, fmt.Errorf("-sample %d: give the number of cells to run", o.sample)
	}
	if o.markdown && o.json {
		return nil, errors.New("-md and -json exclude each other")
	}
	return o, nil
}

func run(args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.real {
		return realMain(args, o, stdout)
	}
	re, err := regexp.Compile(o.run)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	var cells []cell
	if o.full || o.sample > 0 {
		cells = matching(fullGrid(), re)
		if o.sample > 0 {
			cells = sample(cells, o.sample, o.seed)
		}
	} else {
		cells = matching(within(selection(), o.limit), re)
	}
	cells = o.part.choose(cells)
	if len(cells) == 0 {
		return fmt.Errorf("no cell is called like %q: -list prints the names, with -full those of the whole grid", o.run)
	}
	if o.list {
		for i := range cells {
			fmt.Fprintln(stdout, cells[i].String())
		}
		return nil
	}
	start := time.Now()
	var results []result
	t := newTable(stdout, o.markdown)
	var kept *store
	if o.results != "" {
		if kept, err = openStore(o.results); err != nil {
			return err
		}
	}
	err = runRest(cells, o.seed, kept, func(r result) {
		results = append(results, r)
		if !o.json {
			t.row(&r)
		}
	})
	if err := errors.Join(err, kept.close()); err != nil {
		return err
	}
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "\t")
		if err := enc.Encode(results); err != nil {
			return err
		}
	} else {
		t.end(results, time.Since(start))
	}
	if o.plots != "" {
		if err := plots(o.plots, cells, results); err != nil {
			return err
		}
	}
	failed := 0
	for i := range results {
		if results[i].failed() || o.strict && results[i].missed() {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cells failed; each can be run again by -run and -seed %d", failed, len(results), o.seed)
	}
	return nil
}
