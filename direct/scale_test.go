package direct

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/siphash"
	"github.com/netduet/netduet/tcp"
)

// scales are the sizes at which the cost of an operation is shown.
var scales = []int{1e3, 1e4, 1e5, 1e6}

// fakeEndpoint is a record that does nothing.
type fakeEndpoint struct{ entry }

func (*fakeEndpoint) input(*receiver, *tcp.Segment) bool       { return true }
func (*fakeEndpoint) icmpError(clock.Time, tcp.Seq, icmpError) {}
func (*fakeEndpoint) expired(clock.Time)                       {}
func newFake(t *table, i int) *fakeEndpoint {
	f := &fakeEndpoint{}
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], uint32(0x0a000000+i/50000))
	f.flow = flow{local: addrB, remote: netip.AddrFrom4(ip), localPort: 7, remotePort: uint16(1024 + i%50000)}
	f.sum, f.kind = f.flow.hash(t.key), f
	return f
}

func newTable() *table {
	t := &table{}
	t.key, _ = siphash.NewKey(rand.NewChaCha8([32]byte{1}))
	return t
}

// BenchmarkTable is the cost of the demultiplexing table's operations by its size.
func BenchmarkTable(b *testing.B) {
	for _, n := range scales {
		t := newTable()
		list := make([]*fakeEndpoint, n)
		for i := range list {
			list[i] = newFake(t, i)
		}
		for _, f := range list {
			t.insert(&f.entry)
		}
		order := rand.New(rand.NewPCG(1, 2)).Perm(n)
		b.Run(fmt.Sprintf("lookup/%d", n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				f := list[order[i%n]]
				if t.lookup(&f.flow) != &f.entry {
					b.Fatal("lost")
				}
				i++
			}
		})
		b.Run(fmt.Sprintf("absent/%d", n), func(b *testing.B) {
			f := list[0].flow
			i := 0
			for b.Loop() {
				f.remotePort, f.localPort = uint16(i), 9
				if t.lookup(&f) != nil {
					b.Fatal("found")
				}
				i++
			}
		})
		b.Run(fmt.Sprintf("remove+insert/%d", n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				f := list[order[i%n]]
				t.remove(&f.entry)
				t.insert(&f.entry)
				i++
			}
		})
	}
}

// BenchmarkTimers is the cost of arming, moving and stopping a timer by how many are
// armed.
func BenchmarkTimers(b *testing.B) {
	for _, n := range scales {
		var ts timers
		ts.init(newSystemClock())
		base := newSystemClock().Now().Add(time.Hour)
		list := make([]timer, n)
		for i := range list {
			ts.bind(&list[i], &fakeEndpoint{}, uint64(i))
			list[i].want(base.Add(time.Duration(rand.IntN(1e9))))
		}
		b.Run(fmt.Sprintf("stop+arm/%d", n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				t := &list[i*7919%n]
				t.stop()
				t.want(base.Add(time.Duration(i * 7907 % 1e9)))
				i++
			}
		})
		ts.close()
	}
}

// BenchmarkPorts is the choice of an ephemeral port towards one server by how many
// are in use, of 28232.
func BenchmarkPorts(b *testing.B) {
	for _, n := range []int{1e3, 1e4, 2e4, 28000} {
		s := portStack()
		dial := func() *TCPConn {
			c, errno := s.dialPort(7)
			if errno != 0 {
				b.Fatal(errno)
			}
			return c
		}
		held := make([]*TCPConn, n)
		for i := range held {
			held[i] = dial()
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				c := held[i%n]
				s.table.remove(&c.entry)
				s.listeners.vacate(&c.flow)
				s.listeners.releaseDialed(c.localAddr())
				held[i%n] = dial()
				i++
			}
		})
	}
}
