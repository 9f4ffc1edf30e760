package sockopt

import (
	"bytes"
	"encoding/binary"
	"math"
	"syscall"
	"time"

	"github.com/netduet/netduet/internal/linuxopt"
)

// SetCongestion chooses the congestion control by its name: "cubic", "reno", "bbr"
// (TCP_CONGESTION). ENOENT is the answer to an unknown name.
func SetCongestion(conn any, name string) error {
	s, err := Of(conn)
	if err != nil {
		return err
	}
	return s.SetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_CONGESTION, []byte(name))
}

// Congestion returns the congestion control's name.
func Congestion(conn any) (string, error) {
	s, err := Of(conn)
	if err != nil {
		return "", err
	}
	b := make([]byte, linuxopt.CongestionNameMax)
	n, err := s.GetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_CONGESTION, b)
	b, _, _ = bytes.Cut(b[:n], []byte{0})
	return string(b), err
}

// SetNoDelay switches Nagle's algorithm off or on (TCP_NODELAY).
func SetNoDelay(conn any, on bool) error {
	return setBool(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_NODELAY, on)
}

// NoDelay reports whether Nagle's algorithm is off.
func NoDelay(conn any) (bool, error) {
	return getBool(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_NODELAY)
}

// SetCork holds segments that are not full back, for 200 ms at most, until it is
// taken off (TCP_CORK).
func SetCork(conn any, on bool) error {
	return setBool(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_CORK, on)
}

// Cork reports whether the connection is corked.
func Cork(conn any) (bool, error) { return getBool(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_CORK) }

// SetMaxSegment bounds segments to so many bytes, from 88 to 32767; 0 leaves it to
// the path (TCP_MAXSEG). It has its effect on connections that are opened later: set
// it on a listener, or before connecting.
func SetMaxSegment(conn any, n int) error {
	return SetInt(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_MAXSEG, n)
}

// MaxSegment returns how much data a full segment carries.
func MaxSegment(conn any) (int, error) { return Int(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_MAXSEG) }

// SetUserTimeout bounds how long data may stay unacknowledged, to a millisecond; 0
// leaves it to the retransmissions (TCP_USER_TIMEOUT; RFC 5482). It is counted from the
// first repetition, and bounds a handshake, data at a closed window, and keep-alive
// probes, too.
func SetUserTimeout(conn any, d time.Duration) error {
	return setDuration(conn, linuxopt.TCP_USER_TIMEOUT, d, time.Millisecond)
}

// UserTimeout returns the bound.
func UserTimeout(conn any) (time.Duration, error) {
	return duration(conn, linuxopt.TCP_USER_TIMEOUT, time.Millisecond)
}

// SetFinWait bounds FIN-WAIT-2 of a closed connection, in seconds up to 120; 0 is
// the system's default, negative resets at once (TCP_LINGER2).
func SetFinWait(conn any, d time.Duration) error {
	return setDuration(conn, linuxopt.TCP_LINGER2, d, time.Second)
}

// FinWait returns the bound.
func FinWait(conn any) (time.Duration, error) {
	return duration(conn, linuxopt.TCP_LINGER2, time.Second)
}

// SetSynRetries sets how often a SYN is repeated, from 1 to 127 (TCP_SYNCNT); of a
// listener, how often the answer to one is. Some repetitions a second apart come before
// those of a SYN, as far as the time allows that they take.
func SetSynRetries(conn any, n int) error {
	return SetInt(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_SYNCNT, n)
}

// SynRetries returns how often a SYN is repeated.
func SynRetries(conn any) (int, error) { return Int(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_SYNCNT) }

// SetDeferAccept has a listener hand out connections when their first data is there,
// or after about d; whole seconds, 0 not at all (TCP_DEFER_ACCEPT).
func SetDeferAccept(l any, d time.Duration) error {
	return setDuration(l, linuxopt.TCP_DEFER_ACCEPT, d, time.Second)
}

// DeferAccept returns the time, rounded up to what retransmissions make of it.
func DeferAccept(l any) (time.Duration, error) {
	return duration(l, linuxopt.TCP_DEFER_ACCEPT, time.Second)
}

// SetKeepAlive switches keep-alive probes on or off (SO_KEEPALIVE).
func SetKeepAlive(conn any, on bool) error {
	return setBool(conn, linuxopt.SOL_SOCKET, linuxopt.SO_KEEPALIVE, on)
}

