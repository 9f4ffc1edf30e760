package direct_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/packet"
	"github.com/netduet/netduet/netif/tap"
	"github.com/netduet/netduet/sockopt"
	"github.com/netduet/netduet/tcp"
)

// The stack against the kernel's sockets over a path that loses and reorders: two
// taps and a wire of ours between their descriptors. The kernel has an address on one;
// the stack opens the other's interface by packet sockets.

// longInside tells the test in its namespace that the flag -long was given outside.
const longInside = "NETDUET_IMPAIRED_LONG"

// impairedPath joins two taps of this namespace and returns the far one, for the
// stack. What each side sends suffers the impairment.
func impairedPath(t *testing.T, name string, down, up netif.Impairment) netif.Device {
	t.Helper()
	near, far := name+"k", name+"d"
	open := func(name string) netif.Device {
		// Without offloads: every frame is a packet of the path.
		d, err := tap.Open(context.Background(), tap.Config{Name: name, Offload: tap.OffloadOff})
		if err != nil {
			t.Fatal(err)
		}
		if err := netns.LinkUp(name); err != nil {
			t.Fatal(err)
		}
		return d
	}
	toKernel, err := netif.Impair(open(near), up)
	if err != nil {
		t.Fatal(err)
	}
	toStack, err := netif.Impair(open(far), down)
	if err != nil {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix(kernelAddr + "/24")
	if err := netns.AddAddr(near, prefix); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]*netif.Impaired{{toKernel, toStack}, {toStack, toKernel}} {
		go func() { defer func() { ended <- struct{}{} }(); carry(pair[0].Queues()[0], pair[1].Queues()[0]) }()
	}
	t.Cleanup(func() {
		toKernel.Close()
		toStack.Close()
		<-ended
		<-ended
	})
	dev, err := packet.Open(context.Background(), packet.Config{Name: far, Addrs: []netip.Addr{netip.MustParseAddr(directAddr)}})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

// carry writes to one queue what it reads from another, until a device is closed.
func carry(from, to netif.Queue) {
	bufs := make([]*netif.Buf, 64)
	for from.Wait(context.Background()) == nil {
		n, err := from.Read(bufs)
		if err != nil {
			return
		}
		frames := make([]netif.Frame, n)
		for i, b := range bufs[:n] {
			frames[i] = netif.Frame{Fragments: [][]byte{b.Data}, Meta: b.Meta}
		}
		if n > 0 {
			to.Write(frames) // never short: an Impaired drops what does not fit
		}
		for _, b := range bufs[:n] {
			b.Release()
		}
	}
}

// captured records the device's frames without most of their payload; the file is
// kept when the test fails.
func captured(t *testing.T, dev netif.Device) (d netif.Device, file string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "netduet-impaired-")
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+".pcapng")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := netif.Capture(dev, f, netif.CaptureOptions{SnapLen: 96})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		f.Close()
		if t.Failed() {
			t.Logf("the capture is kept in %s", file)
			return
		}
		os.RemoveAll(dir)
	})
	return c, file
}

func newImpairedStack(t *testing.T, dev netif.Device, cfg tcp.Config) *direct.Stack {
	t.Helper()
	s, err := direct.New(&direct.Config{
		Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(directAddr + "/24")}}},
		Logger:     slog.New(slog.DiscardHandler),
		TCP:        cfg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bothWays moves size bytes in each direction at once and returns both ends' TCPInfo.
func bothWays(t *testing.T, ours, theirs net.Conn, size int) (infos [2]string) {
	t.Helper()
	errs := make(chan error, 4)
	for i, c := range []net.Conn{ours, theirs} {
		go func() {
			if err := sendRandom(c, uint64(i), size); err != nil {
				errs <- fmt.Errorf("end %d: sending: %w", i, err)
				return
			}
			errs <- nil
		}()
		go func() {
			if err := expectRandom(c, uint64(1-i), size); err != nil {
				errs <- fmt.Errorf("end %d: receiving: %w", i, err)
				return
			}
			errs <- nil
		}()
	}
	dog := time.AfterFunc(9*time.Minute, func() {
		now := time.Now()
		ours.SetDeadline(now)
		theirs.SetDeadline(now)
	})
	defer dog.Stop()
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for i, c := range []net.Conn{ours, theirs} {
		info, err := sockopt.TCPInfo(c)
		if err != nil {
			t.Errorf("end %d: TCPInfo: %v", i, err)
			continue
		}
		b, err := json.Marshal(info)
		if err != nil {
			t.Fatal(err)
		}
		infos[i] = string(b)
	}
	return infos
}

