package conformance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/netduet/netduet/conformance/player"
	"github.com/netduet/netduet/conformance/script"
)

// Backend makes a stack for a plan, plays the plan's script against it, and takes it
// down: kernel.Play is one.
type Backend func(*player.Plan, player.Config) (player.Result, error)

// Options say how scripts are played. The zero value plays one after the other, once
// each, as published scripts are meant.
type Options struct {
	Player player.Config
	// Workers is how many scripts are played at a time; zero is one.
	Workers int
	// Attempts is how often a script is played before a doubtful failure, which on a
	// loaded machine in real time may be nobody's fault, counts; zero is one.
	Attempts int
}

// Outcome is the verdict on one script.
type Outcome struct {
	File     string
	Err      error // nil, a *player.Failure, a *script.Error, or what went wrong before
	Result   player.Result
	Attempts int
	Retried  []error // what the attempts before the last failed with
}

// Files returns the .pkt files among the paths and below the directories among them,
// sorted, without repetition.
func Files(paths ...string) ([]string, error) {
	var files []string
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !st.IsDir() {
			files = append(files, filepath.Clean(p))
			continue
		}
		err = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, ".pkt") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// Load reads a script and prepares it.
func Load(file string) (*player.Plan, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s, err := script.Parse(file, src)
	if err != nil {
		return nil, err
	}
	return player.Prepare(s)
}

// Run plays one script.
func Run(file string, play Backend, o Options) Outcome {
	out := Outcome{File: file}
	for {
		// A fresh plan each time: a run adds to its notes.
		plan, err := Load(file)
		if err != nil {
			out.Err = err
			return out
		}
		out.Attempts++
		out.Result, out.Err = play(plan, o.Player)
		var f *player.Failure
		if !errors.As(out.Err, &f) || !f.Doubtful() || out.Attempts >= o.Attempts {
			return out
		}
		out.Retried = append(out.Retried, out.Err)
	}
}

// RunAll plays scripts and returns their outcomes in the order of the files. each, if
// it is not nil, sees them as they come.
func RunAll(files []string, play Backend, o Options, each func(Outcome)) []Outcome {
	outs := make([]Outcome, len(files))
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := 0
	for range max(o.Workers, 1) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(files) {
					return
				}
				out := Run(files[i], play, o)
				outs[i] = out
				if each != nil {
					mu.Lock()
					each(out)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return outs
}

// Line is the outcome in one line.
func (o Outcome) Line() string {
	if o.Err == nil {
		s := "ok   " + o.File
		if o.Attempts > 1 {
			s += fmt.Sprintf(" (attempt %d)", o.Attempts)
		}
		return s
	}
	var f *player.Failure
	if errors.As(o.Err, &f) {
		return "FAIL " + f.Summary()
	}
	return "FAIL " + strings.SplitN(o.Err.Error(), "\n", 2)[0]
}
