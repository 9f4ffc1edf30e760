package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netduet/netduet/conformance/direct"
)

// TestPkt holds what is printed of scripts that pass and of those that don't, and
// the exit status.
func TestPkt(t *testing.T) {
	dir := t.TempDir()
	const open = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0\n+0 < S 0:0(0) win 32792 <mss 1000>\n"
	for name, src := range map[string]string{
		"good.pkt":   open + "+0 > S. 0:0(0) ack 1 <mss 1460>\n",
		"bad.pkt":    open + "+0 > S. 0:0(0) ack 2 <mss 1460>\n",
		"syntax.pkt": "0 socket(\n",
		"hangs.pkt":  open[:strings.Index(open, "+0 <")] + "+0...0.1 accept(3, ..., ...) = 4\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	play := func(match string, asJSON bool) (string, error) {
		t.Helper()
		files, err := pktFiles([]string{dir}, match)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err = playAll(&out, files, direct.Play, &pktFlags{backend: "direct", json: asJSON})
		return strings.ReplaceAll(out.String(), dir+string(filepath.Separator), ""), err
	}
	out, err := play("", false)
	if status := exitStatus(0); !errors.As(err, &status) || status != exitFailed {
		t.Errorf("the status is %v", err)
	}
	for _, want := range []string{
		"FAIL bad.pkt:5: packet: the acknowledgment number is 1 instead of 2; got > S. 0:0(0) ack 1",
		"FAIL hangs.pkt:4: system call: the call has not returned at",
		"FAIL syntax.pkt:2:",
		"ok   good.pkt\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if !strings.HasSuffix(out, "\n1 passed, 3 failed\n") || strings.Count(out, "\n") != 5 {
		t.Errorf("%s", out)
	}
	if out, err = play("good", false); err != nil || out != "ok   good.pkt\n1 passed, 0 failed\n" {
		t.Errorf("%v: %s", err, out)
	}
	out, _ = play("bad|good", true)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var r pktReport
	if len(lines) != 3 || lines[2] != `{"passed":1,"failed":1}` {
		t.Fatalf("%s", out)
	}
	if err := json.Unmarshal([]byte(lines[0]), &r); err != nil || r.Pass || r.Line != 5 || r.Kind != "packet" || r.Expected == "" || r.Actual == "" || len(r.Trace) == 0 {
		t.Errorf("%v: %+v", err, r)
	}
}

// What cannot be meant is bad input, not a failure.
func TestPktUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"-backend", "xen", "."}, {"-run", "(", "."}, {"-tolerance", "0", "."}, {filepath.Join(t.TempDir(), "none")}, {t.TempDir()}, {"-x"}} {
		err := pkt(args, true)
		if status := exitStatus(0); err == nil || errors.As(err, &status) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
