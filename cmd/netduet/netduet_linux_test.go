package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
)

// These tests use the program as it is built, in a namespace of their own.

func TestFirstOther(t *testing.T) {
	for own, want := range map[string]string{
		"10.0.0.2/24":     "10.0.0.1/24",
		"10.0.0.1/24":     "10.0.0.2/24",
		"10.0.0.77/30":    "10.0.0.78/30",
		"10.0.0.0/31":     "10.0.0.1/31",
		"10.0.0.1/31":     "10.0.0.0/31",
		"10.0.0.9/8":      "10.0.0.1/8",
		"2001:db8::5/64":  "2001:db8::1/64",
		"2001:db8::/127":  "2001:db8::1/127",
		"10.0.0.0/24":     "name of the subnet",
		"10.0.0.255/24":   "broadcast",
		"10.0.0.2/32":     "at most /31",
		"127.0.0.1/8":     "cannot be",
		"224.0.0.1/4":     "cannot be",
		"2001:db8::1/128": "at most /127",
	} {
		got, err := firstOther(netip.MustParsePrefix(own))
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", own, err)
			}
		} else if got.String() != want {
			t.Errorf("%s: %v, want %s", own, got, want)
		}
	}
}

// tools builds the program and the examples into a directory that everybody may
// enter.
func tools(t *testing.T, tags string, packages ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "netduet-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		out, err := exec.Command("go", "build", "-tags", tags, "-o", filepath.Join(dir, filepath.Base(p)), module+"/"+p).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return dir
}

// invoke runs the program to its end.
func invoke(t *testing.T, exe string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, args...)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	err := cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out.String(), bad.String(), cmd.ProcessState.ExitCode()
}

// left fails the test if an interface but loopback is there.
func left(t *testing.T, except ...string) {
	t.Helper()
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if i.Name != "lo" && !strings.Contains(strings.Join(except, " "), i.Name) {
			t.Errorf("the interface %s is left behind", i.Name)
		}
	}
}

