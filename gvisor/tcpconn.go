package gvisor

import (
	"bytes"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/netduet/netduet/internal/netapi"
)

// TCPConn is a TCP connection. It is a net.Conn and has the methods of *net.TCPConn
// except SyscallConn, File and MultipathTCP, with the same errors, and is safe for
// concurrent use.
type TCPConn struct {
	socket

	// Of the side whose turn it is.
	in  tcpip.SliceWriter
	out bytes.Reader
	eof bool

	// Guarded by mu.
	linger   int // seconds, negative for the default
	readShut bool
}

// newConn wraps a connected endpoint. The caller is between enter and leave.
func (s *Stack) newConn(ep tcpip.Endpoint, wq *waiter.Queue, network string) *TCPConn {
	c := &TCPConn{socket: socket{st: s, ep: ep, wq: wq}, linger: -1}
	c.name.Network = network
	// An endpoint that has ended meanwhile has lost neither address.
	local, _ := ep.GetLocalAddress()
	remote := ep.(*tcp.Endpoint).ID
	c.name.Local = netapi.Addr("tcp", addrPort(local))
	c.name.Remote = netapi.Addr("tcp", addrPort(tcpip.FullAddress{Addr: remote.RemoteAddress, Port: remote.RemotePort}))
	c.keepAlive(net.KeepAliveConfig{Enable: true})
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	return c
}

// Read implements net.Conn. After a reset by the peer it returns what had arrived,
// then the reason once, then io.EOF, as Linux does.
func (c *TCPConn) Read(p []byte) (int, error) {
	c.read.turn.Lock()
	defer c.read.turn.Unlock()
	n, err := c.receive(p)
	if err != nil {
		err = c.name.Read(err)
	}
	return n, err
}

func (c *TCPConn) receive(p []byte) (int, error) {
	for {
		if err := c.gone(); err != nil {
			return 0, err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if c.read.deadline.Expired() {
			return 0, os.ErrDeadlineExceeded
		}
		if c.eof {
			return 0, io.EOF
		}
		c.in = p
		res, terr := c.ep.Read(&c.in, tcpip.ReadOptions{})
		c.in = nil
		switch terr.(type) {
		case nil:
			c.ep.ModerateRecvBuf(res.Count)
			return res.Count, nil
		case *tcpip.ErrWouldBlock:
			if c.isReadShut() {
				return 0, io.EOF
			}
			c.wait(&c.read, readable)
		case *tcpip.ErrClosedForReceive, *tcpip.ErrNotConnected:
			// Also when the stack has aborted the connection.
			if err := c.gone(); err != nil {
				return 0, err
			}
			c.eof = true
			return 0, io.EOF
		default:
			if err := c.gone(); err != nil {
				return 0, err
			}
			return 0, failed(netapi.CallRead, terr)
		}
	}
}

// Write implements net.Conn. It returns once everything is in the send buffer.
func (c *TCPConn) Write(p []byte) (int, error) {
	c.write.turn.Lock()
	defer c.write.turn.Unlock()
	n, err := c.send(p)
	if err != nil {
		err = c.name.Write(err)
	}
	return n, err
}

func (c *TCPConn) send(p []byte) (int, error) {
	total := 0
	for {
		if err := c.gone(); err != nil {
			return total, err
		}
		if c.write.deadline.Expired() {
			return total, os.ErrDeadlineExceeded
		}
		if total == len(p) {
			return total, nil
		}
		c.out.Reset(p[total:])
		n, terr := c.ep.Write(&c.out, tcpip.WriteOptions{})
		c.out.Reset(nil)
		total += int(n)
		switch {
		case again(terr):
			c.wait(&c.write, writable)
		case terr != nil:
			if err := c.gone(); err != nil {
				return total, err
			}
			return total, failed(netapi.CallWrite, terr)
		}
	}
}

// Close implements net.Conn. What was written is delivered in the background, as
// far as SetLinger does not say otherwise; bytes that were not read reset the
// connection.
func (c *TCPConn) Close() error {
	c.mu.Lock()
	linger, stackClosed := c.linger, c.stackClosed
	c.mu.Unlock()
	if !c.end(false) {
		return c.name.Close(net.ErrClosed)
	}
	c.st.forget(c)
	if stackClosed {
		return nil
	}
	c.ep.Close()
	if linger > 0 {
		await(time.Duration(linger)*time.Second, func() bool { return delivered(c.ep) })
	}
	return nil
}

// delivered reports whether the peer has acknowledged all that the application
// wrote and the FIN behind it, or never will.
func delivered(ep tcpip.Endpoint) bool {
	switch stateOf(ep) {
	case tcp.StateEstablished, tcp.StateCloseWait, tcp.StateFinWait1, tcp.StateClosing, tcp.StateLastAck:
		return false
	}
	return true
}

// await waits until done, for at most d, and reports whether it is. It asks again
// and again, because gVisor tells nobody that a FIN was acknowledged.
func await(d time.Duration, done func() bool) bool {
	end := time.Now().Add(d)
	for pause := time.Millisecond; !done(); pause = min(2*pause, 10*time.Millisecond) {
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		time.Sleep(min(pause, left))
	}
	return true
}

// CloseWrite sends FIN after what was written; reading goes on.
func (c *TCPConn) CloseWrite() error {
	err := c.gone()
	if err == nil {
		if terr := c.ep.Shutdown(tcpip.ShutdownWrite); terr != nil {
			err = failed(netapi.CallShutdown, terr)
		}
	}
	return c.name.Close(err)
}

// CloseRead makes Read return io.EOF once it has returned what has arrived; the peer
// is not told. gVisor's own way of it would reset a connection that is shut in both
// directions while something is unread, which kernels do on Close only.
func (c *TCPConn) CloseRead() error {
	err := c.gone()
	if err == nil && !connected(c.ep) {
		err = netapi.Syscall(netapi.CallShutdown, syscall.ENOTCONN)
	}
	if err == nil {
		c.mu.Lock()
		c.readShut = true
		c.mu.Unlock()
		c.wake()
	}
	return c.name.Close(err)
}

func (c *TCPConn) isReadShut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readShut
}

