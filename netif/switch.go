package netif

import (
	"fmt"
	"sync"
)

// maxLearned bounds the addresses that a switch knows.
const maxLearned = 4096

// NewSwitch joins n Ethernet devices, 2 to 256, to one LAN. Frames go to the port
// that their destination was last heard from, and to all other ports while it is
// not known or a group address. The ports are described by cfg, as a wire's ends.
//
// Unlike a wire a switch loses what finds its receiver's ring full, and counts it
// in that port's Stats: otherwise one port that nobody reads would stop all others.
// So no Write is short. Each writer's frames stay in order.
func NewSwitch(n int, cfg WireConfig) ([]*Port, error) {
	switch {
	case n < 2 || n > maxPorts:
		return nil, fmt.Errorf("netif: a switch of %d ports: must be 2 to %d", n, maxPorts)
	case cfg.Link != LinkEthernet:
		return nil, fmt.Errorf("netif: a switch carries Ethernet frames: set Link to LinkEthernet")
	case cfg.Name == "":
		cfg.Name = "lan"
	}
	cfg, err := cfg.withDefaults(n)
	if err != nil {
		return nil, err
	}
	s := &lan{at: make(map[MAC]*Port), open: make(chan struct{})}
	close(s.open)
	for i := range n {
		p := newPort(cfg.info(i), cfg.Queues, cfg.Ring)
		p.fabric = s
		s.ports = append(s.ports, p)
	}
	// The caller may do with its slice as it likes.
	return append([]*Port(nil), s.ports...), nil
}

// lan is the fabric of a switch's ports.
type lan struct {
	ports []*Port
	open  chan struct{} // always closed

	mu    sync.RWMutex
	at    map[MAC]*Port
	order []MAC // the addresses of at, oldest at next once the table is full
	next  int
}

func (s *lan) write(p *Port, frames []Frame) int {
	for i := 0; i < len(frames); {
		to := s.route(p, &frames[i])
		// Frames to the same port go there together.
		n := 1
		for i+n < len(frames) && n < chunk && s.route(p, &frames[i+n]) == to {
			n++
		}
		run := frames[i : i+n]
		i += n
		switch {
		case to == p:
			// Its own address: a switch does not send a frame back.
		case to != nil:
			s.deliver(p, to, run)
		default:
			for _, to := range s.ports {
				if to != p {
					s.deliver(p, to, run)
				}
			}
		}
	}
	return len(frames)
}

// deliver gives frames to a port as far as it has room.
func (s *lan) deliver(from, to *Port, frames []Frame) {
	if to.closed.Load() {
		from.dropped.Add(uint64(len(frames)))
		return
	}
	n := to.in.reserve(len(frames))
	if bad := to.in.deliver(frames[:n]); bad > 0 {
		from.dropped.Add(uint64(bad))
	}
	if n < len(frames) {
		to.in.overflowed.Add(uint64(len(frames) - n))
	}
}

// route learns a frame's source and returns the port of its destination, or nil if
// that is to be all ports.
func (s *lan) route(from *Port, f *Frame) *Port {
	if len(f.Fragments) == 0 || len(f.Fragments[0]) < etherHeaderLen {
		return nil // too short for any port; they count it
	}
	h := f.Fragments[0]
	dst, src := MAC(h[:6]), MAC(h[6:12])
	s.mu.RLock()
	known, to := s.at[src], s.at[dst]
	s.mu.RUnlock()
	if known != from && src[0]&1 == 0 {
		s.learn(src, from)
	}
	if dst[0]&1 != 0 {
		return nil
	}
	return to
}

func (s *lan) learn(src MAC, from *Port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, moved := s.at[src]; !moved {
		if len(s.order) < maxLearned {
			s.order = append(s.order, src)
		} else {
			delete(s.at, s.order[s.next])
			s.order[s.next] = src
			s.next = (s.next + 1) % maxLearned
		}
	}
	s.at[src] = from
}

func (s *lan) writable(*Port) <-chan struct{} { return s.open }

// portClosed forgets what was learned from a port, so that its addresses may turn
// up elsewhere at once.
func (s *lan) portClosed(p *Port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make([]MAC, 0, len(s.order))
	for i := range s.order {
		m := s.order[(s.next+i)%len(s.order)]
		if s.at[m] == p {
			delete(s.at, m)
		} else {
			kept = append(kept, m)
		}
	}
	s.order, s.next = kept, 0
}