func TestBadInput(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	dir := tools(t, "netdirect", "cmd/netduet", "examples/echo", "examples/httpd")
	netduet, echo, httpd := filepath.Join(dir, "netduet"), filepath.Join(dir, "echo"), filepath.Join(dir, "httpd")
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := netns.AddVeth("va", "vb"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{`unknown command "dance"`, []string{netduet, "dance"}},
		{"name a package or a binary", []string{netduet, "run"}},
		{"-addr is missing", []string{netduet, "run", echo}},
		{"write it as 10.0.0.2/24", []string{netduet, "run", "-addr", "10.0.0.2", echo}},
		{"write it as 10.0.0.2/24", []string{netduet, "run", "-addr", "ten", echo}},
		{"name one on the link, such as 10.0.0.1", []string{netduet, "run", "-addr", "10.0.0.2/24", "-gw", "10.0.1.1", echo}},
		{"is not an address", []string{netduet, "run", "-addr", "10.0.0.2/24", "-gw", "x", echo}},
		{"at most /31", []string{netduet, "run", "-addr", "10.0.0.2/32", echo}},
		{"name of a tap", []string{netduet, "run", "-dev", "eth:eth0", "-addr", "10.0.0.2/24", echo}},
		{"no /dev/xen/xenbus: this machine is no Xen domain", []string{netduet, "run", "-dev", "xen:0", "-addr", "10.0.0.2/24", echo}},
		{"names no device", []string{netduet, "run", "-dev", "xen:", "-addr", "10.0.0.2/24", echo}},
		{"-queues is for taps", []string{netduet, "run", "-dev", "xen:0", "-queues", "2", "-addr", "10.0.0.2/24", echo}},
		{"-addr is missing", []string{netduet, "run", "-dev", "xen:0", echo}},
		{"name one on the link, such as 10.0.0.1", []string{netduet, "run", "-dev", "xen:0", "-addr", "10.0.0.2/24", "-gw", "10.0.1.1", echo}},
		{"leave -dev out", []string{netduet, "run", "-backend", "socket", "-dev", "xen:0", echo}},
		{"longer than 15", []string{netduet, "run", "-dev", "a-name-too-long0", "-addr", "10.0.0.2/24", echo}},
		{"no tap but another", []string{netduet, "run", "-dev", "va", "-addr", "10.0.0.2/24", echo}},
		{"unknown backend", []string{netduet, "run", "-backend", "best", "-addr", "10.0.0.2/24", echo}},
		{"leave -addr out", []string{netduet, "run", "-backend", "socket", "-addr", "10.0.0.2/24", echo}},
		{"no user", []string{netduet, "run", "-user", "nobody-at-all", "-addr", "10.0.0.2/24", echo}},
		{"no package or binary ./none", []string{netduet, "run", "-addr", "10.0.0.2/24", "./none"}},
		{"not executable", []string{netduet, "run", "-addr", "10.0.0.2/24", plain}},
		{"not a command", []string{netduet, "run", "-addr", "10.0.0.2/24", module + "/clock"}},
		{"building", []string{netduet, "run", "-addr", "10.0.0.2/24", module + "/nothing"}},
		{"flag provided but not defined", []string{netduet, "run", "-speed", "9", echo}},
		{"unknown backend", []string{netduet, "demo", "-backend", "best"}},
		{"1 to 1024", []string{netduet, "demo", "-mib", "0"}},
		{"unexpected argument", []string{netduet, "demo", "now"}},
		{"no such file", []string{netduet, "demo", "-pcap", dir + "/no/file"}},
		{"leave one of them out", []string{netduet, "demo", "-backend", "socket", "-pcap", dir + "/file"}},
		// The programs themselves.
		{"-dev tap:tap0", []string{echo}},
		{"unknown scheme", []string{echo, "-dev", "eth:eth0", "-addr", "10.0.0.2/24"}},
		{"no scheme", []string{echo, "-dev", "tap0", "-addr", "10.0.0.2/24"}},
		{"write it as 10.0.0.2/24", []string{echo, "-dev", "tap:tap0", "-addr", "10.0.0.2"}},
		{"gateway", []string{echo, "-dev", "tap:tap0", "-addr", "10.0.0.2/24", "-gw", "10.1.0.1"}},
		{"not open", []string{echo, "-dev", "fd:9", "-addr", "10.0.0.2/24"}},
		{"no tap but another", []string{httpd, "-dev", "tap:va", "-addr", "10.0.0.2/24"}},
		{"unexpected argument", []string{httpd, "x"}},
		{"listen", []string{echo, "-dev", "tap:tap0", "-addr", "10.0.0.2/24", "-listen", "10.9.9.9:7"}},
	} {
		out, bad, status := invoke(t, c.args[0], c.args[1:]...)
		// The stack's log may come before the error, which is one line.
		lines := strings.Split(strings.TrimSuffix(bad, "\n"), "\n")
		last := lines[len(lines)-1]
		if status != 2 || !strings.Contains(last, c.want) || out != "" {
			t.Errorf("%q: status %d, %q on standard output, and\n%s\nwant %q", c.args[1:], status, out, bad, c.want)
		}
		for _, l := range lines[:len(lines)-1] {
			if !strings.Contains(l, " INFO ") {
				t.Errorf("%q: more than one line: %q", c.args[1:], bad)
			}
		}
		left(t, "va", "vb")
	}
	for _, help := range [][]string{{"help"}, {"demo", "-help"}, {"run", "-help"}, {"version"}} {
		if out, bad, status := invoke(t, netduet, help...); status != 0 || bad != "" || len(out) < 20 {
			t.Errorf("%q: status %d, %q, %q", help, status, out, bad)
		}
	}
}

// running is `netduet run` under way.
type running struct {
	cmd *exec.Cmd
	out *bytes.Buffer
	bad *bytes.Buffer
}

func start(t *testing.T, exe string, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(exe, args...), out: new(bytes.Buffer), bad: new(bytes.Buffer)}
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.bad
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.cmd.Process.Kill() })
	return r
}

