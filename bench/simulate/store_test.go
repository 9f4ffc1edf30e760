package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Parts that are run one by one and put together give the table that one run gives, and
// what a file has is not run again, even if the run before it was killed in a line.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	table := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if err := run(append([]string{"-run", `^clean/(1|10)ms/100M/1bdp/10kB`, "-full", "-json"}, args...), &out, &errs); err != nil {
			t.Fatal(err, errs.String())
		}
		return out.String()
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	text := func(name string) string {
		b, err := os.ReadFile(at(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	whole := table()
	if one := table("-part", "1/2"); len(one) < len(whole)/3 || len(one) > len(whole)*2/3 {
		t.Errorf("half of %d bytes is %d", len(whole), len(one))
	}
	table("-part", "1/2", "-results", at("1"))
	table("-part", "2/2", "-results", at("2"))
	both := text("2") + text("1")
	if err := os.WriteFile(at("both"), []byte(both), 0o644); err != nil {
		t.Fatal(err)
	}
	if together := table("-results", at("both")); together != whole {
		t.Errorf("two halves:\n%s\nwhole:\n%s", together, whole)
	}
	if text("both") != both {
		t.Error("cells were run that the file had")
	}
	// One result less, and half of another line.
	lines := strings.SplitAfter(both, "\n")
	torn := strings.Join(lines[:3], "") + lines[3][:40]
	if err := os.WriteFile(at("torn"), []byte(torn), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := table("-results", at("torn")); again != whole {
		t.Error("a torn file gives another table")
	}
	if n := strings.Count(text("torn"), "\n"); n != strings.Count(both, "\n") {
		t.Errorf("%d lines after it was taken up again", n)
	}
	// Another seed is another result.
	if other := table("-results", at("both"), "-seed", "2"); other == whole {
		t.Error("seed 2 was answered with the results of seed 1")
	}
	for name, bad := range map[string]string{"prose": "not JSON\n", "other": "{}\n", "letter": "no line"} {
		if err := os.WriteFile(at(name), []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := run([]string{"-run", "^clean/1ms/100M/1bdp/10kB", "-results", at(name)}, &bytes.Buffer{}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "line") {
			t.Errorf("%s: %v", name, err)
		}
		if text(name) != bad {
			t.Errorf("%s was changed", name)
		}
	}
}

// Every cell is in one part; results of a file are judged by the goals of now.
func TestPartsAndGoals(t *testing.T) {
	list := selection()
	seen := make(map[string]int)
	for i := 1; i <= 7; i++ {
		for _, c := range (part{i, 7}).choose(list) {
			seen[c.String()]++
		}
	}
	for i := range list {
		if seen[list[i].String()] != 1 {
			t.Errorf("%s is in %d parts", &list[i], seen[list[i].String()])
		}
	}
	for _, bad := range []string{"", "3", "0/4", "5/4", "a/b", "1/0", "-1/2"} {
		if new(part).Set(bad) == nil {
			t.Errorf("-part %q is taken", bad)
		}
	}
	c := bulkCell(kind("clean"), 50*time.Millisecond, 100e6, 1, "cubic")
	s := &store{have: map[storeKey]result{{c.String(), 1}: {Cell: c.String(), Seed: 1, Goodput: 0.2, Surprise: "old", Goals: []verdict{{Met: true}}}}}
	if r, ok := s.find(&c, 1); !ok || !r.failed() || len(r.Goals) != 1 || r.Surprise == "old" {
		t.Errorf("%v %+v", ok, r)
	}
}
