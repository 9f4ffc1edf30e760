// Netduet shows and runs programs on a network of their own.
//
//	netduet demo     the whole thing on this machine, in one command
//	netduet run      a program on a tap, as its own process without privilege, or on
//	                 a device that it opens itself
//	netduet pkt      packet-level scripts against our stack, or against Linux
//	netduet version
//
// `netduet help` and `netduet COMMAND -help` say more. Bad input is answered by one
// line and exit status 2.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/netduet/netduet/stack"
)

// Exit statuses. A program started by run ends with its own.
const (
	exitFailed = 1 // it was tried and did not work
	exitUsage  = 2 // it cannot be meant so, or cannot be done here
)

func main() { os.Exit(run(os.Args[1:])) }

const usage = `netduet is one network interface, two players: our own protocols over a tap, or
the host's sockets.

usage:
	netduet demo [flags]                        show it on this machine
	netduet run [flags] PACKAGE|BINARY [args]   run a program on a tap, or on xen:0
	netduet pkt [flags] FILE|DIR...             play packet-level scripts
	netduet version                             say what this is
	netduet help                                this text

"netduet COMMAND -help" lists a command's flags.
`

func run(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return exitUsage
	}
	var err error
	switch args[0] {
	case "demo":
		err = demo(args[1:])
	case "run":
		err = runProgram(args[1:])
	case "pkt":
		err = pkt(args[1:], false)
	case "version", "-version", "--version":
		fmt.Println(version())
	case "help", "-h", "-help", "--help":
		fmt.Print(usage)
	default:
		err = inner(args)
	}
	var status exitStatus
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, new(*failure)):
		fmt.Fprintln(os.Stderr, "netduet:", oneLine(err))
		return exitFailed
	}
	fmt.Fprintln(os.Stderr, "netduet:", oneLine(err))
	return exitUsage
}

// exitStatus is an error of which everything has been said but the status.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// failure is an error of something that was tried: not bad input.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// oneLine keeps a message from looking like several.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// newFlags returns a flag set whose errors are one line.
func newFlags(name, synopsis string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {
		fs.SetOutput(os.Stdout)
		fmt.Printf("usage: netduet %s\n\nflags:\n", synopsis)
		fs.PrintDefaults()
	}
	return fs
}

// parseFlags parses args. Package flag prints the usage on any error; here only
// -help does.
func parseFlags(fs *flag.FlagSet, args []string) error {
	usage := fs.Usage
	fs.Usage = func() {}
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		usage()
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w (see netduet %s -help)", fs.Name(), err, fs.Name())
	}
	return nil
}

// checkBackend refuses what no tag stands for.
func checkBackend(name string, known ...string) error {
	for _, k := range known {
		if k == name {
			return nil
		}
	}
	return fmt.Errorf("unknown backend %q: it is %s", name, strings.Join(known, " or "))
}

func version() string {
	v := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("netduet %s, %s %s/%s, default backend %s", v, runtime.Version(), runtime.GOOS, runtime.GOARCH, stack.Backend)
}

// given reports whether the flag was given.
func given(fs *flag.FlagSet, name string) bool {
	found := false
	fs.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}
