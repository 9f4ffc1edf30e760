// Package linuxopt is the numbers of Linux's socket options and the layout of their
// values, as every architecture but MIPS, PA-RISC, SPARC and Alpha has them. It is
// what direct's sockets and package sockopt agree on, on any operating system; it
// makes no system calls.
//
// Values are little-endian, whatever the machine: an int is 4 bytes, struct linger
// two ints, a string is its bytes.
package linuxopt

import "encoding/binary"

// Levels.
const (
	SOL_SOCKET  = 1
	IPPROTO_IP  = 0
	IPPROTO_TCP = 6
)

// Options of SOL_SOCKET.
const (
	SO_REUSEADDR       = 2
	SO_TYPE            = 3
	SO_ERROR           = 4
	SO_BROADCAST       = 6
	SO_SNDBUF          = 7
	SO_RCVBUF          = 8
	SO_KEEPALIVE       = 9
	SO_OOBINLINE       = 10
	SO_LINGER          = 13
	SO_REUSEPORT       = 15
	SO_RCVLOWAT        = 18
	SO_SNDLOWAT        = 19
	SO_TIMESTAMPNS     = 35
	SO_ACCEPTCONN      = 30
	SO_TIMESTAMP       = 29
	SO_TIMESTAMPING    = 37
	SO_PROTOCOL        = 38
	SO_DOMAIN          = 39
	SO_MAX_PACING_RATE = 47
	SO_ZEROCOPY        = 60
)

// Options of IPPROTO_TCP.
const (
	TCP_NODELAY            = 1
	TCP_MAXSEG             = 2
	TCP_CORK               = 3
	TCP_KEEPIDLE           = 4
	TCP_KEEPINTVL          = 5
	TCP_KEEPCNT            = 6
	TCP_SYNCNT             = 7
	TCP_LINGER2            = 8
	TCP_DEFER_ACCEPT       = 9
	TCP_WINDOW_CLAMP       = 10
	TCP_INFO               = 11
	TCP_QUICKACK           = 12
	TCP_CONGESTION         = 13
	TCP_MD5SIG             = 14
	TCP_USER_TIMEOUT       = 18
	TCP_REPAIR             = 19
	TCP_FASTOPEN           = 23
	TCP_TIMESTAMP          = 24
	TCP_NOTSENT_LOWAT      = 25
	TCP_CC_INFO            = 26
	TCP_SAVE_SYN           = 27
	TCP_SAVED_SYN          = 28
	TCP_FASTOPEN_CONNECT   = 30
	TCP_ULP                = 31
	TCP_MD5SIG_EXT         = 32
	TCP_FASTOPEN_KEY       = 33
	TCP_FASTOPEN_NO_COOKIE = 34
	TCP_ZEROCOPY_RECEIVE   = 35
	TCP_INQ                = 36
	TCP_TX_DELAY           = 37
	TCP_RTO_MAX_MS         = 44
	TCP_RTO_MIN_US         = 45
	TCP_DELACK_MAX_US      = 46
)

// Options of IPPROTO_IP.
const (
	IP_TOS          = 1
	IP_TTL          = 2
	IP_MTU_DISCOVER = 10
	IP_RECVERR      = 11
	IP_RECVTTL      = 12
	IP_RECVTOS      = 13
	IP_MTU          = 14
)

// Values of IP_MTU_DISCOVER.
const (
	PMTUDISC_DONT      = 0
	PMTUDISC_WANT      = 1
	PMTUDISC_DO        = 2
	PMTUDISC_PROBE     = 3
	PMTUDISC_INTERFACE = 4
	PMTUDISC_OMIT      = 5
)

// Other values that options give.
const (
	SOCK_STREAM = 1
	SOCK_DGRAM  = 2
	AF_INET     = 2
	IPPROTO_UDP = 17
	// CongestionNameMax is the size of a buffer for TCP_CONGESTION.
	CongestionNameMax = 16
)

// Int returns the value of an int option.
func Int(v int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(int32(v))) }

// GetInt reads the value of an int option, which has at least 4 bytes.
func GetInt(b []byte) int { return int(int32(binary.LittleEndian.Uint32(b))) }