// KeepAlive reports whether keep-alive probes are on.
func KeepAlive(conn any) (bool, error) {
	return getBool(conn, linuxopt.SOL_SOCKET, linuxopt.SO_KEEPALIVE)
}

// SetKeepIdle sets how long nothing is heard before the first probe, in seconds from
// 1 to 32767 (TCP_KEEPIDLE).
func SetKeepIdle(conn any, d time.Duration) error {
	return setDuration(conn, linuxopt.TCP_KEEPIDLE, d, time.Second)
}

// KeepIdle returns how long nothing is heard before the first probe.
func KeepIdle(conn any) (time.Duration, error) {
	return duration(conn, linuxopt.TCP_KEEPIDLE, time.Second)
}

// SetKeepInterval sets the time between probes, in seconds from 1 to 32767
// (TCP_KEEPINTVL).
func SetKeepInterval(conn any, d time.Duration) error {
	return setDuration(conn, linuxopt.TCP_KEEPINTVL, d, time.Second)
}

// KeepInterval returns the time between probes.
func KeepInterval(conn any) (time.Duration, error) {
	return duration(conn, linuxopt.TCP_KEEPINTVL, time.Second)
}

// SetKeepCount sets after how many unanswered probes the connection ends, from 1 to
// 127 (TCP_KEEPCNT).
func SetKeepCount(conn any, n int) error {
	return SetInt(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_KEEPCNT, n)
}

// KeepCount returns after how many unanswered probes the connection ends.
func KeepCount(conn any) (int, error) { return Int(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_KEEPCNT) }

// SetQuickAck has acknowledgements leave at once, or wait for an answer; the
// connection goes on adapting by itself (TCP_QUICKACK).
func SetQuickAck(conn any, on bool) error {
	return setBool(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_QUICKACK, on)
}

// QuickAck reports whether acknowledgements leave without waiting for an answer.
func QuickAck(conn any) (bool, error) {
	return getBool(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_QUICKACK)
}

// SetWindowClamp bounds the window that is announced, in bytes, from 1152 on
// (TCP_WINDOW_CLAMP).
func SetWindowClamp(conn any, n int) error {
	return SetInt(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_WINDOW_CLAMP, n)
}

// WindowClamp returns the bound.
func WindowClamp(conn any) (int, error) {
	return Int(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_WINDOW_CLAMP)
}

// SetNotSentLowat has writes wait while so many bytes or more were never sent; 0 is
// the system's default (TCP_NOTSENT_LOWAT).
func SetNotSentLowat(conn any, n int) error {
	return SetInt(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_NOTSENT_LOWAT, n)
}

// NotSentLowat returns the bound.
func NotSentLowat(conn any) (int, error) {
	return Int(conn, linuxopt.IPPROTO_TCP, linuxopt.TCP_NOTSENT_LOWAT)
}

// SetMinRTO sets the least that the retransmission timeout is above the round trip, from 8
// to 200 ms (TCP_RTO_MIN_US; Linux since 6.15 has it, in ticks of the kernel's timer). Within
// a data centre 200 ms, the default, are a thousand round trips.
func SetMinRTO(conn any, d time.Duration) error {
	return setDuration(conn, linuxopt.TCP_RTO_MIN_US, d, time.Microsecond)
}

// MinRTO returns it.
func MinRTO(conn any) (time.Duration, error) {
	return duration(conn, linuxopt.TCP_RTO_MIN_US, time.Microsecond)
}

// SetMaxRTO sets the largest retransmission timeout, from 1 to 120 s (TCP_RTO_MAX_MS; Linux
// since 6.15).
func SetMaxRTO(conn any, d time.Duration) error {
	return setDuration(conn, linuxopt.TCP_RTO_MAX_MS, d, time.Millisecond)
}

// MaxRTO returns it.
func MaxRTO(conn any) (time.Duration, error) {
	return duration(conn, linuxopt.TCP_RTO_MAX_MS, time.Millisecond)
}

// SetMaxDelayedACK sets for how long an acknowledgement waits at most, from 8 to 200 ms
// (TCP_DELACK_MAX_US; Linux since 6.15, in ticks). The peer's least retransmission timeout
// should be longer.
func SetMaxDelayedACK(conn any, d time.Duration) error {
	return setDuration(conn, linuxopt.TCP_DELACK_MAX_US, d, time.Microsecond)
}

