package conformance

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/netduet/netduet/conformance/direct"
	"github.com/netduet/netduet/conformance/player"
)

// TestDirect plays every script of ours against our stack, in virtual time. Those
// that are known to diverge must go on doing so, or leave the table.
func TestDirect(t *testing.T) {
	files, err := Files("scripts")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]string)
	for _, d := range divergences {
		file := filepath.Join("scripts", filepath.FromSlash(d.script))
		if known[file] != "" || d.reason == "" {
			t.Errorf("%s is in the table twice, or without a reason", d.script)
		}
		known[file] = d.reason
	}
	outs := RunAll(files, direct.Play, Options{Workers: runtime.NumCPU(), Player: player.Config{StrictEnd: true}}, nil)
	for _, o := range outs {
		reason := known[o.File]
		delete(known, o.File)
		switch {
		case o.Err == nil && reason != "":
			t.Errorf("%s passes: take it out of the table", o.File)
		case o.Err != nil && reason == "":
			t.Error(o.Err)
		case o.Err != nil:
			t.Logf("%s\n\tbecause %s", o.Line(), reason)
		}
	}
	for file := range known {
		t.Errorf("%s is in the table and does not exist", file)
	}
}

// TestDirectRepeats holds that a run in virtual time is the same every time, packet
// by packet and to the microsecond.
func TestDirectRepeats(t *testing.T) {
	for _, name := range []string{"server/handshake.pkt", "loss/timeout-backoff.pkt", "client/connect-blocks.pkt", "udp/exchange.pkt"} {
		file := filepath.Join("scripts", filepath.FromSlash(name))
		var first string
		for i := range 3 {
			o := Run(file, direct.Play, Options{})
			text := fmt.Sprint(o.Err, "\n", strings.Join(o.Result.Trace, "\n"), o.Result.Elapsed)
			if i == 0 {
				first = text
			} else if text != first {
				t.Errorf("%s: once\n%s\nthen\n%s", name, first, text)
			}
		}
	}
}
