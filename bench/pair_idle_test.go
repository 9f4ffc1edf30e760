package main

import (
	"flag"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/netduet/netduet/netif"
)

var idlePairs = flag.Int("idle", 10000, "how many connections BenchmarkPairIdle makes; 1000000 take a minute and 3 GiB")

// pairPorts is how many connections go to one port of the server: fewer than there
// are ephemeral ports.
const pairPorts = 20000

// BenchmarkPairIdle makes connections in one process over the in-memory wire, each
// with a byte there and back, and tells what one end of them holds once they are
// idle, what a goroutine adds that is blocked in Read, and what opening and closing
// cost. With -idle 1000000 it is the row idle-million.
func BenchmarkPairIdle(b *testing.B) {
	b.Run("direct", func(b *testing.B) {
		for b.Loop() {
			pairIdle(b, overWire(openDirect, netif.WireConfig{}), *idlePairs)
		}
	})
	b.Run("gvisor", func(b *testing.B) {
		for b.Loop() {
			// More would take gigabytes for what is known.
			pairIdle(b, overWire(openGvisor, netif.WireConfig{}), min(*idlePairs, pairPorts))
		}
	})
}

func pairIdle(b *testing.B, open func() (near, far listenDialer, err error), n int) {
	near, far, err := open()
	if err != nil {
		b.Fatal(err)
	}
	defer near.Close()
	defer far.Close()

	before, start := footprint(), time.Now()
	mallocs := mallocCount()
	var mu sync.Mutex
	var served []net.Conn
	hold := func(s net.Conn) {
		var one [1]byte
		s.Read(one[:])
		s.Write(one[:])
		mu.Lock()
		served = append(served, s)
		mu.Unlock()
	}
	dialed := make([]net.Conn, 0, n)
	var address string
	buf := make([]byte, 1)
	for i := range n {
		if i%pairPorts == 0 {
			address = fmt.Sprintf("10.0.0.2:%d", 7+i/pairPorts)
			l, err := far.Listen(b.Context(), "tcp", address)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					s, err := l.Accept()
					if err != nil {
						return
					}
					hold(s)
				}
			}()
		}
		c, err := near.DialContext(b.Context(), "tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		c.Write(buf)
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
		dialed = append(dialed, c)
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n), "µs/connect")
	time.Sleep(2 * time.Second)
	allocs := mallocCount() - mallocs
	parked := float64(footprint()-before) / float64(2*n)
	b.ReportMetric(parked, "B/parked")
	b.ReportMetric(float64(allocs)/float64(2*n), "allocs/conn")

	both := footprint()
	mu.Lock()
	for _, s := range served {
		go func() {
			var one [1]byte
			s.Read(one[:])
		}()
	}
	mu.Unlock()
	time.Sleep(2 * time.Second)
	b.ReportMetric(parked+float64(footprint()-both)/float64(n), "B/reading")

	start = time.Now()
	for _, c := range dialed {
		c.(interface{ SetLinger(int) error }).SetLinger(0)
		c.Close()
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n), "µs/close")
	b.ReportMetric(0, "ns/op") // says nothing
	runtime.KeepAlive(served)
}

// footprint is HeapAlloc and StackInuse after two collections.
func footprint() int64 {
	runtime.GC()
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return int64(ms.HeapAlloc + ms.StackInuse)
}

func mallocCount() uint64 {
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return ms.Mallocs
}