// dial tries until the server is there.
func (r *running) dial(t *testing.T, address string) net.Conn {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		// The kernel repeats its SYN by itself: a dial that gave up could still become a
		// connection, which the server would count.
		c, err := net.DialTimeout("tcp", address, time.Until(end))
		if err == nil {
			c.SetDeadline(end)
			return c
		}
		if time.Now().After(end) {
			r.cmd.Process.Kill()
			r.cmd.Wait()
			t.Fatalf("%v\n%s%s", err, r.out, r.bad)
		}
	}
}

func ask(t *testing.T, c net.Conn) {
	t.Helper()
	buf := make([]byte, 5)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("%q, %v", buf, err)
	}
}

// children returns the processes that the process pid started.
func children(t *testing.T, pid int) []string {
	t.Helper()
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []string
	for _, f := range files {
		b, _ := os.ReadFile(f)
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}

func TestRun(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	netduet := filepath.Join(tools(t, "netsocket", "cmd/netduet"), "netduet")
	for _, flags := range [][]string{nil, {"-queues", "2"}, {"-vnet"}} {
		args := append([]string{"run", "-dev", "tap7", "-addr", "10.7.0.2/24", "-gw", "10.7.0.1"}, flags...)
		r := start(t, netduet, append(args, module+"/examples/echo", "-listen", ":70")...)
		c := r.dial(t, "10.7.0.2:70")
		ask(t, c)

		// Without privilege: nobody, no capability, and none to be had.
		kids := children(t, r.cmd.Process.Pid)
		if len(kids) != 1 {
			t.Fatalf("children %q", kids)
		}
		b, err := os.ReadFile("/proc/" + kids[0] + "/status")
		if err != nil {
			t.Fatal(err)
		}
		status := strings.ReplaceAll(string(b), "\t", " ")
		for _, want := range []string{
			"Name: program", "Uid: 65534 65534 65534 65534", "Gid: 65534 65534 65534 65534", "Groups:  \n", "NoNewPrivs: 1",
			"CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapBnd: 0000000000000000",
		} {
			if !strings.Contains(status, want) {
				t.Errorf("no %q in\n%s", want, status)
			}
		}
		c.Close()
		// A signal reaches the program, which ends well; then everything is gone.
		r.cmd.Process.Signal(syscall.SIGTERM)
		if err := r.cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s%s", err, r.out, r.bad)
		}
		if !strings.Contains(r.out.String(), "echo: 1 connections, 5 bytes, 0 datagrams") {
			t.Errorf("%s", r.out)
		}
		left(t)
	}
}

// The program's status is ours, and what was there before is as before.
func TestRunStatus(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	netduet := filepath.Join(tools(t, "netsocket", "cmd/netduet"), "netduet")
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := netns.AddTap("mine", netns.Tap{Owner: -1}); err != nil {
		t.Fatal(err)
	}
	for script, want := range map[string]int{
		"exit 0":                        0,
		"exit 7":                        7,
		"kill -KILL $$":                 128 + 9,
		`test "$NETDUET_DEVICE" = fd:3`: 0,
		`test "$NETDUET_ADDR" = 10.0.0.2/24 && test -e /proc/self/fd/3 && ! test -e /proc/self/fd/4`: 0,
	} {
		for _, dev := range []string{"mine", "new0"} {
			out, bad, status := invoke(t, netduet, "run", "-dev", dev, "-addr", "10.0.0.2/24", sh, "-c", script)
			if status != want || !strings.Contains(bad, "the kernel's side 10.0.0.1/24") {
				t.Errorf("%s: %d, want %d\n%s%s", script, status, want, out, bad)
			}
			left(t, "mine")
			i, err := net.InterfaceByName("mine")
			if err != nil {
				t.Fatal(err)
			}
			if a, _ := i.Addrs(); len(a) > 0 || i.Flags&net.FlagUp != 0 {
				t.Errorf("%s: mine is left with %v, %v", script, a, i.Flags)
			}
		}
	}
	// The kernel has an address there already: it is kept.
	if err := netns.AddAddr("mine", netip.MustParsePrefix("10.0.0.9/24")); err != nil {
		t.Fatal(err)
	}
	if _, bad, status := invoke(t, netduet, "run", "-dev", "mine", "-addr", "10.0.0.2/24", sh, "-c", "exit 0"); status != 0 || !strings.Contains(bad, "the kernel's side 10.0.0.9/24") {
		t.Errorf("%d, %s", status, bad)
	}
	for _, addr := range []string{"10.0.0.9/24", "10.0.0.9/16"} {
		if _, bad, status := invoke(t, netduet, "run", "-dev", "mine", "-addr", addr, sh, "-c", "exit 0"); status != 2 || !strings.Contains(bad, "own address") {
			t.Errorf("%d, %s", status, bad)
		}
	}
	if _, bad, status := invoke(t, netduet, "run", "-dev", "new0", "-addr", "10.0.0.9/24", sh, "-c", "exit 0"); status != 2 || !strings.Contains(bad, "choose another subnet") {
		t.Errorf("%d, %s", status, bad)
	}
	left(t, "mine")
	if out, _, status := invoke(t, netduet, "run", "-backend", "socket", sh, "-c", "id -u"); status != 0 || strings.TrimSpace(out) != "65534" {
		t.Errorf("%d, %q", status, out)
	}
}

