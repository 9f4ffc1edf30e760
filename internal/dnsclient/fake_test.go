package dnsclient

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/netduet/netduet/internal/netapi"
)

// question is one query as the fake network saw it.
type question struct {
	at      time.Duration
	network string
	server  netip.AddrPort
	id      uint16
	name    string
	qtype   dnsmessage.Type
	edns    bool
	msg     []byte
}

func (q question) String() string {
	return fmt.Sprintf("%v %s %s %s %s", q.at, q.network, q.server.Addr(), strings.TrimPrefix(q.qtype.String(), "Type"), q.name)
}

// sent is a message that the fake network delivers after a time.
type sent struct {
	after time.Duration
	msg   []byte
}

// fakeNet is a network with scripted DNS servers. Its methods are the servers'
// side of Config.Dial.
type fakeNet struct {
	start time.Time
	// serve returns what comes back for q; n counts the queries for that type
	// before it.
	serve func(q question, n int) []sent
	// refuse makes a dial over this network fail.
	refuse string

	mu    sync.Mutex
	log   []question
	open  int
	count map[dnsmessage.Type]int
}

func (f *fakeNet) dial(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, netapi.DialError(network, netip.AddrPort{}, server, err)
	}
	if network == f.refuse {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: netapi.Addr(network, server), Err: os.NewSyscallError("connect", io.ErrClosedPipe)}
	}
	f.mu.Lock()
	f.open++
	f.mu.Unlock()
	return &fakeConn{net: f, network: network, server: server, in: make(chan []byte, 256)}, nil
}

type fakeConn struct {
	net.Conn
	net     *fakeNet
	network string
	server  netip.AddrPort
	in      chan []byte
	rest    []byte // of a stream
	dl      netapi.Deadline
	closed  sync.Once
}

func (c *fakeConn) Write(b []byte) (int, error) {
	msg := b
	if c.network == "tcp" {
		if len(b) < 2 || int(binary.BigEndian.Uint16(b)) != len(b)-2 {
			panic("a TCP query without its length")
		}
		msg = b[2:]
	}
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil {
		panic(err)
	}
	dq, err := p.Question()
	if err != nil {
		panic(err)
	}
	q := question{at: time.Since(c.net.start), network: c.network, server: c.server, id: h.ID, name: dq.Name.String(), qtype: dq.Type, msg: append([]byte(nil), msg...)}
	p.SkipAllQuestions()
	p.SkipAllAnswers()
	p.SkipAllAuthorities()
	_, err = p.AdditionalHeader()
	q.edns = err == nil

	f := c.net
	f.mu.Lock()
	if f.count == nil {
		f.count = make(map[dnsmessage.Type]int)
	}
	n := f.count[q.qtype]
	f.count[q.qtype]++
	f.log = append(f.log, q)
	f.mu.Unlock()
	for _, s := range f.serve(q, n) {
		out := s.msg
		if c.network == "tcp" {
			out = append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)
		}
		deliver := func() {
			select {
			case c.in <- out:
			default: // a full queue drops, as networks do
			}
		}
		if s.after == 0 {
			deliver()
		} else {
			time.AfterFunc(s.after, deliver)
		}
	}
	return len(b), nil
}

func (c *fakeConn) Read(b []byte) (int, error) {
	if c.network == "tcp" && len(c.rest) > 0 {
		n := copy(b, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	select {
	case m := <-c.in:
		n := copy(b, m)
		if c.network == "tcp" {
			c.rest = m[n:]
		}
		return n, nil
	case <-c.dl.Wait():
		return 0, &net.OpError{Op: "read", Net: c.network, Addr: netapi.Addr(c.network, c.server), Err: os.ErrDeadlineExceeded}
	}
}

func (c *fakeConn) SetDeadline(t time.Time) error { c.dl.Set(t); return nil }

func (c *fakeConn) Close() error {
	c.closed.Do(func() {
		c.dl.Stop()
		c.net.mu.Lock()
		c.net.open--
		c.net.mu.Unlock()
	})
	return nil
}

// respond builds the answer to q: records are "owner A 192.0.2.1", "owner AAAA
// 2001:db8::1", "owner CNAME target", "owner TXT text", and flags that begin
// with a colon: ":nxdomain", ":servfail", ":refused", ":formerr", ":tc",
// ":badvers" (an extended code), ":lame" (no recursion here). Change edits the
// header before it is packed.
func respond(q question, records string, change ...func(*dnsmessage.Message)) []byte {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: q.id, Response: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{
			{Name: dnsmessage.MustNewName(q.name), Type: q.qtype, Class: dnsmessage.ClassINET},
		},
	}
	for line := range strings.SplitSeq(records, ";") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case ":nxdomain":
			m.RCode = dnsmessage.RCodeNameError
		case ":servfail":
			m.RCode = dnsmessage.RCodeServerFailure
		case ":refused":
			m.RCode = dnsmessage.RCodeRefused
		case ":formerr":
			m.RCode = dnsmessage.RCodeFormatError
		case ":tc":
			m.Truncated = true
		case ":lame":
			m.RecursionAvailable = false
		case ":badvers":
			var h dnsmessage.ResourceHeader
			h.SetEDNS0(1232, 16, false)
			m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{}})
		default:
			h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(f[0]), Class: dnsmessage.ClassINET, TTL: 60}
			var body dnsmessage.ResourceBody
			switch f[1] {
			case "A":
				body = &dnsmessage.AResource{A: netip.MustParseAddr(f[2]).As4()}
			case "AAAA":
				body = &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(f[2]).As16()}
			case "CNAME":
				body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(f[2])}
			case "TXT":
				body = &dnsmessage.TXTResource{TXT: f[2:]}
			default:
				panic(f[1])
			}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: body})
		}
	}
	for _, c := range change {
		c(&m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// records answers A with a4 and AAAA with a6, at once.
func records(a4, a6 string) func(question, int) []sent {
	return func(q question, _ int) []sent {
		if q.qtype == dnsmessage.TypeAAAA {
			return []sent{{msg: respond(q, a6)}}
		}
		return []sent{{msg: respond(q, a4)}}
	}
}
