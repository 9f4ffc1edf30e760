package netnstest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netduet/netduet/internal/netns"
)

// marker is the environment variable that tells the re-executed test binary which
// test is inside its namespace.
const marker = "NETDUET_NETNS_TEST"

// Options chooses the namespace of [RunWith].
type Options struct {
	// User asks for a user namespace even as root: what an ordinary user has.
	User bool
	// Mount asks for a mount namespace too, in which the test may mount. It takes
	// privilege or User.
	Mount bool
	// Tun says that the test opens /dev/net/tun: it is skipped where that cannot be
	// opened.
	Tun bool
}

// Run is RunWith with no options.
func Run(t *testing.T) bool { t.Helper(); return RunWith(t, Options{}) }

// RunWith makes the calling test run in a fresh network namespace: it re-executes
// the test binary for this one test, in which RunWith returns true. In the process
// that `go test` started it returns false when that run has passed, and fails or
// skips the test as that run did. Use it as the first thing of a top-level test:
//
//	func TestX(t *testing.T) {
//		if !netnstest.Run(t) {
//			return
//		}
//		…
//	}
//
// It skips the test, with a reason that begins "netns:", where namespaces are
// forbidden.
func RunWith(t *testing.T, o Options) bool {
	t.Helper()
	if os.Getenv(marker) == t.Name() {
		if err := netns.Quiet(); err != nil {
			t.Fatalf("netns: %v", err)
		}
		if o.Tun {
			f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
			if err != nil {
				t.Skipf("netns: no tap here: %v", err)
			}
			f.Close()
		}
		return true
	}
	if strings.Contains(t.Name(), "/") {
		t.Fatal("netns: RunWith belongs at the start of a top-level test")
	}

	args := []string{"-test.run", "^" + regexp.QuoteMeta(t.Name()) + "$", "-test.v", "-test.count=1"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	if d, ok := t.Deadline(); ok {
		// The child is to print its stacks before this process is killed with it.
		if left := time.Until(d) * 9 / 10; left > 0 {
			args = append(args, "-test.timeout", left.String())
		}
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	cmd.SysProcAttr = netns.Attr()
	if o.User {
		cmd.SysProcAttr = netns.UserAttr()
	}
	if o.Mount {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNS
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit) && netns.Forbidden(err):
		t.Skipf("netns: namespaces are forbidden here: %v", err)
	case err != nil:
		t.Fatalf("in the namespace: %v\n%s", err, out.Bytes())
	case bytes.Contains(out.Bytes(), []byte("--- SKIP: "+t.Name())):
		t.Skipf("in the namespace:\n%s", out.Bytes())
	case !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name())):
		t.Fatalf("in the namespace the test did not run:\n%s", out.Bytes())
	}
	if testing.Verbose() {
		t.Logf("in the namespace:\n%s", out.Bytes())
	}
	return false
}
