package sockopt

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/netduet/netduet/internal/linuxopt"
)

// Info is Linux's struct tcp_info (linux/tcp.h). Windows and what is outstanding
// are counted in segments, sizes in bytes, rates in bytes per second; times are
// microseconds, but those since an event (Last…) milliseconds. A field that a
// kernel or a stack has no figure for is 0.
type Info struct {
	State       State
	CAState     CAState
	Retransmits uint8 // timeouts in a row without progress
	Probes      uint8 // unanswered probes of a window or a silent peer
	Backoff     uint8
	Options     uint8 // Opt… bits
	// WScale is the sender's window scale in the low, the receiver's in the high half;
	// see SndWScale.
	WScale uint8
	// Flags has DeliveryRateAppLimited in bit 0, and why a fast open failed in bits 1
	// and 2.
	Flags                                                uint8
	RTO, ATO, SndMSS, RcvMSS                             uint32
	Unacked, Sacked, Lost, Retrans, Fackets              uint32
	LastDataSent, LastAckSent, LastDataRecv, LastAckRecv uint32
	PMTU, RcvSsthresh, RTT, RTTVar                       uint32
	// SndSsthresh is InfiniteThreshold before the first loss.
	SndSsthresh, SndCwnd, AdvMSS, Reordering uint32
	RcvRTT, RcvSpace, TotalRetrans           uint32
	// PacingRate and MaxPacingRate are all ones without a limit.
	PacingRate, MaxPacingRate uint64
	// BytesAcked and BytesReceived count sequence numbers: FIN, and SYN where the
	// connection was opened actively, are one each.
	BytesAcked, BytesReceived uint64
	// MinRTT is all ones before the first sample.
	SegsOut, SegsIn, NotsentBytes, MinRTT uint32
	DataSegsIn, DataSegsOut               uint32
	DeliveryRate                          uint64
	BusyTime, RwndLimited, SndbufLimited  uint64
	Delivered, DeliveredCE                uint32
	BytesSent, BytesRetrans               uint64
	DSACKDups, ReordSeen, RcvOOOPack      uint32
	SndWnd, RcvWnd, Rehash                uint32
	TotalRTO, TotalRTORecoveries          uint16
	TotalRTOTime                          uint32
}

// InfiniteThreshold is Info.SndSsthresh of a slow start without end.
const InfiniteThreshold = math.MaxInt32

// Bits of Info.Options.
const (
	OptTimestamps = 1 << iota
	OptSACK
	OptWScale
	OptECN
	OptECNSeen
	OptSynData
)

// SndWScale returns the scale of the peer's windows, RcvWScale that of ours.
func (in *Info) SndWScale() int { return int(in.WScale & 15) }

// RcvWScale returns the scale of the windows that we announce.
func (in *Info) RcvWScale() int { return int(in.WScale >> 4) }

// State is a connection's state in Linux's numbers.
type State uint8

// The states (RFC 9293, section 3.3.2).
const (
	Established State = iota + 1
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Closed
	CloseWait
	LastAck
	Listen
	Closing
)

func (s State) String() string {
	names := [...]string{
		"", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
		"CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING",
	}
	if s == 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", uint8(s))
	}
	return names[s]
}

// CAState is the state of loss recovery.
type CAState uint8

// The states of loss recovery: nothing suspicious, duplicate ACKs, a window reduced
// by congestion notification, fast recovery, after a timeout.
const (
	CAOpen CAState = iota
	CADisorder
	CACWR
	CARecovery
	CALoss
)

// TCPInfo returns a connection's figures (TCP_INFO).
func TCPInfo(conn any) (*Info, error) {
	s, err := Of(conn)
	if err != nil {
		return nil, err
	}
	// A kernel that is older gives less, one that is newer has more to give.
	b := make([]byte, binary.Size(Info{}))
	if _, err := s.GetSockopt(linuxopt.IPPROTO_TCP, linuxopt.TCP_INFO, b); err != nil {
		return nil, err
	}
	in := new(Info)
	if _, err := binary.Decode(b, binary.LittleEndian, in); err != nil {
		return nil, fmt.Errorf("sockopt: struct tcp_info: %w", err)
	}
	return in, nil
}
