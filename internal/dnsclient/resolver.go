package dnsclient

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/netduet/netduet/internal/netapi"
)

// localTTL is the time to live, in seconds, of answers from Config.Hosts. The
// resolver of package net does not cache.
const localTTL = 0

// Resolver returns a *net.Resolver whose questions the client answers: Dial
// gives net connections on which the client itself is the server. So every type
// of record works, servers are tried in turn as for [Client.LookupNetIP], and
// Config.Hosts, localhost and the names that are never asked are what they are
// there. No packet goes to the servers that net believes in.
//
// What package net does by itself, before it asks, is beyond reach, and on a
// hosted operating system it includes reading files: nsswitch.conf, /etc/hosts,
// whose names win, and resolv.conf, whose search, ndots, timeout and attempts
// apply while its servers do not (Config.Search does not apply here). For
// addresses without any of it, use LookupNetIP. On js, wasip1 and where those
// files are missing, net's defaults are the same as ours.
//
// Under testing/synctest, package net's resolver works only in a process in
// which it was first used outside every bubble: it keeps a channel in a global
// variable, which otherwise belongs to the first bubble. LookupNetIP does not
// have this limit.
func (c *Client) Resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			return &forwardConn{client: c, ctx: ctx, server: forwardAddr(address)}, nil
		},
	}
}

// forwardConn is a stream connection to the client as a DNS server: net writes
// one framed query and reads one framed answer (net.Resolver.Dial allows a
// stream for every network). The query runs in Read.
type forwardConn struct {
	client *Client
	ctx    context.Context // net's, for this exchange
	server forwardAddr

	mu       sync.Mutex
	deadline time.Time
	closed   bool
	query    bytes.Buffer
	answer   *bytes.Reader
}

// forwardAddr is the server that package net thinks it talks to.
type forwardAddr string

func (forwardAddr) Network() string  { return "dns" }
func (a forwardAddr) String() string { return string(a) }

func (f *forwardConn) fail(op string, err error) error {
	return netapi.OpError(op, "dns", nil, f.server, err)
}

// Write takes the query.
func (f *forwardConn) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, f.fail(netapi.OpWrite, net.ErrClosed)
	}
	if f.query.Len()+len(b) > 2+65535 {
		return 0, f.fail(netapi.OpWrite, errInvalid)
	}
	return f.query.Write(b)
}

// Read answers it.
func (f *forwardConn) Read(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, f.fail(netapi.OpRead, net.ErrClosed)
	}
	if f.answer == nil {
		framed := f.query.Bytes()
		if len(framed) < 2 || len(framed)-2 != int(binary.BigEndian.Uint16(framed)) {
			return 0, f.fail(netapi.OpRead, io.ErrUnexpectedEOF)
		}
		ctx := f.ctx
		if !f.deadline.IsZero() {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, f.deadline)
			defer cancel()
		}
		msg, err := f.client.forward(ctx, framed[2:])
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return 0, f.fail(netapi.OpRead, netapi.Cause(err))
		}
		out := make([]byte, 2+len(msg))
		binary.BigEndian.PutUint16(out, uint16(len(msg)))
		copy(out[2:], msg)
		f.answer = bytes.NewReader(out)
	}
	return f.answer.Read(b)
}

// Close ends the connection; it does not interrupt a Read, which the context of
// Dial does.
func (f *forwardConn) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// LocalAddr returns an address that says what this is.
func (f *forwardConn) LocalAddr() net.Addr { return forwardAddr("stack") }

// RemoteAddr returns the server that net chose, which is not asked.
func (f *forwardConn) RemoteAddr() net.Addr { return f.server }

// SetDeadline bounds the next Read.
func (f *forwardConn) SetDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deadline = t
	return nil
}

// SetReadDeadline is SetDeadline.
func (f *forwardConn) SetReadDeadline(t time.Time) error { return f.SetDeadline(t) }

// SetWriteDeadline does nothing, as Write never waits.
func (f *forwardConn) SetWriteDeadline(time.Time) error { return nil }

// forward answers a query from the client's own names or from the servers. The
// caller's context bounds all of it, so each server gets a share of what is left
// and a dead one does not cost the answer of the next.
func (c *Client) forward(ctx context.Context, query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil, errInvalid
	}
	q, err := p.Question()
	if err != nil || p.SkipQuestion() != dnsmessage.ErrSectionDone {
		return nil, errInvalid
	}
	addresses := q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeAAAA
	if addrs, ok := c.local(q.Name.String(), addresses); ok {
		return localAnswer(h, q, addrs, neverAsk(foldName(q.Name.String())))
	}
	if len(c.cfg.Servers) == 0 {
		return localAnswer(h, q, nil, true)
	}
	var last []byte
	err = errNoSuchHost
	for i, server := range c.cfg.Servers {
		timeout := c.cfg.Timeout
		if deadline, ok := ctx.Deadline(); ok {
			timeout = min(timeout, time.Until(deadline)/time.Duration(len(c.cfg.Servers)-i))
		}
		var msg []byte
		if msg, err = c.exchange(ctx, server, query, q, timeout); err != nil {
			if ctx.Err() != nil {
				break
			}
			continue
		}
		binary.BigEndian.PutUint16(msg, h.ID)
		last = msg
		if rcode := dnsmessage.RCode(msg[3] & 0xf); rcode == dnsmessage.RCodeSuccess || rcode == dnsmessage.RCodeNameError {
			return msg, nil
		}
	}
	if last != nil {
		// What net should make of a failing server, net decides.
		return last, nil
	}
	return nil, err
}

// localAnswer packs what the client knows by itself: addresses, or that the name
// does not exist.
func localAnswer(h dnsmessage.Header, q dnsmessage.Question, addrs []netip.Addr, absent bool) ([]byte, error) {
	reply := dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true}
	if absent {
		reply.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), reply)
	b.EnableCompression()
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q); err != nil {
		return nil, err
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	rh := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: localTTL}
	for _, a := range addrs[:min(len(addrs), maxAddrs)] {
		var err error
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			err = b.AResource(rh, dnsmessage.AResource{A: a.As4()})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			err = b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Finish()
}
