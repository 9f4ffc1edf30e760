package direct

import (
	"io"
	"net"
	"time"

	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/tcp"
)

// SetDeadline implements net.Conn. Deadlines are instants of package time,
// whatever the stack's clock is.
func (c *TCPConn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, true, true)
}

func (c *TCPConn) setDeadlines(t time.Time, read, write bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.gone(); err != nil {
		return c.endpoint().SetDeadline(err)
	}
	if read {
		setDeadline(&c.readDeadline, t)
		c.wakeReader()
	}
	if write {
		setDeadline(&c.writeDeadline, t)
		c.writable.wake()
	}
	return nil
}

// setDeadline sets *d, which is made when it is needed first.
func setDeadline(d **netapi.Deadline, t time.Time) {
	if *d == nil {
		if t.IsZero() {
			return
		}
		*d = new(netapi.Deadline)
	}
	(*d).Set(t)
}

func expired(d *netapi.Deadline) bool { return d != nil && d.Expired() }

func stopDeadline(d *netapi.Deadline) {
	if d != nil {
		d.Stop()
	}
}

// SetReadDeadline implements net.Conn.
func (c *TCPConn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(t, true, false)
}

// SetWriteDeadline implements net.Conn.
func (c *TCPConn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(t, false, true)
}

func (c *TCPConn) alive() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone()
}

// set changes an option under the lock.
func (c *TCPConn) set(f func()) error {
	c.lock()
	defer c.unlock()
	if err := c.gone(); err != nil {
		return c.endpoint().SetOption(err)
	}
	f()
	c.drive(c.st.clk.Now(), tcp.OutputAll)
	return nil
}

// SetNoDelay switches Nagle's algorithm off (the default) or on.
func (c *TCPConn) SetNoDelay(noDelay bool) error {
	return c.set(func() {
		c.changeOptions().noDelay = noDelay
		c.tc.SetNoDelay(c.at(c.st.clk.Now()), noDelay)
	})
}

// SetLinger says what Close does with data that is not yet acknowledged: sec < 0,
// the default, delivers it in the background; 0 discards it and resets the
// connection; sec > 0 is like the default, but Close waits for so many seconds at
// most.
func (c *TCPConn) SetLinger(sec int) error {
	return c.set(func() { c.changeOptions().linger = max(sec, -1) })
}

// SetKeepAlive switches keep-alive probes on or off.
func (c *TCPConn) SetKeepAlive(keepalive bool) error {
	return c.set(func() {
		k := &c.changeOptions().keepAlive
		k.Enable = keepalive
		c.tc.SetKeepAlive(c.at(c.st.clk.Now()), *k)
	})
}

// SetKeepAlivePeriod sets how long a connection must be idle before the first
// probe: 0 means 15 s, negative leaves it as it is.
func (c *TCPConn) SetKeepAlivePeriod(d time.Duration) error {
	return c.set(func() {
		k := &c.changeOptions().keepAlive
		k.Idle = orDefault(d, k.Idle, 15*time.Second)
		c.tc.SetKeepAlive(c.at(c.st.clk.Now()), *k)
	})
}

// SetKeepAliveConfig sets all of keep-alive: 0 means 15 s, 15 s and 9 probes,
// negative values leave what is set.
func (c *TCPConn) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	return c.set(func() {
		k := &c.changeOptions().keepAlive
		k.Enable = config.Enable
		k.Idle = orDefault(config.Idle, k.Idle, 15*time.Second)
		k.Interval = orDefault(config.Interval, k.Interval, 15*time.Second)
		k.Count = orDefault(config.Count, k.Count, 9)
		c.tc.SetKeepAlive(c.at(c.st.clk.Now()), *k)
	})
}

func orDefault[T int | time.Duration](v, now, standard T) T {
	switch {
	case v < 0:
		return now
	case v == 0:
		return standard
	}
	return v
}

// SetReadBuffer bounds the receive buffer to so many bytes.
func (c *TCPConn) SetReadBuffer(bytes int) error {
	if err := c.alive(); err != nil {
		return c.endpoint().SetDeadline(err) // net names the operation and addresses as there
	}
	return c.set(func() {
		o := c.changeOptions()
		o.recvBuffer = sockBuffer(bytes, minRecvBuffer)
		c.tc.SetBuffers(0, o.recvBuffer)
	})
}

// SetWriteBuffer bounds the send buffer to so many bytes.
func (c *TCPConn) SetWriteBuffer(bytes int) error {
	if err := c.alive(); err != nil {
		return c.endpoint().SetDeadline(err)
	}
	return c.set(func() {
		o := c.changeOptions()
		o.sendBuffer = sockBuffer(bytes, minSendBuffer)
		c.tc.SetBuffers(o.sendBuffer, 0)
	})
}

// copyChunk is how much ReadFrom and WriteTo move at once.
const copyChunk = 64 << 10

// ReadFrom implements io.ReaderFrom: it sends what r gives until r ends. The error
// of a write is wrapped once more, as net does.
func (c *TCPConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.st.copyStream(streamWriter{c}, r)
	if err != nil && err != io.EOF {
		err = c.endpoint().ReadFrom(err)
	}
	return n, err
}

// WriteTo implements io.WriterTo: it passes on to w what arrives until the peer's
// end. The error of a read is wrapped once more, as net does.
func (c *TCPConn) WriteTo(w io.Writer) (int64, error) {
	n, err := c.st.copyStream(w, streamReader{c})
	if err != nil && err != io.EOF {
		err = c.endpoint().CopyTo(err)
	}
	return n, err
}

// streamWriter and streamReader hide ReadFrom and WriteTo from io.CopyBuffer.
type streamWriter struct{ c *TCPConn }

func (w streamWriter) Write(p []byte) (int, error) { return w.c.Write(p) }

type streamReader struct{ c *TCPConn }

func (r streamReader) Read(p []byte) (int, error) { return r.c.Read(p) }

func (s *Stack) copyStream(w io.Writer, r io.Reader) (int64, error) {
	m := s.mem.slab(copyChunk)
	defer s.mem.putSlab(m)
	return io.CopyBuffer(w, r, m.b)
}