// MaxDelayedACK returns it.
func MaxDelayedACK(conn any) (time.Duration, error) {
	return duration(conn, linuxopt.TCP_DELACK_MAX_US, time.Microsecond)
}

// Unpaced is the pacing rate that bounds nothing.
const Unpaced = math.MaxUint64

// SetMaxPacingRate bounds how fast data leaves, in bytes per second; [Unpaced] takes the
// bound off (SO_MAX_PACING_RATE). The first ten segments of a connection do not wait.
func SetMaxPacingRate(conn any, rate uint64) error {
	s, err := Of(conn)
	if err != nil {
		return err
	}
	return s.SetSockopt(linuxopt.SOL_SOCKET, linuxopt.SO_MAX_PACING_RATE, binary.LittleEndian.AppendUint64(nil, rate))
}

// MaxPacingRate returns the bound.
func MaxPacingRate(conn any) (uint64, error) {
	s, err := Of(conn)
	if err != nil {
		return 0, err
	}
	var b [8]byte
	n, err := s.GetSockopt(linuxopt.SOL_SOCKET, linuxopt.SO_MAX_PACING_RATE, b[:])
	if err == nil && n < len(b) { // a system with words of 32 bits
		if r := binary.LittleEndian.Uint32(b[:]); r != math.MaxUint32 {
			return uint64(r), nil
		}
		return Unpaced, nil
	}
	return binary.LittleEndian.Uint64(b[:]), err
}

// SetFastOpen allows so many connections of a listener to be there before their handshake
// is complete, with the data of their SYN (TCP_FASTOPEN; RFC 7413); 0 is none. That data
// may come more than once (section 2.1): it is for servers to whom that does not matter.
func SetFastOpen(l any, queue int) error {
	return SetInt(l, linuxopt.IPPROTO_TCP, linuxopt.TCP_FASTOPEN, queue)
}

// FastOpen returns how many may be.
func FastOpen(l any) (int, error) { return Int(l, linuxopt.IPPROTO_TCP, linuxopt.TCP_FASTOPEN) }

// SetFastOpenConnect has a socket that is about to connect wait with its SYN for the data
// of the first write, if it has a cookie of the server's, and ask for one otherwise
// (TCP_FASTOPEN_CONNECT). That is for a *direct.Socket, or the control function of a
// net.Dialer.
func SetFastOpenConnect(s any, on bool) error {
	return setBool(s, linuxopt.IPPROTO_TCP, linuxopt.TCP_FASTOPEN_CONNECT, on)
}

// SetFastOpenNoCookie sends, or at a listener takes, data on a SYN without a cookie
// (TCP_FASTOPEN_NO_COOKIE): for networks in which nobody lies about his address (RFC 7413,
// section 6.3.2).
func SetFastOpenNoCookie(s any, on bool) error {
	return setBool(s, linuxopt.IPPROTO_TCP, linuxopt.TCP_FASTOPEN_NO_COOKIE, on)
}

// SetFastOpenKeys sets what a listener makes its cookies with: a key, and perhaps the one
// before, whose cookies are still good (TCP_FASTOPEN_KEY).
func SetFastOpenKeys(l any, keys ...[16]byte) error {
	s, err := Of(l)
	if err != nil {
		return err
	}
	var b []byte
	for i := range keys {
		b = append(b, keys[i][:]...)
	}
	return s.SetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_FASTOPEN_KEY, b)
}

// FastOpenKeys returns them.
func FastOpenKeys(l any) (keys [][16]byte, err error) {
	s, err := Of(l)
	if err != nil {
		return nil, err
	}
	var b [32]byte
	n, err := s.GetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_FASTOPEN_KEY, b[:])
	for ; n >= 16; n -= 16 {
		keys = append(keys, [16]byte(b[16*len(keys):]))
	}
	return keys, err
}

// PendingError returns the error that waits to be reported, and takes it: nil if
// there is none (SO_ERROR).
func PendingError(conn any) error {
	n, err := Int(conn, linuxopt.SOL_SOCKET, linuxopt.SO_ERROR)
	if err == nil && n != 0 {
		err = syscall.Errno(n)
	}
	return err
}
