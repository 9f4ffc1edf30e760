package direct

import (
	"context"
	"net/netip"

	"github.com/netduet/netduet/netif"
)

const (
	loopbackMTU  = 65535
	loopbackRing = 512
)

func loopbackAddrs() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 8)}
}

// loopback is the device behind the loopback interface: an IP link whose far end is
// ourselves. It is a wire of which one end is written to and the other read from,
// so that what we send to ourselves takes the same way as everything else, and no
// call ever finds itself deeper in the stack.
type loopback struct {
	in, out *netif.Port
	queue   [1]netif.Queue
}

func newLoopback() (*loopback, error) {
	// Checksums are left out: the frames never leave our memory.
	in, out, err := netif.NewWire(netif.WireConfig{
		Name: loopbackName, Link: netif.LinkIP, MTU: loopbackMTU, Ring: loopbackRing, Offloads: netif.TxChecksum,
	})
	if err != nil {
		return nil, err
	}
	l := &loopback{in: in, out: out}
	l.queue[0] = loopbackQueue{in.Queues()[0], out.Queues()[0]}
	return l, nil
}

func (l *loopback) Info() netif.Info {
	info := l.in.Info()
	info.Name = loopbackName
	return info
}

func (l *loopback) Queues() []netif.Queue { return l.queue[:] }

func (l *loopback) Close() error {
	l.out.Close()
	return l.in.Close()
}

type loopbackQueue struct{ in, out netif.Queue }

func (q loopbackQueue) Read(bufs []*netif.Buf) (int, error)     { return q.in.Read(bufs) }
func (q loopbackQueue) Wait(ctx context.Context) error          { return q.in.Wait(ctx) }
func (q loopbackQueue) Write(frames []netif.Frame) (int, error) { return q.out.Write(frames) }
func (q loopbackQueue) Writable() <-chan struct{}               { return q.out.Writable() }
