// Command testreport runs go test, prints what it prints, and fails if a test failed,
// or was skipped without standing in the list of skips that are allowed:
//
//	testreport [-skips FILE] [-again FILE] PACKAGES... [-- FLAGS OF GO TEST...]
//
// A line of either list is a package, a slash-separated test name, and behind a # the
// reason. Both names are path.Match patterns. The list -again has tests that ask
// something outside of the program how long it takes: a kernel, another engine in real
// time, an emulated machine. Such a test, if it fails on a machine that is busy with
// something else, is run once more by itself; it fails if it fails again, and if it
// panicked or raced it has failed. Nothing else has a second chance, and each that was
// used is printed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

func main() {
	skips := flag.String("skips", "", "file with the skips that are allowed")
	again := flag.String("again", "", "file with the tests that are run once more if they fail")
	verbose := flag.Bool("v", false, "print the output of passing tests too")
	flag.Parse()
	c := check{out: os.Stdout, verbose: *verbose, goTest: goTest}
	var err error
	if c.skips, err = readRules(*skips); err == nil {
		if c.again, err = readRules(*again); err == nil {
			err = c.run(flag.Args())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
}

// goTest runs go test -json and gives its output to read. That it fails is in what it
// printed.
func goTest(args []string, read func(io.Reader) error) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = read(out)
	io.Copy(io.Discard, out)
	if e := cmd.Wait(); e != nil && cmd.ProcessState.ExitCode() != 1 {
		return fmt.Errorf("go test: %w", e)
	}
	return err
}

// check is one call of the command.
type check struct {
	out          io.Writer
	verbose      bool
	skips, again []rule
	goTest       func(args []string, read func(io.Reader) error) error
}

// run tests the packages of args, by the flags behind their "--".
func (c *check) run(args []string) error {
	packages, flags := args, []string(nil)
	if i := slices.Index(args, "--"); i >= 0 {
		packages, flags = args[:i], args[i+1:]
	}
	all := results{}
	if err := c.goTest(slices.Concat(packages, flags), func(r io.Reader) error { return c.read(r, all) }); err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("no test ran")
	}
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		names := all[pkg].secondChance(c.again, pkg)
		if len(names) == 0 {
			continue
		}
		fmt.Fprintf(c.out, "AGAIN %s %s\n", pkg, strings.Join(names, " "))
		for i, n := range names {
			names[i] = regexp.QuoteMeta(n)
		}
		second := results{}
		pattern := "^(" + strings.Join(names, "|") + ")$"
		if err := c.goTest(slices.Concat([]string{pkg}, flags, []string{"-count=1", "-run=" + pattern}), func(r io.Reader) error { return c.read(r, second) }); err != nil {
			return err
		}
		all[pkg] = all[pkg].replaced(second[pkg])
	}
	return c.verdict(all)
}

// verdict prints the sums.
func (c *check) verdict(all results) error {
	passed, failed, skipped := 0, 0, 0
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		p := all[pkg]
		if p.failed {
			failed++
			fmt.Fprintln(c.out, "FAILED", pkg)
		}
		for _, name := range slices.Sorted(maps.Keys(p.tests)) {
			switch t := p.tests[name]; t.action {
			case "pass":
				passed++
			case "fail":
				failed++
				fmt.Fprintln(c.out, "FAILED", pkg, name)
			case "skip":
				if !allowed(c.skips, pkg, name) {
					skipped++
					fmt.Fprintf(c.out, "SKIPPED without leave %s %s: %s\n", pkg, name, strings.TrimSpace(t.output))
				}
			}
		}
	}
	fmt.Fprintf(c.out, "%d passed, %d failed, %d skipped without leave\n", passed, failed, skipped)
	switch {
	case failed > 0:
		return fmt.Errorf("%d failed", failed)
	case skipped > 0:
		return fmt.Errorf("%d skipped that may not be", skipped)
	case passed == 0:
		return fmt.Errorf("no test ran")
	}
	return nil
}

// event is a line of go test -json.
type event struct{ Action, Package, Test, Output string }

// read collects what go test -json says, and prints what concerns packages and tests
// that fail.
func (c *check) read(in io.Reader, all results) error {
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		var e event
		if json.Unmarshal(scan.Bytes(), &e) != nil {
			fmt.Fprintln(c.out, scan.Text()) // the go command's own words, such as build errors
			continue
		}
		if e.Package == "" {
			fmt.Fprint(c.out, e.Output) // of a build
			continue
		}
		p := all.of(e.Package)
		switch e.Action {
		case "output":
			if e.Test == "" && !strings.HasPrefix(e.Output, "PASS") || c.verbose {
				fmt.Fprint(c.out, e.Output)
			}
			p.output(e.Test, e.Output)
		case "pass", "fail", "skip":
			if e.Test == "" {
				p.failed = e.Action == "fail"
				continue
			}
			t := p.test(e.Test)
			t.action = e.Action
			if e.Action == "fail" && !c.verbose {
				fmt.Fprint(c.out, t.output)
			}
			if e.Action != "skip" {
				t.output = ""
			}
		}
	}
	return scan.Err()
}
