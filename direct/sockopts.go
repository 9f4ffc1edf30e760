package direct

import (
	"encoding/binary"
	"math"
	"strings"
	"syscall"
	"time"

	"github.com/netduet/netduet/internal/linuxopt"
	"github.com/netduet/netduet/tcp"
)

// Limits of option values, Linux's.
const (
	minUserMSS     = 88
	maxUserMSS     = 32767
	maxKeepSeconds = 32767
	maxKeepCount   = 127
	maxSynCount    = 127
	minWindowClamp = 2304 / 2 // half of the least receive buffer
	finTimeoutMax  = 120      // seconds
	finTimeout     = 60
	minRTOLeast    = 8000    // µs; Linux: two ticks, at the 250 a second that are most usual
	minRTOMost     = 200_000 // as of TCP_DELACK_MAX_US
	maxRTOLeast    = 1000    // ms
	maxRTOMost     = 120_000
	minSendBuffer  = 4608
	minRecvBuffer  = 2304
	maxSockBuffer  = tcp.MaxBuffer
	windowClampMax = 65535 << 14
)

// deferredOptions are those whose effect this stack does not have: setting and
// asking fails with EOPNOTSUPP, so that nobody relies on them, while a number that
// Linux does not know either fails with ENOPROTOOPT.
func deferredOption(level, name int) bool {
	type id struct{ level, name int }
	switch (id{level, name}) {
	case id{linuxopt.SOL_SOCKET, linuxopt.SO_TIMESTAMP},
		id{linuxopt.SOL_SOCKET, linuxopt.SO_TIMESTAMPNS},
		id{linuxopt.SOL_SOCKET, linuxopt.SO_TIMESTAMPING},
		id{linuxopt.SOL_SOCKET, linuxopt.SO_ZEROCOPY},
		id{linuxopt.IPPROTO_IP, linuxopt.IP_RECVTTL},
		id{linuxopt.IPPROTO_IP, linuxopt.IP_RECVTOS},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_MD5SIG},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_MD5SIG_EXT},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_REPAIR},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_TIMESTAMP},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_CC_INFO},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_SAVE_SYN},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_SAVED_SYN},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_ULP},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_ZEROCOPY_RECEIVE},
		id{linuxopt.IPPROTO_TCP, linuxopt.TCP_TX_DELAY}:
		return true
	}
	return false
}

// controllerFor returns the congestion controller called name. Those that Linux has
// and this stack has not are EOPNOTSUPP, other names ENOENT.
func controllerFor(name string) (func() tcp.Controller, syscall.Errno) {
	if cc := tcp.ControllerByName(name); cc != nil {
		return cc, 0
	}
	switch name {
	case "dctcp", "vegas", "westwood", "bic", "htcp", "cdg", "nv", "yeah", "illinois", "scalable", "highspeed", "hybla", "lp", "veno":
		return nil, syscall.EOPNOTSUPP
	}
	return nil, syscall.ENOENT
}

// tcpOptions is what the application set of a TCP socket, in the units in which it
// did. A listener's are its connections', too.
type tcpOptions struct {
	noDelay, cork, inq   bool
	oobInline            bool
	delayAcks            bool // TCP_QUICKACK was switched off
	reuseAddr, reusePort bool
	broadcast            bool
	keepAlive            tcp.KeepAlive
	linger               int // seconds; negative: Close does not wait
	maxSeg               int // 0: the path's
	userTimeout          time.Duration
	linger2              int // seconds; 0: finTimeout, negative: none
	synCount             int // 0: tcp.DefaultSynRetries
	deferAccept          int // SYN-ACK timeouts
	windowClamp          int
	notSentLowat         int // 0: unbounded
	minRTO, maxAckDelay  int // µs; 0: the default
	maxRTO               int // ms
	paced                bool
	maxPace              uint64 // bytes per second, if paced
	congestion           string
	sendBuffer           int // bytes; 0: the default
	recvBuffer           int
	recvLowat            int // from how many bytes on a socket is ready to be read; 0: one
	fastQueue            int // pending connections by Fast Open that a listener allows
	fastConnect          bool
	fastNoCookie         bool
	fastKeys             []tcp.FastOpenKey // nil: the stack's; never written
	ip                   ipOptions
}

