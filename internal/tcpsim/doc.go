// Package tcpsim drives tcp.Conns against each other over simulated paths, in one
// goroutine, by an event queue: a run is determined by its seed and replays bit for
// bit. Segments are encoded and parsed on the way, as on a wire.
//
//   - A Loop is the time, the queue of events and the randomness of a run.
//   - A Sim is one pair of connections, each way a Path of its own: what tests of
//     package tcp use. New makes its Loop.
//   - A Link is one direction of a network that any number of connections share: a
//     bottleneck with a drop-tail buffer, then the medium with what it does to
//     segments. A Flow is a transfer over a Link and another one back, with the
//     figures that a comparison of controllers needs.
//
// It is not a network: there is no IP and no checksum, and no more than one Link each
// way. Whole stacks are tested over netif's wire instead.
//
// # Invariants
//
// Time never goes back. Every frame that enters a Link leaves it once for each copy:
// delivered, or dropped for one counted reason. A Flow's reader compares every byte
// with what was written; what arrived twice is counted by the simulator and not by
// the receiver under test.
package tcpsim
