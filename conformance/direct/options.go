package direct

import (
	"encoding/binary"
	"time"

	"github.com/netduet/netduet/conformance/player"
	"github.com/netduet/netduet/conformance/sysctl"
	"github.com/netduet/netduet/direct"
)

// Options that this package looks at itself.
const (
	solSocket, solTCP = 1, 6

	soDontRoute = 5
	soPriority  = 12
	soLinger    = 13
	soRcvLowat  = 18
	soRcvTimeo  = 20
	soSndTimeo  = 21
	soMark      = 36

	tcpKeepIdle     = 4
	tcpKeepIntvl    = 5
	tcpKeepCnt      = 6
	tcpLinger2      = 8
	tcpInfo         = 11
	tcpCongestion   = 13
	tcpNotSentLowat = 25
	tcpInq          = 36
)

func int32Value(v int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }

// inherited are the options whose value is a sysctl's as long as nobody sets them.
func inherited(c *sysctl.Config) [5]struct{ name, value int } {
	return [...]struct{ name, value int }{
		{tcpKeepIdle, c.KeepaliveTime}, {tcpKeepIntvl, c.KeepaliveIntvl}, {tcpKeepCnt, c.KeepaliveProbes},
		{tcpLinger2, c.FinTimeout}, {tcpNotSentLowat, int(uint32(c.NotSentLowat))},
	}
}

// begin gives a socket what sysctls say that sockets begin with.
func (s *sockets) begin(f *file) error {
	d := sysctl.Defaults()
	if err := s.inherit(f, &d); err != nil {
		return err
	}
	if c := s.settings.CongestionControl; hasController(c) {
		return errno(f.socket.SetSockopt(solTCP, tcpCongestion, []byte(c)))
	}
	return nil
}

// inherit gives a socket what the sysctls say that differ from those of before and that
// the script has not set.
func (s *sockets) inherit(f *file, before *sysctl.Config) error {
	old := inherited(before)
	for i, o := range inherited(&s.settings) {
		if o.value == old[i].value || f.set[o.name] {
			continue
		}
		if err := f.socket.SetSockopt(solTCP, o.name, int32Value(o.value)); err != nil {
			return errno(err)
		}
	}
	return nil
}

func (s *sockets) Setsockopt(fd, level, name int, value []byte) error {
	f, err := s.socket(fd)
	if err != nil {
		return err
	}
	if level == solSocket {
		switch name {
		case soRcvTimeo, soSndTimeo:
			if len(value) < 16 {
				return errInvalid
			}
			sec, usec := int64(binary.LittleEndian.Uint64(value)), int64(binary.LittleEndian.Uint64(value[8:]))
			if usec < 0 || usec >= 1e6 {
				return player.Errno("EDOM")
			}
			d := time.Duration(min(max(sec, 0), 1<<32))*time.Second + time.Duration(usec)*time.Microsecond
			if name == soRcvTimeo {
				f.readable = d
			} else {
				f.writable = d
			}
			return nil
		case soDontRoute, soPriority, soMark: // they change nothing that a packet shows
			if len(value) < 4 {
				return errInvalid
			}
			if f.quiet == nil {
				f.quiet = make(map[int]int)
			}
			f.quiet[name] = int(int32(binary.LittleEndian.Uint32(value)))
			return nil
		}
	}
	if err := f.socket.SetSockopt(level, name, value); err != nil {
		return errno(err)
	}
	if level == solTCP {
		if f.set == nil {
			f.set = make(map[int]bool)
		}
		f.set[name] = true
	}
	return nil
}

func (s *sockets) Getsockopt(fd, level, name, n int) ([]byte, error) {
	f, err := s.socket(fd)
	if err != nil {
		return nil, err
	}
	if level == solSocket {
		switch name {
		case soRcvTimeo, soSndTimeo:
			d := f.readable
			if name == soSndTimeo {
				d = f.writable
			}
			b := binary.LittleEndian.AppendUint64(nil, uint64(d/time.Second))
			b = binary.LittleEndian.AppendUint64(b, uint64(d%time.Second/time.Microsecond))
			return b[:min(n, len(b))], nil
		case soDontRoute, soPriority, soMark:
			b := int32Value(f.quiet[name])
			return b[:min(n, len(b))], nil
		}
	}
	b := make([]byte, n)
	n, err = f.socket.GetSockopt(level, name, b)
	return b[:n], errno(err)
}

// lingers is how long close waits.
func (f *file) lingers() time.Duration {
	var b [8]byte
	if n, err := f.socket.GetSockopt(solSocket, soLinger, b[:]); f.udp || err != nil || n < 8 || b[0] == 0 {
		return 0
	}
	return time.Duration(binary.LittleEndian.Uint32(b[4:])) * time.Second
}

// lowat is from how many bytes on a read returns.
func (f *file) lowat() int {
	var b [4]byte
	if n, err := f.socket.GetSockopt(solSocket, soRcvLowat, b[:]); err != nil || n < 4 {
		return 1
	}
	return int(int32(binary.LittleEndian.Uint32(b[:])))
}

// control is the control messages of a receiving call: TCP_INQ.
func (f *file) control() []player.Control {
	var b [4]byte
	if n, err := f.socket.GetSockopt(solTCP, tcpInq, b[:]); f.udp || err != nil || n < 4 || b[0] == 0 {
		return nil
	}
	in, _, _ := f.socket.Pending()
	if in == 0 && f.socket.Ready()&direct.ReadyRdHup != 0 {
		in = 1 // there is the end to read
	}
	return []player.Control{{Level: solTCP, Type: tcpInq, Data: int32Value(in)}}
}

func (s *sockets) TCPInfo(fd int) (map[string]int64, error) {
	raw, err := s.Getsockopt(fd, solTCP, tcpInfo, 512)
	if err != nil {
		return nil, err
	}
	return player.DecodeTCPInfo(raw)
}

// Commands of fcntl(2), and the flag that matters.
const (
	fGetFD, fSetFD, fGetFL, fSetFL = 1, 2, 3, 4
	fdCloexec                      = 1
	oRDWR, oNonblock               = 2, 0x800
)

func (s *sockets) Fcntl(fd, cmd, arg int) (int, error) {
	f, err := s.file(fd)
	if err != nil {
		return -1, err
	}
	switch cmd {
	case fGetFD:
		if f.cloexec {
			return fdCloexec, nil
		}
	case fSetFD:
		f.cloexec = arg&fdCloexec != 0
	case fGetFL:
		if f.nonblock {
			return oRDWR | oNonblock, nil
		}
		return oRDWR, nil
	case fSetFL:
		f.nonblock = arg&oNonblock != 0
	default:
		return -1, errInvalid
	}
	return 0, nil
}

// Requests of ioctl(2).
const (
	siocInq     = 0x541b
	siocOutq    = 0x5411
	siocOutqNSD = 0x894b
)

func (s *sockets) Ioctl(fd, req int) (int, error) {
	f, err := s.socket(fd)
	if err != nil {
		return -1, err
	}
	if f.socket.Listener() != nil {
		return -1, errInvalid
	}
	in, out, unsent := f.socket.Pending()
	switch req {
	case siocInq:
		return in, nil
	case siocOutq:
		return out, nil
	case siocOutqNSD:
		return unsent, nil
	}
	return -1, player.Errno("ENOTTY")
}
