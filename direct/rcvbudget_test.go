package direct_test

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// knownQueue is a device that says how long its queues are.
type knownQueue struct {
	netif.Device
	frames int
}

func (d knownQueue) Info() netif.Info {
	i := d.Device.Info()
	i.QueueLen = d.frames
	return i
}

// A crowd is watched from one round trip to another.
const settled, steps = 100, 250

// crowdIn has n connections send to a stack that looks at its device once a round trip of
// the given length, as one does that shares its processor. It returns what arrived and
// what was lost in front of the device once the windows have settled, and the windows at
// the end.
func crowdIn(t *testing.T, n, ring, told int, rtt time.Duration) (moved int, lost uint64, windows []int) {
	ports, err := netif.NewSwitch(2, netif.WireConfig{Ring: ring})
	if err != nil {
		t.Fatal(err)
	}
	clk := &stepClock{}
	clk.now.Store(int64(time.Hour))
	open := func(dev netif.Device, a string, seed byte) *direct.Stack {
		s, err := direct.New(&direct.Config{
			Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(a)}}},
			Manual:     true, Clock: clk, Rand: rand.NewChaCha8([32]byte{seed}), CloseTimeout: -1,
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			TCP:    tcp.Config{Controller: tcp.NewReno},
		})
		must(t, err)
		return s
	}
	in := open(knownQueue{ports[0], told}, "10.0.0.1/24", 1)
	out := open(ports[1], "10.0.0.3/24", 2)
	defer in.Close()
	defer out.Close()
	ln, err := in.Socket("tcp")
	must(t, err)
	must(t, ln.Bind(netip.AddrPortFrom(floodServer, 7)))
	must(t, ln.Listen(n))
	var near, far []*direct.Socket
	for range n {
		k, err := out.Socket("tcp")
		must(t, err)
		if err := k.Connect(netip.AddrPortFrom(floodServer, 7)); err != syscall.EINPROGRESS {
			t.Fatal(err)
		}
		far = append(far, k)
	}
	buf := make([]byte, 256<<10)
	var before uint64
	for i := range steps {
		clk.now.Add(int64(rtt))
		for out.Poll(clk.Now()) <= clk.Now() {
		}
		for _, k := range far {
			k.Write(buf)
		}
		for in.Poll(clk.Now()) <= clk.Now() {
		}
		if k, err := ln.Accept(); err == nil {
			near = append(near, k)
		}
		if i == settled {
			moved, before = 0, ports[0].Stats().Overflowed
		}
		for _, k := range near {
			for {
				n, err := k.Read(buf)
				if n == 0 || err != nil {
					break
				}
				moved += n
			}
		}
	}
	for _, k := range near {
		windows = append(windows, int(k.Conn().(*direct.TCPConn).Info().ReceiveWindow))
	}
	return moved, ports[0].Stats().Overflowed - before, windows
}

// TestWindowsShareTheQueue holds that the windows of all connections together leave the
// queue of a device that tells its length room enough, that nothing is lost by it, that
// the shares are used, and that peers far away are not bounded.
func TestWindowsShareTheQueue(t *testing.T) {
	const ring = 256
	for _, n := range []int{2, 8, 24} {
		moved, lost, windows := crowdIn(t, n, ring, ring, time.Millisecond)
		t.Logf("%d connections: %d KiB, %d frames lost, windows %v", n, moved>>10, lost, windows)
		if lost > 0 {
			t.Errorf("%d connections: %d frames were lost", n, lost)
		}
		// As the stack looks once a round trip, a window is what arrives in one.
		const room = ring * 1460 / 3 * 2
		if want := room * (steps - settled); moved < want/10*9 {
			t.Errorf("%d connections: %d bytes arrived, of %d that the queue has room for", n, moved, want)
		}
		sum := 0
		for _, w := range windows {
			sum += w
		}
		if sum > ring*1460 {
			t.Errorf("%d connections: windows of %d bytes together, for %d frames", n, sum, ring)
		}
	}
	if _, lost, _ := crowdIn(t, 8, ring, 0, time.Millisecond); lost == 0 {
		t.Error("a device that does not tell loses nothing: the test shows nothing")
	}
	moved, _, windows := crowdIn(t, 1, 4096, 128, 50*time.Millisecond)
	if moved == 0 || windows[0] < 1<<20 {
		t.Errorf("a peer 50 ms away has a window of %d bytes", windows[0])
	}
}
