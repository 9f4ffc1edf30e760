// Package socket plays the stack's interface on the host's own sockets. It is
// thin on purpose: connections and listeners are the host's *net.TCPConn,
// *net.TCPListener and *net.UDPConn, with everything these can do, and its
// behaviour is the specification that the other backends are tested against.
//
// It wraps nothing, and so there is one thing it can't do: a connection that a
// listener accepted is handed out by package net and never seen here. Close
// resets the connections that were dialled through the stack, and stops its
// listeners and UDP sockets; accepted connections stay the application's until
// it closes them.
//
// Invariants: what the stack remembers of a connection is a weak pointer, dropped
// when the connection is collected, so that being remembered keeps nothing alive;
// and no goroutine belongs to the stack.
package socket
