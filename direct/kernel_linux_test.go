package direct_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/internal/netns"
	"github.com/netduet/netduet/internal/netns/netnstest"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/netif/packet"
	"github.com/netduet/netduet/netif/tap"
)

// The kernel's sockets at the far end of a device, in the namespace of the test.

// devices are what behaviour must not depend on. Each is opened so that the
// interface called name is the kernel's end.
var devices = []struct {
	name string
	open func(name string) (netif.Device, error)
}{
	{"offload", openTap(tap.Config{Offload: tap.OffloadOn})},
	{"plain", openTap(tap.Config{Offload: tap.OffloadOff})},
	{"packet", openPacket(packet.Config{Addrs: []netip.Addr{netip.MustParseAddr(directAddr)}})},
	{"packet queues", openPacket(packet.Config{Queues: 2, MAC: netif.MAC{2, 0, 0, 0, 0, 7}})},
	{"queues", openTap(tap.Config{Queues: 2, Offload: tap.OffloadOn})},
	{"header", openTap(tap.Config{Offload: tap.OffloadOff, VNetHdr: true})},
	{"water", openTap(tap.Config{Driver: tap.DriverWater})},
}

func openTap(cfg tap.Config) func(string) (netif.Device, error) {
	return func(name string) (netif.Device, error) {
		cfg.Name = name
		return tap.Open(context.Background(), cfg)
	}
}

// openPacket makes a pair of interfaces and opens the one that is not the kernel's.
func openPacket(cfg packet.Config) func(string) (netif.Device, error) {
	return func(name string) (netif.Device, error) {
		cfg.Name = name + "far"
		if err := netns.AddVeth(cfg.Name, name); err != nil {
			return nil, err
		}
		if err := netns.LinkUp(cfg.Name); err != nil {
			return nil, err
		}
		return packet.Open(context.Background(), cfg)
	}
}

const (
	kernelAddr = "10.0.0.1"
	directAddr = "10.0.0.2"
)

