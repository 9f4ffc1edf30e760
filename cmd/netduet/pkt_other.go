//go:build !linux

package main

import (
	"fmt"
	"runtime"
)

// pktInside needs Linux, whose kernel it is about.
func pktInside([]string) error {
	return fmt.Errorf("the kernel that scripts are played against is Linux, and this is %s: play them against -backend direct", runtime.GOOS)
}
