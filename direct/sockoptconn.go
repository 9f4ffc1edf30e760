package direct

import (
	"syscall"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/ipv4"
	"github.com/netduet/netduet/tcp"
)

// SetSockopt sets a socket option by Linux's numbers, with a value in the layout of
// a little-endian Linux, on any operating system. Package sockopt has typed
// functions for it. The cause of an error is a syscall.Errno: ENOPROTOOPT for an
// unknown option, EOPNOTSUPP for one whose effect this stack does not have, EINVAL
// for a bad value.
func (c *TCPConn) SetSockopt(level, name int, value []byte) error {
	c.lock()
	defer c.unlock()
	if err := c.gone(); err != nil {
		return c.endpoint().SetOption(err)
	}
	if errno := c.setsockopt(level, name, value); errno != 0 {
		return c.endpoint().SetOption(netapi.Syscall(netapi.CallSetsockopt, errno))
	}
	return nil
}

// setsockopt is SetSockopt with c.mu held.
func (c *TCPConn) setsockopt(level, name int, value []byte) syscall.Errno {
	if errno := c.changeOptions().set(level, name, value, c.tc.State()); errno != 0 {
		return errno
	}
	now := c.at(c.st.clk.Now())
	switch level {
	case linuxopt.SOL_SOCKET:
		c.applySocket(now, name)
	case linuxopt.IPPROTO_TCP:
		c.applyTCP(now, name, value)
	}
	c.drive(now, tcp.OutputAll)
	return 0
}

// GetSockopt copies the value of an option to value, as much as there is room for,
// and returns how much that is. See SetSockopt. TCP_INFO gives struct tcp_info;
// SO_ERROR the pending error, and clears it.
func (c *TCPConn) GetSockopt(level, name int, value []byte) (int, error) {
	c.lock()
	defer c.unlock()
	if err := c.gone(); err != nil {
		return 0, c.endpoint().SetOption(err)
	}
	v, errno := c.getsockopt(level, name)
	if errno != 0 {
		return 0, c.endpoint().SetOption(netapi.Syscall(callGetsockopt, errno))
	}
	return copyOption(level, name, value, v), nil
}

const callGetsockopt = "getsockopt"

// getsockopt is GetSockopt with c.mu held.
func (c *TCPConn) getsockopt(level, name int) ([]byte, syscall.Errno) {
	switch level {
	case linuxopt.SOL_SOCKET:
		switch name {
		case linuxopt.SO_LINGER:
			return lingerValue(c.options().linger), 0
		case linuxopt.SO_MAX_PACING_RATE:
			return c.options().paceValue(), 0
		case linuxopt.SO_ERROR:
			errno := c.takeError()
			if soft := c.tc.Soft(errno == 0); errno == 0 && soft != nil {
				errno = errnoOf(soft) // as Linux: who asks is told of what may pass, too
			}
			return linuxopt.Int(int(errno)), 0
		case linuxopt.SO_ACCEPTCONN:
			return linuxopt.Int(0), 0
		case linuxopt.SO_SNDBUF:
			n, _ := c.tc.Buffers()
			return linuxopt.Int(or(2*c.options().sendBuffer, n)), 0
		case linuxopt.SO_RCVBUF:
			_, n := c.tc.Buffers()
			return linuxopt.Int(2 * or(c.options().recvBuffer, n)), 0
		}
	case linuxopt.IPPROTO_TCP:
		switch name {
		case linuxopt.TCP_INFO:
			in := c.linuxInfo()
			return in.Append(nil), 0
		case linuxopt.TCP_CONGESTION:
			return congestionValue(c.options()), 0
		case linuxopt.TCP_MAXSEG:
			return linuxopt.Int(c.tc.MaxSegment()), 0
		case linuxopt.TCP_QUICKACK:
			return linuxopt.Int(toInt(c.tc.QuickAck())), 0
		case linuxopt.TCP_WINDOW_CLAMP:
			return linuxopt.Int(c.tc.WindowClamp()), 0
		case linuxopt.TCP_FASTOPEN_KEY:
			return c.st.fastKeysValue(c.options()), 0
		case linuxopt.TCP_RTO_MIN_US:
			return linuxopt.Int(int(c.tc.MinRTO().Microseconds())), 0
		case linuxopt.TCP_RTO_MAX_MS:
			return linuxopt.Int(int(c.tc.MaxRTO().Milliseconds())), 0
		}
	case linuxopt.IPPROTO_IP:
		if name == linuxopt.IP_MTU {
			p := c.path()
			return linuxopt.Int(c.st.mtu(&p)), 0
		}
		v, errno := c.options().ip.get(name, ipv4.DefaultTTL)
		return linuxopt.Int(v), errno
	}
	v, errno := c.options().get(level, name)
	return linuxopt.Int(v), errno
}