func unknownOption(level, name int) syscall.Errno {
	if deferredOption(level, name) {
		return syscall.EOPNOTSUPP
	}
	return syscall.ENOPROTOOPT
}

// defaultOptions are those of a new socket.
func (s *Stack) defaultOptions() tcpOptions {
	o := tcpOptions{linger: -1, keepAlive: tcp.KeepAlive{Idle: 2 * time.Hour, Interval: 75 * time.Second, Count: 9}}
	o.begin(s.tcp.Load())
	return o
}

// begin takes over what of the stack's settings a socket shows as its own.
func (o *tcpOptions) begin(cfg *tcp.Config) {
	o.minRTO, o.maxAckDelay = int(cfg.MinRTO.Microseconds()), int(cfg.MaxDelayedACK.Microseconds())
	o.maxRTO = int(cfg.MaxRTO.Milliseconds())
	o.maxPace, o.paced = uint64(cfg.MaxPacingRate), cfg.MaxPacingRate > 0
}

// netOptions are the defaults of package net's connections.
func netOptions() *tcpOptions {
	return &tcpOptions{linger: -1, noDelay: true, keepAlive: defaultKeepAlive()}
}

// set changes an option; state is the socket's. The value is checked as Linux does.
func (o *tcpOptions) set(level, name int, value []byte, state tcp.State) syscall.Errno {
	if level == linuxopt.IPPROTO_TCP && name == linuxopt.TCP_CONGESTION {
		return o.setCongestion(value)
	}
	if level == linuxopt.IPPROTO_TCP && name == linuxopt.TCP_FASTOPEN_KEY {
		return o.setFastKeys(value)
	}
	if deferredOption(level, name) {
		return syscall.EOPNOTSUPP
	}
	if level == linuxopt.IPPROTO_IP && len(value) > 0 && len(value) < 4 {
		return o.ip.set(name, int(value[0]), true)
	}
	if len(value) < 4 {
		return syscall.EINVAL
	}
	v := linuxopt.GetInt(value)
	switch level {
	case linuxopt.SOL_SOCKET:
		return o.setSocket(name, v, value)
	case linuxopt.IPPROTO_TCP:
		return o.setTCP(name, v, state)
	case linuxopt.IPPROTO_IP:
		return o.ip.set(name, v, true)
	}
	return syscall.ENOPROTOOPT
}

func (o *tcpOptions) setCongestion(value []byte) syscall.Errno {
	if len(value) < 1 {
		return syscall.EINVAL
	}
	name, _, _ := strings.Cut(string(value[:min(len(value), linuxopt.CongestionNameMax-1)]), "\x00")
	if _, errno := controllerFor(name); errno != 0 {
		return errno
	}
	o.congestion = name
	return 0
}

func (o *tcpOptions) setSocket(name, v int, value []byte) syscall.Errno {
	switch name {
	case linuxopt.SO_REUSEADDR:
		o.reuseAddr = v != 0
	case linuxopt.SO_REUSEPORT:
		o.reusePort = v != 0
	case linuxopt.SO_BROADCAST:
		o.broadcast = v != 0
	case linuxopt.SO_OOBINLINE:
		o.oobInline = v != 0
	case linuxopt.SO_KEEPALIVE:
		o.keepAlive.Enable = v != 0
	case linuxopt.SO_SNDBUF:
		o.sendBuffer = sockBuffer(v, minSendBuffer)
	case linuxopt.SO_RCVBUF:
		o.recvBuffer = sockBuffer(v, minRecvBuffer)
	case linuxopt.SO_RCVLOWAT:
		if v < 0 {
			v = math.MaxInt32
		}
		o.recvLowat = v
	case linuxopt.SO_MAX_PACING_RATE:
		o.maxPace, o.paced = uint64(uint32(v)), v != -1
		if len(value) >= 8 {
			o.maxPace = binary.LittleEndian.Uint64(value)
			o.paced = o.maxPace != math.MaxUint64
		}
	case linuxopt.SO_LINGER:
		if len(value) < 8 {
			return syscall.EINVAL
		}
		o.linger = -1
		if v != 0 {
			o.linger = max(linuxopt.GetInt(value[4:]), 0)
		}
	case linuxopt.SO_TYPE, linuxopt.SO_ERROR, linuxopt.SO_DOMAIN, linuxopt.SO_PROTOCOL, linuxopt.SO_ACCEPTCONN:
		return syscall.ENOPROTOOPT
	default:
		return syscall.ENOPROTOOPT
	}
	return 0
}

