package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
	"github.com/netduet/netduet/tcp"
)

// Some cells of the grid again, with everything in it: two whole stacks, their timers,
// locks and goroutines, on the two ends of netif's wire with its own impairments, in a
// bubble of virtual time. Not to the bit, as goroutines run in any order: to a floor of
// the goodput.

// stackCell is a cell and the least share of the link that it must fill.
type stackCell struct {
	name  string
	floor float64
}

// stackCells are one of each impairment but bursts: those of netif pass with packets and
// not with time, so that a connection whose timer backs off does not see their end.
func stackCells() []stackCell {
	return []stackCell{
		{"clean/10ms/100M/1bdp/1xcubic", 0.95},
		{"clean/50ms/10M/1bdp/1xreno", 0.9},
		{"clean/50ms/10M/1bdp/1xbbr", 0.85},
		{"clean/10ms/10M/1bdp/16xcubic", 0.9},
		{"clean/300ms/10M/1bdp/1xcubic", 0.9},
		{"loss-1%/1ms/10M/1bdp/1xcubic", 0.85},
		{"loss-10%/10ms/1M/1bdp/1xcubic", 0.1},
		{"reorder-rtt/4/50ms/10M/4bdp/1xcubic", 0.9},
		{"duplicate-2%/10ms/10M/1bdp/1xcubic", 0.9},
		{"jitter/50ms/10M/1bdp/1xcubic", 0.85},
		{"ack-loss-10%/10ms/10M/1bdp/1xcubic", 0.9},
		{"ecn-mark/10ms/10M/1bdp/1xcubic", 0.7},
		{"mtu-small-1280-always/50ms/10M/1bdp/1xcubic", 0.85},
		{"mtu-small-1280/50ms/10M/1bdp/1xcubic", 0.85},
	}
}

// stackTimes is how long a cell runs, and from when on it is measured.
const (
	stackWarm = 8 * time.Second
	stackEnd  = 14 * time.Second
)

func TestStacks(t *testing.T) {
	for i, sc := range stackCells() {
		c := cellOf(t, sc.name)
		if c.Flows > 1 {
			c.Controllers = c.Controllers[:1]
		}
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { runStacks(t, &c, sc.floor, uint64(i+1)) })
		})
	}
}

// cellOf returns the cell of a name that can stand anywhere in the whole grid.
func cellOf(t *testing.T, name string) cell {
	t.Helper()
	list := matching(wholeGrid(), regexp.MustCompile("^"+regexp.QuoteMeta(name)+"$"))
	if len(list) != 1 {
		t.Fatalf("%d cells are called %s", len(list), name)
	}
	return list[0]
}

// wireImpairments is the cell as netif has it.
func (c *cell) wireImpairments(seed uint64) (data, acks netif.Impairment) {
	im := &c.Impairment
	of := func(f float64) time.Duration { return time.Duration(f * float64(c.RTT)) }
	data = netif.Impairment{
		Seed: 2 * seed, Rate: c.Rate, QueueBytes: c.bufferBytes(), Delay: c.RTT / 2, Jitter: of(im.Jitter),
		Loss: im.Loss, Duplicate: im.Duplicate, Reorder: im.Reorder, ReorderDelay: of(im.ReorderBy),
	}
	if im.Mark > 0 {
		data.MarkAfter = time.Duration(im.Mark * float64(c.bufferBytes()) * 8 / float64(c.Rate) * float64(time.Second))
	}
	if im.Early {
		data.MTU = im.MTU
	}
	acks = netif.Impairment{Seed: 2*seed + 1, Delay: c.RTT - c.RTT/2, Loss: im.AckLoss, QueuePackets: 1 << 20}
	return data, acks
}

