package direct

import (
	"net"
	"net/netip"
	"syscall"

	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/tcp"
)

// Ready returns what can be done now without EAGAIN.
func (k *Socket) Ready() Readiness {
	k.mu.Lock()
	c, l, u, closed := k.conn, k.ln, k.udp, k.closed
	k.mu.Unlock()
	switch {
	case closed:
		return 0
	case c != nil:
		return c.ready()
	case l != nil:
		return l.readiness()
	case u != nil:
		return u.ready()
	case k.stream:
		return ReadyOut | ReadyHup // as Linux has it of a fresh socket
	}
	return ReadyOut
}

// Notify has f called whenever Ready may have changed; nil ends that. f runs on the
// goroutine that made the change, the receiver's for instance, without locks: it
// may use the socket, but must not block. It may come late or for nothing, and
// after Close it comes no more but for a call under way.
func (k *Socket) Notify(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notify = f
	switch {
	case k.conn != nil:
		k.conn.setNotify(f)
	case k.ln != nil:
		k.ln.setNotify(f)
	case k.udp != nil:
		k.udp.setNotify(f)
	}
}

// SetSockopt sets an option; see TCPConn.SetSockopt.
func (k *Socket) SetSockopt(level, name int, value []byte) error {
	if err := k.enter(); err != nil {
		return err
	}
	defer k.mu.Unlock()
	errno := syscall.Errno(0)
	switch {
	case k.stream && level == linuxopt.IPPROTO_TCP && name == linuxopt.TCP_FASTOPEN_CONNECT &&
		k.st.tcp.Load().FastOpen.NoClient && len(value) >= 4 && uint(linuxopt.GetInt(value)) <= 1:
		return syscall.EOPNOTSUPP
	case k.conn != nil:
		return errnoIn(k.conn.SetSockopt(level, name, value))
	case k.ln != nil:
		return errnoIn(k.ln.SetSockopt(level, name, value))
	case k.udp != nil:
		return errnoIn(k.udp.SetSockopt(level, name, value))
	case k.stream:
		errno = k.opt.set(level, name, value, tcp.StateClosed)
	default:
		errno = k.uopt.set(level, name, value)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// GetSockopt copies an option's value; see TCPConn.GetSockopt.
func (k *Socket) GetSockopt(level, name int, value []byte) (int, error) {
	if err := k.enter(); err != nil {
		return 0, err
	}
	defer k.mu.Unlock()
	var n int
	var err error
	switch {
	case k.conn != nil:
		n, err = k.conn.GetSockopt(level, name, value)
	case k.ln != nil:
		n, err = k.ln.GetSockopt(level, name, value)
	case k.udp != nil:
		n, err = k.udp.GetSockopt(level, name, value)
	default:
		v, errno := k.fresh(level, name)
		if errno != 0 {
			return 0, errno
		}
		return copyOption(level, name, value, v), nil
	}
	return n, errnoIn(err)
}

// fresh is GetSockopt of a socket that is neither connected nor listens.
func (k *Socket) fresh(level, name int) ([]byte, syscall.Errno) {
	if !k.stream {
		v, errno := k.uopt.get(level, name)
		return linuxopt.Int(v), errno
	}
	if level == linuxopt.IPPROTO_TCP && name == linuxopt.TCP_INFO {
		in := tcp.LinuxInfo{State: uint8(tcp.StateClosed), SndSsthresh: tcp.LinuxInfiniteThreshold, SndCwnd: 10, Reordering: 3}
		return in.Append(nil), 0
	}
	if level == linuxopt.IPPROTO_TCP && name == linuxopt.TCP_FASTOPEN_KEY {
		return k.st.fastKeysValue(&k.opt), 0
	}
	return k.opt.value(level, name, false)
}

// Pending returns how many bytes can be read (SIOCINQ), how many are written and
// not acknowledged (SIOCOUTQ), and how many of them were never sent (SIOCOUTQNSD).
func (k *Socket) Pending() (in, out, unsent int) {
	c, u, err := k.parts()
	switch {
	case err != nil:
	case u != nil:
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.n > 0 {
			in = u.queue[u.head].n
		}
	case c != nil:
		c.lock()
		defer c.unlock()
		in, unsent = c.tc.UnreadBytes(), c.tc.UnsentBytes()
		out = c.tc.UnackedBytes() + unsent
	}
	return in, out, unsent
}

// LocalAddr returns the socket's address; the zero one if it has none yet.
func (k *Socket) LocalAddr() netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.addr
}

// RemoteAddr returns the peer's address, the zero one if there is no peer.
func (k *Socket) RemoteAddr() netip.AddrPort {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.conn != nil:
		return k.conn.remoteAddr()
	case k.udp != nil && k.udp.connected:
		return k.udp.remote
	}
	return netip.AddrPort{}
}

// Conn returns the connection as a net.Conn, a *TCPConn or *UDPConn, whose calls
// wait; nil if there is none.
func (k *Socket) Conn() net.Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.conn != nil:
		return k.conn
	case k.udp != nil:
		return k.udp
	}
	return nil
}

// Listener returns the listener beneath, nil if the socket does not listen.
func (k *Socket) Listener() *TCPListener {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ln
}
