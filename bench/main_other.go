//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it measures over taps in network namespaces, and these exist on Linux only")
	os.Exit(1)
}
