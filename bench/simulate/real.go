package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netduet/netduet/netif"
)

// realCell is a measurement in real time: a client reads from a server of the same
// engine over two devices and the impairment between them.
type realCell struct {
	Name       string
	Controller string
	RTT        time.Duration
	Rate       int64 // bits per second
	Loss       float64
	Reorder    float64 // by a quarter of a round trip
	work
}

// work is what the client does: Flows bulk transfers at once, or Count short ones of
// Size bytes, of which as many as there are Workers (one, if 0) are made at a time.
type work struct {
	Flows      int
	Warm, Time time.Duration
	Size       int64
	Count      int
	Workers    int
}

// realCells are the cells that engines are compared in. Those under loss have many
// flows, far from filling the link together: what one loses says nothing of what
// another does, and the mean has a small error. So with long transfers under loss,
// whose times differ by half: a median of few would say little.
func realCells() []realCell {
	const ms = time.Millisecond
	bulk := func(flows int) work { return work{Flows: flows, Warm: 5 * time.Second, Time: 10 * time.Second} }
	lossy := work{Flows: 12, Warm: 5 * time.Second, Time: 20 * time.Second}
	short := func(size int64, count int) work { return work{Size: size, Count: count} }
	many := func(size int64, count, workers int) work {
		return work{Size: size, Count: count, Workers: workers}
	}
	return []realCell{
		{Name: "clean", Controller: "cubic", RTT: 10 * ms, Rate: 50e6, work: bulk(1)},
		{Name: "clean", Controller: "cubic", RTT: 100 * ms, Rate: 50e6, work: bulk(1)},
		{Name: "loss-1%", Controller: "cubic", RTT: 50 * ms, Rate: 100e6, Loss: 0.01, work: lossy},
		{Name: "loss-1%", Controller: "reno", RTT: 50 * ms, Rate: 100e6, Loss: 0.01, work: lossy},
		{Name: "loss-1%", Controller: "bbr", RTT: 50 * ms, Rate: 50e6, Loss: 0.01, work: bulk(1)},
		{Name: "reorder-rtt/4", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, Reorder: 0.02, work: bulk(1)},
		{Name: "clean", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, work: short(10_000, 11)},
		{Name: "clean", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, work: short(100_000, 11)},
		{Name: "clean", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, work: short(1_000_000, 11)},
		{Name: "loss-1%", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, Loss: 0.01, work: short(10_000, 41)},
		{Name: "loss-1%", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, Loss: 0.01, work: short(100_000, 41)},
		{Name: "loss-1%", Controller: "cubic", RTT: 50 * ms, Rate: 500e6, Loss: 0.01, work: many(1_000_000, 1600, 32)},
		{Name: "clean", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, work: short(10_000, 11)},
		{Name: "clean", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, work: short(100_000, 11)},
		{Name: "clean", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, work: short(1_000_000, 11)},
		{Name: "loss-3%", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, Loss: 0.03, work: short(10_000, 41)},
		{Name: "loss-3%", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, Loss: 0.03, work: short(100_000, 41)},
		{Name: "loss-3%", Controller: "cubic", RTT: 100 * ms, Rate: 500e6, Loss: 0.03, work: many(1_000_000, 768, 64)},
		{Name: "reorder-rtt/4", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, Reorder: 0.02, work: short(10_000, 21)},
		{Name: "reorder-rtt/4", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, Reorder: 0.02, work: short(100_000, 21)},
		{Name: "reorder-rtt/4", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, Reorder: 0.02, work: short(1_000_000, 21)},
	}
}

func (c *realCell) String() string {
	what := fmt.Sprintf("%dx%s", c.Flows, c.Controller)
	if c.Size > 0 {
		what = fmt.Sprintf("%dkB/%s", c.Size/1000, c.Controller)
	}
	return fmt.Sprintf("real/%s/%s/%s/%s", c.Name, rttName(c.RTT), rateName(c.Rate), what)
}

// impairments returns what happens on the way to the client and to the server.
func (c *realCell) impairments(seed uint64) (down, up netif.Impairment) {
	bdp := int(float64(c.Rate) / 8 * c.RTT.Seconds())
	down = netif.Impairment{
		Seed: seed, Rate: c.Rate, QueueBytes: max(bdp, minBuffer), Loss: c.Loss, Delay: c.RTT / 2,
		Reorder: c.Reorder,
	}
	if c.Reorder > 0 {
		down.ReorderDelay = c.RTT / 4
		down.QueueBytes *= 4
	}
	up = netif.Impairment{Seed: seed + 1, Delay: c.RTT - c.RTT/2, QueuePackets: 1 << 20}
	return down, up
}

