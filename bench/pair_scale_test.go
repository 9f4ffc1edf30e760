package main

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
)

// BenchmarkPairProcessors moves data through many connections between two stacks in
// one process, on one processor and on two: the ratio of the two tells what the locks
// of the stack cost.
func BenchmarkPairProcessors(b *testing.B) {
	const conns, piece = 64, 64 << 10
	for _, procs := range []int{1, 2} {
		b.Run(fmt.Sprintf("procs=%d", procs), func(b *testing.B) {
			eachPairOn(b, procs, func(b *testing.B, dial func() net.Conn, l net.Listener) {
				var near, far []net.Conn
				for range conns {
					near = append(near, dial())
					s, err := l.Accept()
					if err != nil {
						b.Fatal(err)
					}
					far = append(far, s)
				}
				var left atomic.Int64
				done := make(chan struct{}, 2*conns)
				for i := range conns {
					go func() {
						buf := make([]byte, piece)
						for {
							if _, err := far[i].Read(buf); err != nil {
								done <- struct{}{}
								return
							}
						}
					}()
				}
				b.SetBytes(piece)
				left.Store(int64(b.N))
				b.ResetTimer()
				for i := range conns {
					go func() {
						buf := make([]byte, piece)
						for left.Add(-1) >= 0 {
							near[i].Write(buf)
						}
						near[i].Close()
						done <- struct{}{}
					}()
				}
				for range 2 * conns { // all is written and read
					<-done
				}
				b.StopTimer()
				for _, s := range far {
					s.Close()
				}
			})
		})
	}
}
