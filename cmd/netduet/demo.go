package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// demoConfig is what `netduet demo` was asked for.
type demoConfig struct {
	backend string
	mib     int
	pcap    string
}

func parseDemo(args []string) (*demoConfig, error) {
	fs := newFlags("demo", "demo [flags]")
	c := &demoConfig{}
	fs.StringVar(&c.backend, "backend", "direct", "who plays the server: direct, our own protocols, or socket, the host's")
	fs.StringVar(&c.pcap, "pcap", "", "record the server's frames in `file`, as pcapng")
	fs.IntVar(&c.mib, "mib", 64, "`MiB` to move in each bulk transfer")
	if err := parseFlags(fs, args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("demo: unexpected argument %q: see netduet demo -help", fs.Arg(0))
	}
	if err := checkBackend(c.backend, "direct", "socket"); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if c.mib < 1 || c.mib > 1024 {
		return nil, fmt.Errorf("demo: -mib %d: give 1 to 1024", c.mib)
	}
	if c.pcap != "" && c.backend == "socket" {
		return nil, errors.New("demo: -pcap records the frames of our own device, and the socket backend has none: leave one of them out")
	}
	return c, nil
}

// demo shows a server of ours being used: over a tap by this machine's kernel where
// that can be, else over a wire in memory by another stack of ours.
func demo(args []string) error {
	c, err := parseDemo(args)
	if err != nil {
		return err
	}
	var pcap *os.File
	if c.pcap != "" {
		if pcap, err = os.Create(c.pcap); err != nil {
			return fmt.Errorf("demo: -pcap: %w", err)
		}
		defer pcap.Close()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := &report{w: os.Stdout, terminal: isTerminal(os.Stdout)}

	err = demoTap(ctx, c, r, pcap)
	var cannot *unavailable
	if errors.As(err, &cannot) && c.backend == "direct" {
		r.say("demo: %v", cannot)
		r.say("demo: so two stacks of ours talk over a wire in memory instead")
		err = demoMemory(ctx, c, r, pcap)
	}
	switch {
	case ctx.Err() != nil:
		return exitStatus(130)
	case err != nil && !errors.As(err, new(exitStatus)):
		return &failure{fmt.Errorf("demo: %w", err)}
	}
	return err
}

// unavailable says what this machine does not let the user do.
type unavailable struct{ error }

func (u *unavailable) Unwrap() error { return u.error }

// probeAll runs every measurement against servers that are started one after the
// other, since both play on the same device: start returns the far side and how to
// end it.
func probeAll(ctx context.Context, c *demoConfig, r *report, start func(name string) (*far, func() error, error)) error {
	total := int64(c.mib) << 20
	for _, s := range []struct {
		name   string
		probes []func(f *far) error
	}{
		{"echo", []func(f *far) error{
			func(f *far) error { return probePing(ctx, r, f) },
			func(f *far) error { return probeConnect(ctx, r, f) },
			func(f *far) error { return probeBulk(ctx, r, f, total) },
			func(f *far) error { return probeDatagrams(ctx, r, f) },
		}},
		{"httpd", []func(f *far) error{
			func(f *far) error { return probeHTTP(ctx, r, f, total) },
		}},
	} {
		f, stop, err := start(s.name)
		if err != nil {
			return err
		}
		for _, probe := range s.probes {
			if err = probe(f); err != nil {
				break
			}
		}
		if err = errors.Join(err, stop()); err != nil {
			return err
		}
	}
	r.tables()
	return nil
}
