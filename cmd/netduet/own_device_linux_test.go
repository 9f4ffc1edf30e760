package main

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
)

func TestParseRunOwnDevice(t *testing.T) {
	for _, c := range []struct {
		args          string
		scheme, error string
	}{
		{"-dev xen:0 -addr 10.0.0.2/24 echo", "xen", ""},
		{"-dev xen:0?queues=2&pcap=f -addr fd00::2/64 -gw fd00::1 echo", "xen", ""},
		{"-dev packet:eth0 -addr 10.0.0.2/24 echo -dev x", "packet", ""},
		// Nobody but the program needs an address there.
		{"-dev xen:0 -addr 10.0.0.2/32 echo", "xen", ""},
		{"-dev xen0 -addr 10.0.0.2/24 echo", "", ""},
		{"-dev tap:xen -addr 10.0.0.2/24 echo", "", ""},
		{"-dev tap0 -addr 10.0.0.2/32 echo", "", "at most /31"},
		{"-dev fd:3 -addr 10.0.0.2/24 echo", "", "xen:0 or packet:eth0"},
		{"-dev XEN:0 -addr 10.0.0.2/24 echo", "", "xen:0 or packet:eth0"},
		{"-dev xen: -addr 10.0.0.2/24 echo", "", "names no device"},
		{"-dev packet:?promisc=1 -addr 10.0.0.2/24 echo", "", "names no device"},
		{"-dev xen:0 -vnet -addr 10.0.0.2/24 echo", "", "-vnet is for taps"},
		{"-dev packet:eth0 -queues 2 -addr 10.0.0.2/24 echo", "", "-queues is for taps"},
		{"-dev xen:0 -addr ten echo", "", "write it as 10.0.0.2/24"},
		{"-dev xen:0 -addr 10.0.0.2/24 -gw 10.0.0.2 echo", "", "such as 10.0.0.1"},
		{"-dev xen:0 -addr 10.0.0.2/24", "", "name a package"},
	} {
		r, err := parseRun(strings.Fields(c.args))
		if c.error != "" {
			if err == nil || !strings.Contains(err.Error(), c.error) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want %q", c.args, err, c.error)
			}
			continue
		}
		if err != nil || r.scheme != c.scheme || r.scheme != "" && r.dev != strings.Fields(c.args)[1] {
			t.Errorf("%s: %+v, %v", c.args, r, err)
		}
	}
}

func TestMayOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	for _, c := range []struct {
		mode os.FileMode
		who  identity
		want bool
	}{
		{0o600, identity{uid: uid, gid: gid}, true},
		{0o600, identity{uid: uid + 1, gid: gid}, false},
		{0o660, identity{uid: uid + 1, gid: gid}, true},
		{0o660, identity{uid: uid + 1, gid: gid + 1}, false},
		{0o666, identity{uid: uid + 1, gid: gid + 1}, true},
		{0o606, identity{uid: uid + 1, gid: gid}, false}, // the group's rights, not the others'
		{0o440, identity{uid: uid + 1, gid: gid}, false},
	} {
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		if got := mayOpen(c.who, []string{file}); got != c.want {
			t.Errorf("%v, %+v: %v", c.mode, c.who, got)
		}
	}
	if mayOpen(identity{uid: uid, gid: gid}, []string{file, file + "-none"}) {
		t.Error("what is not there may be opened")
	}
}

// The program opens the interface itself, with one capability and no other.
func TestRunPacket(t *testing.T) {
	if !netnstest.Run(t) {
		return
	}
	netduet := filepath.Join(tools(t, "netsocket", "cmd/netduet"), "netduet")
	if err := netns.AddVeth("va", "vb"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"va", "vb"} {
		if err := netns.LinkUp(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := netns.AddAddr("vb", netip.MustParsePrefix("10.8.0.1/24")); err != nil {
		t.Fatal(err)
	}
	r := start(t, netduet, "run", "-dev", "packet:va", "-addr", "10.8.0.2/24", module+"/examples/echo", "-listen", ":70")
	c := r.dial(t, "10.8.0.2:70")
	ask(t, c)
	c.Close()
	kids := children(t, r.cmd.Process.Pid)
	if len(kids) != 1 {
		t.Fatalf("children %q", kids)
	}
	b, err := os.ReadFile("/proc/" + kids[0] + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Uid:\t65534\t65534\t65534\t65534", "NoNewPrivs:\t1", "CapInh:\t0000000000002000", "CapPrm:\t0000000000002000",
		"CapEff:\t0000000000002000", "CapBnd:\t0000000000002000",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	r.cmd.Process.Signal(syscall.SIGTERM)
	if err := r.cmd.Wait(); err != nil || !strings.Contains(r.bad.String(), "packet:va: the program has 10.8.0.2/24; the program keeps CAP_NET_RAW") {
		t.Errorf("%v\n%s%s", err, r.out, r.bad)
	}

	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	for script, want := range map[string]int{
		"exit 7":        7,
		"kill -TERM $$": 128 + 15,
		`test "$NETDUET_DEVICE" = "packet:va?promisc=1"`:                                0,
		`test "$NETDUET_ADDR $NETDUET_GATEWAY" = "10.8.0.2/24 10.8.0.1"`:                0,
		`test "$(id -u)" = 65534 && ! test -e /proc/self/fd/3 && ! ip link del va 2>&-`: 0,
	} {
		if out, bad, status := invoke(t, netduet, "run", "-dev", "packet:va?promisc=1", "-addr", "10.8.0.2/24", "-gw", "10.8.0.1", sh, "-c", script); status != want {
			t.Errorf("%s: %d, want %d\n%s%s", script, status, want, out, bad)
		}
	}
	left(t, "va", "vb")
	// The program's own line, and its status.
	if _, bad, status := invoke(t, netduet, "run", "-dev", "packet:none0", "-addr", "10.8.0.2/24", module+"/examples/echo"); status != 2 || !strings.Contains(bad, "none0") {
		t.Errorf("%d, %s", status, bad)
	}
}
