package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/netduet/netduet/conformance/player"
)

// TestScriptsCite holds that every script loads, and says in its first comment which
// section of an RFC or which manual page it plays.
func TestScriptsCite(t *testing.T) {
	files, err := Files("scripts")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 80 {
		t.Errorf("only %d scripts", len(files))
	}
	cites := regexp.MustCompile(`RFC \d+[^.:]*|\w+\([27]\)`)
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var comment strings.Builder
		for line := range strings.Lines(string(src)) {
			text, ok := strings.CutPrefix(line, "//")
			if !ok {
				break
			}
			comment.WriteString(strings.TrimSpace(text) + " ")
		}
		if !cites.MatchString(comment.String()) {
			t.Errorf("%s cites nothing: %s", f, comment.String())
		}
		plan, err := Load(f)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(plan.Settings.Notes) > 0 {
			t.Errorf("%s: %q", f, plan.Settings.Notes)
		}
	}
}

// TestRun holds what counts as an attempt, and that outcomes come in order.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.pkt", "a.pkt", "c.txt", "sub/d.pkt"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("0 listen(3, 1) = 0\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	bad := filepath.Join(dir, "c.txt")
	if err := os.WriteFile(bad, []byte("0 listen(\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	files, err := Files(dir, filepath.Join(dir, "a.pkt"), bad)
	if err != nil || len(files) != 4 {
		t.Fatalf("%q, %v", files, err)
	}
	tries := make(map[string]int)
	play := func(p *player.Plan, _ player.Config) (player.Result, error) {
		name := filepath.Base(p.Script.File)
		tries[name]++
		switch {
		case name == "a.pkt" && tries[name] < 3:
			return player.Result{}, &player.Failure{Kind: player.Timing}
		case name == "b.pkt":
			return player.Result{}, &player.Failure{Kind: player.Mismatch, Text: "wrong"}
		}
		return player.Result{}, nil
	}
	var seen []string
	outs := RunAll(files, play, Options{Attempts: 3}, func(o Outcome) { seen = append(seen, filepath.Base(o.File)) })
	if tries["a.pkt"] != 3 || tries["b.pkt"] != 1 || tries["d.pkt"] != 1 {
		t.Errorf("attempts %v", tries)
	}
	if got := strings.Join(seen, " "); got != "a.pkt b.pkt c.txt d.pkt" {
		t.Errorf("seen %s", got)
	}
	if outs[0].Err != nil || outs[0].Attempts != 3 || len(outs[0].Retried) != 2 || outs[1].Err == nil || outs[2].Err == nil || outs[3].Err != nil {
		t.Errorf("%+v", outs)
	}
	for i, want := range []string{"ok   ", "FAIL ", "FAIL ", "ok   "} {
		if l := outs[i].Line(); !strings.HasPrefix(l, want) || strings.Contains(l, "\n") {
			t.Errorf("line %q", l)
		}
	}
	if _, err := Files(filepath.Join(dir, "none")); err == nil {
		t.Error("a path that does not exist was found")
	}
}
