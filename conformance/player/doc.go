// Package player plays .pkt scripts against a stack and gives a verdict. It keeps
// the timeline, makes the system calls, injects the packets of the remote host, and
// compares what the stack sends with what the script expects.
//
// It does not know which stack it plays against: a [Backend] offers a clock, an IP
// wire and sockets. The kernel is one (package kernel), in real time; a stack of our
// own in virtual time is another.
//
// # The space of the script and that of the wire
//
// A script counts the sequence numbers of the stack under test from its first SYN;
// the player learns the difference to the wire from that SYN and translates both
// ways, acknowledgments and SACK blocks too. The remote host's numbers are the
// script's own. Ports are the player's: the remote host of a passive connection gets
// a fresh one, and what the stack chose is learnt from what it sends. Timestamps of
// the stack are translated by the pairs seen so far. File descriptors are numbered as
// the script says, whatever the backend calls them.
//
// # Time
//
// Script time zero is when [Run] begins. An event's relative time counts from the
// scheduled time of the event before, or from when that happened if it was a range
// or "*". A packet may come earlier or later than the script says by the tolerance:
// 4 ms, or 1 % of the time since the event before if that is more, times
// Config.Scale, and by as much more as the player itself has been late at worst. If it is
// later than that makes sense for, the run fails with kind [Slow], which says something
// of the machine and nothing of the stack.
package player
