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

// work is what the client does: bulk transfers at once, or short ones one after the
// other.
type work struct {
	Flows      int
	Warm, Time time.Duration
	Size       int64
	Count      int
}

// realCells are the cells that engines are compared in. Those under loss have many
// flows, far from filling the link together: what one loses says nothing of what
// another does, and the mean has a small error.
func realCells() []realCell {
	const ms = time.Millisecond
	bulk := func(flows int) work { return work{Flows: flows, Warm: 5 * time.Second, Time: 10 * time.Second} }
	lossy := work{Flows: 12, Warm: 5 * time.Second, Time: 20 * time.Second}
	short := func(size int64, count int) work { return work{Size: size, Count: count} }
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
		{Name: "loss-1%", Controller: "cubic", RTT: 50 * ms, Rate: 50e6, Loss: 0.01, work: short(1_000_000, 11)},
		{Name: "clean", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, work: short(10_000, 11)},
		{Name: "clean", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, work: short(100_000, 11)},
		{Name: "clean", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, work: short(1_000_000, 11)},
		{Name: "loss-3%", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, Loss: 0.03, work: short(10_000, 41)},
		{Name: "loss-3%", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, Loss: 0.03, work: short(100_000, 41)},
		{Name: "loss-3%", Controller: "cubic", RTT: 100 * ms, Rate: 20e6, Loss: 0.03, work: short(1_000_000, 11)},
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

func (w *work) short(ctx context.Context, dial dialer) (took []time.Duration, err error) {
	bytes, buf := pattern(), make([]byte, 64<<10)
	for i := range w.Count {
		begin := time.Now()
		c, err := askReal(ctx, dial, w.Size)
		if err != nil {
			return nil, fmt.Errorf("transfer %d: %w", i, err)
		}
		c.SetReadDeadline(begin.Add(time.Minute))
		k := check{pattern: bytes}
		for {
			n, err := c.Read(buf)
			if k.wrong(buf[:n]) {
				return nil, fmt.Errorf("transfer %d: %w", i, errWrongBytes)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("transfer %d: after %d bytes: %w", i, k.at, err)
			}
		}
		took = append(took, time.Since(begin))
		c.Close()
		if k.at != w.Size {
			return nil, fmt.Errorf("transfer %d: %d of %d bytes", i, k.at, w.Size)
		}
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