// A user without any right runs a program on the tap he was given.
func TestRunUnprivileged(t *testing.T) {
	if dir := os.Getenv("NETDUET_TEST_TOOLS"); dir != "" {
		runAsNobody(t, dir)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("netns: becoming an ordinary user takes root")
	}
	if !netnstest.RunWith(t, netnstest.Options{Tun: true, Mount: true}) {
		return
	}
	dir := tools(t, "netdirect", "cmd/netduet", "examples/echo")
	netnstest.MountTun(t, 0o666)
	for _, name := range []string{"mine", "bare"} {
		if err := netns.AddTap(name, netns.Tap{Owner: netnstest.Nobody}); err != nil {
			t.Fatal(err)
		}
	}
	if err := netns.AddAddr("mine", netip.MustParsePrefix("10.0.0.1/24")); err != nil {
		t.Fatal(err)
	}
	if err := netns.LinkUp("mine"); err != nil {
		t.Fatal(err)
	}
	netnstest.AsNobody(t, t.Name(), "NETDUET_TEST_TOOLS="+dir)
}

func runAsNobody(t *testing.T, dir string) {
	netduet, echo := filepath.Join(dir, "netduet"), filepath.Join(dir, "echo")
	r := start(t, netduet, "run", "-dev", "mine", "-addr", "10.0.0.2/24", echo)
	c := r.dial(t, "10.0.0.2:7")
	ask(t, c)
	c.Close()
	r.cmd.Process.Signal(syscall.SIGINT)
	if err := r.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s%s", err, r.out, r.bad)
	}
	for dev, want := range map[string]string{
		"bare": "sudo ip addr add 10.0.9.1/24 dev bare && sudo ip link set bare up",
		"new0": "sudo ip tuntap add dev new0 mode tap user $USER",
	} {
		if _, bad, status := invoke(t, netduet, "run", "-dev", dev, "-addr", "10.0.9.2/24", echo); status != 2 || !strings.Contains(bad, want) {
			t.Errorf("%d, %s", status, bad)
		}
	}
}

func TestDemo(t *testing.T)       { testDemo(t, netnstest.Options{Tun: true}, "direct") }
func TestDemoUser(t *testing.T)   { testDemo(t, netnstest.Options{User: true}, "socket") }
func TestDemoSocket(t *testing.T) { testDemo(t, netnstest.Options{}, "socket") }

