// Package tcp is the Transmission Control Protocol (RFC 9293) as a state machine
// and nothing else: no socket, no goroutine, no lock, no clock, no I/O. A [Conn]
// is one connection; its inputs are segments, application calls and the time, and
// its outputs are drained by Output, Deadline and Events. Whoever drives it decides
// about threads, timers and devices, and can replay it from a seed.
//
// It knows nothing of IP: a segment arrives with its checksum verified, and leaves
// with a checksum of zero for the driver to fill in. Ports are carried but not
// looked at; finding the connection is the driver's work.
//
// # Parts
//
//   - [Conn] is a connection from the moment it is synchronised (or, actively
//     opened, from its SYN).
//   - [Passive] is a connection between SYN and ACK on the listening side: a small
//     record without buffers, so that a flood of SYNs costs little.
//   - [TimeWait] is a connection after its end: another small record.
//   - [FastStart], [Conn.AcceptFast] and [FastOpenKey] are TCP Fast Open (RFC 7413): data on
//     the SYN, and a connection that is there before its handshake is complete.
//   - [ResetFor] answers what belongs to no connection.
//   - [Secret] makes initial sequence numbers and timestamp offsets unpredictable.
//
// # Invariants
//
// SND.UNA ≤ SND.NXT in sequence space; the ranges on record cover exactly
// [SND.UNA, SND.NXT), in order and without gaps. The right edge of the receive
// window never moves left, but for less than a unit of its scale once a peer has
// exploited its rounding (RFC 7323, section 2.4). A byte is acknowledged only once it is stored in the
// receive buffer. Memory that a segment of the last Output points at is neither
// changed nor given back before Sent, not even by a reset or Close.
//
// # Standards
//
// RFC 9293 (the machine), 7323 (window scaling, timestamps, PAWS), 2018 and 6675
// (SACK and loss recovery based on it), 8985 (RACK-TLP), 6937 (PRR), 5682 (F-RTO),
// 5681 and 6582 (congestion control, NewReno), 9438 and 9406 (CUBIC with HyStart++),
// 3168 (ECN), 7413 (Fast Open), 1191 and 4821 (path MTU), draft-ietf-ccwg-bbr (BBR),
// 6928 (initial window), 6298 (retransmission timer), 5961 and 5927 (blind
// attacks), 6191 and 1337 (TIME-WAIT), 6528 (sequence numbers), 6093 (urgent data),
// 5482 (user timeout), 2525. Where they leave freedom, behaviour on the wire follows
// Linux: order of options, PSH, the timing of delayed ACKs, probes without data, the
// repetition of SYNs, silence when a connection is given up. Segments with a signature
// (RFC 2385, RFC 5925) are marked, not checked. Against RFC 7323, section 5.3, PAWS takes
// segments that are only late (see stampHistory). Without SACK fast recovery loses
// its patience (see renoPatience).
package tcp
