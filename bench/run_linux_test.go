package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
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
	plots := filepath.Join(t.TempDir(), "plots")
	res := runBench(t, bin, "-short", "-time", "30ms", "-idle", "100", "-crowd", "200", "-plots", plots)
	if len(res) != len(allModes(1, 1)) {
		t.Errorf("%d modes of %d", len(res), len(allModes(1, 1)))
	}
	for _, m := range allModes(100, 200) {
		for _, e := range allEngines() {
			if e.Name == engineNull && (m.memory() || m.Kind == serverCloses || m.Kind == crowd) {
				continue
			}
			if complete(m, res[m.String()][e.Name]) {
				continue
			}
			// On a busy machine nothing may happen within so short a time.
			again := runBench(t, bin, "-rounds", "1", "-time", "1s", "-idle", "100", "-crowd", "200", "-run", "^"+m.String()+"$", "-engines", e.Name)
			if !complete(m, again[m.String()][e.Name]) {
				t.Errorf("%s, %s: only %v", m, e.Name, again[m.String()][e.Name])
			}
		}
	}
	if files, err := os.ReadDir(plots); err != nil || len(files) != len(allModes(1, 1))+1 {
		t.Errorf("%d plots of %d: %v", len(files), len(allModes(1, 1))+1, err)
	}
}

// complete reports whether the medians of a mode hold what they should.
func complete(m mode, median map[string]float64) bool {
	if m.memory() {
		return median["memory"] > 0
	}
	if m.Kind == crowd && !(median["memory"] > 0 && median["opening"] > 0) {
		return false
	}
	return median["rate"] > 0 && median["cpu"] > 0
}

// runBench runs the command and returns its medians by mode and engine.
func runBench(t *testing.T, bin string, args ...string) map[string]map[string]map[string]float64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, append(args, "-json")...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stderr.String(), out.String())
	}
	var res struct {
		Modes []struct {
			Mode    string
			Engines map[string]struct{ Median map[string]float64 }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		t.Fatal(err)
	}
	medians := make(map[string]map[string]map[string]float64)
	for _, m := range res.Modes {
		medians[m.Mode] = make(map[string]map[string]float64)
		for name, e := range m.Engines {
			medians[m.Mode][name] = e.Median
		}
	}
	return medians
}

func TestOptions(t *testing.T) {
	var out bytes.Buffer
	o, err := parseOptions([]string{"-short", "-run", "^http", "-engines", "direct,null", "-idle", "7"}, &out)
	if err != nil || o.rounds != 1 || o.idle != 7 || len(o.engines) != 2 || o.time != 150*time.Millisecond {
		t.Errorf("%+v, %v", o, err)
	}
	if m := selectModes(allModes(o.idle, o.crowd), o.run); len(m) != 1 || m[0].Kind != httpKeepAlive {
		t.Errorf("-run ^http selects %v", m)
	}
	for _, args := range [][]string{
		{"-engines", "lwip"}, {"-run", "("}, {"-run", "nothing"}, {"-rounds", "0"}, {"-crowd", "100000"}, {"-json", "-md"}, {"bulk"},
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
