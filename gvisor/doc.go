// Package gvisor is gVisor's netstack as an engine of package stack: the same
// interface, the same errors and the same netif.Device beneath as package direct,
// with another TCP/IP in the middle. It is linked with the build tag netgvisor
// only, and is there for two reasons: as the peer that direct is measured against
// on equal terms, and as an independent implementation that it must interoperate
// with.
//
// It is not a wrapper of gVisor's own adapters (gonet, fdbased): those read from
// file descriptors and have errors of their own. What is ours is the border on
// both sides. Below, an interface is a gVisor link endpoint over a netif.Device
// that uses all its queues and what it offloads (file link.go, port.go). Above,
// TCPConn, TCPListener and UDPConn give gVisor's endpoints the behaviour of
// package net (tcpconn.go, udpconn.go); every error of gVisor's becomes an errno in
// one table (errors.go). Names go through the same client as direct's.
//
// # Settings
//
// CUBIC, SACK, RACK, window scaling and timestamps, receive buffers that adapt
// themselves up to Linux's limits (tcp_rmem and tcp_wmem), Nagle's algorithm off, a
// TTL of 64. Where the device segments (netif.TxTSO4), gVisor hands over frames of
// up to 64 KiB with unfinished checksums; elsewhere it cuts them up itself, after
// TCP has handled them as one. Where the device does not coalesce what arrives
// (netif.RxGSO), gVisor's GRO does. A device that finishes checksums but does not
// segment gets complete frames. Checksums of what arrives are trusted frame by
// frame, as Meta says, and never for the device as a whole.
//
// # What differs from direct
//
// Config.MemoryLimit has no counterpart: gVisor bounds each socket's buffers, and
// nothing bounds them together; New says so when it is set. Addresses are not
// announced by gratuitous ARP when the stack starts. gVisor runs one goroutine for
// each CPU, beside ours for each queue, and takes every segment through one of them.
//
// It can't run inside a bubble of testing/synctest: those goroutines park in a way
// that a bubble takes for activity, so that its time stands still. What else it
// can't do is a table in the tests, with the reason of each row: a row that is no
// longer true fails.
//
// After a burst that overflows a queue and loses hundreds of segments at once,
// gVisor's sender has been seen to come back at two segments for each
// retransmission timeout. A benchmark over a shallow bottleneck measures that.
//
// # Invariants
//
//   - No goroutine of the stack's remains when Close returns.
//   - Nothing blocks in the link: frames that find no room wait in a bounded
//     backlog, and beyond it they are dropped and counted.
//   - A received buffer goes back to its device before the next batch is read:
//     gVisor keeps a copy.
//   - Of our locks only two are held while gVisor is called: the turns, which order
//     concurrent Reads, Writes and Accepts of one socket, and in Listen the Stack's,
//     which orders the listeners. Nothing that gVisor calls takes either.
package gvisor
