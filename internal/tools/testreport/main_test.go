package main

import (
	"io"
	"strings"
	"testing"
)

// ev makes a line of go test -json.
func ev(action, pkg, test, output string) string {
	return `{"Action":"` + action + `","Package":"` + pkg + `","Test":"` + test + `","Output":"` + output + `"}` + "\n"
}

func TestReport(t *testing.T) {
	pass := ev("pass", "p", "TestA", "") + ev("pass", "p", "", "")
	skip := ev("output", "p", "TestB", "no tap") + ev("skip", "p", "TestB", "") + ev("pass", "p", "", "")
	fails := ev("fail", "p", "TestC/x", "") + ev("fail", "p", "TestC", "") + ev("fail", "p", "", "")
	raced := ev("output", "p", "TestC", "WARNING: DATA RACE") + fails
	better := ev("pass", "p", "TestC/x", "") + ev("pass", "p", "TestC", "") + ev("pass", "p", "", "")
	ended := ev("output", "p", "TestC", "half a") + ev("fail", "p", "", "") // os.Exit
	for _, c := range []struct {
		name         string
		runs         []string
		skips, again []rule
		ok           bool
	}{
		{"pass", []string{pass}, nil, nil, true},
		{"nothing ran", []string{""}, nil, nil, false},
		{"no tests", []string{ev("pass", "p", "", "")}, nil, nil, false},
		{"skip", []string{pass + skip}, nil, nil, false},
		{"skip with leave", []string{pass + skip}, []rule{{"p", "Test*"}}, nil, true},
		{"failure", []string{pass + fails}, nil, nil, false},
		{"failure elsewhere has a second chance", []string{pass + fails}, nil, []rule{{"q", "Test*"}}, false},
		{"a second chance that is used", []string{pass + fails, better}, nil, []rule{{"p", "TestC"}}, true},
		{"a second chance that is not", []string{pass + fails, fails}, nil, []rule{{"p", "TestC"}}, false},
		{"a second run that does not run it", []string{pass + fails, ""}, nil, []rule{{"p", "TestC"}}, false},
		{"another test without one", []string{pass + ev("fail", "p", "TestD", "") + fails}, nil, []rule{{"p", "TestC"}}, false},
		{"a race", []string{pass + raced}, nil, []rule{{"p", "*"}}, false},
		{"the end of the process", []string{pass + ended}, nil, []rule{{"p", "*"}}, false},
		{"build failure", []string{pass + ev("fail", "q", "", "")}, nil, []rule{{"*", "*"}}, false},
	} {
		runs := c.runs
		check := check{out: io.Discard, skips: c.skips, again: c.again}
		check.goTest = func(args []string, read func(io.Reader) error) error {
			if len(runs) == 0 {
				t.Errorf("%s: another run: %q", c.name, args)
				return nil
			}
			in := runs[0]
			runs = runs[1:]
			if last := args[len(args)-1]; len(runs)+1 < len(c.runs) && last != "-run=^(TestC)$" {
				t.Errorf("%s: second run with %s", c.name, last)
			}
			return read(strings.NewReader(in))
		}
		if err := check.run([]string{"./..."}); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(runs) > 0 {
			t.Errorf("%s: no second run", c.name)
		}
	}
}
