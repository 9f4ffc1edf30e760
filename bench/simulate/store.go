package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// store is a file of results, a line of JSON each, in the order in which they were
// written. A run appends what it finds out as soon as it knows it, and does not run
// what the file has, so that hours of cells may be interrupted, taken up again, divided
// among machines and put together by cat.
//
// The file does not know which code its results are of: changed code wants a new file.
// Goals are another matter, since they are judged anew of what was measured.
type store struct {
	file *os.File
	have map[storeKey]result
}

// storeKey is what a result depends on beside the code.
type storeKey struct {
	cell string
	seed uint64
}

// openStore reads the file, which need not exist, and opens it for more. What a run that
// was killed has left of a line at the end is cut off.
func openStore(path string) (*store, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	s := &store{file: f, have: make(map[storeKey]result)}
	if err := s.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return s, nil
}

func (s *store) read() error {
	text, err := io.ReadAll(s.file)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	number := 0
	for line := range bytes.Lines(text[:whole]) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("line %d is no result of -results: %w; remove it and run again", number, err)
		}
		if r.Cell == "" {
			return fmt.Errorf("line %d names no cell; give a file that -results has written", number)
		}
		s.have[storeKey{r.Cell, r.Seed}] = r
	}
	if rest := text[whole:]; len(rest) > 0 {
		// Anything else is not cut: the path may be mistyped.
		if begin := []byte(`{"Cell":"`); !bytes.HasPrefix(rest, begin) && !bytes.HasPrefix(begin, rest) {
			return errors.New("its last line has no end and is no result; give a file that -results has written")
		}
		if err := s.file.Truncate(int64(whole)); err != nil {
			return err
		}
	}
	_, err = s.file.Seek(int64(whole), io.SeekStart)
	return err
}

// find returns what the file has of a cell, judged by the goals of now.
func (s *store) find(c *cell, seed uint64) (result, bool) {
	if s == nil {
		return result{}, false
	}
	r, ok := s.have[storeKey{c.String(), seed}]
	if ok {
		assess(c, &r)
	}
	return r, ok
}

// add appends a result.
func (s *store) add(r *result) error {
	if s == nil {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = s.file.Write(append(line, '\n'))
	return err
}

func (s *store) close() error {
	if s == nil {
		return nil
	}
	return s.file.Close()
}

// runRest runs the cells that the store does not have, and calls done for all of them
// in their order.
func runRest(cells []cell, seed uint64, s *store, done func(result)) error {
	var rest []cell
	for i := range cells {
		if _, ok := s.find(&cells[i], seed); !ok {
			rest = append(rest, cells[i])
		}
	}
	next := 0
	known := func() {
		for ; next < len(cells); next++ {
			r, ok := s.find(&cells[next], seed)
			if !ok {
				return
			}
			done(r)
		}
	}
	known()
	var failed error
	runAll(rest, seed, func(r result) {
		// A full disk does not stop what still can be printed.
		if err := s.add(&r); err != nil && failed == nil {
			failed = fmt.Errorf("-results: %w", err)
		}
		done(r)
		next++
		known()
	})
	return failed
}

// part is the first, second and so on of several parts of a list: every so many-th cell,
// so that parts take about as long as each other. The zero value is the whole.
type part struct{ number, of int }

func (p part) String() string {
	if p.of == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", p.number, p.of)
}

// Set makes part a flag.Value.
func (p *part) Set(s string) error {
	number, of, ok := strings.Cut(s, "/")
	n, err1 := strconv.Atoi(number)
	m, err2 := strconv.Atoi(of)
	if !ok || err1 != nil || err2 != nil || n < 1 || n > m {
		return errors.New("give it as 3/40, the third of forty parts")
	}
	*p = part{n, m}
	return nil
}

func (p part) choose(list []cell) []cell {
	if p.of == 0 {
		return list
	}
	var out []cell
	for i := p.number - 1; i < len(list); i += p.of {
		out = append(out, list[i])
	}
	return out
}
