// Package script reads and prints the .pkt language: packet-level tests of a network
// stack, written as a timeline of system calls, of packets that a remote host sends,
// and of packets that the stack under test is expected to send.
//
// The language is packetdrill's. A script is a list of options, an optional block of
// shell lines that set the stack up, and events:
//
//	--tolerance_usecs=10000
//	`sysctl -q net.ipv4.tcp_timestamps=0`
//	0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
//	+0   bind(3, ..., ...) = 0
//	+0   listen(3, 1) = 0
//	+0   < S 0:0(0) win 32792 <mss 1000,sackOK>      // the remote host sends
//	+0   > S. 0:0(0) ack 1 <mss 1460,nop,nop,sackOK> // the stack must send
//	+.1  < . 1:1(0) ack 1 win 257
//	+0   accept(3, ..., ...) = 4
//	+0   %{ assert tcpi_snd_mss == 1000 }%
//
// [Parse] turns a script into a tree; [Script.String] prints the tree as a script
// again, and parsing that gives the same tree. The package knows the shape of every
// statement and the meaning of none: what a call does, what a symbol is worth and
// what a sequence number refers to is for the player.
//
// # Numbers
//
// A sequence number is 32 bits wide. The script's numbers of the remote host are the
// numbers on the wire; those of the stack under test are counted from the number the
// script gives to its first SYN, whatever the stack chose.
//
// # Invariants
//
// Parse never panics and never returns a partial tree: either a script or an *Error
// that names file, line, column and what was expected. Nesting is bounded.
package script
