package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const module = "github.com/netduet/netduet"

// build compiles the package with the backend's tag into the file out.
func build(ctx context.Context, backend, pkg, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "net"+backend, "-o", out, pkg)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	switch {
	case err == nil:
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("building " + pkg + " takes the go command, which is not in PATH: install it, or give a binary")
	case ctx.Err() != nil:
		return exitStatus(130)
	default:
		msg := strings.TrimSpace(stderr.String())
		if msg == "" {
			msg = err.Error()
		}
		return fmt.Errorf("building %s with -tags net%s: %s", pkg, backend, msg)
	}
	// A package that is no command builds too, into an archive nobody can run.
	if isExecutable(out) {
		return nil
	}
	return fmt.Errorf("%s is not a command: its package is not main", pkg)
}

func isExecutable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// program returns the executable for arg, a binary or a package to build into dir.
func program(ctx context.Context, backend, arg, dir string) (string, error) {
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.Mode().IsRegular() && filepath.Ext(arg) != ".go":
		if info.Mode()&0o111 == 0 {
			return "", fmt.Errorf("%s is not executable: chmod +x it, or name a package", arg)
		}
		return filepath.Abs(arg)
	case err != nil && (filepath.IsAbs(arg) || strings.HasPrefix(arg, ".")):
		return "", fmt.Errorf("there is no package or binary %s", arg)
	}
	if err == nil && info.IsDir() && !filepath.IsAbs(arg) && !strings.HasPrefix(arg, ".") {
		arg = "./" + arg // a directory, not an import path
	}
	out := filepath.Join(dir, "program")
	return out, build(ctx, backend, arg, out)
}
