package tcp

import (
	"errors"
	"time"
)

// Reasons for which a connection ends. Err returns one of them, or the error that
// was passed to ICMPError.
var (
	ErrReset = errors.New("tcp: connection reset by peer")
	// ErrBroken is a reset that followed the peer's FIN: it says that nobody reads
	// there any more.
	ErrBroken  = errors.New("tcp: connection reset by peer after its end")
	ErrRefused = errors.New("tcp: connection refused")
	ErrTimeout = errors.New("tcp: connection timed out")
	ErrAborted = errors.New("tcp: connection aborted")
	// ErrWriteClosed is Write's answer after CloseWrite or Close.
	ErrWriteClosed = errors.New("tcp: sending side closed")
)

// Defaults and constants.
const (
	renegeDelay = 10 * time.Millisecond // least time until reported and missing data is taken for given up

	// DefaultMSS is assumed of a peer that announces none (RFC 9293, section
	// 3.7.1, for IPv4). minMSS bounds what a peer can force on us: tiny segments
	// would multiply the work.
	DefaultMSS = 536
	minMSS     = 48
	// minPathMSS is what ICMP can push the segment size down to (Linux's min_pmtu of
	// 552); a real path with less is rarer than a forged message.
	minPathMSS = 512

	// DefaultReceiveBuffer is what a receive buffer begins with when nothing says
	// otherwise, and what is announced at first; DefaultSendBuffer is the same for a
	// send buffer. MaxBuffer bounds what either grows to, or may be set to: 16 MiB fill
	// a path of 1 Gbit/s and 130 ms.
	DefaultReceiveBuffer = 64 << 10
	DefaultSendBuffer    = 1 << 20
	MaxBuffer            = 16 << 20
	// scaledBuffer is a size up to which a receive buffer can be set after the handshake
	// and the window still be announced: the scale is chosen once (Linux's rmem_max).
	scaledBuffer = 4 << 20
	// minBuffer is the least that a buffer can be set to.
	minBuffer = 2048

	// DefaultSynRetries is how often a SYN is repeated; 6 make 127 s (RFC 9293,
	// section 3.8.3, asks for at least 3 minutes in R2 or the user's deadline).
	DefaultSynRetries = 6
	// DefaultSynLinear is how many of the first repetitions of a SYN come a second
	// apart, as in Linux since 6.5; those do not count as DefaultSynRetries.
	DefaultSynLinear     = 4
	DefaultSynAckRetries = 5

	// DefaultRetries and defaultOrphanRetries say after how many timeouts R2 is
	// reached, counted as the time that so many doublings of 200 ms take: 924 s and
	// 102 s. The second holds once no application waits any more.
	DefaultRetries       = 15
	defaultOrphanRetries = 8

	staleRetry    = 2 * time.Millisecond   // from an ACK that shows an old connection in the way to our next SYN
	delAckMin     = 40 * time.Millisecond  // RFC 9293, section 3.8.6.3, demands less than 0.5 s
	delAckMax     = 200 * time.Millisecond //
	delAckSlow    = 500 * time.Millisecond // bounds what adaptation makes of it, before delAckMax
	maxQuickAcks  = 16                     // segments acknowledged at once while the peer's window opens
	finWait2Limit = 60 * time.Second       // for a connection nobody can read from
	// TimeWaitLen is 2 MSL with an MSL of 30 s (RFC 9293, section 3.4.2, lets the
	// value be chosen).
	TimeWaitLen = 60 * time.Second
	// pawsIdle is how long a timestamp remains comparable (RFC 7323, section 5.5).
	pawsIdle = 24 * 24 * time.Hour
	// pawsWindow is how much older than the last a timestamp may be: a tick, as in Linux,
	// for senders whose processors do not quite agree about the time.
	pawsWindow = 1
	// DefaultInvalidInterval is the least distance of two ACKs that answer invalid
	// segments (RFC 5961, section 7, asks for a limit; per connection, it is no side
	// channel).
	DefaultInvalidInterval = 500 * time.Millisecond
	dupThresh              = 3  // RFC 5681, section 3.2
	maxScale               = 14 // RFC 7323, section 2.3
)

// KeepAlive is the configuration of keep-alive probes (RFC 9293, section 3.8.4).
type KeepAlive struct {
	Enable bool
	// Idle is how long nothing was heard before the first probe, Interval the time
	// between probes; after Count unanswered ones the connection ends. Zero values
	// mean 2 h, 75 s and 9, as in Linux.
	Idle, Interval time.Duration
	Count          int
}

func (k KeepAlive) withDefaults() KeepAlive {
	if k.Idle <= 0 {
		k.Idle = 2 * time.Hour
	}
	if k.Interval <= 0 {
		k.Interval = 75 * time.Second
	}
	if k.Count <= 0 {
		k.Count = 9
	}
	return k
}

