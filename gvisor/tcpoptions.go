package gvisor

import (
	"net"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// SetDeadline implements net.Conn. Deadlines are instants of package time,
// whatever the stack's clock is.
func (s *socket) SetDeadline(t time.Time) error {
	return s.setDeadline(t, &s.read, &s.write)
}

// SetReadDeadline implements net.Conn.
func (s *socket) SetReadDeadline(t time.Time) error { return s.setDeadline(t, &s.read) }

// SetWriteDeadline implements net.Conn.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, &s.write) }

func (s *socket) setDeadline(t time.Time, sides ...*side) error {
	if err := s.gone(); err != nil {
		return s.name.SetDeadline(err)
	}
	for _, d := range sides {
		d.deadline.Set(t)
	}
	return nil
}

// SetReadBuffer bounds the receive buffer to so many bytes; gVisor has 4 KiB at
// least, and counts overhead.
func (s *socket) SetReadBuffer(n int) error {
	if err := s.gone(); err != nil {
		return s.name.SetDeadline(err) // net names the operation and addresses as there
	}
	s.ep.SocketOptions().SetReceiveBufferSize(int64(max(n, 0)), true)
	return nil
}

// SetWriteBuffer bounds the send buffer to so many bytes; gVisor has 4 KiB at least.
func (s *socket) SetWriteBuffer(n int) error {
	if err := s.gone(); err != nil {
		return s.name.SetDeadline(err)
	}
	s.ep.SocketOptions().SetSendBufferSize(int64(max(n, 0)), true)
	return nil
}

// set changes an option.
func (c *TCPConn) set(f func() tcpip.Error) error {
	err := c.gone()
	if err == nil {
		err = errnoSet(f())
	}
	return c.name.SetOption(err)
}

// SetNoDelay switches Nagle's algorithm off (the default) or on.
func (c *TCPConn) SetNoDelay(noDelay bool) error {
	return c.set(func() tcpip.Error {
		c.ep.SocketOptions().SetDelayOption(!noDelay)
		return nil
	})
}

// SetLinger says what Close does with data that is not yet acknowledged: sec < 0,
// the default, delivers it in the background; 0 discards it and resets the
// connection; sec > 0 is like the default, but Close waits for so many seconds at
// most.
func (c *TCPConn) SetLinger(sec int) error {
	return c.set(func() tcpip.Error {
		c.mu.Lock()
		c.linger = sec
		c.mu.Unlock()
		c.ep.SocketOptions().SetLinger(tcpip.LingerOption{
			Enabled: sec >= 0,
			Timeout: time.Duration(max(sec, 0)) * time.Second,
		})
		return nil
	})
}

// SetKeepAlive switches keep-alive probes on or off.
func (c *TCPConn) SetKeepAlive(keepalive bool) error {
	return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: keepalive, Idle: -1, Interval: -1, Count: -1})
}

// SetKeepAlivePeriod sets how long a connection must be idle before the first
// probe: 0 means 15 s, negative leaves it as it is.
func (c *TCPConn) SetKeepAlivePeriod(d time.Duration) error {
	return c.set(func() tcpip.Error { return c.keepAliveIdle(d) })
}

// SetKeepAliveConfig sets all of keep-alive: 0 means 15 s, 15 s and 9 probes,
// negative values leave what is set.
func (c *TCPConn) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	return c.set(func() tcpip.Error { return c.keepAlive(config) })
}

const (
	keepAliveTime  = 15 * time.Second // package net's default
	keepAliveCount = 9
)

func (c *TCPConn) keepAlive(k net.KeepAliveConfig) tcpip.Error {
	if err := c.keepAliveIdle(k.Idle); err != nil {
		return err
	}
	if k.Interval >= 0 {
		v := tcpip.KeepaliveIntervalOption(orDefault(k.Interval, keepAliveTime))
		if err := c.ep.SetSockOpt(&v); err != nil {
			return err
		}
	}
	if k.Count >= 0 {
		if err := c.ep.SetSockOptInt(tcpip.KeepaliveCountOption, orDefault(k.Count, keepAliveCount)); err != nil {
			return err
		}
	}
	c.ep.SocketOptions().SetKeepAlive(k.Enable)
	return nil
}

func (c *TCPConn) keepAliveIdle(d time.Duration) tcpip.Error {
	if d < 0 {
		return nil
	}
	v := tcpip.KeepaliveIdleOption(orDefault(d, keepAliveTime))
	return c.ep.SetSockOpt(&v)
}

func orDefault[T int | time.Duration](v, standard T) T {
	if v == 0 {
		return standard
	}
	return v
}
