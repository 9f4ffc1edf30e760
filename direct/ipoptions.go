package direct

import (
	"syscall"

	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/ipv4"
)

// ipOptions are those of the packets of a socket. The zero value is the default.
type ipOptions struct {
	tos, ttl    uint8 // ttl 0: the default
	mtuDiscover uint8 // IP_MTU_DISCOVER plus 1; 0: the default
	recvErr     bool  // ICMP errors are told at once
}

func (o *ipOptions) discover() int {
	if o.mtuDiscover == 0 {
		return linuxopt.PMTUDISC_WANT
	}
	return int(o.mtuDiscover) - 1
}

// df reports whether packets carry DF.
func (o *ipOptions) df() bool {
	switch o.discover() {
	case linuxopt.PMTUDISC_WANT, linuxopt.PMTUDISC_DO, linuxopt.PMTUDISC_PROBE:
		return true
	}
	return false
}

// set changes an option of IPPROTO_IP; stream says that the ECN bits are the
// protocol's.
func (o *ipOptions) set(name, v int, stream bool) syscall.Errno {
	switch name {
	case linuxopt.IP_TOS:
		o.tos = uint8(v)
		if stream {
			o.tos &^= 3 // RFC 3168, section 5: the ECN field
		}
	case linuxopt.IP_TTL:
		if v != -1 && (v < 1 || v > 255) {
			return syscall.EINVAL
		}
		o.ttl = uint8(max(v, 0))
	case linuxopt.IP_MTU_DISCOVER:
		if v < linuxopt.PMTUDISC_DONT || v > linuxopt.PMTUDISC_OMIT {
			return syscall.EINVAL
		}
		o.mtuDiscover = uint8(v + 1)
	case linuxopt.IP_RECVERR:
		if !stream {
			return syscall.EOPNOTSUPP // the queue of errors is what it is about
		}
		o.recvErr = v != 0
	case linuxopt.IP_MTU:
		return syscall.ENOPROTOOPT
	default:
		return unknownOption(linuxopt.IPPROTO_IP, name)
	}
	return 0
}

func (o *ipOptions) get(name, defaultTTL int) (int, syscall.Errno) {
	switch name {
	case linuxopt.IP_TOS:
		return int(o.tos), 0
	case linuxopt.IP_TTL:
		if o.ttl == 0 {
			return defaultTTL, 0
		}
		return int(o.ttl), 0
	case linuxopt.IP_MTU_DISCOVER:
		return o.discover(), 0
	case linuxopt.IP_RECVERR:
		return toInt(o.recvErr), 0
	}
	return 0, unknownOption(linuxopt.IPPROTO_IP, name)
}

// adapts reports whether the packets follow what ICMP says of the path's MTU.
func (o *ipOptions) adapts() bool {
	switch o.discover() {
	case linuxopt.PMTUDISC_DONT, linuxopt.PMTUDISC_INTERFACE, linuxopt.PMTUDISC_OMIT:
		return false
	}
	return true
}

// hops is the packets' time to live.
func (o *ipOptions) hops() uint8 {
	if o.ttl == 0 {
		return ipv4.DefaultTTL
	}
	return o.ttl
}