// takeError returns the pending error and clears it. c.mu is held.
func (c *TCPConn) takeError() syscall.Errno {
	if c.told() {
		return errnoOf(c.tc.Soft(true))
	}
	err := c.tc.Err()
	if err == nil || c.errTaken {
		return 0
	}
	c.errTaken = true
	return errnoOf(err)
}

// told reports whether an ICMP error is pending that the application wants to be told
// of at once (IP_RECVERR). c.mu is held.
func (c *TCPConn) told() bool { return c.options().ip.recvErr && c.tc.Soft(false) != nil }

// linuxInfo is the connection's struct tcp_info. c.mu is held.
func (c *TCPConn) linuxInfo() tcp.LinuxInfo {
	in := c.tc.LinuxInfo(c.at(c.st.clk.Now()))
	p := c.path()
	in.PMTU = uint32(c.st.mtu(&p))
	return in
}

func lingerValue(sec int) []byte {
	return append(linuxopt.Int(toInt(sec >= 0)), linuxopt.Int(max(sec, 0))...)
}

func congestionValue(o *tcpOptions) []byte {
	b := make([]byte, linuxopt.CongestionNameMax)
	copy(b, o.congestionName())
	return b
}

func (c *TCPConn) applySocket(now clock.Time, name int) {
	switch name {
	case linuxopt.SO_KEEPALIVE:
		c.tc.SetKeepAlive(now, c.options().keepAlive)
	case linuxopt.SO_OOBINLINE:
		c.tc.SetUrgentInline(c.options().oobInline)
	case linuxopt.SO_SNDBUF:
		c.tc.SetBuffers(c.options().sendBuffer, 0)
	case linuxopt.SO_RCVBUF:
		c.tc.SetBuffers(0, c.options().recvBuffer)
	case linuxopt.SO_RCVLOWAT:
		c.tc.SetReceiveLowat(c.options().recvLowat)
	case linuxopt.SO_MAX_PACING_RATE:
		c.tc.SetMaxPacingRate(c.options().pace())
	}
}

