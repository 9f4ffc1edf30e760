package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is an example running as a process of its own.
type server struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and its output was read
	err  error

	mu  sync.Mutex
	bad []string // what it wrote to standard error
}

// startServer starts the command and waits until it says that it listens.
func startServer(ctx context.Context, r *report, name string, cmd *exec.Cmd) (*server, error) {
	s := &server{name: name, cmd: cmd, done: make(chan struct{})}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	complaints, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		heard := false
		lines(out, func(line string) {
			r.say("  %s", line)
			if !heard && strings.Contains(line, "listening") {
				heard = true
				close(ready)
			}
		})
	})
	reading.Go(func() {
		lines(complaints, func(line string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.bad) < 20 {
				s.bad = append(s.bad, line)
			}
			r.say("  %s", line)
		})
	})
	go func() {
		reading.Wait()
		s.err = cmd.Wait()
		close(s.done)
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-ready:
		return s, nil
	case <-s.done:
		return nil, fmt.Errorf("%s ended at once: %s", name, s.complaint())
	case <-late.C:
		err = fmt.Errorf("%s does not listen after %v", name, patience)
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.stop()
	return nil, err
}

func lines(r io.Reader, f func(string)) {
	for s := bufio.NewScanner(r); s.Scan(); {
		f(s.Text())
	}
	io.Copy(io.Discard, r) // a line too long: the program must not block on it
}

func (s *server) complaint() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bad) > 0 {
		return s.bad[len(s.bad)-1]
	}
	return fmt.Sprint(s.err)
}

// stop asks the process to end and waits until it has; a process that does not is
// killed. The error says how it ended if that was not well.
func (s *server) stop() error {
	select {
	case <-s.done:
		return fmt.Errorf("%s ended before it was asked to: %s", s.name, s.complaint())
	default:
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-s.done:
	case <-late.C:
		s.cmd.Process.Kill()
		<-s.done
		return fmt.Errorf("%s did not end within %v of SIGTERM and was killed", s.name, patience)
	}
	if s.err != nil {
		return fmt.Errorf("%s: %s", s.name, s.complaint())
	}
	return nil
}
