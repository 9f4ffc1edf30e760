//go:build !linux

package main

import (
	"errors"
	"io"
)

func isChild() bool { return false }

func childMain() error { return nil }

func realMain([]string, *options, io.Writer) error {
	return errors.New("-real needs Linux: its engines run in network namespaces")
}
