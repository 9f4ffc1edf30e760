package stack_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const module = "github.com/netduet/netduet"

// goTool runs the go command, as a user would in this directory, for another
// system if env says so.
func goTool(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	// go test puts the toolchain that runs it first in PATH.
	cmd := exec.CommandContext(ctx, "go", args...)
	// GOFLAGS may hold the tags of the test itself.
	cmd.Env = append(os.Environ(), append([]string{"GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0"}, env...)...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("go %s did not end", strings.Join(args, " "))
	}
	return string(out), err
}

// TestBackends builds and runs a program under each choice of tags.
func TestBackends(t *testing.T) {
	for _, tt := range []struct{ tags, want string }{
		{"", "socket"},
		{"netsocket", "socket"},
		{"netdirect", "direct"},
		{"netgvisor", "gvisor"},
	} {
		t.Run("tags="+tt.tags, func(t *testing.T) {
			out, err := goTool(t, nil, "run", "-tags="+tt.tags, "./testdata/backend")
			if err != nil || strings.TrimSpace(out) != tt.want {
				t.Errorf("the program prints %q, %v; want %q", out, err, tt.want)
			}
		})
	}
}

// TestTagConflicts checks that what can't be built says so once, and names the
// tags.
func TestTagConflicts(t *testing.T) {
	for _, tags := range []string{
		"netdirect,netsocket", "netdirect,netgvisor", "netsocket,netgvisor",
		"netdirect,netsocket,netgvisor",
	} {
		t.Run("tags="+tags, func(t *testing.T) {
			out, err := goTool(t, nil, "build", "-tags="+tags, "-o", os.DevNull, "./testdata/backend")
			if err == nil {
				t.Fatal("it builds")
			}
			var lines []string
			for line := range strings.Lines(out) {
				if !strings.HasPrefix(line, "#") { // the compiler's heading: the package
					lines = append(lines, line)
				}
			}
			if len(lines) != 1 {
				t.Fatalf("%d errors, want 1:\n%s", len(lines), out)
			}
			// The word boundary of the message is an underscore, hence no \b.
			named := regexp.MustCompile(`net(direct|socket|gvisor)`).FindAllString(strings.SplitN(lines[0], "undefined:", 2)[1], -1)
			if want := strings.Split(tags, ","); !slices.Equal(named, want) {
				t.Errorf("the error names %v, want %v: %s", named, want, lines[0])
			}
		})
	}
}

// deps returns the packages of this module that pkg links.
func deps(t *testing.T, env []string, tags, pkg string) []string {
	t.Helper()
	out, err := goTool(t, env, "list", "-deps", "-tags="+tags, pkg)
	if err != nil {
		t.Fatalf("go list -tags=%s %s: %v\n%s", tags, pkg, err, out)
	}
	var list []string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if p, ok := strings.CutPrefix(line, module+"/"); ok {
			list = append(list, p)
		} else if strings.Contains(line, ".") {
			list = append(list, line) // another module's
		}
	}
	return list
}

// isDriver reports whether a package reaches a device of the operating system.
func isDriver(pkg string) bool {
	return strings.HasPrefix(pkg, "netif/") || strings.Contains(pkg, "/water")
}

// isGvisor reports whether a package is gVisor's or our engine around it.
func isGvisor(pkg string) bool {
	return pkg == "gvisor" || strings.HasPrefix(pkg, "gvisor/") || strings.HasPrefix(pkg, "gvisor.dev/")
}

// TestLinked checks what each build links, by asking the go command.
func TestLinked(t *testing.T) {
	anyOf := func(list []string, f func(string) bool) bool { return slices.ContainsFunc(list, f) }
	under := func(prefix string) func(string) bool {
		return func(p string) bool { return p == prefix || strings.HasPrefix(p, prefix+"/") }
	}
	for _, tags := range []string{"", "netsocket"} {
		list := deps(t, nil, tags, ".")
		if !anyOf(list, under("socket")) {
			t.Errorf("tags %q: socket is not linked", tags)
		}
		for _, p := range list {
			if under("direct")(p) || isGvisor(p) || isDriver(p) || under("tcp")(p) || under("arp")(p) {
				t.Errorf("tags %q: a socket build links %s", tags, p)
			}
		}
	}
	list := deps(t, nil, "netdirect", ".")
	if !anyOf(list, under("direct")) || !anyOf(list, under("netif/devices")) || anyOf(list, under("socket")) || anyOf(list, isGvisor) {
		t.Errorf("a direct build links %v", list)
	}
	list = deps(t, nil, "netgvisor", ".")
	if !anyOf(list, under("gvisor")) || !anyOf(list, under("netif/devices")) || anyOf(list, under("socket")) || anyOf(list, under("direct")) || anyOf(list, under("tcp")) {
		t.Errorf("a gvisor build links %v", list)
	}
	for _, engine := range []string{"direct", "gvisor"} {
		for _, p := range deps(t, nil, "", "../"+engine) {
			if isDriver(p) || under("stack")(p) || under("socket")(p) || isGvisor(p) && engine != "gvisor" {
				t.Errorf("%s alone links %s", engine, p)
			}
		}
	}
	for _, env := range [][]string{{"GOOS=js", "GOARCH=wasm"}, {"GOOS=wasip1", "GOARCH=wasm"}} {
		list := deps(t, env, "", ".")
		if !anyOf(list, under("direct")) || anyOf(list, under("socket")) || anyOf(list, isGvisor) {
			t.Errorf("%v: without tags it links %v, want direct and not socket", env, list)
		}
		if list := deps(t, env, "netsocket", "."); !anyOf(list, under("socket")) || anyOf(list, under("direct")) {
			t.Errorf("%v: with netsocket it links %v", env, list)
		}
	}
}

// TestCrossCompile builds for systems that can't run here.
func TestCrossCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the standard library for other systems")
	}
	for _, tt := range []struct{ goos, goarch, tags string }{
		{"js", "wasm", ""}, {"js", "wasm", "netdirect"},
		{"wasip1", "wasm", ""}, {"wasip1", "wasm", "netdirect"},
	} {
		t.Run(tt.goos+"/"+tt.tags, func(t *testing.T) {
			out, err := goTool(t, []string{"GOOS=" + tt.goos, "GOARCH=" + tt.goarch},
				"build", "-tags="+tt.tags, "-o", os.DevNull, "./testdata/backend")
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