func testDemo(t *testing.T, o netnstest.Options, backend string) {
	if !netnstest.RunWith(t, o) {
		return
	}
	netduet := filepath.Join(tools(t, "netsocket", "cmd/netduet"), "netduet")
	args := []string{"demo", "-mib", "4", "-backend", backend}
	file := filepath.Join(t.TempDir(), "demo.pcapng")
	if backend == "direct" {
		args = append(args, "-pcap", file)
	}
	out, bad, status := invoke(t, netduet, args...)
	if status != 0 || bad != "" {
		t.Fatalf("status %d\n%s%s", status, out, bad)
	}
	checkDemo(t, out)
	for _, want := range []string{"built echo and httpd with -tags net" + backend, "201 connections", "the backend " + backend} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	left(t)
	if backend == "direct" {
		checkCapture(t, file)
	}
}

// checkCapture looks for the demo's traffic in the file, by tshark where there is
// one.
func checkCapture(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Both servers' sections, and 4 MiB three times.
	if n := bytes.Count(b, []byte{0x0a, 0x0d, 0x0d, 0x0a}); n < 2 || len(b) < 12<<20 {
		t.Errorf("%d sections in %d bytes", n, len(b))
	}
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Log("no tshark to read the file with")
		return
	}
	for filter, least := range map[string]int{
		"icmp.type==8": 200, "icmp.type==0": 200, "udp.port==7": 2000, "http.response.code==200": 101, "tcp.flags.syn==1": 402,
	} {
		out, err := exec.Command(tshark, "-r", file, "-Y", filter, "-T", "fields", "-e", "frame.number").Output()
		if n := bytes.Count(out, []byte("\n")); err != nil || n < least {
			t.Errorf("tshark finds %d frames of %s, want at least %d: %v", n, filter, least, err)
		}
	}
}

func checkDemo(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{
		"ping: 200 answered", "tcp: 4 MiB there and back, SHA-256 the same", "udp: 1000 datagrams there and back",
		"http: 4 MiB, SHA-256 as announced", "round trips", "median", "throughput",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\r") || strings.Contains(out, "\x1b") {
		t.Errorf("a progress line went to a file: %q", out)
	}
}

// Without /dev/net/tun it says so and does what it can.
func TestDemoWithoutTun(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Mount: true}) {
		return
	}
	netduet := filepath.Join(tools(t, "netsocket", "cmd/netduet"), "netduet")
	netnstest.MountTun(t, 0)
	file := filepath.Join(t.TempDir(), "demo.pcapng")
	out, bad, status := invoke(t, netduet, "demo", "-mib", "4", "-pcap", file)
	if status != 0 || bad != "" {
		t.Fatalf("status %d\n%s%s", status, out, bad)
	}
	checkDemo(t, out)
	if info, err := os.Stat(file); err != nil || info.Size() < 12<<20 {
		t.Errorf("captured: %v, %v", info, err)
	}
	if !strings.Contains(out, "no tap can be made: open /dev/net/tun: no such file or directory") {
		t.Errorf("it does not say why:\n%s", out)
	}
}

// Interrupted, it leaves no process and no file behind.
func TestDemoInterrupted(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{}) {
		return
	}
	netduet := filepath.Join(tools(t, "netsocket", "cmd/netduet"), "netduet")
	tmp := t.TempDir()
	cmd := exec.Command(netduet, "demo", "-mib", "1024", "-backend", "socket")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	var all []byte
	for !bytes.Contains(all, []byte("tcp: 200 connections")) {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("%v after\n%s", err, all)
		}
		all = append(all, buf[:n]...)
	}
	inside := children(t, cmd.Process.Pid)
	cmd.Process.Signal(os.Interrupt)
	io.Copy(io.Discard, out) // until the last process that has it is gone
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("status %d", cmd.ProcessState.ExitCode())
	}
	if len(inside) == 0 {
		t.Fatal("there was no child: the test shows nothing")
	}
	for _, pid := range inside {
		// What has ended is there until its new parent has asked for its status.
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat("/proc/" + pid); err != nil {
				break
			}
			if time.Now().After(end) {
				t.Errorf("process %s is left", pid)
				break
			}
		}
	}
	if list, _ := os.ReadDir(tmp); len(list) > 0 {
		t.Errorf("%v is left", list)
	}
}
