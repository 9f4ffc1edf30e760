package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// source is the text of a package's files, tests left out, by path.
type source map[string]string

// readSource reads the Go files of a directory.
func readSource(dir string) (source, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	s := make(source)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s[name] = string(text)
	}
	if len(s) == 0 {
		return nil, fmt.Errorf("%s has no Go files", dir)
	}
	return s, nil
}

// pattern matches a mutant's text with white space of any length where it has some, so
// that lines which gofmt aligns anew are still found.
func pattern(text string) *regexp.Regexp {
	var b strings.Builder
	for i, word := range strings.Fields(text) {
		if i > 0 {
			b.WriteString(`\s+`)
		}
		b.WriteString(regexp.QuoteMeta(word))
	}
	return regexp.MustCompile(b.String())
}

// apply returns the file that a mutant changes, and its changed text.
func (s source) apply(m mutant) (name, text string, err error) {
	var at []string
	var place []int
	re := pattern(m.old)
	for file, src := range s {
		for _, p := range re.FindAllStringIndex(src, -1) {
			at = append(at, filepath.Base(file))
			name, place = file, p
		}
	}
	sort.Strings(at)
	switch {
	case m.old == m.new:
		return "", "", fmt.Errorf("mutant %s changes nothing", m.name)
	case len(at) == 0:
		return "", "", fmt.Errorf("mutant %s: its text is in no file any more; give it the new text of the line it is about, or choose another mistake:\n%s", m.name, m.old)
	case len(at) > 1:
		return "", "", fmt.Errorf("mutant %s: its text occurs %d times, in %s; add a line to make it unique:\n%s", m.name, len(at), strings.Join(at, ", "), m.old)
	}
	return name, s[name][:place[0]] + m.new + s[name][place[1]:], nil
}