// sockBuffer is what SO_SNDBUF and SO_RCVBUF grant: half of what getsockopt shows,
// which counts overhead in.
func sockBuffer(v, least int) int {
	if v < 0 {
		v = 1 << 30 // unsigned in Linux
	}
	return max(min(v, maxSockBuffer), least/2)
}

func (o *tcpOptions) setTCP(name, v int, state tcp.State) syscall.Errno {
	within := func(lo, hi int) bool { return lo <= v && v <= hi }
	ok := true
	switch name {
	case linuxopt.TCP_NODELAY:
		o.noDelay = v != 0
	case linuxopt.TCP_CORK:
		o.cork = v != 0
	case linuxopt.TCP_MAXSEG:
		if ok = v == 0 || within(minUserMSS, maxUserMSS); ok {
			o.maxSeg = v
		}
	case linuxopt.TCP_KEEPIDLE:
		if ok = within(1, maxKeepSeconds); ok {
			o.keepAlive.Idle = time.Duration(v) * time.Second
		}
	case linuxopt.TCP_KEEPINTVL:
		if ok = within(1, maxKeepSeconds); ok {
			o.keepAlive.Interval = time.Duration(v) * time.Second
		}
	case linuxopt.TCP_KEEPCNT:
		if ok = within(1, maxKeepCount); ok {
			o.keepAlive.Count = v
		}
	case linuxopt.TCP_SYNCNT:
		if ok = within(1, maxSynCount); ok {
			o.synCount = v
		}
	case linuxopt.TCP_LINGER2:
		o.linger2 = max(min(v, finTimeoutMax), -1)
	case linuxopt.TCP_DEFER_ACCEPT:
		o.deferAccept = secondsToTimeouts(v)
	case linuxopt.TCP_WINDOW_CLAMP:
		switch {
		case v != 0:
			o.windowClamp = min(max(v, minWindowClamp), windowClampMax)
		case state == tcp.StateClosed:
			o.windowClamp = 0
		default:
			ok = false
		}
	case linuxopt.TCP_USER_TIMEOUT:
		if ok = v >= 0; ok {
			o.userTimeout = time.Duration(v) * time.Millisecond
		}
	case linuxopt.TCP_NOTSENT_LOWAT:
		o.notSentLowat = v // unsigned: negative is unbounded
	case linuxopt.TCP_RTO_MIN_US:
		if ok = within(minRTOLeast, minRTOMost); ok {
			o.minRTO = v
		}
	case linuxopt.TCP_DELACK_MAX_US:
		if ok = within(minRTOLeast, minRTOMost); ok {
			o.maxAckDelay = v
		}
	case linuxopt.TCP_RTO_MAX_MS:
		if ok = within(maxRTOLeast, maxRTOMost); ok {
			o.maxRTO = v
		}
	case linuxopt.TCP_INQ:
		if ok = within(0, 1); ok {
			o.inq = v == 1
		}
	case linuxopt.TCP_FASTOPEN:
		if ok = v >= 0 && (state == tcp.StateClosed || state == tcp.StateListen); ok {
			o.fastQueue = min(v, listenBacklog)
		}
	case linuxopt.TCP_FASTOPEN_CONNECT:
		if ok = within(0, 1) && state == tcp.StateClosed; ok {
			o.fastConnect = v == 1
		}
	case linuxopt.TCP_FASTOPEN_NO_COOKIE:
		if ok = within(0, 1) && (state == tcp.StateClosed || state == tcp.StateListen); ok {
			o.fastNoCookie = v == 1
		}
	case linuxopt.TCP_QUICKACK: // of a connection, its own
		o.delayAcks = v == 0 && state == tcp.StateClosed
	default:
		return syscall.ENOPROTOOPT
	}
	if !ok {
		return syscall.EINVAL
	}
	return 0
}

