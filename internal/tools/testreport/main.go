// Command testreport reads the output of go test -json from its standard input,
// prints what go test prints without -json, and fails if a test failed, or was
// skipped without standing in the list of skips that are allowed.
//
// A line of the list is a package, a slash-separated test name, and behind a # the
// reason. Both names are path.Match patterns.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

type rule struct{ pkg, test string }

func main() {
	list := flag.String("skips", "", "file with the skips that are allowed")
	verbose := flag.Bool("v", false, "print the output of passing tests too")
	flag.Parse()
	rules, err := readRules(*list)
	if err == nil {
		err = run(os.Stdin, os.Stdout, rules, *verbose)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
}

func readRules(name string) ([]rule, error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var rules []rule
	for i, line := range strings.Split(string(b), "\n") {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		switch len(f) {
		case 0:
		case 2:
			rules = append(rules, rule{f[0], f[1]})
		default:
			return nil, fmt.Errorf("%s:%d: want a package and a test", name, i+1)
		}
	}
	return rules, nil
}

func allowed(rules []rule, e event) bool {
	for _, r := range rules {
		pkg, _ := path.Match(r.pkg, e.Package)
		test, _ := path.Match(r.test, e.Test)
		if pkg && test {
			return true
		}
	}
	return false
}

func run(in io.Reader, out io.Writer, rules []rule, verbose bool) error {
	type key struct{ pkg, test string }
	output := map[key][]string{}
	var failed, skipped []string
	passed := 0
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		var e event
		if json.Unmarshal(scan.Bytes(), &e) != nil {
			fmt.Fprintln(out, scan.Text()) // the go command's own words, such as build errors
			continue
		}
		k := key{e.Package, e.Test}
		switch e.Action {
		case "output":
			if e.Test == "" && !strings.HasPrefix(e.Output, "PASS") || verbose {
				fmt.Fprint(out, e.Output)
			} else {
				output[k] = append(output[k], e.Output)
			}
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "pass", "fail", "skip":
			if e.Test == "" {
				if e.Action == "fail" {
					failed = append(failed, e.Package)
				}
				continue
			}
			switch e.Action {
			case "pass":
				passed++
			case "fail":
				failed = append(failed, e.Package+" "+e.Test)
				fmt.Fprint(out, strings.Join(output[k], ""))
			case "skip":
				if !allowed(rules, e) {
					skipped = append(skipped, e.Package+" "+e.Test+": "+strings.TrimSpace(strings.Join(output[k], " ")))
				}
			}
			delete(output, k)
		}
	}
	if err := scan.Err(); err != nil {
		return err
	}
	sort.Strings(failed)
	for _, f := range failed {
		fmt.Fprintln(out, "FAILED", f)
	}
	for _, s := range skipped {
		fmt.Fprintln(out, "SKIPPED without leave", s)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped without leave\n", passed, len(failed), len(skipped))
	switch {
	case len(failed) > 0:
		return fmt.Errorf("%d failed", len(failed))
	case len(skipped) > 0:
		return fmt.Errorf("%d skipped that may not be", len(skipped))
	case passed == 0:
		return fmt.Errorf("no test ran")
	}
	return nil
}
