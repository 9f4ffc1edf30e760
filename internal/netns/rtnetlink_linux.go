package netns

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// request is one rtnetlink message under construction (rtnetlink(7)).
type request struct{ b []byte }

func newRequest(typ, flags uint16) *request {
	r := &request{b: make([]byte, unix.SizeofNlMsghdr, 256)}
	binary.NativeEndian.PutUint16(r.b[4:], typ)
	binary.NativeEndian.PutUint16(r.b[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(r.b[8:], 1) // sequence number: one message a socket
	return r
}

func (r *request) link(m unix.IfInfomsg) {
	r.b = append(r.b, unsafe.Slice((*byte)(unsafe.Pointer(&m)), unix.SizeofIfInfomsg)...)
}

func (r *request) addr(m unix.IfAddrmsg) {
	r.b = append(r.b, unsafe.Slice((*byte)(unsafe.Pointer(&m)), unix.SizeofIfAddrmsg)...)
}

func (r *request) route(m unix.RtMsg) {
	r.b = append(r.b, unsafe.Slice((*byte)(unsafe.Pointer(&m)), unix.SizeofRtMsg)...)
}

// neigh appends a struct ndmsg, which x/sys has only as NdMsg on newer versions.
func (r *request) neigh(family uint8, index int32, state uint16) {
	var m [12]byte
	m[0] = family
	binary.NativeEndian.PutUint32(m[4:], uint32(index))
	binary.NativeEndian.PutUint16(m[8:], state)
	r.b = append(r.b, m[:]...)
}

// attr appends an attribute, padded to four bytes.
func (r *request) attr(typ uint16, value []byte) {
	end := r.begin(typ)
	r.b = append(r.b, value...)
	end()
}

func (r *request) uint32(typ uint16, v uint32) {
	r.attr(typ, binary.NativeEndian.AppendUint32(nil, v))
}

func (r *request) string(typ uint16, s string) { r.attr(typ, append([]byte(s), 0)) }

// begin opens an attribute whose value is what is appended until the returned
// function is called.
func (r *request) begin(typ uint16) (end func()) {
	start := len(r.b)
	r.b = binary.NativeEndian.AppendUint16(r.b, 0)
	r.b = binary.NativeEndian.AppendUint16(r.b, typ)
	return func() {
		binary.NativeEndian.PutUint16(r.b[start:], uint16(len(r.b)-start))
		for len(r.b)%unix.NLMSG_ALIGNTO != 0 {
			r.b = append(r.b, 0)
		}
	}
}

// do sends the message and returns the kernel's verdict.
func (r *request) do() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("rtnetlink socket: %w", err)
	}
	defer unix.Close(fd)
	binary.NativeEndian.PutUint32(r.b, uint32(len(r.b)))
	if err := unix.Sendto(fd, r.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("rtnetlink send: %w", err)
	}
	buf := make([]byte, 8192)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("rtnetlink receive: %w", err)
		}
		m := buf[:n]
		if len(m) < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(m[4:]) != unix.NLMSG_ERROR {
			continue
		}
		if code := int32(binary.NativeEndian.Uint32(m[unix.SizeofNlMsghdr:])); code != 0 {
			return unix.Errno(-code)
		}
		return nil
	}
}