// get returns the value of an option for which the socket's settings are all that
// matters.
func (o *tcpOptions) get(level, name int) (int, syscall.Errno) {
	switch level {
	case linuxopt.SOL_SOCKET:
		return o.getSocket(name)
	case linuxopt.IPPROTO_TCP:
		return o.getTCP(name)
	}
	return 0, unknownOption(level, name)
}

func (o *tcpOptions) getSocket(name int) (int, syscall.Errno) {
	switch name {
	case linuxopt.SO_REUSEADDR:
		return toInt(o.reuseAddr), 0
	case linuxopt.SO_REUSEPORT:
		return toInt(o.reusePort), 0
	case linuxopt.SO_BROADCAST:
		return toInt(o.broadcast), 0
	case linuxopt.SO_OOBINLINE:
		return toInt(o.oobInline), 0
	case linuxopt.SO_KEEPALIVE:
		return toInt(o.keepAlive.Enable), 0
	case linuxopt.SO_SNDBUF:
		return or(2*o.sendBuffer, tcp.DefaultSendBuffer), 0
	case linuxopt.SO_RCVBUF:
		return 2 * or(o.recvBuffer, tcp.DefaultReceiveBuffer), 0
	case linuxopt.SO_RCVLOWAT:
		return or(o.recvLowat, 1), 0
	case linuxopt.SO_SNDLOWAT:
		return 1, 0 // and cannot be set, as in Linux
	case linuxopt.SO_TYPE:
		return linuxopt.SOCK_STREAM, 0
	case linuxopt.SO_DOMAIN:
		return linuxopt.AF_INET, 0
	case linuxopt.SO_PROTOCOL:
		return linuxopt.IPPROTO_TCP, 0
	}
	return 0, unknownOption(linuxopt.SOL_SOCKET, name)
}

func (o *tcpOptions) getTCP(name int) (int, syscall.Errno) {
	switch name {
	case linuxopt.TCP_NODELAY:
		return toInt(o.noDelay), 0
	case linuxopt.TCP_CORK:
		return toInt(o.cork), 0
	case linuxopt.TCP_MAXSEG:
		return or(o.maxSeg, tcp.DefaultMSS), 0
	case linuxopt.TCP_KEEPIDLE:
		return int(o.keepAlive.Idle / time.Second), 0
	case linuxopt.TCP_KEEPINTVL:
		return int(o.keepAlive.Interval / time.Second), 0
	case linuxopt.TCP_KEEPCNT:
		return o.keepAlive.Count, 0
	case linuxopt.TCP_SYNCNT:
		return or(o.synCount, tcp.DefaultSynRetries), 0
	case linuxopt.TCP_LINGER2:
		return or(o.linger2, finTimeout), 0
	case linuxopt.TCP_DEFER_ACCEPT:
		return timeoutsToSeconds(o.deferAccept), 0
	case linuxopt.TCP_WINDOW_CLAMP:
		return o.windowClamp, 0
	case linuxopt.TCP_USER_TIMEOUT:
		return int(o.userTimeout / time.Millisecond), 0
	case linuxopt.TCP_NOTSENT_LOWAT:
		return o.notSentLowat, 0
	case linuxopt.TCP_RTO_MIN_US:
		return or(o.minRTO, minRTOMost), 0
	case linuxopt.TCP_DELACK_MAX_US:
		return or(o.maxAckDelay, minRTOMost), 0
	case linuxopt.TCP_RTO_MAX_MS:
		return or(o.maxRTO, maxRTOMost), 0
	case linuxopt.TCP_INQ:
		return toInt(o.inq), 0
	case linuxopt.TCP_QUICKACK:
		return 1, 0
	case linuxopt.TCP_FASTOPEN:
		return o.fastQueue, 0
	case linuxopt.TCP_FASTOPEN_CONNECT:
		return toInt(o.fastConnect), 0
	case linuxopt.TCP_FASTOPEN_NO_COOKIE:
		return toInt(o.fastNoCookie), 0
	}
	return 0, unknownOption(linuxopt.IPPROTO_TCP, name)
}

