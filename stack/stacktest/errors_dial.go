package stacktest

import (
	"context"
	"net"
	"time"
)

// dialFrom dials from A and gives the error.
func dialFrom(network, address string) func(h *harness) error {
	return func(h *harness) error { return dialTo(h, network, address) }
}

func dialTo(h *harness, network, address string) error {
	c, err := h.a.Stack.DialContext(h.ctx, network, address)
	if err == nil {
		c.Close()
	}
	return err
}

// refusing returns an address of B with a port that nobody listens on.
func refusing(h *harness) string {
	h.Helper()
	l := h.listen(h.b)
	h.check(l.Close())
	return l.Addr().String()
}

func dialErrors() []outcome {
	return []outcome{
		{name: "DialRefused", want: `*net.OpError{dial tcp - TCPAddr(HOST:PORT)} > *os.SyscallError{connect} > syscall.Errno [ECONNREFUSED] "dial tcp HOST:PORT: connect: connection refused"`, run: func(h *harness) error { return dialTo(h, "tcp", refusing(h)) }},
		{name: "DialRefused4", want: `*net.OpError{dial tcp4 - TCPAddr(HOST:PORT)} > *os.SyscallError{connect} > syscall.Errno [ECONNREFUSED] "dial tcp4 HOST:PORT: connect: connection refused"`, run: func(h *harness) error { return dialTo(h, "tcp4", refusing(h)) }},
		{name: "DialPortZero", want: `*net.OpError{dial tcp - TCPAddr(HOST:PORT)} > *os.SyscallError{connect} > syscall.Errno [ECONNREFUSED] "dial tcp HOST:PORT: connect: connection refused"`, run: func(h *harness) error { return dialTo(h, "tcp", at(h.b, 0)) }},
		{name: "DialRefusedByName", dns: true, want: `*net.OpError{dial tcp - TCPAddr(HOST:PORT)} > *os.SyscallError{connect} > syscall.Errno [ECONNREFUSED] "dial tcp HOST:PORT: connect: connection refused"`, run: func(h *harness) error {
			_, port, _ := net.SplitHostPort(refusing(h))
			return dialTo(h, "tcp", net.JoinHostPort("host.test", port))
		}},
		{name: "DialTimeout", need: needBlackhole, want: `*net.OpError{dial tcp - TCPAddr(HOLE:PORT)} > timeoutError [deadline] timeout "dial tcp HOLE:PORT: i/o timeout"`, also: `*net.OpError{dial tcp - TCPAddr(HOLE:PORT)} > *poll.DeadlineExceededError [os.deadline] timeout "dial tcp HOLE:PORT: i/o timeout"`, run: func(h *harness) error {
			ctx, cancel := context.WithTimeout(h.ctx, blip)
			defer cancel()
			_, err := h.a.Stack.DialContext(ctx, "tcp", h.blackhole().String())
			return err
		}},
		{name: "DialCancelled", need: needBlackhole, want: `*net.OpError{dial tcp - TCPAddr(HOLE:PORT)} > canceledError [canceled] "dial tcp HOLE:PORT: operation was canceled"`, run: func(h *harness) error {
			ctx, cancel := context.WithCancel(h.ctx)
			hole := h.blackhole().String()
			go func() { settle(); cancel() }()
			_, err := h.a.Stack.DialContext(ctx, "tcp", hole)
			return err
		}},
		{name: "DialCancelledBefore", want: `*net.OpError{dial tcp - TCPAddr(HOST:PORT)} > canceledError [canceled] "dial tcp HOST:PORT: operation was canceled"`, run: func(h *harness) error {
			l := h.listen(h.b)
			ctx, cancel := context.WithCancel(h.ctx)
			cancel()
			_, err := h.a.Stack.DialContext(ctx, "tcp", l.Addr().String())
			return err
		}},
		{name: "DialNameCancelledBefore", want: `*net.OpError{dial tcp - -} > *net.DNSError{"operation was canceled" "localhost" found=true temporary=false} > canceledError [canceled] "dial tcp: lookup localhost: operation was canceled"`, run: func(h *harness) error {
			ctx, cancel := context.WithCancel(h.ctx)
			cancel()
			_, err := h.a.Stack.DialContext(ctx, "tcp", "localhost:9")
			return err
		}},
		{name: "DialTimeoutBefore", want: `*net.OpError{dial tcp - TCPAddr(HOST:PORT)} > timeoutError [deadline] timeout "dial tcp HOST:PORT: i/o timeout"`, run: func(h *harness) error {
			l := h.listen(h.b)
			ctx, cancel := context.WithDeadline(h.ctx, time.Now().Add(-time.Hour))
			defer cancel()
			_, err := h.a.Stack.DialContext(ctx, "tcp", l.Addr().String())
			return err
		}},
		{name: "DialStackClosed", want: `*net.OpError{dial tcp - -} > errNetClosing [net.closed] "dial tcp: use of closed network connection"`, run: func(h *harness) error {
			h.check(h.a.Stack.Close())
			return dialTo(h, "tcp", at(h.b, 9))
		}},
		{name: "DialStackCloses", need: needBlackhole, want: `*net.OpError{dial tcp - -} > errNetClosing [net.closed] "dial tcp: use of closed network connection"`, run: func(h *harness) error {
			hole := h.blackhole().String()
			ended := h.async(func() error { settle(); return h.a.Stack.Close() })
			defer ended()
			return dialTo(h, "tcp", hole)
		}},
		{name: "DialNetUnreachable", need: needUnreachable, want: `*net.OpError{dial tcp - TCPAddr(UNREACHABLE:PORT)} > *os.SyscallError{connect} > syscall.Errno [ENETUNREACH] "dial tcp UNREACHABLE:PORT: connect: network is unreachable"`, run: func(h *harness) error {
			return dialTo(h, "tcp", net.JoinHostPort(h.env.Unreachable.String(), "9"))
		}},
		{name: "DialHostUnreachable", need: needAbsent, want: `*net.OpError{dial tcp - TCPAddr(ABSENT:PORT)} > *os.SyscallError{connect} > syscall.Errno [EHOSTUNREACH] "dial tcp ABSENT:PORT: connect: no route to host"`, run: func(h *harness) error {
			return dialTo(h, "tcp", net.JoinHostPort(h.env.Absent.String(), "9"))
		}},
		{name: "DialNoAnswer", need: needBlackhole | needGivesUp, want: `*net.OpError{dial tcp - TCPAddr(HOLE:PORT)} > *os.SyscallError{connect} > syscall.Errno [ETIMEDOUT] timeout "dial tcp HOLE:PORT: connect: connection timed out"`, run: func(h *harness) error {
			// RFC 9293, section 3.8.3: at least 3 minutes for a SYN; kernels take about 2.
			c, err := h.a.Stack.DialContext(context.Background(), "tcp", h.blackhole().String())
			if err == nil {
				c.Close()
			}
			return err
		}},
		{name: "DialUnknownNetwork", want: `*net.OpError{dial tcp7 - -} > net.UnknownNetworkError [] "dial tcp7: unknown network tcp7"`, run: dialFrom("tcp7", "198.51.100.77:9")},
		{name: "DialNoNetwork", want: `*net.OpError{dial  - -} > net.UnknownNetworkError [] "dial: unknown network "`, run: dialFrom("", "198.51.100.77:9")},
		{name: "DialMissingPort", want: `*net.OpError{dial tcp - -} > *net.AddrError{"missing port in address" "FOREIGN"} [] "dial tcp: address FOREIGN: missing port in address"`, run: dialFrom("tcp", "198.51.100.77")},
		{name: "DialNoAddress", want: `*net.OpError{dial tcp - -} > errorString [] "dial tcp: missing address"`, run: dialFrom("tcp", "")},
		{name: "DialTooManyColons", want: `*net.OpError{dial tcp - -} > *net.AddrError{"too many colons in address" "FOREIGN:PORT:80"} [] "dial tcp: address FOREIGN:PORT:80: too many colons in address"`, run: dialFrom("tcp", "198.51.100.77:80:80")},
		{name: "DialMissingBracket", want: `*net.OpError{dial tcp - -} > *net.AddrError{"missing ']' in address" "[::1:80"} [] "dial tcp: address [::1:80: missing ']' in address"`, run: dialFrom("tcp", "[::1:80")},
		{name: "DialPortTooLarge", want: `*net.OpError{dial tcp - -} > *net.AddrError{"invalid port" "65536"} [] "dial tcp: address 65536: invalid port"`, run: dialFrom("tcp", "198.51.100.77:65536")},
		{name: "DialPortNegative", want: `*net.OpError{dial tcp - -} > *net.AddrError{"invalid port" "-1"} [] "dial tcp: address -1: invalid port"`, run: dialFrom("tcp", "198.51.100.77:-1")},
		{name: "DialUnknownService", want: `*net.OpError{dial tcp - -} > *net.DNSError{"unknown port" "tcp/nosuchservice" found=false temporary=false} [] "dial tcp: lookup tcp/nosuchservice: unknown port"`, run: dialFrom("tcp", "198.51.100.77:nosuchservice")},
		{name: "DialWrongFamily", want: `*net.OpError{dial tcp6 - -} > *net.AddrError{"no suitable address found" "FOREIGN"} [] "dial tcp6: address FOREIGN: no suitable address found"`, run: dialFrom("tcp6", "198.51.100.77:9")},
		{name: "DialUnknownHost", dns: true, want: `*net.OpError{dial tcp - -} > *net.DNSError{"no such host" "nobody.test" found=false temporary=false} [] "dial tcp: lookup nobody.test on SERVER: no such host"`, run: dialFrom("tcp", "nobody.test:9")},
		{name: "DialBadHostName", dns: true, want: `*net.OpError{dial tcp - -} > *net.DNSError{"no such host" "bad..name" found=false temporary=false} [] "dial tcp: lookup bad..name: no such host"`, run: dialFrom("tcp", "bad..name:9")},
		{name: "DialUDPUnknownHost", dns: true, want: `*net.OpError{dial udp - -} > *net.DNSError{"no such host" "nobody.test" found=false temporary=false} [] "dial udp: lookup nobody.test on SERVER: no such host"`, run: dialFrom("udp", "nobody.test:9")},
		{name: "DialUDPMissingPort", want: `*net.OpError{dial udp - -} > *net.AddrError{"missing port in address" "FOREIGN"} [] "dial udp: address FOREIGN: missing port in address"`, run: dialFrom("udp", "198.51.100.77")},
		{name: "DialUDPUnknownNetwork", want: `*net.OpError{dial udp5 - -} > net.UnknownNetworkError [] "dial udp5: unknown network udp5"`, run: dialFrom("udp5", "198.51.100.77:9")},
		{name: "DialUDPCancelledBefore", want: `*net.OpError{dial udp - UDPAddr(HOST:PORT)} > canceledError [canceled] "dial udp HOST:PORT: operation was canceled"`, run: func(h *harness) error {
			ctx, cancel := context.WithCancel(h.ctx)
			cancel()
			_, err := h.a.Stack.DialContext(ctx, "udp", at(h.b, 9))
			return err
		}},
		{name: "LookupUnknownHost", dns: true, want: `*net.DNSError{"no such host" "nobody.test" found=false temporary=false} [] "lookup nobody.test on SERVER: no such host"`, run: func(h *harness) error {
			_, err := h.a.Stack.Resolver().LookupHost(h.ctx, "nobody.test")
			return err
		}},
	}
}

