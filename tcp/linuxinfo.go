package tcp

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/netduet/netduet/clock"
)

// LinuxInfo is a connection's figures as Linux's struct tcp_info has them: the same
// fields in the same order, with the same units and meanings. Windows and what is
// outstanding are counted in segments, times are microseconds, those since an event
// (Last…) milliseconds. Zero stands for what this implementation has no figure for.
type LinuxInfo struct {
	State, CAState, Retransmits, Probes, Backoff, Options uint8
	// WScale is the sender's window scale in the low, the receiver's in the high half.
	WScale uint8
	// Flags has the bit for a delivery rate that the application limited, and above it
	// two for why a fast open failed.
	Flags                                                uint8
	RTO, ATO, SndMSS, RcvMSS                             uint32
	Unacked, Sacked, Lost, Retrans, Fackets              uint32
	LastDataSent, LastAckSent, LastDataRecv, LastAckRecv uint32
	PMTU, RcvSsthresh, RTT, RTTVar                       uint32
	SndSsthresh, SndCwnd, AdvMSS, Reordering             uint32
	RcvRTT, RcvSpace, TotalRetrans                       uint32
	PacingRate, MaxPacingRate                            uint64
	BytesAcked, BytesReceived                            uint64
	SegsOut, SegsIn, NotsentBytes, MinRTT                uint32
	DataSegsIn, DataSegsOut                              uint32
	DeliveryRate                                         uint64
	BusyTime, RwndLimited, SndbufLimited                 uint64
	Delivered, DeliveredCE                               uint32
	BytesSent, BytesRetrans                              uint64
	DSACKDups, ReordSeen, RcvOOOPack                     uint32
	SndWnd, RcvWnd, Rehash                               uint32
	TotalRTO, TotalRTORecoveries                         uint16
	TotalRTOTime                                         uint32
}

// Bits of LinuxInfo.Options.
const (
	linuxTimestamps = 1 << iota
	linuxSACK
	linuxWScale
	linuxECN
	linuxECNSeen
	linuxSynData // data on the SYN was acknowledged by the SYN-ACK
)

// LinuxInfiniteThreshold is LinuxInfo.SndSsthresh of a slow start without end.
const LinuxInfiniteThreshold = math.MaxInt32

// Append appends the bytes of a struct tcp_info on a little-endian machine.
func (in *LinuxInfo) Append(b []byte) []byte {
	b, err := binary.Append(b, binary.LittleEndian, in)
	if err != nil {
		panic(err) // only for a type without a fixed size
	}
	return b
}

