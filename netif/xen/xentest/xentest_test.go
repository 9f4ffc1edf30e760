//go:build xentest

package xentest_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestXen boots Xen and reports what dom0 said, one subtest for each step.
func TestXen(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "./run.sh")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	passed := 0
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		t.Log(line)
		said = append(said, line)
		_, rest, ok := strings.Cut(line, "] ")
		if !ok || !strings.HasPrefix(line, "XENTEST [") {
			continue
		}
		what, name, _ := strings.Cut(rest, " ")
		switch what {
		case "PASS":
			passed++
			t.Run(name, func(*testing.T) {})
		case "FAIL":
			t.Run(name, func(t *testing.T) { t.Error(strings.Join(said[max(0, len(said)-20):], "\n")) })
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("run.sh: %v", err)
	}
	if passed == 0 {
		t.Error("no step passed")
	}
}
