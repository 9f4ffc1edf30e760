package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// client is the process that makes load, order by order.
func client(p *peer) error {
	if err := raiseFileLimit(); err != nil {
		return err
	}
	for {
		var o clientOrder
		if err := p.receive(&o); err != nil {
			return nil
		}
		report, err := obey(p, &o)
		if err != nil {
			report.Err = err.Error()
		}
		if err := p.send(&report); err != nil {
			return err
		}
	}
}

// obey does what the order says; begin tells the coordinator that the measured
// time starts.
func obey(p *peer, o *clientOrder) (clientReport, error) {
	if err := reach(o); err != nil {
		return clientReport{}, err
	}
	begin := func() error { return p.send(&clientReport{Begin: true}) }
	switch o.Mode.Kind {
	case bulkIn, bulkOut:
		return bulk(o, begin)
	case udpIn:
		return floodIn(o, begin)
	case udpOut:
		return floodOut(o, begin)
	case parked, reading:
		return idle(p, o)
	}
	return transact(o, begin)
}

// reach makes one exchange, so that both ends know each other's address and the
// server is known to answer.
func reach(o *clientOrder) error {
	var err error
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		var c net.Conn
		if c, err = dial(o, echoPort, 500*time.Millisecond); err == nil {
			c.SetDeadline(time.Now().Add(2 * time.Second))
			one := []byte{1}
			if _, err = c.Write(one); err == nil {
				_, err = io.ReadFull(c, one)
			}
			c.Close()
			if err == nil {
				return nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the server does not answer: %w", err)
}

func dial(o *clientOrder, port int, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: o.Source.AsSlice()}, KeepAlive: -1}
	return d.Dial("tcp4", netip.AddrPortFrom(o.Server, uint16(port)).String())
}

// bulk sends or receives over Go's own connections, in large pieces.
func bulk(o *clientOrder, begin func() error) (r clientReport, err error) {
	port := sinkPort
	if o.Mode.Kind == bulkOut {
		port = sourcePort
	}
	var moved atomic.Uint64
	var working sync.WaitGroup
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.(*net.TCPConn).SetLinger(0) // what is under way is of no use
			c.Close()
		}
		working.Wait()
	}()
	failed := make(chan error, o.Mode.Conns)
	for range o.Mode.Conns {
		c, err := dial(o, port, 5*time.Second)
		if err != nil {
			return r, err
		}
		conns = append(conns, c)
		working.Go(func() {
			buf := make([]byte, bulkBuffer)
			for {
				var n int
				var err error
				if o.Mode.Kind == bulkOut {
					n, err = c.Read(buf)
				} else {
					n, err = c.Write(buf)
				}
				moved.Add(uint64(n))
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	time.Sleep(o.Warm)
	if err := begin(); err != nil {
		return r, err
	}
	before, start := moved.Load(), time.Now()
	time.Sleep(o.Time)
	r.Count, r.Elapsed = moved.Load()-before, time.Since(start)
	select {
	case err := <-failed:
		return r, fmt.Errorf("a connection ended: %w", err)
	default:
		return r, nil
	}
}

func dialUDP(o *clientOrder, port int) (*net.UDPConn, error) {
	return net.DialUDP("udp4", &net.UDPAddr{IP: o.Source.AsSlice()}, &net.UDPAddr{IP: o.Server.AsSlice(), Port: port})
}

// floodIn sends datagrams as fast as the kernel takes them; the server counts.
func floodIn(o *clientOrder, begin func() error) (r clientReport, err error) {
	c, err := dialUDP(o, sinkPort)
	if err != nil {
		return r, err
	}
	defer c.Close()
	buf := make([]byte, o.Mode.Size)
	sendUntil := func(end time.Time) (n uint64) {
		for i := 0; i%64 != 0 || time.Now().Before(end); i++ {
			if _, err := c.Write(buf); err == nil {
				n++
			}
		}
		return n
	}
	sendUntil(time.Now().Add(o.Warm))
	if err := begin(); err != nil {
		return r, err
	}
	start := time.Now()
	r.Count = sendUntil(start.Add(o.Time))
	r.Elapsed = time.Since(start)
	return r, nil
}

// floodOut asks for datagrams and counts them.
func floodOut(o *clientOrder, begin func() error) (r clientReport, err error) {
	c, err := dialUDP(o, sourcePort)
	if err != nil {
		return r, err
	}
	defer c.Close()
	c.SetReadBuffer(4 << 20)
	request := binary.BigEndian.AppendUint64(nil, uint64(o.Warm+o.Time+200*time.Millisecond))
	request = append(request, make([]byte, max(0, o.Mode.Size-len(request)))...)
	buf := make([]byte, 2048)
	for try := 0; ; try++ {
		if _, err := c.Write(request); err != nil {
			return r, err
		}
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := c.Read(buf); err == nil {
			break
		} else if try == 5 {
			return r, fmt.Errorf("no datagrams come: %w", err)
		}
	}
	receiveUntil := func(end time.Time) (n uint64) {
		c.SetReadDeadline(end)
		for {
			if _, err := c.Read(buf); err != nil {
				return n
			}
			n++
		}
	}
	receiveUntil(time.Now().Add(o.Warm))
	if err := begin(); err != nil {
		return r, err
	}
	start := time.Now()
	r.Count = receiveUntil(start.Add(o.Time))
	r.Elapsed = time.Since(start)
	return r, nil
}

// idle opens connections, each with one exchange, and keeps them until it is told
// to let go.
func idle(p *peer, o *clientOrder) (r clientReport, err error) {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}()
	one := []byte{1}
	start := time.Now()
	for range o.Mode.Conns {
		c, err := dial(o, idlePort, 3*time.Second)
		if err != nil {
			return r, fmt.Errorf("connection %d: %w", len(conns)+1, err)
		}
		conns = append(conns, c)
		c.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := c.Write(one); err != nil {
			return r, err
		}
		if _, err := io.ReadFull(c, one); err != nil {
			return r, fmt.Errorf("connection %d got no answer: %w", len(conns), err)
		}
		if time.Since(start) > time.Minute {
			return r, fmt.Errorf("only %d connections in a minute", len(conns))
		}
	}
	r.Count, r.Elapsed = uint64(len(conns)), time.Since(start)
	if err := p.send(&clientReport{Begin: true}); err != nil {
		return r, err
	}
	var letGo string
	return r, p.receive(&letGo)
}

// bindSource sets the source address and leaves the port to connect(2), which may
// use one that is taken towards another destination.
func bindSource(fd int, a netip.Addr) error {
	const ipBindAddressNoPort = 24 // linux/in.h
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, ipBindAddressNoPort, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: a.As4()})
}
