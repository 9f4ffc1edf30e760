//go:build !linux

package main

import (
	"fmt"
	"runtime"
)

func inner(args []string) error {
	return fmt.Errorf("unknown command %q: see netduet help", args[0])
}

// runProgram needs descriptors of a tap to pass on.
func runProgram([]string) error {
	return fmt.Errorf("run makes a tap and passes its descriptor on, which takes Linux: on %s start the program itself, with -dev", runtime.GOOS)
}