// newKernelPeer makes a device and a stack on it, with the kernel at the far end.
func newKernelPeer(tb testing.TB, name string, open func(string) (netif.Device, error)) (*direct.Stack, netif.Device) {
	tb.Helper()
	d, err := open(name)
	if err != nil {
		tb.Fatal(err)
	}
	if err := netns.LinkUp(name); err != nil {
		tb.Fatal(err)
	}
	if err := netns.AddAddr(name, netip.MustParsePrefix(kernelAddr+"/24")); err != nil {
		tb.Fatal(err)
	}
	s, err := direct.New(&direct.Config{
		Interfaces: []direct.Interface{{Device: d, Addrs: []netip.Prefix{netip.MustParsePrefix(directAddr + "/24")}}},
		Logger:     slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s, d
}

// Bytes go both ways at once, as they were written, whoever opens the connection.
func TestKernelPeer(t *testing.T) {
	if !netnstest.RunWith(t, netnstest.Options{Tun: true}) {
		return
	}
	size := 32 << 20
	if testing.Short() {
		size = 2 << 20
	}
	for i, v := range devices {
		t.Run(v.name, func(t *testing.T) {
			name := fmt.Sprint("t", i)
			s, d := newKernelPeer(t, name, v.open)
			defer netns.DelAddr(name, netip.MustParsePrefix(kernelAddr+"/24"))
			for _, active := range []bool{false, true} {
				ours, theirs := connectKernel(t, s, active)
				errs := make(chan error, 4)
				for i, c := range []net.Conn{ours, theirs} {
					go func() { errs <- sendRandom(c, uint64(i), size) }()
					go func() { errs <- expectRandom(c, uint64(1-i), size) }()
				}
				for range 4 {
					if err := <-errs; err != nil {
						t.Error(err)
					}
				}
				ours.Close()
				theirs.Close()
			}
			switch d := d.(type) {
			case *tap.Device:
				if st := d.Stats(); st != (tap.Stats{}) {
					t.Errorf("the device dropped frames: %+v", st)
				}
			case *packet.Device:
				if st := d.Stats(); st != (packet.Stats{}) {
					t.Errorf("the device dropped frames: %+v", st)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if !errors.Is(d.Close(), net.ErrClosed) {
				t.Error("the device outlived its stack")
			}
		})
	}
}

// connectKernel joins the stack with the kernel.
func connectKernel(tb testing.TB, s *direct.Stack, active bool) (ours, theirs net.Conn) {
	tb.Helper()
	ctx := context.Background()
	var l net.Listener
	var err error
	if active {
		if l, err = net.Listen("tcp", kernelAddr+":0"); err == nil {
			ours, err = s.DialContext(ctx, "tcp", l.Addr().String())
		}
	} else if l, err = s.Listen(ctx, "tcp", ":7"); err == nil {
		theirs, err = net.Dial("tcp", directAddr+":7")
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	c, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	if active {
		return ours, c
	}
	return c, theirs
}

// sendRandom writes size bytes made of seed in pieces of all sizes, and ends the
// stream.
func sendRandom(c net.Conn, seed uint64, size int) error {
	src := rand.NewChaCha8([32]byte{byte(seed)})
	pieces := rand.New(rand.NewPCG(seed, 2))
	buf := make([]byte, 200000)
	for left := size; left > 0; {
		n := min(left, 1+pieces.IntN(1<<pieces.IntN(18)))
		src.Read(buf[:n])
		if _, err := c.Write(buf[:n]); err != nil {
			return fmt.Errorf("after %d bytes: %w", size-left, err)
		}
		left -= n
	}
	return c.(interface{ CloseWrite() error }).CloseWrite()
}

// expectRandom reads what sendRandom wrote.
func expectRandom(c net.Conn, seed uint64, size int) error {
	src := rand.NewChaCha8([32]byte{byte(seed)})
	pieces := rand.New(rand.NewPCG(seed, 2)) // the generator's bytes depend on the sizes asked for
	r := bufio.NewReaderSize(c, 1<<16)
	want, got := make([]byte, 200000), make([]byte, 200000)
	for left := size; left > 0; {
		n := min(left, 1+pieces.IntN(1<<pieces.IntN(18)))
		src.Read(want[:n])
		if _, err := io.ReadFull(r, got[:n]); err != nil {
			return fmt.Errorf("after %d bytes: %w", size-left, err)
		}
		if string(got[:n]) != string(want[:n]) {
			return fmt.Errorf("after %d bytes others came", size-left)
		}
		left -= n
	}
	if n, err := r.Read(got[:1]); n != 0 || err != io.EOF {
		return fmt.Errorf("after the end: %d, %v", n, err)
	}
	return nil
}

const (
	benchInside = "NETDUET_KERNEL_BENCH"
	benchPeer   = "NETDUET_KERNEL_PEER"
)

// BenchmarkKernelPeer moves data between the stack and the kernel's sockets in another
// process. It reports this process's CPU time, that of the kernel's work in its
// system calls included.
func BenchmarkKernelPeer(b *testing.B) {
	if mode := os.Getenv(benchPeer); mode != "" {
		peerMain(b, mode)
		return
	}
	if os.Getenv(benchInside) == "" {
		// Once more, in a namespace of its own.
		cmd := exec.Command(os.Args[0], append([]string{"-test.run=^$"}, os.Args[1:]...)...)
		cmd.Env = append(os.Environ(), benchInside+"=1")
		cmd.SysProcAttr = netns.Attr()
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			if netns.Forbidden(err) {
				b.Skip("netns: namespaces are forbidden here: ", err)
			}
			b.Fatal(err)
		}
		b.Skip("the lines above are the result")
	}
	if err := netns.Quiet(); err != nil {
		b.Fatal(err)
	}
	made := 0
	for _, v := range devices[:3] {
		for _, mode := range []string{"in", "out", "echo"} {
			b.Run(v.name+"/"+mode, func(b *testing.B) {
				made++
				name := fmt.Sprint("b", made)
				s, _ := newKernelPeer(b, name, v.open)
				defer netns.DelAddr(name, netip.MustParsePrefix(kernelAddr+"/24"))
				defer s.Close()
				benchKernel(b, s, mode)
			})
		}
	}
}

func benchKernel(b *testing.B, s *direct.Stack, mode string) {
	l, err := s.Listen(context.Background(), "tcp", ":7")
	if err != nil {
		b.Fatal(err)
	}
	peer := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkKernelPeer$", "-test.benchtime=1x")
	peer.Env = append(os.Environ(), benchPeer+"="+mode)
	peer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := peer.Start(); err != nil {
		b.Fatal(err)
	}
	defer peer.Wait()
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	size := 1 << 20
	if mode == "echo" {
		size = 1
	}
	buf := make([]byte, size)
	work := func() {
		var err error
		switch mode {
		case "in":
			_, err = io.ReadFull(c, buf)
		case "out":
			_, err = c.Write(buf)
		case "echo":
			if _, err = c.Read(buf); err == nil {
				_, err = c.Write(buf)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for range 100 { // until the windows are open
		work()
	}
	if mode != "echo" {
		b.SetBytes(int64(size))
	}
	b.ReportAllocs()
	before, frames, loops := cpuTime(), s.Stats().Link, 0
	for b.Loop() {
		work()
		loops++
	}
	spent, after := cpuTime()-before, s.Stats().Link
	b.ReportMetric(float64(after.RxFrames-frames.RxFrames)/float64(loops), "rx/op")
	b.ReportMetric(float64(after.TxFrames-frames.TxFrames)/float64(loops), "tx/op")
	if mode == "echo" {
		b.ReportMetric(spent*1e6/float64(loops), "cpu-µs/op")
	} else {
		b.ReportMetric(spent/(float64(loops)*float64(size)/1e9), "cpu-s/GB")
	}
}

// cpuTime returns the CPU seconds of this process.
func cpuTime() float64 {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// peerMain is the far end, until the connection ends.
func peerMain(b *testing.B, mode string) {
	c, err := net.Dial("tcp", directAddr+":7")
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	for err == nil {
		switch mode {
		case "in":
			_, err = c.Write(buf)
		case "out":
			_, err = c.Read(buf)
		case "echo":
			if _, err = c.Write(buf[:1]); err == nil {
				_, err = c.Read(buf[:1])
			}
		}
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		b.Fatal(err)
	}
}
