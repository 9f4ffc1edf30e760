package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/netduet/netduet/conformance"
	"github.com/netduet/netduet/conformance/direct"
	"github.com/netduet/netduet/conformance/player"
)

const (
	// wanted is the share of mutants that must die.
	wanted = 0.9
	// runLimit is how long all scripts may take, which is a fraction of a second for
	// those that end.
	runLimit = 30 * time.Second
	// playArg makes the command play the scripts that follow, print the files of those
	// that fail as JSON, and nothing else.
	playArg = "-play-and-report"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == playArg {
		if err := play(os.Stdout, os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := mutate(); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// report is what a run says of the scripts.
type report struct {
	Failed []string // their files
	Total  int
}

// play plays the scripts against the stack that this very program is linked with.
func play(w io.Writer, paths []string) error {
	files, err := conformance.Files(paths...)
	if err != nil {
		return err
	}
	r := report{Total: len(files)}
	o := conformance.Options{Workers: runtime.NumCPU(), Player: player.Config{StrictEnd: true}}
	for _, out := range conformance.RunAll(files, direct.Play, o, nil) {
		if out.Err != nil {
			r.Failed = append(r.Failed, filepath.ToSlash(out.File))
		}
	}
	return json.NewEncoder(w).Encode(r)
}

// bench builds and runs mutants.
type bench struct {
	root    string // of the module
	dir     string // for temporary files
	scripts string
	source  source
	base    map[string]bool // the scripts that fail without any mutant
	total   int
}

// outcome is what became of a mutant.
type outcome struct {
	mutant  mutant
	file    string   // the base name of the one it changes
	killers []string // scripts, without what they have in common
	stuck   string   // how the run ended that did not come to its end
}

func (o *outcome) killed() bool { return len(o.killers) > 0 || o.stuck != "" }

func mutate() error {
	match := flag.String("run", "", "only mutants whose name matches the regular `expression`")
	out := flag.String("o", "", "write the table to this `file` instead of printing it")
	flag.Parse()
	if flag.NArg() > 0 {
		return errors.New("it takes no arguments: see -help")
	}
	re, err := regexp.Compile(*match)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if *match != "" && *out != "" {
		return errors.New("-o is for the whole table: leave -run out")
	}
	b, err := newBench()
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	var outs []outcome
	var broken []error
	for _, m := range mutants() {
		if !re.MatchString(m.name) {
			continue
		}
		o, err := b.try(m)
		if err != nil {
			broken = append(broken, err)
			fmt.Fprintf(os.Stderr, "ERROR    %s: %v\n", m.name, err)
			continue
		}
		word := "survives"
		if o.killed() {
			word = "killed  "
		}
		fmt.Fprintf(os.Stderr, "%s %s (%d scripts)\n", word, m.name, len(o.killers))
		outs = append(outs, o)
	}
	if len(broken) > 0 {
		return errors.Join(broken...)
	}
	if len(outs) == 0 {
		return fmt.Errorf("no mutant matches %q", *match)
	}
	text := table(outs, b.total-len(b.base))
	if *out != "" {
		err = os.WriteFile(*out, []byte(text), 0o666)
	} else {
		_, err = io.WriteString(os.Stdout, text)
	}
	if err != nil {
		return err
	}
	if dead := killed(outs); *match == "" && float64(dead) < wanted*float64(len(outs)) {
		return fmt.Errorf("%d of %d mutants die, which is less than %.0f %%: write scripts for those that survive", dead, len(outs), wanted*100)
	}
	return nil
}

// newBench finds the module and plays the scripts against the stack as it is.
func newBench() (*bench, error) {
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	if err != nil || root == "." {
		return nil, errors.New("run it inside the module, where the go command finds go.mod")
	}
	src, err := readSource(filepath.Join(root, "tcp"))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, err
	}
	b := &bench{root: root, dir: dir, scripts: filepath.Join("conformance", "scripts"), source: src, base: make(map[string]bool)}
	r, stuck, err := b.run(nil)
	if err == nil && stuck != "" {
		err = fmt.Errorf("the scripts do not end without any mutant: %s", stuck)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	for _, f := range r.Failed {
		b.base[f] = true
	}
	b.total = r.Total
	return b, nil
}

// try applies a mutant and plays the scripts.
func (b *bench) try(m mutant) (outcome, error) {
	file, text, err := b.source.apply(m)
	if err != nil {
		return outcome{}, err
	}
	r, stuck, err := b.run(map[string]string{file: text})
	if err != nil {
		return outcome{}, err
	}
	o := outcome{mutant: m, file: filepath.Base(file), stuck: stuck}
	for _, f := range r.Failed {
		if !b.base[f] {
			o.killers = append(o.killers, strings.TrimPrefix(f, filepath.ToSlash(b.scripts)+"/"))
		}
	}
	return o, nil
}

// run builds this program with files replaced, and plays the scripts with it. stuck
// says how a run ended that made no report.
func (b *bench) run(files map[string]string) (r report, stuck string, err error) {
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for name, text := range files {
		there := filepath.Join(b.dir, filepath.Base(name))
		if err := os.WriteFile(there, []byte(text), 0o666); err != nil {
			return r, "", err
		}
		overlay.Replace[name] = there
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return r, "", err
	}
	listFile, bin := filepath.Join(b.dir, "overlay.json"), filepath.Join(b.dir, "player")
	if err := os.WriteFile(listFile, list, 0o666); err != nil {
		return r, "", err
	}
	build := exec.Command("go", "build", "-overlay", listFile, "-o", bin, "-ldflags=-s -w", "./conformance/mutate")
	build.Dir = b.root
	if text, err := build.CombinedOutput(); err != nil {
		return r, "", fmt.Errorf("the build fails: %w\n%s", err, text)
	}
	cmd := exec.Command(bin, playArg, b.scripts)
	cmd.Dir = b.root
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return r, "", err
	}
	timer := time.AfterFunc(runLimit, func() { cmd.Process.Kill() })
	err = cmd.Wait()
	switch late := !timer.Stop(); {
	case late:
		return r, "it does not end", nil
	case err != nil:
		return r, "it crashes", nil
	}
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		return r, "", fmt.Errorf("what the player reports: %w", err)
	}
	return r, "", nil
}
