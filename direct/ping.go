package direct

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/netduet/netduet/clock"
	"github.com/netduet/netduet/icmp"
	"github.com/netduet/netduet/internal/netapi"
	"github.com/netduet/netduet/ipv4"
)

// pings are the echo requests that wait for their replies.
type pings struct {
	mu      sync.Mutex
	next    uint16
	waiting map[uint16]*ping // by identifier
}

type ping struct {
	to     netip.Addr
	seq    uint16
	result chan pingResult
}

type pingResult struct {
	at    clock.Time
	errno syscall.Errno
}

// maxPings bounds the echo requests under way.
const maxPings = 4096

// add registers a request; ok is false when too many are under way.
func (p *pings) add(w *ping, start uint16) (id uint16, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting, p.next = make(map[uint16]*ping), start
	}
	if len(p.waiting) >= maxPings {
		return 0, false
	}
	for {
		p.next++
		if _, taken := p.waiting[p.next]; !taken {
			p.waiting[p.next] = w
			return p.next, true
		}
	}
}

func (p *pings) remove(id uint16) {
	p.mu.Lock()
	delete(p.waiting, id)
	p.mu.Unlock()
}

// reply hands a result to the request that it belongs to, and reports whether there
// is one.
func (p *pings) reply(from netip.Addr, id, seq uint16, r pingResult) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[id]
	if w == nil || w.to != from || w.seq != seq {
		return false
	}
	select {
	case w.result <- r:
	default:
	}
	return true
}

// Ping sends one ICMP echo request with size bytes of data to dst and returns the
// time until its reply. It waits until ctx is done; nothing is sent again. An ICMP
// error about the request is returned as *net.OpError with the errno that a
// connect would meet.
func (s *Stack) Ping(ctx context.Context, dst netip.Addr, size int) (time.Duration, error) {
	dst = dst.Unmap()
	fail := func(err error) error {
		return netapi.OpError("ping", "ip4:icmp", nil, ipAddr(dst), err)
	}
	if err := ctx.Err(); err != nil {
		return 0, fail(err)
	}
	if size < 0 || size > ipv4.MaxLen-ipv4.HeaderLen-icmp.HeaderLen {
		return 0, fail(netapi.Syscall(netapi.CallSendto, syscall.EMSGSIZE))
	}
	if !s.background.enter() {
		return 0, fail(errClosed)
	}
	defer s.background.leave()
	p, errno := s.pathTo(netip.Addr{}, dst)
	if errno != 0 {
		return 0, fail(netapi.Syscall(netapi.CallSendto, errno))
	}
	w := &ping{to: dst, seq: uint16(s.random()), result: make(chan pingResult, 1)}
	id, ok := s.pings.add(w, uint16(s.random()))
	if !ok {
		return 0, fail(netapi.Syscall(netapi.CallSendto, syscall.ENOBUFS))
	}
	defer s.pings.remove(id)
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i)
	}
	if size >= 8 {
		binary.BigEndian.PutUint64(body, s.random())
	}
	start := s.clk.Now()
	m := icmp.Message{Type: icmp.TypeEcho, Rest: icmp.Echo(id, w.seq), Body: body}
	if errno := s.sendICMP(start, &p, &m, &sendOptions{}); errno != 0 {
		return 0, fail(netapi.Syscall(netapi.CallSendto, errno))
	}
	select {
	case r := <-w.result:
		if r.errno != 0 {
			return 0, fail(netapi.Syscall(netapi.CallRecvmsg, r.errno))
		}
		return r.at.Sub(start), nil
	case <-ctx.Done():
		return 0, fail(ctx.Err())
	case <-s.closing:
		return 0, fail(errClosed)
	}
}
