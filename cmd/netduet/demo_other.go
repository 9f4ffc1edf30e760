//go:build !linux

package main

import (
	"context"
	"errors"
	"os"
)

func demoTap(context.Context, *demoConfig, *report, *os.File) error {
	return &unavailable{errors.New("network namespaces and taps are Linux's")}
}

// isTerminal is a guess good enough for a progress line.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
