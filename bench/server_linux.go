package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netduet/netduet/tcp"
)

// bulkBuffer is what the application reads and writes at a time in bulk.
const bulkBuffer = 256 << 10

// server is the process that is measured.
type server struct {
	setup serverSetup
	net   network // nil with the null engine
	began time.Time
	count atomic.Uint64 // bytes or datagrams
	held  []net.Conn    // idle connections
	bufs  sync.Pool     // *[]byte for messages

	mu      sync.Mutex
	sources []interface{ Info() tcp.Info } // connections of direct that send in bulk
}

// serve is the process: it reads a setup, answers commands, and ends with its
// input.
func serve(p *peer) error {
	s := &server{began: time.Now()}
	s.bufs.New = func() any { b := make([]byte, 4<<10); return &b }
	if err := p.receive(&s.setup); err == io.EOF {
		return nil // the coordinator could not make the device
	} else if err != nil {
		return err
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		p.send(&snapshot{Err: err.Error()})
		return err
	}
	if err := p.send(&snapshot{}); err != nil {
		return err
	}
	profiling := false
	for {
		var cmd string
		if err := p.receive(&cmd); err != nil {
			if profiling {
				pprof.StopCPUProfile()
			}
			return nil
		}
		snap := s.snapshot(cmd == cmdMemory)
		if err := p.send(&snap); err != nil {
			return err
		}
		if s.setup.CPUProfile != "" && !profiling {
			f, err := os.Create(s.setup.CPUProfile)
			if err != nil {
				return err
			}
			if err := pprof.StartCPUProfile(f); err != nil {
				return err
			}
			profiling = true
		}
	}
}

// snapshot measures this process, collected being whether garbage counts.
func (s *server) snapshot(collected bool) snapshot {
	snap := snapshot{Retransmits: -1}
	if collected {
		runtime.GC()
		runtime.GC()
	}
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	snap.Mallocs = ms.Mallocs
	snap.Memory = int64(ms.HeapAlloc + ms.StackInuse)
	if s.net != nil {
		snap.Retransmits = s.retransmits()
	}
	snap.Count = s.count.Load()
	snap.CPU = processCPU()
	snap.At = time.Since(s.began)
	return snap
}

// retransmits is the engine's count, or the sum over direct's sending connections:
// they are where it keeps it, and they last as long as the measurement.
func (s *server) retransmits() int64 {
	if n := s.net.retransmits(); n >= 0 || s.setup.Mode.Kind != bulkOut {
		return n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum int64
	for _, c := range s.sources {
		sum += int64(c.Info().Retransmits)
	}
	return sum
}

// processCPU is the processor time of this process.
func processCPU() time.Duration {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// raiseFileLimit allows as many descriptors as the machine lets us have.
func raiseFileLimit() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
}

// start opens the engine and what the mode needs to listen on.
func (s *server) start() error {
	if s.setup.Engine == engineNull {
		dev, err := openTap(&s.setup)
		if err != nil {
			return err
		}
		go newReflector(dev, s.setup.Addr.Addr(), &s.count).run()
		return nil
	}
	n, err := openNetwork(&s.setup)
	if err != nil {
		return err
	}
	s.net = n
	if s.setup.Mode.memory() {
		s.held = make([]net.Conn, 0, s.setup.Mode.Conns)
	}
	for port, handle := range map[int]func(net.Conn){
		echoPort: s.echo, sinkPort: s.sink, sourcePort: s.source, closePort: s.answerAndClose,
	} {
		l, err := s.listen(port)
		if err != nil {
			return err
		}
		go accept(l, func(c net.Conn) { go handle(c) })
	}
	idle, err := s.listen(idlePort)
	if err != nil {
		return err
	}
	if s.setup.Mode.Kind == crowd {
		go accept(idle, func(c net.Conn) { go s.oneOfMany(c) })
	} else {
		go accept(idle, s.hold)
	}
	web, err := s.listen(httpPort)
	if err != nil {
		return err
	}
	go http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, httpBody) }))
	for port, handle := range map[int]func(net.PacketConn){echoPort: s.echoUDP, sinkPort: s.sinkUDP, sourcePort: s.sourceUDP} {
		c, err := n.ListenPacket(context.Background(), "udp4", s.address(port))
		if err != nil {
			return fmt.Errorf("listening on udp port %d: %w", port, err)
		}
		go handle(c)
	}
	return nil
}