// Bytes pass intact both ways through loss, reordering and a long way. With -long it
// is 256 MiB each way.
func TestKernelImpaired(t *testing.T) {
	if *long {
		t.Setenv(longInside, "1")
	}
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	size := 16 << 20
	switch {
	case testing.Short():
		size = 2 << 20
	case os.Getenv(longInside) != "":
		size = 256 << 20
	}
	const ms = time.Millisecond
	for i, c := range []struct {
		name string
		path netif.Impairment
	}{
		{"loss 1 %", netif.Impairment{Delay: ms, Loss: 0.01}},
		{"reordering 10 %", netif.Impairment{Delay: 2 * ms, Reorder: 0.1, ReorderDelay: ms}},
		{"RTT 100 ms", netif.Impairment{Delay: 50 * ms}},
		{"all of it", netif.Impairment{Delay: ms, Loss: 0.01, Reorder: 0.02, ReorderDelay: ms, Duplicate: 0.01, Corrupt: 0.002}},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := fmt.Sprint("im", i)
			c.path.QueuePackets = 1 << 16
			down, up := c.path, c.path
			down.Seed, up.Seed = uint64(2*i+1), uint64(2*i+2)
			dev, _ := captured(t, impairedPath(t, name, down, up))
			defer netns.DelAddr(name+"k", netip.MustParsePrefix(kernelAddr+"/24"))
			s := newImpairedStack(t, dev, tcp.Config{})
			defer s.Close()
			begin := time.Now()
			ours, theirs := connectKernel(t, s, i%2 == 0)
			defer ours.Close()
			defer theirs.Close()
			infos := bothWays(t, ours, theirs, size)
			took := time.Since(begin)
			t.Logf("%d MiB each way in %v, %.1f MB/s each", size>>20, took.Round(ms), float64(size)/1e6/took.Seconds())
			if t.Failed() || testing.Verbose() {
				t.Logf("direct: %s\nLinux:  %s", infos[0], infos[1])
			}
		})
	}
}

// Nothing is lost and nothing reordered, so nothing of ours may be sent twice: tshark
// judges. When the machine let our process wait for longer than any round trip, what it
// saw says nothing, and is looked at again.
func TestKernelCleanPathTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed (package tshark)")
	}
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	size := 16 << 20
	if testing.Short() {
		size = 4 << 20
	}
	const tries, patience = 4, 50 * time.Millisecond
	for i := range tries {
		stall := watchStalls()
		file, infos := cleanPath(t, fmt.Sprint("cl", i), size)
		stalled := stall()
		if t.Failed() {
			return
		}
		found := judgeCleanPath(t, tshark, file, size)
		switch {
		case found == "":
			return
		case stalled < patience:
			t.Fatalf("%s\ndirect: %s\nLinux:  %s", found, infos[0], infos[1])
		}
		t.Logf("our process waited for %v, so that this proves nothing: %.200s", stalled.Round(time.Millisecond), found)
	}
	t.Log("the machine is too busy to tell")
}

// watchStalls measures for how long the process may not run; the result ends it and
// returns the longest pause.
func watchStalls() func() time.Duration {
	stop, result := make(chan struct{}), make(chan time.Duration)
	go func() {
		const every = 5 * time.Millisecond
		tick := time.NewTicker(every)
		defer tick.Stop()
		longest, last := time.Duration(0), time.Now()
		for {
			select {
			case <-tick.C:
				now := time.Now()
				longest, last = max(longest, now.Sub(last)-every), now
			case <-stop:
				result <- longest
				return
			}
		}
	}()
	return func() time.Duration { close(stop); return <-result }
}

// cleanPath moves size bytes each way over a long path without faults, and returns the
// capture of our end.
func cleanPath(t *testing.T, name string, size int) (file string, infos [2]string) {
	path := netif.Impairment{Delay: 50 * time.Millisecond, QueuePackets: 1 << 16}
	dev, file := captured(t, impairedPath(t, name, path, path))
	defer netns.DelAddr(name+"k", netip.MustParsePrefix(kernelAddr+"/24"))
	// A tap holds a thousand frames: windows below that, or the path is not clean.
	s := newImpairedStack(t, dev, tcp.Config{SendBuffer: 512 << 10, ReceiveBuffer: 512 << 10})
	ours, theirs := connectKernel(t, s, true)
	infos = bothWays(t, ours, theirs, size)
	ours.Close()
	theirs.Close()
	if err := s.Close(); err != nil { // and with it the device, which flushes the capture
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("direct: %s\nLinux:  %s", infos[0], infos[1])
	}
	return file, infos
}

// judgeCleanPath returns what tshark's analysis holds against our segments.
func judgeCleanPath(t *testing.T, tshark, file string, size int) (found string) {
	judge := func(filter string) string {
		var out, stderr bytes.Buffer
		cmd := exec.Command(tshark, "-n", "-r", file, "-Y", filter)
		cmd.Stdout, cmd.Stderr = &out, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("tshark: %v\n%s", err, stderr.Bytes())
		}
		return out.String()
	}
	from := "ip.src == " + directAddr + " && "
	if n := strings.Count(judge(from+"tcp.len > 0"), "\n"); n < size>>16 {
		t.Errorf("tshark sees %d segments of ours with data: the capture is not of this transfer", n)
	}
	for _, bad := range []string{"tcp.analysis.spurious_retransmission", "tcp.analysis.retransmission", "tcp.analysis.out_of_order"} {
		if out := judge(from + bad); out != "" {
			found += fmt.Sprintf("%s on a clean path:\n%.2000s\n", bad, out)
		}
	}
	return found
}
