package gvisor_test

import (
	"bufio"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/gvisor"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/stack/stacktest"
)

// limits is what the engine can't do that direct can, and that stacktest or the
// common configuration asks for. A row that is no longer true fails, so that it is
// taken out and the tests that it excuses are run.
var limits = []struct {
	// what names it: the environment or the subtest of stacktest, or the setting.
	what string
	why  string
	// gone reports whether the limitation has disappeared.
	gone func(t *testing.T) bool
}{
	{
		what: "stacktest.Env.Virtual",
		why: "gVisor's processors park by the runtime's internal gopark with a reason that does not count as " +
			"durably blocked, so that time stands still in a bubble that holds a stack",
		gone: timePassesInBubble,
	},
	{
		what: "stacktest Error/DialNoAnswer",
		why: "it needs virtual time, see above, or a stack that is tuned to give up: six retransmissions " +
			"of a SYN, as in Linux, take 127 s",
		gone: timePassesInBubble,
	},
	{
		what: "Config.MemoryLimit",
		why:  "gVisor bounds the buffers of each socket and has no account of them all",
		gone: refusesWithoutMemory,
	},
	{
		what: "address announcements (RFC 5227, section 2.3)",
		why:  "gVisor's ARP answers and asks, and does not announce",
		gone: announces,
	},
}

func TestLimits(t *testing.T) {
	for _, l := range limits {
		t.Run(l.what, func(t *testing.T) {
			if l.gone(t) {
				t.Errorf("this is no longer so: take the row out of the table. It said: %s", l.why)
			}
		})
	}
}

// bubble is the variable by which TestBubble knows that it is the child of a test.
const bubble = "NETDUET_GVISOR_BUBBLE"

// TestBubble is the child of timePassesInBubble; it hangs unless time passes.
func TestBubble(t *testing.T) {
	if os.Getenv(bubble) == "" {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		p := pair(t, netif.WireConfig{}, openGvisor, openGvisor, stacktest.Options{})
		os.Stdout.WriteString("asleep\n")
		time.Sleep(time.Hour)
		os.Stdout.WriteString("awake\n")
		p.A.Stack.Close()
		p.B.Stack.Close()
	})
}

// timePassesInBubble reports whether an hour passes in a bubble with two stacks. It
// waits for that no longer than a machine needs that is alive: one that is slower
// keeps the row, and does not fail it.
func timePassesInBubble(t *testing.T) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestBubble$", "-test.count=1")
	cmd.Env = append(os.Environ(), bubble+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); cmd.Wait() }()
	lines := make(chan string, 2)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			lines <- strings.TrimSpace(scan.Text())
		}
	}()
	select {
	case line := <-lines:
		if line != "asleep" {
			t.Fatalf("the child says %q", line)
		}
	case <-time.After(patience):
		t.Fatal("the child does not begin")
	}
	select {
	case line := <-lines:
		return line == "awake"
	case <-time.After(500 * time.Millisecond):
		return false
	}
}

// refusesWithoutMemory reports whether a stack that may use one byte refuses a
// socket, as direct does.
func refusesWithoutMemory(t *testing.T) bool {
	s, err := gvisor.New(&gvisor.Config{MemoryLimit: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.ListenPacket(context.Background(), "udp", "127.0.0.1:0")
	return err != nil
}

// announces reports whether the first frame of a stack is about its own address: it
// would come before the question that the test makes it ask.
func announces(t *testing.T) bool {
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s := network{dev: a, addr: prefixA}.gvisor(t)
	defer s.Close()
	c, err := s.DialContext(context.Background(), "udp", netip.AddrPortFrom(prefixB.Addr(), 9).String())
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("x"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var bufs [1]*netif.Buf
	for {
		n, err := b.Queues()[0].Read(bufs[:])
		if err == nil && n == 0 {
			err = b.Queues()[0].Wait(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			continue
		}
		frame := bufs[0].Data
		// RFC 826: the target's protocol address ends the packet.
		if len(frame) < 42 || frame[12] != 8 || frame[13] != 6 {
			t.Fatalf("the first frame is no ARP packet: % x", frame)
		}
		target := netip.AddrFrom4([4]byte(frame[38:42]))
		bufs[0].Release()
		return target == prefixA.Addr()
	}
}
