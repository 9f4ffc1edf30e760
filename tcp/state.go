package tcp

// State is the state of a connection (RFC 9293, section 3.3.2). The numbers are
// Linux's, so that figures read the same.
type State uint8

const (
	StateEstablished State = iota + 1
	StateSynSent
	StateSynReceived
	StateFinWait1
	StateFinWait2
	StateTimeWait
	StateClosed
	StateCloseWait
	StateLastAck
	StateListen
	StateClosing
)

var stateNames = [...]string{
	StateEstablished: "ESTABLISHED",
	StateSynSent:     "SYN-SENT",
	StateSynReceived: "SYN-RECEIVED",
	StateFinWait1:    "FIN-WAIT-1",
	StateFinWait2:    "FIN-WAIT-2",
	StateTimeWait:    "TIME-WAIT",
	StateClosed:      "CLOSED",
	StateCloseWait:   "CLOSE-WAIT",
	StateLastAck:     "LAST-ACK",
	StateListen:      "LISTEN",
	StateClosing:     "CLOSING",
}

func (s State) String() string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return "CLOSED"
}

// synchronized reports whether both sides know each other's sequence numbers.
func (s State) synchronized() bool {
	return s != 0 && s != StateClosed && s != StateSynSent && s != StateSynReceived && s != StateListen
}

// canSend reports whether new data may still be queued.
func (s State) canSend() bool {
	return s == StateEstablished || s == StateCloseWait || s == StateSynSent || s == StateSynReceived
}