// Config is what a connection is made with. The zero value works but for the
// ports.
type Config struct {
	LocalPort, RemotePort uint16
	// MSS is the MTU less the IP header and 20 bytes: what we announce, and the
	// upper bound of what we send. 0 means DefaultMSS.
	MSS int
	// MaxGSO is how many bytes of payload one OutSegment may carry when the device
	// segments; 0 if it does not.
	MaxGSO int
	// SendBuffer and ReceiveBuffer set the sizes of the buffers in bytes, as SO_SNDBUF
	// and SO_RCVBUF do; more than MaxBuffer is cut to it. 0 lets a buffer follow what
	// the path and the reader need, from its initial to its maximal size. Either way
	// they bound what may be held: memory is taken as there are bytes to hold.
	SendBuffer, ReceiveBuffer int
	// InitialReceiveBuffer and InitialSendBuffer are what such a buffer begins with; 0
	// means DefaultReceiveBuffer and DefaultSendBuffer. MaxReceiveBuffer and
	// MaxSendBuffer are what it grows to; 0 means MaxBuffer.
	//
	// What is received is counted with the cost of its segments, as if half of a
	// buffer twice that large went to it: Linux's figures (tcp_rmem, SO_RCVBUF as it is
	// read) are twice these, and up to twice as much is taken in large segments.
	InitialReceiveBuffer, MaxReceiveBuffer int
	InitialSendBuffer, MaxSendBuffer       int
	// NoReceiveTuning leaves a receive buffer at its initial size (tcp_moderate_rcvbuf).
	NoReceiveTuning bool
	// NoDelay switches Nagle's algorithm off (RFC 9293, section 3.7.4).
	NoDelay   bool
	KeepAlive KeepAlive
	// UserTimeout is how long data may stay unacknowledged, counted from its first
	// repetition, a handshake go on, and a closed window hold data back, counted from the
	// first probe; 0 means R2 (RFC 9293, section 3.8.3; RFC 5482).
	UserTimeout time.Duration
	// WindowClamp bounds the window that is announced, in bytes; 0 means no bound but
	// the buffer's.
	WindowClamp int
	// SynRetries is how often a SYN is repeated with growing timeouts, behind
	// SynLinear repetitions a second apart. 0 means DefaultSynRetries and
	// DefaultSynLinear; a negative SynLinear means none.
	SynRetries, SynLinear int
	// SynAckRetries is how often a listener repeats its SYN-ACK: 0 means
	// DefaultSynAckRetries, negative never.
	SynAckRetries int
	// SynCookies says when a listener answers SYNs without remembering them. The package
	// only carries the word to whoever listens; see [Passive.MakeCookie].
	SynCookies SynCookies
	// FastOpen is what of TCP Fast Open (RFC 7413) is there for applications that ask for
	// it. The package only carries it to whoever opens and listens; see [FastStart] and
	// [Conn.AcceptFast].
	FastOpen FastOpenConfig
	// Retries is R2 (RFC 9293, section 3.8.3): the connection ends when data was
	// repeated without an answer for as long as so many timeouts take, beginning with
	// the least and doubling; probes of a closed window are counted. 0 means
	// DefaultRetries. OrphanRetries, 0 for 8, is that of a connection the application
	// has closed.
	Retries, OrphanRetries int
	// InvalidInterval is the least time between two ACKs that answer segments without
	// data that are not acceptable (RFC 5961, section 7): 0 means
	// DefaultInvalidInterval, negative no limit.
	InvalidInterval time.Duration
	// MinRTO and MaxRTO bound the retransmission timeout beyond the round trip, MaxDelayedACK
	// the delay of ACKs, and MaxPacingRate how many bytes leave in a second; 0 stands for 200
	// ms, 120 s, 200 ms and no bound. See [Conn.SetMinRTO] and its neighbours.
	MinRTO, MaxRTO, MaxDelayedACK time.Duration
	MaxPacingRate                 int64
	// NoDSACK has SACK blocks tell of nothing that came twice (RFC 2883).
	NoDSACK bool
	// SACKDelay is how long the ACK of segments behind a gap waits for more of them at
	// most, after the first three: 0 means DefaultSACKDelay, negative not at all. It is
	// counted in microseconds, and less than 65 ms.
	SACKDelay time.Duration
	// KeepTimeWait has TIME-WAIT withstand resets, which may be old duplicates (RFC 1337,
	// section 3); by default the exact number ends it.
	KeepTimeWait bool
	// StdUrgent reads the urgent pointer as the last octet of urgent data, as RFC 1122,
	// section 4.2.2.4, has it; by default it names the octet behind, as all stacks do
	// (RFC 6093, section 3.1).
	StdUrgent bool
	// UrgentInline leaves urgent data in the stream (SO_OOBINLINE).
	UrgentInline bool
	// NoSACK, NoTimestamps and NoWindowScaling leave the option out of the SYN and
	// ignore it in the peer's.
	NoSACK, NoTimestamps, NoWindowScaling bool
	// MTUProbing has the connection search for the largest segments that the path
	// carries (RFC 4821), beginning with BaseMSS bytes of data, 0 for DefaultBaseMSS.
	MTUProbing MTUProbing
	BaseMSS    int
	// NoTailLossProbe leaves the loss of the last segments to the retransmission timer
	// (RFC 8985, section 7).
	NoTailLossProbe bool
	// ECN says what is done about explicit congestion notification (RFC 3168): 0 agrees
	// when the peer asks for it.
	ECN ECNMode
	// NoFRTO leaves the detection of spurious timeouts (RFC 5682) out.
	NoFRTO bool
	// NoIdleRestart keeps the congestion window as it is over times in which it is not
	// used (RFC 2861; RFC 5681, section 4.1).
	NoIdleRestart bool
	// NoCollapse repeats small segments as they were sent, and not several in one.
	NoCollapse bool
	// Reordering is for how many duplicate ACKs a segment may be late at first; 0 means
	// 3 (RFC 5681, section 3.2). With SACK, time decides more than numbers do (RFC 8985).
	Reordering int
	// Controller makes the congestion controller; nil means NewCubic.
	Controller func() Controller
	// Memory lends buffer memory; nil takes it from the heap.
	Memory Memory
}

