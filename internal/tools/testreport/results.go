package main

import (
	"strings"
)

// results are those of every package.
type results map[string]*pkgResult

func (r results) of(pkg string) *pkgResult {
	p := r[pkg]
	if p == nil {
		p = &pkgResult{tests: map[string]*testResult{}}
		r[pkg] = p
	}
	return p
}

// pkgResult is what one package's tests said.
type pkgResult struct {
	failed bool
	fatal  bool // something that a second run does not excuse
	tests  map[string]*testResult
}

type testResult struct {
	action string // pass, fail, skip, or nothing yet
	output string
}

func (p *pkgResult) test(name string) *testResult {
	t := p.tests[name]
	if t == nil {
		t = &testResult{}
		p.tests[name] = t
	}
	return t
}

func (p *pkgResult) output(test, line string) {
	for _, fatal := range []string{"panic:", "fatal error:", "WARNING: DATA RACE", "SIGSEGV", "test timed out"} {
		if strings.Contains(line, fatal) {
			p.fatal = true
		}
	}
	if test != "" {
		p.test(test).output += line
	}
}

// secondChance names the top-level tests that failed, if all of them may be run again.
func (p *pkgResult) secondChance(rules []rule, pkg string) []string {
	if !p.failed || p.fatal {
		return nil
	}
	var names []string
	for name, t := range p.tests {
		if t.action == "pass" || t.action == "skip" || strings.Contains(name, "/") {
			continue
		}
		if t.action == "" || !allowed(rules, pkg, name) {
			return nil
		}
		names = append(names, name)
	}
	return names
}

// replaced is p with the tests of a second run in place of those of the first.
func (p *pkgResult) replaced(second *pkgResult) *pkgResult {
	if second == nil {
		return p
	}
	sum := &pkgResult{failed: second.failed, fatal: second.fatal, tests: map[string]*testResult{}}
	for name, t := range p.tests {
		top, _, _ := strings.Cut(name, "/")
		if second.tests[top] == nil {
			sum.tests[name] = t
		}
	}
	for name, t := range second.tests {
		sum.tests[name] = t
	}
	return sum
}
