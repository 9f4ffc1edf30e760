//go:build linux && (amd64 || arm64)

package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/conformance/kernel"
	"github.com/netduet/netduet/conformance/player"
	"github.com/netduet/netduet/internal/netns/netnstest"
)

// filter is the environment variable with a regular expression that chooses scripts
// of TestKernel: the test runs in a process of its own, which flags do not reach.
const filter = "NETDUET_PKT_RUN"

// some is set in TestKernel's own process when a part of the scripts will do.
const some = "NETDUET_PKT_SOME"

// TestKernel proves every script of ours on Linux; with -short, some of them.
func TestKernel(t *testing.T) {
	if testing.Short() {
		t.Setenv(some, "1")
	}
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
		files = slices.DeleteFunc(files, func(f string) bool { return !re.MatchString(f) })
	}
	if os.Getenv(some) != "" {
		var every []string
		for i := 0; i < len(files); i += 9 {
			every = append(every, files[i])
		}
		files = every
	}
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	// Scripts mostly wait: several at a time cost little. What real time adds is
	// forgiven by a tolerance wider than Linux needs and by further attempts.
	for _, o := range playKernel(files) {
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

// playKernel plays scripts several at a time, and those that fail once more, alone: a
// busy machine changes more than the time of a packet, its PSH flag for instance, when
// the kernel's work for one call is interrupted. What Linux does not do fails again.
func playKernel(files []string) []Outcome {
	o := Options{Workers: 8, Attempts: 4, Player: player.Config{StrictEnd: true, Scale: 3}}
	outs := RunAll(files, kernel.Play, o, nil)
	for i := range outs {
		if f := (*player.Failure)(nil); errors.As(outs[i].Err, &f) {
			alone := Run(files[i], kernel.Play, o)
			alone.Retried = append(append(outs[i].Retried, outs[i].Err), alone.Retried...)
			outs[i] = alone
		}
	}
	return outs
}

// TestKernelDiverges holds that expectations which Linux does not meet are found out,
// with the line, both packets and what came before.
func TestKernelDiverges(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	const open = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32792 <mss 1000>
`
	for _, c := range []struct {
		name, src string
		kind      player.Kind
		line      int
		want      []string
	}{
		{"option", open + "+0 > S. 0:0(0) ack 1 <mss 1461>\n", player.Mismatch, 5,
			[]string{"the option mss 1460 is there instead of mss 1461", "expected: > S. 0:0(0) ack 1 <mss 1461>", "actual: > S. 0:0(0) ack 1 win 64240 <mss 1460>", "< S 0:0(0) win 32792 <mss 1000>"}},
		{"silence", open + "+0 > S. 0:0(0) ack 1 <mss 1460>\n+0 > . 1:1(0) ack 1\n", player.Mismatch, 6, []string{"no packet was sent"}},
		{"early", open + "+.3 > S. 0:0(0) ack 1 <mss 1460>\n", player.Timing, 5, []string{"instead of 300ms"}},
		{"left over", open, player.Mismatch, 4, []string{"a packet is left over", "> S. 0:0(0) ack 1 win 64240 <mss 1460>"}},
		{"errno", open[:strings.Index(open, "+0 <")] + "+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n+0 accept(3, ..., ...) = -1 EINVAL\n", player.Call, 5, []string{"-1 EAGAIN"}},
		{"blocks", open[:strings.Index(open, "+0 <")] + "+0 accept(3, ..., ...) = 4\n", player.Call, 4, []string{"the call blocks"}},
		{"blocks longer", open[:strings.Index(open, "+0 <")] + "+0...0.05 accept(3, ..., ...) = 4\n", player.Call, 4, []string{"the call has not returned"}},
		{"returns early", open[:strings.Index(open, "+0 <")] + "+0...0.3 poll([{fd=3, events=POLLIN, revents=0}], 1, 100) = 0\n", player.Timing, 4, []string{"instead of 300ms"}},
		{"assertion", open + "+0 > S. 0:0(0) ack 1 <mss 1460>\n+0 < . 1:1(0) ack 1 win 32792\n+0 accept(3, ..., ...) = 4\n+0 %{\nassert tcpi_snd_mss == 999, 'mss' }%\n", player.Assertion, 9, []string{"mss (tcpi_snd_mss = 1000)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.pkt")
			if err := os.WriteFile(file, []byte(c.src), 0o666); err != nil {
				t.Fatal(err)
			}
			var f *player.Failure
			for range 5 { // a busy machine gives no verdict
				o := Run(file, kernel.Play, Options{Player: player.Config{StrictEnd: true, Scale: 3}})
				if !errors.As(o.Err, &f) {
					t.Fatalf("the verdict is %v", o.Err)
				}
				if f.Kind != player.Slow && f.Lag < 4*time.Millisecond {
					break
				}
			}
			if f.Kind != c.kind || f.Pos.Line != c.line {
				t.Errorf("line %d, kind %v", f.Pos.Line, f.Kind)
			}
			for _, w := range c.want {
				if !strings.Contains(f.Error(), w) {
					t.Errorf("%q is missing in\n%v", w, f)
				}
			}
		})
	}
}

// TestKernelLanguage holds that the kernel's player plays every form of the language.
func TestKernelLanguage(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	for _, out := range playKernel(phraseFiles(t)) {
		if out.Err != nil {
			t.Error(out.Err)
		}
	}
}

// TestKernelBites holds the same of the kernel as TestBites does of our stack.
func TestKernelBites(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	list := bites()
	var files []string
	lines := make([]int, len(list))
	for i := range list {
		file, line := list[i].write(t, i)
		files, lines[i] = append(files, file), line
	}
	outs := RunAll(files, kernel.Play, Options{Workers: 8, Player: player.Config{StrictEnd: true, Scale: 3}}, nil)
	for i, o := range outs {
		for range 5 { // a busy machine may be what a verdict is about
			if list[i].found(o.Err, lines[i]) {
				break
			}
			o = Run(files[i], kernel.Play, Options{Player: player.Config{StrictEnd: true, Scale: 3}})
		}
		list[i].judge(t, o.Err, lines[i])
	}
}

// TestKernelPrivate holds that a script's namespace begins afresh, whatever another
// script or the machine has set.
func TestKernelPrivate(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	file := filepath.Join(t.TempDir(), "x.pkt")
	play := func(src string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(src), 0o666); err != nil {
			t.Fatal(err)
		}
		if o := Run(file, kernel.Play, Options{Attempts: 4, Player: player.Config{Scale: 5}}); o.Err != nil {
			t.Fatal(o.Err)
		}
	}
	const connect = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 getsockopt(3, SOL_TCP, TCP_CONGESTION, "%s", [16]) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS
+0 > S 0:0(0) <mss %d,sackOK,TS val any ecr 0,nop,wscale 7>
`
	cc := "cubic"
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control"); err == nil && !strings.Contains(string(b), cc) {
		cc = "reno"
	}
	play("--mtu=1000\n`sysctl -q net.ipv4.tcp_congestion_control=reno`\n" + fmt.Sprintf(connect, "reno", 960))
	play(fmt.Sprintf(connect, cc, 1460))
}

// TestKernelUser plays a script as an ordinary user can, in a user namespace.
func TestKernelUser(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true, User: true}) {
		return
	}
	o := Run(filepath.Join("scripts", "server", "handshake.pkt"), kernel.Play, Options{Attempts: 4, Player: player.Config{StrictEnd: true, Scale: 5}})
	if o.Err != nil {
		t.Fatal(o.Err)
	}
}