func (cfg *Config) mss() int {
	if cfg.MSS <= 0 {
		return DefaultMSS
	}
	return min(cfg.MSS, 65535)
}

// bufferSize returns n within the bounds of a buffer, standard in place of 0.
func bufferSize(n, standard int) int {
	if n <= 0 {
		n = standard
	}
	return min(max(n, minBuffer), MaxBuffer)
}

// receiveSpace returns the size of the receive buffer and what it may grow to, cost
// included.
func (cfg *Config) receiveSpace() (space, most int) {
	most = 2 * bufferSize(cfg.MaxReceiveBuffer, MaxBuffer)
	if cfg.ReceiveBuffer > 0 {
		return 2 * bufferSize(cfg.ReceiveBuffer, 0), most
	}
	return 2 * bufferSize(cfg.InitialReceiveBuffer, DefaultReceiveBuffer), most
}

// sendLimits is the same for the send buffer, without the cost.
func (cfg *Config) sendLimits() (limit, most int) {
	most = bufferSize(cfg.MaxSendBuffer, MaxBuffer)
	if cfg.SendBuffer > 0 {
		return bufferSize(cfg.SendBuffer, 0), most
	}
	return bufferSize(cfg.InitialSendBuffer, DefaultSendBuffer), most
}

// retries returns n within a byte, or the default for 0; negative is none.
func retries(n, standard int) uint8 {
	if n == 0 {
		n = standard
	}
	return uint8(min(max(n, 0), 255))
}

func (cfg *Config) invalidInterval() time.Duration {
	switch {
	case cfg.InvalidInterval < 0:
		return 0
	case cfg.InvalidInterval == 0:
		return DefaultInvalidInterval
	}
	return cfg.InvalidInterval
}

func (cfg *Config) memory() Memory {
	if cfg.Memory == nil {
		return heap{}
	}
	return cfg.Memory
}

func (cfg *Config) reordering() uint16 {
	if cfg.Reordering <= 0 {
		return dupThresh
	}
	return uint16(min(cfg.Reordering, maxReordering))
}

func (cfg *Config) baseMSS() int {
	if cfg.BaseMSS <= 0 {
		return DefaultBaseMSS
	}
	return min(max(cfg.BaseMSS, minMSS), 65535)
}

// windowClamp is the bound of the window before the handshake.
func (cfg *Config) windowClamp() int {
	clamp := 65535 << maxScale
	if cfg.WindowClamp > 0 {
		clamp = min(clamp, cfg.WindowClamp)
	}
	if space, _ := cfg.receiveSpace(); cfg.ReceiveBuffer > 0 {
		clamp = min(clamp, space/2) // the application's word: it never grows
	}
	return clamp
}

// windowScale returns the shift count we announce: enough for what the window may
// grow to.
func (cfg *Config) windowScale() uint8 {
	if cfg.NoWindowScaling {
		return 0
	}
	space, most := cfg.receiveSpace()
	most = min(max(space/2, most, scaledBuffer), cfg.windowClamp())
	s := uint8(0)
	for s < maxScale && most>>s > 65535 {
		s++
	}
	return s
}

// initialWindow is the window to begin with, in whole segments of size mss as far as
// there is one. In SYN and SYN-ACK, which are never scaled (RFC 7323, section 2.2), it
// is cut to 65535.
func (cfg *Config) initialWindow(mss int) int {
	space, _ := cfg.receiveSpace()
	w := min(space/2, cfg.windowClamp())
	if w > mss && mss > 0 {
		w -= w % mss
	}
	return w
}

// giveUpAfter returns how long limit doublings of the first timeout take.
func giveUpAfter(limit int, rto, most time.Duration) time.Duration {
	total := time.Duration(0)
	for range limit + 1 {
		total += rto
		rto = min(2*rto, most)
	}
	return total
}
