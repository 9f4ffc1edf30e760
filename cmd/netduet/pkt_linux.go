package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/netduet/netduet/internal/netns"
)

// cmdPktInside is pkt in a network namespace, with the rights to make more of them.
const cmdPktInside = "pkt-inside"

// pktInside plays the scripts of the command line in a process that may make network
// namespaces: for an ordinary user that is one in a user namespace.
func pktInside(args []string) error {
	cmd := exec.Command("/proc/self/exe", append([]string{cmdPktInside}, args...)...)
	cmd.SysProcAttr = netns.Attr()
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	runtime.LockOSThread() // the child dies with the thread that made it
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return exitStatus(statusOf(exit.ProcessState))
	case netns.Forbidden(err):
		return &failure{fmt.Errorf("this machine does not let you make network namespaces, which playing against the kernel takes: run it as root, or play against -backend direct: %w", err)}
	}
	return err
}
