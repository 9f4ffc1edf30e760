package direct

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"

	"github.com/netduet/netduet/conformance/player"
	"github.com/netduet/netduet/direct"
	"github.com/netduet/netduet/tcp"
)

// Numbers of socket(2) and of the flags of send(2) and recv(2).
const (
	afINET, afINET6       = 2, 10
	sockStream, sockDgram = 1, 2
	sockTypes             = 0xf
	sockNonblock          = 0x800
	sockCloexec           = 0x80000
	protoTCP, protoUDP    = 6, 17

	msgOOB      = 1
	msgPeek     = 2
	msgTrunc    = 0x20
	msgDontWait = 0x40
	msgWaitAll  = 0x100
	msgErrQueue = 0x2000
	msgEOR      = 0x80
	msgMore     = 0x8000
	msgFastOpen = 0x20000000
	shutRD      = 0
	shutWR      = 1
	shutRDWR    = 2
	maxDatagram = 65507 // RFC 768 over IPv4
)

func (s *sockets) Socket(family, typ, proto int) (int, error) {
	network := ""
	switch typ & sockTypes {
	case sockStream:
		if proto == 0 || proto == protoTCP {
			network = "tcp"
		}
	case sockDgram:
		if proto == 0 || proto == protoUDP {
			network = "udp"
		}
	default:
		return -1, player.Errno("ESOCKTNOSUPPORT")
	}
	switch {
	case family != afINET && family != afINET6:
		return -1, player.Errno("EAFNOSUPPORT")
	case network == "":
		return -1, player.Errno("EPROTONOSUPPORT")
	}
	k, err := s.stack.Socket(network)
	if err != nil {
		return -1, errno(err)
	}
	f := &file{
		socket: k, udp: network == "udp", v6: family == afINET6,
		nonblock: typ&sockNonblock != 0, cloexec: typ&sockCloexec != 0,
	}
	if !f.udp {
		if err := s.begin(f); err != nil {
			return -1, err
		}
	}
	k.Notify(f.touch)
	return s.add(f), nil
}

// socket returns the socket of a descriptor.
func (s *sockets) socket(fd int) (*file, error) {
	f, err := s.file(fd)
	if err == nil && f.socket == nil {
		err = errNotSock
	}
	return f, err
}

// outward is an address as the application sees it.
func (f *file) outward(a netip.AddrPort) netip.AddrPort {
	if f.v6 && a.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	return a
}

