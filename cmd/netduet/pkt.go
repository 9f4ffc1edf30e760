package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"time"

	"github.com/netduet/netduet/conformance"
	"github.com/netduet/netduet/conformance/direct"
	"github.com/netduet/netduet/conformance/kernel"
	"github.com/netduet/netduet/conformance/player"
	"github.com/netduet/netduet/conformance/script"
)

const pktSynopsis = "pkt [flags] FILE|DIR..."

// pktFlags are what the command line says.
type pktFlags struct {
	match    string
	backend  string
	json     bool
	options  conformance.Options
	trace    bool
	attempts int
}

// pkt plays packet-level scripts. inside tells that the process is already where the
// kernel's backend wants it.
func pkt(args []string, inside bool) error {
	fs := newFlags("pkt", pktSynopsis)
	var f pktFlags
	fs.StringVar(&f.match, "run", "", "play the scripts whose path matches the regular `expression` only")
	fs.StringVar(&f.backend, "backend", "direct", "`stack` to play against: direct (our own, in virtual time) or kernel (Linux, in real time)")
	fs.BoolVar(&f.json, "json", false, "print a JSON object per script, and one with the totals")
	fs.BoolVar(&f.trace, "v", false, "print the packets and calls, and both packets of a mismatch")
	p := &f.options.Player
	fs.BoolVar(&p.IgnorePSH, "ignore-psh", false, "do not compare the PSH flag")
	fs.BoolVar(&p.IgnoreOptionOrder, "ignore-option-order", false, "compare TCP options without their order and padding")
	fs.BoolVar(&p.StrictSegments, "strict-segments", false, "compare how data is cut into segments")
	fs.BoolVar(&p.StrictEnd, "strict-end", false, "fail if packets are left over after the last event")
	fs.Float64Var(&p.Scale, "tolerance", 1, "multiply the tolerance of times by this `factor`")
	fs.IntVar(&f.options.Workers, "j", 0, "play so many scripts at a `time`; 0 means one per processor, and 8 on the kernel, where they mostly wait")
	fs.IntVar(&f.attempts, "attempts", 0, "play a script up to so many `times` when the machine may have been at fault; 0 means 1, and 4 on the kernel")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	if err := checkBackend(f.backend, "direct", "kernel"); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return errors.New("pkt: no script is named: see netduet pkt -help")
	}
	if p.Scale <= 0 {
		return fmt.Errorf("pkt: a tolerance of %v times its size: it must be more than 0", p.Scale)
	}
	files, err := pktFiles(fs.Args(), f.match)
	if err != nil {
		return err
	}
	play := conformance.Backend(direct.Play)
	f.options.Attempts = max(f.attempts, 1)
	if f.backend == "kernel" {
		if !inside {
			return pktInside(args)
		}
		play = kernel.Play
		if f.attempts <= 0 {
			f.options.Attempts = 4
		}
	}
	if f.options.Workers <= 0 {
		f.options.Workers = runtime.NumCPU()
		if f.backend == "kernel" {
			f.options.Workers = 8
		}
	}
	return playAll(os.Stdout, files, play, &f)
}

// pktFiles returns the scripts to play.
func pktFiles(paths []string, match string) ([]string, error) {
	re, err := regexp.Compile(match)
	if err != nil {
		return nil, fmt.Errorf("pkt: -run: %w", err)
	}
	all, err := conformance.Files(paths...)
	if err != nil {
		return nil, fmt.Errorf("pkt: %w", err)
	}
	var files []string
	for _, name := range all {
		if re.MatchString(name) {
			files = append(files, name)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("pkt: none of %d scripts there is to be played", len(all))
	}
	return files, nil
}

// playAll plays the scripts and prints what became of them as they end.
func playAll(w io.Writer, files []string, play conformance.Backend, f *pktFlags) error {
	passed, failed := 0, 0
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	conformance.RunAll(files, play, f.options, func(o conformance.Outcome) {
		if o.Err == nil {
			passed++
		} else {
			failed++
		}
		if f.json {
			enc.Encode(newPktReport(f.backend, o))
			return
		}
		fmt.Fprintln(w, o.Line())
		if f.trace {
			printTrace(w, o)
		}
	})
	if f.json {
		enc.Encode(struct {
			Passed int `json:"passed"`
			Failed int `json:"failed"`
		}{passed, failed})
	} else {
		fmt.Fprintf(w, "%d passed, %d failed\n", passed, failed)
	}
	if failed > 0 {
		return exitStatus(exitFailed)
	}
	return nil
}

// printTrace prints everything that is known about a run.
func printTrace(w io.Writer, o conformance.Outcome) {
	for _, n := range o.Result.Notes {
		fmt.Fprintln(w, "    note:", n)
	}
	for _, line := range o.Result.Trace {
		fmt.Fprintln(w, "   ", line)
	}
	var f *player.Failure
	if errors.As(o.Err, &f) {
		if f.Expected != "" {
			fmt.Fprintln(w, "    expected:", f.Expected)
		}
		if f.Actual != "" {
			fmt.Fprintln(w, "      actual:", f.Actual)
		}
	}
}

// pktReport is the verdict on a script as JSON.
type pktReport struct {
	Script   string   `json:"script"`
	Backend  string   `json:"backend"`
	Pass     bool     `json:"pass"`
	Kind     string   `json:"kind,omitempty"` // what differs: packet, timing, system call, …
	Line     int      `json:"line,omitempty"`
	Error    string   `json:"error,omitempty"`
	Expected string   `json:"expected,omitempty"`
	Actual   string   `json:"actual,omitempty"`
	Trace    []string `json:"trace,omitempty"` // of a failure
	Notes    []string `json:"notes,omitempty"`
	Seconds  float64  `json:"seconds"` // of the stack's time
	Attempts int      `json:"attempts"`
}

func newPktReport(backend string, o conformance.Outcome) pktReport {
	r := pktReport{
		Script: o.File, Backend: backend, Pass: o.Err == nil, Notes: o.Result.Notes,
		Seconds: o.Result.Elapsed.Round(time.Microsecond).Seconds(), Attempts: o.Attempts,
	}
	var f *player.Failure
	var se *script.Error
	switch {
	case o.Err == nil:
	case errors.As(o.Err, &f):
		r.Kind, r.Line, r.Error = f.Kind.String(), f.Pos.Line, f.Text
		r.Expected, r.Actual, r.Trace = f.Expected, f.Actual, f.Trace
	case errors.As(o.Err, &se):
		r.Kind, r.Line, r.Error = "syntax", se.Pos.Line, se.Error()
	default:
		r.Kind, r.Error = "setup", o.Err.Error()
	}
	return r
}
