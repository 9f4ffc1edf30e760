package dnsclient

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// maxStray is how many datagrams that answer nothing are passed over before the
// question is asked again over TCP. A late duplicate or two are normal; more
// mean that somebody guesses identifiers (RFC 5452, section 9.3).
const maxStray = 64

// exchange sends query, whose identifier it replaces, to server and returns a
// message for which answers holds: over UDP, and over TCP if the answer did not
// fit (RFC 7766, section 5). Each of the two may take as long as timeout.
func (c *Client) exchange(ctx context.Context, server netip.AddrPort, query []byte, q dnsmessage.Question, timeout time.Duration) ([]byte, error) {
	msg, truncated, err := c.over(ctx, "udp", server, query, q, timeout)
	if truncated || err == errForged {
		msg, _, err = c.over(ctx, "tcp", server, query, q, timeout)
	}
	return msg, err
}

// over does one exchange on a connection of its own: a new port and a new
// identifier for each.
func (c *Client) over(ctx context.Context, network string, server netip.AddrPort, query []byte, q dnsmessage.Question, timeout time.Duration) (msg []byte, truncated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := c.cfg.Dial(ctx, network, server)
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	// The deadline and a cancellation reach a blocked Read and Write alike.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	id, err := c.newID()
	if err != nil {
		return nil, false, err
	}
	framed := make([]byte, 2+len(query))
	binary.BigEndian.PutUint16(framed, uint16(len(query)))
	copy(framed[2:], query)
	binary.BigEndian.PutUint16(framed[2:], id)

	if network == "udp" {
		if _, err := conn.Write(framed[2:]); err != nil {
			return nil, false, err
		}
		return readDatagram(conn, id, q)
	}
	// Length and message in one segment: RFC 7766, section 8.
	if _, err := conn.Write(framed); err != nil {
		return nil, false, err
	}
	return readStream(conn, id, q)
}

// newID returns an unpredictable identifier.
func (c *Client) newID() (uint16, error) {
	var b [2]byte
	c.randMu.Lock()
	defer c.randMu.Unlock()
	if _, err := io.ReadFull(c.cfg.Rand, b[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(b[:]), nil
}

// readDatagram waits for the answer and passes over everything else.
func readDatagram(conn net.Conn, id uint16, q dnsmessage.Question) (msg []byte, truncated bool, err error) {
	buf := make([]byte, maxUDPSize)
	for range maxStray {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, false, err
		}
		if ok, truncated := answers(buf[:n], id, q); ok {
			return buf[:n], truncated, nil
		}
	}
	return nil, false, errForged
}

// readStream reads one message with its length before it (RFC 1035, section
// 4.2.2). Nobody else can write to the connection, so a wrong one is the
// server's fault.
func readStream(conn net.Conn, id uint16, q dnsmessage.Question) (msg []byte, truncated bool, err error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, false, err
	}
	msg = make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, msg); err != nil {
		return nil, false, err
	}
	ok, truncated := answers(msg, id, q)
	if !ok {
		return nil, false, errInvalid
	}
	return msg, truncated, nil
}