// connected reports whether shutdown(2) has something to shut.
func connected(ep tcpip.Endpoint) bool {
	switch stateOf(ep) {
	case tcp.StateEstablished, tcp.StateCloseWait, tcp.StateFinWait1, tcp.StateFinWait2, tcp.StateClosing, tcp.StateLastAck:
		return true
	}
	return false
}

// LocalAddr implements net.Conn; the result is a *net.TCPAddr.
func (c *TCPConn) LocalAddr() net.Addr { return c.name.Local }

// RemoteAddr implements net.Conn; the result is a *net.TCPAddr.
func (c *TCPConn) RemoteAddr() net.Addr { return c.name.Remote }

// abort resets the connection because the stack ends.
func (c *TCPConn) abort() {
	c.end(true)
	c.ep.(*tcp.Endpoint).Abort()
}

// copyChunk is how much ReadFrom and WriteTo move at once.
const copyChunk = 64 << 10

// ReadFrom implements io.ReaderFrom: it sends what r gives until r ends. The error
// of a write is wrapped once more, as net does.
func (c *TCPConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.CopyBuffer(streamWriter{c}, r, make([]byte, copyChunk))
	if err != nil && err != io.EOF {
		err = c.name.ReadFrom(err)
	}
	return n, err
}

// WriteTo implements io.WriterTo: it passes on to w what arrives until the peer's
// end. The error of a read is wrapped once more, as net does.
func (c *TCPConn) WriteTo(w io.Writer) (int64, error) {
	n, err := io.CopyBuffer(w, streamReader{c}, make([]byte, copyChunk))
	if err != nil && err != io.EOF {
		err = c.name.CopyTo(err)
	}
	return n, err
}

// streamWriter and streamReader hide ReadFrom and WriteTo from io.CopyBuffer.
type streamWriter struct{ c *TCPConn }

func (w streamWriter) Write(p []byte) (int, error) { return w.c.Write(p) }

type streamReader struct{ c *TCPConn }

func (r streamReader) Read(p []byte) (int, error) { return r.c.Read(p) }

// errnoSet is what a refused option fails with.
func errnoSet(terr tcpip.Error) error {
	if terr == nil {
		return nil
	}
	return netapi.Syscall(netapi.CallSetsockopt, errnoOf(terr))
}
