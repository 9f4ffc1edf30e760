package tcp_test

import (
	"testing"
	"time"

	"github.com/netduet/netduet/internal/tcpsim"
	"github.com/netduet/netduet/tcp"
)

// gigabit is a path of 1 Gbit/s and 100 ms, with a queue of one bandwidth-delay
// product: 12.5 MB must be in flight.
func gigabit() tcpsim.Config {
	cfg := both(tcpsim.Path{Delay: 50 * time.Millisecond, Rate: 125_000_000, Queue: 12_500_000})
	cfg.BtoA.Queue, cfg.BtoA.Rate = 0, 0
	cfg.A.MaxGSO = 64000
	return cfg
}

// Buffers of their own find the size that a long fast path needs, on both sides,
// without any setting.
func TestBuffersFollowThePath(t *testing.T) {
	const total = 700 << 20
	s := tcpsim.New(gigabit())
	s.Transfer(s.A, s.B, total)
	s.Run(2*time.Second, func() bool { return false })
	before := s.B.Conn.Info().BytesIn
	s.Run(time.Second, func() bool { return false })
	in := s.B.Conn.Info()
	rate := float64(in.BytesIn-before) * 1514 / 1448 / 125e6
	send, _ := s.A.Conn.Buffers()
	_, receive := s.B.Conn.Buffers()
	t.Logf("%.3f of the link, buffers of %d and %d KiB", rate, send>>10, receive>>10)
	if rate < 0.9 {
		t.Errorf("%.2f of the link: buffers of %d and %d bytes, %+v", rate, send, receive, s.A.Conn.Info())
	}
	if send > tcp.MaxBuffer || receive > tcp.MaxBuffer {
		t.Errorf("buffers of %d and %d bytes", send, receive)
	}
}

// A short path needs not much more than what buffers begin with, and a direction that
// carries no data grows nothing.
func TestBuffersStaySmall(t *testing.T) {
	cfg := both(tcpsim.Path{Delay: time.Millisecond, Rate: 1_250_000, Queue: 20000})
	p := newPair(t, cfg, 4<<20, 0)
	p.finish(time.Minute)
	send, receive := p.A.Conn.Buffers()
	_, peer := p.B.Conn.Buffers()
	if send > tcp.DefaultSendBuffer || receive > tcp.DefaultReceiveBuffer || peer > 512<<10 {
		t.Errorf("buffers of %d, %d and %d bytes for a path of 22500 with its queue", send, receive, peer)
	}
}

// What an application asked for is not tuned.
func TestBuffersFixed(t *testing.T) {
	cfg := gigabit()
	cfg.A.SendBuffer, cfg.B.ReceiveBuffer = 200000, 300000
	s := tcpsim.New(cfg)
	s.Transfer(s.A, s.B, 20<<20)
	s.Run(3*time.Second, func() bool { return false })
	send, _ := s.A.Conn.Buffers()
	_, receive := s.B.Conn.Buffers()
	if send != 200000 || receive != 300000 {
		t.Errorf("buffers of %d and %d bytes", send, receive)
	}
}

// A reader that is slow gets no large window, and one that stops gets none.
func TestSlowReaderKeepsASmallWindow(t *testing.T) {
	s := tcpsim.New(gigabit())
	tr := s.Transfer(s.A, s.B, 100<<20)
	tr.Pause()
	s.Run(30*time.Second, func() bool { return false })
	_, receive := s.B.Conn.Buffers()
	if in := s.B.Conn.Info(); in.Unread > 2*tcp.DefaultReceiveBuffer || receive > tcp.DefaultReceiveBuffer {
		t.Errorf("%d bytes wait for a reader that has stopped, in a buffer of %d", in.Unread, receive)
	}
	// Now it takes 100 KB/s, which a first window is enough for.
	buf := make([]byte, 10000)
	for range 100 {
		s.B.Do(func(c *tcp.Conn) { c.Read(s.Now, buf) })
		s.Run(100*time.Millisecond, func() bool { return false })
	}
	_, receive = s.B.Conn.Buffers()
	if in := s.B.Conn.Info(); in.Unread > 2*tcp.DefaultReceiveBuffer || receive > tcp.DefaultReceiveBuffer {
		t.Errorf("%d bytes wait for a slow reader, in a buffer of %d", in.Unread, receive)
	}
}

// pressed is memory that is always short.
type pressed struct{ tcpsim.Pool }

func (*pressed) Pressure() bool { return true }

// Under memory pressure nothing grows, and everything arrives.
func TestBuffersUnderPressure(t *testing.T) {
	cfg := gigabit()
	cfg.A.Memory, cfg.B.Memory = new(pressed), new(pressed)
	p := newPair(t, cfg, 2<<20, 2<<20)
	p.finish(5 * time.Minute)
	send, _ := p.A.Conn.Buffers()
	_, receive := p.B.Conn.Buffers()
	if send > tcp.DefaultSendBuffer || receive > tcp.DefaultReceiveBuffer {
		t.Errorf("buffers of %d and %d bytes", send, receive)
	}
	if n := p.B.Conn.Info().ReceiveWindow; n > 64<<10 {
		t.Errorf("a window of %d", n)
	}
}
