package main

import (
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// TestMutantsApply holds that every mutant finds its text exactly once, changes it into
// something that is Go, and has a name of its own. It fails when a line of package tcp
// changes that a mutant is about: the list follows then.
func TestMutantsApply(t *testing.T) {
	src, err := readSource("../../tcp")
	if err != nil {
		t.Fatal(err)
	}
	all := mutants()
	if len(all) < 50 {
		t.Errorf("only %d mutants", len(all))
	}
	names, texts := make(map[string]bool), make(map[string]string)
	for _, m := range all {
		if names[m.name] {
			t.Errorf("two mutants are called %q", m.name)
		}
		names[m.name] = true
		name, text, err := src.apply(m)
		if err != nil {
			t.Error(err)
			continue
		}
		if twin := texts[text]; twin != "" {
			t.Errorf("%q is %q again", m.name, twin)
		}
		texts[text] = m.name
		if _, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution); err != nil {
			t.Errorf("mutant %s: %v", m.name, err)
		}
	}
}

// TestApply holds what is wrong with a mutant that does not fit.
func TestApply(t *testing.T) {
	src := source{"a.go": "x := 1\ny := 1\n", "b.go": "z := 2\n"}
	for _, c := range []struct{ old, new, want string }{
		{":= 1", ":= 3", "occurs 2 times, in a.go, a.go"},
		{":= 4", ":= 3", "in no file any more"},
		{"z", "z", "changes nothing"},
	} {
		if _, _, err := src.apply(mutant{"m", c.old, c.new}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.old, err)
		}
	}
	if name, text, err := src.apply(mutant{"m", "z := 2", "z := 3"}); err != nil || name != "b.go" || text != "z := 3\n" {
		t.Errorf("%q %q %v", name, text, err)
	}
}

// TestPage holds that the checked-in table is about this list.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/mutants.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, " | "); len(cells) == 3 && cells[1] != "file" {
			listed = append(listed, strings.TrimPrefix(cells[0], "| "))
		}
	}
	var want []string
	for _, m := range mutants() {
		want = append(want, m.name)
	}
	if got := strings.Join(listed, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("docs/mutants.md is about other mutants: run go run ./conformance/mutate -o docs/mutants.md")
	}
}

// TestTable holds what the table says of each fate.
func TestTable(t *testing.T) {
	text := table([]outcome{
		{mutant: mutant{name: "one"}, file: "a.go", killers: []string{"a/common.pkt", "a/own.pkt"}},
		{mutant: mutant{name: "two"}, file: "a.go", killers: []string{"a/common.pkt", "b/1.pkt", "b/2.pkt", "b/3.pkt", "b/4.pkt", "b/5.pkt"}},
		{mutant: mutant{name: "three"}, file: "b.go"},
		{mutant: mutant{name: "four"}, file: "b.go", stuck: "it crashes"},
	}, 7)
	for _, want := range []string{
		"**3 of 4 mutants die** by 7 scripts",
		"| one | a.go | a/own, a/common |\n",
		"| two | a.go | b/1, b/2, b/3, b/4 and 2 more |\n",
		"| three | b.go | **nothing** |\n",
		"| four | b.go | it crashes |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
