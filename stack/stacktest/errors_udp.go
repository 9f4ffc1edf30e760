package stacktest

import (
	"net"
	"net/netip"
	"time"
)

// onUDP gives the error of a call on an unconnected socket of B, and onDialledUDP
// on a socket of A that is connected to nobody's port.
func onUDP(f func(u udpConn) error) func(h *harness) error {
	return func(h *harness) error { return f(h.listenUDP(h.b)) }
}

func onDialledUDP(f func(u udpConn) error) func(h *harness) error {
	return func(h *harness) error { return f(h.dialUDP(h.a, h.closedUDP())) }
}

func onClosedUDP(f func(u udpConn) error) func(h *harness) error {
	return onUDP(func(u udpConn) error {
		if err := u.Close(); err != nil {
			return err
		}
		return f(u)
	})
}

func udpErrors() []outcome {
	var buf [16]byte
	return []outcome{
		{name: "UDPReadRefused", want: `*net.OpError{read udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > *os.SyscallError{read} > syscall.Errno [ECONNREFUSED] "read udp HOST:PORT->HOST:PORT: read: connection refused"`, run: onDialledUDP(func(u udpConn) error {
			if err := send(u, []byte("x")); err != nil {
				return err
			}
			_, err := u.Read(buf[:])
			return err
		})},
		{name: "UDPReadFromRefused", want: `*net.OpError{read udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > *os.SyscallError{recvfrom} > syscall.Errno [ECONNREFUSED] "read udp HOST:PORT->HOST:PORT: recvfrom: connection refused"`, run: onDialledUDP(func(u udpConn) error {
			if err := send(u, []byte("x")); err != nil {
				return err
			}
			_, _, err := u.ReadFrom(buf[:])
			return err
		})},
		{name: "UDPReadMsgRefused", want: `*net.OpError{read udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > *os.SyscallError{recvmsg} > syscall.Errno [ECONNREFUSED] "read udp HOST:PORT->HOST:PORT: recvmsg: connection refused"`, run: onDialledUDP(func(u udpConn) error {
			if err := send(u, []byte("x")); err != nil {
				return err
			}
			_, _, _, _, err := u.ReadMsgUDPAddrPort(buf[:], nil)
			return err
		})},
		{name: "UDPWriteRefused", want: `*net.OpError{write udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > *os.SyscallError{write} > syscall.Errno [ECONNREFUSED] "write udp HOST:PORT->HOST:PORT: write: connection refused"`, run: onDialledUDP(writeUntilErrorUDP)},
		{name: "UDPReadTimeout", want: `*net.OpError{read udp UDPAddr(HOST:PORT) -} > *poll.DeadlineExceededError [os.deadline] timeout "read udp HOST:PORT: i/o timeout"`, run: onUDP(func(u udpConn) error {
			u.SetReadDeadline(time.Now().Add(blip))
			_, _, err := u.ReadFrom(buf[:])
			return err
		})},
		{name: "UDPReadTimeoutDialled", want: `*net.OpError{read udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "read udp HOST:PORT->HOST:PORT: i/o timeout"`, run: onDialledUDP(func(u udpConn) error {
			u.SetReadDeadline(past())
			_, err := u.Read(buf[:])
			return err
		})},
		{name: "UDPReadAddrPortTimeout", want: `*net.OpError{read udp UDPAddr(HOST:PORT) -} > *poll.DeadlineExceededError [os.deadline] timeout "read udp HOST:PORT: i/o timeout"`, run: onUDP(func(u udpConn) error {
			u.SetReadDeadline(past())
			_, _, err := u.ReadFromUDPAddrPort(buf[:])
			return err
		})},
		{name: "UDPWriteTimeout", want: `*net.OpError{write udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "write udp HOST:PORT->HOST:PORT: i/o timeout"`, run: onUDP(func(u udpConn) error {
			u.SetWriteDeadline(past())
			_, err := u.WriteTo(buf[:], u.LocalAddr())
			return err
		})},
		{name: "UDPWriteUnconnected", want: `*net.OpError{write udp UDPAddr(HOST:PORT) -} > *os.SyscallError{write} > syscall.Errno [EDESTADDRREQ] "write udp HOST:PORT: write: destination address required"`, run: onUDP(func(u udpConn) error { _, err := u.Write(buf[:]); return err })},
		{name: "UDPWriteToConnected", want: `*net.OpError{write udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > errorString [net.connected] "write udp HOST:PORT->HOST:PORT: use of WriteTo with pre-connected connection"`, run: onDialledUDP(func(u udpConn) error {
			_, err := u.WriteTo(buf[:], u.RemoteAddr())
			return err
		})},
		{name: "UDPWriteToAddrPortConnected", want: `*net.OpError{write udp UDPAddr(HOST:PORT) udp(HOST:PORT)} > errorString [net.connected] "write udp HOST:PORT->HOST:PORT: use of WriteTo with pre-connected connection"`, run: onDialledUDP(func(u udpConn) error {
			_, err := u.WriteToUDPAddrPort(buf[:], u.RemoteAddr().(*net.UDPAddr).AddrPort())
			return err
		})},
		{name: "UDPWriteToWrongType", want: `*net.OpError{write udp UDPAddr(HOST:PORT) TCPAddr(FOREIGN:PORT)} > syscall.Errno [EINVAL] "write udp HOST:PORT->FOREIGN:PORT: invalid argument"`, run: onUDP(func(u udpConn) error {
			_, err := u.WriteTo(buf[:], &net.TCPAddr{IP: foreign().AsSlice(), Port: 9})
			return err
		})},
		{name: "UDPWriteToNobody", want: `*net.OpError{write udp UDPAddr(HOST:PORT) udp(invalid AddrPort)} > errorString [] "write udp HOST:PORT->invalid AddrPort: missing address"`, run: onUDP(func(u udpConn) error {
			_, err := u.WriteToUDPAddrPort(buf[:], netip.AddrPort{})
			return err
		})},
		{name: "UDPWriteToNilUDP", want: `*net.OpError{write udp UDPAddr(HOST:PORT) -} > errorString [] "write udp HOST:PORT: missing address"`, run: onUDP(func(u udpConn) error {
			_, err := u.WriteToUDP(buf[:], nil)
			return err
		})},
		{name: "UDPWriteToWrongFamily", want: `*net.OpError{write udp UDPAddr(HOST:PORT) udp([2001:db8::1]:9)} > *net.AddrError{"non-IPv4 address" "2001:db8::1"} [] "write udp HOST:PORT->[2001:db8::1]:9: address 2001:db8::1: non-IPv4 address"`, run: onUDP(func(u udpConn) error {
			_, err := u.WriteToUDPAddrPort(buf[:], netip.MustParseAddrPort("[2001:db8::1]:9"))
			return err
		})},
		{name: "UDPWriteToNoPort", want: `*net.OpError{write udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > *os.SyscallError{sendto} > syscall.Errno [EINVAL] "write udp HOST:PORT->HOST:PORT: sendto: invalid argument"`, run: onUDP(func(u udpConn) error {
			to := *u.LocalAddr().(*net.UDPAddr)
			to.Port += 1 << 16 // cut to 16 bits, it would be a port again
			_, err := u.WriteTo(buf[:], &to)
			return err
		})},
		{name: "UDPWriteToNoIP", want: `*net.OpError{write udp UDPAddr(HOST:PORT) UDPAddr(?0a0001:9)} > *net.AddrError{"non-IPv4 address" "?0a0001"} [] "write udp HOST:PORT->?0a0001:9: address ?0a0001: non-IPv4 address"`, run: onUDP(func(u udpConn) error {
			_, err := u.WriteTo(buf[:], &net.UDPAddr{IP: net.IP{10, 0, 1}, Port: 9})
			return err
		})},
		{name: "UDPWriteTooLong", want: `*net.OpError{write udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > *os.SyscallError{sendto} > syscall.Errno [EMSGSIZE] "write udp HOST:PORT->HOST:PORT: sendto: message too long"`, run: onUDP(func(u udpConn) error {
			_, err := u.WriteTo(make([]byte, 65_508), u.LocalAddr())
			return err
		})},
		{name: "UDPWriteTooLongConnected", want: `*net.OpError{write udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > *os.SyscallError{write} > syscall.Errno [EMSGSIZE] "write udp HOST:PORT->HOST:PORT: write: message too long"`, run: onDialledUDP(func(u udpConn) error {
			_, err := u.Write(make([]byte, 65_508))
			return err
		})},
		{name: "UDPReadClosed", want: `*net.OpError{read udp UDPAddr(HOST:PORT) -} > errNetClosing [net.closed] "read udp HOST:PORT: use of closed network connection"`, run: onClosedUDP(func(u udpConn) error { _, _, err := u.ReadFrom(buf[:]); return err })},
		{name: "UDPWriteClosed", want: `*net.OpError{write udp UDPAddr(HOST:PORT) UDPAddr(FOREIGN:PORT)} > errNetClosing [net.closed] "write udp HOST:PORT->FOREIGN:PORT: use of closed network connection"`, run: onClosedUDP(func(u udpConn) error {
			_, err := u.WriteTo(buf[:], &net.UDPAddr{IP: foreign().AsSlice(), Port: 9})
			return err
		})},
		{name: "UDPCloseClosed", want: `*net.OpError{close udp UDPAddr(HOST:PORT) -} > errNetClosing [net.closed] "close udp HOST:PORT: use of closed network connection"`, run: onClosedUDP(udpConn.Close)},
		{name: "UDPSetDeadlineClosed", want: `*net.OpError{set udp - UDPAddr(HOST:PORT)} > errNetClosing [net.closed] "set udp HOST:PORT: use of closed network connection"`, run: onClosedUDP(func(u udpConn) error { return u.SetDeadline(time.Time{}) })},
		{name: "UDPSetReadBufferClosed", want: `*net.OpError{set udp - UDPAddr(HOST:PORT)} > errNetClosing [net.closed] "set udp HOST:PORT: use of closed network connection"`, run: onClosedUDP(func(u udpConn) error { return u.SetReadBuffer(8192) })},
		{name: "UDPReadStackCloses", want: `*net.OpError{read udp UDPAddr(HOST:PORT) -} > errNetClosing [net.closed] "read udp HOST:PORT: use of closed network connection"`, run: func(h *harness) error {
			u := h.listenUDP(h.b)
			ended := h.async(func() error { settle(); return h.b.Stack.Close() })
			defer ended()
			_, _, err := u.ReadFrom(buf[:])
			return err
		}},
		{name: "UDPReadDialledStackCloses", want: `*net.OpError{read udp UDPAddr(HOST:PORT) UDPAddr(HOST:PORT)} > errNetClosing [net.closed] "read udp HOST:PORT->HOST:PORT: use of closed network connection"`, run: func(h *harness) error {
			u := h.dialUDP(h.a, h.listenUDP(h.b).LocalAddr())
			ended := h.async(func() error { settle(); return h.a.Stack.Close() })
			defer ended()
			_, err := u.Read(buf[:])
			return err
		}},
	}
}

func writeUntilErrorUDP(u udpConn) error { return writeUntilError(u) }
