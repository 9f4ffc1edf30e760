package direct_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/netif"
)

var (
	long = flag.Bool("long", false, "move 1 GiB with three seeds, too")
	seed = flag.Int64("seed", -1, "run this seed only")
)

// soakPair is two stacks whose wire has impairments in both directions.
func soakPair(t *testing.T, seed uint64, imp netif.Impairment) (client, server *direct.Stack, stats func() [2]netif.ImpairStats) {
	t.Helper()
	wire := netif.WireConfig{}
	if seed%2 == 1 { // large frames, which the impairment layer cuts
		wire.Offloads = netif.TxChecksum | netif.TxTSO4 | netif.RxChecksum | netif.RxGSO
	}
	a, b, err := netif.NewWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*netif.Impaired
	for i, dev := range []netif.Device{a, b} {
		imp.Seed = 2*seed + uint64(i)
		if ends[i], err = netif.Impair(dev, imp); err != nil {
			t.Fatal(err)
		}
	}
	open := func(dev netif.Device, addr string) *direct.Stack {
		s, err := direct.New(&direct.Config{
			Interfaces: []direct.Interface{{Device: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	client, server = open(ends[0], "192.0.2.1/24"), open(ends[1], "192.0.2.2/24")
	return client, server, func() [2]netif.ImpairStats {
		return [2]netif.ImpairStats{ends[0].Stats(), ends[1].Stats()}
	}
}

// transfer sends n bytes to the server, which answers with their SHA-256, and
// compares.
func transfer(ctx context.Context, client, server *direct.Stack, seed uint64, n int64) error {
	l, err := server.Listen(ctx, "tcp", "192.0.2.2:7")
	if err != nil {
		return err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer c.Close()
		h := sha256.New()
		if _, err := io.Copy(h, c); err != nil {
			served <- fmt.Errorf("server: %w", err)
			return
		}
		_, err = c.Write(h.Sum(nil))
		served <- err
	}()
	c, err := client.DialContext(ctx, "tcp", "192.0.2.2:7")
	if err != nil {
		return err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	c.SetDeadline(deadline)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	h := sha256.New()
	if _, err := io.Copy(c, io.TeeReader(io.LimitReader(rand.NewChaCha8(key), n), h)); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	sum, err := io.ReadAll(c)
	if err != nil {
		return fmt.Errorf("client, waiting for the sum: %w", err)
	}
	if err := <-served; err != nil {
		return err
	}
	if !bytes.Equal(sum, h.Sum(nil)) {
		return errors.New("what arrived is not what was sent")
	}
	return nil
}

// TestSoak moves data through two stacks over a path that loses, reorders and
// corrupts, in virtual time. A failing seed is the subtest's name; -seed runs it
// alone.
func TestSoak(t *testing.T) {
	seeds, size := 100, int64(8<<20)
	if testing.Short() {
		seeds = 10
	}
	run := func(i uint64, size int64) {
		if *seed >= 0 && uint64(*seed) != i {
			return
		}
		t.Run(fmt.Sprintf("seed=%d,MiB=%d", i, size>>20), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, stats := soakPair(t, i, netif.Impairment{
					Loss: 0.02, Reorder: 0.01, ReorderDelay: 2 * time.Millisecond, Corrupt: 0.001,
					Delay: time.Millisecond, HoldBytes: 16 << 20,
				})
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
				defer cancel()
				err := transfer(ctx, client, server, i, size)
				took := time.Since(begin)
				client.Close()
				server.Close()
				if err != nil {
					t.Fatalf("after %v of virtual time: %v\nclient %+v\nserver %+v\nwire %+v", took, err, client.Stats(), server.Stats(), stats())
				}
				st := stats()[0]
				if st.Lost == 0 || st.Reordered == 0 {
					t.Errorf("the path was too kind to prove anything: %+v", st)
				}
				t.Logf("%v, %.1f MB/s of virtual time", took, float64(size)/took.Seconds()/1e6)
			})
		})
	}
	for i := range uint64(seeds) {
		run(i, size)
	}
	if *long {
		for i := range uint64(3) {
			run(1000+i, 1<<30)
		}
	}
}

// TestSoakAnything lets the path damage frames in any way. No promise about the
// data remains then, but for the stack: nothing panics, hangs or grows.
func TestSoakAnything(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 4
	}
	for i := range uint64(seeds) {
		if *seed >= 0 && uint64(*seed) != i {
			continue
		}
		t.Run(fmt.Sprint("seed=", i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, _ := soakPair(t, i, netif.Impairment{
					Corrupt: 0.2, CorruptMode: netif.CorruptAny, Duplicate: 0.05,
					Reorder: 0.05, ReorderDelay: time.Millisecond, Delay: 100 * time.Microsecond,
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				err := transfer(ctx, client, server, i, 1<<20)
				runtime.GC()
				runtime.ReadMemStats(&after)
				if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
					t.Errorf("the heap has grown by %d bytes", grown)
				}
				t.Log("the transfer ended with:", err)
				client.Close()
				server.Close()
			})
		})
	}
}
