// Package sockopt is socket options and connection figures as functions over any
// net.Conn, net.Listener or net.PacketConn, with Linux's names, units and meanings.
// A program sets TCP_USER_TIMEOUT or reads TCP_INFO by the same line, whichever
// backend its connections come from, and through TLS as well.
//
// A connection is asked in this order:
//
//   - It has SetSockopt and GetSockopt ([Socket]), as those of package direct do, on
//     any operating system.
//   - It has NetConn() net.Conn, as *tls.Conn does: that is asked instead.
//   - It has SyscallConn, as those of packages net and socket do: on Linux the
//     kernel is asked.
//
// Anything else fails with an error that errors.Is [errors.ErrUnsupported], as do
// the host's sockets on other systems. Causes are syscall.Errno values and can be
// compared by errors.Is: ENOPROTOOPT for an option that is not known, EOPNOTSUPP for
// one that a stack knows and does not have, EINVAL for a bad value.
//
// The functions are safe for concurrent use. They are not a replacement of the
// methods that net.TCPConn has, and which all backends have: SetNoDelay,
// SetKeepAliveConfig, SetLinger, SetReadBuffer, SetWriteBuffer.
package sockopt