func (c *TCPConn) applyTCP(now clock.Time, name int, value []byte) {
	o := c.options()
	switch name {
	case linuxopt.TCP_NODELAY:
		c.tc.SetNoDelay(now, o.noDelay)
	case linuxopt.TCP_CORK:
		c.tc.SetCork(o.cork)
	case linuxopt.TCP_KEEPIDLE, linuxopt.TCP_KEEPINTVL, linuxopt.TCP_KEEPCNT:
		c.tc.SetKeepAlive(now, o.keepAlive)
	case linuxopt.TCP_SYNCNT:
		c.tc.SetSynRetries(o.synCount)
	case linuxopt.TCP_LINGER2:
		c.tc.SetFinWait(time.Duration(o.linger2) * time.Second)
	case linuxopt.TCP_WINDOW_CLAMP:
		c.tc.SetWindowClamp(o.windowClamp)
	case linuxopt.TCP_USER_TIMEOUT:
		c.tc.SetUserTimeout(o.userTimeout)
	case linuxopt.TCP_NOTSENT_LOWAT:
		c.tc.SetNotSentLowat(max(o.notSentLowat, 0))
	case linuxopt.TCP_RTO_MIN_US:
		c.tc.SetMinRTO(time.Duration(o.minRTO) * time.Microsecond)
	case linuxopt.TCP_RTO_MAX_MS:
		c.tc.SetMaxRTO(time.Duration(o.maxRTO) * time.Millisecond)
	case linuxopt.TCP_DELACK_MAX_US:
		c.tc.SetMaxDelayedACK(time.Duration(o.maxAckDelay) * time.Microsecond)
	case linuxopt.TCP_QUICKACK:
		v := linuxopt.GetInt(value)
		if waits := c.tc.SetQuickAck(now, v != 0); waits && v&1 == 0 { // as Linux: this once only
			c.drive(now, tcp.OutputAll)
			c.tc.SetQuickAck(now, false)
		}
	case linuxopt.TCP_CONGESTION:
		if cc, errno := controllerFor(o.congestion); errno == 0 {
			c.tc.SetController(now, cc())
		}
	}
}

// SetSockopt is TCPConn.SetSockopt for the listener; connections accepted from now
// on have the option, too.
func (l *TCPListener) SetSockopt(level, name int, value []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.ep.SetOption(errClosed)
	}
	l.shared = nil
	if errno := l.opt.set(level, name, value, tcp.StateListen); errno != 0 {
		return l.ep.SetOption(netapi.Syscall(netapi.CallSetsockopt, errno))
	}
	return nil
}

// GetSockopt is TCPConn.GetSockopt for the listener.
func (l *TCPListener) GetSockopt(level, name int, value []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, l.ep.SetOption(errClosed)
	}
	if level == linuxopt.IPPROTO_TCP && name == linuxopt.TCP_INFO {
		// Of a listener Linux tells how many connections wait, and how many may.
		in := tcp.LinuxInfo{State: uint8(tcp.StateListen), SndCwnd: 10, Reordering: 3, Unacked: uint32(len(l.queue)), Sacked: uint32(l.backlog - 1)}
		return copy(value, in.Append(nil)), nil
	}
	if level == linuxopt.IPPROTO_TCP && name == linuxopt.TCP_FASTOPEN_KEY {
		return copy(value, l.st.fastKeysValue(&l.opt)), nil
	}
	v, errno := l.opt.value(level, name, true)
	if errno != 0 {
		return 0, l.ep.SetOption(netapi.Syscall(callGetsockopt, errno))
	}
	return copyOption(level, name, value, v), nil
}

// value returns an option's value of a socket without a connection.
func (o *tcpOptions) value(level, name int, listening bool) ([]byte, syscall.Errno) {
	switch {
	case level == linuxopt.SOL_SOCKET && name == linuxopt.SO_LINGER:
		return lingerValue(o.linger), 0
	case level == linuxopt.SOL_SOCKET && name == linuxopt.SO_MAX_PACING_RATE:
		return o.paceValue(), 0
	case level == linuxopt.SOL_SOCKET && name == linuxopt.SO_ERROR:
		return linuxopt.Int(0), 0
	case level == linuxopt.SOL_SOCKET && name == linuxopt.SO_ACCEPTCONN:
		return linuxopt.Int(toInt(listening)), 0
	case level == linuxopt.IPPROTO_TCP && name == linuxopt.TCP_CONGESTION:
		return congestionValue(o), 0
	case level == linuxopt.IPPROTO_IP && name == linuxopt.IP_MTU:
		return nil, syscall.ENOTCONN
	case level == linuxopt.IPPROTO_IP:
		v, errno := o.ip.get(name, ipv4.DefaultTTL)
		return linuxopt.Int(v), errno
	}
	v, errno := o.get(level, name)
	return linuxopt.Int(v), errno
}