func (o *tcpOptions) congestionName() string {
	if o.congestion == "" {
		return "cubic"
	}
	return o.congestion
}

// config lets the options into what a connection is made with.
func (o *tcpOptions) config(cfg *tcp.Config) {
	cfg.NoDelay, cfg.KeepAlive = o.noDelay, o.keepAlive
	if o.maxSeg > 0 {
		cfg.MSS = min(cfg.MSS, o.maxSeg)
	}
	if o.userTimeout > 0 {
		cfg.UserTimeout = o.userTimeout
	}
	if o.synCount > 0 {
		cfg.SynRetries, cfg.SynAckRetries = o.synCount, o.synCount
	}
	cfg.SendBuffer, cfg.ReceiveBuffer = or(o.sendBuffer, cfg.SendBuffer), or(o.recvBuffer, cfg.ReceiveBuffer)
	cfg.WindowClamp = or(o.windowClamp, cfg.WindowClamp)
	if o.minRTO > 0 {
		cfg.MinRTO = time.Duration(o.minRTO) * time.Microsecond
	}
	if o.maxRTO > 0 {
		cfg.MaxRTO = time.Duration(o.maxRTO) * time.Millisecond
	}
	if o.maxAckDelay > 0 {
		cfg.MaxDelayedACK = time.Duration(o.maxAckDelay) * time.Microsecond
	}
	if o.paced {
		cfg.MaxPacingRate = o.pace()
	}
	if o.congestion != "" {
		if cc, errno := controllerFor(o.congestion); errno == 0 {
			cfg.Controller = cc
		}
	}
}

// start sets what a new connection's configuration does not have.
func (o *tcpOptions) start(c *tcp.Conn) {
	c.SetCork(o.cork)
	c.SetUrgentInline(o.oobInline)
	c.SetDataFollows(o.deferAccept > 0 || o.delayAcks)
	c.SetFinWait(time.Duration(o.linger2) * time.Second)
	c.SetNotSentLowat(max(o.notSentLowat, 0))
	if o.recvLowat > 1 {
		c.SetReceiveLowat(o.recvLowat)
	}
}

// pace is the bound of the pacing rate; 0 for none.
func (o *tcpOptions) pace() int64 {
	if !o.paced {
		return 0
	}
	return int64(min(o.maxPace, math.MaxInt64))
}

// paceValue is SO_MAX_PACING_RATE, of eight bytes; see copyOption.
func (o *tcpOptions) paceValue() []byte {
	rate := o.maxPace
	if !o.paced {
		rate = math.MaxUint64
	}
	return binary.LittleEndian.AppendUint64(nil, rate)
}

// copyOption copies an option's value. Who asks for four bytes of a rate gets it as if it
// were the largest of those if it is more.
func copyOption(level, name int, value, v []byte) int {
	if level == linuxopt.SOL_SOCKET && name == linuxopt.SO_MAX_PACING_RATE && len(value) < len(v) {
		v = linuxopt.Int(int(min(binary.LittleEndian.Uint64(v), math.MaxUint32)))
	}
	return copy(value, v)
}

// secondsToTimeouts is how many retransmissions, a second after the SYN-ACK and then
// twice as long each, last for that many seconds.
func secondsToTimeouts(seconds int) int {
	n, period, timeout := 0, 0, 1
	for seconds > period && n < 255 {
		n++
		period += timeout
		timeout = min(2*timeout, 120)
	}
	return n
}

func timeoutsToSeconds(n int) int {
	period, timeout := 0, 1
	for ; n > 0; n-- {
		period += timeout
		timeout = min(2*timeout, 120)
	}
	return period
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func or(v, standard int) int {
	if v == 0 {
		return standard
	}
	return v
}
