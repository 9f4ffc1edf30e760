// Package direct is a network stack in the process: Ethernet, ARP, IPv4, ICMP, UDP
// and TCP over the raw frames of a netif.Device. [New] makes one; the result has
// the methods of stack.Stack without importing that package, and more: native
// addresses, statistics, neighbours, echo requests.
//
// It is the engine and not the protocols: those are the pure packages arp, neigh,
// ipv4, icmp, udp and tcp, which know no time, lock or goroutine. This package has
// the interfaces, the demultiplexing, the locks, the timers, and the types that
// applications see. It links no driver and asks the host for nothing.
//
// # Receiving
//
// One goroutine per queue of each device reads until the queue is dry, takes the
// time once, and does everything that a frame asks for where it stands: parse, look
// the connection up, lock it, feed the state machine, which copies the payload, to
// the buffer of a Read that waits if there is one. At the end of the round each
// touched connection gets one Output, one look at its timers and one wake-up. With
// Config.Manual there is no such goroutine, and the program calls [Stack.Poll].
//
// ACKs leave after the readers were woken, so that a reply carries them. Those for
// data in order are held back further while the queue has more, so that one stands
// for several frames, within limits (tcp.OutputHoldBulk). Where there is more than one
// processor, another goroutine sends those of several connections, while the receiver
// reads on (acker.go).
//
// Where all frames wake the same reader, round after round, the goroutine leaves the
// queue to that Read, which then polls the device itself, takes what its buffer can
// hold, and is woken by nobody (lead.go). It looks every millisecond whether the reader
// comes back, and takes the queue back as soon as another connection has a frame, a
// call of the stack's is about to wait, or the reader stays away for two looks.
//
// On a device that tells how many frames wait in front of it (netif.Info.QueueLen), the
// connections that receive at present share that room: their windows together stay below
// it (rcvbudget.go).
//
// Frames are the device's and are given back at once. Nothing of a frame is kept
// but copies in accounted memory.
//
// # Transmitting
//
// Each connection has one transmitter at a time. Under the connection's lock it
// takes a batch from Output, which pins the send buffer, and sets sending; it writes
// to the device without the lock; it takes the lock again, calls Sent, and repeats
// until Output has given all there is. Whoever finds sending set only leaves the mark again.
// When the device has no room, the batch waits in the queue's stall with sending
// still set, so that nobody else transmits, while everything else goes on: segments
// arrive, the application may close or reset. A goroutine that exists as long as
// something waits resumes the batches in their order. When 64 wait, connections only
// queue up for their turn, without a batch.
//
// Datagrams, ICMP and ARP are never queued behind a full device: they are dropped
// and counted.
//
// # Resting
//
// A connection's state machine exists only while something happens on the connection:
// after half a second of silence, with nothing in its buffers or in flight, the
// connection keeps a tcp.Rest, and the machine serves another one. TCPConn.lock brings
// it back; whoever locks TCPConn.mu without that must not touch tc. Options are shared
// with other connections until they are changed; channels, deadlines and addresses are
// made when they are needed. Read on a connection that rests leaves it so.
//
// # Locks
//
// In this order; an arrow means that the right one may be taken while the left one
// is held.
//
//	Socket  →  TCPConn, TCPListener, UDPConn, listeners
//	halfOpen, timeWait  →  TCPListener
//	halfOpen            →  TCPConn
//	TCPConn, halfOpen, timeWait  →  listeners  →  table shard
//	TCPConn, halfOpen, timeWait, neighbors, fragments  →  timer shard
//	TCPConn  →  lead
//
// Leaves, under which nothing else is taken but timers: neighbors, fragments,
// pathMTU, fastOpens, fastQueue, pings, idMu, connList, udpTable, UDPConn, stall (which enters the
// background gate), drain.
//
// No lock at all is held while an application's code runs or when a timer's owner is
// called, and only one during a device's Write: that of neighbors, while packets
// that waited for an address leave, so that no later one overtakes them. Waiting is
// done on channels only, never on a mutex, so that virtual time passes while
// something waits.
//
// # Bounds
//
// Buffers, connections and the records of half-open and ended ones are charged
// against Config.MemoryLimit; tables that peers can fill have bounds of their own
// (neighbours, reassembly, half-open connections and accept queue of each listener,
// TIME-WAIT records, path MTUs), and say what gives way: the longest unused neighbour,
// or what came last. A listener with as many half-open connections as its backlog
// answers further SYNs by cookies (RFC 4987, section 3.6, as Linux does; see
// tcp.SynCookies), for which it keeps and allocates nothing. Connections that Fast Open
// (RFC 7413) makes before their handshake is complete are bounded by the listener's
// TCP_FASTOPEN, and those that were reset count a minute longer; a SYN without a good cookie
// stays a record. Cookies of 1024 servers are kept. Tables indexed by what a peer chooses
// are keyed by a secret.
//
// # Deviations
//
// Everything listens to Linux where the standards leave freedom: the weak host
// model, ephemeral ports from 32768 to 60999, errors that ICMP causes. ICMP
// redirects are ignored. Broadcast echo requests are not answered (RFC 1122, section
// 3.2.2.6, allows it). IPv4 multicast is not received.
package direct
