// Package netapi holds what a network stack that is not the host's needs in
// order to feel like package net: how addresses are read, what errors look
// like, how several addresses are tried, and when a deadline fires.
//
// Engines share it, so that they cannot drift apart: each supplies the
// connections, and netapi supplies everything that a caller of net.Dialer,
// net.ListenConfig, net.Conn, net.Listener or net.PacketConn would notice
// around them.
//
//   - [Dialer] and [Listener] are Dial and Listen over an engine's sockets; a Dialer
//     resolves a name and races its addresses (RFC 8305, as net does).
//   - [UDP] has the methods of *net.UDPConn over an engine's datagrams.
//   - [ParseNetwork], [Resolve], [ResolveListen] and [LookupPort] turn the strings
//     of the public API into netip values, with net's own errors.
//   - [Endpoint], [DialError], [ListenError] and [Syscall] build errors of the
//     shape that net builds for the same operation and cause.
//   - [Deadline] is one direction's deadline of a connection.
//   - [SortRFC6724] orders destinations as RFC 6724, section 6 says.
//
// It is not a stack: it holds no socket, reads no file of the host, starts no
// goroutine except to race two address families, and keeps no state between
// calls. The DNS client is package dnsclient.
//
// Invariants: an [netip.Addr] handed to an engine is never an IPv4-mapped IPv6
// address, so that "::ffff:192.0.2.1" is the IPv4 destination that package net
// makes of it; every error returned is one that net could have returned, apart
// from the identity of net's unexported types; nothing depends on GOOS, so that
// a program sees the same errors wherever the stack runs. The names of system
// calls in *os.SyscallError are the ones of Linux on every platform.
package netapi
