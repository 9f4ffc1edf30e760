package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/internal/netns"
)

// options are the command line.
type options struct {
	run        *regexp.Regexp
	engines    []engine
	rounds     int
	time, warm time.Duration
	settle     time.Duration // before idle memory is measured
	idle       int
	crowd      int
	plots      string
	short      bool
	pin        bool
	json, md   bool
	cpuProfile string
	collapse   bool
}

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{settle: 2 * time.Second}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(out)
	pattern := fs.String("run", "", "measure only modes whose name matches the regular `expression`")
	var names []string
	for _, e := range allEngines() {
		names = append(names, e.Name)
	}
	engines := fs.String("engines", strings.Join(names, ","), "the `engines`, separated by commas")
	fs.IntVar(&o.rounds, "rounds", 3, "how often all is measured; medians are taken over rounds")
	fs.DurationVar(&o.time, "time", 400*time.Millisecond, "how long each measurement takes, after a third of that to warm up")
	fs.IntVar(&o.idle, "idle", 10000, "how many connections idle memory is measured with")
	fs.IntVar(&o.crowd, "crowd", 0, "measure traffic on so many connections at once, too; a client's address has ports for 28,000 and more")
	fs.BoolVar(&o.short, "short", false, "one short round")
	fs.BoolVar(&o.pin, "pin", false, "run server, client and all on one CPU")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	fs.BoolVar(&o.md, "md", false, "print Markdown")
	fs.StringVar(&o.plots, "plots", "", "draw rates and ratios as SVG into this `directory`, too")
	fs.StringVar(&o.cpuProfile, "cpuprofile", "", "write the CPU profile of each server into this `directory`")
	fs.BoolVar(&o.collapse, "collapse", false, "exit with status 1 if direct is far behind gvisor in any mode; measures these two, in three rounds, unless told otherwise")
	list := fs.Bool("list", false, "list engines and modes, and measure nothing")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: modes are chosen by -run", fs.Arg(0))
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if o.collapse && !set["engines"] {
		*engines = engineDirect + "," + engineGvisor
	}
	if o.short {
		if !set["rounds"] && !o.collapse {
			o.rounds = 1
		}
		if !set["time"] {
			o.time = 150 * time.Millisecond
		}
		if !set["idle"] {
			o.idle = 2000
		}
		o.settle = 1200 * time.Millisecond
	}
	o.warm = o.time / 3
	var err error
	if o.run, err = regexp.Compile(*pattern); err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(*engines, ",") {
		found := false
		for _, e := range allEngines() {
			if e.Name == name {
				o.engines = append(o.engines, e)
				found = true
			}
		}
		if !found {
			return nil, fmt.Errorf("unknown engine %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	judged := 0
	for _, e := range o.engines {
		if e.Name == engineDirect || e.Name == engineGvisor {
			judged++
		}
	}
	switch {
	case o.collapse && judged != 2:
		return nil, fmt.Errorf("-collapse compares %s and %s: both must be among -engines", engineDirect, engineGvisor)
	case *list:
		for _, e := range allEngines() {
			fmt.Fprintf(out, "%-14s %s\n", e.Name, e.About)
		}
		for _, m := range allModes(o.idle, o.crowd) {
			fmt.Fprintln(out, m)
		}
		return nil, flag.ErrHelp
	case o.crowd < 0 || o.crowd > maxCrowd:
		return nil, fmt.Errorf("-crowd takes 0 to %d: an address has no more ports", maxCrowd)
	case o.rounds < 1 || o.idle < 1 || o.time < time.Millisecond:
		return nil, errors.New("rounds, idle and time must be positive")
	case o.json && o.md:
		return nil, errors.New("choose one of -json and -md")
	case len(selectModes(allModes(o.idle, o.crowd), o.run)) == 0:
		return nil, fmt.Errorf("no mode matches %q: -list shows them", *pattern)
	}
	if o.cpuProfile != "" {
		if err := os.MkdirAll(o.cpuProfile, 0o777); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func main() {
	var err error
	switch os.Getenv(roleVariable) {
	case roleServer:
		err = serve(stdioPeer())
	case roleClient:
		err = client(stdioPeer())
	case roleCoordinator:
		err = coordinate()
	default:
		err = enter()
	}
	if err == nil {
		return
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		os.Exit(exit.ExitCode()) // it has said why
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// enter runs this program again as the coordinator, in a namespace of its own.
func enter() error {
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.pin {
		// Children are born where their parent's thread may run, and their runtime
		// counts processors at its start.
		runtime.LockOSThread()
		if err := pin(); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleCoordinator)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = netns.Attr()
	if err := cmd.Start(); err != nil {
		if netns.Forbidden(err) {
			return fmt.Errorf("this machine lets this user make no network namespace (%w): run it as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)", err)
		}
		return err
	}
	return cmd.Wait()
}

// pin binds this thread to the first CPU it may run on.
func pin() error {
	var may, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return err
	}
	for i := range len(may) * 64 {
		if may.IsSet(i) {
			one.Set(i)
			break
		}
	}
	return unix.SchedSetaffinity(0, &one)
}

// coordinate measures and prints.
func coordinate() error {
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if err != nil {
		return err
	}
	co := &coordinator{opts: o, engines: o.engines}
	if err := co.prepare(); err != nil {
		return err
	}
	res := &results{
		Machine: describeMachine(o.pin),
		Command: commandLine(os.Args[1:]),
		Engines: o.engines,
		Modes:   selectModes(allModes(o.idle, o.crowd), o.run),
		cells:   make(map[cellKey]*cell),
	}
	start := time.Now()
	terminal := isTerminal(os.Stderr)
	progress := func(done, all int, what string) {
		line := fmt.Sprintf("[%d/%d, %ds] %s", done, all, int(time.Since(start).Seconds()), what)
		if terminal {
			fmt.Fprintf(os.Stderr, "\r\x1b[K%s", line)
		} else if done%25 == 1 || done == all {
			fmt.Fprintln(os.Stderr, line)
		}
	}
	co.run(res, res.Modes, o.rounds, progress)
	if again := res.collapsedModes(); o.collapse && len(again) > 0 {
		// A neighbour's burst of work may have fallen on one engine: the rounds that
		// follow are as many again and more, and all count.
		co.run(res, again, o.rounds+2, progress)
	}
	co.end()
	if terminal {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
	switch {
	case o.json:
		err = res.writeJSON(os.Stdout)
	case o.md:
		err = res.writeMarkdown(os.Stdout)
	default:
		err = res.writeText(os.Stdout)
	}
	if err == nil && o.plots != "" {
		err = res.plot(o.plots)
	}
	if err != nil {
		return err
	}
	if o.collapse {
		return res.collapsed()
	}
	if co.failed {
		return errors.New("some measurements failed; their errors are listed above")
	}
	return nil
}

// commandLine is what was typed, quoted for a shell.
func commandLine(args []string) string {
	line := "go run ./bench"
	for _, a := range args {
		if strings.ContainsAny(a, " |&;<>()$*?[]^'\"\\") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		line += " " + a
	}
	return line
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// describeMachine says where this is.
func describeMachine(pinned bool) machine {
	m := machine{
		Date: time.Now().UTC().Format("2006-01-02"), OS: "Linux", Go: runtime.Version(),
		CPUs: runtime.NumCPU(), Pinned: pinned,
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.OS = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	return m
}
