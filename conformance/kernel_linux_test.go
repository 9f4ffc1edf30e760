//go:build linux && (amd64 || arm64)

package conformance

import (
	"os"
	"regexp"
	"testing"

	"github.com/netduet/netduet/conformance/kernel"
	"github.com/netduet/netduet/conformance/player"
	"github.com/netduet/netduet/internal/netns/netnstest"
)

// filter is the environment variable with a regular expression that chooses scripts
// of TestKernel: the test runs in a process of its own, which flags do not reach.
const filter = "NETDUET_PKT_RUN"

// TestKernel proves every script of ours on Linux.
func TestKernel(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	files, err := Files("scripts")
	if err != nil {
		t.Fatal(err)
	}
	if expr := os.Getenv(filter); expr != "" {
		re, err := regexp.Compile(expr)
		if err != nil {
			t.Fatal(err)
		}
		var some []string
		for _, f := range files {
			if re.MatchString(f) {
				some = append(some, f)
			}
		}
		files = some
	}
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	// Scripts mostly wait: several at a time cost little. What real time adds is
	// forgiven by a tolerance wider than Linux needs and by further attempts.
	outs := RunAll(files, kernel.Play, Options{
		Workers: 8, Attempts: 4,
		Player: player.Config{StrictEnd: true, Scale: 3},
	}, nil)
	for _, o := range outs {
		t.Run(o.File, func(t *testing.T) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			for _, err := range o.Retried {
				t.Log(err.(*player.Failure).Summary())
			}
			for _, n := range o.Result.Notes {
				t.Log(n)
			}
		})
	}
}
