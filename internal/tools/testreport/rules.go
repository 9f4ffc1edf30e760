package main

import (
	"fmt"
	"os"
	"path"
	"strings"
)

// rule is a line of a list: patterns of packages and of tests.
type rule struct{ pkg, test string }

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

func allowed(rules []rule, pkg, test string) bool {
	for _, r := range rules {
		p, _ := path.Match(r.pkg, pkg)
		t, _ := path.Match(r.test, test)
		if p && t {
			return true
		}
	}
	return false
}