// listenOn listens on B and gives the error.
func listenOn(network, address string) func(h *harness) error {
	return func(h *harness) error {
		l, err := h.b.Stack.Listen(h.ctx, network, address)
		if err == nil {
			l.Close()
		}
		return err
	}
}

func listenPacketOn(network, address string) func(h *harness) error {
	return func(h *harness) error {
		p, err := h.b.Stack.ListenPacket(h.ctx, network, address)
		if err == nil {
			p.Close()
		}
		return err
	}
}

func listenErrors() []outcome {
	return []outcome{
		{name: "ListenInUse", want: `*net.OpError{listen tcp - TCPAddr(HOST:PORT)} > *os.SyscallError{bind} > syscall.Errno [EADDRINUSE] "listen tcp HOST:PORT: bind: address already in use"`, run: func(h *harness) error {
			return listenOn("tcp", h.listen(h.b).Addr().String())(h)
		}},
		{name: "ListenNotAvailable", want: `*net.OpError{listen tcp - TCPAddr(FOREIGN:PORT)} > *os.SyscallError{bind} > syscall.Errno [EADDRNOTAVAIL] "listen tcp FOREIGN:PORT: bind: cannot assign requested address"`, run: listenOn("tcp", foreign().String()+":0")},
		{name: "ListenUnknownNetwork", want: `*net.OpError{listen tcp5 - -} > net.UnknownNetworkError [] "listen tcp5: unknown network tcp5"`, run: listenOn("tcp5", "198.51.100.77:0")},
		{name: "ListenWrongKind", want: `*net.OpError{listen udp - UDPAddr(FOREIGN:PORT)} > *net.AddrError{"unexpected address type" "FOREIGN:PORT"} [] "listen udp FOREIGN:PORT: address FOREIGN:PORT: unexpected address type"`, run: listenOn("udp", "198.51.100.77:0")},
		{name: "ListenMissingPort", want: `*net.OpError{listen tcp - -} > *net.AddrError{"missing port in address" "FOREIGN"} [] "listen tcp: address FOREIGN: missing port in address"`, run: listenOn("tcp", "198.51.100.77")},
		{name: "ListenPortTooLarge", want: `*net.OpError{listen tcp - -} > *net.AddrError{"invalid port" "70000"} [] "listen tcp: address 70000: invalid port"`, run: listenOn("tcp", "198.51.100.77:70000")},
		{name: "ListenUnknownService", want: `*net.OpError{listen tcp - -} > *net.DNSError{"unknown port" "tcp/nosuchservice" found=false temporary=false} [] "listen tcp: lookup tcp/nosuchservice: unknown port"`, run: listenOn("tcp", "198.51.100.77:nosuchservice")},
		{name: "ListenWrongFamily", want: `*net.OpError{listen tcp6 - -} > *net.AddrError{"no suitable address found" "FOREIGN"} [] "listen tcp6: address FOREIGN: no suitable address found"`, run: listenOn("tcp6", "198.51.100.77:0")},
		{name: "ListenStackClosed", want: `*net.OpError{listen tcp - -} > errNetClosing [net.closed] "listen tcp: use of closed network connection"`, run: func(h *harness) error {
			h.check(h.b.Stack.Close())
			return listenOn("tcp", "198.51.100.77:0")(h)
		}},
		{name: "ListenNameCancelledBefore", want: `*net.OpError{listen tcp - -} > *net.DNSError{"operation was canceled" "localhost" found=true temporary=false} > canceledError [canceled] "listen tcp: lookup localhost: operation was canceled"`, run: func(h *harness) error {
			ctx, cancel := context.WithCancel(h.ctx)
			cancel()
			l, err := h.b.Stack.Listen(ctx, "tcp", "localhost:0")
			if err == nil {
				l.Close()
			}
			return err
		}},
		{name: "ListenCancelledBefore", want: `no error`, run: func(h *harness) error {
			ctx, cancel := context.WithCancel(h.ctx)
			cancel()
			l, err := h.b.Stack.Listen(ctx, "tcp", at(h.b, 0))
			if err == nil {
				l.Close()
			}
			return err
		}},
		{name: "ListenPacketInUse", want: `*net.OpError{listen udp - UDPAddr(HOST:PORT)} > *os.SyscallError{bind} > syscall.Errno [EADDRINUSE] "listen udp HOST:PORT: bind: address already in use"`, run: func(h *harness) error {
			return listenPacketOn("udp", h.listenUDP(h.b).LocalAddr().String())(h)
		}},
		{name: "ListenPacketNotAvailable", want: `*net.OpError{listen udp - UDPAddr(FOREIGN:PORT)} > *os.SyscallError{bind} > syscall.Errno [EADDRNOTAVAIL] "listen udp FOREIGN:PORT: bind: cannot assign requested address"`, run: listenPacketOn("udp", foreign().String()+":0")},
		{name: "ListenPacketUnknownNetwork", want: `*net.OpError{listen udp5 - -} > net.UnknownNetworkError [] "listen udp5: unknown network udp5"`, run: listenPacketOn("udp5", "198.51.100.77:0")},
		{name: "ListenPacketWrongKind", want: `*net.OpError{listen tcp - TCPAddr(FOREIGN:PORT)} > *net.AddrError{"unexpected address type" "FOREIGN:PORT"} [] "listen tcp FOREIGN:PORT: address FOREIGN:PORT: unexpected address type"`, run: listenPacketOn("tcp", "198.51.100.77:0")},
		{name: "ListenPacketMissingPort", want: `*net.OpError{listen udp - -} > *net.AddrError{"missing port in address" "FOREIGN"} [] "listen udp: address FOREIGN: missing port in address"`, run: listenPacketOn("udp", "198.51.100.77")},
		{name: "ListenPacketStackClosed", want: `*net.OpError{listen udp - -} > errNetClosing [net.closed] "listen udp: use of closed network connection"`, run: func(h *harness) error {
			h.check(h.b.Stack.Close())
			return listenPacketOn("udp", "198.51.100.77:0")(h)
		}},
	}
}