// LinuxInfo returns the connection's figures in Linux's terms. The path's MTU is
// the driver's to fill in.
func (c *Conn) LinuxInfo(now clock.Time) LinuxInfo {
	mss := max(c.payloadMSS(), 1)
	state := c.State()
	if state == StateTimeWait {
		state = StateClosed // the socket's connection is gone by then
	}
	in := LinuxInfo{
		State: uint8(state), CAState: uint8(c.recovery),
		Retransmits: c.tries, Probes: c.linuxProbes(), Backoff: c.backoff + c.probeBackoff,
		RTO: micros(c.rtt.timeout(c.backoff)), ATO: micros(time.Duration(c.ato)),
		SndMSS: uint32(min(mss, max(c.halfWindow(), minMSS+mss-c.sndMSS))), RcvMSS: uint32(c.rcvMSS),
		LastDataSent: since(now, c.lastSent), LastDataRecv: since(now, c.lastData), LastAckRecv: since(now, c.lastRecv),
		RTT: micros(c.rtt.srtt), RTTVar: micros(c.rtt.mdev / 4),
		SndSsthresh: LinuxInfiniteThreshold, SndCwnd: initialSegments,
		AdvMSS: uint32(c.mss), Reordering: uint32(c.reordering),
		RcvSsthresh: uint32(c.rw.ssthresh), RcvSpace: uint32(c.drs.space), RcvRTT: micros(c.drs.rtt / 8),
		TotalRetrans: c.stats.retransmits,
		PacingRate:   math.MaxUint64, MaxPacingRate: math.MaxUint64,
		BytesAcked: c.stats.bytesAcked, BytesReceived: c.stats.bytesIn,
		SegsOut: uint32(c.stats.segsOut), SegsIn: uint32(c.stats.segsIn),
		NotsentBytes: uint32(c.unsent()), MinRTT: math.MaxUint32,
		DataSegsIn: uint32(c.stats.dataSegsIn), DataSegsOut: uint32(c.stats.dataSegsOut),
		Delivered: uint32(c.stats.deliveredSegs),
		BytesSent: c.stats.bytesOut + c.stats.bytesRetrans, BytesRetrans: c.stats.bytesRetrans,
		DeliveredCE: uint32(c.stats.deliveredCE),
		DSACKDups:   c.stats.dsackDups, ReordSeen: c.stats.reordered, RcvOOOPack: c.stats.outOfOrder,
		SndWnd: uint32(c.sndWnd), RcvWnd: uint32(max(c.announced(), 0)),
		TotalRTO: uint16(min(c.stats.timeouts, math.MaxUint16)), TotalRTORecoveries: uint16(min(c.stats.timeoutEpisodes, math.MaxUint16)),
		TotalRTOTime: uint32(c.stats.timeoutTime / time.Millisecond),
	}
	if c.finTaken {
		in.BytesReceived++ // the FIN counts
	}
	if c.finQueued && !c.finSent && c.state.synchronized() {
		in.NotsentBytes++ // likewise
	}
	if c.useTS {
		if c.state != StateSynSent && c.state != StateSynReceived {
			in.AdvMSS -= 12
		}
		in.Options |= linuxTimestamps
	}
	if c.useSACK {
		in.Options |= linuxSACK
	}
	if c.ecn.on {
		in.Options |= linuxECN
	}
	if c.ecn.seen {
		in.Options |= linuxECNSeen
	}
	if c.useScale {
		in.Options |= linuxWScale
		in.WScale = c.sndScale&15 | c.rcvScale<<4
	}
	if c.rtt.min > 0 {
		in.MinRTT = micros(c.rtt.min)
	}
	if c.cc != nil && c.state.synchronized() {
		in.SndCwnd = uint32(c.cwnd())
		if t := c.cc.Threshold(); t < infiniteThreshold {
			in.SndSsthresh = uint32(max(t/mss, 1))
		}
		in.PacingRate = c.linuxPacingRate()
		if most := c.tuning.maxPace; most > 0 {
			in.MaxPacingRate = uint64(most)
		}
	}
	in.Unacked, in.Sacked, in.Lost, in.Retrans = uint32(c.packetsOut), uint32(c.sackedOut), uint32(c.lostOut), uint32(c.retransOut)
	in.DeliveryRate = c.rateShown
	in.Flags = b2u(c.rateLimited) | uint8(c.fastBits>>fastFailShift&3)<<1
	if c.fastBits&fastSynData != 0 {
		in.Options |= linuxSynData
	}
	if c.state == StateSynSent || c.state == StateClosed && c.sndUna == c.iss { // nothing was agreed upon
		in.Options, in.WScale = b2u(c.ecn.ask && c.state == StateSynSent)*linuxECN, 0
		in.AdvMSS, in.RcvMSS, in.RcvWnd = uint32(c.mss), minRcvMSS, in.RcvSsthresh
		if c.tries > 0 {
			in.SndCwnd = 1
		}
	}
	t := c.chrono.at(now)
	in.BusyTime = uint64((t[chronoBusy] + t[chronoWindow] + t[chronoBuffer]) / time.Microsecond)
	in.RwndLimited = uint64(t[chronoWindow] / time.Microsecond)
	in.SndbufLimited = uint64(t[chronoBuffer] / time.Microsecond)
	return in
}

// linuxProbes counts the probes without an answer, of a window or of a silent peer.
func (c *Conn) linuxProbes() uint8 { return uint8(min(int(c.probes)+c.kaProbes, 255)) }

func micros(d time.Duration) uint32 {
	return uint32(min(max(d/time.Microsecond, 0), math.MaxUint32))
}

// since is the number of milliseconds from t, or 0 if it has not come.
func since(now, t clock.Time) uint32 {
	if t == 0 {
		return 0
	}
	return uint32(min(max(now.Sub(t)/time.Millisecond, 0), math.MaxUint32))
}

// linuxPacingRate is the controller's pacing rate, or what Linux would use for
// sizing its bursts: the window in a round-trip time, twice in early slow start, and
// else a fifth more.
// The application's bound holds for either.
func (c *Conn) linuxPacingRate() uint64 {
	rate := c.ownPacingRate()
	if most := uint64(c.tuning.maxPace); most > 0 {
		rate = min(rate, most)
	}
	return rate
}

func (c *Conn) ownPacingRate() uint64 {
	if rate := c.cc.PacingRate(); rate > 0 {
		return uint64(rate)
	}
	ratio := uint64(120)
	if c.cc.Window() < c.cc.Threshold()/2 {
		ratio = 200
	}
	rate := uint64(c.payloadMSS()) * uint64(max(c.cwnd(), c.packetsOut)) * ratio * 10_000
	if us := uint64(c.rtt.srtt / time.Microsecond); us > 0 {
		rate /= us
	}
	return rate
}
