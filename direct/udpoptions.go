package direct

import (
	"syscall"

	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/ipv4"
)

// udpOptions is what the application set of a UDP socket.
type udpOptions struct {
	broadcast, reuseAddr, reusePort bool
	sendBuffer                      int // as asked for; datagrams are not queued on their way out
	ip                              ipOptions
}

// SetSockopt sets a socket option by Linux's numbers; see TCPConn.SetSockopt.
func (c *UDPConn) SetSockopt(level, name int, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.ep.SetOption(errClosed)
	}
	if errno := c.setsockopt(level, name, value); errno != 0 {
		return c.ep.SetOption(netapi.Syscall(netapi.CallSetsockopt, errno))
	}
	return nil
}

// GetSockopt copies the value of an option to value; see TCPConn.GetSockopt.
func (c *UDPConn) GetSockopt(level, name int, value []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, c.ep.SetOption(errClosed)
	}
	v, errno := c.getsockopt(level, name)
	if errno != 0 {
		return 0, c.ep.SetOption(netapi.Syscall(callGetsockopt, errno))
	}
	return copy(value, linuxopt.Int(v)), nil
}

func (c *UDPConn) setsockopt(level, name int, value []byte) syscall.Errno {
	if level == linuxopt.SOL_SOCKET && name == linuxopt.SO_RCVBUF && len(value) >= 4 {
		c.setLimit(linuxopt.GetInt(value))
		return 0
	}
	return c.opt.set(level, name, value)
}

// setLimit bounds the queue. c.mu is held.
func (c *UDPConn) setLimit(bytes int) {
	if bytes < 0 {
		bytes = 1 << 29
	}
	c.limit = max(2*min(bytes, 1<<29), udpMinReadBuffer)
}

func (c *UDPConn) getsockopt(level, name int) (int, syscall.Errno) {
	switch {
	case level == linuxopt.SOL_SOCKET && name == linuxopt.SO_RCVBUF:
		return c.limit, 0
	case level == linuxopt.SOL_SOCKET && name == linuxopt.SO_ERROR:
		return int(c.takePending()), 0
	case level == linuxopt.IPPROTO_IP && name == linuxopt.IP_MTU:
		if !c.connected {
			return 0, syscall.ENOTCONN
		}
		p := c.path
		p.ip = c.opt.ip
		return c.st.mtu(&p), 0
	}
	return c.opt.get(level, name)
}

func (o *udpOptions) set(level, name int, value []byte) syscall.Errno {
	if deferredOption(level, name) {
		return syscall.EOPNOTSUPP
	}
	if level == linuxopt.IPPROTO_IP && len(value) > 0 && len(value) < 4 {
		return o.ip.set(name, int(value[0]), false)
	}
	if level != linuxopt.SOL_SOCKET && level != linuxopt.IPPROTO_IP {
		return syscall.ENOPROTOOPT
	}
	if len(value) < 4 {
		return syscall.EINVAL
	}
	v := linuxopt.GetInt(value)
	if level == linuxopt.IPPROTO_IP {
		return o.ip.set(name, v, false)
	}
	switch name {
	case linuxopt.SO_BROADCAST:
		o.broadcast = v != 0
	case linuxopt.SO_REUSEADDR:
		o.reuseAddr = v != 0
	case linuxopt.SO_REUSEPORT:
		o.reusePort = v != 0
	case linuxopt.SO_SNDBUF:
		o.sendBuffer = sockBuffer(v, minSendBuffer)
	default:
		return syscall.ENOPROTOOPT
	}
	return 0
}

func (o *udpOptions) get(level, name int) (int, syscall.Errno) {
	switch level {
	case linuxopt.IPPROTO_IP:
		return o.ip.get(name, ipv4.DefaultTTL)
	case linuxopt.SOL_SOCKET:
		switch name {
		case linuxopt.SO_BROADCAST:
			return toInt(o.broadcast), 0
		case linuxopt.SO_REUSEADDR:
			return toInt(o.reuseAddr), 0
		case linuxopt.SO_REUSEPORT:
			return toInt(o.reusePort), 0
		case linuxopt.SO_SNDBUF:
			return 2 * or(o.sendBuffer, udpReadBuffer/2), 0
		case linuxopt.SO_TYPE:
			return linuxopt.SOCK_DGRAM, 0
		case linuxopt.SO_DOMAIN:
			return linuxopt.AF_INET, 0
		case linuxopt.SO_PROTOCOL:
			return linuxopt.IPPROTO_UDP, 0
		case linuxopt.SO_ACCEPTCONN, linuxopt.SO_ERROR:
			return 0, 0
		}
	}
	if level != linuxopt.SOL_SOCKET && level != linuxopt.IPPROTO_IP {
		return 0, syscall.EOPNOTSUPP // as Linux, where setting is ENOPROTOOPT
	}
	return 0, unknownOption(level, name)
}
