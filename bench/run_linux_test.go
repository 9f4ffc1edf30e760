package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/internal/netns"
)

// TestRun is the command itself, for a moment in every mode: each engine serves
// each mode, and every number that should be there is.
func TestRun(t *testing.T) {
	probe := exec.Command("/bin/true")
	probe.SysProcAttr = netns.Attr()
	if err := probe.Run(); err != nil && netns.Forbidden(err) {
		t.Skipf("netns: %v", err)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("netns: %v", err)
	}
	bin := filepath.Join(t.TempDir(), "bench.exe")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), bin, "-short", "-time", "30ms", "-idle", "100", "-json")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stderr.String(), out.String())
	}
	var res struct {
		Modes []struct {
			Mode    string
			Kind    kind
			Engines map[string]struct{ Median map[string]float64 }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		t.Fatal(err)
	}
	if len(res.Modes) != len(allModes(1)) {
		t.Errorf("%d modes of %d", len(res.Modes), len(allModes(1)))
	}
	for _, m := range res.Modes {
		for _, e := range allEngines() {
			if e.Name == engineNull && (strings.HasPrefix(m.Mode, "memory") || m.Kind == serverCloses) {
				continue
			}
			median := m.Engines[e.Name].Median
			want := []string{"rate", "cpu"}
			if strings.HasPrefix(m.Mode, "memory") {
				want = []string{"memory"}
			}
			for _, f := range want {
				if median[f] <= 0 {
					t.Errorf("%s, %s: %s is %v", m.Mode, e.Name, f, median[f])
				}
			}
		}
	}
}

func TestOptions(t *testing.T) {
	var out bytes.Buffer
	o, err := parseOptions([]string{"-short", "-run", "^http", "-engines", "direct,null", "-idle", "7"}, &out)
	if err != nil || o.rounds != 1 || o.idle != 7 || len(o.engines) != 2 || o.time != 150*time.Millisecond {
		t.Errorf("%+v, %v", o, err)
	}
	if m := selectModes(allModes(o.idle), o.run); len(m) != 1 || m[0].Kind != httpKeepAlive {
		t.Errorf("-run ^http selects %v", m)
	}
	for _, args := range [][]string{
		{"-engines", "lwip"}, {"-run", "("}, {"-run", "nothing"}, {"-rounds", "0"}, {"-json", "-md"}, {"bulk"},
	} {
		if _, err := parseOptions(args, &out); err == nil {
			t.Errorf("%v is accepted: %v", args, err)
		}
	}
}

func TestSubnets(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range allEngines() {
		client, server := subnet(e.Name)
		if client.Masked() != server.Masked() || client.Addr() == server.Addr() || seen[client.Masked().String()] {
			t.Errorf("%s: %v and %v", e.Name, client, server)
		}
		seen[client.Masked().String()] = true
		if len("b-"+e.Name) > 15 {
			t.Errorf("the name of %s's device is too long for an interface", e.Name)
		}
	}
}
