package tcp

import (
	"time"

	"github.com/netduet/netduet/clock"
)

// Controller is a congestion control algorithm: it is told what happened and
// answers with a window and a pacing rate. It never sees the connection, and a
// connection calls it from one goroutine at a time. All amounts are bytes.
type Controller interface {
	// Init is called once, when the connection is synchronised, with the sender's
	// maximum segment size and the least round-trip time measured so far, 0 if none was.
	Init(now clock.Time, mss int, rtt time.Duration)
	// TakeOver is called once after Init when the controller replaces another one in a
	// connection under way: it goes on from that one's window and threshold.
	TakeOver(window, threshold int)
	// SetWindow is told by the connection what the window and the threshold are to be:
	// while a reduction is under way (proportional rate reduction), at its end, and
	// after times in which the window was not used. One with OwnRecovery is not told.
	SetWindow(window, threshold int)
	// SetMSS tells a changed maximum segment size.
	SetMSS(mss int)
	// Window returns the congestion window: how many bytes may be in flight.
	Window() int
	// Threshold returns the slow start threshold.
	Threshold() int
	// PacingRate returns bytes per second, 0 for no pacing.
	PacingRate() int64
	// OnAck is called for each acknowledgement that brought news of delivery.
	OnAck(a AckInfo)
	// OnLost is called for each part of what was sent that is taken for lost, before the
	// OnLoss or OnTimeout that may follow from it and before the acknowledgement's OnAck.
	// What is known to be lost for its size alone, or into a closed window, is not told;
	// a mark of congestion that is to be answered in place of a loss (RFC 3168) is.
	OnLost(l LossInfo)
	// OnLoss is called once when the window is to be reduced, because of a loss (RFC
	// 5681, section 3.2) or of ECN (RFC 3168, section 6.1.2): Threshold becomes what the
	// window shall be, and SetWindow leads it there.
	OnLoss(now clock.Time, inFlight int)
	// OnTimeout is called when the retransmission timer found a loss (RFC 5681,
	// section 3.1); first is false for the repeated timeouts of one episode. inFlight is
	// what is still taken to be in the network: the window becomes one segment more.
	OnTimeout(now clock.Time, inFlight int, first bool)
	// OnRecovered is called when everything that was outstanding at the loss or the
	// timeout has been acknowledged.
	OnRecovered(now clock.Time)
	// OnRestart is called before sending when nothing is in flight; since is when
	// something was last sent, or 0. One with OwnRecovery is told only if the
	// application's lack of data is the reason.
	OnRestart(now, since clock.Time)
	// OnUndo is called when the losses that the last OnLoss or OnTimeout reported
	// turn out not to have been: window and threshold become at least what they were
	// before the reduction (RFC 4015, section 3.4, as Linux has it). After an OnTimeout
	// with first unset that is the state before the episode's first call.
	OnUndo(now clock.Time)
	// OwnRecovery reports whether Window holds during fast recovery, too. Otherwise the
	// connection paces what it sends then by proportional rate reduction (RFC 6937)
	// towards Threshold.
	OwnRecovery() bool
}

// AckInfo is what one acknowledgement brought.
type AckInfo struct {
	Now clock.Time
	// Segments is how many segments were delivered, if the window may grow by them: 0
	// while it is being reduced, and for what arrived out of order.
	Segments int
	// Acked is how many bytes the cumulative acknowledgement newly covered.
	Acked int
	// Delivered is how many bytes the peer newly holds, by SACK or cumulatively.
	Delivered int
	// RTT is the sample this acknowledgement gave, 0 if none.
	RTT time.Duration
	// InFlight is how many bytes were in flight before it.
	InFlight int
	// Limited says that the window, and not the application, limited the sender
	// during the last round trip: only then may the window grow (RFC 7661 gives the
	// reasons).
	Limited bool
	// Recovering says that the window is being reduced, or losses repaired by fast
	// retransmission.
	Recovering bool
	// InFlightAfter is how many bytes are in flight now, before anything new is sent.
	InFlightAfter int
	// WindowLimited says that the window was full at some time in the last round trip. It
	// is stricter than Limited, for which half a window is enough in slow start.
	WindowLimited bool
	// NoSACK says that the peer does not tell what arrived out of order (RFC 2018): no
	// more than one loss in a round trip can be found.
	NoSACK bool
	// TotalDelivered counts what the peer has received since the connection began.
	TotalDelivered uint64
	// Sample is the delivery rate that this acknowledgement shows.
	Sample RateSample
}

// LossInfo is a transmission, or a part of one, that is taken for lost.
type LossInfo struct {
	Now clock.Time
	// Marked says that nothing is lost, but the network told of congestion. Beside it and
	// Now, TxInFlight, which is what is in flight now, and TotalDelivered are set.
	Marked bool
	// Bytes is its size.
	Bytes int
	// Adjoins says that it begins where the last one ended that was told of.
	Adjoins bool
	// AppLimited, PriorDelivered and TxInFlight are what RateSample would say of it, had
	// it arrived, and Lost how much was lost since it was sent, itself included.
	AppLimited       bool
	PriorDelivered   uint64
	TxInFlight, Lost int
	// TotalDelivered is as in AckInfo, by now.
	TotalDelivered uint64
}

// RateSample is an estimate of the delivery rate (draft-ietf-ccwg-bbr, section
// 4.1, earlier draft-cheng-iccrg-delivery-rate-estimation).
type RateSample struct {
	// Delivered bytes reached the peer during Interval; an Interval of 0 means that
	// there is no sample.
	Delivered int
	Interval  time.Duration
	// PriorDelivered is what TotalDelivered was when the newest segment delivered was
	// sent: once it reaches what TotalDelivered was at some time, a round trip has
	// passed since.
	PriorDelivered uint64
	// AppLimited says that the sender lacked data then, and the rate may be too low.
	AppLimited bool
	// TxInFlight is how many bytes were in flight when that segment was sent, and Lost
	// how many were lost since.
	TxInFlight, Lost int
}

// Rate is bytes per second; 0 without a sample.
func (s *RateSample) Rate() float64 {
	if s.Interval <= 0 {
		return 0
	}
	return float64(s.Delivered) / s.Interval.Seconds()
}

// ControllerByName returns what makes the controller of that name, as Linux calls
// them: "cubic", which is the default, "reno" and "bbr". It is nil for other names.
func ControllerByName(name string) func() Controller {
	switch name {
	case "cubic":
		return NewCubic
	case "reno":
		return NewReno
	case "bbr":
		return NewBBR
	}
	return nil
}

// infiniteThreshold stands for a slow start without end (RFC 5681, section 3.1).
const infiniteThreshold = 1 << 30

// initialSegments is the initial window of RFC 6928, section 2, without its bound in
// bytes, which cuts it where segments are larger than an Ethernet's: as in Linux.
const initialSegments = 10

// InitialWindow returns the initial congestion window.
func InitialWindow(mss int) int { return initialSegments * mss }