// runStacks moves data from one stack to the other for a while, ends in order, and looks
// whether anything is left.
func runStacks(t *testing.T, c *cell, floor float64, seed uint64) {
	a, b, err := netif.NewWire(netif.WireConfig{})
	if err != nil {
		t.Fatal(err)
	}
	data, acks := c.wireImpairments(seed)
	down, err := netif.Impair(a, data)
	if err != nil {
		t.Fatal(err)
	}
	up, err := netif.Impair(b, acks)
	if err != nil {
		t.Fatal(err)
	}
	_, end := c.ends(0)
	open := func(dev netif.Device, addr netip.Prefix) *direct.Stack {
		s, err := direct.New(&direct.Config{
			Logger: slog.New(slog.DiscardHandler), CloseTimeout: 10 * time.Minute,
			Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{addr}}},
			TCP:        tcp.Config{Controller: end.Controller, ECN: end.ECN, MTUProbing: end.MTUProbing},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	server, client := open(down, serverPrefix()), open(up, clientPrefix())
	l, err := server.Listen(t.Context(), "tcp", serverAddress())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()

	var work sync.WaitGroup
	stop := make(chan struct{})
	read := make([]int64, c.Flows)
	fail := make(chan error, 2*c.Flows)
	bytes := pattern()
	var wrote sync.Map
	work.Go(func() {
		for range c.Flows {
			conn, err := l.Accept()
			if err != nil {
				fail <- fmt.Errorf("accept: %w", err)
				return
			}
			work.Go(func() {
				n, err := feed(conn, bytes, stop)
				wrote.Store(conn.RemoteAddr().String(), n)
				if err != nil {
					fail <- fmt.Errorf("server, after %d bytes: %w", n, err)
				}
			})
		}
	})
	var mu sync.Mutex // of read
	for i := range c.Flows {
		work.Go(func() {
			conn, err := client.DialContext(ctx, "tcp", serverAddress())
			if err != nil {
				fail <- fmt.Errorf("dial: %w", err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Hour)) // of virtual time: nothing hangs longer
			k, buf := check{pattern: bytes}, make([]byte, 64<<10)
			for {
				n, err := conn.Read(buf)
				if k.wrong(buf[:n]) {
					fail <- fmt.Errorf("flow %d: %w", i, errWrongBytes)
					return
				}
				mu.Lock()
				read[i] = k.at
				mu.Unlock()
				if err != nil {
					if !errors.Is(err, io.EOF) {
						fail <- fmt.Errorf("flow %d, after %d bytes: %w", i, k.at, err)
					}
					break
				}
			}
			conn.Close()
			// The server's count follows once it knows that the end has arrived.
			for range 1000 {
				if n, ok := wrote.Load(conn.LocalAddr().String()); ok {
					if n.(int64) != k.at {
						fail <- fmt.Errorf("flow %d: %d of %d bytes arrived", i, k.at, n)
					}
					return
				}
				time.Sleep(time.Second)
			}
			fail <- fmt.Errorf("flow %d: its server does not end", i)
		})
	}
	sum := func() (n int64) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range read {
			n += r
		}
		return n
	}
	time.Sleep(stackWarm)
	before := sum()
	time.Sleep(stackEnd - stackWarm)
	after := sum()
	close(stop)
	work.Wait()
	close(fail)
	for err := range fail {
		t.Errorf("seed %d: %v", seed, err)
	}
	l.Close()
	time.Sleep(2 * time.Minute) // TIME-WAIT and what is still on the way
	for name, s := range map[string]*direct.Stack{"client": client, "server": server} {
		if st := s.Stats(); st.TCP.Connections != 0 || st.Memory.Used != 0 {
			t.Errorf("seed %d: the %s keeps %d connections, %+v", seed, name, st.TCP.Connections, st.Memory)
		}
		if err := s.Close(); err != nil {
			t.Errorf("seed %d: the %s: %v", seed, name, err)
		}
	}
	goodput := float64(after-before) * 8 / (stackEnd - stackWarm).Seconds() / (float64(c.Rate) * payloadSize / wireSegment)
	t.Logf("goodput %.3f, wire %+v", goodput, down.Stats())
	if goodput < floor {
		t.Errorf("seed %d: goodput %.3f, want %.2f; wire %+v", seed, goodput, floor, down.Stats())
	}
}

// feed writes the pattern until stopped, and ends the stream.
func feed(conn net.Conn, bytes []byte, stop <-chan struct{}) (n int64, err error) {
	defer conn.Close()
	for {
		select {
		case <-stop:
			return n, nil
		default:
		}
		i := n % int64(len(bytes)/2)
		m, err := conn.Write(bytes[i : i+16<<10])
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
}
