package direct_test

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// calmLoad returns what the bulk connection moves in so many steps when nothing else
// happens.
func calmLoad(t *testing.T, steps int) int {
	l := newFloodLAN(t, tcp.SynCookiesWhenFull)
	defer l.close()
	for range steps {
		l.step()
	}
	return l.moved
}

// holds checks that the bulk connection was not held up meanwhile.
func holds(t *testing.T, moved, calm int) {
	t.Helper()
	if float64(moved) < 0.95*float64(calm) {
		t.Errorf("the bulk connection moved %d bytes, %d when nothing else happens", moved, calm)
	}
}

// TestPeersThatNeverRead has 100 clients ask for more than they ever read, in sum more
// than the server's memory: their windows close, their memory is bounded, and another
// connection is not held up.
func TestPeersThatNeverRead(t *testing.T) {
	const steps = 300
	calm := calmLoad(t, steps)
	l := newFloodLAN(t, tcp.SynCookiesWhenFull)
	var deaf, near []*direct.Socket
	for len(near) < 100 {
		deaf = append(deaf, l.connect())
		bulk := l.bulk[1]
		l.bulk[1] = nil // no echo, and no bulk
		for n := len(near); len(near) == n; {
			l.step()
			if k, err := l.ln.Accept(); err == nil {
				near = append(near, k)
			}
		}
		l.bulk[1] = bulk
	}
	l.moved = 0
	wrote := 0
	for range steps {
		for _, k := range near {
			n, err := k.Write(l.buf)
			if err != nil && err != syscall.EAGAIN {
				t.Fatal(err)
			}
			wrote += n
		}
		l.step()
		// Each connection has a chunk for certain; all beyond is within the limit.
		if m := l.server.Stats().Memory; m.Used > m.Limit+100*tcp.ChunkSize {
			t.Fatalf("%d bytes are accounted for, of %d", m.Used, m.Limit)
		}
	}
	holds(t, l.moved, calm)
	if wrote < 8<<20 {
		t.Errorf("only %d bytes were written to those who don't read", wrote)
	}
	for _, k := range append(deaf, near...) {
		k.Close()
	}
	l.close()
}

// TestWindowsOfOneByte has 100 peers open connections whose windows are never more than one
// byte, and ask for much: they get it byte by byte, as slowly as the persist timer lets
// them (RFC 9293, section 3.8.6.2.1), and another connection is not held up.
func TestWindowsOfOneByte(t *testing.T) {
	const steps, peers = 1000, 100
	calm := calmLoad(t, steps)
	l := newFloodLAN(t, tcp.SynCookiesWhenFull)
	l.gate.stingy = true
	for i := range peers {
		l.gate.segment(i, tcp.SYN)
	}
	bulk := l.bulk[1]
	l.bulk[1] = nil // no echo, and no bulk
	var near []*direct.Socket
	for range 20 {
		l.step()
		for {
			k, err := l.ln.Accept()
			if err != nil {
				break
			}
			near = append(near, k)
		}
	}
	l.bulk[1] = bulk
	if len(near) != peers {
		t.Fatalf("%d of %d peers are connected", len(near), peers)
	}
	l.moved = 0
	before := l.server.Stats().TCP.Sent
	for range steps {
		for _, k := range near {
			k.Write(l.buf)
		}
		l.step()
		if m := l.server.Stats().Memory; m.Used > m.Limit+peers*tcp.ChunkSize {
			t.Fatalf("%d bytes are accounted for, of %d", m.Used, m.Limit)
		}
	}
	holds(t, l.moved, calm)
	// Beside the bulk connection's ACKs, one a step or so, there are probes, with growing
	// pauses.
	sent := l.server.Stats().TCP.Sent - before
	if sent > steps+20*peers {
		t.Errorf("%d segments were sent in %d ms", sent, steps)
	}
	t.Logf("%d segments sent, %d bytes taken a byte at a time", sent, l.gate.taken)
	if l.gate.taken == 0 {
		t.Error("those with a window of one byte got nothing")
	}
	for _, k := range near {
		k.Close()
	}
	l.close()
}

// badDevice is a device that can be told to take nothing, or to fail.
type badDevice struct {
	netif.Device
	queue [1]netif.Queue

	mu    sync.Mutex
	stuck chan struct{} // not nil: nothing is taken until it is closed
	err   error         // not nil: what Write returns
}

func (d *badDevice) Queues() []netif.Queue { return d.queue[:] }

func (d *badDevice) stop(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stuck, d.err = make(chan struct{}), err
}

func (d *badDevice) resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.stuck)
	d.stuck, d.err = nil, nil
}

type badQueue struct {
	netif.Queue
	d *badDevice
}

func (q badQueue) Write(frames []netif.Frame) (int, error) {
	q.d.mu.Lock()
	stuck, err := q.d.stuck, q.d.err
	q.d.mu.Unlock()
	if stuck != nil {
		return 0, err
	}
	return q.Queue.Write(frames)
}

func (q badQueue) Writable() <-chan struct{} {
	q.d.mu.Lock()
	defer q.d.mu.Unlock()
	if q.d.stuck != nil {
		return q.d.stuck
	}
	return q.Queue.Writable()
}

// TestDeviceThatStops has one of two devices take nothing more, or fail, while 20
// connections and a UDP socket send by it: what is lost is counted, and a connection on
// the other device is not held up.
func TestDeviceThatStops(t *testing.T) {
	const steps = 300
	calm := calmLoad(t, steps)
	for name, fault := range map[string]error{"full": nil, "failing": errors.New("broken")} {
		t.Run(name, func(t *testing.T) {
			one, two, err := netif.NewWire(netif.WireConfig{})
			must(t, err)
			bad := &badDevice{Device: one}
			bad.queue[0] = badQueue{one.Queues()[0], bad}
			l := newFloodLAN(t, tcp.SynCookiesWhenFull, direct.Interface{
				Device: bad, Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")},
			})
			far, err := direct.New(&direct.Config{
				Interfaces: []direct.Interface{{Device: two, Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}}},
				Manual:     true, Clock: l.clk, Rand: rand.NewChaCha8([32]byte{3}), CloseTimeout: -1,
				Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			})
			must(t, err)
			l.others = append(l.others, far)
			ln, err := far.Socket("tcp")
			must(t, err)
			must(t, ln.Bind(netip.MustParseAddrPort("10.9.0.2:9")))
			must(t, ln.Listen(50))
			var out []*direct.Socket
			for range 20 {
				k, err := l.server.Socket("tcp")
				must(t, err)
				if err := k.Connect(netip.MustParseAddrPort("10.9.0.2:9")); err != syscall.EINPROGRESS {
					t.Fatal(err)
				}
				out = append(out, k)
			}
			for range 20 {
				l.step()
			}
			u, err := l.server.ListenUDP("udp", netip.MustParseAddrPort("10.9.0.1:9"))
			must(t, err)
			bad.stop(fault)
			l.moved = 0
			for range steps {
				for _, k := range out {
					k.Write(l.buf)
				}
				u.WriteToUDPAddrPort([]byte("lost"), netip.MustParseAddrPort("10.9.0.2:9"))
				l.step()
			}
			holds(t, l.moved, calm)
			st := l.server.Stats().Link
			if fault == nil && (st.Stalls == 0 || st.TxDropped < steps) {
				t.Errorf("a full device: %+v", st)
			}
			if fault != nil && st.TxFailed+st.TxDropped < steps {
				t.Errorf("a device that fails: %+v", st)
			}
			bad.resume()
			must(t, far.Close())
			l.others = nil
			l.close()
		})
	}
}
