package direct

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/netduet/netduet/netif"
)

// idleFootprint is HeapAlloc and StackInuse after two collections.
func idleFootprint() int64 {
	runtime.GC()
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return int64(ms.HeapAlloc + ms.StackInuse)
}

func mallocs() uint64 {
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return ms.Mallocs
}

// idleConns makes n connections from a to b, each with one byte there and back.
func idleConns(t testing.TB, p pair, n int) (near, far []net.Conn) {
	t.Helper()
	const perPort = 20000
	near, far = make([]net.Conn, 0, n), make([]net.Conn, 0, n)
	one := make([]byte, 1)
	for i := range n {
		port := uint16(7 + i/perPort)
		if i%perPort == 0 {
			l, err := p.b.ListenTCP("tcp", netip.AddrPortFrom(addrB, port))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					s, err := l.Accept()
					if err != nil {
						return
					}
					var one [1]byte
					s.Read(one[:])
					s.Write(one[:])
					far = append(far, s)
				}
			}()
		}
		c, err := p.a.Dial(background, "tcp", netip.AddrPort{}, netip.AddrPortFrom(addrB, port))
		if err != nil {
			t.Fatal(err)
		}
		c.Write(one)
		c.Read(one)
		near = append(near, c)
	}
	time.Sleep(2 * restAgain)
	return near, far
}

// BenchmarkIdle tells what an idle connection holds, one end of it, and what a
// goroutine adds that is blocked in Read.
func BenchmarkIdle(b *testing.B) {
	const n = 10000
	for b.Loop() {
		p := newPair(b, netif.WireConfig{})
		before, allocs := idleFootprint(), mallocs()
		near, far := idleConns(b, p, n)
		made := mallocs() - allocs
		parked := idleFootprint() - before
		b.ReportMetric(float64(parked)/(2*n), "B/conn")
		b.ReportMetric(float64(made)/(2*n), "allocs/conn")
		for _, c := range far {
			go func() {
				var one [1]byte
				c.Read(one[:])
			}()
		}
		time.Sleep(2 * restAgain)
		b.ReportMetric(float64(parked)/(2*n)+float64(idleFootprint()-before-parked)/n, "B/reading")
		runtime.KeepAlive(near)
		p.close(b)
	}
}
