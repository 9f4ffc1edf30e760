package stacktest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

func concurrentTests() []test {
	return []test{
		{name: "ManyConnections", run: testMany},
		{name: "ConnectionsInTurn", run: testInTurn},
		{name: "Writers", run: testWriters},
		{name: "Readers", run: testReaders},
		{name: "ReadWriteClose", run: testReadWriteClose},
		{name: "CloseWhileDialing", run: testCloseWhileDialing},
	}
}

// group runs functions and keeps the first error.
type group struct {
	wg   sync.WaitGroup
	once sync.Once
	err  error
}

func (g *group) start(f func() error) {
	g.wg.Go(func() {
		if err := f(); err != nil {
			g.once.Do(func() { g.err = err })
		}
	})
}

func (g *group) wait() error { g.wg.Wait(); return g.err }

// echo serves every connection of l until l is closed, and returns once all its
// connections have ended.
func echo(l net.Listener) error {
	var g group
	for {
		c, err := l.Accept()
		if err != nil {
			if werr := g.wait(); werr != nil {
				return werr
			}
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		g.start(func() error {
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			_, err := io.Copy(c, c)
			return err
		})
	}
}

// testMany holds all connections open at once, and works on all of them.
func testMany(h *harness) {
	l := h.listen(h.b)
	stop := h.async(func() error { return echo(l) })
	var clients, open group
	n := h.env.Conns
	open.wg.Add(n)
	for i := range n {
		clients.start(func() error {
			c, err := h.a.Stack.DialContext(h.ctx, "tcp", l.Addr().String())
			open.wg.Done()
			if err != nil {
				return err
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			open.wg.Wait()
			msg := random(20_000+i, byte(i))
			var g group
			g.start(func() error { defer c.(tcpConn).CloseWrite(); return send(c, msg) })
			err = expectAll(c, msg)
			return errors.Join(err, g.wait())
		})
	}
	h.check(clients.wait())
	l.Close()
	stop()
}

// testInTurn opens and closes connections quickly, from a few goroutines.
func testInTurn(h *harness) {
	l := h.listen(h.b)
	stop := h.async(func() error { return echo(l) })
	var g group
	for w := range 4 {
		g.start(func() error {
			for i := range 50 {
				c, err := h.a.Stack.DialContext(h.ctx, "tcp", l.Addr().String())
				if err != nil {
					return fmt.Errorf("connection %d: %w", i, err)
				}
				c.SetDeadline(time.Now().Add(patience))
				msg := random(100, byte(w*50+i))
				err = send(c, msg)
				if err == nil {
					err = expect(c, msg)
				}
				c.Close()
				if err != nil {
					return fmt.Errorf("connection %d: %w", i, err)
				}
			}
			return nil
		})
	}
	h.check(g.wait())
	l.Close()
	stop()
}

// testWriters checks that each Write arrives in one piece.
func testWriters(h *harness) {
	const writers, records, size = 8, 40, 3000
	a, b := h.connect()
	var g group
	for w := range writers {
		g.start(func() error {
			for range records {
				p := make([]byte, size)
				for i := range p {
					p[i] = byte(w)
				}
				if err := send(a, p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	count := make([]int, writers)
	p := make([]byte, size)
	for range writers * records {
		if _, err := io.ReadFull(b, p); err != nil {
			h.Fatal(err)
		}
		for i := range p {
			if p[i] != p[0] || int(p[0]) >= writers {
				h.Fatal("two Writes were mixed with each other")
			}
		}
		count[p[0]]++
	}
	h.check(g.wait())
	for w, n := range count {
		if n != records {
			h.Errorf("writer %d: %d records of %d", w, n, records)
		}
	}
}

// testReaders checks that readers share the stream without loss or repetition.
func testReaders(h *harness) {
	a, b := h.connect()
	const total = 1 << 20
	var counts [8]int
	var g group
	for i := range counts {
		g.start(func() error {
			p := make([]byte, 1000+i)
			for {
				n, err := b.Read(p)
				counts[i] += n
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
		})
	}
	h.check(send(a, random(total, 5)))
	h.check(a.CloseWrite())
	h.check(g.wait())
	sum := 0
	for _, n := range counts {
		sum += n
	}
	if sum != total {
		h.Errorf("the readers got %d bytes of %d", sum, total)
	}
}

// testReadWriteClose lets every method of a connection meet every other: what is
// checked is that all of them return, and with errors that say why. The closing
// waits for traffic and not for time, which in a bubble stands still meanwhile.
func testReadWriteClose(h *harness) {
	for round := range 10 {
		a, b := h.connect()
		var g group
		var moved atomic.Int64
		busy := make(chan struct{})
		for _, c := range []tcpConn{a, b} {
			for range 2 {
				g.start(func() error {
					p := make([]byte, 4096)
					for {
						n, err := c.Read(p)
						if err != nil {
							return ending(err)
						}
						const enough = 300_000
						if sum := moved.Add(int64(n)); sum >= enough && sum-int64(n) < enough {
							close(busy)
						}
					}
				})
				g.start(func() error {
					p := make([]byte, 10_000)
					for {
						if _, err := c.Write(p); err != nil {
							return ending(err)
						}
					}
				})
			}
			g.start(func() error {
				for range 20 {
					c.SetReadDeadline(time.Now().Add(patience))
					c.SetWriteDeadline(time.Now().Add(patience))
					c.SetNoDelay(round%2 == 0)
					c.LocalAddr()
					c.RemoteAddr()
				}
				return nil
			})
		}
		select {
		case <-busy:
		case <-h.ctx.Done():
			h.Error("the connection came to a halt")
		}
		g.start(a.Close)
		if round%2 == 0 {
			g.start(func() error { b.CloseWrite(); b.CloseRead(); return nil })
		}
		g.start(b.Close)
		h.check(g.wait())
	}
}

// ending passes what a call may report when its connection ends under it, and
// returns anything else.
func ending(err error) error {
	var op *net.OpError
	if err == io.EOF {
		return nil
	}
	if !errors.As(err, &op) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("unexpected end: %w", err)
	}
	return nil
}

// testCloseWhileDialing closes the listener while connections arrive: dials
// succeed or are refused, and nothing hangs.
func testCloseWhileDialing(h *harness) {
	l := h.listen(h.b)
	var g group
	for range 20 {
		g.start(func() error {
			c, err := h.a.Stack.DialContext(h.ctx, "tcp", l.Addr().String())
			if err != nil {
				var op *net.OpError
				if !errors.As(err, &op) || op.Timeout() {
					return err
				}
				return nil
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("Read on a connection whose listener has closed: %v", err)
			}
			return nil
		})
	}
	g.start(func() error {
		for range 5 {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			c.Close()
		}
		return l.Close()
	})
	h.check(g.wait())
}