// inward is an address as the stack has it. Our stack speaks IPv4: an IPv6 socket
// has mapped addresses only (RFC 4291, section 2.5.5.2).
func (f *file) inward(a netip.AddrPort) netip.AddrPort {
	ip := a.Addr().Unmap()
	if f.v6 && ip == netip.IPv6Unspecified() {
		ip = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(ip, a.Port())
}

func (s *sockets) Bind(fd int, a netip.AddrPort) error {
	f, err := s.socket(fd)
	if err != nil {
		return err
	}
	if !a.IsValid() {
		return errInvalid
	}
	return errno(f.socket.Bind(f.inward(a)))
}

func (s *sockets) Listen(fd, backlog int) error {
	f, err := s.socket(fd)
	if err != nil {
		return err
	}
	return errno(f.socket.Listen(min(backlog, s.settings.Somaxconn)))
}

func (s *sockets) Accept(fd, flags int) (int, netip.AddrPort, error) {
	f, err := s.socket(fd)
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	if flags&^(sockNonblock|sockCloexec) != 0 {
		return -1, netip.AddrPort{}, errInvalid
	}
	var k *direct.Socket
	err = s.block(s.within(f, f.readable, false), func() (err error) {
		k, err = f.socket.Accept()
		return errno(err)
	})
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	n := &file{socket: k, v6: f.v6, nonblock: flags&sockNonblock != 0, cloexec: flags&sockCloexec != 0, quiet: f.quiet, set: maps.Clone(f.set)}
	k.Notify(n.touch)
	return s.add(n), n.outward(k.RemoteAddr()), nil
}

func (s *sockets) Connect(fd int, a netip.AddrPort) error {
	f, err := s.socket(fd)
	if err != nil {
		return err
	}
	if !a.IsValid() {
		return errNoSupp // dissolving an association
	}
	err = errno(f.socket.Connect(f.inward(a)))
	if err != player.Errno("EINPROGRESS") && err != player.Errno("EALREADY") || f.nonblock {
		return err
	}
	under := err
	err = s.block(s.within(f, f.writable, false), func() error {
		err := errno(f.socket.Connect(f.inward(a)))
		if err == player.Errno("EALREADY") {
			return errAgain
		}
		return err
	})
	if err == errAgain {
		return under // SO_SNDTIMEO
	}
	return err
}

func (s *sockets) Send(fd int, p [][]byte, to netip.AddrPort, control []player.Control, flags int) (int, error) {
	f, err := s.socket(fd)
	switch {
	case err != nil:
		return -1, err
	case f.udp && flags&msgFastOpen != 0, len(control) > 0, f.udp && flags&msgOOB != 0:
		return -1, errNoSupp
	}
	data := p[0]
	for _, more := range p[1:] {
		data = append(data[:len(data):len(data)], more...)
	}
	if f.udp {
		return s.sendDatagram(f, data, to)
	}
	write := f.socket.Write
	switch {
	case flags&msgOOB != 0:
		write = f.socket.WriteUrgent
	case flags&msgMore != 0:
		write = f.socket.WriteMore
	case flags&msgEOR != 0:
		write = f.socket.WriteRecord
	}
	if flags&msgFastOpen != 0 {
		rest := write
		write = func(p []byte) (int, error) {
			write = rest
			return f.socket.WriteFastOpen(p, f.inward(to))
		}
	}
	total := 0
	until := s.within(f, f.writable, flags&msgDontWait != 0)
	err = s.block(until, func() error {
		for {
			n, err := write(data[total:])
			total += n
			if n > 0 {
				s.progress = true
			}
			waits := s.clk.Now() < until
			e := errno(err)
			if e == player.Errno("EINPROGRESS") && waits {
				e = errAgain // the SYN has left, with nothing of this on it
			}
			if e == errAgain && waits && total < len(data) {
				f.socket.ExpectWrite()
			}
			switch {
			case e != nil:
				return e
			case total == len(data) && f.opening():
				return errAgain // the SYN took it all; connect(2) would wait, too
			case total == len(data):
				return nil
			}
		}
	})
	if total > 0 {
		return total, nil
	}
	return 0, err
}

// opening tells whether the file's connection is on the way.
func (f *file) opening() bool {
	c, ok := f.socket.Conn().(*direct.TCPConn)
	return ok && c.Info().State == tcp.StateSynSent
}

func (s *sockets) sendDatagram(f *file, data []byte, to netip.AddrPort) (n int, err error) {
	if len(data) > maxDatagram {
		return -1, player.Errno("EMSGSIZE")
	}
	if to.IsValid() {
		n, err = f.socket.WriteTo(data, f.inward(to))
	} else {
		n, err = f.socket.Write(data)
	}
	return n, errno(err)
}

func (s *sockets) Recv(fd int, p [][]byte, controlLen, flags int) (r player.Received, err error) {
	f, err := s.socket(fd)
	switch {
	case err != nil:
		return r, err
	case flags&msgErrQueue != 0:
		return r, errAgain // nothing is ever queued there
	case flags&msgOOB != 0:
		return s.recvUrgent(f, p, flags)
	}
	size := 0
	for _, b := range p {
		size += len(b)
	}
	buf := make([]byte, size)
	until := s.within(f, f.readable, flags&msgDontWait != 0)
	if f.udp {
		err = s.block(until, func() error { return s.recvDatagram(f, buf, flags, &r) })
	} else {
		need := 0
		if until > s.clk.Now() && flags&msgPeek == 0 {
			need = min(f.lowat(), size)
		}
		err = s.block(until, func() error {
			if in, _, _ := f.socket.Pending(); in > 0 && in < need && f.socket.Ready()&(direct.ReadyRdHup|direct.ReadyErr) == 0 {
				return errAgain // SO_RCVLOWAT
			}
			return s.recvStream(f, buf, flags, &r)
		})
		if r.N > 0 {
			err = nil
		}
	}
	rest := buf[:min(r.N, size)]
	for _, b := range p {
		rest = rest[copy(b, rest):]
	}
	if err == nil && controlLen > 0 {
		r.Control = f.control()
	}
	return r, err
}

// recvUrgent is recv with MSG_OOB, which does not wait.
func (s *sockets) recvUrgent(f *file, p [][]byte, flags int) (r player.Received, err error) {
	b, err := f.socket.ReadUrgent(flags&msgPeek != 0)
	if err == io.EOF {
		return r, nil
	}
	if err != nil {
		return r, errno(err)
	}
	r.Flags = msgOOB
	for _, buf := range p {
		if len(buf) > 0 {
			buf[0], r.N = b, 1
			return r, nil
		}
	}
	r.Flags |= msgTrunc
	return r, nil
}

func (s *sockets) recvStream(f *file, buf []byte, flags int, r *player.Received) error {
	read := f.socket.Read
	if flags&msgPeek != 0 {
		read = f.socket.Peek
	}
	if len(buf) == 0 && f.socket.Ready()&direct.ReadyIn == 0 {
		return errAgain // as Linux: no bytes are waited for like some
	}
	for {
		n, err := read(buf[r.N:])
		r.N += n
		if n > 0 {
			s.progress = true
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return errno(err)
		case flags&msgWaitAll == 0 || flags&msgPeek != 0 || r.N == len(buf):
			return nil
		}
	}
}

func (s *sockets) recvDatagram(f *file, buf []byte, flags int, r *player.Received) error {
	var n, whole int
	var from netip.AddrPort
	var err error
	if flags&msgPeek != 0 {
		n, err = f.socket.Peek(buf)
		if whole = n; err == nil && n == len(buf) {
			whole, _, _ = f.socket.Pending()
		}
	} else {
		n, whole, from, err = f.socket.ReadFrom(buf)
	}
	if err != nil {
		return errno(err)
	}
	r.N, r.From = n, f.outward(from)
	if whole > n {
		r.Flags |= msgTrunc
		if flags&msgTrunc != 0 {
			r.N = whole
		}
	}
	return nil
}

func (s *sockets) Shutdown(fd, how int) error {
	f, err := s.socket(fd)
	if err != nil {
		return err
	}
	switch how {
	case shutRD:
		return errno(f.socket.CloseRead())
	case shutWR:
		return errno(f.socket.CloseWrite())
	case shutRDWR:
		return errno(errors.Join(f.socket.CloseRead(), f.socket.CloseWrite()))
	}
	return errInvalid
}

func (s *sockets) CloseFD(fd int) error {
	f, err := s.file(fd)
	if err != nil {
		return err
	}
	delete(s.files, fd)
	s.forget(f)
	if f.socket == nil {
		return nil
	}
	lingers := f.lingers()
	c, _ := f.socket.Conn().(*direct.TCPConn)
	err = f.socket.Close()
	if c != nil && lingers > 0 {
		// close(2) then waits, even where calls do not block (socket(7)).
		s.block(s.clk.Now().Add(lingers), func() error {
			switch c.Info().State {
			case tcp.StateFinWait2, tcp.StateTimeWait, tcp.StateClosed:
				return nil
			}
			return errAgain
		})
	}
	if errors.Is(err, net.ErrClosed) {
		return errBadFD
	}
	return errno(err)
}