// realReport is what a client measured.
type realReport struct {
	Err   string `json:",omitempty"`
	Bytes []int64
	Span  time.Duration
	Took  []time.Duration
}

const realPort = 5001

// pattern is the bytes that servers send, again and again: a prime number of them.
func pattern() []byte {
	b := make([]byte, 65521)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return append(b, b...)
}

// serveReal answers each connection: the client says how many bytes it wants, and
// gets them.
func serveReal(l net.Listener) {
	bytes := pattern()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			var ask [8]byte
			if _, err := io.ReadFull(c, ask[:]); err != nil {
				return
			}
			left := int64(binary.BigEndian.Uint64(ask[:]))
			for at := int64(0); left > 0; {
				i := at % int64(len(bytes)/2)
				n, err := c.Write(bytes[i : i+min(left, 32<<10)])
				if err != nil {
					return
				}
				at += int64(n)
				left -= int64(n)
			}
		}()
	}
}

type dialer func(ctx context.Context) (net.Conn, error)

// askReal opens a connection and asks for n bytes.
func askReal(ctx context.Context, dial dialer, n int64) (net.Conn, error) {
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(binary.BigEndian.AppendUint64(nil, uint64(n))); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// check is a reader's place in the pattern.
type check struct {
	pattern []byte
	at      int64
}

func (k *check) wrong(b []byte) bool {
	for len(b) > 0 {
		i := k.at % int64(len(k.pattern)/2)
		n := min(len(b), len(k.pattern)/2)
		if !bytes.Equal(b[:n], k.pattern[i:i+int64(n)]) {
			return true
		}
		k.at += int64(n)
		b = b[n:]
	}
	return false
}

var errWrongBytes = errors.New("other bytes arrived than were sent")

// do does the work of a client.
func (w *work) do(ctx context.Context, dial dialer) (r realReport) {
	var err error
	if w.Size > 0 {
		r.Took, err = w.short(ctx, dial)
	} else {
		r.Bytes, r.Span, err = w.bulk(ctx, dial)
	}
	if err != nil {
		r.Err = err.Error()
	}
	return r
}

// short makes the short transfers, and stops at the first that fails.
func (w *work) short(ctx context.Context, dial dialer) (took []time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bytes := pattern()
	took = make([]time.Duration, w.Count)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range max(w.Workers, 1) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= w.Count {
					return
				}
				var err error
				if took[i], err = transfer(ctx, dial, bytes, w.Size); err != nil {
					cancel(fmt.Errorf("transfer %d: %w", i, err))
				}
			}
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return took, nil
}

// transfer asks for size bytes, and tells how long it took from connecting to reading
// the end.
func transfer(ctx context.Context, dial dialer, bytes []byte, size int64) (time.Duration, error) {
	begin := time.Now()
	c, err := askReal(ctx, dial, size)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetReadDeadline(begin.Add(time.Minute))
	k, buf := check{pattern: bytes}, make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if k.wrong(buf[:n]) {
			return 0, errWrongBytes
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("after %d bytes: %w", k.at, err)
		}
	}
	took := time.Since(begin)
	if k.at != size {
		return 0, fmt.Errorf("%d of %d bytes", k.at, size)
	}
	return took, nil
}

func (w *work) bulk(ctx context.Context, dial dialer) (read []int64, span time.Duration, err error) {
	bytes := pattern()
	counts := make([]atomic.Int64, w.Flows)
	errs := make(chan error, w.Flows)
	var readers sync.WaitGroup
	var conns []net.Conn
	var stopped atomic.Bool
	defer func() {
		stopped.Store(true)
		for _, c := range conns {
			c.Close()
		}
		readers.Wait()
	}()
	for i := range w.Flows {
		c, err := askReal(ctx, dial, 1<<50)
		if err != nil {
			return nil, 0, fmt.Errorf("flow %d: %w", i, err)
		}
		conns = append(conns, c)
		readers.Go(func() {
			k, buf := check{pattern: bytes}, make([]byte, 64<<10)
			for {
				n, err := c.Read(buf)
				switch {
				case k.wrong(buf[:n]):
					err = errWrongBytes
				case err == nil:
					counts[i].Add(int64(n))
					continue
				case stopped.Load():
					return
				}
				errs <- fmt.Errorf("flow %d: %w", i, err)
				return
			}
		})
	}
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case err := <-errs:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := wait(w.Warm); err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	for i := range counts {
		read = append(read, -counts[i].Load())
	}
	if err := wait(w.Time); err != nil {
		return nil, 0, err
	}
	span = time.Since(begin)
	for i := range counts {
		read[i] += counts[i].Load()
	}
	return read, span, nil
}
