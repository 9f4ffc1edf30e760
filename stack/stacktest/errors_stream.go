package stacktest

import (
	"io"
	"net"
	"time"
)

// resetByPeer returns A's end of a connection that B has reset, without A having
// been told yet.
func resetByPeer(h *harness) tcpConn {
	h.Helper()
	a, b := h.connect()
	h.check(b.SetLinger(0))
	h.check(b.Close())
	return a
}

// writeUntilError writes byte by byte until that fails: the reset takes its time
// to arrive.
func writeUntilError(c net.Conn) error {
	for {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func read1(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }

// onConn gives the error of a call on A's end of a fresh connection.
func onConn(f func(c tcpConn) error) func(h *harness) error {
	return func(h *harness) error {
		a, _ := h.connect()
		return f(a)
	}
}

// onClosed gives the error of a call on a connection that was closed.
func onClosed(f func(c tcpConn) error) func(h *harness) error {
	return onConn(func(c tcpConn) error {
		if err := c.Close(); err != nil {
			return err
		}
		return f(c)
	})
}

// onListener and onClosedListener are the same for B's listener.
func onListener(f func(l tcpListener) error) func(h *harness) error {
	return func(h *harness) error { return f(h.listen(h.b)) }
}

func onClosedListener(f func(l tcpListener) error) func(h *harness) error {
	return onListener(func(l tcpListener) error {
		if err := l.Close(); err != nil {
			return err
		}
		return f(l)
	})
}

func streamErrors() []outcome {
	return []outcome{
		{name: "ReadEOF", want: `errorString [EOF] "EOF"`, run: func(h *harness) error {
			a, b := h.connect()
			h.check(b.Close())
			return read1(a)
		}},
		{name: "ReadReset", want: `*net.OpError{read tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *os.SyscallError{read} > syscall.Errno [ECONNRESET] "read tcp HOST:PORT->HOST:PORT: read: connection reset by peer"`, run: func(h *harness) error { return read1(resetByPeer(h)) }},
		{name: "ReadTimeout", want: `*net.OpError{read tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "read tcp HOST:PORT->HOST:PORT: i/o timeout"`, run: onConn(func(c tcpConn) error {
			c.SetReadDeadline(time.Now().Add(blip))
			return read1(c)
		})},
		{name: "ReadTimeoutPast", want: `*net.OpError{read tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "read tcp HOST:PORT->HOST:PORT: i/o timeout"`, run: onConn(func(c tcpConn) error {
			c.SetReadDeadline(past())
			return read1(c)
		})},
		{name: "ReadAfterCloseRead", want: `errorString [EOF] "EOF"`, run: onConn(func(c tcpConn) error {
			c.CloseRead()
			return read1(c)
		})},
		{name: "WriteReset", want: `*net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *os.SyscallError{write} > syscall.Errno [ECONNRESET] "write tcp HOST:PORT->HOST:PORT: write: connection reset by peer"`, run: func(h *harness) error { return writeUntilError(resetByPeer(h)) }},
		{name: "WriteAgainAfterReset", want: `*net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *os.SyscallError{write} > syscall.Errno [EPIPE] "write tcp HOST:PORT->HOST:PORT: write: broken pipe"`, run: func(h *harness) error {
			a := resetByPeer(h)
			writeUntilError(a)
			return writeUntilError(a)
		}},
		{name: "WriteAfterReadReset", want: `*net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *os.SyscallError{write} > syscall.Errno [EPIPE] "write tcp HOST:PORT->HOST:PORT: write: broken pipe"`, run: func(h *harness) error {
			a := resetByPeer(h)
			read1(a)
			return writeUntilError(a)
		}},
		{name: "WritePeerClosed", want: `*net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *os.SyscallError{write} > syscall.Errno [EPIPE] "write tcp HOST:PORT->HOST:PORT: write: broken pipe"`, run: func(h *harness) error {
			a, b := h.connect()
			h.check(b.Close())
			h.check(expectEOF(a))
			return writeUntilError(a)
		}},
		{name: "WriteAfterCloseWrite", want: `*net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *os.SyscallError{write} > syscall.Errno [EPIPE] "write tcp HOST:PORT->HOST:PORT: write: broken pipe"`, run: onConn(func(c tcpConn) error {
			c.CloseWrite()
			_, err := c.Write([]byte("x"))
			return err
		})},
		{name: "WriteTimeout", want: `*net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "write tcp HOST:PORT->HOST:PORT: i/o timeout"`, run: onConn(func(c tcpConn) error {
			c.SetWriteDeadline(time.Now().Add(blip))
			_, err := c.Write(make([]byte, 256<<20))
			return err
		})},
		{name: "WriteTimeoutPast", want: `*net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "write tcp HOST:PORT->HOST:PORT: i/o timeout"`, run: onConn(func(c tcpConn) error {
			c.SetWriteDeadline(past())
			_, err := c.Write([]byte("x"))
			return err
		})},
		{name: "ReadFromTimeout", want: `*net.OpError{readfrom tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "readfrom tcp HOST:PORT->HOST:PORT: write tcp HOST:PORT->HOST:PORT: i/o timeout"`, run: onConn(func(c tcpConn) error {
			c.SetWriteDeadline(past())
			_, err := c.ReadFrom(io.LimitReader(zeros{}, 1<<20))
			return err
		})},
		{name: "WriteToTimeout", want: `*net.OpError{writeto tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *net.OpError{read tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "writeto tcp HOST:PORT->HOST:PORT: read tcp HOST:PORT->HOST:PORT: i/o timeout"`, run: onConn(func(c tcpConn) error {
			c.SetReadDeadline(past())
			_, err := c.WriteTo(io.Discard)
			return err
		})},
		{name: "WriteToReset", want: `*net.OpError{writeto tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *net.OpError{read tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *os.SyscallError{read} > syscall.Errno [ECONNRESET] "writeto tcp HOST:PORT->HOST:PORT: read tcp HOST:PORT->HOST:PORT: read: connection reset by peer"`, run: func(h *harness) error {
			_, err := resetByPeer(h).WriteTo(io.Discard)
			return err
		}},
		{name: "CloseWriteAfterReset", want: `*net.OpError{close tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *os.SyscallError{shutdown} > syscall.Errno [ENOTCONN] "close tcp HOST:PORT->HOST:PORT: shutdown: transport endpoint is not connected"`, run: func(h *harness) error {
			a := resetByPeer(h)
			read1(a)
			return a.CloseWrite()
		}},
		{name: "CloseReadAfterReset", want: `*net.OpError{close tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *os.SyscallError{shutdown} > syscall.Errno [ENOTCONN] "close tcp HOST:PORT->HOST:PORT: shutdown: transport endpoint is not connected"`, run: func(h *harness) error {
			a := resetByPeer(h)
			read1(a)
			return a.CloseRead()
		}},
		{name: "CloseAfterReset", want: `no error`, run: func(h *harness) error {
			a := resetByPeer(h)
			read1(a)
			return a.Close()
		}},
		{name: "AcceptTimeout", want: `*net.OpError{accept tcp - TCPAddr(HOST:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "accept tcp HOST:PORT: i/o timeout"`, run: onListener(func(l tcpListener) error {
			l.SetDeadline(time.Now().Add(blip))
			_, err := l.Accept()
			return err
		})},
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func closedErrors() []outcome {
	return []outcome{
		{name: "ReadClosed", want: `*net.OpError{read tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "read tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error { return read1(c) })},
		{name: "ReadCloses", want: `*net.OpError{read tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "read tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: func(h *harness) error {
			a, _ := h.connect()
			ended := h.async(func() error { settle(); return a.Close() })
			defer ended()
			return read1(a)
		}},
		{name: "ReadStackCloses", want: `*net.OpError{read tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "read tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: func(h *harness) error {
			a, _ := h.connect()
			ended := h.async(func() error { settle(); return h.a.Stack.Close() })
			defer ended()
			return read1(a)
		}},
		{name: "WriteClosed", want: `*net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "write tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error {
			_, err := c.Write([]byte("x"))
			return err
		})},
		{name: "CloseClosed", want: `*net.OpError{close tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "close tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(tcpConn.Close)},
		{name: "CloseReadClosed", want: `*net.OpError{close tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "close tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(tcpConn.CloseRead)},
		{name: "CloseWriteClosed", want: `*net.OpError{close tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "close tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(tcpConn.CloseWrite)},
		{name: "WriteToClosed", want: `*net.OpError{writeto tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *net.OpError{read tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "writeto tcp HOST:PORT->HOST:PORT: read tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error {
			_, err := c.WriteTo(io.Discard)
			return err
		})},
		{name: "ReadFromClosed", want: `*net.OpError{readfrom tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > *net.OpError{write tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "readfrom tcp HOST:PORT->HOST:PORT: write tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error {
			_, err := c.ReadFrom(io.LimitReader(zeros{}, 1<<20))
			return err
		})},
		{name: "SetDeadlineClosed", want: `*net.OpError{set tcp - TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "set tcp HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error { return c.SetDeadline(time.Time{}) })},
		{name: "SetReadDeadlineClosed", want: `*net.OpError{set tcp - TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "set tcp HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error { return c.SetReadDeadline(time.Time{}) })},
		{name: "SetWriteDeadlineClosed", want: `*net.OpError{set tcp - TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "set tcp HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error { return c.SetWriteDeadline(time.Time{}) })},
		{name: "SetNoDelayClosed", want: `*net.OpError{set tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "set tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error { return c.SetNoDelay(true) })},
		{name: "SetLingerClosed", want: `*net.OpError{set tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "set tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error { return c.SetLinger(0) })},
		{name: "SetKeepAliveConfigClosed", want: `*net.OpError{set tcp TCPAddr(HOST:PORT) TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "set tcp HOST:PORT->HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error {
			return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
		})},
		{name: "SetReadBufferClosed", want: `*net.OpError{set tcp - TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "set tcp HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error { return c.SetReadBuffer(8192) })},
		{name: "SetWriteBufferClosed", want: `*net.OpError{set tcp - TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "set tcp HOST:PORT: use of closed network connection"`, run: onClosed(func(c tcpConn) error { return c.SetWriteBuffer(8192) })},
		{name: "AcceptClosed", want: `*net.OpError{accept tcp - TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "accept tcp HOST:PORT: use of closed network connection"`, run: onClosedListener(func(l tcpListener) error { _, err := l.Accept(); return err })},
		{name: "AcceptCloses", want: `*net.OpError{accept tcp - TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "accept tcp HOST:PORT: use of closed network connection"`, run: func(h *harness) error {
			l := h.listen(h.b)
			ended := h.async(func() error { settle(); return l.Close() })
			defer ended()
			_, err := l.Accept()
			return err
		}},
		{name: "AcceptStackCloses", want: `*net.OpError{accept tcp - TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "accept tcp HOST:PORT: use of closed network connection"`, run: func(h *harness) error {
			l := h.listen(h.b)
			ended := h.async(func() error { settle(); return h.b.Stack.Close() })
			defer ended()
			_, err := l.Accept()
			return err
		}},
		{name: "AcceptClosedWildcard", want: `*net.OpError{accept tcp4 - TCPAddr(ANY:PORT)} > errNetClosing [net.closed] "accept tcp4 ANY:PORT: use of closed network connection"`, run: func(h *harness) error {
			l := h.listenAt(h.b, "tcp4", ":0")
			h.check(l.Close())
			_, err := l.Accept()
			return err
		}},
		{name: "ListenerCloseClosed", want: `*net.OpError{close tcp - TCPAddr(HOST:PORT)} > errNetClosing [net.closed] "close tcp HOST:PORT: use of closed network connection"`, run: onClosedListener(tcpListener.Close)},
		{name: "ListenerSetDeadlineClosed", want: `errNetClosing [net.closed] "use of closed network connection"`, run: onClosedListener(func(l tcpListener) error { return l.SetDeadline(time.Time{}) })},
	}
}