func (s *server) address(port int) string {
	return net.JoinHostPort(s.setup.Addr.Addr().String(), strconv.Itoa(port))
}

func (s *server) listen(port int) (net.Listener, error) {
	l, err := s.net.Listen(context.Background(), "tcp4", s.address(port))
	if err != nil {
		return nil, fmt.Errorf("listening on tcp port %d: %w", port, err)
	}
	return l, nil
}

func accept(l net.Listener, handle func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		handle(c)
	}
}

func (s *server) echo(c net.Conn) {
	defer c.Close()
	buf := s.bufs.Get().(*[]byte)
	defer s.bufs.Put(buf)
	for {
		n, err := c.Read(*buf)
		if err != nil {
			return
		}
		if _, err := c.Write((*buf)[:n]); err != nil {
			return
		}
	}
}

func (s *server) answerAndClose(c net.Conn) {
	defer c.Close()
	buf := s.bufs.Get().(*[]byte)
	defer s.bufs.Put(buf)
	if n, err := c.Read(*buf); err == nil {
		c.Write((*buf)[:n])
	}
}

func (s *server) sink(c net.Conn) {
	defer c.Close()
	buf := make([]byte, bulkBuffer)
	for {
		n, err := c.Read(buf)
		s.count.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

func (s *server) source(c net.Conn) {
	defer c.Close()
	if i, ok := c.(interface{ Info() tcp.Info }); ok {
		s.mu.Lock()
		s.sources = append(s.sources, i)
		s.mu.Unlock()
	}
	buf := make([]byte, bulkBuffer)
	for {
		n, err := c.Write(buf)
		s.count.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

// hold makes one exchange with a connection, so that it has been used as others
// have, and keeps it.
func (s *server) hold(c net.Conn) {
	buf := s.bufs.Get().(*[]byte)
	defer s.bufs.Put(buf)
	if n, err := c.Read(*buf); err != nil {
		c.Close()
		return
	} else if _, err := c.Write((*buf)[:n]); err != nil {
		c.Close()
		return
	}
	s.held = append(s.held, c)
	if s.setup.Mode.Kind == reading {
		go func() {
			var one [1]byte
			c.Read(one[:])
		}()
	}
}

// oneOfMany is echo for one of a crowd: its buffer holds a message and no more.
func (s *server) oneOfMany(c net.Conn) {
	defer c.Close()
	buf := make([]byte, s.setup.Mode.Size)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// packets is what a packet connection can do at best; others return their address
// allocated.
type packets interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

func (s *server) echoUDP(c net.PacketConn) {
	buf := make([]byte, 64<<10)
	if p, ok := c.(packets); ok {
		for {
			n, from, err := p.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			p.WriteToUDPAddrPort(buf[:n], from)
		}
	}
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		c.WriteTo(buf[:n], from)
	}
}

func (s *server) sinkUDP(c net.PacketConn) {
	buf := make([]byte, 64<<10)
	p, ok := c.(packets)
	for {
		var err error
		if ok {
			_, _, err = p.ReadFromUDPAddrPort(buf)
		} else {
			_, _, err = c.ReadFrom(buf)
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			s.count.Add(1)
		}
	}
}

// sourceUDP floods who asks, for as long as the request's first eight bytes say.
func (s *server) sourceUDP(c net.PacketConn) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 8 {
			continue
		}
		end := time.Now().Add(time.Duration(binary.BigEndian.Uint64(buf)))
		to := from.(*net.UDPAddr).AddrPort()
		p, ok := c.(packets)
		for i := 0; i%64 != 0 || time.Now().Before(end); i++ {
			if ok {
				_, err = p.WriteToUDPAddrPort(buf[:n], to)
			} else {
				_, err = c.WriteTo(buf[:n], from)
			}
			if err == nil {
				s.count.Add(1)
			} else {
				runtime.Gosched() // no room: what is there must leave first
			}
		}
	}
}
